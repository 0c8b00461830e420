"""Docstrings and signatures that exist only once a module is imported: `export`'s are made of its options."""

from __future__ import annotations

import inspect
from typing import Any

import griffe

MADE = {"hamsa_deploy.pipeline.run.export"}


def _written(value: Any) -> str:
    """As in a signature: a function by its name."""
    return getattr(value, "__name__", repr(value))


class WrittenAtRuntime(griffe.Extension):
    """Takes both from the function itself."""

    def on_function(self, *, func: griffe.Function, **_: Any) -> None:
        if func.path not in MADE:
            return
        found = griffe.dynamic_import(func.path)
        func.docstring = griffe.Docstring(inspect.getdoc(found) or "", parent=func, parser=griffe.Parser.google)
        func.parameters = griffe.Parameters(
            *(
                griffe.Parameter(
                    each.name,
                    annotation=str(each.annotation),
                    kind=griffe.ParameterKind[each.kind.name.lower()],
                    default=None if each.default is each.empty else _written(each.default),
                )
                for each in inspect.signature(found).parameters.values()
            )
        )
