"""What a pass declares. How to write one:

1. A file beside this one, whose docstring states the identity that makes the rewriting exact, and a `PASS` at its end:

        PASS = Pass(observer=SIZES, values=candidates, apply=_apply)

2. Its name in `hamsa_runtime.vocabulary.PASSES`, at its place in the order; the file has that name, with _ for -.

tests/precision/passes/test_passes.py then tries it on real graphs; a test of its own says what it is good for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic

import onnx_ir as ir

from hamsa_deploy.precision.observers import Observer, Seen


@dataclass(frozen=True)
class Pass(Generic[Seen]):
    """A rewriting of a float32 graph, exact up to rounding, by what is observed in it on the calibration inputs.

    Attributes:
        observer: what is looked at.
        values: names of the values that are looked at, in the graph as it is when the pass has its turn.
        apply: rewrites the model in place by what was seen of them, by name; in a few words what it did.
        rescales: whether values may then be powers of two times what they were, row by row or channel by channel.
    """

    observer: Observer[Seen]
    values: Callable[[ir.Model], Sequence[str]]
    apply: Callable[[ir.Model, Mapping[str, Seen]], str]
    rescales: bool = False
