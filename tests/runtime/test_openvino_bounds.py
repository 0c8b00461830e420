"""Models that would run without end or fill the memory are refused by OpenVINO's sizes, before it computes anything."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hamsa_runtime import Engine
from hamsa_runtime.backends.openvino_bounds import check_bounds
from hamsa_runtime.errors import InputError

from .external_models import bundle_of
from .greedy_models import GREEDY, HONEST, doubled, largest

openvino = pytest.importorskip("openvino")
X = np.ones((1, 2), np.float32)


@pytest.mark.parametrize("name", GREEDY)
def test_what_takes_too_much_is_refused_in_little_memory(name: str, tmp_path: Path) -> None:
    model, found = GREEDY[name]
    folder = bundle_of(model, tmp_path / "b")
    with pytest.raises(InputError, match=rf"model\.onnx: .*{found}") as caught:
        Engine(folder, backend="openvino")
    assert "try: export the model again" in str(caught.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 2**21  # KiB: no test of this process took 2 GiB


@pytest.mark.parametrize("name", HONEST)
def test_what_takes_little_is_run(name: str, tmp_path: Path) -> None:
    with Engine(bundle_of(HONEST[name], tmp_path / "b"), backend="openvino") as engine:
        assert np.isfinite(engine(X)["y"]).all()


def graph(times: int) -> Any:
    """An input of 8 bytes, doubled so often."""
    model = openvino.Core().read_model(largest(*doubled("x", times)).SerializeToString(), b"")
    model.reshape({"x": [1, 2]})
    return model


def test_the_limit_is_two_gibibytes_and_what_files_and_inputs_explain() -> None:
    check_bounds(graph(27), 0)  # the last two: 1 GiB and half of it
    with pytest.raises(InputError, match=f"it takes {3 * 2**30} bytes for its values at a time, beyond {2**31 + 512}"):
        check_bounds(graph(28), 0)
    check_bounds(graph(28), 2**26)


def test_a_free_axis_is_the_callers() -> None:
    model = openvino.Core().read_model(largest(*doubled("x", 40)).SerializeToString(), b"")
    model.reshape({"x": [-1, 2]})
    check_bounds(model, 0)
