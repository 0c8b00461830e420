"""export(): from a model to a published bundle, or to nothing at all."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import hamsa_deploy
from hamsa_deploy.models import load_model, model_entry
from hamsa_deploy.parity import check_parity, metrics
from hamsa_deploy.samples import digits
from hamsa_runtime import Engine
from hamsa_runtime.errors import InputError, ParityError

IMAGES, LABELS = digits()


def nano(output, to: str, precision: str = "fp32", **options):
    entry = model_entry("hamsa_nano")
    return hamsa_deploy.export(
        load_model("hamsa_nano"), to=to, precision=precision, output=output, name="hamsa_nano",
        preprocessing=entry.preprocessing, labels=entry.labels, data=IMAGES[:40], **options,
    )  # fmt: skip


EXPORTS = "onnx-fp32 onnx-fp16 onnx-int8 openvino-fp32 openvino-fp16 openvino-bf16 openvino-int8"


@pytest.fixture(scope="module", params=EXPORTS.split())
def bundle(request, tmp_path_factory):
    to, precision = request.param.split("-")
    if to == "openvino":
        import openvino

        capability = {"fp32": "FP32", "fp16": "FP16", "bf16": "BF16", "int8": "INT8"}[precision]
        if capability not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            pytest.skip(f"this CPU cannot run {precision}: the export refuses it, see the runtime's tests")
    options = {"calibration": list(IMAGES[40:140]), "calibration_method": "percentile"} if precision == "int8" else {}
    return nano(tmp_path_factory.mktemp("bundles") / request.param, to, precision, **options)


def test_every_target_and_precision_classifies_the_held_out_digits(bundle):
    with Engine(bundle.folder) as engine:
        best = [int(rows[0][0]) for rows in engine.classify(list(IMAGES), top=1)]
    assert np.mean(np.array(best) == LABELS) >= 0.97


def test_the_manifest_holds_the_proof(bundle):
    manifest = json.loads((bundle.folder / "manifest.json").read_text())
    assert manifest["parity"]["passed"]
    assert manifest["parity"]["images"] == 40
    assert set(manifest["parity"]["metrics"]) == {"logits", "embedding"}
    assert {row["length"] for row in manifest["plan"]} == {256, 64, 16, 4}
    assert all(row["module"].endswith("hss.sass") for row in manifest["plan"])
    assert manifest["inputs"][0]["shape"] == ["batch", 32, 32, 3]
    assert (manifest["inputs"][0]["dtype"], manifest["inputs"][0]["layout"]) == ("uint8", "NHWC")


def test_the_manifest_says_what_runs_in_which_precision(bundle):
    manifest, products = bundle.manifest, 73  # 4 convolutions, 50 linears, 1 head, 18 with Fourier matrices
    if manifest.precision == "fp32":
        assert manifest.execution is None
        return
    counts = {
        "onnx-fp16": {"f32": products},  # ONNX Runtime's CPU has no products in float16
        "onnx-int8": {"i8": 50, "f32": products - 50},  # linears
        "openvino-fp16": {"f16": products},
        "openvino-bf16": {"bf16": products},
        "openvino-int8": {"i8": 55, "f32": products - 55},  # linears, convolutions, head
    }
    assert manifest.execution.products == counts[f"{manifest.target}-{manifest.precision}"]
    assert manifest.execution.not_int8 == ()
    assert manifest.execution.milliseconds > 0


def test_a_precision_that_is_not_what_runs_is_warned_of(tmp_path, caplog):
    hamsa_deploy.export(Filter().eval(), (torch.randn(2, 32, 4),), to="onnx", precision="fp16", output=tmp_path / "b")
    assert any("products do not run in fp16, although it was asked for" in text for text in caplog.messages)


def test_lower_precisions_shrink_the_weights(bundle):
    manifest = bundle.manifest
    weights = sum(entry.bytes for name, entry in manifest.files.items() if name.endswith((".bin", ".onnx")))
    parameters = 4 * manifest.model.parameters
    share = {"int8": 0.9}.get(manifest.precision, 0.8)  # the filters K, and the graph itself, which is not small here
    assert (weights < parameters * share) == (manifest.precision != "fp32")


def test_a_float_input_and_a_fixed_batch(tmp_path):
    bundle = nano(tmp_path / "b", "onnx", input_dtype="float32", batch=4)
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


def test_any_module_with_arrays_for_inputs(tmp_path):
    bundle = hamsa_deploy.export(Filter().eval(), (torch.randn(2, 32, 4),), to="openvino", output=tmp_path / "b")
    assert [spec.name for spec in bundle.manifest.inputs] == ["signal"]
    assert [spec.name for spec in bundle.manifest.outputs] == ["output_0", "output_1"]
    x = torch.randn(5, 32, 4, generator=torch.Generator().manual_seed(1))
    with Engine(bundle.folder) as engine, torch.inference_mode():
        np.testing.assert_allclose(engine(x.numpy())["output_0"], Filter()(x)[0].numpy(), atol=1e-5)


def test_failed_parity_publishes_nothing_and_keeps_the_old_bundle(tmp_path, monkeypatch):
    nano(tmp_path / "b", "onnx")
    before = {path.name: path.read_bytes() for path in (tmp_path / "b").iterdir()}
    impossible = metrics.Thresholds(max_relative_error=-1, cosine=2, top1=2)
    monkeypatch.setitem(metrics.THRESHOLDS, "fp32", impossible)
    with pytest.raises(ParityError):
        nano(tmp_path / "b", "onnx")
    assert {path.name: path.read_bytes() for path in (tmp_path / "b").iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"to": "tensorflow"}, "target"),
        ({"to": "onnx", "precision": "bf16"}, "bf16"),
        ({"to": "onnx", "input_dtype": "int4"}, "input type"),
        ({"to": "onnx", "batch": 0}, "batch"),
    ],
)
def test_bad_requests_fail_before_anything_is_written(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        nano(tmp_path / "b", **options)
    assert not list(tmp_path.iterdir())


def test_a_model_with_nan_in_its_weights_is_refused(tmp_path):  # faults.md row 6
    model = Filter().eval()
    with torch.no_grad():
        model.kernel[0, 0, 0] = float("nan")
    with pytest.raises(InputError, match="kernel"):
        hamsa_deploy.export(model, (torch.randn(2, 32, 4),), to="onnx", output=tmp_path / "b")
