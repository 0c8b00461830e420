"""What engines run in which precision: counted, and found in real engines, where a request and the truth differ."""

from __future__ import annotations

import shutil
from pathlib import Path

import onnx
import openvino
import pytest

import hamsa_deploy
from hamsa_deploy.bundle import Stage
from hamsa_deploy.models import load_model, model_entry
from hamsa_deploy.precision.executed import executed, in_words
from hamsa_deploy.samples import digits
from hamsa_runtime import Engine
from hamsa_runtime.backends import Operator
from hamsa_runtime.bundle import Bundle

IMAGES, _ = digits()
SPOILT, WHOLE = "node_linear_3", "node_linear_4"
LAYERS = {SPOILT: "first (node_linear_3)", WHOLE: "second (node_linear_4)"}


def test_products_others_and_conversions_are_counted_apart() -> None:
    found = executed(
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
    assert executed(operators, {"node_7": "layer"}).not_int8 == ([] if is_int8 else ["layer"])


def test_node_names_may_have_slashes() -> None:
    operators = [Operator("FullyConnected", "i8", ("/blocks/0/MatMul/WithoutBiases",))]
    assert executed(operators, {"/blocks/0/MatMul": "a", "/blocks/1/MatMul": "b"}).not_int8 == ["b"]


@pytest.fixture(scope="module", params=["onnx", "openvino"])
def int8_bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """hamsa_nano."""
    entry = model_entry("hamsa_nano")
    return hamsa_deploy.export(
        load_model("hamsa_nano"), to=request.param, precision="int8", output=tmp_path_factory.mktemp("int8") / "b",
        preprocessing=entry.preprocessing, data=list(IMAGES[:40]),
        calibration=list(IMAGES[:40]), calibration_method="percentile",
    )  # fmt: skip


def test_every_layer_that_calibration_chose_runs_in_int8(int8_bundle: Bundle) -> None:
    execution, calibration = int8_bundle.manifest.execution, int8_bundle.manifest.calibration
    assert execution is not None
    assert calibration is not None
    assert execution.not_int8 == ()
    assert execution.products["i8"] == calibration["int8_layers"]
    assert execution.products["f32"] >= 18  # the products with Fourier matrices at least stay as they are
    assert execution.ratio > 0
    assert execution.batch == 1


def test_a_layer_that_lost_its_int8_kernel_is_named(int8_bundle: Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "spoilt"
    shutil.copytree(int8_bundle.folder, folder)
    spoil = _spoil_onnx if int8_bundle.manifest.target == "onnx" else _spoil_openvino
    spoil(folder)
    with Engine(int8_bundle.folder) as good, Engine(_with_new_hashes(folder)) as bad:
        assert executed(good.operators(), LAYERS).not_int8 == []
        assert executed(bad.operators(), LAYERS).not_int8 == [LAYERS[SPOILT]]


def _spoil_onnx(folder: Path) -> None:
    """One product gets its activation as it is, beside weights in int8."""
    model = onnx.load(folder / "model.onnx")
    inputs = {output: node.input[0] for node in model.graph.node for output in node.output}
    node = next(node for node in model.graph.node if node.name == SPOILT)
    node.input[0] = inputs[inputs[node.input[0]]]  # before QuantizeLinear and DequantizeLinear
    onnx.save(model, folder / "model.onnx")


def _spoil_openvino(folder: Path) -> None:
    model = openvino.Core().read_model(folder / "model.xml")
    node = next(node for node in model.get_ordered_ops() if node.get_friendly_name() == f"{SPOILT}/WithoutBiases")
    quantise = node.input(0).get_source_output().get_node()
    assert quantise.get_type_name() == "FakeQuantize"
    node.input(0).replace_source_output(quantise.input(0).get_source_output())
    openvino.save_model(model, folder / "spoilt.xml", compress_to_fp16=False)
    del model
    for suffix in ("xml", "bin"):
        (folder / f"spoilt.{suffix}").replace(folder / f"model.{suffix}")


def _with_new_hashes(folder: Path) -> Path:
    import json

    document = json.loads((folder / "manifest.json").read_text())
    del document["files"]
    Stage(folder, folder).write_manifest(document)
    return folder
