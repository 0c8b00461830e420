"""Frames that a model cuts out, or adds up, by hand: the operators unfold and fold, for the short-time forms.

    x[:, i * hop : i * hop + n] for all i                     in a loop
    y[:, i * hop : i * hop + n] += frames[i] for all i        in a loop
    x.as_strided((batch, frames, n), (length, hop, 1))        of a signal that lies in memory row by row

rolling.py puts the operators in place of loops.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import torch
from torch.fx import GraphModule

aten = torch.ops.aten
DEFAULTS = (0, None, None, 1)  # of a slice: axis, start, end, step
Node: TypeAlias = Any  # of which PyTorch says that its arguments may be nearly anything


class Regular(NamedTuple):
    """Frames of a signal (.., L), from its sample `start` up to `end`, as (.., frames, n)."""

    signal: Node
    start: int
    end: int
    n: int
    hop: int


def frames_of_slices(slices: Sequence[Node]) -> Regular | None:
    """Slices of one signal along its last axis, of one length, each as far from the one before; None for others."""
    cuts = [_bounds(node) for node in slices]
    signal, (start, end) = slices[0].args[0], cuts[0] or (0, 0)
    hop = (cuts[1] or (0, 0))[0] - start
    if end <= start or hop < 1 or any(node.args[0] is not signal for node in slices):
        return None
    if cuts != [(start + i * hop, end + i * hop) for i in range(len(cuts))]:
        return None
    return Regular(signal, start, end + (len(cuts) - 1) * hop, end - start, hop)


class Added(NamedTuple):
    """Frames added to a signal (.., L), each as far from the one before, from its sample `start` up to `end`."""

    signal: Node
    frames: list[Node]
    start: int
    end: int
    n: int
    hop: int


def added_frames(last: Node) -> Added | None:
    """What a chain of additions to parts of one tensor is, of which this is the last; None where it is not that."""
    if any(_addition(user, last) is not None for user in last.users):
        return None
    frames: list[Node] = []
    cuts: list[tuple[int, int]] = []
    base = last
    while (found := _addition(base, base.args[0])) is not None and (base is last or len(base.users) == 2):
        frame, bounds = found
        frames.insert(0, frame)
        cuts.insert(0, bounds)
        base = base.args[0]
        if base.op != "call_function" or not base.args:
            break
    if len(cuts) < 2 or cuts[1][0] <= cuts[0][0]:
        return None
    (start, end), hop = cuts[0], cuts[1][0] - cuts[0][0]
    regular = cuts == [(start + i * hop, end + i * hop) for i in range(len(cuts))]
    return Added(base, frames, start, cuts[-1][1], end - start, hop) if regular else None


def _addition(write: Node, base: Node) -> tuple[Node, tuple[int, int]] | None:
    """The frame that a write adds to a part of `base`, and where; None where it does anything else, or adds what is
    broadcast."""
    if write.target is not aten.slice_scatter.default or write.args[0] is not base or len(write.args) > 5:
        return None
    total, where = write.args[1], write.args[2:]
    if getattr(total, "target", None) is not aten.add.Tensor or total.kwargs or len(total.users) > 1:
        return None
    for part, frame in (total.args[:2], total.args[1::-1]):
        is_part = getattr(part, "target", None) is aten.slice.Tensor and part.args[0] is base
        if is_part and part.args[1:] == where and len(part.users) == 1 and "val" in getattr(frame, "meta", {}):
            bounds = _bounds(part)
            same = (
                frame.meta["val"].shape == part.meta["val"].shape and frame.meta["val"].dtype == part.meta["val"].dtype
            )
            return (frame, bounds) if bounds is not None and same else None
    return None


def _bounds(node: Node) -> tuple[int, int] | None:
    """First and last sample of a slice along the last axis."""
    given: list[Any] = [*node.args, *DEFAULTS[len(node.args) - 1 :]]
    signal, dim, start, _, step = given
    shape, length = signal.meta["val"].shape, node.meta["val"].shape[-1]
    start = 0 if start is None else start
    fixed = all(isinstance(number, int) for number in (start, length, shape[-1]))
    if not fixed or dim % len(shape) != len(shape) - 1 or step != 1:
        return None
    first = max(start + shape[-1], 0) if start < 0 else start
    return first, first + length


def unfold_views(module: GraphModule) -> None:
    """Put unfold in place of as_strided where it shows frames of a signal."""
    for node in list(module.graph.nodes):
        if node.target is aten.as_strided.default and (found := _frames_of_view(node)) is not None:
            last = node.args[0].meta["val"].ndim - 1
            with module.graph.inserting_before(node):
                part = module.graph.call_function(aten.slice.Tensor, (found.signal, last, found.start, found.end))
                frames = module.graph.call_function(aten.unfold.default, (part, last, found.n, found.hop))
            for new in (part, frames):
                new.meta = {key: value for key, value in node.meta.items() if key != "val"}
            frames.meta["val"] = node.meta["val"]
            node.replace_all_uses_with(frames)
    module.graph.eliminate_dead_code()


def _frames_of_view(node: Node) -> Regular | None:
    signal, size, stride, *offset = node.args
    laid_out = signal.meta.get("val")
    if not isinstance(laid_out, torch.Tensor) or len(size) != laid_out.ndim + 1:
        return None
    *before, count, n = size
    *rows, hop, one = stride
    known = all(isinstance(number, int) for number in (count, n, hop, laid_out.shape[-1]))
    same_rows = before == list(laid_out.shape[:-1]) and [*rows, one] == list(laid_out.stride()) and one == 1
    if not known or not same_rows or offset not in ([], [None], [laid_out.storage_offset()]) or min(count, n, hop) < 1:
        return None
    end = (count - 1) * hop + n
    return Regular(signal, 0, end, n, hop) if end <= laid_out.shape[-1] else None
