"""Changes that keep an input parseable, so that what stands behind the parser is reached: seeded, without atheris.

JSON (manifest, a cache's entry, the header of safetensors) is changed value by value, TOML line by line, and anything
else byte by byte.
"""

from __future__ import annotations

import json
import random
from typing import Any

ODD_VALUES: list[Any] = [
    None, True, 0, -1, 1, 2**31, 2**53 + 1, 2**63, 10**400, 0.5, -0.0, 1e308, "", "batch", "..", "/etc/passwd", "C:\\x",
    "\0", "\ud800", "model.onnx", "a" * 5000, [], {}, [[]], [0, 0], {"": 0},
    [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[0]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]],
]  # fmt: skip
ODD_TEXTS = ["1" + "0" * 5000, "0x" + "f" * 5000, "-0", "1e400", "nan", "inf", "[]", "{}", '""', "true", "1979-05-27"]
ODD_TEXTS += ['"\\u0000"', '"=,"', '["a=b"]', "[[1]]", "[" * 2000, "-1", '"a=' + "(" * 500 + '"']


def mutated(target: str, data: bytes, rng: random.Random) -> bytes:
    """The bytes with one to four changes of the kind that suits the target."""
    for _ in range(rng.randint(1, 4)):
        data = _STRUCTURED.get(target, _changed_bytes)(data, rng) if rng.random() < 0.8 else _changed_bytes(data, rng)
    return data


def _changed_bytes(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data) + 1)
    end = min(len(data), start + rng.choice((0, 1, 1, 2, 4, 8, 64)))
    piece = rng.choice((b"", b"\0", b"\xff" * 4, b"\x80\x00", rng.randbytes(end - start), data[start:end] * 3))
    return data[:start] + piece + data[end:]


def _changed_json(data: bytes, rng: random.Random) -> bytes:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return _changed_bytes(data, rng)
    places = list(_places(document))
    if not places:
        return json.dumps(rng.choice(ODD_VALUES)).encode()
    holder, key = rng.choice(places)
    action = rng.randrange(4)
    if action == 0:
        del holder[key]
    elif action == 1 and isinstance(holder, dict):
        holder[f"{key}{rng.randrange(9)}"] = holder[key]
    else:
        holder[key] = rng.choice(ODD_VALUES)
    return _as_json(document)


def _as_json(document: Any) -> bytes:
    text = json.dumps(document)
    if len(text) % 7 == 0:  # deterministic, and not too often: values that json.dumps would not write like this
        text = text.replace("0.5", "1e999", 1).replace("null", "NaN", 1)
    return text.encode()


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) below a value."""
    found: list[tuple[Any, Any]] = []
    pending = [value]
    while pending:
        each = pending.pop()
        keys = list(each) if isinstance(each, dict) else range(len(each)) if isinstance(each, list) else ()
        found += [(each, key) for key in keys]
        pending += [each[key] for key in keys]
    return found


def _changed_manifest(data: bytes, rng: random.Random) -> bytes:
    """Of a bundle; its file is left as it is."""
    manifest, zero, file = data.partition(b"\0")
    return _changed_json(manifest, rng) + zero + file


def _changed_header(data: bytes, rng: random.Random) -> bytes:
    """safetensors: 8 bytes of length, JSON, data; the length is made to fit again."""
    length = int.from_bytes(data[:8], "little")
    header = _changed_json(data[8 : 8 + length], rng)
    return len(header).to_bytes(8, "little") + header + data[8 + length :]


def _changed_lines(data: bytes, rng: random.Random) -> bytes:
    """TOML: the value of one line, or its key, or a line more."""
    lines = data.split(b"\n")
    i = rng.randrange(len(lines))
    key, _, _ = lines[i].partition(b" = ")
    value = rng.choice(ODD_TEXTS).encode()
    lines[i] = key + b" = " + value if rng.random() < 0.8 else b"shape = " + value
    return b"\n".join(lines)


_STRUCTURED = {
    "manifest": _changed_json,
    "bundle": _changed_manifest,
    "cache": _changed_json,
    "safetensors": _changed_header,
    "recipe": _changed_lines,
}
