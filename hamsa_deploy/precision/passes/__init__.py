"""The passes that make a float32 graph fit for int8. Each is exact up to rounding, and can be left out.

A pass is a file here, found by its name; see `record`.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import onnx_ir as ir

from hamsa_deploy.precision.measurements import Measurements
from hamsa_deploy.precision.passes.record import Pass
from hamsa_runtime import vocabulary


def _record_of(name: str) -> Pass[Any]:
    """From the file of that name: a list of imports would be a second list of names."""
    record: Pass[Any] = import_module(f"{__name__}.{name.replace('-', '_')}").PASS
    return record


# In the order in which they are applied.
PASSES: dict[str, Pass[Any]] = {name: _record_of(name) for name in vocabulary.PASSES}


def apply(names: Sequence[str], model: ir.Model, measurements: Measurements) -> dict[str, str]:
    """Apply some of PASSES to a model in place, in the order of the table; what each did."""
    return {name: _apply(each, model, measurements) for name, each in PASSES.items() if name in names}


def _apply(each: Pass[Any], model: ir.Model, measurements: Measurements) -> str:
    return each.apply(model, measurements.observe(model, each.observer, each.values(model)))
