"""--log-file of the runtime's commands: what it has, in every one of them, and what it has not."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hamsa_runtime.cli.hamsa import COMMANDS, main, module_of
from hamsa_runtime.cli.log_file import LOG, printed_to_log
from hamsa_runtime.errors import printable

from ..tiny_bundles import MakeBundle

Captured = pytest.CaptureFixture[str]


def test_each_command_that_prints_a_result_has_one(make_bundle: MakeBundle, tmp_path: Path, capsys: Captured) -> None:
    bundle, log = make_bundle("onnx"), tmp_path / "log.txt"
    assert main(["sign", "keygen", str(tmp_path / "key.pem"), "--log-file", str(log)]) == 0
    out = capsys.readouterr().out
    text = log.read_text()
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+ INFO +hamsa sign keygen ", text)
    assert "INFO    hamsa-runtime " in text
    for line in out.splitlines():
        assert f"INFO    {line}\n" in text
    assert main(["sign", "sign", str(bundle), "--key", str(tmp_path / "key.pem")]) == 0
    assert "signed" not in log.read_text()  # closed by now


@pytest.mark.parametrize("name", [name for name, each in COMMANDS.items() if each.package == "hamsa_runtime"])
def test_no_command_of_the_runtime_is_without(name: str, capsys: Captured) -> None:
    parser = module_of(name).parser(f"hamsa {name}")
    if name == "completion":  # it prints one script, and that goes to a file
        return
    words = ["sign"] if name == "sign" else []
    with pytest.raises(SystemExit):
        parser.parse_args([*words, "--help"])
    assert "--log-file FILE" in capsys.readouterr().out


def test_an_error_is_there_with_its_traceback_and_its_document(tmp_path: Path, capsys: Captured) -> None:
    log = tmp_path / "log.txt"
    assert main(["run", str(tmp_path / "no"), "a.png", "--json", "--log-file", str(log)]) == 2
    shown = capsys.readouterr()
    assert json.loads(shown.out)["error"]["found"] in printable(shown.err)
    text = log.read_text()
    assert "Traceback" in text
    assert "Traceback" not in shown.err
    assert shown.err.splitlines()[0] in text


def test_one_that_cannot_be_written_is_refused(tmp_path: Path, capsys: Captured) -> None:
    for command in (["run", "no", "a.png"], ["build", "no"], ["embed", "no", "no", "-o", "no"], ["fix", "no.onnx"]):
        assert main([*command, "--log-file", str(tmp_path / "no" / "log.txt")]) == 2
        assert "--log-file" in capsys.readouterr().err


def logged(work: Callable[[], object]) -> list[str]:
    """The lines that LOG was told meanwhile."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    LOG.addHandler(handler)
    LOG.setLevel(logging.INFO)
    try:
        with printed_to_log():
            work()
    finally:
        LOG.removeHandler(handler)
    return lines


def test_progress_that_is_written_over_leaves_its_last_line_only(capsys: Captured) -> None:
    def work() -> None:
        for share in (1, 2, 100):
            sys.stderr.write(f"\r\033[K{share} %")
        sys.stderr.write("\r\033[K")
        sys.stdout.write("one\ntwo")
        sys.stdout.write(" and more\n")
        sys.stdout.write("no end of line")

    assert logged(work) == ["one", "two and more", "no end of line"]
    assert capsys.readouterr().out == "one\ntwo and more\nno end of line"
