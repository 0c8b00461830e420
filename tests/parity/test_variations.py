"""What a comparison of all images at once leaves out is compared as well: streams, and other sizes of free axes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim

import hamsa_deploy
from hamsa_runtime import Engine
from hamsa_runtime.bundle import Bundle
from hamsa_runtime.errors import InputError


class Magnitudes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.window: Tensor
        self.register_buffer("window", torch.hann_window(16))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y = torch.stft(x, 16, 4, window=self.window, return_complex=True).abs()
        return {"frames": y, "rows": y.transpose(1, 2).flatten(0, 1)}


class Halves(nn.Module):
    """Another model from 21 steps on."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.fft(x, dim=1).abs() * (1 if x.shape[-1] < 21 else 2)


def exported(model: nn.Module, x: Tensor, shapes: object, folder: Path) -> Bundle:
    return hamsa_deploy.export(model.eval(), (x,), to="onnx", output=folder, dynamic_shapes=shapes)


@pytest.fixture(scope="module")
def timed(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    x = torch.randn(2, 48, generator=torch.Generator().manual_seed(0))
    shapes = ({0: Dim("batch"), 1: Dim("steps", max=4096)},)
    return exported(Magnitudes(), x, shapes, tmp_path_factory.mktemp("timed") / "b")


def test_sizes_are_named_in_the_manifest_and_the_file(timed: Bundle) -> None:
    assert timed.manifest.inputs[0].shape == ("batch", "steps")
    assert [spec.shape for spec in timed.manifest.outputs] == [
        ("batch", 9, "(steps//4) + 1"), ("batch*((steps//4) + 1)", 9),
    ]  # fmt: skip
    assert [spec.batch_axis for spec in timed.manifest.outputs] == [0, 0]


def test_any_size_within_the_limits_is_right_and_no_other_is_taken(timed: Bundle) -> None:
    model = Magnitudes()
    with Engine(timed.folder) as engine:
        engine.warm_up()
        for shape in ((1, 48), (3, 20), (2, 333)):
            x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
            found, expected = engine(x.numpy()), model(x)
            for name, value in expected.items():
                torch.testing.assert_close(torch.from_numpy(found[name]), value, atol=1e-4, rtol=1e-4)
        apart = list(engine.stream([row[None] for row in x.numpy()]))
        torch.testing.assert_close(torch.from_numpy(apart[1]["rows"]), model(x[1:])["rows"], atol=1e-4, rtol=1e-4)
        with pytest.raises(InputError, match="the axis 'steps' is 4097"):
            engine(torch.zeros(1, 4097).numpy())


def test_of_a_branch_that_a_size_decides_the_limits_are_kept(tmp_path: Path) -> None:
    bundle = exported(Halves(), torch.ones(2, 4, 18), ({0: Dim("batch"), 2: Dim("steps")},), tmp_path / "b")
    assert [(axis.min, axis.max) for axis in bundle.manifest.axes] == [
        (2, 20)
    ]  # torch.export takes 1 for a size of its own
