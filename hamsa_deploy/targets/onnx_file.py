"""ExportedProgram -> ONNX file.

Opset 20: the newest that TensorRT 10.3 reads. LayerNormalization (17) and Gelu (20) are one operator each; a decomposed
GELU costs HAMSA-S 9 % on ONNX Runtime. Every node keeps where it comes from in its metadata: `module`, the path in the
user's model, and `source`, file and line. Its name is `module/name`, because names are all that engines repeat: in
their errors, in OpenVINO's IR, in TensorRT's plans, to profilers (`hamsa_runtime.backends.module_of_node` reads them).
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import onnx_ir as ir
from torch.export import ExportedProgram

from hamsa_deploy.spectral.provenance import FLOAT32, innermost_frame
from hamsa_runtime.errors import InputError
from hamsa_runtime.manifest import BATCH

OPSET = 20

# Protobuf cannot hold 2 GiB; from here on weights go into a file of their own beside the model.
EXTERNAL_DATA_BYTES = 1_900_000_000


def onnx_from_program(
    program: ExportedProgram,
    path: Path,
    *,
    inputs: Sequence[str],
    outputs: Sequence[str],
    shapes: Sequence[Sequence[int | str]] | None = None,
) -> ir.Model:
    """Translate a real-valued program to ONNX and write it.

    Args:
        program: from `to_real`, or any program without complex tensors.
        path: the file to write, `model.onnx`; weights beyond 1.9 GB go to `model.onnx.data` beside it.
        inputs, outputs: names for the graph's inputs and outputs, in order.
        shapes: of the inputs and then of the outputs, as the manifest has them: what dimensions are called. By
            default a dimension of any size is the batch.

    Returns:
        The model as written.
    """
    # onnxscript takes a fifth of a second, which a plan that is only shown need not wait for.
    from hamsa_deploy.scan.onnx_loops import lower_loops
    from hamsa_deploy.targets.onnx_exporter import onnx_model

    model = onnx_model(program, inputs, outputs, OPSET)
    model.producer_name = "hamsa-deploy"
    _name_axes(model, shapes)
    reasons = {node.name: node.meta.get("custom", {}).get(FLOAT32, "") for node in program.graph.nodes}
    for node in model.graph.all_nodes():
        _keep_provenance(node, reasons)
    _drop_notes(model)
    lower_loops(model)
    save(model, path)
    return model


def check_operators(
    model: ir.Model, operators: Collection[str], engine: str, later: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Refuse a file with an operator that an engine's parser does not have, before the device does.

    Args:
        model: whose nodes keep where they come from.
        operators: that the parser has.
        engine: what people call it.
        later: operators that newer versions of the parser have, and since which.

    Raises:
        InputError: names the operator, its module and line, and the versions that have it.
    """
    for node in model.graph.all_nodes():
        if node.domain or node.op_type in operators:
            continue
        raise InputError(
            described(node),
            expected=f"operators that {engine} reads",
            cause=f"the parser of {engine} has no {node.op_type}"
            + (f" before version {later[node.op_type]}" if node.op_type in later else "")
            + ", and the device would refuse the file",
            fix="write that line of the model with other operators; or export for another target, such as --to onnx",
        )


def described(node: ir.Node) -> str:
    """`the ONNX operator Col2Im in module 'stem.fold', model.py:12: y = fold(x)`, as far as the node knows it."""
    module, source = (node.metadata_props.get(key) for key in ("module", "source"))
    where = (f" in module '{module}'" if module else "") + (f", {source}" if source else "")
    return f"the ONNX operator {node.op_type}{where}"


def save(model: ir.Model, path: Path) -> None:
    """Write a model, with external data only where one file cannot hold it; new nodes get their modules' names."""
    for node in model.graph:
        _name_by_module(node)
    size = sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value)
    external = f"{path.name}.data" if size > EXTERNAL_DATA_BYTES else None
    ir.save(model, path, external_data=external)


def _name_by_module(node: ir.Node) -> None:
    """`module/name`, and so the values that it computes, which ONNX Runtime names convolutions after."""
    module = node.metadata_props.get("module")
    if module is None or str(node.name).startswith(f"{module}/"):
        return
    node.name = f"{module}/{node.name}"
    for value in node.outputs:
        if value.name and not value.is_graph_output():
            value.name = f"{module}/{value.name}"


def _name_axes(model: ir.Model, shapes: Sequence[Sequence[int | str]] | None) -> None:
    """The exporter calls a free axis s34 or the like, and sizes that follow from it `s34//4 + 1`."""
    names: dict[str, int | str] = {
        dim.value: BATCH if shapes is None else shapes[i][axis]
        for i, value in enumerate(model.graph.inputs)
        for axis, dim in enumerate(value.shape or ())
        if isinstance(dim, ir.SymbolicDim) and dim.value is not None
    }
    for value in (*model.graph.inputs, *(out for node in model.graph for out in node.outputs)):
        if value.shape is not None:
            value.shape = ir.Shape([_named(dim, names) for dim in value.shape])
    for value, shape in zip(
        model.graph.outputs, () if shapes is None else shapes[len(model.graph.inputs) :], strict=False
    ):
        value.shape = ir.Shape(shape)


def _named(dim: int | ir.SymbolicDim, names: Mapping[str, int | str]) -> int | str | None:
    """A dimension by the names of the axes that it follows from."""
    if isinstance(dim, int) or dim.value is None:
        return None if isinstance(dim, ir.SymbolicDim) else dim
    return re.sub(r"[A-Za-z_]\w*", lambda found: str(names.get(found[0], found[0])), dim.value)


def _keep_provenance(node: ir.Node, reasons: Mapping[str, str]) -> None:
    """Module path and source line instead of the exporter's stack traces, which hold the paths of this machine; and the
    reason to stay in float32, of the node of the program that it was made from."""
    scopes = ast.literal_eval(node.metadata_props.get("pkg.torch.onnx.name_scopes", "[]"))
    frame = innermost_frame(node.metadata_props.get("pkg.torch.onnx.stack_trace", ""))
    node.metadata_props.clear()
    node.metadata_props["module"] = scopes[-2] if len(scopes) > 1 else ""
    if scopes and (reason := reasons.get(scopes[-1])):
        node.metadata_props[FLOAT32] = reason
    if frame is not None:
        node.metadata_props["source"] = f"{_importable(frame[0])}:{frame[1]}"


def _drop_notes(model: ir.Model) -> None:
    """The exporter's signatures of graph and weights, 40 kB in hamsa_nano, that nothing reads."""
    weights = model.graph.initializers.values()
    for value in (*model.graph.inputs, *weights, *(out for node in model.graph for out in node.outputs)):
        value.metadata_props.clear()
    model.graph.metadata_props.clear()
    model.metadata_props.clear()


def _importable(file: str) -> str:
    """A source file relative to the import path it was found on."""
    roots = sorted((root for root in sys.path if root and file.startswith(root + "/")), key=len)
    return file[len(roots[-1]) + 1 :] if roots else Path(file).name
