"""Values between nodes are the same, whether they are fetched at once or, to save memory, in groups."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from hamsa_deploy.graph import observing

from ..runtime.tiny_bundles import image_model

NAMES = ["mixed", "positive", "pooled", "embedding"]
RUNS = 3


def values(group_bytes: int, opened: list[list[str]], patch: pytest.MonkeyPatch) -> dict[str, list[np.ndarray]]:
    """Every value of every run, in the order in which the runs came; `opened` takes what each session computes."""
    make = onnxruntime.InferenceSession.__init__

    def counted(session: onnxruntime.InferenceSession, *arguments: Any, **options: Any) -> None:
        make(session, *arguments, **options)
        opened.append([output.name for output in session.get_outputs()])

    patch.setattr(onnxruntime.InferenceSession, "__init__", counted)
    patch.setattr(observing, "GROUP_BYTES", group_bytes)
    model = ir.from_proto(onnx.shape_inference.infer_shapes(image_model("runtime", "batch")))
    feeds = ({"x": np.random.default_rng(seed).random((2, 3, 8, 12), np.float32)} for seed in range(RUNS))
    found = defaultdict(list)
    for arrays in observing.observe(model, NAMES, feeds):
        for name, array in arrays.items():
            found[name].append(array)
    return found


def test_groups_have_a_session_each_and_the_same_values(monkeypatch: pytest.MonkeyPatch) -> None:
    whole: list[list[str]] = []
    parts: list[list[str]] = []
    with monkeypatch.context() as patch:
        expected = values(2**20, whole, patch)
    with monkeypatch.context() as patch:
        found = values(0, parts, patch)
    assert whole == [NAMES]
    assert parts == [[name] for name in NAMES]
    assert found.keys() == expected.keys() == set(NAMES)
    for name in NAMES:
        assert len(expected[name]) == RUNS
        np.testing.assert_array_equal(found[name], expected[name])


def test_without_runs_there_are_no_values() -> None:
    model = ir.from_proto(onnx.shape_inference.infer_shapes(image_model("runtime", "batch")))
    assert list(observing.observe(model, NAMES, [])) == []
