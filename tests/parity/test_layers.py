"""The first layer that differs: clean bundles have none, and every planted fault is named where it was planted."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import onnx_ir as ir
import openvino
import pytest
from rich.console import Console
from torch import nn

import hamsa_deploy
from hamsa_deploy.cli.parity_summary import show_layers
from hamsa_deploy.models import load_model, model_entry
from hamsa_deploy.parity import comparison as comparison_module
from hamsa_deploy.parity.layers import LayerReport, divergence, layer_report
from hamsa_deploy.parity.layers.float32_form import float32_form
from hamsa_deploy.parity.layers.rows import Divergence
from hamsa_deploy.parity.metrics import BANDS
from hamsa_deploy.report.layers_plot import layers_drawing
from hamsa_deploy.samples import digits
from hamsa_runtime import Engine
from hamsa_runtime.bundle import open_bundle
from hamsa_runtime.errors import ParityError
from hamsa_runtime.manifest import Manifest
from hamsa_runtime.preprocess import Images
from tests.rewriting import rewrite_manifest
from tests.shared import Nano, skip_what_openvino_cannot_run

from .planted import change_constant, insert_behind, nodes, with_fault

BLOCK = "stages.1.blocks.0"
HIDDEN = f"{BLOCK}.ffn.expand"
# Digits are grey; with colours, channels in another order are a difference.
COLOURS = np.array([1.0, 0.7, 0.4])
IMAGES = list((digits()[0] * COLOURS).astype(np.uint8))


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return load_model("hamsa_nano")


@pytest.fixture(scope="module")
def bundles(model: nn.Module, nano: Nano, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The clean bundle of a variant such as onnx-fp32, exported when it is first asked for."""
    folder = tmp_path_factory.mktemp("bundles")

    def bundle(variant: str) -> Path:
        to, precision = variant.split("-")
        if precision == "fp32":
            return nano(to).folder
        if to == "openvino":
            skip_what_openvino_cannot_run(precision)
        if not (folder / variant).exists():
            calibration: dict[str, Any] = {}
            if precision == "int8":
                calibration = {"calibration": IMAGES[40:104], "calibration_method": "mse"}
            with nano.form(to):
                hamsa_deploy.export(
                    model, to=to, precision=precision, output=folder / variant, data=IMAGES[:8],
                    preprocessing=model_entry("hamsa_nano").preprocessing, **calibration,
                )  # fmt: skip
        return folder / variant

    return bundle


@pytest.fixture(autouse=True, scope="module")
def one_form_for_each_target() -> Iterator[None]:
    """The float32 form takes seconds, and is the same for all faults."""
    forms: dict[str, ir.Model] = {}

    def form(model: nn.Module, manifest: Manifest) -> ir.Model:
        if manifest.target not in forms:
            forms[manifest.target] = float32_form(model, manifest)
        return forms[manifest.target]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(divergence, "float32_form", form)
        yield


@pytest.fixture
def report_of(model: nn.Module, bundles: Callable[[str], Path], tmp_path: Path) -> Callable[..., LayerReport]:
    """The report on a variant with a fault in its graph."""

    def report(variant: str, fault: Callable[[ir.Model], None]) -> LayerReport:
        return layer_report(with_fault(bundles(variant), tmp_path / "faulty", fault), model, IMAGES, images=2)

    return report


def divergence_of(report: LayerReport) -> Divergence:
    assert report.divergence is not None
    return report.divergence


def first_input(node: ir.Node) -> ir.Value:
    assert node.inputs[0] is not None
    return node.inputs[0]


@pytest.mark.parametrize(
    "variant",
    [
        "onnx-fp32",
        pytest.param("onnx-fp16", marks=pytest.mark.slow),
        "onnx-int8",
        pytest.param("tensorrt-int8", marks=pytest.mark.slow),
        pytest.param("openvino-int8", marks=pytest.mark.slow),
    ],
)
def test_a_clean_bundle_has_no_divergence(variant: str, model: nn.Module, bundles: Callable[[str], Path]) -> None:
    report = layer_report(bundles(variant), model, IMAGES)
    assert report.passed, report.sentence()
    assert report.images == 4
    assert report.reference == "HAMSA in float64"
    assert not report.not_comparable
    compared = {row.module for row in report.rows}
    assert {"input", "stages.0.reduce", f"{BLOCK}.hss.sass", f"{BLOCK}.ffn.reduce", "norm", "head"} <= compared
    # 5 blocks of 9 modules each that compute something, 4 stages of 3, and norm, head, input, embedding
    assert len(compared) >= 5 * 9 + 4 * 3 + 4
    assert all(row.own_error <= row.band / 2 for row in report.rows)  # the bands are no tight fit


def test_one_weight(report_of: Callable[..., LayerReport]) -> None:
    def perturb(onnx: ir.Model) -> None:
        def change(weight: np.ndarray) -> np.ndarray:
            weight[3, 5] += 0.1
            return weight

        change_constant(onnx, nodes(onnx, f"{BLOCK}.ffn.expand", "MatMul")[0], 1, change)

    found = divergence_of(report_of("onnx-fp32", perturb))
    assert found.module == f"{BLOCK}.ffn.expand"
    assert found.operator == "MatMul"
    assert "hamsa.py:" in found.source
    assert found.stage == "file"
    assert found.before < BANDS["fp32"] < found.own_error
    assert "1 of 4096 numbers, by up to 0.1" in found.finding


def test_a_transform_with_a_wrong_norm(report_of: Callable[..., LayerReport]) -> None:
    def rescale(onnx: ir.Model) -> None:
        first = next(n for n in nodes(onnx, f"{BLOCK}.hss.sass", "MatMul") if first_input(n).const_value is not None)
        change_constant(onnx, first, 0, lambda matrix: matrix * np.float32(8))

    found = divergence_of(report_of("onnx-fp32", rescale))
    assert found.module == f"{BLOCK}.hss.sass"
    assert found.operator == "MatMul"
    assert "its constant" in found.finding


@pytest.mark.parametrize(
    ("variant", "module"),
    [
        ("onnx-int8", f"{BLOCK}.ffn.expand"),
        ("onnx-int8", f"{BLOCK}.hss.sass"),
        pytest.param("tensorrt-int8", f"{BLOCK}.hss.linear_out", marks=pytest.mark.slow),
    ],
)
def test_a_scale_doubled_in_the_int8_file(variant: str, module: str, report_of: Callable[..., LayerReport]) -> None:
    def double(onnx: ir.Model) -> None:
        pair = next(n for n in nodes(onnx, module, "DequantizeLinear") if first_input(n).producer() is not None)
        change_constant(onnx, pair, 1, lambda scale: scale * 2)

    report = report_of(variant, double)
    assert divergence_of(report).module == module
    assert divergence_of(report).operator == "DequantizeLinear"
    assert divergence_of(report).stage == "file"
    assert "QuantizeLinear divides by" in divergence_of(report).finding
    assert {row.module for row in report.rows if row.outside and not row.module.startswith("engine: ")} == {module}


def test_weight_scales_doubled_in_the_int8_file(report_of: Callable[..., LayerReport]) -> None:
    def double(onnx: ir.Model) -> None:
        weights = next(
            n for n in nodes(onnx, f"{BLOCK}.ffn.reduce", "DequantizeLinear") if first_input(n).producer() is None
        )
        change_constant(onnx, weights, 1, lambda scale: scale * 2)

    found = divergence_of(report_of("onnx-int8", double))
    assert found.module == f"{BLOCK}.ffn.reduce"
    assert found.before < BANDS["int8"]


def test_labels_permuted_are_the_last_layer_in_another_order(report_of: Callable[..., LayerReport]) -> None:
    order = [1, 0, 2, 3, 4, 5, 6, 7, 9, 8]

    def permute(onnx: ir.Model) -> None:
        head = nodes(onnx, "head", "Gemm")[0]
        for index in (1, 2):
            change_constant(onnx, head, index, lambda array: array[order])

    report = report_of("onnx-fp32", permute)
    assert divergence_of(report).module == "head"
    assert "another order along axis 1: 1, 0, 2, 3, 4, 5, 6, 7, 9, 8" in divergence_of(report).finding
    assert [row.module for row in report.rows if row.outside] == ["head"]


def test_swapped_channels_are_a_difference_of_the_input(report_of: Callable[..., LayerReport]) -> None:
    def swap(onnx: ir.Model) -> None:
        pixels = nodes(onnx, "", "Transpose")[0].outputs[0]
        insert_behind(onnx, pixels, "Gather", np.array([2, 1, 0]), axis=1)

    report = report_of("onnx-fp32", swap)
    assert divergence_of(report).module == "input"
    assert divergence_of(report).stage == "preprocessing"
    assert [row.module for row in report.rows if row.outside] == ["input"]


def test_float16_overflow(report_of: Callable[..., LayerReport]) -> None:
    def overflow(onnx: ir.Model) -> None:
        product = nodes(onnx, f"{BLOCK}.ffn.expand", "MatMul")[0]
        change_constant(onnx, product, 1, lambda weight: weight * np.float16(3e4))

    found = divergence_of(report_of("onnx-fp16", overflow))
    assert found.module == f"{BLOCK}.ffn.expand"
    assert "NaN or infinite" in found.finding
    assert found.own_error == np.inf


def test_the_report_as_json_is_finite(report_of: Callable[..., LayerReport]) -> None:
    def overflow(onnx: ir.Model) -> None:
        change_constant(onnx, nodes(onnx, "head", "Gemm")[0], 1, lambda weight: weight * np.float32(np.inf))

    document = json.loads(report_of("onnx-fp32", overflow).to_json())
    assert document["divergence"]["module"] == "head"
    assert document["divergence"]["own_error"] is None
    assert not document["passed"]


def test_no_images_are_no_agreement(model: nn.Module, bundles: Callable[[str], Path]) -> None:
    with pytest.raises(ParityError, match="no images"):
        layer_report(bundles("onnx-fp32"), model, [])


def test_the_drawing_names_the_first_layer_outside(report_of: Callable[..., LayerReport]) -> None:
    def perturb(onnx: ir.Model) -> None:
        change_constant(onnx, nodes(onnx, "head", "Gemm")[0], 1, lambda weight: weight * np.float32(1.5))

    report = report_of("onnx-fp32", perturb)
    drawing = ElementTree.fromstring(layers_drawing(report).as_file())  # noqa: S314  # our own drawing
    texts = [text.text for text in drawing.iter("{http://www.w3.org/2000/svg}text")]
    assert "head" in texts
    circles = list(drawing.iter("{http://www.w3.org/2000/svg}circle"))
    assert len(circles) == 2 * len(report.rows)
    marked = [circle for circle in circles if circle.get("r") == "5"]
    assert len(marked) == sum(row.outside for row in report.rows)
    assert "http" not in layers_drawing(report).as_file().replace("http://www.w3.org/2000/svg", "")


def test_the_table_has_a_row_for_each_layer_and_the_verdict(report_of: Callable[..., LayerReport]) -> None:
    def perturb(onnx: ir.Model) -> None:
        change_constant(onnx, nodes(onnx, "norm", "LayerNormalization")[0], 1, lambda gain: gain * np.float32(2))

    report = report_of("onnx-fp32", perturb)
    written = io.StringIO()
    show_layers(Console(file=written, width=160), report)
    text = written.getvalue()
    assert sum(line.endswith("outside") for line in map(str.rstrip, text.splitlines())) == 1
    assert len([line for line in text.splitlines() if line.startswith("stages.")]) == sum(
        row.module.startswith("stages.") for row in report.rows
    )
    assert "first divergence  norm" in text
    assert "64 of 64 numbers" in text


@pytest.mark.slow
def test_a_range_doubled_in_openvinos_ir(model: nn.Module, bundles: Callable[[str], Path], tmp_path: Path) -> None:
    folder = tmp_path / "faulty"
    shutil.copytree(bundles("openvino-int8"), folder)
    ir_model = openvino.Core().read_model(folder / "model.xml")
    value = next(
        str(n.outputs[0].name) for n in nodes(float32_form(model, open_bundle(folder).manifest), HIDDEN, "Add")
    )
    rounding = fake_quantize_before(ir_model, value)
    for port in (3, 4):  # of what comes out
        bound = rounding.input(port).get_source_output().get_node().data
        constant = openvino.op.Constant(np.array(bound * 2, np.float32))
        rounding.input(port).replace_source_output(constant.output(0))
    openvino.save_model(ir_model, tmp_path / "model.xml", compress_to_fp16=False)
    del ir_model
    for name in ("model.xml", "model.bin"):
        shutil.copy(tmp_path / name, folder / name)
    rewrite_manifest(folder)

    report = layer_report(folder, model, IMAGES, images=2)
    assert divergence_of(report).module == HIDDEN
    assert "hamsa.py:" in divergence_of(report).source
    assert {row.module for row in report.rows if row.outside and not row.module.startswith("engine: ")} == {HIDDEN}


def fake_quantize_before(model: openvino.Model, value: str) -> openvino.Node:
    """What rounds the input of the linear that computes a value."""
    node = next(n for n in model.get_ordered_ops() for port in n.outputs() if value in port.get_names())
    while node.get_type_name() != "FakeQuantize":
        node = node.input(0).get_source_output().get_node()
    return node


def test_an_error_of_the_real_form_is_told_from_one_of_the_file(
    model: nn.Module, bundles: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def perturb(onnx: ir.Model) -> None:
        change_constant(onnx, nodes(onnx, HIDDEN, "MatMul")[0], 1, lambda weight: weight * np.float32(1.5))

    folder = with_fault(bundles("onnx-fp32"), tmp_path / "faulty", perturb)
    monkeypatch.setattr(divergence, "float32_form", lambda *_: ir.load(folder / "model.onnx"))
    found = divergence_of(layer_report(folder, model, IMAGES, images=1))
    assert (found.module, found.stage) == (HIDDEN, "real form")


def test_an_error_of_the_engine_is_told_from_one_of_the_graph(
    model: nn.Module, bundles: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    class WrongEngine(Engine):
        def __call__(self, images: Images) -> dict[str, np.ndarray]:
            return {name: array * np.float32(1.01) for name, array in super().__call__(images).items()}

    bundle = bundles("onnx-fp32")  # which may be exported now, by an engine that is right
    monkeypatch.setattr(comparison_module, "Engine", WrongEngine)
    found = divergence_of(layer_report(bundle, model, IMAGES, images=1))
    assert (found.module, found.node, found.stage) == ("engine: logits", "onnxruntime", "engine")


def test_an_output_of_another_shape_is_no_agreement(bundles: Callable[[str], Path]) -> None:
    with pytest.raises(ParityError, match=r"output 'logits': \[1, 7\] in PyTorch, \[1, 10\] in the graph"):
        layer_report(bundles("onnx-fp32"), load_model("hamsa_nano", num_classes=7), IMAGES, images=1)
