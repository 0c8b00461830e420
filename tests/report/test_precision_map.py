"""The precision map: types of a small graph and of made-up operators, by layer."""

from __future__ import annotations

import onnx_ir as ir
from onnx import TensorProto, helper

from hamsa_deploy.report.document import document_of
from hamsa_deploy.report.page import html_from_document
from hamsa_deploy.report.precision_html import alike, precision_part, split_path, type_text
from hamsa_deploy.report.precision_map import layers_of_engine, layers_of_file
from hamsa_runtime.backends import Operator

from .comparisons import facts, section

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16


def graph() -> ir.Graph:
    """A product of dequantised factors, its activation, a cast, and a product in float16."""
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s"], ["x"], name="dq_x"),
        helper.make_node("DequantizeLinear", ["w", "s"], ["wf"], name="dq_w"),
        helper.make_node("MatMul", ["x", "wf"], ["a"], name="product"),
        helper.make_node("Relu", ["a"], ["b"], name="relu"),
        helper.make_node("Cast", ["b"], ["c"], name="cast", to=HALF),
        helper.make_node("MatMul", ["c", "h"], ["y"], name="half"),
    ]
    for node, module in zip(nodes, ["body.0.in", "body.0.in", "body.0.in", "body.0.act", "head", "head"], strict=True):
        node.metadata_props.add(key="module", value=module)
    kinds = {"q": TensorProto.INT8, "w": TensorProto.INT8, "s": FLOAT, "h": HALF}
    inputs = [helper.make_tensor_value_info(name, kind, [2, 2] if name != "s" else []) for name, kind in kinds.items()]
    types = {"x": FLOAT, "wf": FLOAT, "a": FLOAT, "b": FLOAT, "c": HALF}
    inner = [helper.make_tensor_value_info(name, kind, [2, 2]) for name, kind in types.items()]
    outputs = [helper.make_tensor_value_info("y", HALF, [2, 2])]
    return ir.serde.deserialize_graph(helper.make_graph(nodes, "g", inputs, outputs, value_info=inner))


def test_what_the_file_asks_for() -> None:
    assert layers_of_file(graph()) == {
        "body.0.in": {"products": {"i8": 1}, "others": {}},
        "body.0.act": {"products": {}, "others": {"f32": 1}},
        "head": {"products": {"f16": 1}, "others": {}},
    }


def test_what_an_engine_runs() -> None:
    operators = [
        Operator("FullyConnected", "u8", ("body.0.in/product/fused", "body.0.act/relu")),
        Operator("MatMul", "f32", ("head/half",)),
        Operator("Convert", "f16", ("head/half",)),
        Operator("Reorder", "f32", ("", "inserted/by the engine")),
    ]
    assert layers_of_engine(operators, ["body.0.in", "body.0.act", "head", "tail"]) == {
        "body.0.in": {"products": {"i8": 1}, "others": {}},
        "body.0.act": {"products": {"i8": 1}, "others": {}},
        "head": {"products": {"f32": 1}, "others": {}},
        "tail": {"products": {}, "others": {}},
    }


def test_without_a_file_that_tells_the_engines_names_do() -> None:
    operators = [Operator("MatMul", "f32", ("head/half",)), Operator("Add", "f32", ("/add",))]
    assert layers_of_engine(operators, []) == {
        "head": {"products": {"f32": 1}, "others": {}},
        "": {"products": {}, "others": {"f32": 1}},
    }


def test_paths_are_split_after_the_last_number() -> None:
    assert split_path("stages.0.blocks.1.hss.sass") == ("stages.0.blocks.1", "hss.sass")
    assert split_path("stages.0") == ("stages.0", "the block itself")
    assert split_path("head") == ("the model itself", "head")
    assert split_path("") == ("the model itself", "inputs and outputs")
    assert split_path("conv2d.norm") == ("the model itself", "conv2d.norm")


def test_tiles_say_their_type_in_words() -> None:
    layers = [
        {"module": "body.0.in", "products": {"i8": 2}, "others": {"f32": 1}},
        {"module": "body.0.dft", "products": {"i8": 1, "f32": 3}, "others": {}},
    ]
    found = section() | {"precision_maps": [{"title": "as it is", "layers": layers}]}
    page = html_from_document(document_of(facts(), {"parity": found}))
    assert '<span class="tile i8" title="body.0.in: products 2 int8; other operators 1 float32">in <b>int8</b>' in page
    assert ">dft <b>1 int8, 3 float32</b>" in page


def test_float32_in_a_layer_of_float16_is_said() -> None:
    assert type_text({"f16": 3}, {"f16": 9, "f32": 4}) == ("float16, 4 others float32", "mixed")
    assert type_text({"i8": 3}, {"f32": 4}) == ("int8", "i8")
    assert type_text({}, {"f32": 4}) == ("float32", "f32")
    assert type_text({}, {}) == ("not told by the engine", "f32")


def test_blocks_that_are_alike_stand_in_one_row() -> None:
    one, other = ([{"name": "a", "products": {kind: 1}, "others": {}}] for kind in ("i8", "f32"))
    groups = alike({"b.0": one, "b.1": one, "b.2": other, "b.3": one})
    assert [blocks for blocks, _ in groups] == [["b.0", "b.1"], ["b.2"], ["b.3"]]


def test_layers_that_int8_makes_slower_are_named() -> None:
    layers = [{"pays": True, "layers": ["body.0 (a)"]}, {"pays": False, "layers": ["body.1 (b)", "head (c)"]}]
    bundle = facts()
    bundle["manifest"]["int8_choice"] = {"layers": layers}
    text = str(precision_part(document_of(bundle, {})))
    assert "body.1 (b), head (c)" in text
    assert "body.0 (a)" not in text
    assert "slower in int8" not in str(precision_part(document_of(facts(), {})))
