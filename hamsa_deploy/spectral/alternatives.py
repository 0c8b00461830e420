"""What to write instead of an operator on complex values that has no rule."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

BLOCK_MATRIX = "use the real matrix [[Re, -Im], [Im, Re]] of twice the size with the same operator"
OUTSIDE = "compute it outside of the model, from the model's inputs or from its weights: no engine has it"
LOGARITHM = "write it with torch.log and torch.sqrt, which have rules"
STRIDES = "use reshape, unfold or flip, which do not depend on how a tensor lies in memory"

# By the beginning of the operator's name; the first that fits.
ALTERNATIVES = {
    "linalg_inv": BLOCK_MATRIX,
    "linalg_solve": BLOCK_MATRIX,
    "_linalg_solve": BLOCK_MATRIX,
    "linalg_": OUTSIDE,
    "_linalg_": OUTSIDE,
    "asin": LOGARITHM,
    "acos": LOGARITHM,
    "atan": LOGARITHM,
    "as_strided": STRIDES,
}


def alternative_to(name: str, supported: Iterable[str]) -> str:
    """The way out for an operator: a known one, or the supported operator whose name is nearest; may be empty.

    Args:
        name: ATen name without overload.
        supported: ATen names of the operators with a rule.
    """
    for beginning, alternative in ALTERNATIVES.items():
        if name.startswith(beginning):
            return alternative
    close = difflib.get_close_matches(name, [each for each in supported if each[0] != "_"], n=1, cutoff=0.7)
    return f"rewrite that line with '{close[0]}'" if close else ""
