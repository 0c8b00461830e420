"""Data of an ONNX file's tensors: external ones are checked before a byte of them is read.

A tensor may name a file beside the model, an offset and a length (onnx.proto, TensorProto.external_data). The names
come from whoever made the model, so they may point anywhere; all that is accepted is a plain file below the model's
folder, and an extent inside that file of exactly the size that the tensor's type and shape have.
"""

from __future__ import annotations

import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path, PureWindowsPath

import onnx
import onnx_ir as ir

from hamsa_runtime.errors import InputError

KEYS = ("location", "offset", "length", "checksum")
_NATURAL = re.compile(r"[0-9]{1,18}", re.ASCII)


def check_external_data(proto: onnx.ModelProto, path: Path) -> list[Path]:
    """Check every external tensor of a model that was read from `path`.

    Returns:
        The files that hold the data, each once.

    Raises:
        InputError: names the model, the tensor, and what is wrong with the place that it claims.
    """
    claimed: Counter[Path] = Counter()
    for tensor, is_initializer in _tensors(proto):
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            _check_raw_data(path, tensor)
            continue
        if not is_initializer:
            raise _bad(
                path, tensor, "has external data in an attribute of a node", "external data of initializers only"
            )
        file, size = _checked_extent(path, tensor)
        claimed[file] += size
    for file, size in claimed.items():
        if size > file.stat().st_size:  # one extent claimed by many tensors multiplies in memory
            raise InputError(
                f"{path}: its tensors claim {size} bytes of {file.name}, which has {file.stat().st_size}",
                expected="an extent of its own for each tensor",
                cause="a file that was made to mislead",
            )
    return list(claimed)


def _tensors(proto: onnx.ModelProto) -> Iterator[tuple[onnx.TensorProto, bool]]:
    """All tensors, in subgraphs and functions too, each with whether it is an initializer."""
    graphs = [proto.graph]
    graphs += [graph for info in proto.training_info for graph in (info.initialization, info.algorithm)]
    nodes = [node for function in proto.functions for node in function.node]
    while graphs or nodes:
        if graphs:
            graph = graphs.pop()
            nodes += graph.node
            yield from ((tensor, True) for tensor in graph.initializer)
            yield from ((tensor, False) for tensor in _sparse(graph.sparse_initializer))
        else:
            for attribute in nodes.pop().attribute:
                graphs += [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]
                sparse = _sparse([attribute.sparse_tensor, *attribute.sparse_tensors])
                yield from ((tensor, False) for tensor in (attribute.t, *attribute.tensors, *sparse))


def _sparse(tensors: Iterable[onnx.SparseTensorProto]) -> list[onnx.TensorProto]:
    return [part for tensor in tensors for part in (tensor.values, tensor.indices)]


def _check_raw_data(path: Path, tensor: onnx.TensorProto) -> None:
    """The standard's checker does so since onnx 1.22."""
    held = len(tensor.raw_data)
    if tensor.HasField("raw_data") and (size := _bytes_of(path, tensor, held)) != held:
        raise _bad(
            path, tensor, f"holds {held} bytes", f"{'more' if size > held else size}, as its type and shape need"
        )


def _checked_extent(path: Path, tensor: onnx.TensorProto) -> tuple[Path, int]:
    """The tensor's file and size in bytes, after location, offset and length have been found good."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    # Protobuf hands text that is no UTF-8 over as bytes.
    if not all(isinstance(text, str) for entry in entries.items() for text in entry):
        raise _bad(path, tensor, "describes its external data by text that is no UTF-8", ", ".join(KEYS))
    if len(entries) != len(tensor.external_data) or not set(entries) <= set(KEYS):
        keys = ", ".join(entry.key for entry in tensor.external_data)
        raise _bad(path, tensor, f"describes its external data by {keys}", f"{', '.join(KEYS)}, each once at most")
    file = _checked_file(path, tensor, entries.get("location", ""))
    room = file.stat().st_size
    size = _bytes_of(path, tensor, room)
    if size > room:
        raise _bad(
            path, tensor, f"has shape {list(tensor.dims)[:8]}, more than {file.name} holds", f"at most {room} bytes"
        )
    offset = _natural(path, tensor, "offset", entries.get("offset", "0"))
    length = _natural(path, tensor, "length", entries.get("length", str(size)))
    if length != size:
        raise _bad(path, tensor, f"claims {length} bytes", f"{size}, as its type and shape need")
    if offset + size > room:
        raise _bad(path, tensor, f"lies at bytes {offset} to {offset + size} of {file.name}", f"at most {room}")
    return file, size


def _checked_file(path: Path, tensor: onnx.TensorProto, location: str) -> Path:
    """The file at a relative location, which no component leaves or links out of."""
    parts = PureWindowsPath(location)  # splits at both slashes, and knows drives
    if not location or parts.drive or parts.root or ".." in parts.parts or "\\" in location or "\0" in location:
        raise _bad(path, tensor, f"lies in {location!r}", "a relative path with forward slashes and without '..'")
    file = path.parent
    try:
        for part in parts.parts:
            file = file / part
            if file.is_symlink():
                raise _bad(path, tensor, f"lies in {location!r}, through a symbolic link", "a file, not a link")
        status = file.lstat()
    except OSError as error:  # not there; or a name that is too long, or in a folder that may not be read
        raise _bad(
            path, tensor, f"lies in {location[:80]!r}: {error.strerror}", "that file beside the model"
        ) from error
    if not stat.S_ISREG(status.st_mode):
        raise _bad(path, tensor, f"lies in {location!r}, which is no regular file", "a file")
    if status.st_nlink > 1:
        raise _bad(path, tensor, f"lies in {location!r}, which has {status.st_nlink} hard links", "a file of its own")
    return file


def _natural(path: Path, tensor: onnx.TensorProto, key: str, text: str) -> int:
    if not _NATURAL.fullmatch(text):
        raise _bad(path, tensor, f"has {key} {text[:40]!r}", "a whole number of bytes, 0 or more")
    return int(text)


def _bytes_of(path: Path, tensor: onnx.TensorProto, room: int) -> int:
    """Size of the tensor's data, or some number above `room`: never a huge integer."""
    try:
        bits = ir.DataType(tensor.data_type).bitwidth
    except (ValueError, TypeError) as error:
        raise _bad(path, tensor, f"has element type {tensor.data_type}", "a type of fixed size") from error
    if any(side < 0 for side in tensor.dims):
        raise _bad(path, tensor, f"has shape {list(tensor.dims)[:8]}", "sides of 0 or more")
    values = 0 if 0 in tensor.dims else 1
    for side in tensor.dims:
        values = min(values * side, 8 * room + 8)
    return -(-values * bits // 8)


def _bad(path: Path, tensor: onnx.TensorProto, found: str, expected: str) -> InputError:
    return InputError(
        f"{path}: the tensor {tensor.name[:80]!r} {found}",
        expected=expected,
        cause="a file that was made to mislead, was cut, or was copied without its data; links are what a download "
        "cache keeps",
        fix="copy the model and its data files together (cp -L follows links), or fetch them again",
    )
