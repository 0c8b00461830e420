"""Both languages take or refuse the same bytes, of everything that both read: from the corpus of fuzzing, and mutants.

Only whether they are taken is compared here, not the words, nor what is read: other tests do that.
"""

from __future__ import annotations

import ast
import io
import os
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from ..fuzz.mutations import ODD_NUMBERS, ODD_PIECES, ODD_STRINGS, TOKEN, mutated
from ..fuzz.targets import is_taken
from ..fuzz.test_replay import SEEDS
from ..runtime.manifest_values import cases
from ..runtime.tiny_bundles import MakeBundle
from .building import Probe

TARGETS = ("manifest", "bundle", "external", "ir", "image", "npy", "wav")
FEW = {"manifest": 1000}
# For a night: what parsers of JSON disagree about is rare among mutants.
MANY = {"manifest": 100_000}
# Of .npy files C++ reads those that a bundle's inputs can be, as numpy writes them.
IN_CPP = ("|b1", "|u1", "|i1", "<i4", "<i8", "<f2", "<f4", "<f8")
SAID = "\n{}: {:,} inputs, {:,} of them taken, no disagreement\n"

Verdict = tuple[bool, bool]


@pytest.fixture
def verdict(probe: Probe, tmp_path: Path) -> Callable[[str, bytes], Verdict]:
    """Whether Python takes the bytes, and whether C++ does."""

    def of(target: str, data: bytes) -> Verdict:
        path = tmp_path / "input"
        path.write_bytes(data)
        in_python, answer = is_taken(target, data, tmp_path), probe.ask("take", target, path)
        if answer.get("kind") == "MissingError":  # FLAC, in a build without libsndfile; WebP, without libwebp
            return in_python, in_python
        return in_python, answer == {}

    return of


def seeds(target: str) -> list[bytes]:
    """What is in the corpus."""
    paths = [path for path in SEEDS if path.parent.name == target]
    return [path.read_bytes() for path in paths]


def right_manifests() -> list[bytes]:
    """What differs from a good one by a right value."""
    return [case.data for case in cases() if case.is_right]


def mutants(target: str, known: list[bytes], count: int) -> Iterator[bytes]:
    """The seeds, and so many changes of them."""
    rng = random.Random(f"{target} 2")
    yield from known
    for _ in range(count):
        yield mutated(target, rng.choice(known), rng)


def every_odd_token() -> Iterator[bytes]:
    """Each token of the good manifests replaced by each odd one, and what may stand before and behind the whole."""
    for path in SEEDS:
        if path.parent.name == "manifest" and not path.name.startswith("crash-"):
            data = path.read_bytes()
            for piece in ODD_PIECES:
                yield from (piece + data, data + piece, data + b"\n" + piece)
            for token in TOKEN.finditer(data):
                for odd in (*ODD_NUMBERS, *ODD_STRINGS, *ODD_PIECES):
                    yield data[: token.start()] + odd + data[token.end() :]


def may_differ(target: str, data: bytes, found: Verdict) -> bool:
    """Whether Python takes an array that C++ does not read at all."""
    return target == "npy" and found == (True, False) and not is_for_cpp(data)


def is_for_cpp(data: bytes) -> bool:
    """Whether the header of an .npy file is the one that numpy writes for an array that C++ reads."""
    text = data[10 : 10 + int.from_bytes(data[8:10], "little")].decode("latin-1")
    header = ast.literal_eval(text.strip())
    written = f"{{'descr': {header['descr']!r}, 'fortran_order': False, 'shape': {header['shape']!r}, }}"
    return data[6] == 1 and header["descr"] in IN_CPP and text.rstrip(" \n") == written and 0 not in header["shape"]


def compare(target: str, inputs: Iterator[bytes], verdict: Callable[[str, bytes], Verdict]) -> tuple[int, int]:
    """How many inputs there were, and how many of them were taken; fails with those that only one language takes."""
    count = taken = 0
    differ: list[bytes] = []
    for data in inputs:
        found = verdict(target, data)
        count += 1
        taken += found[0]
        if found[0] != found[1] and not may_differ(target, data, found):
            differ.append(data)
    assert differ == []
    return count, taken


@pytest.mark.parametrize("target", TARGETS)
def test_both_take_or_refuse_the_same(target: str, verdict: Callable[[str, bytes], Verdict]) -> None:
    count, taken = compare(target, mutants(target, seeds(target), FEW.get(target, 300)), verdict)
    assert count // 50 < taken < count  # else all stop at the first check


@pytest.mark.parametrize("dtype", IN_CPP)
@pytest.mark.parametrize("shape", [(), (3,), (1, 2, 3)], ids=str)
def test_both_take_the_arrays_that_numpy_writes(
    dtype: str, shape: tuple[int, ...], verdict: Callable[[str, bytes], Verdict]
) -> None:
    stream = io.BytesIO()
    np.save(stream, np.zeros(shape, dtype))
    assert verdict("npy", stream.getvalue()) == (True, True)


@pytest.mark.parametrize(
    "text",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (02,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2 3), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-2,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'shape': (1,), 'more': 0}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), } + x",
        "{'descr': '<f4', 'more': \"'fortran_order': False, 'shape': (2,)\"}",
        "'descr': '<f4', 'fortran_order': False, 'shape': (2,",
    ],
)
def test_both_refuse_headers_that_only_resemble_those_of_numpy(
    text: str, verdict: Callable[[str, bytes], Verdict]
) -> None:
    data = b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text.encode() + bytes(8)
    assert verdict("npy", data) == (False, False)


def test_cpp_does_not_wait_for_a_pipe_as_an_array(make_bundle: MakeBundle, probe: Probe, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pixels.npy")
    answer = probe.ask("prepare", make_bundle("onnx") / "manifest.json", tmp_path / "pixels.npy", tmp_path / "out.npy")
    assert answer["found"].endswith("pixels.npy: no such file")


@pytest.mark.nightly
@pytest.mark.parametrize("target", TARGETS)
def test_both_take_or_refuse_the_same_of_many(
    target: str, verdict: Callable[[str, bytes], Verdict], capsys: pytest.CaptureFixture[str]
) -> None:
    known = seeds(target) + (right_manifests() if target == "manifest" else [])
    count, taken = compare(target, mutants(target, known, MANY.get(target, 10_000)), verdict)
    with capsys.disabled():
        sys.stdout.write(SAID.format(target, count, taken))


@pytest.mark.nightly
def test_both_take_or_refuse_the_same_of_every_odd_token(
    verdict: Callable[[str, bytes], Verdict], capsys: pytest.CaptureFixture[str]
) -> None:
    count, taken = compare("manifest", every_odd_token(), verdict)
    with capsys.disabled():
        sys.stdout.write(
            f"\nmanifest, token by token: {count:,} inputs, {taken:,} of them taken, the same by Python and C++\n"
        )
