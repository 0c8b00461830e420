"""JSON from somebody else: within limits of size and depth, without duplicate names, NaN or infinity."""

from __future__ import annotations

import json
import re
from itertools import accumulate
from typing import Any

from hamsa_runtime.errors import InputError

MAX_BYTES = 4 * 2**20
MAX_DEPTH = 32
STRING = re.compile(rb'"[^"]*(?:"|\Z)')
OTHER_BYTES = re.compile(rb"[^\[\]{}]+")
STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


def json_document(data: bytes) -> Any:
    """The parsed bytes of a manifest; InputError if they are not such JSON."""
    check_bounds(data)
    try:
        return json.loads(data.decode(), parse_constant=_no_constant, object_pairs_hook=_no_duplicates)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise InputError(
            f"manifest.json: not JSON ({error})",
            expected="a UTF-8 JSON object",
            cause="the file is cut or was edited by hand",
            fix="copy or export the bundle again",
        ) from error


def check_bounds(data: bytes) -> None:
    """Raise InputError for bytes that are too many, or too deeply nested, to be a manifest."""
    if len(data) > MAX_BYTES:
        raise InputError(f"manifest.json: more than {MAX_BYTES} bytes", expected=f"at most {MAX_BYTES} bytes")
    if (depth := _depth(data)) > MAX_DEPTH:
        raise InputError(f"manifest.json: nested {depth} levels deep", expected=f"at most {MAX_DEPTH} levels")


def _depth(data: bytes) -> int:
    """How deep brackets nest outside strings. Counted before parsing: the parser itself recurses.

    Each step is one pass over the bytes: a text without its end must not be looked for from each of its quotes.
    """
    unescaped = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    brackets = OTHER_BYTES.sub(b"", STRING.sub(b"", unescaped))
    return max(accumulate(map(STEPS.__getitem__, brackets)), default=0)


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("the same name twice in one object")
    return result
