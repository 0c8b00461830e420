"""Runs hamsa-deploy bundles on the device: `Engine(folder)(images)`. numpy, Pillow and one engine; no torch.

Importing this package imports none of them: the names below are loaded when first used.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING

__version__ = "0.1.0"

# From 1.29 on, ONNX Runtime's wheels for Linux report every session to Microsoft, with names and hashes of the model,
# and keep an identifier in ~/.cache/Microsoft. This is their switch, read when onnxruntime is imported, by whomever.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

if TYPE_CHECKING:
    from hamsa_runtime.bundle import Bundle, open_bundle
    from hamsa_runtime.engine import Engine
    from hamsa_runtime.errors import (
        BuildError,
        EngineClosedError,
        HamsaError,
        InputError,
        MissingError,
        ParityError,
    )
    from hamsa_runtime.trial import try_bundle

_HOMES = {
    "Bundle": "bundle",
    "open_bundle": "bundle",
    "try_bundle": "trial",
    "Engine": "engine",
    "BuildError": "errors",
    "EngineClosedError": "errors",
    "HamsaError": "errors",
    "InputError": "errors",
    "MissingError": "errors",
    "ParityError": "errors",
}

__all__ = [
    "BuildError",
    "Bundle",
    "Engine",
    "EngineClosedError",
    "HamsaError",
    "InputError",
    "MissingError",
    "ParityError",
    "open_bundle",
    "try_bundle",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
