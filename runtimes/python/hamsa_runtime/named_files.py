"""The files that a model file makes an engine open: found in its bytes before an engine sees it.

An ONNX file is one protobuf message. A tensor in it may lie in another file, which it names: ``external_data``, a list
of texts by key, of which ``location`` is a path or, to some engines, an address in memory (onnx.proto, TensorProto).
Tensors are in graphs, in attributes of nodes, in the graphs of attributes, in functions and in sparse tensors.

Whatever any parser could take for a location counts as one: of repeated keys each, and also that of a tensor that says
elsewhere that it has no external data. What only some parsers read is refused. Other fields are skipped unread, so that
the time goes with the number of fields. The C++ runtime's named_files.cpp does the same, in the same words.
"""

from __future__ import annotations

from collections.abc import Iterator

from hamsa_runtime.errors import InputError

# Of messages within messages; protobuf's own is 100.
MAX_DEPTH = 100
# Several times what a graph of 20,000 nodes has.
MAX_FIELDS = 2**21

MODEL, GRAPH, NODE, ATTRIBUTE, FUNCTION = "model", "graph", "node", "attribute", "function"
TRAINING, SPARSE, TENSOR, ENTRY = "training", "sparse tensor", "tensor", "entry"

# The numbers that onnx.proto gives to the fields that hold such messages.
FIELDS = {
    MODEL: {7: GRAPH, 20: TRAINING, 25: FUNCTION},
    TRAINING: {1: GRAPH, 2: GRAPH},
    FUNCTION: {7: NODE, 11: ATTRIBUTE},
    GRAPH: {1: NODE, 5: TENSOR, 15: SPARSE},
    NODE: {5: ATTRIBUTE},
    ATTRIBUTE: {5: TENSOR, 6: GRAPH, 10: TENSOR, 11: GRAPH, 22: SPARSE, 23: SPARSE},
    SPARSE: {1: TENSOR, 2: TENSOR},
    TENSOR: {13: ENTRY},
}
NODE_OPERATOR = 4
ENTRY_KEY, ENTRY_VALUE = 1, 2
LOCATION = b"location"
# A whole compiled model for one device, in a file that an attribute names.
OPENS_FILES = (b"EPContext",)

VARINT, EIGHT_BYTES, TEXT, FOUR_BYTES = 0, 1, 2, 5
WIDTHS = {EIGHT_BYTES: 8, FOUR_BYTES: 4}


def locations_in_onnx(data: bytes) -> set[bytes]:
    """The names of all files that an ONNX file says its tensors lie in.

    Raises:
        InputError: no ONNX model, or nested too deeply, or too many fields; or an operator that opens files itself.
            Which file it is, the caller knows.
    """
    found: set[bytes] = set()
    pending = [(MODEL, 0, len(data), 0)]
    fields, graphs = 0, 0
    while pending:
        kind, start, stop, depth = pending.pop()
        if depth > MAX_DEPTH:
            raise _no_onnx(f"nested more than {MAX_DEPTH} levels deep")
        inner = FIELDS.get(kind, {})
        entry: dict[int, list[bytes]] = {ENTRY_KEY: [], ENTRY_VALUE: []}
        for number, begin, end in fields_of(data, start, stop):
            fields += 1
            if fields > MAX_FIELDS:
                raise _no_onnx(f"more than {MAX_FIELDS} fields")
            if begin < 0:
                continue
            if number in inner:
                pending.append((inner[number], begin, end, depth + 1))
                graphs += inner[number] == GRAPH
            elif kind == ENTRY and number in entry:
                entry[number].append(data[begin:end])
            elif kind == NODE and number == NODE_OPERATOR and data[begin:end] in OPENS_FILES:
                raise _opens_files(data[begin:end])
        if LOCATION in entry[ENTRY_KEY]:
            found.update(entry[ENTRY_VALUE] or [b""])
    if not graphs:
        raise _no_onnx("it has no graph")
    return found


def check_ir(data: bytes) -> None:
    """Refuse what OpenVINO would not read as its own XML, but as the file of another framework.

    Raises:
        InputError: no such XML, or one that names a file of weights. Which file it is, the caller knows.
    """
    if not data.startswith((b"<?xml", b"<net")):
        raise InputError(
            "not OpenVINO's XML",
            expected="<?xml or <net at its beginning",
            cause="a file of another kind under this name: OpenVINO goes by what is in it",
            fix="export the model again",
        )
    if b"__weights_path" in data:
        raise InputError(
            "it names a file of weights",
            expected="weights in the file beside it",
            cause="a file that was made to mislead",
            fix="export the model again",
        )


def fields_of(data: bytes, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """The number and the extent of each field of a message; the extent is negative where it is a number."""
    at = start
    while at < stop:
        tag, at = varint(data, at, stop, 5)
        number, wire = tag >> 3, tag & 7
        begin = end = -1
        if wire == TEXT:
            size, begin = varint(data, at, stop, 5)
            at = end = begin + size
        elif wire == VARINT:
            _, at = varint(data, at, stop, 10)
        elif wire in WIDTHS:
            at += WIDTHS[wire]
        else:
            raise _no_onnx(f"a field of wire type {wire} at byte {at}")
        if number == 0 or tag >= 2**32 or at > stop:
            raise _no_onnx(f"a field that its message does not hold, before byte {at}")
        yield number, begin, end


def varint(data: bytes, at: int, stop: int, most: int) -> tuple[int, int]:
    """A number of at most so many bytes, and where the next field begins."""
    value = shift = 0
    for place in range(at, min(at + most, stop)):
        byte = data[place]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place + 1
        shift += 7
    raise _no_onnx(f"a number without end at byte {at}")


def _no_onnx(why: str) -> InputError:
    return InputError(
        f"no ONNX model that can be looked through: {why}",
        expected="the files that it names have to be known before an engine opens them",
        cause="the file was cut, is of another kind, or was made to mislead",
        fix="export the model again",
    )


def _opens_files(operator: bytes) -> InputError:
    return InputError(
        f"the operator {operator.decode()}, which opens a file by itself",
        expected="operators that compute",
        cause="a model that was compiled for one device, or made to mislead",
        fix="use the model that it was compiled from",
    )
