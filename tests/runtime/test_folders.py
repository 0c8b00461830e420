"""Whatever is at a path, and whatever a path is: an answer, or an InputError."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hamsa_runtime import Engine, folders
from hamsa_runtime.errors import InputError, printable
from hamsa_runtime.fix import fix_onnx, fixing
from hamsa_runtime.folders import are_one, check_new, is_file, is_folder, is_there, small_file
from hamsa_runtime.signing import make_keys

from ..unprivileged import unprivileged

ODD = {"a name of 300 bytes": "a" * 300, "a path of 6000": "a/" * 3000, "NUL": "a\0b", "a lone surrogate": "\ud800"}


@pytest.mark.parametrize("name", ODD.values(), ids=ODD)
@pytest.mark.parametrize("ask", [is_file, is_folder, is_there, Engine])
def test_a_name_that_the_system_does_not_take_is_an_input_error(tmp_path: Path, ask: object, name: str) -> None:
    with pytest.raises(InputError, match="cannot be looked at") as caught:
        ask(tmp_path / name)  # type: ignore[operator]
    assert len(caught.value.found) < 500


def test_a_folder_that_may_not_be_looked_into_and_links_in_a_circle(tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0)
    with unprivileged(), pytest.raises(InputError, match="Permission denied"):
        is_file(locked / "a")
    locked.chmod(0o700)
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(InputError, match="circle: cannot be looked at"):
        is_there(tmp_path / "circle")


def test_a_small_file_is_a_regular_one_of_some_bytes(tmp_path: Path) -> None:
    file, pipe = tmp_path / "a", tmp_path / "pipe"
    file.write_bytes(b"12345")
    os.mkfifo(pipe)
    assert small_file(file, "the text", "a text", most=5) == b"12345"
    found = {pipe: "no regular file", Path("/dev/zero"): "no regular file", tmp_path: "Is a directory"}
    for path, why in {**found, tmp_path / "b": "No such file"}.items():
        with pytest.raises(InputError, match=rf"the text cannot be read \({why}"):
            small_file(path, "the text", "a text", most=5)
    with pytest.raises(InputError, match="more than 4 bytes"):
        small_file(file, "the text", "a text", most=4)


def test_what_a_terminal_obeys_is_escaped() -> None:
    obeyed = "a\x1b[31m\r\n\t\x7f\x9b\u2028\ud800ü"
    assert printable(obeyed) == r"a\x1b[31m\r\n\t\x7f\x9b\u2028\ud800ü"
    assert printable("a\u202egpj.\u2066b\u2069\u202f") == "a\\u202egpj.\\u2066b\\u2069\u202f"
    assert str(InputError(obeyed, fix="b\x1bc")) == "a\\x1b[31m\\r\n\t\\x7f\\x9b\\u2028\\ud800ü\n  try: b\\x1bc"


NOT_ON_WINDOWS = (
    "con", "a/NUL.onnx", "Aux /x", "out/COM3.tar.gz", "conin$", "a.", "a /b", "bundle:stream", "a*", "b\x07",
    "lpt\u00b2",
)  # fmt: skip


@pytest.mark.parametrize("name", NOT_ON_WINDOWS)
def test_what_windows_writes_elsewhere_is_refused_there_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check_new(Path(name))
    monkeypatch.setattr(folders, "WINDOWS", True)
    with pytest.raises(InputError, match="Windows has no file or folder called"):
        check_new(Path(name))


@pytest.mark.parametrize("name", [".", "..", "../out/con_fig", "C:/out/Bündel.1", "C:out", "com0", "a.nul", "/x/ y"])
def test_other_names_are_taken_on_windows(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "WINDOWS", True)
    check_new(Path(name))


@pytest.mark.parametrize("write", [make_keys, lambda path: fix_onnx(path, path)], ids=["keys", "a file"])
def test_whatever_is_written_is_asked(
    write: Callable[[Path], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "WINDOWS", True)
    monkeypatch.setattr(fixing, "read_onnx", lambda path: (None, []))
    with pytest.raises(InputError, match="Windows has no file or folder called 'nul"):
        write(tmp_path / "nul.onnx")
    assert list(tmp_path.iterdir()) == []


def test_names_that_some_folders_do_not_tell_apart() -> None:
    for one, other in (("a.BIN", "A.bin"), ("\u00fc", "u\u0308"), ("\u212b", "a\u030a"), ("stra\u00dfe", "STRASSE")):
        assert are_one(one, other)
    for one, other in (("a", "b"), ("u", "\u00fc"), ("a", "a ")):
        assert not are_one(one, other)
