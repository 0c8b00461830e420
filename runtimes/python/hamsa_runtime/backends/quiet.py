"""Keeps OpenVINO and NNCF from reporting their import to an analytics service.

`import openvino` (2025.4 and 2026.4) forks a process that sends an event, and `import nncf` (3.4) sends one from a
thread; both write to ~/intel, unless the user has opted out. A runtime on somebody's device does neither by itself;
and forking a process with threads can deadlock. Without the package openvino_telemetry, both fall back to a stub: so
it is hidden while they are imported, and only then. ONNX Runtime's switch is in `hamsa_runtime/__init__.py`.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from hamsa_runtime.interrupts import interruptible

REPORTER = "openvino_telemetry"


@contextlib.contextmanager
def no_usage_reports() -> Iterator[None]:
    """Within the block, `import openvino_telemetry` fails, unless it was imported before. See also `interruptible`."""
    if REPORTER in sys.modules:
        with interruptible():
            yield
        return
    sys.modules[REPORTER] = None  # type: ignore[assignment]  # the documented way to make an import fail
    try:
        with interruptible():
            yield
    finally:
        del sys.modules[REPORTER]
