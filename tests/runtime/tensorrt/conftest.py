"""TensorRT-RTX, which builds here without a GPU, and a bundle for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hamsa_runtime.tensorrt import modules

from ..tiny_bundles import MakeBundle


@pytest.fixture(scope="session")
def rtx() -> Any:
    return modules.load("tensorrt-rtx")


@pytest.fixture
def rtx_bundle(make_bundle: MakeBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A float16 bundle without a plan, and a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return make_bundle("tensorrt-rtx", precision="fp16")
