"""How an export tells of its stages."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

Progress = Callable[[str], AbstractContextManager[Any]]
"""Called with a stage's name; the stage is what happens inside."""


def no_progress(stage: str) -> AbstractContextManager[None]:
    """Says nothing."""
    return nullcontext()
