"""Changes that keep an input parseable, so that what stands behind the parser is reached: seeded, without atheris.

JSON (manifest, a cache's entry, the header of safetensors) is changed value by value, and in a manifest also as a text,
where parsers differ; TOML line by line; ONNX tensor by tensor; and anything else byte by byte, or number by number.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from typing import Any

import onnx
from google.protobuf.message import DecodeError

ODD_VALUES: list[Any] = [
    None, True, 0, -1, 1, 2**31, 2**53 + 1, 2**63, 10**400, 0.5, -0.0, 1e308, "", "batch", "..", "/etc/passwd", "C:\\x",
    "\0", "\ud800", "model.onnx", "a" * 5000, [], {}, [[]], [0, 0], {"": 0},
    [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[0]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]],
]  # fmt: skip
ODD_TEXTS = ["1" + "0" * 5000, "0x" + "f" * 5000, "-0", "1e400", "nan", "inf", "[]", "{}", '""', "true", "1979-05-27"]
ODD_TEXTS += ['"\\u0000"', '"=,"', '["a=b"]', "[[1]]", "[" * 2000, "-1", '"a=' + "(" * 500 + '"']

# Of JSON as a text: what one parser may take for a number, a string, a space or the end, and another not.
TOKEN = re.compile(rb'"(?:[^"\\\\]|\\\\.)*"|-?[0-9][0-9.eE+-]*|true|false|null|[\[\]{},:]')
MEMBER = re.compile(rb'"[^"\\\\]*": ?[^\[\]{},]+')
ODD_NUMBERS = (
    """
    1e400 -1e400 -0 -0.0 1.0 1e0 1E5 1e-400 4.9e-324 9007199254740993 9223372036854775808 18446744073709551615
    18446744073709551616 -9223372036854775809 01 -01 +1 1. .5 0x1 1e 1e+ - 1_000 NaN Infinity -Infinity nan 1e308 1e309
    1.7976931348623159e308 2.5e-1 \u0661
""".encode().split()
    + [b"1" + b"0" * length for length in (300, 309, 4299, 5000)]
)
ODD_STRINGS = [
    rb'"\ud800"', rb'"\udc00\ud800"', rb'"\ud83d\ude00"', rb'"\ud83d\u0041"', rb'"\uD800\uDC00"', rb'"\u0000"',
    rb'"\u00e9"', rb'"e\u0301"', rb'"\u12"', rb'"\/"', rb'"\x41"', b"'a'", b'"\xff"', b'"\xed\xa0\x80"', b'"\xc0\xaf"',
    b'"\xe2\x80\xa8"', b'"\xc2\x85"', b'"\xf4\x90\x80\x80"', b'"\xef\xbb\xbf"', b'"\xc3"', b'"\t"', b'"\n"', b'"\x7f"',
    b'"\0"', b'"',
]  # fmt: skip
ODD_PIECES = [
    b"\xef\xbb\xbf", b"\0", b"\xff", b"\xa0", b"\xc2\xa0", b"\x0c", b"\x1f", b" ", b"\r\n", b",", b"]", b"}", b"{}",
    b"#", b"// x", b"/* */", b"\\", b'\\"', b"[" * 33, b"{" * 40, b'{"a":' * 33,
]  # fmt: skip

# Of files in chunks: lengths and counts that do not fit, or overflow where they are added or multiplied.
ODD_SIZES = (0, 1, 2, 7, 255, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFF00, 0xFFFFFFFF, 2**40, 2**62, 2**63 - 1, 2**63)

ODD_PLACES = ["weights.bin", "other.bin", "./weights.bin", "../weights.bin", "/etc/passwd", "", "\0", "weights.bin\0"]
ODD_PLACES += ["*/_ORT_MEM_ADDR_/*", "WEIGHTS.BIN", "weights.bin/", "model.onnx", "w" * 300]


def mutated(target: str, data: bytes, rng: random.Random) -> bytes:
    """The bytes with one to four changes of the kind that suits the target."""
    for _ in range(rng.choice((1, 1, 1, 2, 3, 4))):
        data = _STRUCTURED.get(target, _changed_bytes)(data, rng) if rng.random() < 0.8 else _changed_bytes(data, rng)
    return data


def _changed_bytes(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data) + 1)
    end = min(len(data), start + rng.choice((0, 1, 1, 2, 4, 8, 64)))
    piece = rng.choice((b"", b"\0", b"\xff" * 4, b"\x80\x00", rng.randbytes(end - start), data[start:end] * 3))
    return data[:start] + piece + data[end:]


def _changed_number(data: bytes, rng: random.Random) -> bytes:
    """A whole number of two, four or eight bytes, little-endian: another, or a little more or less."""
    width = rng.choice((2, 4, 4, 8))
    start = rng.randrange(max(1, len(data) - width + 1))
    found = int.from_bytes(data[start : start + width], "little")
    value = rng.choice((rng.choice(ODD_SIZES), found + rng.randint(-4, 4), found * 2, len(data) - start))
    return data[:start] + (value % 2 ** (8 * width)).to_bytes(width, "little") + data[start + width :]


def _changed_binary(data: bytes, rng: random.Random) -> bytes:
    return rng.choice((_changed_bytes, _changed_number))(data, rng)


def _changed_text(data: bytes, rng: random.Random) -> bytes:
    """JSON as a text: a token is another, gone, or there twice; a member is there twice; or something is put in."""
    found = list((MEMBER if rng.random() < 0.2 else TOKEN).finditer(data))
    if not found:
        return _changed_bytes(data, rng)
    each = rng.choice(found)
    odd = rng.choice(rng.choice((ODD_NUMBERS, ODD_STRINGS, ODD_PIECES)))
    at = rng.choice((0, len(data), each.start(), each.end()))
    again = each[0] + (b"," if each.re is MEMBER else b"") + each[0]
    return rng.choice(
        (
            data[: each.start()] + odd + data[each.end() :],
            data[: each.start()] + again + data[each.end() :],
            data[: each.start()] + data[each.end() :],
            data[:at] + odd + data[at:],
        )
    )


def _changed_manifest(data: bytes, rng: random.Random) -> bytes:
    return rng.choice((_changed_json, _changed_text))(data, rng)


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


def _changed_bundle(data: bytes, rng: random.Random) -> bytes:
    """Of its manifest; its file is left as it is."""
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


def _changed_onnx(data: bytes, rng: random.Random) -> bytes:
    """A tensor more with data elsewhere, anywhere that a tensor can be; or a part of the file as another part."""
    try:
        model = onnx.ModelProto.FromString(data)
    except DecodeError:
        return _changed_binary(data, rng)
    messages = list(_messages(model))
    holder = rng.choice(messages)
    if rng.random() < 0.2:
        others = [each for each in messages if type(each) is type(holder)]
        holder.CopyFrom(onnx.ModelProto.FromString(data) if holder is model else _copy(rng.choice(others)))
    else:
        _describe(_new_tensor(holder, rng), rng)
    changed: bytes = model.SerializeToString()
    return changed


def _copy(message: Any) -> Any:
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


def _messages(message: Any) -> Iterator[Any]:
    """A message of protobuf and all in it."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for each in value if field.is_repeated else [value]:
                yield from _messages(each)


def _new_tensor(holder: Any, rng: random.Random) -> Any:
    """A tensor in a message, at the end of a random way down from it."""
    while not isinstance(holder, onnx.TensorProto):
        fields = [field for field in holder.DESCRIPTOR.fields if field.message_type is not None]
        if not fields:
            return onnx.TensorProto()  # in no file: a message that holds no others
        field = rng.choice(fields)
        holder = getattr(holder, field.name)
        if field.is_repeated:
            holder = holder.add()
        else:
            holder.SetInParent()
    return holder


def _describe(tensor: Any, rng: random.Random) -> None:
    """Of its data: where they are, as one or another parser understands it."""
    tensor.data_type = rng.choice((1, 1, 7, 16, 0))
    tensor.dims.append(rng.choice((0, 1, 4, -1, 2**62)))
    if rng.random() < 0.8:
        tensor.data_location = onnx.TensorProto.EXTERNAL
    for key in ("location", *rng.sample(("offset", "length", "checksum", "location", "key", ""), 2)):
        value = rng.choice(ODD_PLACES) if key == "location" else str(rng.choice((0, 16, 64, -1, 2**63, "1e2", "")))
        tensor.external_data.add(key=key, value=value)


_STRUCTURED = {
    "manifest": _changed_manifest,
    "bundle": _changed_bundle,
    "external": _changed_onnx,
    "onnx": _changed_onnx,
    "image": _changed_binary,
    "wav": _changed_binary,
    "npy": _changed_binary,
    "npz": _changed_binary,
    "cache": _changed_json,
    "safetensors": _changed_header,
    "recipe": _changed_lines,
}
