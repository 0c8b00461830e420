"""`hamsa completion`: what bash makes of the script."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hamsa_runtime.cli.completion import main, whole_parser
from hamsa_runtime.cli.hamsa import COMMANDS

# What a shell does for a line: sets these variables, calls the function, takes COMPREPLY.
DRIVER = """
source ./script
for line in "$@"; do
    COMP_WORDS=($line); [[ $line == *" " ]] && COMP_WORDS+=(""); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMPREPLY=()
    _shtab_hamsa hamsa "${COMP_WORDS[-1]}"
    echo "${COMPREPLY[*]}"
done
"""
LINES = {
    "hamsa ": " ".join(COMMANDS),
    "hamsa emb": "embed",
    "hamsa sign v": "verify",
    "hamsa run --thr": "--threads",
    "hamsa run bun": "bundle",  # folders only
    "hamsa run --public-key bun": "bundle bundle.pem",
    "hamsa completion b": "bash",
}


def test_bash_completes_commands_options_names_and_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("shtab")
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash here")
    assert main(["bash"]) == 0
    (tmp_path / "script").write_text(capsys.readouterr().out)
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle.pem").touch()
    done = subprocess.run([bash, "-c", DRIVER, "bash", *LINES], cwd=tmp_path, capture_output=True, text=True)
    assert dict(zip(LINES, done.stdout.splitlines(), strict=True)) == LINES, done.stderr


def test_every_command_and_option_is_in_it() -> None:
    pytest.importorskip("shtab")
    text = whole_parser().format_help()
    assert all(name in text for name in COMMANDS)


def test_without_shtab_it_exits_4(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["bash"]) == 4
    assert "pip install 'shtab>=1.13'" in capsys.readouterr().err
