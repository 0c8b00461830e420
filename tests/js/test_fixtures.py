"""What the JavaScript runtime is tested against is what Python still computes."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np

from .fixtures import FILE, heard, names_of_files, prepared, seen


def test_python_makes_of_the_committed_files_what_is_committed_with_them(tmp_path: Path) -> None:
    found = json.loads(FILE.read_text())
    for case in found["images"]:
        assert case.items() >= seen(base64.b64decode(case["file"])).items(), case["name"]
    for case in found["prepared"]:
        pixels = np.frombuffer(base64.b64decode(case["pixels"]), np.uint8).reshape(case["height"], case["width"], 3)
        assert case.items() >= prepared(pixels, case["how"]).items(), case["name"]
    for case in found["clips"]:
        assert case.items() >= heard(base64.b64decode(case["file"]), tmp_path).items(), case["name"]
    assert found["files"] == [[list(names), is_right] for names, is_right in names_of_files()]
    assert [len(found[kind]) for kind in ("images", "prepared", "clips")] == [25, 15, 8]
