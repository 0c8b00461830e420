"""Which module of the user's model each node of an ONNX file belongs to, without the package onnx.

hamsa-export writes the module's path into each node's metadata. Of the file's protocol buffers this reads just these
fields (numbers of onnx.proto):

    ModelProto.graph = 7     GraphProto.node = 1     NodeProto.output = 2, .name = 3, .metadata_props = 9
    StringStringEntryProto.key = 1, .value = 2

A message is a sequence of (tag, value), tag = number * 8 + kind: 0 a varint, 1 eight bytes, 2 a varint and as many
bytes, 5 four bytes.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

VARINT, BYTES = 0, 2
FIXED = {1: 8, 5: 4}


class Message(NamedTuple):
    """A part of the file, which is mapped and not read: weights may be in between."""

    data: mmap.mmap
    start: int
    stop: int

    def text(self) -> str:
        """The part as UTF-8."""
        return self.data[self.start : self.stop].decode()


def modules_of(onnx_file: Path) -> dict[str, str]:
    """Module path by name of node, and of each value that a node computes.

    The file is to be one whose hash was checked: nothing says what comes of a damaged one.
    """
    modules: dict[str, str] = {}
    with onnx_file.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for graph in _fields(Message(data, 0, len(data)), 7):
            for node in _fields(graph, 1):
                if module := _module(node):
                    names = [*_fields(node, 3), *_fields(node, 2)]
                    modules.update((name.text(), module) for name in names)
    return modules


def _module(node: Message) -> str:
    for entry in _fields(node, 9):
        if [key.text() for key in _fields(entry, 1)] == ["module"]:
            return "".join(value.text() for value in _fields(entry, 2))
    return ""


def _fields(message: Message, number: int) -> Iterator[Message]:
    """The fields of one number that hold bytes, in order."""
    position = message.start
    while position < message.stop:
        tag, position = _varint(message.data, position)
        kind = tag & 7
        if kind == VARINT:
            _, position = _varint(message.data, position)
            continue
        if kind != BYTES and kind not in FIXED:
            raise ValueError(f"not an ONNX file: field of kind {kind}")
        size, position = _varint(message.data, position) if kind == BYTES else (FIXED[kind], position)
        if kind == BYTES and tag >> 3 == number:
            yield Message(message.data, position, position + size)
        position += size


def _varint(data: mmap.mmap, position: int) -> tuple[int, int]:
    """The number at a position, seven bits in each byte, the lowest first; and where it ends."""
    value = shift = 0
    while True:
        byte = data[position]
        value |= (byte & 127) << shift
        position, shift = position + 1, shift + 7
        if byte < 128:
            return value, position
