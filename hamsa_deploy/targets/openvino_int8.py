"""float32 ONNX file -> int8 OpenVINO IR, through NNCF.

NNCF quantises the weights, places the FakeQuantize nodes where the CPU plugin folds them into its int8 kernels, and
corrects biases. Two things it is told: which products to quantise, and the range of each activation, which comes from
the calibration that all targets share. Left to itself it also quantises the batched products with a constant that
Fourier transforms consist of, with a scale for each row, and the plugin then refuses to compile the model
("any_of(scale.size(), OC, 1U)", OpenVINO 2026.4.1, NNCF 3.4.0).
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hamsa_deploy.targets.openvino_ir import float32_nodes, name_outputs, save, type_as_bfloat16
from hamsa_runtime.backends.quiet import no_usage_reports
from hamsa_runtime.errors import BuildError, MissingError
from hamsa_runtime.vocabulary import IR_FILES

# Activations that cannot be negative get the levels 0..255, all others -128..127 with 127 for the threshold.
LARGEST, SMALLEST = 127, -128


def int8_ir_from_onnx(
    onnx_file: Path,
    folder: Path,
    nodes: Collection[str],
    thresholds: Mapping[str, float],
    feeds: Iterable[Mapping[str, np.ndarray]],
    around: str = "fp32",
) -> None:
    """Quantise some products of a model, and write model.xml and model.bin; other constants keep their types.

    Args:
        onnx_file: float32.
        folder: where the IR goes.
        nodes: names of the products that become int8.
        thresholds: for each activation of these, the magnitude that the largest level stands for.
        feeds: graph inputs by name, for the correction of biases.
        around: "bf16" for bfloat16 in place of float32.

    Raises:
        MissingError: nncf is not installed.
        BuildError: NNCF or OpenVINO cannot do it; its own message is quoted.
        OSError: see `save`.
    """
    nncf, openvino = _packages()
    try:
        model = openvino.Core().read_model(onnx_file)
        with _quiet(nncf):
            quantised = nncf.quantize(
                model,
                nncf.Dataset([dict(feed) for feed in feeds]),
                preset=nncf.QuantizationPreset.PERFORMANCE,  # symmetric activations
                model_type=nncf.ModelType.TRANSFORMER,
                ignored_scope=nncf.IgnoredScope(names=_all_but(model, nodes), validate=False),
                advanced_parameters=nncf.AdvancedQuantizationParameters(
                    smooth_quant_alphas=nncf.AdvancedSmoothQuantParameters(convolution=-1, matmul=-1)
                ),
            )
        _set_ranges(quantised, thresholds)
        _keep_factors_apart(quantised)
        if around == "bf16":
            type_as_bfloat16(quantised, float32_nodes(onnx_file) | _int8_parts(quantised))
        quantised.set_rt_info("all but the int8 layers", ["nncf", "quantization", "ignored_scope"])  # it is 60 kB long
        name_outputs(quantised, onnx_file)
    except Exception as error:
        raise BuildError(
            f"NNCF {nncf.__version__} cannot quantise {onnx_file.name}: {error}",
            cause="an operator or shape that this version does not take",
            fix="export with --bf16 or --fp16, or try other versions of nncf and openvino",
        ) from error
    save(quantised, folder)


def partly_float_ir(source: Path, folder: Path, nodes: Collection[str], float32: Collection[str], around: str) -> None:
    """From an int8 IR one that takes as long as if some of its products had never been quantised; NNCF takes longer.

    For measurements only: biases are still those that make up for the error of all products.

    Args:
        source: the folder of the IR, with float32 around the products.
        folder: where the new IR goes.
        nodes: names of the products that are no longer in int8.
        float32: the nodes that have to stay in float32 in any precision.
        around: as for `int8_ir_from_onnx`.
    """
    _, openvino = _packages()
    from openvino import opset13 as op

    model = openvino.Core().read_model(source / IR_FILES[0])
    for node in model.get_ordered_ops():
        if _is_one_of(node, nodes):
            for name in _way_to_quantiser(node.input_value(0).get_node())[-1:]:
                quantiser = next(each for each in model.get_ops() if each.get_friendly_name() == name)
                readers = [node.input(0)] if node.input_value(0).get_node() == quantiser else []
                for port in readers or quantiser.output(0).get_target_inputs():
                    port.replace_source_output(quantiser.input_value(0))
            weight = op.constant(_value_of(node.input_value(1).get_node()))
            node.input(1).replace_source_output(weight.output(0))
    if around == "bf16":
        type_as_bfloat16(model, {*float32, *_int8_parts(model)})
    save(model, folder)


def _value_of(node: Any) -> np.ndarray:
    """Of what makes a constant of int8 weights."""
    kind = node.get_type_name()
    if kind == "Constant":
        return np.array(node.data)
    first, *others = (_value_of(port.get_source_output().get_node()) for port in node.inputs())
    if kind == "Convert":
        return first.astype(np.float32)
    if kind == "Reshape":
        return first.reshape(node.get_output_shape(0))
    assert kind in ("Multiply", "Subtract"), kind
    return np.asarray(first * others[0] if kind == "Multiply" else first - others[0])


def _packages() -> tuple[Any, Any]:
    with no_usage_reports():
        import openvino

        try:
            import nncf
        except Exception as error:
            raise _why_no_nncf(error, openvino.__version__) from error
    return nncf, openvino


def no_nncf() -> MissingError:
    """The error where int8 cannot be made for want of NNCF."""
    fix = "pip install 'hamsa-deploy[int8]', or export with --to onnx"
    return MissingError("the package nncf is not installed", fix=fix)


def _why_no_nncf(error: Exception, openvino: str) -> MissingError:
    if isinstance(error, ModuleNotFoundError) and error.name == "nncf":
        return no_nncf()
    return MissingError(  # NNCF 3.4 reads openvino.Type.u2, which is there since 2026.0, and does not tell pip
        f"the package nncf is installed, and cannot be imported beside OpenVINO {openvino}: {error}",
        cause="versions that do not go together",
        fix="pip install --upgrade openvino 'hamsa-deploy[int8]', or export with --to onnx",
    )


QUANTISABLE_PRODUCTS = ("MatMul", "Convolution", "GroupConvolution")


def _all_but(model: Any, nodes: Collection[str]) -> list[str]:
    """Names of all operators but some products: NNCF may not quantise them."""
    names = []
    for node in model.get_ordered_ops():
        if node.get_type_name() not in ("Constant", "Parameter", "Result") and not _is_one_of(node, nodes):
            names.append(node.get_friendly_name())
    return names


def _is_one_of(node: Any, products: Collection[str]) -> bool:
    """Whether it is a product with one of these names in the ONNX file."""
    name = node.get_friendly_name().removesuffix("/WithoutBiases")
    return node.get_type_name() in QUANTISABLE_PRODUCTS and name in products


# What may stand between an activation's FakeQuantize and the product: it moves numbers, whatever they are.
MOVES = ("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Slice", "StridedSlice", "Split", "VariadicSplit", "Concat")


def _int8_parts(model: Any) -> set[str]:
    """Names of quantised products, of all that makes their factors from FakeQuantize on, and of every FakeQuantize.

    The plugin looks for these in float32. Around them it finds the conversions, which it folds into its int8 kernels,
    so that they read and write bfloat16.
    """
    parts: set[str] = set()
    for node in model.get_ordered_ops():
        if node.get_type_name() == "FakeQuantize":
            parts.add(node.get_friendly_name())
        if node.get_type_name() not in QUANTISABLE_PRODUCTS:
            continue
        activation, weight = (node.input_value(index).get_node() for index in (0, 1))
        if way := _way_to_quantiser(activation):
            parts |= {node.get_friendly_name(), *way, *_all_above(weight)}
    return parts


# What the plugin moves the scales of an int8 product through, if all else that it reads is constant.
PASSED = ("Add", "Subtract", "Multiply", "Divide", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Relu", "Convert")
# Nothing is as large; a range without an end might be taken for none.
ANYTHING = 3e38


def _keep_factors_apart(model: Any) -> None:
    """A Clamp to any number in front of constant factors of quantised products that are not one for each channel.

    Where a size is not known, the plugin (OpenVINO 2026.4.1) takes such a factor for scales of the product, of which
    there is one for each channel, and results are wrong by half of the largest. `equalise` makes a factor for each
    frequency, and models have others. Where all sizes are known it does not, and the Clamp costs nothing.
    """
    from openvino import opset13 as op

    constants: set[str] = set()
    products: dict[str, tuple[Any, bool]] = {}  # by what the plugin may see them through; and if axes are as they were
    for node in model.get_ordered_ops():
        name, kind, above = node.get_name(), node.get_type_name(), [each.get_node() for each in node.input_values()]
        if kind == "Constant" or (above and all(each.get_name() in constants for each in above)):
            constants.add(name)
            continue
        varying = [index for index, each in enumerate(above) if each.get_name() not in constants]
        if kind == "MatMul" and _way_to_quantiser(above[0]):
            products[name] = node, True
        elif kind in PASSED and len(varying) == 1 and above[varying[0]].get_name() in products:
            product, is_in_place = products[above[varying[0]].get_name()]
            products[name] = product, is_in_place and kind not in MOVES
            if kind in ("Multiply", "Divide") and not _is_scale(node.input_value(1 - varying[0]), is_in_place):
                clamp = op.clamp(node.input_value(varying[0]), -ANYTHING, ANYTHING)
                clamp.set_friendly_name(f"{product.get_friendly_name()}/apart_from_{name}")
                node.input(varying[0]).replace_source_output(clamp.output(0))


def _is_scale(factor: Any, is_in_place: bool) -> bool:
    """Whether a constant is one number, or, if the last axis is still that of the channels, one for each of them."""
    return all(size == 1 for size in factor.get_shape()[: -1 if is_in_place else None])


def _way_to_quantiser(node: Any) -> list[str]:
    """From a factor up to its FakeQuantize; nothing if there is none."""
    name, kind = node.get_friendly_name(), node.get_type_name()
    if kind == "FakeQuantize":
        return [name]
    above = [_way_to_quantiser(port.get_source_output().get_node()) for port in node.inputs()] if kind in MOVES else []
    found = [each for way in above for each in way]
    return [name, *found] if found else []


def _all_above(node: Any) -> list[str]:
    """What computes a factor of weights."""
    if node.get_type_name() == "Constant":
        return []
    above = (_all_above(port.get_source_output().get_node()) for port in node.inputs())
    return [node.get_friendly_name(), *(name for names in above for name in names)]


def _set_ranges(model: Any, thresholds: Mapping[str, float]) -> None:
    """Give each FakeQuantize of an activation the range that calibration has found."""
    import openvino

    for node in model.get_ordered_ops():
        if node.get_type_name() != "FakeQuantize":
            continue
        known = sorted(node.input(0).get_source_output().get_names() & thresholds.keys())
        if not known:
            continue
        t = thresholds[known[0]]
        lowest = node.input(1).get_source_output().get_node().data
        if lowest.size > 1:  # a depthwise convolution, whose channels have ranges of their own
            continue
        starts_at_zero = lowest.item() == 0
        low = 0.0 if starts_at_zero else SMALLEST * t / LARGEST
        shape = node.input(1).get_source_output().get_shape()
        bounds = [openvino.op.Constant(np.full(shape, bound, np.float32)).output(0) for bound in (low, t)]
        for port, bound in zip((1, 2, 3, 4), bounds * 2, strict=True):  # of what comes in, and of what goes out
            node.input(port).replace_source_output(bound)


@contextlib.contextmanager
def _quiet(nncf: Any) -> Iterator[None]:
    """NNCF prints bars and advice; and its log level goes to the handlers that its logger shares with others."""
    levels = [(handler, handler.level) for handler in logging.root.handlers]
    nncf.set_log_level(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        for handler, level in levels:
            handler.setLevel(level)
