"""hamsa-run of a stranger's bundle: the same refusals as Python's, and limits of time and memory for the rest."""

from __future__ import annotations

import resource
import subprocess
from pathlib import Path

import numpy as np
import pytest

from hamsa_runtime import Engine
from hamsa_runtime.errors import InputError
from tests.runtime.external_models import bundle_of
from tests.runtime.greedy_models import GREEDY, HONEST, largest, node

LOGITS = {"name": "y", "dtype": "float32", "shape": ["batch", 2]}
MEMORY = (600 * 2**20, 600 * 2**20)


def hamsa_run(build: Path, bundle: Path, *options: str, memory: tuple[int, int] | None = None) -> tuple[int, str]:
    """Exit code and what it said of a run on ones."""
    np.save(bundle.parent / "x.npy", np.ones((1, 2), np.float32))
    words: list[str | Path] = [
        build / "hamsa-run",
        "--threads",
        "1",
        *options,
        "--save",
        bundle.parent,
        bundle,
        bundle.parent / "x.npy",
    ]
    limit = None if memory is None else lambda: resource.setrlimit(resource.RLIMIT_DATA, memory)
    done = subprocess.run(words, capture_output=True, text=True, preexec_fn=limit)
    return done.returncode, done.stderr


@pytest.mark.parametrize("name", GREEDY)
def test_what_takes_too_much_is_refused_in_the_same_words(name: str, build: Path, tmp_path: Path) -> None:
    folder = bundle_of(GREEDY[name][0], tmp_path / "b")
    with pytest.raises(InputError) as caught:
        Engine(folder, backend="openvino")
    assert hamsa_run(build, folder) == (2, f"hamsa-run: {caught.value}\n")


@pytest.mark.parametrize("name", HONEST)
def test_what_takes_little_is_run(name: str, build: Path, tmp_path: Path) -> None:
    assert hamsa_run(build, bundle_of(HONEST[name], tmp_path / "b")) == (0, "")


def test_what_does_not_end_is_ended(build: Path, tmp_path: Path) -> None:
    products = [node("MatMul", [f"v{k}"] * 2, [f"v{k + 1}" if k < 9 else "v"]) for k in range(10)]
    top = [node("ReduceMax", ["x"], ["top"], keepdims=0), node("ConstantOfShape", ["s"], ["c"])]
    slow = largest(*top, node("Add", ["c", "top"], ["v0"]), *products, s=[8192] * 2)
    code, said = hamsa_run(build, bundle_of(slow, tmp_path / "b"), "--timeout", "1")
    assert (code, "b did not end within 1 s" in said) == (2, True), said
    assert "--public-key, or --timeout 0" in said


def test_what_finds_no_memory_says_so(build: Path, tmp_path: Path) -> None:
    large = bundle_of(largest(node("ConstantOfShape", ["s"], ["v"]), s=[2**28]), tmp_path / "b")
    code, said = hamsa_run(build, large, memory=MEMORY)
    assert (code, "it needs more memory than the 600 MiB that it may take" in said) == (2, True), said


def test_what_is_obeyed_by_a_terminal_is_escaped(build: Path, tmp_path: Path) -> None:
    folder = bundle_of(HONEST["a product"], tmp_path / "b", labels=["[red]a", "ü"], outputs=[LOGITS])
    odd = "x\x1b[31m\u202e\x9b\udcff.npy"
    np.save(tmp_path / odd, np.ones((1, 2), np.float32))
    done = subprocess.run([build / "hamsa-run", folder, odd], cwd=tmp_path, capture_output=True)
    lines = done.stdout.decode().splitlines()
    assert lines[0] == r"x\x1b[31m\u202e\x9b\udcff.npy"
    assert sorted(line.split()[-1] for line in lines[1:]) == ["[red]a", "ü"]
    missing = subprocess.run([build / "hamsa-run", folder, "no" + odd], cwd=tmp_path, capture_output=True)
    assert rb"no" + rb"x\x1b[31m\u202e\x9b\udcff.npy" in missing.stderr


def test_a_time_that_is_none_is_refused(build: Path, tmp_path: Path) -> None:
    for time in ("-1", "1.5", "soon"):
        code, said = hamsa_run(build, tmp_path, "--timeout", time)
        assert (code, f"--timeout is '{time}'" in said) == (2, True)
