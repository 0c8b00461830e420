"""Where int8 goes in an ONNX graph: the products of activations with weights.

A site is a node with a constant as its second factor. Its activation gets one scale, its weights one for each output
channel. Everything else stays in floating point: what is pointwise gains nothing from eight bits, and a product with
the constant on the left, which is what a Fourier transform is, would lose accuracy for no gain in speed (HAMSA-S on
OpenVINO: 17.4 ms without them, 17.8 ms with them). So would the convolution that cuts a
signal into frames and transforms them. And what has to stay in float32 in any precision, a scan's sums and those of a
wide norm, is no site.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

import onnx_ir as ir

from hamsa_deploy.spectral.compilation import COMPUTED
from hamsa_deploy.spectral.provenance import FLOAT32
from hamsa_deploy.targets import all_targets, target_of
from hamsa_deploy.targets.record import Int8
from hamsa_runtime.errors import InputError

KINDS = ("MatMul", "Gemm", "Conv")


@dataclass(frozen=True)
class Site:
    """One product that int8 may compute.

    Attributes:
        node: name of the node.
        layer: what reports call it: the path of the module that it comes from, and the node's name.
        activation, weight: names of the two factors.
        axis: the weight's axis of output channels.
    """

    node: str
    layer: str
    activation: str
    weight: str
    axis: int


def sites_of(graph: ir.Graph, target: str) -> list[Site]:
    """The sites of a graph for a target, in its order."""
    return _sites(graph, int8_of(target).products)


def other_sites_of(graph: ir.Graph, target: str) -> list[Site]:
    """Products with weights that only other targets compute in int8."""
    return _sites(graph, [kind for kind in KINDS if kind not in int8_of(target).products])


def why_no_site(graph: ir.Graph, target: str) -> str:
    """What to say of a graph of which a target computes nothing in int8."""
    others = {site.node for site in other_sites_of(graph, target)}
    if not others:
        return "this model has no product of an activation with a matrix of weights; use --fp32"
    found = Counter(node.op_type for node in graph if node.name in others)
    able = [each.name for each in all_targets() if each.int8 is not None and set(found) & set(each.int8.products)]
    kinds = ", ".join(f"{count} {kind}" for kind, count in found.items())
    kernels = " and ".join(int8_of(target).products)
    return (
        f"{target_of(target).title} has int8 kernels for {kernels}, and this model's products with weights are "
        f"{kinds}, of which only the weights are kept in 8 bits; use --to {' or '.join(able)}, or --fp32"
    )


def int8_of(target: str) -> Int8:
    """How a target's engine computes in int8.

    Raises:
        InputError: it does not, or there is no such target.
    """
    found = target_of(target).int8
    if found is None:
        raise InputError(f"int8 for {target}", expected=f"one of {', '.join(target_of(target).precisions)}")
    return found


def _sites(graph: ir.Graph, kinds: Collection[str]) -> list[Site]:
    found = (_site(node) for node in graph if node.op_type in kinds and node.domain in ("", "ai.onnx"))
    return [site for site in found if site is not None]


def _site(node: ir.Node) -> Site | None:
    activation, weight = node.inputs[:2]
    if activation is None or weight is None or weight.const_value is None or activation.const_value is not None:
        return None
    if activation.dtype != ir.DataType.FLOAT or weight.shape is None:
        return None
    if node.op_type == "MatMul" and weight.shape.rank() != 2:
        return None
    if FLOAT32 in node.metadata_props or (node.op_type == "Conv" and _cuts_frames(weight)):
        return None
    module = node.metadata_props.get("module", "")
    layer = f"{module} ({node.name})" if module else str(node.name)
    return Site(str(node.name), layer, str(activation.name), str(weight.name), _output_axis(node))


def _cuts_frames(weight: ir.Value) -> bool:
    """Whether a convolution's kernels, (rows, 1, taps), are no weights but what spectral/framed.py has computed."""
    return str(weight.name).startswith(COMPUTED) and weight.shape is not None and list(weight.shape)[1:-1] == [1]


def _output_axis(node: ir.Node) -> int:
    if node.op_type == "Conv":
        return 0
    transposed = node.attributes.get("transB")
    return 0 if transposed is not None and transposed.as_int() else 1
