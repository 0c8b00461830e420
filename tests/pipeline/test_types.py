"""What a model may take and give: types, complex numbers, data from files, whole exports of tiny models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import hamsa_deploy
from hamsa_runtime import Engine
from hamsa_runtime.errors import InputError
from hamsa_runtime.manifest import Preprocessing

X = torch.randn(2, 16, generator=torch.Generator().manual_seed(0))
Z = torch.complex(X, X.flip(1))


def filtered(x: torch.Tensor) -> torch.Tensor:
    return torch.fft.irfft(torch.fft.rfft(x) * 2, n=16)


class Half(nn.Module):
    """Computes in the type of its weights."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Linear(16, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.scale(x)
        return filtered(y.float()).to(y.dtype)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_model_in_float16_is_judged_by_the_limits_of_float16(precision: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    bundle = hamsa_deploy.export(
        Half().half().eval(), (X.half(),), to="onnx", precision=precision, output=tmp_path / "b"
    )
    assert (bundle.manifest.inputs[0].dtype, bundle.manifest.outputs[0].dtype) == ("float16", "float16")
    assert bundle.manifest.parity is not None
    assert bundle.manifest.parity.thresholds["max_relative_error"] == 0.01
    assert ("computes in float16" in bundle.manifest.parity.note) == (precision == "fp32")


def test_bfloat16_at_the_border_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="example inputs in bfloat16"):
        hamsa_deploy.export(Half().bfloat16().eval(), (X.bfloat16(),), to="onnx", output=tmp_path / "b")

    class Narrowed(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return filtered(x).bfloat16()

    with pytest.raises(InputError, match="the output 'output' is bfloat16"):
        hamsa_deploy.export(Narrowed().eval(), (X,), to="onnx", output=tmp_path / "b")


def test_complex_numbers_are_named_and_may_be_given_as_they_are(tmp_path: Path) -> None:
    class Inverse(nn.Module):
        def forward(self, z: torch.Tensor) -> dict[str, torch.Tensor]:
            y = torch.fft.ifft(z * 2)
            return {"y": y, "conjugate": y.conj(), "imaginary": y.conj().imag}

    bundle = hamsa_deploy.export(Inverse().eval(), (Z,), to="onnx", output=tmp_path / "b", data=Z.numpy())
    [given] = bundle.manifest.inputs
    assert (given.shape, given.is_complex) == (("batch", 16, 2), True)
    assert {spec.name: (spec.shape, spec.is_complex) for spec in bundle.manifest.outputs} == {
        "y": (("batch", 16, 2), True), "conjugate": (("batch", 16, 2), True), "imaginary": (("batch", 16), False),
    }  # fmt: skip
    expected = torch.fft.ifft(Z * 2)
    with Engine(bundle.folder) as engine:
        for z in (Z.numpy(), torch.view_as_real(Z).numpy()):
            found = engine(z)
            torch.testing.assert_close(
                torch.from_numpy(found["conjugate"]), torch.view_as_real(expected.conj_physical())
            )
            torch.testing.assert_close(torch.from_numpy(found["imaginary"]), -expected.imag)
        with pytest.raises(InputError, match="float32") as caught:
            engine(X.numpy())
        assert "or the complex numbers themselves" in caught.value.expected


def test_data_may_be_a_folder_or_a_file(tmp_path: Path) -> None:
    how = Preprocessing((8, 8), 3, "bicubic", 1.0, (0.5,) * 3, (0.5,) * 3)
    (tmp_path / "photos").mkdir()
    for i, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (2, 9, 9, 3), np.uint8)):
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{i}.png")
    np.savez(tmp_path / "x.npz", x=X.numpy())

    class Model(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.fft.fft(x).abs()

    def images(data: str, **options: Any) -> int:
        bundle = hamsa_deploy.export(Model().eval(), to="onnx", output=tmp_path / "b", data=data, **options)
        assert bundle.manifest.parity is not None
        return bundle.manifest.parity.images

    assert images(str(tmp_path / "photos"), preprocessing=how) == 2
    assert images(str(tmp_path / "x.npz"), example_inputs=(X,)) == 2
    with pytest.raises(InputError, match="no such file"):
        images(str(tmp_path / "photo"), preprocessing=how)


def test_a_batch_that_is_asked_for_is_that_of_the_examples(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a batch of 3 with example inputs whose first dimension is 2"):
        hamsa_deploy.export(Half().eval(), (X,), to="onnx", output=tmp_path / "b", batch=3)
