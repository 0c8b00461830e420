"""The target web: the ONNX bundle, the page beside it, and what that compares again. tests/js opens it in a browser."""

from __future__ import annotations

import stat
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from torch import Tensor, nn

import hamsa_deploy
import hamsa_deploy.targets.web as web
from hamsa_deploy.form.request import Request
from hamsa_deploy.pipeline.checks import check_request
from hamsa_deploy.targets import target_of
from hamsa_deploy.targets.here import Machine
from hamsa_runtime import Engine
from hamsa_runtime.bundle import Bundle, open_bundle
from hamsa_runtime.errors import MissingError
from hamsa_runtime.vocabulary import SAMPLE_FILE


class Filter(nn.Module):
    """A filter of spectra."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.irfft(torch.fft.rfft(x) * torch.linspace(1, 0, 9), n=16)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Instead of the page, which needs Node.js."""
    site = tmp_path_factory.mktemp("site")
    (site / "assets").mkdir()
    (site / "index.html").write_text("page")
    (site / "assets/engine.wasm").write_bytes(b"engine")
    (site / "index.html").chmod(0o600)
    return site


@pytest.fixture(scope="module")
def bundle(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    data = torch.randn(6, 16, generator=torch.Generator().manual_seed(0)).numpy()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(web, "SITE", site)
        folder = tmp_path_factory.mktemp("bundle") / "bundle"
        return hamsa_deploy.export(Filter().eval(), (torch.zeros(2, 16),), to="web", data={"x": data}, output=folder)


def test_a_bundle_is_that_of_onnx_with_the_page_and_a_sample(bundle: Bundle) -> None:
    assert sorted(bundle.manifest.files) == ["assets/engine.wasm", "index.html", "model.onnx", SAMPLE_FILE]
    open_bundle(bundle.folder).verify()
    x = np.random.default_rng(0).normal(size=(3, 16)).astype(np.float32)
    with Engine(bundle.folder) as engine:
        assert engine.describe()["backend"] == "onnxruntime"
        [y] = engine({"x": x}).values()
    np.testing.assert_allclose(y, Filter()(torch.from_numpy(x)), atol=1e-6)


def test_a_web_server_of_another_user_may_read_all_of_it(bundle: Bundle) -> None:
    modes = {path: path.stat().st_mode for path in bundle.folder.rglob("*") if path.is_file()}
    assert all(mode & stat.S_IROTH for mode in modes.values()), modes


def test_the_sample_is_of_the_original(bundle: Bundle) -> None:
    sample = load_file(bundle.folder / SAMPLE_FILE)
    [name] = [spec.name for spec in bundle.manifest.outputs]
    assert sorted(sample) == ["input.x", f"output.{name}", f"unit.{name}"]
    np.testing.assert_array_equal(sample[f"output.{name}"], Filter()(torch.from_numpy(sample["input.x"])))


def test_without_the_page_nothing_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "SITE", tmp_path)
    request = Request(Filter().eval(), (torch.zeros(2, 16),), to="web")
    with pytest.raises(MissingError, match="not built") as caught:
        check_request(request)
    assert "make page" in caught.value.fix


def test_the_doctor_says_whether_it_can_be_exported(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine: Machine = None  # type: ignore[assignment]  # it is not asked
    for folder, expected in ((site, True), (tmp_path, False)):
        monkeypatch.setattr(web, "SITE", folder)
        answer = target_of("web").answer("fp32", machine)
        assert answer.yes == expected
        assert bool(answer.why) != expected
