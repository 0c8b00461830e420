"""What engines run in which precision: counted, and found in real engines, where a request and the truth differ."""

from __future__ import annotations

import shutil
from pathlib import Path

import onnx
import openvino
import pytest
import torch

import hamsa_deploy
from hamsa_deploy.measure.execution import count_executed, in_words
from hamsa_deploy.precision.int8.int8_sites import sites_of
from hamsa_runtime import Engine
from hamsa_runtime.backends import Operator
from hamsa_runtime.bundle import Bundle
from tests.rewriting import rewrite_manifest

from ..precision.products import Classifier, classifier_graph, feeds


def test_products_others_and_conversions_are_counted_apart() -> None:
    found = count_executed(
        [
            Operator("FullyConnected", "i8", ("a",)),
            Operator("FullyConnected", "u8", ("b",)),
            Operator("MatMul", "f32", ("c",)),
            Operator("Subgraph", "u8", ("d",)),
            Operator("Cast", "f16", ("e",)),
        ],
        {},
    )
    assert (found.products, found.others, found.conversions) == ({"i8": 2, "f32": 1}, {"u8": 1}, 1)
    assert in_words(found.products) == "2 int8, 1 float32"


@pytest.mark.parametrize(
    ("kind", "precision", "name", "is_int8"),
    [
        ("MatMulIntegerToFloat", "u8", "node_7", True),
        ("FullyConnected", "i8", "node_7/WithoutBiases/DequantizationMultiply", True),
        ("FullyConnected", "f32", "node_7", False),
        ("FullyConnected", "i8", "node_71", False),
        ("Concatenation", "i8", "node_7", False),  # moves numbers, multiplies none
    ],
)
def test_a_layer_runs_in_int8_if_an_int8_product_bears_its_name(
    kind: str, precision: str, name: str, is_int8: bool
) -> None:
    operators = [Operator(kind, precision, ("other", name))]
    assert count_executed(operators, {"node_7": "layer"}).not_int8 == (() if is_int8 else ("layer",))


def test_node_names_may_have_slashes() -> None:
    operators = [Operator("FullyConnected", "i8", ("/blocks/0/MatMul/WithoutBiases",))]
    assert count_executed(operators, {"/blocks/0/MatMul": "a", "/blocks/1/MatMul": "b"}).not_int8 == ("b",)


@pytest.fixture(scope="module", params=["onnx", "openvino"])
def int8_bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The classifier."""
    return hamsa_deploy.export(
        Classifier().eval(), (torch.zeros(2, 3, 8, 8),), to=request.param, precision="int8",
        output=tmp_path_factory.mktemp("int8") / "b", data=feeds(1)[0],
        calibration=feeds(8), calibration_method="min-max",
    )  # fmt: skip


@pytest.fixture(scope="module")
def layers(int8_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    target = int8_bundle.manifest.target
    graph = classifier_graph(tmp_path_factory.mktemp("graph"), target).graph
    return {site.node: site.layer for site in sites_of(graph, target)}


def test_the_manifest_holds_what_the_engine_compiled(int8_bundle: Bundle, layers: dict[str, str]) -> None:
    execution = int8_bundle.manifest.execution
    assert execution is not None
    with Engine(int8_bundle.folder) as engine:
        found = count_executed(engine.operators(), layers)
    assert execution.products == found.products
    assert execution.others == found.others
    assert execution.products["i8"] == len(layers)
    assert execution.products["f32"] >= 1  # the transform
    assert (execution.not_int8, found.not_int8) == ((), ())


def test_times_are_of_one_inference_and_positive(int8_bundle: Bundle) -> None:
    execution = int8_bundle.manifest.execution
    assert execution is not None
    assert execution.batch == 1
    assert min(execution.milliseconds, execution.float32_milliseconds, execution.ratio) > 0


def test_a_layer_that_lost_its_int8_kernel_is_named(
    int8_bundle: Bundle, layers: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "spoilt"
    shutil.copytree(int8_bundle.folder, folder)
    node, layer = next((node, layer) for node, layer in layers.items() if layer.startswith("mix"))
    spoil = _spoil_onnx if int8_bundle.manifest.target == "onnx" else _spoil_openvino
    spoil(folder, node)
    with Engine(folder) as engine:
        assert count_executed(engine.operators(), layers).not_int8 == (layer,)


def _spoil_onnx(folder: Path, name: str) -> None:
    """One product gets its activation as it is, beside weights in int8."""
    model = onnx.load(folder / "model.onnx")
    sources = {output: node.input[0] for node in model.graph.node for output in node.output}
    product = next(node for node in model.graph.node if node.name == name)
    product.input[0] = sources[sources[product.input[0]]]  # before QuantizeLinear and DequantizeLinear
    onnx.save(model, folder / "model.onnx")
    rewrite_manifest(folder)


def _spoil_openvino(folder: Path, name: str) -> None:
    """The same."""
    model = openvino.Core().read_model(folder / "model.xml")
    product = next(node for node in model.get_ordered_ops() if node.get_friendly_name() == name)
    quantise = product.input(0).get_source_output().get_node()
    assert quantise.get_type_name() == "FakeQuantize"
    product.input(0).replace_source_output(quantise.input(0).get_source_output())
    openvino.save_model(model, folder / "spoilt.xml", compress_to_fp16=False)
    for suffix in ("xml", "bin"):
        (folder / f"spoilt.{suffix}").replace(folder / f"model.{suffix}")
    rewrite_manifest(folder)
