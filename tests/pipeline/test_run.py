"""export(): from a model to a published bundle, or to nothing at all."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

import hamsa_deploy
from hamsa_deploy.models import load_model, model_entry
from hamsa_deploy.models.preprocessing import DIGITS
from hamsa_deploy.parity import check_parity, metrics
from hamsa_deploy.pipeline.max_drop import Accuracy
from hamsa_deploy.samples import digits
from hamsa_runtime import Bundle, Engine
from hamsa_runtime.backends.onnxruntime import has_native_transforms
from hamsa_runtime.errors import InputError, ParityError
from hamsa_runtime.manifest import Calibration, Execution
from hamsa_runtime.vocabulary import PASSES, SCHEMA
from tests.shared import Nano

IMAGES, LABELS = digits()
needs_native = pytest.mark.skipif(not has_native_transforms(), reason="this ONNX Runtime has no inverse real DFT")


def export_nano(output: Path, to: str, precision: str = "fp32", **options: Any) -> Bundle:
    entry = model_entry("hamsa_nano")
    return hamsa_deploy.export(
        load_model("hamsa_nano"), to=to, precision=precision, output=output, name="hamsa_nano",
        preprocessing=entry.preprocessing, labels=entry.labels, data=IMAGES[:40], **options,
    )  # fmt: skip


def calibrated(images: int) -> dict[str, Any]:
    """Options of int8, with images that the comparison does not take."""
    return {"calibration": list(IMAGES[40 : 40 + images]), "calibration_method": "percentile"}


def execution_of(bundle: Bundle) -> Execution:
    assert bundle.manifest.execution is not None
    return bundle.manifest.execution


def calibration_of(bundle: Bundle) -> Calibration:
    assert bundle.manifest.calibration is not None
    return bundle.manifest.calibration


EXPORTS = "onnx-fp32 onnx-fp16 onnx-int8 openvino-fp32 openvino-fp16 openvino-bf16 openvino-int8"


@pytest.fixture(scope="module", params=EXPORTS.split())
def bundle(request: pytest.FixtureRequest, nano: Nano) -> Bundle:
    return nano(*request.param.split("-"))


def test_every_target_and_precision_classifies_the_held_out_digits(bundle: Bundle) -> None:
    with Engine(bundle.folder) as engine:
        best = [int(rows[0][0]) for rows in engine.classify(list(IMAGES), top=1)]
    assert np.mean(np.array(best) == LABELS) >= 0.97


def test_the_manifest_is_valid_by_its_published_schema_and_writes_itself_again(bundle: Bundle) -> None:
    data = (bundle.folder / "manifest.json").read_bytes()
    jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(data))
    assert bundle.manifest.to_json() == data


def test_the_manifest_holds_the_proof(bundle: Bundle) -> None:
    manifest = json.loads((bundle.folder / "manifest.json").read_text())
    assert manifest["parity"]["passed"]
    assert manifest["parity"]["images"] == 40
    assert set(manifest["parity"]["metrics"]) == {"logits", "embedding"}
    assert {row["length"] for row in manifest["plan"]} == {256, 64, 16, 4}
    assert all(row["module"].endswith("hss.sass") for row in manifest["plan"])
    assert manifest["inputs"][0]["shape"] == ["batch", 32, 32, 3]
    assert (manifest["inputs"][0]["dtype"], manifest["inputs"][0]["layout"]) == ("uint8", "NHWC")


def test_the_manifest_says_what_runs_in_which_precision(bundle: Bundle) -> None:
    manifest = bundle.manifest
    fewer = 2 * sum(each.form == "stacked" for each in manifest.linears)  # one product in place of three
    linears = 50 - fewer
    products = 4 + linears + 1 + 18  # convolutions, linears, head, Fourier matrices
    if manifest.precision == "fp32":
        assert manifest.execution is None
        return
    counts = {
        "onnx-fp16": {"f32": products},  # ONNX Runtime's CPU has no products in float16
        "onnx-int8": {"i8": linears, "f32": products - linears},
        "openvino-fp16": {"f16": products},
        "openvino-bf16": {"bf16": products},
        "openvino-int8": {"i8": linears + 5, "f32": products - linears - 5},  # linears, convolutions, head
    }
    execution = execution_of(bundle)
    assert execution.products == counts[f"{manifest.target}-{manifest.precision}"]
    assert execution.not_int8 == ()
    assert execution.milliseconds > 0


def test_a_precision_that_is_not_what_runs_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    hamsa_deploy.export(Filter().eval(), (torch.randn(2, 32, 4),), to="onnx", precision="fp16", output=tmp_path / "b")
    assert any("products do not run in fp16, although it was asked for" in text for text in caplog.messages)


def test_lower_precisions_shrink_the_weights(bundle: Bundle) -> None:
    manifest = bundle.manifest
    weights = sum(entry.bytes for name, entry in manifest.files.items() if name.endswith((".bin", ".onnx")))
    parameters = 4 * manifest.model.parameters
    share = {"int8": 0.9}.get(manifest.precision, 0.8)  # the filters K, and the graph itself, which is not small here
    assert (weights < parameters * share) == (manifest.precision != "fp32")


def test_a_float_input_and_a_fixed_batch(tmp_path: Path) -> None:
    bundle = export_nano(tmp_path / "b", "onnx", input_dtype="float32", batch=4)
    spec = bundle.manifest.inputs[0]
    assert (spec.shape, spec.dtype, spec.layout) == ((4, 3, 32, 32), "float32", "NCHW")
    report = check_parity(bundle.folder, load_model("hamsa_nano"), IMAGES[:7])
    assert report.passed
    assert report.images == 7


class Filter(nn.Module):
    """A learned filter between two transforms, with its own outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(17, 4, 2, generator=torch.Generator().manual_seed(0)))

    def forward(self, signal: Tensor) -> tuple[Tensor, Tensor]:
        spectrum = torch.fft.rfft(signal, dim=1) * torch.view_as_complex(self.kernel)
        return torch.fft.irfft(spectrum, n=32, dim=1), spectrum.abs().mean(dim=(1, 2))


def test_any_module_with_arrays_for_inputs(tmp_path: Path) -> None:
    bundle = hamsa_deploy.export(Filter().eval(), (torch.randn(2, 32, 4),), to="openvino", output=tmp_path / "b")
    assert [spec.name for spec in bundle.manifest.inputs] == ["signal"]
    assert [spec.name for spec in bundle.manifest.outputs] == ["output_0", "output_1"]
    x = torch.randn(5, 32, 4, generator=torch.Generator().manual_seed(1))
    with Engine(bundle.folder) as engine, torch.inference_mode():
        np.testing.assert_allclose(engine(x.numpy())["output_0"], Filter()(x)[0].numpy(), atol=1e-5)


@pytest.mark.slow  # the command does the same in tests/cli
def test_failed_parity_publishes_nothing_and_keeps_the_old_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_nano(tmp_path / "b", "onnx")
    before = {path.name: path.read_bytes() for path in (tmp_path / "b").iterdir()}
    impossible = metrics.Thresholds(max_relative_error=-1, cosine=2, top1=2)
    monkeypatch.setitem(metrics.THRESHOLDS, "fp32", impossible)
    with pytest.raises(ParityError):
        export_nano(tmp_path / "b", "onnx")
    assert {path.name: path.read_bytes() for path in (tmp_path / "b").iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


@pytest.mark.slow
@needs_native
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_native_transforms_in_lower_precision(tmp_path: Path, precision: str) -> None:
    bundle = export_nano(
        tmp_path / "b", "onnx", precision, fft="native", **(calibrated(60) if precision == "int8" else {})
    )
    manifest = bundle.manifest
    assert manifest.parity is not None
    assert manifest.parity.passed
    assert manifest.has_native_transforms
    nodes = onnx.load(tmp_path / "b" / "model.onnx").graph.node
    assert sum(node.op_type == "DFT" for node in nodes) == 10
    if precision == "int8":
        assert calibration_of(bundle).passes["mean-split"] == "0 of 0 transforms without the mean"
        assert execution_of(bundle).products == {"i8": 50, "f32": 5}  # linears; 4 convolutions and the head
    else:
        assert not any(reason.startswith("length") for reason in manifest.islands.values())  # 256, 64, 16 and 4


def test_native_transforms_are_refused_where_the_engine_or_the_source_has_no_use_for_them(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="native transforms for openvino") as raised:
        export_nano(tmp_path / "b", "openvino", fft="native")
    assert "reads the operator DFT wrongly" in raised.value.cause
    with pytest.raises(InputError, match="native transforms for tensorrt-rtx") as raised:
        export_nano(tmp_path / "b", "tensorrt-rtx", fft="native")
    assert raised.value.expected.startswith("them only for onnx, tensorrt and web,")
    with pytest.raises(InputError, match="tuning with native transforms"):
        export_nano(tmp_path / "b", "onnx", fft="native", tune=True)
    with pytest.raises(InputError, match="'nativ'") as raised:
        export_nano(tmp_path / "b", "onnx", fft="nativ")
    assert raised.value.fix == "did you mean 'native'?"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"to": "tensorflow"}, "target"),
        ({"to": "onnx", "precision": "bf16"}, "bf16"),
        ({"to": "onnx", "input_dtype": "int4"}, "input type"),
        ({"to": "onnx", "batch": 0}, "batch"),
        ({"to": "trt"}, "did you mean 'tensorrt'"),
        ({"to": "onnx", "precision": "half"}, "try: fp16"),
    ],
)
def test_bad_requests_fail_before_anything_is_written(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        export_nano(tmp_path / "b", **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": "labels.txt"}, r"labels given as 'labels\.txt'(.|\n)*read_text\(\)\.splitlines\(\)"),
        ({"labels": Path("labels.txt")}, "labels given as"),
        ({"output_names": "y"}, r"output_names given as 'y'(.|\n)*\['y'\]"),
        ({"preprocessing": {"mean": (123.675, 116.28, 103.53)}}, r"mean 123\.675(.|\n)*mean 0\.485, 0\.456, 0\.406"),
        ({"preprocessing": {"std": (58.0, 57.0, 57.0)}}, "std 58, 57, 57"),
        ({"preprocessing": {"resize": "area"}}, "resize is 'area'"),
        ({"data": np.zeros((32, 48, 3), np.uint8)}, r"uint8 array \(32, 48, 3\), which is one(.|\n)*\[image\]"),
        ({"model": nn.Flatten}, r"the class Flatten(.|\n)*Flatten\(\)\.eval\(\)"),
        ({"model": lambda x: x}, "a model given as function"),
        ({"model": "hamsa_nano"}, r"hamsa_deploy\.load_model\('hamsa_nano'\)"),
        ({"model": "net:make"}, r"hamsa_deploy\.load_model\('net:make'\)"),
        ({"model": "nofile.onnx"}, "nofile.onnx: no such file"),
    ],
)  # fmt: skip
def test_what_is_given_as_something_else_is_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    """Statistics of the wrong scale, and a text for a list, would agree with themselves, and pass."""
    how = dataclasses.replace(DIGITS, **changes.get("preprocessing", {}))
    given: dict[str, Any] = {"model": nn.Flatten().eval(), "preprocessing": how} | {
        name: value for name, value in changes.items() if name != "preprocessing"
    }
    with pytest.raises(InputError, match=message):
        hamsa_deploy.export(given.pop("model"), to="onnx", output=tmp_path / "b", **given)
    assert not list(tmp_path.iterdir())


def test_a_model_with_nan_in_its_weights_is_refused(tmp_path: Path) -> None:
    model = Filter().eval()
    with torch.no_grad():
        model.kernel[0, 0, 0] = float("nan")
    with pytest.raises(InputError, match="kernel"):
        hamsa_deploy.export(model, (torch.randn(2, 32, 4),), to="onnx", output=tmp_path / "b")


INT8: dict[str, Any] = {"calibration": list(IMAGES[40:100]), "calibration_method": "mse"}


def test_the_manifest_says_how_int8_was_calibrated(bundle: Bundle) -> None:
    if bundle.manifest.precision != "int8":
        assert bundle.manifest.calibration is None
        return
    record = calibration_of(bundle)
    assert (record.method, record.kept_layers) == ("percentile", ())
    assert (record.inputs.used, record.inputs.source) == (100, "a Python list")
    assert set(record.passes) == set(PASSES)
    assert record.int8_layers == execution_of(bundle).products["i8"]


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drops are cached: another test's would be taken for ours."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.slow
@pytest.mark.usefixtures("empty_cache")
def test_a_largest_drop_keeps_as_few_layers_as_it_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A drop that three layers in floating point avoid: the bundle that is measured says how many there are."""

    def drop(self: Accuracy, bundle: Bundle) -> float:
        graph = onnx.load(bundle.folder / "model.onnx").graph
        return 0.0 if sum(node.op_type == "QuantizeLinear" for node in graph.node) <= 47 else 1.0

    monkeypatch.setattr(Accuracy, "drop", drop)
    bundle = export_nano(tmp_path / "b", "onnx", "int8", max_drop=0.5, passes=(), **INT8)
    record = calibration_of(bundle)
    assert (len(record.kept_layers), record.int8_layers) == (3, 47)
    assert all(layer.startswith(("stages.", "head")) for layer in record.kept_layers)
    assert execution_of(bundle).products["i8"] == record.int8_layers


@pytest.mark.usefixtures("empty_cache")
def test_a_drop_that_cannot_be_had_is_a_parity_failure_with_the_ranking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nano: Nano
) -> None:
    monkeypatch.setattr(Accuracy, "drop", lambda self, bundle: 1.0)
    with nano.form("onnx"), pytest.raises(ParityError, match="even with one layer of 44 in int8") as raised:
        export_nano(tmp_path / "b", "onnx", "int8", max_drop=0.5, passes=(), **INT8)
    assert raised.value.exit_code == 3
    assert raised.value.cause.count(" dB") == 10
    assert not (tmp_path / "b").exists()


@pytest.mark.slow
def test_int8_outside_its_limits_names_the_layers_that_cost_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    impossible = metrics.Thresholds(max_relative_error=0, cosine=1, top1=1)
    monkeypatch.setitem(metrics.THRESHOLDS, "int8", impossible)
    with pytest.raises(ParityError, match="int8 is outside its limits") as raised:
        export_nano(tmp_path / "b", "onnx", "int8", passes=(), **INT8)
    assert "stages." in raised.value.cause
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"precision": "fp32", "max_drop": 0.5}, "a largest loss of 0.5 points for precision fp32"),
        ({"precision": "int8", "passes": ["smoth"]}, "smoth"),
    ],
)
def test_options_of_int8_are_checked_before_anything_is_built(
    tmp_path: Path, options: dict[str, Any], found: str
) -> None:
    with pytest.raises(InputError, match=found):
        export_nano(tmp_path / "b", "onnx", **options)


X = torch.randn(2, 16, generator=torch.Generator().manual_seed(0))
Z = torch.complex(X, X.flip(1))


def filtered(x: torch.Tensor) -> torch.Tensor:
    return torch.fft.irfft(torch.fft.rfft(x) * 2, n=16)


SIGNATURES: dict[str, tuple[Callable[..., Any], tuple[Any, ...], list[str], list[str]]] = {
    "a scalar": (lambda x: filtered(x).mean(), (X,), ["x"], ["output"]),
    "None and numbers among outputs": (
        lambda x: {"y": filtered(x), "size": 3, "mask": None, "speed": 1.5}, (X,), ["x"], ["y"],
    ),
    "an input returned, under its name": (lambda x: {"y": filtered(x), "x": x}, (X,), ["x"], ["y", "x_out"]),
    "one value under two names": (lambda x: (filtered(x), filtered(x)), (X,), ["x"], ["output_0", "output_1"]),
    "a number and None": (lambda x, speed, mask: filtered(x) * speed, (X, 1.5, None), ["x"], ["output"]),
    "a dict of twice one tensor": (
        lambda x: filtered(x["a"]) + x["b"], ({"a": X, "b": X},), ["x_a", "x_b"], ["output"],
    ),
    "lists in a list": (lambda x: filtered(x[0]) - x[1][0], ([X, [X + 1]],), ["x_0", "x_1_0"], ["output"]),
    "complex numbers": (lambda x, y: torch.fft.ifft(x * y).conj(), (Z, X), ["x", "y"], ["output"]),
    "whole numbers and bits": (
        lambda x, y: torch.where(y, filtered(torch.arange(16.0).cos()[x]), 0.0), (X.long() % 4, X > 0), ["x", "y"],
        ["output"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SIGNATURES)
def test_any_signature(name: str, tmp_path: Path) -> None:
    """Named after the paths of containers; what is no tensor is built in, or left out."""
    function, inputs, input_names, output_names = SIGNATURES[name]

    class Model(nn.Module):
        def forward(self, x: Any, y: Any = None, z: Any = None) -> Any:
            return function(*[x, y, z][: len(inputs)])

    bundle = hamsa_deploy.export(Model().eval(), inputs, to="onnx", output=tmp_path / "bundle", batch=2)
    assert [spec.name for spec in bundle.manifest.inputs] == input_names
    assert [spec.name for spec in bundle.manifest.outputs] == output_names
    assert bundle.manifest.parity is not None
    assert bundle.manifest.parity.passed
