"""Nodes replaced in a graph: wherever they stand, and nothing else with them."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import helper

from hamsa_runtime.errors import InputError, UnsupportedTransformError
from hamsa_runtime.fix import RealTransformsPass
from hamsa_runtime.fix.replacement import inline_spectral_functions, replace_transforms

from .files import DOUBLE, INT64, dft_model, graph_model, numpy_dft, scalar


def run(model: ir.Model, x: np.ndarray) -> np.ndarray:
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])


def signal(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape)


def test_it_is_a_pass_among_others() -> None:
    model = ir.from_proto(dft_model([2, 8, 1], axis=1))
    passes = ir.passes.Sequential(RealTransformsPass(), ir.passes.common.TopologicalSortPass())
    result = passes(model)
    assert result.modified
    assert result.model is model
    assert not RealTransformsPass()(model).modified


def test_equal_matrices_are_stored_once_and_leftovers_are_gone() -> None:
    nodes = [
        helper.make_node("Constant", [], ["unnamed"], value_int=1),
        helper.make_node("Identity", ["unnamed"], ["axis"]),
        helper.make_node("DFT", ["x", "length", "axis"], ["a"], name="first"),
        helper.make_node("DFT", ["x", "length", "kept"], ["b"], name="second"),
        helper.make_node("Cast", ["kept"], ["number"], to=DOUBLE),
        helper.make_node("Add", ["a", "b"], ["sum"]),
        helper.make_node("Mul", ["sum", "number"], ["y"]),
    ]
    constants = [scalar("length", 30), scalar("kept", 1)]
    model = ir.from_proto(graph_model(nodes, ["N", 30, 2], 3, constants=constants))
    x = signal(2, 30, 2)
    found = replace_transforms(model)
    assert [each.name for each in found.replaced] == ["first", "second"]
    assert {each.name for each in found.unused if isinstance(each, ir.Value)} == {"length"}
    assert {each.op_type for each in found.unused if isinstance(each, ir.Node)} == {"Constant", "Identity"}
    stored = [value.const_value.numpy().tobytes() for value in model.graph.initializers.values() if value.const_value]
    assert len(stored) == len(set(stored))
    assert {"kept"} <= set(model.graph.initializers)
    np.testing.assert_allclose(run(model, x), 2 * numpy_dft(x, 1, None, 0, 0), rtol=0, atol=1e-12)


def test_new_names_do_not_meet_old_ones() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["spectrum/MatMul"], name="spectrum/Reshape"),
        helper.make_node("Identity", ["spectrum/MatMul"], ["fourier_matrix"]),
        helper.make_node("DFT", ["fourier_matrix", "", "axis"], ["y"], name="spectrum"),
    ]
    model = ir.from_proto(graph_model(nodes, [2, 8, 1], 3, constants=[scalar("axis", 1)]))
    RealTransformsPass()(model)
    x = signal(2, 8, 1)
    np.testing.assert_allclose(run(model, x), numpy_dft(np.maximum(x, 0), 1, None, 0, 0), rtol=0, atol=1e-12)


def test_a_transform_in_the_body_of_a_loop() -> None:
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["on"]),
            helper.make_node("DFT", ["x", "", "axis"], ["spectrum"], name="inside"),
            helper.make_node("Add", ["sum", "spectrum"], ["more"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", INT64, []),
            helper.make_tensor_value_info("go", onnx.TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum", DOUBLE, [2, 6, 2]),
        ],
        [
            helper.make_tensor_value_info("on", onnx.TensorProto.BOOL, []),
            helper.make_tensor_value_info("more", DOUBLE, [2, 6, 2]),
        ],
    )
    nodes = [helper.make_node("Loop", ["times", "", "x"], ["y"], body=body)]
    constants = [scalar("times", 3), scalar("axis", 1)]
    model = ir.from_proto(graph_model(nodes, [2, 6, 2], [2, 6, 2], constants=constants))
    RealTransformsPass()(model)
    x = signal(2, 6, 2)
    assert not [node for node in model.graph.all_nodes() if node.op_type == "DFT"]
    np.testing.assert_allclose(run(model, x), x + 3 * numpy_dft(x, 1, None, 0, 0), rtol=0, atol=1e-12)


def with_function(attribute: bool) -> onnx.ModelProto:
    """Spectrum(x) of 6 samples and of 4, by a function within a function; one that has none beside it."""
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("user", 1)]
    constant = helper.make_node("Constant", [], ["axis"], value_int=1)
    node = helper.make_node("DFT", ["s", "", "axis"], ["t"], name="inside")
    inner = helper.make_function("user", "Inner", ["s"], ["t"], [constant, node], opsets, ["inverse"])
    if attribute:
        node = inner.node[1]
        node.attribute.append(
            onnx.AttributeProto(name="inverse", ref_attr_name="inverse", type=onnx.AttributeProto.INT)
        )
    call = helper.make_node("Inner", ["a"], ["b"], domain="user", inverse=1)
    outer = helper.make_function("user", "Outer", ["a"], ["b"], [call], opsets)
    plain = helper.make_function("user", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], opsets)
    nodes = [
        helper.make_node("Outer", ["x"], ["whole"], domain="user"),
        helper.make_node("Slice", ["x", "from", "to", "second"], ["part"]),
        helper.make_node("Outer", ["part"], ["few"], domain="user"),
        helper.make_node("Concat", ["whole", "few"], ["both"], axis=1),
        helper.make_node("Twice", ["both"], ["y"], domain="user"),
    ]
    constants = [helper.make_tensor(name, INT64, [1], [n]) for name, n in (("from", 0), ("to", 4), ("second", 1))]
    proto = graph_model(nodes, ["N", 6, 2], 3, constants=constants)
    proto.functions.extend([inner, outer, plain])
    proto.opset_import.append(helper.make_opsetid("user", 1))
    return proto


@pytest.mark.parametrize("attribute", [False, True], ids=["forward", "inverse, as the caller says"])
def test_functions_with_a_transform_are_written_out_and_others_stay(attribute: bool) -> None:
    model = ir.from_proto(with_function(attribute))
    RealTransformsPass()(model)
    x = signal(2, 6, 2)
    spectra = [numpy_dft(part, 1, None, int(attribute), 0) for part in (x, x[:, :4])]
    np.testing.assert_allclose(run(model, x), 2 * np.concatenate(spectra, axis=1), rtol=0, atol=1e-12)
    assert [identifier[1] for identifier in model.functions] == ["Twice"]


def test_a_model_with_a_node_that_cannot_be_replaced_stays_as_it_was() -> None:
    nodes = [
        helper.make_node("DFT", ["x", "length", "axis"], ["a"], name="fixed"),
        helper.make_node("DFT", ["x", "", "axis"], ["b"], name="dynamic"),
        helper.make_node("Concat", ["a", "b"], ["y"], axis=1),
    ]
    proto = graph_model(nodes, ["N", "L", 1], 3, constants=[scalar("axis", 1), scalar("length", 8)])
    model = ir.from_proto(proto)
    before = ir.to_proto(model).SerializeToString(deterministic=True)
    with pytest.raises(UnsupportedTransformError, match="'dynamic'"):
        replace_transforms(model)
    assert ir.to_proto(model).SerializeToString(deterministic=True) == before


def test_functions_that_cannot_be_written_out_say_why() -> None:
    proto = with_function(attribute=False)
    proto.functions[0].opset_import[0].version = 19
    with pytest.raises(InputError, match="Opset mismatch") as error:
        inline_spectral_functions(ir.from_proto(proto))
    assert "convert_version=True" in str(error.value)
