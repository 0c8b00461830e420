"""What flows through an ONNX graph: values between its nodes, on real inputs.

Ranges for float16 and int8 come from here. ONNX Runtime runs the graph as it is written, without optimisations that
would fuse nodes and lose values.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import onnx_ir as ir
import onnxruntime

Arrays = Mapping[str, np.ndarray]

# Values are fetched in groups: those of one image through HAMSA-S are 0.6 GB, at 1248 pixels 18 GB.
GROUP_BYTES = 2 * 2**30


def observed(model: ir.Model, names: Sequence[str], feeds: Iterable[Arrays]) -> Iterator[dict[str, np.ndarray]]:
    """Run the graph, and hand out values between its nodes.

    Args:
        model: float32; it is left as it is.
        names: the values wanted, each with a dtype and a shape in the graph.
        feeds: graph inputs by name, one dict for each run.

    Yields:
        Some of the values of one run, so often that each value has come once for each run, in the order of the runs.
    """
    feeds = list(feeds)
    if not feeds:
        return
    for group in _groups(model, names, batch=len(next(iter(feeds[0].values())))):
        yield from _of_group(model, group, feeds)


def _of_group(model: ir.Model, group: list[str], feeds: Iterable[Arrays]) -> Iterator[dict[str, np.ndarray]]:
    """One group after the other: a session holds the weights, packed as well, and two at once are one too many."""
    session = _session(model, group)
    for feed in feeds:
        yield dict(zip(group, session.run(group, dict(feed)), strict=True))


def _groups(model: ir.Model, names: Sequence[str], batch: int) -> list[list[str]]:
    """The names in groups of at most GROUP_BYTES, for a batch of that size."""
    values = values_by_name(model.graph)
    groups: list[list[str]] = []
    room = 0
    for name in names:
        size = _nbytes(values[name], batch)
        if size > room or not groups:
            groups.append([])
            room = GROUP_BYTES
        groups[-1].append(name)
        room -= size
    return groups


def values_by_name(graph: ir.Graph) -> dict[str, ir.Value]:
    """Inputs of the graph and everything that its nodes compute."""
    values = [*graph.inputs, *(value for node in graph for value in node.outputs)]
    return {str(value.name): value for value in values}


def _nbytes(value: ir.Value, batch: int) -> int:
    assert value.dtype is not None
    assert value.shape is not None
    sizes = [size if isinstance(size, int) else batch for size in value.shape]
    return int(np.prod(sizes) * value.dtype.itemsize)


def _session(model: ir.Model, names: Sequence[str]) -> onnxruntime.InferenceSession:
    """A session whose outputs are these values."""
    proto = ir.to_proto(model)
    known = values_by_name(model.graph)
    del proto.graph.output[:]
    proto.graph.output.extend(ir.to_proto(known[name]) for name in names)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
