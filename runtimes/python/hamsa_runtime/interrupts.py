"""Ctrl-C while compiled modules are imported.

Their code cannot be unwound: where Python raises KeyboardInterrupt in a module that one of them imports, it becomes an
ImportError ("initialization failed"), or is lost before another ("PyCapsule_Import could not import module"). Of 120
interrupted imports of openvino 2026.4 four ended so. It would be taken for a package that is not installed.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Within the block, whatever error follows a Ctrl-C is a KeyboardInterrupt.

    In the main thread, which is the one that Python interrupts; elsewhere it does nothing.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed, and the block ended with an error.
    """
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield
        return
    pressed = []

    def note(number: int, frame: FrameType | None) -> None:
        pressed.append(number)
        handler(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield
    except Exception as error:
        if pressed:
            raise KeyboardInterrupt from error
        raise
    finally:
        signal.signal(signal.SIGINT, handler)
