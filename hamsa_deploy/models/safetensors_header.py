"""Check a .safetensors file by its header, before any tensor of it is allocated.

Layout (github.com/huggingface/safetensors, "Format"): 8 bytes, little-endian length N of the header; N bytes
of JSON, {name: {"dtype", "shape", "data_offsets": [begin, end]}, "__metadata__": {...}}; then the data.
Offsets count from the end of the header; the tensors fill the data completely, without holes or overlaps.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from hamsa_runtime.errors import InputError

LENGTH_BYTES = 8
MAX_HEADER_BYTES = 100_000_000  # the limit of the reference implementation
BYTES_PER_VALUE = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "U16": 2, "I16": 2, "F16": 2, "BF16": 2,
    "U32": 4, "I32": 4, "F32": 4, "U64": 8, "I64": 8, "F64": 8, "C64": 8,
}  # fmt: skip


class Extent(NamedTuple):
    """The bytes [begin, end) of one tensor."""

    begin: int
    end: int
    name: str


def check_safetensors(path: Path) -> None:
    """Raise InputError, naming the file and the entry, unless the header describes exactly this file.

    Reads the header only: memory is bounded by its length, which is checked against the file first.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(LENGTH_BYTES), "little")
        room = size - LENGTH_BYTES
        if not 2 <= length <= min(room, MAX_HEADER_BYTES):
            raise _bad(path, f"the header claims {length} bytes", f"2 to {min(max(room, 2), MAX_HEADER_BYTES)}")
        header = _parsed(path, file.read(length))
    data_bytes = room - length
    header.pop("__metadata__", None)
    extents = [_checked_extent(path, name, entry, data_bytes) for name, entry in header.items()]
    _check_contiguous(path, sorted(extents), data_bytes)


def _parsed(path: Path, text: bytes) -> dict[str, Any]:
    try:
        header = json.loads(text, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise _bad(path, f"the header is not JSON: {error}", "a JSON object") from error
    if not isinstance(header, dict):
        raise _bad(path, f"the header is a JSON {type(header).__name__}", "a JSON object")
    return header


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        raise ValueError("a key occurs twice")
    return mapping


def _checked_extent(path: Path, name: str, entry: Any, data_bytes: int) -> Extent:
    """The tensor's byte range, after dtype, shape and range have been found to agree."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise _bad(path, f"entry {name!r} is {_short(entry)}", "an object of dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BYTES_PER_VALUE:
        raise _bad(path, f"{name!r} has dtype {_short(dtype)}", f"one of {', '.join(BYTES_PER_VALUE)}")
    if not _naturals(shape):
        raise _bad(path, f"{name!r} has shape {_short(shape)}", "a list of integers >= 0")
    if not _naturals(offsets) or len(offsets) != 2 or not offsets[0] <= offsets[1] <= data_bytes:
        raise _bad(
            path,
            f"{name!r} lies at bytes {_short(offsets)}",
            f"[begin, end] within {data_bytes} bytes of data",
        )
    begin, end = offsets
    values = _product_up_to(shape, data_bytes)
    if values * BYTES_PER_VALUE[dtype] != end - begin:
        raise _bad(path, f"{name!r}, {dtype} of shape {_short(shape)}, has {end - begin} bytes", "dtype size x shape")
    return Extent(begin, end, name)


def _naturals(values: Any) -> bool:
    return isinstance(values, list) and all(type(v) is int and 0 <= v < 2**63 for v in values)


def _product_up_to(shape: list[int], limit: int) -> int:
    """The product of the shape, or some number above the limit: never a huge integer."""
    if 0 in shape:
        return 0
    product = 1
    for side in shape:
        product *= side
        if product > limit:
            return limit + 1
    return product


def _check_contiguous(path: Path, extents: list[Extent], data_bytes: int) -> None:
    """Sorted extents cover [0, data_bytes) without holes or overlaps."""
    position = 0
    for extent in extents:
        if extent.begin != position:
            raise _bad(
                path,
                f"{extent.name!r} begins at byte {extent.begin}",
                f"byte {position}, where the last ends",
            )
        position = extent.end
    if position != data_bytes:
        raise _bad(path, f"the tensors end at byte {position}", f"byte {data_bytes}, the end of the file")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _bad(path: Path, found: str, expected: str) -> InputError:
    return InputError(
        f"{path}: {found}",
        expected=expected,
        cause="a truncated download, or a file that was damaged or made to mislead",
        fix="fetch the checkpoint again and compare its hash",
    )
