"""One build for all tests of the C++ runtime."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ..runtime.conftest import make_bundle, pixels  # noqa: F401  # the same bundles as Python's tests
from .building import Probe, built


@pytest.fixture(scope="session")
def build() -> Path:
    """The folder in which everything is built."""
    return built()


@pytest.fixture(scope="module")
def probe(build: Path) -> Iterator[Probe]:
    """The test program, running."""
    program = Probe(build / "tests/hamsa_probe")
    yield program
    program.close()
