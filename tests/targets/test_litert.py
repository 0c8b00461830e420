"""The target litert: a model that computes what the original does, one input at a time."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import hamsa_deploy
from hamsa_deploy.form.request import Request
from hamsa_deploy.pipeline.checks import check_request
from hamsa_deploy.targets import target_of
from hamsa_deploy.targets.record import Order
from hamsa_runtime import Engine
from hamsa_runtime.bundle import Bundle
from hamsa_runtime.errors import BuildError, InputError, MissingError
from hamsa_runtime.manifest import InputSpec, OutputSpec

NEEDS = "litert-torch is not installed: pip install 'hamsa-deploy[litert]'"
needs_litert = pytest.mark.skipif(importlib.util.find_spec("litert_torch") is None, reason=NEEDS)
TARGET = target_of("litert")


class Filter(nn.Module):
    """A learned filter of spectra, behind which a norm stands, which no batch of any size could be lowered through; and
    the numbers of positive outputs, of 64 bits."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(9, dtype=torch.complex64, generator=torch.Generator().manual_seed(0)))
        self.norm = nn.LayerNorm(16)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y = self.norm(torch.fft.irfft(torch.fft.rfft(x) * self.weight, n=16))
        return {"y": y, "positive": (y > 0).sum(-1)}


class Running(nn.Module):
    """Keeps a sum of spectra between calls."""

    heard: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("heard", torch.ones(1, 9))

    def forward(self, x: Tensor) -> Tensor:
        self.heard = self.heard + torch.fft.rfft(x).abs()
        return self.heard


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("litert") / "bundle"
    return hamsa_deploy.export(Filter().eval(), example_inputs=(torch.randn(2, 16),), to="litert", output=folder)


@needs_litert
def test_a_bundle_holds_the_model_alone_and_agrees_with_the_original(bundle: Bundle) -> None:
    assert list(bundle.manifest.files) == ["model.tflite"]
    assert bundle.manifest.parity is not None
    x = torch.randn(5, 16, generator=torch.Generator().manual_seed(1))
    expected = Filter().eval()(x)
    with Engine(bundle.folder, threads=1) as engine:
        found = engine({"x": x.numpy()})
    np.testing.assert_allclose(found["y"], expected["y"].detach(), atol=2e-5)
    np.testing.assert_array_equal(found["positive"], expected["positive"])
    assert found["positive"].dtype == np.int64


@needs_litert
def test_what_runs_is_known_and_xnnpack_is_in_it(bundle: Bundle) -> None:
    with Engine(bundle.folder) as engine:
        kinds = [each.kind for each in engine.operators()]
        assert "XNNPACK" in engine.describe()["operators"]
        with pytest.raises(MissingError, match="does not time operators"):
            engine.profile()
    assert "DELEGATE" in kinds
    assert "FULLY_CONNECTED" not in kinds  # it is XNNPACK's, and listed once


@needs_litert
def test_what_a_model_keeps_goes_from_call_to_call(tmp_path: Path) -> None:
    hamsa_deploy.export(Running().eval(), example_inputs=(torch.randn(1, 16),), to="litert", output=tmp_path / "bundle")
    fresh, x = Running().eval(), torch.randn(1, 16, generator=torch.Generator().manual_seed(2))
    with Engine(tmp_path / "bundle") as engine, torch.no_grad():
        for _ in range(3):
            np.testing.assert_allclose(engine({"x": x.numpy()})["output"], fresh(x), rtol=1e-5)


@needs_litert
@pytest.mark.parametrize(("key", "to", "found"), [("shape", ["batch", 8], "'x' is float32"), ("name", "z", "inputs")])
def test_a_manifest_of_another_model_is_told_before_it_runs(
    bundle: Bundle, tmp_path: Path, key: str, to: object, found: str
) -> None:
    manifest = json.loads((bundle.folder / "manifest.json").read_text())
    manifest["inputs"][0][key] = to
    (tmp_path / "model.tflite").write_bytes((bundle.folder / "model.tflite").read_bytes())
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BuildError, match=found):
        Engine(tmp_path)


@needs_litert
def test_a_file_that_is_none_and_a_device_that_is_not_there_are_refused(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no device 'GPU'"):
        Engine(bundle.folder, device="GPU")
    manifest = json.loads((bundle.folder / "manifest.json").read_text())
    digest = hashlib.sha256(b"nothing").hexdigest()
    manifest["files"]["model.tflite"] = {"sha256": digest, "bytes": len(b"nothing")}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "model.tflite").write_bytes(b"nothing")
    with pytest.raises(BuildError, match="cannot load"):
        Engine(tmp_path)


@needs_litert
def test_an_operator_without_a_lowering_is_a_build_error_that_names_it(tmp_path: Path) -> None:
    @torch.library.custom_op("hamsa_tests::foreign", mutates_args=())
    def foreign(x: Tensor) -> Tensor:
        return x.clone()

    foreign.register_fake(torch.empty_like)

    class Foreign(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return foreign(x)

    program = torch.export.export(Foreign().eval(), (torch.ones(2),))
    order = Order(
        "fp32", program=program, inputs=(InputSpec("x", "float32", (2,)),), outputs=(OutputSpec("y", "float32", (2,)),)
    )
    with pytest.raises(BuildError, match="hamsa_tests"):
        TARGET.write(tmp_path, order)


@needs_litert
def test_lower_precisions_take_less_and_the_engine_says_what_it_computes_in(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 64)).eval()
    sizes, errors, examples = {}, {}, (torch.randn(2, 64),)
    for precision in ("fp32", "fp16", "int8"):
        made = hamsa_deploy.export(
            model, example_inputs=examples, to="litert", precision=precision, output=tmp_path / precision
        )
        sizes[precision] = made.manifest.files["model.tflite"].bytes
        assert made.manifest.parity is not None
        errors[precision] = made.manifest.parity.metrics["output"]["max_relative_error"]
    assert 1e-6 < errors["fp16"] < 1e-3  # it is another model, and near
    assert 1e-4 < errors["int8"] < 5e-2
    assert sizes["fp16"] < 0.55 * sizes["fp32"]
    assert sizes["int8"] < 0.35 * sizes["fp32"]
    assert made.manifest.execution is not None
    for precision, said in (("fp16", "f32, weights f16"), ("int8", "f32, weights i8")):
        with Engine(tmp_path / precision) as engine:
            assert engine.describe()["precision"] == said


def test_what_it_lacks_is_refused_with_its_reason() -> None:
    with pytest.raises(InputError, match="precision bf16 for litert") as caught:
        check_request(Request(nn.ReLU().eval(), (torch.ones(2, 3),), to="litert", precision="bf16"))
    assert caught.value.cause == TARGET.lacks["bf16"]


@pytest.mark.parametrize(
    "said",
    [
        {"calibration": np.zeros((2, 3), np.float32)},
        {"calibration_method": "percentile"},
        {"max_drop": 0.5},
        {"only_where_it_pays": True},
    ],
    ids=lambda said: next(iter(said)),
)
@pytest.mark.parametrize("to", ["litert", "executorch"])
def test_what_steers_our_own_int8_is_refused_and_not_ignored(to: str, said: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"for int8 on {to}") as caught:
        check_request(Request(nn.ReLU().eval(), (torch.ones(2, 3),), to=to, precision="int8", **said))
    assert "when it runs" in caught.value.cause


def test_without_the_package_the_extra_is_named_before_anything_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "hamsa_runtime.backends.litert", raising=False)
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(MissingError, match="litert") as caught:
        check_request(Request(nn.ReLU().eval(), (torch.ones(2, 3),), to="litert"))
    assert "[litert]" in str(caught.value.fix)
