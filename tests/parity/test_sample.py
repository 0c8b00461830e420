"""What a page compares again: inputs as graphs take them, the original's outputs, and what errors are relative to."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hamsa_deploy.parity.differences import relative_errors
from hamsa_deploy.parity.sample import SAMPLES, sample_of
from hamsa_runtime.manifest import Audio, InputSpec, Manifest, OutputSpec, Preprocessing, State, manifest_from_json

from ..runtime.tiny_bundles import manifest_for

RATE = 8000


class Doubled(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return 2 * x.flatten(1), (x.flatten(1) > 0).sum(1)


class Summed(nn.Module):
    heard: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("heard", torch.ones(1, 4))

    def forward(self, x: Tensor) -> Tensor:
        self.heard = self.heard + x
        return self.heard


def manifest(inputs: list[InputSpec], outputs: list[OutputSpec], **changes: Any) -> Manifest:
    base = manifest_from_json(json.dumps(manifest_for()).encode())
    return base.__class__(
        **{**vars(base), "inputs": tuple(inputs), "outputs": tuple(outputs), "preprocessing": None, **changes}
    )


def test_the_first_images_as_the_graph_takes_them() -> None:
    how = Preprocessing((4, 6), 3, "bicubic", 1.0, (0.5,) * 3, (0.5,) * 3)
    found = sample_of(
        Doubled(),
        list(np.random.default_rng(0).integers(0, 256, (SAMPLES + 2, 9, 9, 3), dtype=np.uint8)),
        manifest(
            [InputSpec("x", "uint8", ("batch", 4, 6, 3), "NHWC")],
            [OutputSpec("y", "float32", ("batch", 72)), OutputSpec("n", "int64", ("batch",))],
            preprocessing=how,
        ),
    )
    assert {name: (str(each.dtype), each.shape) for name, each in found.items()} == {
        "input.x": ("uint8", (SAMPLES, 4, 6, 3)),
        "output.y": ("float32", (SAMPLES, 72)),
        "unit.y": ("float32", (SAMPLES, 72)),
        "output.n": ("int64", (SAMPLES,)),  # equal, or not: without a unit
    }
    pixels = found["input.x"].transpose(0, 3, 1, 2).astype(np.float32)
    np.testing.assert_allclose(found["output.y"], 2 * (pixels / 255 - 0.5).reshape(SAMPLES, -1) / 0.5, rtol=1e-5)


def test_a_fixed_batch_is_filled_up() -> None:
    how = Preprocessing((4, 6), 3, "bicubic", 1.0, (0.5,) * 3, (0.5,) * 3)
    found = sample_of(
        Doubled(),
        [np.full((4, 6, 3), level, np.uint8) for level in (1, 2)],
        manifest(
            [InputSpec("x", "uint8", (3, 4, 6, 3), "NHWC")],
            [OutputSpec("y", "float32", (3, 72)), OutputSpec("n", "int64", (3,))],
            preprocessing=how,
        ),
    )
    assert found["input.x"][:, 0, 0, 0].tolist() == [1, 2, 2]
    assert found["output.y"].shape == (3, 72)


@pytest.mark.parametrize("error", [1e-3, 7.0])
def test_units_give_the_errors_that_the_manifest_has(error: float) -> None:
    x = np.random.default_rng(1).normal(size=(3, 50)).astype(np.float32)
    x[1, 7] = 1e9  # a masked class, which must not stretch the scale
    found = sample_of(
        Doubled(),
        {"x": x},
        manifest(
            [InputSpec("x", "float32", ("batch", 50))],
            [OutputSpec("y", "float32", ("batch", 50)), OutputSpec("n", "int64", ("batch",))],
        ),
    )
    expected = found["output.y"]
    moved = expected + np.float32(error)
    measured = np.abs(moved.astype(float) - expected) / found["unit.y"]
    np.testing.assert_allclose(measured, relative_errors(moved, expected), rtol=1e-6)


def test_of_a_stream_its_calls_from_the_start() -> None:
    state = State("heard", "float32", (1, 4), "heard_in", "heard_out", True)
    clip = np.arange(10, dtype=np.float32)
    found = sample_of(
        Summed(),
        [clip[None, :4], clip[None, 4:8]],
        manifest(
            [InputSpec("x", "float32", (1, 4))],
            [OutputSpec("y", "float32", (1, 4))],
            states=(state,),
            audio=Audio("x", RATE, 1),
        ),
    )
    np.testing.assert_array_equal(found["input.x"], [[[0, 1, 2, 3]], [[4, 5, 6, 7]]])
    np.testing.assert_array_equal(found["output.y"], [[[1, 2, 3, 4]], [[5, 7, 9, 11]]])
    # Errors are relative to the whole stream: a block of silence has no scale of its own.
    assert found["unit.y"].min() > 3
