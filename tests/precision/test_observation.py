"""Values between nodes are the same, whether their sessions are kept or, to save memory, opened for each run."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from hamsa_deploy.precision import observation

from ..runtime.tiny_bundles import image_model

NAMES = ["mixed", "positive", "pooled", "embedding"]
RUNS = 3


def values(opened: list[str], patch: pytest.MonkeyPatch) -> list[dict[str, np.ndarray]]:
    make = observation._session

    def counted(model: ir.Model, names: tuple[str, ...]) -> object:
        opened.extend(names)
        return make(model, names)

    patch.setattr(observation, "_session", counted)
    patch.setattr(observation, "GROUP_BYTES", 0)  # a session for each value
    model = ir.from_proto(onnx.shape_inference.infer_shapes(image_model("runtime", "batch")))
    feeds = [{"x": np.random.default_rng(seed).random((2, 3, 8, 12), np.float32)} for seed in range(RUNS)]
    return list(observation.observed(model, NAMES, feeds))


def test_sessions_that_would_take_too_much_memory_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[str] = []
    anew: list[str] = []
    with monkeypatch.context() as patch:
        expected = values(kept, patch)
    with monkeypatch.context() as patch:
        patch.setattr(observation, "SESSIONS_BYTES", 0)
        found = values(anew, patch)
    assert kept == NAMES
    assert anew == NAMES * RUNS
    for one, other in zip(expected, found, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])
