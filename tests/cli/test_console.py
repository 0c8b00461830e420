"""Messages, exit codes, and what is kept off the terminal."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import re
import signal
import warnings
from pathlib import Path

import pytest
from rich.text import Text

from hamsa_deploy.cli.console import Command, Stages, Terminal, run, table
from hamsa_deploy.cli.packages import missing_package
from hamsa_deploy.cli.parser import Parser
from hamsa_deploy.form.values import assignment, free_axis, inputs
from hamsa_runtime.errors import BuildError, InputError, MissingError

from .conftest import Older

Captured = pytest.CaptureFixture[str]


def run_it(command: Command, *arguments: str) -> int:
    parser = Parser("hamsa-test", "A command for tests.")
    parser.add_common()
    return run(parser, command, list(arguments))


def fails(error: BaseException) -> Command:
    def command(options: object, terminal: Terminal) -> int:
        raise error

    return command


def test_error_shows_found_expected_cause_and_way_out(capsys: Captured) -> None:
    error = BuildError("no [bold] luck", expected="luck", cause="the weather", fix="wait")
    assert run_it(fails(error)) == 5
    out, err = capsys.readouterr()
    assert out == ""
    lines = [line.strip() for line in err.splitlines()]
    assert lines == ["error  no [bold] luck", "expected: luck", "likely cause: the weather", "try: wait"]


def test_error_with_json_is_json_too(capsys: Captured) -> None:
    assert run_it(fails(InputError("bad", fix="good")), "--json") == 2
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert (report["verdict"], report["exit_code"]) == ("error", 2)
    assert (report["error"]["found"], report["error"]["fix"]) == ("bad", "good")
    assert "bad" in err


def test_unexpected_exception_is_called_a_bug_in_one_line(capsys: Captured) -> None:
    assert run_it(fails(ZeroDivisionError("first line\nsecond line"))) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "ZeroDivisionError: first line (this is a bug in hamsa-deploy" in err


def test_a_package_that_is_too_old_is_refused_before_it_fails(older: Older, capsys: Captured) -> None:
    older("onnx-ir", "0.1.9")
    assert run_it(fails(ZeroDivisionError("never reached"))) == 4
    found, expected, fix = (line.strip() for line in capsys.readouterr().err.splitlines())
    assert found == "error  onnx-ir 0.1.9 is installed"
    assert expected.startswith("expected: onnx-ir ")
    assert expected.endswith(", the oldest version that hamsa-deploy was tested with, or a newer one")
    assert fix.startswith("try: pip install 'onnx-ir>=")


def test_an_engine_that_is_too_old_is_the_cause_where_something_fails(older: Older, capsys: Captured) -> None:
    older("openvino", "2024.6.0")
    assert run_it(lambda options, terminal: 0) == 0
    assert run_it(fails(AttributeError("no 'convert'"))) == 4
    err = capsys.readouterr().err
    assert "AttributeError: no 'convert'" in err
    assert "likely cause: openvino 2024.6.0 is installed" in err
    assert "try: pip install 'openvino>=" in err


def test_verbose_shows_the_traceback(capsys: Captured) -> None:
    assert run_it(fails(ZeroDivisionError("oh")), "-v") == 1
    assert "Traceback" in capsys.readouterr().err


def test_names_of_files_reach_no_terminal_as_they_are(capsys: Captured) -> None:
    odd = "[red]a[/] [link=file:///]b[/link] \x1b[31m\x9b2J \u202ec\u2066"
    shown = r"[red]a[/] [link=file:///]b[/link] \x1b[31m\x9b2J \u202ec\u2066"
    terminal = Terminal()
    terminal.note(odd)
    terminal.show_line(odd)
    terminal.show_error(InputError(odd))
    terminal.show_bug(ValueError(odd))
    rows = table("[b]name[/b]")
    rows.add_row(odd)
    for console in (terminal.out, terminal.err):
        console.width = 200
        console.print(odd)
        console.print(Text(odd))
        console.print(rows)
    out, err = capsys.readouterr()
    assert (out.count(shown), err.count(shown)) == (2, 6)  # a cell of a table is cut to the width of the name itself
    assert not any(each in out + err for each in "\x1b\x9b\u202e\u2066")
    Terminal(as_json=True).write_json({"name": odd})
    document = capsys.readouterr().out
    assert json.loads(document) == {"name": odd}
    assert not any(each in document for each in "\x1b\x9b\u202e\u2066")


def test_quiet_still_shows_errors(capsys: Captured) -> None:
    assert run_it(fails(InputError("bad")), "--quiet") == 2
    assert "bad" in capsys.readouterr().err


def test_interruption_exits_130(capsys: Captured) -> None:
    assert run_it(fails(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == "interrupted; nothing was written\n"


def test_ctrl_c_that_an_import_made_another_error_exits_130(capsys: Captured) -> None:
    def command(*_: object) -> int:
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        raise MissingError("the package openvino is not installed")

    assert run_it(command) == 130
    assert capsys.readouterr().err == "interrupted; nothing was written\n"


def test_missing_package_exits_4_but_a_missing_module_of_ours_is_a_bug(capsys: Captured) -> None:
    assert run_it(fails(ModuleNotFoundError("No module named 'torch'", name="torch"))) == 4
    assert "pip install torch" in capsys.readouterr().err
    assert run_it(fails(ModuleNotFoundError("No module named 'hamsa'", name="hamsa_deploy.nothing"))) == 1


def test_a_submodule_counts_as_its_package() -> None:
    error = missing_package(ModuleNotFoundError("", name="onnxruntime.capi"))
    assert error is not None
    assert "pip install onnxruntime" in error.fix


def noisy(options: object, terminal: Terminal) -> int:
    warnings.warn("from a library", FutureWarning, stacklevel=1)
    logging.getLogger("torch.export").warning("from a library's log")
    logging.getLogger("hamsa_deploy").info("random initialisation")
    return 0


def test_warnings_of_libraries_stay_off_the_terminal_and_our_log_becomes_notes(capfd: Captured) -> None:
    assert run_it(noisy) == 0
    assert capfd.readouterr() == ("", "note  random initialisation\n")


def test_verbose_lets_warnings_through() -> None:
    with pytest.warns(FutureWarning, match="from a library"):
        assert run_it(noisy, "--verbose") == 0


def test_quiet_hides_notes(capfd: Captured) -> None:
    assert run_it(noisy, "--quiet") == 0
    assert capfd.readouterr() == ("", "")


def test_logging_is_left_as_it_was() -> None:
    log = logging.getLogger("hamsa_deploy")
    before = (log.level, list(log.handlers), logging.getLogger("torch").level)
    assert run_it(noisy) == 0
    assert (log.level, log.handlers, logging.getLogger("torch").level) == before


def test_stages_are_timed_and_shown_line_by_line_without_a_terminal(capsys: Captured) -> None:
    with Stages(Terminal(), {"pack": "hash"}) as stages, stages("pack"):
        pass
    assert list(stages.seconds) == ["pack"]
    assert capsys.readouterr().err.split() == ["✓", "pack", "hash", "0.0", "s"]


def test_a_stage_that_fails_is_marked_and_not_timed(capsys: Captured) -> None:
    with Stages(Terminal(), {}) as stages, pytest.raises(ValueError, match="no"), stages("pack"):
        raise ValueError("no")
    assert stages.seconds == {}
    assert capsys.readouterr().err.startswith("✗ pack")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("image_size=448", ("image_size", 448)),
        ("stem=(3, 2)", ("stem", (3, 2))),
        ("complex_w1=False", ("complex_w1", False)),
        ("norm=ortho", ("norm", "ortho")),
        ("path=a=b", ("path", "a=b")),
        ("empty=", ("empty", "")),
        ("key={[]: 1}", ("key", "{[]: 1}")),
    ],
)
def test_set_reads_python_literals_and_takes_the_rest_as_text(text: str, expected: tuple[str, object]) -> None:
    assert assignment(text) == expected


def test_inputs_have_shapes_and_may_have_names_and_types() -> None:
    assert inputs("1x3x224x224, ids:1x10:int64,2x4:bool,mask:1") == [
        ("", (1, 3, 224, 224), "float32"), ("ids", (1, 10), "int64"), ("", (2, 4), "bool"), ("mask", (1,), "float32"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1x3x0", "not .* a shape of positive sizes"), ("2x16:int46", "unknown type 'int46' .* 'int64'"),
        ("2x16:bfloat16", "unknown type 'bfloat16'"), ("a:b:1x2", "is not"), ("1 2:3", "is not"),
        ("a b:1x2:bool", "is not"), (":", "unknown type ''"),
    ],
)  # fmt: skip
def test_what_is_no_input_is_refused_as_such(text: str, found: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=found):
        inputs(text)


def test_free_axes_have_names_and_may_have_limits() -> None:
    assert free_axis("x:2=frames") == ("x", 2, "frames", None, None)
    assert free_axis("0:1=t:32..4096") == ("0", 1, "t", 32, 4096)
    assert free_axis("x:1=t:9..") == ("x", 1, "t", 9, None)
    for text in ("x=frames", "x:a=t", "x:1=2", "x:1=t:5", "x:1=t:5-9"):
        with pytest.raises(argparse.ArgumentTypeError, match=r"is not INPUT:AXIS=NAME"):
            free_axis(text)


def logged(path: Path, command: Command, *words: str) -> str:
    run_it(command, "--log-file", str(path), *words)
    return path.read_text()


def test_a_log_file_has_what_happened_with_times_whatever_is_shown(tmp_path: Path, capsys: Captured) -> None:
    def command(options: object, terminal: Terminal) -> int:
        with Stages(terminal, {"work": "do it"}) as stages, stages("work"):
            logging.getLogger("hamsa_deploy").warning("one file is left out")
        terminal.out.print("the result")
        return 0

    text = logged(tmp_path / "log.txt", command)
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+ INFO +hamsa-test --log-file", text)
    for each in (
        "hamsa-deploy ",
        "work       do it",
        "note: one file is left out",
        "work finished after",
        "the result",
    ):
        assert each in text
    assert "one file is left out" in capsys.readouterr().err
    assert logged(tmp_path / "log.txt", command, "--quiet").count("note: one file is left out") == 1
    assert capsys.readouterr() == ("", "")


def test_a_log_file_has_the_traceback_that_the_terminal_has_not(tmp_path: Path, capsys: Captured) -> None:
    for error in (InputError("bad", fix="good"), ZeroDivisionError("oh")):
        text = logged(tmp_path / "log.txt", fails(error))
        assert "Traceback" in text
        assert type(error).__name__ in text
    assert "Traceback" not in capsys.readouterr().err
    run_it(fails(InputError("worse")))  # closed by now
    assert "worse" not in (tmp_path / "log.txt").read_text()


def test_a_log_file_that_cannot_be_written_is_refused_before_the_work(tmp_path: Path, capsys: Captured) -> None:
    assert run_it(fails(ZeroDivisionError()), "--log-file", str(tmp_path / "no" / "log.txt")) == 2
    assert "--log-file" in capsys.readouterr().err
