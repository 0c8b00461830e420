"""Where a scale for each channel can flow: `scale_flow` along the other axis.

Sites, whose channels can be divided by any c > 0 for free:

    y = x W             a linear: column j of W divided by c[j]
    y = K * x           Mul by a constant with channels, such as K_hat
    LayerNormalization  its gain and its bias divided by c

A linear and K undo a scale of their input for free: row j of W times c[j]. A transform along the rows, C x, commutes
with c; a bias with channels is divided by c. Linears and transforms tie the scales of all rows to each other.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from hamsa_deploy.graph.constants import constant_of
from hamsa_deploy.precision.passes.scale_flow import COMMON_RULES, Labels, Rule, ScaleFlow, product, sum_of_equals


class ChannelFlow(ScaleFlow):
    """One pass over a graph, see ScaleFlow."""

    def rules(self) -> Mapping[str, Rule]:
        return _RULES


def has_channels(constant: np.ndarray | None) -> bool:
    """Whether a constant differs from channel to channel."""
    return constant is not None and constant.ndim > 0 and constant.shape[-1] > 1


def _matmul(flow: ScaleFlow, node: ir.Node) -> None:
    left, right = constant_of(node.inputs[0]), constant_of(node.inputs[1])
    if left is not None and left.ndim >= 2:
        _transform(flow, node)
    elif right is not None and right.ndim == 2:
        _tied_over_rows(flow, node, 0)
        flow.open_site(node, right.shape[1:])


def _transform(flow: ScaleFlow, node: ir.Node) -> None:
    """C x: commutes with a scale that is the same for all rows."""
    flow.put(node.outputs[0], _tied_over_rows(flow, node, 1))


def _tied_over_rows(flow: ScaleFlow, node: ir.Node, index: int) -> Labels | None:
    """The labels of an input, (d,), if every entry has one."""
    labels = flow.of(node.inputs[index])
    if labels is None or not labels.ids.all():
        return None
    ids = one_row(labels.ids)
    flow.tie(*np.broadcast_arrays(ids, labels.ids))
    flow.follow(node, index)
    return Labels(ids, labels.power)


def one_row(array: np.ndarray) -> np.ndarray:
    """(.., d) -> (d,), the first row."""
    return array.reshape(-1, array.shape[-1])[0]


def _mul(flow: ScaleFlow, node: ir.Node) -> None:
    place = next((i for i, value in enumerate(node.inputs) if constant_of(value) is not None), None)
    if place is None:
        product(flow, node)
        return
    constant, labels = constant_of(node.inputs[place]), flow.of(node.inputs[1 - place])
    assert constant is not None
    if labels is not None:
        flow.follow(node, 1 - place)
    if has_channels(constant):
        flow.open_site(node, constant.shape[-1:])
    else:
        flow.put(node.outputs[0], labels)


def _sum(flow: ScaleFlow, node: ir.Node) -> None:
    """A constant is divided by the scale of what it is added to."""
    place = next((i for i, value in enumerate(node.inputs) if constant_of(value) is not None), None)
    if place is None:
        sum_of_equals(flow, node)
        return
    labels = flow.of(node.inputs[1 - place])
    if labels is not None:
        flow.follow(node, 1 - place)
        flow.put(node.outputs[0], Labels(labels.ids, labels.power))


def _layer_normalization(flow: ScaleFlow, node: ir.Node) -> None:
    axis = node.attributes.get("axis")
    gain = constant_of(node.inputs[1])
    if gain is not None and gain.ndim == 1 and (axis is None or axis.as_int() == -1) and _bias_is_constant(node):
        flow.open_site(node, gain.shape)


def _bias_is_constant(node: ir.Node) -> bool:
    return len(node.inputs) < 3 or node.inputs[2] is None or constant_of(node.inputs[2]) is not None


_RULES: dict[str, Rule] = {
    **COMMON_RULES,
    "MatMul": _matmul,
    "Mul": _mul,
    "Add": _sum,
    "Sub": _sum,
    "LayerNormalization": _layer_normalization,
}
