"""Odd image files give the same pixels in Python and in C++, or are refused by both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from hamsa_runtime.errors import InputError
from hamsa_runtime.images import load_image

from ..odd_bmp_webp import odd_bmps_and_webps
from ..odd_images import Odd, odd_images
from .building import Probe


def in_python(path: Path) -> np.ndarray | str:
    """Its pixels, or what the refusal says."""
    try:
        return np.asarray(load_image(path))
    except InputError as error:
        return error.found


def in_cpp(probe: Probe, path: Path, out: Path) -> np.ndarray | str | None:
    """The same; None for a picture in WebP that a library without libwebp does not decode."""
    answer: dict[str, Any] = probe.ask("decode", path, 3, out)
    if answer.get("kind") == "MissingError":
        return None
    assert answer == {} or answer["kind"] == "InputError", answer
    return answer["found"] if answer else np.load(out)


def disagreement(odd: Odd, python: np.ndarray | str, cpp: np.ndarray | str | None) -> str:
    """What is wrong with what became of it; empty if nothing is."""
    cpp = python if cpp is None else cpp
    if isinstance(python, str) and isinstance(cpp, str):
        return f"refused: {python}" if odd.seen else ""
    if isinstance(python, str) or isinstance(cpp, str):
        return (
            f"Python: {python if isinstance(python, str) else 'taken'}; C++: {cpp if isinstance(cpp, str) else 'taken'}"
        )
    if python.shape != cpp.shape or not np.array_equal(python, cpp):
        return f"pixels differ: {python.shape}, {cpp.shape}"
    return "not refused" if odd.seen == 0 else ""


def disagreements(probe: Probe, odds: Iterable[Odd], folder: Path) -> tuple[dict[str, str], Counter[str]]:
    """What is wrong, by the names of the files, and how many were taken and refused."""
    path, wrong, fates = folder / "odd", {}, Counter[str]()
    for odd in odds:
        path.write_bytes(odd.data)
        python = in_python(path)
        if text := disagreement(odd, python, in_cpp(probe, path, folder / "out.npy")):
            wrong[odd.name] = text
        fates["refused" if isinstance(python, str) else "taken"] += 1
    return wrong, fates


def test_python_and_cpp_see_the_same_picture_or_both_refuse(probe: Probe, tmp_path: Path) -> None:
    odds = odd_images() + odd_bmps_and_webps()
    wrong, fates = disagreements(probe, odds, tmp_path)
    assert wrong == {}
    assert len({odd.name for odd in odds}) == len(odds) >= 1500
    assert min(fates["taken"], fates["refused"]) >= 150, fates
