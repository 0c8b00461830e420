"""Whole numbers that OpenVINO would change are refused in C++, too."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from ..runtime.test_whole_numbers import WIDE, whole_number_bundle


@pytest.mark.parametrize("as_float", [False, True])
def test_numbers_beyond_32_bits(build: Path, tmp_path: Path, as_float: bool) -> None:
    np.save(tmp_path / "x.npy", WIDE)
    bundle = whole_number_bundle(tmp_path / "b", "openvino", as_float=as_float)
    command: list[str | Path] = [build / "hamsa-run", "--save", tmp_path, bundle, tmp_path / "x.npy"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if as_float:
        assert np.array_equal(np.load(tmp_path / "0-y.npy"), WIDE.astype(np.float32)), done.stderr
    else:
        assert done.returncode == 2
        assert f"the input 'x' holds {WIDE[0, 0]}" in done.stderr
