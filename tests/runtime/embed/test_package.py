"""The one package that hamsa-embed needs: missing, or too old."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import pyarrow
import pytest

import hamsa_runtime.embed
from hamsa_runtime.errors import MissingError

PROJECT = Path(__file__).parents[3] / "runtimes/python/pyproject.toml"


def test_the_oldest_version_is_the_one_that_pip_installs_at_least() -> None:
    [oldest] = re.findall(r'"pyarrow>=(\d+)"', PROJECT.read_text())
    assert f'__version__.partition(".")[0]) < {oldest}:' in Path(hamsa_runtime.embed.__file__).read_text()


def test_a_version_that_is_too_old_and_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pyarrow, "__version__", "25.0.1")
    with pytest.raises(MissingError, match=r"it is 25\.0\.1"):
        importlib.reload(hamsa_runtime.embed)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingError, match="pyarrow cannot be used") as caught:
        importlib.reload(hamsa_runtime.embed)
    assert caught.value.fix == "pip install 'hamsa-runtime[embed]'"
    monkeypatch.undo()
    importlib.reload(hamsa_runtime.embed)
