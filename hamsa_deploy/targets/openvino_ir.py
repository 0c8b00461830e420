"""ONNX file -> OpenVINO IR (model.xml, model.bin).

bfloat16 is written into the IR as types. As a hint at run time it would leave `constant @ x`, which is what a transform
consists of, in float32, with a conversion on either side: HAMSA-S takes 19.2 ms typed, 23.0 ms by the hint. What stands
before the first product, the normalisation of pixels, and the outputs stay float32; so do loops, and the nodes that the
ONNX file says that of, of which the CPU's plugin keeps the loops only, once it is asked for bfloat16.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from hamsa_deploy.spectral.provenance import FLOAT32
from hamsa_deploy.targets.onnx_file import described
from hamsa_runtime.backends.quiet import no_usage_reports
from hamsa_runtime.errors import BuildError, MissingError
from hamsa_runtime.vocabulary import IR_FILES


def ir_from_onnx(onnx_file: Path, folder: Path, precision: str = "fp32") -> None:
    """Convert a typed ONNX file; weights stay in the types that they have there, unless bf16 is asked for.

    Args:
        onnx_file: the file to read.
        folder: where model.xml and model.bin are written.
        precision: "bf16" makes a float32 file bfloat16; with any other the file says it all.

    Raises:
        MissingError: openvino is not installed.
        BuildError: OpenVINO cannot read the file; names the operator, its module and line where OpenVINO's own message,
            which is quoted, says which it is.
        OSError: see `save`.
    """
    try:
        with no_usage_reports():
            import openvino
    except ImportError as error:
        raise MissingError(
            "the package openvino is not installed",
            fix="pip install 'hamsa-runtime[openvino]', or export with --to onnx",
        ) from error
    try:
        model = openvino.Core().read_model(onnx_file)  # convert_model would send a usage report
        if precision == "bf16":
            type_as_bfloat16(model, float32_nodes(onnx_file))
        name_outputs(model, onnx_file)
    except Exception as error:
        which = _refused(str(error), onnx_file)
        raise BuildError(
            f"OpenVINO {openvino.__version__} cannot convert {onnx_file.name}: {which}{error}",
            cause="an ONNX operator or type that this version does not read",
            fix="export with --to onnx, or try another OpenVINO version",
        ) from error
    save(model, folder)


_FAILED = re.compile(r"<Node\((?P<op>[^)]*)\): (?P<value>[^>]*)>")
_UNKNOWN = re.compile(
    r"No conversion rule found for operations: (?:[\w.]*\.)?(?P<op>\w+)-\d+"
    r"|does not support the following ONNX operations: (?:[\w.]*\.)?(?P<older>\w+)"  # OpenVINO 2026.0 and before
)


def _refused(message: str, onnx_file: Path) -> str:
    """The operator that OpenVINO's message is about, which it names by an output, or by its kind alone; or nothing."""
    found = _FAILED.search(message) or _UNKNOWN.search(message)
    if found is None:
        return ""
    parts = found.groupdict()
    kind, value = parts["op"] or parts.get("older"), parts.get("value")
    for node in ir.load(onnx_file).graph.all_nodes():
        names = {node.name, *(output.name for output in node.outputs)}
        if node.op_type == kind and (value is None or value in names):
            return f"{described(node)}. "
    return ""


def save(model: Any, folder: Path) -> None:
    """Write model.xml and model.bin.

    Raises:
        OSError: they cannot be written. OpenVINO says "iostream error" for all reasons, a full disk among them, and
            removes what it has written.
    """
    import openvino

    try:
        openvino.save_model(model, folder / IR_FILES[0], compress_to_fp16=False)
    except RuntimeError as error:
        raise OSError(errno.EIO, f"OpenVINO: {error}") from error


def name_outputs(model: Any, onnx_file: Path) -> None:
    """Give the operators that compute outputs their names in the ONNX file: OpenVINO calls them as the outputs."""
    for value in ir.load(onnx_file).graph.outputs:
        producer = value.producer()
        if producer is not None:
            model.output(value.name).get_node().input_value(0).get_node().set_friendly_name(str(producer.name))


PRODUCTS = {"MatMul", "Convolution", "GroupConvolution", "ConvolutionBackpropData", "GroupConvolutionBackpropData"}


LOOPS = {"TensorIterator", "Loop"}


def float32_nodes(onnx_file: Path) -> set[str]:
    """The nodes that have to stay in float32 in any precision."""
    return {str(node.name) for node in ir.load(onnx_file).graph if FLOAT32 in node.metadata_props}


def type_as_bfloat16(model: Any, kept: Collection[str]) -> None:
    """bfloat16 from the first products on: constants in that type, conversions where float32 comes in or goes out; the
    nodes of these names stay float32."""
    from openvino import Type
    from openvino import opset13 as op

    narrow: set[tuple[str, int]] = set()  # outputs that have become bfloat16, while the model still says float32
    converted: dict[tuple[str, int], Any] = {}
    widened: dict[tuple[str, int], Any] = {}

    def key(output: Any) -> tuple[str, int]:
        return output.get_node().get_name(), output.get_index()  # the friendly name need not be unique

    def in_bfloat16(output: Any) -> Any:
        if key(output) not in converted:
            node = output.get_node()
            if node.get_type_name() == "Constant":
                converted[key(output)] = _bfloat16_constant(node)
            elif _is_part_of_constant(node):
                part = op.slice(in_bfloat16(node.input_value(0)), *node.input_values()[1:])
                part.set_friendly_name(node.get_friendly_name())
                converted[key(output)] = part
            else:
                converted[key(output)] = op.convert(output, "bf16")
        return converted[key(output)].output(0)

    def in_float32(output: Any) -> Any:
        if key(output) not in widened:
            widened[key(output)] = op.convert(output, "f32")
        return widened[key(output)].output(0)

    for node in model.get_ordered_ops():
        sources = [port for port in node.inputs() if port.get_element_type() == Type.f32]
        if node.get_type_name() in LOOPS or node.get_friendly_name() in kept:
            for port in sources:
                if key(port.get_source_output()) in narrow:
                    port.replace_source_output(in_float32(port.get_source_output()))
            continue
        is_narrow = node.get_type_name() in PRODUCTS or any(key(p.get_source_output()) in narrow for p in sources)
        if not is_narrow or not sources:
            continue
        for port in sources:
            source = port.get_source_output()
            if node.get_type_name() == "Result":
                port.replace_source_output(in_float32(source))
            elif key(source) not in narrow:
                port.replace_source_output(in_bfloat16(source))
        if node.get_type_name() not in ("Result", "Convert"):
            narrow.update(key(output) for output in node.outputs() if output.get_element_type() == Type.f32)
    model.validate_nodes_and_infer_types()


def _is_part_of_constant(node: Any) -> bool:
    """Converted behind the Slice, the whole of it would stay in float32, beside what other products have of it."""
    if node.get_type_name() != "Slice":
        return False
    source = node.input_value(0).get_node()
    return source.get_type_name() == "Constant" or _is_part_of_constant(source)


def _bfloat16_constant(node: Any) -> Any:
    import openvino
    import torch

    # Flat, because OpenVINO 2026.0 takes no array without axes.
    values = torch.from_numpy(np.array(node.data)).to(torch.bfloat16).view(torch.uint16).numpy().reshape(-1)
    tensor = openvino.Tensor(values, list(node.get_output_shape(0)), openvino.Type.bf16)
    return openvino.op.Constant(tensor, shared_memory=False)  # or it would only borrow the array's memory
