"""`hamsa`: its list, what it makes of names that it does not have, and that it works without hamsa-deploy."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

from hamsa_runtime.cli import hamsa
from hamsa_runtime.cli.hamsa import CALLED, COMMANDS, main

Captured = pytest.CaptureFixture[str]
HERE = [name for name, command in COMMANDS.items() if command.package == "hamsa_runtime"]


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a device: hamsa-runtime without hamsa-deploy."""
    monkeypatch.setattr(hamsa, "is_here", lambda package: package == "hamsa_runtime")


@pytest.mark.parametrize("words", [[], ["--help"], ["help"]])
def test_it_lists_every_command(words: list[str], capsys: Captured) -> None:
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    listed = [line.split()[0] for line in lines if line.startswith("  ") and line.split()[0] in COMMANDS]
    assert listed == list(COMMANDS)


@pytest.mark.parametrize("name", HERE)
def test_each_is_called_by_the_name_it_was_called_by(name: str, capsys: Captured) -> None:
    for words in ([name, "--help"], ["help", name]):
        with pytest.raises(SystemExit) as caught:
            main(words)
        assert caught.value.code == 0
        assert capsys.readouterr().out.startswith(f"usage: hamsa {name} ")


@pytest.mark.parametrize(
    ("name", "way_out"),
    [
        ("exprot", "did you mean 'export'?"),
        ("hamsa-sign", "try: hamsa sign"),
        ("predict", "try: hamsa run"),
        ("sweep", "try: hamsa export --sweep"),
        ("zzzz", "one of export, "),
    ],
)
def test_an_unknown_command_exits_2_and_says_which_is_meant(name: str, way_out: str, capsys: Captured) -> None:
    assert main([name]) == 2
    err = capsys.readouterr().err
    assert f"no command {name!r}" in err
    assert way_out in err


def test_other_names_lead_to_commands() -> None:
    assert {meant.split()[0] for meant in CALLED.values()} <= set(COMMANDS)
    assert not set(CALLED) & set(COMMANDS)


def test_without_hamsa_deploy_its_commands_say_so_and_the_others_work(alone: None, capsys: Captured) -> None:
    assert main(["export"]) == 4
    assert "pip install hamsa-deploy" in capsys.readouterr().err
    assert main([]) == 0
    out = capsys.readouterr().out
    assert out.count("not here: pip install hamsa-deploy") == len(COMMANDS) - len(HERE)
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"hamsa-runtime {import_module('hamsa_runtime').__version__}\n"
    assert main(["sign", "verfy"]) == 2
    assert "did you mean 'verify'?" in capsys.readouterr().err


def test_python_m_is_the_same_and_waits_for_nothing_heavy() -> None:
    program = "import sys, runpy; sys.argv = ['x', 'exprot']; runpy.run_module('hamsa_runtime', run_name='__main__')"
    check = f"try:\n    {program}\nfinally:\n    print(sorted({{'numpy', 'PIL', 'rich', 'torch'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "[]\n")
    assert done.stderr.startswith("error  hamsa: there is no command 'exprot'")
