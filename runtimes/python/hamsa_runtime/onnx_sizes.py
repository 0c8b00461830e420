"""Which nodes of an ONNX file compute sizes only: Shape and Size, and what takes nothing but these and constants.

ONNX Runtime leaves them on the CPU where everything else runs on a GPU, because there the sizes are needed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from hamsa_runtime.named_files import fields_of

# Fields of onnx.proto.
MODEL_GRAPH, GRAPH_NODE, GRAPH_INPUT, INPUT_NAME = 7, 1, 11, 1
NODE_INPUT, NODE_OUTPUT, NODE_NAME, NODE_OPERATOR = 1, 2, 3, 4
OF_SIZES, CONSTANT = (b"Shape", b"Size"), b"Constant"


def nodes_of_sizes(data: bytes) -> set[str]:
    """Their names, of the main graph.

    Args:
        data: the file, which `locations_in_onnx` has looked through.
    """
    nodes = list(_messages(data, GRAPH_NODE))
    values = {name for node in nodes for name in node[NODE_OUTPUT] if node[NODE_OPERATOR] != [CONSTANT]}
    values |= {name for entry in _messages(data, GRAPH_INPUT) for name in entry[INPUT_NAME]}
    sizes: set[bytes] = set()
    names: set[str] = set()
    for node in nodes:  # each behind those that it takes values from
        taken = values.intersection(node[NODE_INPUT])
        if node[NODE_OPERATOR][0] in OF_SIZES or (taken and taken <= sizes):
            sizes.update(node[NODE_OUTPUT])
            names.update(name.decode() for name in node[NODE_NAME])
    return names


def _messages(data: bytes, wanted: int) -> Iterator[dict[int, list[bytes]]]:
    """The messages in one field of the graph, each as what its own fields hold."""
    for outer, start, stop in fields_of(data, 0, len(data)):
        if outer == MODEL_GRAPH:
            for number, begin, end in fields_of(data, start, stop):
                if number == wanted:
                    yield _texts(data, begin, end)


def _texts(data: bytes, start: int, stop: int) -> dict[int, list[bytes]]:
    found: dict[int, list[bytes]] = defaultdict(list)
    for number, begin, end in fields_of(data, start, stop):
        if begin >= 0 and number <= NODE_OPERATOR:
            found[number].append(data[begin:end])
    return found
