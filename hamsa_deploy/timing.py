"""How long a call takes."""

from __future__ import annotations

import time
from collections.abc import Callable


def milliseconds(run: Callable[[], object], repeats: int = 1) -> float:
    """Of one call, as a mean over some without a pause."""
    start = time.perf_counter()
    for _ in range(repeats):
        run()
    return 1e3 * (time.perf_counter() - start) / repeats
