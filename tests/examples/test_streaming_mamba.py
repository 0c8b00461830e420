"""The causal Mamba, fed step by step and in pieces, against the whole sequence in eager PyTorch."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.export import Dim

import hamsa_deploy
from hamsa_runtime import Engine

from ..cpp.building import built, run
from .conftest import EXAMPLES

LENGTH, CLOSE = 24, 1e-6  # of the largest output


@pytest.fixture(scope="module")
def example() -> dict[str, Any]:
    return runpy.run_path(str(EXAMPLES / "streaming_mamba.py"))


@pytest.fixture(scope="module")
def steps(example: dict[str, Any]) -> np.ndarray:
    shape = (1, LENGTH, example["WIDTH"])
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@pytest.fixture(scope="module")
def whole(example: dict[str, Any], steps: np.ndarray) -> np.ndarray:
    """In one call."""
    with torch.inference_mode():
        y: np.ndarray = example["make"]()(torch.from_numpy(steps)).numpy()
    return y


@pytest.fixture(scope="module")
def one_step(example: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of one step to a call, of an example of zeros."""
    folder = tmp_path_factory.mktemp("streaming") / "b"
    example_step = torch.zeros(1, 1, example["WIDTH"])
    hamsa_deploy.export(example["make"](), (example_step,), to="openvino", output=folder, dynamic_shapes={})
    return folder


def assert_whole(pieces: list[np.ndarray], whole: np.ndarray) -> None:
    assert np.abs(np.concatenate(pieces, 1) - whole).max() < CLOSE * np.abs(whole).max()


def test_step_by_step_is_the_whole_and_a_reset_begins_anew(
    one_step: Path, steps: np.ndarray, whole: np.ndarray
) -> None:
    with Engine(one_step, threads=1) as engine:
        assert [state.name for state in engine.manifest.states] == ["0.conv", "0.h", "1.conv", "1.h"]
        for _ in range(2):
            assert_whole([engine(steps[:, i : i + 1])["output"] for i in range(LENGTH)], whole)
            engine.reset()


def test_step_by_step_in_cpp(one_step: Path, steps: np.ndarray, whole: np.ndarray, tmp_path: Path) -> None:
    files = [tmp_path / f"{i}.npy" for i in range(LENGTH)]
    for i, file in enumerate(files):
        np.save(file, steps[:, i : i + 1])
    run([built() / "hamsa-run", "--threads", 1, "--save", tmp_path, one_step, *files], tmp_path)
    assert_whole([np.load(tmp_path / f"{i}-output.npy") for i in range(LENGTH)], whole)


def test_pieces_of_any_length_are_the_whole(example: dict[str, Any], steps: np.ndarray, tmp_path: Path) -> None:
    shapes = ({1: Dim("steps", min=2, max=64)},)
    hamsa_deploy.export(
        example["make"](1), example["example_inputs"](), to="onnx", output=tmp_path / "b", dynamic_shapes=shapes
    )
    with torch.inference_mode():
        expected = example["make"](1)(torch.from_numpy(steps)).numpy()
    with Engine(tmp_path / "b", threads=1) as engine:
        assert_whole([engine(each)["output"] for each in np.split(steps, [2, 15], 1)], expected)
        engine.reset()
        assert_whole([engine(steps)["output"]], expected)
