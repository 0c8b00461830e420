"""A bundle is tried in a process of its own: what would take all memory, all time or the process is an error here."""

from __future__ import annotations

from pathlib import Path

import pytest

from hamsa_runtime.errors import InputError
from hamsa_runtime.trial import try_bundle, try_in_a_process

from .external_models import bundle_of
from .greedy_models import GREEDY, HONEST, loops

ENDS = {
    "os.abort()": r"ended the process that ran it \(SIGABRT\)",
    "raise ValueError('so it is')": r"could not be tried \(ValueError: so it is\)",
    "limited([lambda: bytearray(2**35)], 0)": "needs more than 2 GiB beyond 16 times its size",
    "limited([fail, lambda: bytearray(2**35)], 0)": "needs more than 2 GiB beyond 16 times its size",
}


@pytest.mark.parametrize("name", ["one of some gigabytes", "a column by a row"])
def test_what_would_fill_the_memory_is_an_error(name: str, tmp_path: Path) -> None:
    folder = bundle_of(GREEDY[name][0], tmp_path / "b")
    with pytest.raises(InputError, match="b: the model needs more than 2 GiB beyond 16 times its size") as caught:
        try_bundle(folder)
    assert "--timeout 0" in str(caught.value)


def test_what_does_not_end_in_time_is_ended(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the model was not loaded and run once within 1\.5 s"):
        try_bundle(bundle_of(loops(2, 2000), tmp_path / "b"), seconds=1.5)


def test_what_takes_little_passes(tmp_path: Path) -> None:
    try_bundle(bundle_of(HONEST["a constant of some megabytes"], tmp_path / "b"))


def test_what_is_trusted_is_not_tried(tmp_path: Path) -> None:
    try_bundle(bundle_of(GREEDY["a range"][0], tmp_path / "b"), seconds=0)


@pytest.mark.parametrize("code", ENDS)
def test_however_the_process_ends_it_is_told(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ("import os", "from hamsa_runtime.trial import limited", "fail = None", f"def run(words): {code}")
    (tmp_path / "tried_code.py").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(InputError, match=f"it {ENDS[code]}"):
        try_in_a_process("it", "tried_code", "run", [], 60)
