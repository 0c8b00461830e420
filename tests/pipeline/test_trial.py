"""--onnx FILE: a file that takes too much is found in a process of its own, and what was there stays."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from hamsa_deploy.cli import export, parity
from hamsa_deploy.form.request import Request
from hamsa_deploy.onnx_import import load_onnx
from hamsa_deploy.pipeline.trial import try_file
from tests.runtime.external_models import bundle_of
from tests.runtime.greedy_models import GREEDY, HONEST, loops

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("to", ["onnx", "openvino"])
def test_a_file_that_would_fill_the_memory_exits_2(to: str, workplace: Path, capsys: Captured) -> None:
    onnx.save(GREEDY["one of some gigabytes"][0], "a.onnx")
    assert export.main(["--onnx", "a.onnx", "--to", to, "-o", "bundle"]) == 2
    assert "a.onnx needs more than 2 GiB beyond 16 times its size" in capsys.readouterr().err
    assert [path.name for path in workplace.iterdir()] == ["a.onnx"]


def test_a_file_that_takes_too_long_exits_2_before_the_plan_too(workplace: Path, capsys: Captured) -> None:
    onnx.save(loops(2, 2000), "a.onnx")
    assert export.main(["--onnx", "a.onnx", "--to", "onnx", "--timeout", "2", "--dry-run"]) == 2
    found = capsys.readouterr().err
    assert "a.onnx was not loaded and run once within 2 s" in found
    assert "--timeout SECONDS" in found


def test_a_file_that_takes_little_passes(workplace: Path) -> None:
    onnx.save(HONEST["a product"], "a.onnx")
    try_file(Request(load_onnx("a.onnx"), to="tensorrt"))


def test_timeout_0_tries_nothing_and_others_are_checked(workplace: Path, capsys: Captured) -> None:
    onnx.save(loops(2, 2000), "a.onnx")
    assert export.main(["--onnx", "a.onnx", "--to", "onnx", "--timeout", "0", "--dry-run"]) == 0
    for wrong in ("-1", "nan", "1e9", "soon"):
        assert export.main(["--onnx", "a.onnx", "--timeout", wrong, "--dry-run"]) == 2
    assert "a number of seconds from 0 to 86400" in capsys.readouterr().err


def test_a_bundle_is_tried_before_it_is_compared(workplace: Path, capsys: Captured) -> None:
    bundle_of(GREEDY["one of some gigabytes"][0], workplace / "bundle")
    assert parity.main(["bundle", "--model", "tests:tiny"]) == 2
    assert "bundle: the model needs more than 2 GiB" in capsys.readouterr().err
