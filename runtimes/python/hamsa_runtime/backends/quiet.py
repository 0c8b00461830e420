"""Keeps OpenVINO from reporting its import to an analytics service.

`import openvino` (2025.4 and 2026.4) forks a process that sends an event, and writes to ~/intel, unless the
user has opted out. A runtime on somebody's device does neither by itself; and forking a process with threads
can deadlock. Without the package openvino_telemetry, openvino falls back to a stub: so it is hidden while
openvino is imported, and only then.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

REPORTER = "openvino_telemetry"


@contextlib.contextmanager
def no_usage_reports() -> Iterator[None]:
    """Within the block, `import openvino_telemetry` fails, unless it was imported before."""
    if REPORTER in sys.modules:
        yield
        return
    sys.modules[REPORTER] = None  # type: ignore[assignment]  # the documented way to make an import fail
    try:
        yield
    finally:
        del sys.modules[REPORTER]
