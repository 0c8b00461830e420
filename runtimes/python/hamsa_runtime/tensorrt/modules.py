"""The modules `tensorrt` and `tensorrt_rtx`, imported when asked for, with one logger for each in a process.

TensorRT keeps the first logger that it is given for as long as the process lives, so there is one, and it remembers
what was said while somebody listens.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from hamsa_runtime.errors import MissingError

# target of a bundle -> module
MODULES = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
INSTALL = {
    "tensorrt": "pip install 'hamsa-runtime[tensorrt]'; on a Jetson, TensorRT is part of JetPack: "
    "sudo apt install python3-libnvinfer",
    "tensorrt-rtx": "pip install 'hamsa-runtime[tensorrt-rtx]'",
}
LAYERS = "Layers:"


@dataclass(frozen=True)
class Lines:
    """What a module has said.

    `layers` are lists of a plan's layers, which TensorRT-RTX writes into its log when it has built one: without a GPU
    there is no other way to them.
    """

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    layers: list[str] = field(default_factory=list)

    def add(self, trt: Any, severity: Any, text: str) -> None:
        if severity < trt.ILogger.WARNING:
            self.errors.append(text)
        elif severity == trt.ILogger.WARNING:
            self.warnings.append(text)
        elif text.startswith(LAYERS):
            self.layers.append(text)


def load(target: str) -> ModuleType:
    """The module for a target.

    Raises:
        MissingError: it cannot be imported; the message says which command installs it.
    """
    name = MODULES[target]
    try:
        return importlib.import_module(name)
    except (ImportError, OSError) as error:  # OSError: a library that it links to is missing
        raise MissingError(
            f"the package {name} cannot be imported: {error}", expected=f"the package {name}", fix=INSTALL[target]
        ) from error


def version_of(trt: Any) -> tuple[int, ...]:
    """(10, 3, 0) for '10.3.0.post1'."""
    parts = str(trt.__version__).split(".")
    return tuple(int(part) for part in parts if part.isdecimal())


@functools.cache
def log_of(trt: Any) -> Any:
    """The one logger of a module, to be handed to everything that it creates. It prints nothing."""

    class Log(trt.ILogger):  # type: ignore[misc]  # its class is known at run time only
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self._listeners: list[Lines] = []
            self._lock = threading.Lock()

        def log(self, severity: Any, text: str) -> None:
            with self._lock:
                for lines in self._listeners:
                    lines.add(trt, severity, text)

        @contextlib.contextmanager
        def listening(self) -> Iterator[Lines]:
            """What is said from now to the end of the block; on other threads, too."""
            lines = Lines()
            with self._lock:
                self._listeners.append(lines)
            try:
                yield lines
            finally:
                with self._lock:
                    self._listeners = [each for each in self._listeners if each is not lines]

    return Log()
