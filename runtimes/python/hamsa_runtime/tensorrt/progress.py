"""A builder at work: on a thread of its own, so that the caller can show the time and stop it.

The builder calls back from its own threads, where no exception may be raised. So Ctrl-C is caught by the waiting
thread, and the builder is told at its next step.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
# (phase, share of it that is done or None, seconds since the start)
Report = Callable[[str, float | None, float], None]

TICK_SECONDS = 0.1
STOPPING = "stopping at the builder's next step (Ctrl-\\ ends at once)"


def silent(phase: str, done: float | None, seconds: float) -> None:
    """Reports nothing."""


def monitor_of(trt: Any, state: State) -> Any:
    """A progress monitor for a builder's configuration."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]  # its class is known at run time only
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            state.steps[name] = (0, steps)

        def step_complete(self, name: str, step: int) -> bool:
            state.steps[name] = (step + 1, state.steps.get(name, (0, 0))[1])
            return not state.cancelled

        def phase_finish(self, name: str) -> None:
            state.steps.pop(name, None)

    return Monitor()


class State:
    """What a running builder has reported; written by its threads, read by the waiting one."""

    def __init__(self) -> None:
        self.steps: dict[str, tuple[int, int]] = {}
        self.cancelled = False
        self._last = "starting"

    def phase(self) -> tuple[str, float | None]:
        """The outermost phase that has steps to count, and how much of it is done."""
        for name, (step, steps) in list(self.steps.items()):
            if steps > 1:
                self._last = name
                return name, min(step / steps, 1.0)
        return self._last, None


def run_builder(build: Callable[[], T], state: State, report: Report = silent) -> T:
    """Call `build` on another thread and wait for it; report now and then.

    Raises:
        KeyboardInterrupt: it was stopped; raised once the builder has returned.
        Exception: whatever `build` raises.
    """
    results: list[T] = []
    errors: list[BaseException] = []
    # Not Thread.join: up to Python 3.12, one that is interrupted takes the thread for ended, and the process would end
    # under the builder's feet.
    ended = threading.Event()

    def work() -> None:
        try:
            results.append(build())
        except BaseException as error:  # noqa: BLE001  # raised again below
            errors.append(error)
        finally:
            ended.set()

    worker = threading.Thread(target=work, name="builder", daemon=True)
    start = time.monotonic()
    worker.start()
    while not ended.is_set():
        try:
            ended.wait(TICK_SECONDS)
            phase, done = (STOPPING, None) if state.cancelled else state.phase()
            report(phase, done, time.monotonic() - start)
        except KeyboardInterrupt:
            state.cancelled = True
    if state.cancelled:
        raise KeyboardInterrupt
    if errors:
        raise errors[0]
    return results[0]
