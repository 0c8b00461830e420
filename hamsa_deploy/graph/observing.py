"""What flows through an ONNX graph: values between its nodes, on real inputs.

Ranges for float16 and int8 come from here. The graph runs as it is written: optimisations would lose values.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import onnx_ir as ir

from hamsa_deploy.graph.sessions import session_from_model
from hamsa_runtime.batches import Arrays

# Values are fetched in groups: those of one image through HAMSA-S are 0.6 GB, at 1248 pixels 18 GB.
GROUP_BYTES = 2 * 2**30


def observe(model: ir.Model, names: Sequence[str], feeds: Iterable[Arrays]) -> Iterator[Arrays]:
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
        yield from _observe_group(model, group, feeds)


def _observe_group(model: ir.Model, group: list[str], feeds: Iterable[Arrays]) -> Iterator[Arrays]:
    """One group after the other: a session holds the weights, packed as well, and two at once are one too many."""
    values = values_by_name(model.graph)
    session = session_from_model(model, optimised=False, outputs=[values[name] for name in group])
    for feed in feeds:
        yield dict(zip(group, session.run(group, feed), strict=True))


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
