"""The target coreml: a package that coremltools makes of the model; nothing here can run it, and nothing says so."""

from __future__ import annotations

import importlib.util
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import hamsa_deploy
from hamsa_deploy.form.request import Request
from hamsa_deploy.models.preprocessing import IMAGENET
from hamsa_deploy.pipeline.checks import check_request
from hamsa_deploy.pipeline.run import stages_of
from hamsa_deploy.targets import all_targets, target_of
from hamsa_deploy.targets.record import Order
from hamsa_runtime import Engine
from hamsa_runtime.bundle import Bundle
from hamsa_runtime.errors import BuildError, InputError, MissingError
from hamsa_runtime.manifest import InputSpec, OutputSpec

NEEDS = "coremltools is not installed: pip install 'hamsa-deploy[coreml]'"
needs_coreml = pytest.mark.skipif(importlib.util.find_spec("coremltools") is None, reason=NEEDS)
elsewhere = pytest.mark.skipif(sys.platform == "darwin", reason="Core ML runs here")
TARGET = target_of("coreml")


class Filter(nn.Module):
    """A learned filter of spectra, and the numbers of positive outputs, of 64 bits."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(9, dtype=torch.complex64, generator=torch.Generator().manual_seed(0)))
        self.norm = nn.LayerNorm(16)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y = self.norm(torch.fft.irfft(torch.fft.rfft(x) * self.weight, n=16))
        return {"y": y, "positive": (y > 0).sum(-1)}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("coreml") / "bundle"
    return hamsa_deploy.export(
        Filter().eval(), example_inputs=(torch.ones(2, 16),), to="coreml", precision="fp16", output=folder
    )


@needs_coreml
@elsewhere
def test_a_bundle_that_nothing_has_run_says_so_and_never_that_it_passed(
    bundle: Bundle, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    assert bundle.manifest.parity is None
    assert all(name.startswith("model.mlpackage/") for name in bundle.manifest.files)
    with caplog.at_level(logging.WARNING, logger="hamsa_deploy"):
        hamsa_deploy.export(nn.ReLU().eval(), example_inputs=(torch.ones(2, 3),), to="coreml", output=tmp_path / "b")
    assert "NOT VERIFIED: nothing has run this bundle" in caplog.text
    with pytest.raises(MissingError, match="runs on Apple's systems"):
        Engine(bundle.folder)
    assert "parity" not in stages_of("coreml", "fp16")


@needs_coreml
def test_the_package_takes_and_gives_what_the_manifest_says(bundle: Bundle) -> None:
    import coremltools

    spec = coremltools.models.MLModel(str(bundle.folder / "model.mlpackage"), skip_model_load=True).get_spec()
    types = coremltools.proto.FeatureTypes_pb2.ArrayFeatureType
    (x,), outputs = spec.description.input, {port.name: port.type.multiArrayType for port in spec.description.output}
    assert (x.name, list(x.type.multiArrayType.shape), x.type.multiArrayType.dataType) == ("x", [1, 16], types.FLOAT32)
    assert {name: each.dataType for name, each in outputs.items()} == {"y": types.FLOAT32, "positive": types.INT32}


@needs_coreml
def test_the_backend_converts_types_at_the_border_and_cuts_batches(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a Mac that is made up: its Core ML is the model itself."""
    import coremltools

    package = coremltools.models.MLModel(str(bundle.folder / "model.mlpackage"), skip_model_load=True)

    class Loaded:
        def __init__(self, path: str, compute_units: object) -> None:
            self.get_spec = package.get_spec

        def predict(self, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            assert {name: (str(each.dtype), each.shape) for name, each in given.items()} == {"x": ("float32", (1, 16))}
            with torch.no_grad():
                found = Filter().eval()(torch.from_numpy(given["x"]))
            return {"y": found["y"].numpy(), "positive": found["positive"].numpy().astype(np.int32)}

    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(coremltools.models, "MLModel", Loaded)
    x = torch.randn(3, 16, generator=torch.Generator().manual_seed(1))
    expected = Filter().eval()(x)
    with Engine(bundle.folder) as engine:
        found: Any = engine({"x": x.numpy()})
    assert found["positive"].dtype == np.int64
    np.testing.assert_array_equal(found["positive"], expected["positive"])
    np.testing.assert_allclose(found["y"], expected["y"].detach(), atol=1e-6)


class OfPixels(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x + 200).float().mean((1, 2, 3))


@needs_coreml
def test_pixels_become_integers_only_where_nothing_can_tell(tmp_path: Path) -> None:
    import coremltools

    how, data = IMAGENET.resized_to((8, 8)), [np.zeros((8, 8, 3), np.uint8)]
    model = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten()).eval()
    made = hamsa_deploy.export(
        model, to="coreml", preprocessing=how, input_dtype="uint8", data=data, output=tmp_path / "b"
    )
    spec = coremltools.models.MLModel(str(made.folder / "model.mlpackage"), skip_model_load=True).get_spec()
    types = coremltools.proto.FeatureTypes_pb2.ArrayFeatureType
    assert spec.description.input[0].type.multiArrayType.dataType == types.INT32
    assert made.manifest.inputs[0].dtype == "uint8"
    program = torch.export.export(OfPixels().eval(), (torch.ones(1, 3, 2, 2, dtype=torch.uint8),))
    inputs, outputs = (InputSpec("x", "uint8", (1, 3, 2, 2)),), (OutputSpec("y", "float32", (1,)),)
    with pytest.raises(BuildError, match="its input 'x' is uint8, and computed with as such"):
        TARGET.write(tmp_path, Order("fp32", program=program, inputs=inputs, outputs=outputs))


def test_int8_is_refused_with_its_reason() -> None:
    with pytest.raises(InputError, match="precision int8 for coreml") as caught:
        check_request(Request(nn.ReLU().eval(), (torch.ones(2, 3),), to="coreml", precision="int8"))
    assert caught.value.cause == TARGET.lacks["int8"]


@elsewhere
def test_only_this_target_is_published_without_having_been_run() -> None:
    assert [each.name for each in all_targets() if each.no_engine_here()] == ["coreml"]


@elsewhere
def test_plans_cannot_be_measured_where_nothing_runs() -> None:
    with pytest.raises(MissingError, match="no engine to measure plans with"):
        check_request(Request(nn.ReLU().eval(), (torch.ones(2, 3),), to="coreml", tune=True))


def test_without_the_package_the_extra_is_named_before_anything_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "hamsa_runtime.backends.coreml", raising=False)
    monkeypatch.setitem(sys.modules, "coremltools", None)
    with pytest.raises(MissingError, match="coreml") as caught:
        check_request(Request(nn.ReLU().eval(), (torch.ones(2, 3),), to="coreml"))
    assert "[coreml]" in str(caught.value.fix)
