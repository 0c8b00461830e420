"""Programs in lower precision, for XNNPACK: with products in int8, or what it has kernels for in float16.

Both are changed as modules, and captured once more.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from hamsa_deploy.targets.record import Order
from hamsa_runtime.manifest import BATCH

if TYPE_CHECKING:
    from torch.export import ExportedProgram

aten = torch.ops.aten
# What XNNPACK computes in float16. All else stays float32, by XNNPACK or by portable kernels: in float16 those of GELU
# and of norms take twelve and four times as long (256 x 64 numbers: 177 us against 14, 137 against 38).
IN_HALF = {
    aten.linear.default, aten.matmul.default, aten.mm.default, aten.bmm.default, aten.addmm.default,
    aten.conv1d.default, aten.conv2d.default, aten.conv2d.padding, aten.conv1d.padding,
    aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.neg.default, aten.abs.default,
    aten.sigmoid.default, aten.tanh.default, aten.silu.default, aten.relu.default, aten.leaky_relu.default,
    aten.clamp.default, aten.hardtanh.default, aten.minimum.default, aten.maximum.default,
}  # fmt: skip
# What computes nothing, and stays in the type that it is given.
MOVES = {
    aten.view.default, aten.reshape.default, aten._unsafe_view.default, aten.flatten.using_ints, aten.unflatten.int,
    aten.squeeze.dim, aten.squeeze.dims, aten.unsqueeze.default, aten.expand.default, aten.transpose.int,
    aten.permute.default, aten.t.default, aten.movedim.int, aten.narrow.default, aten.slice.Tensor, aten.select.int,
    aten.cat.default, aten.stack.default, aten.chunk.default, aten.split.Tensor, aten.split_with_sizes.default,
    aten.contiguous.default, aten.clone.default, aten.flip.default,
}  # fmt: skip
SMALLEST_SCALE = torch.finfo(torch.float32).tiny * 2**24
CHECKS = {aten._assert_tensor_metadata.default}


def int8_program(order: Order) -> ExportedProgram:
    """By XNNPACK's own quantiser: weights of linear layers in int8, by channel; their inputs when they run, each row
    with a range of its own, so that a batch changes nothing.

    Of the logits of 120 digits hamsa_nano keeps 44.3 dB with a range for each (as PyTorch emulates it), 37.4 with
    ranges that are measured before, and 33.3 where everything is in int8 that can be. Convolutions stay in float32:
    with ranges of their own, XNNPACK refuses to run one whose input it has scaled itself (1.5.1: "propagating input
    shapes failed").

    Raises:
        ValueError: there is no linear layer.
    """
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e import PerChannelMinMaxObserver
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    module = _module(order)
    if not any(map(_is_layer, module.graph.nodes)):
        raise ValueError("it has no linear layers, and nothing else becomes int8")
    how = get_symmetric_quantization_config(is_per_channel=True, is_dynamic=True)
    # Its own smallest scale, 2^-12, would make 0 of weights below 1.2e-4, and leave few levels to those of wide layers.
    ranges = PerChannelMinMaxObserver.with_args(eps=SMALLEST_SCALE)
    how = replace(how, weight=replace(how.weight, observer_or_fake_quant_ctr=ranges))
    quantiser = XNNPACKQuantizer().set_operator_type(aten.linear.default, how).set_filter_function(_is_layer)
    prepared = prepare_pt2e(module, quantiser)
    with torch.no_grad():
        prepared(*_zeros(order))  # ranges of weights are taken then
    return _captured(convert_pt2e(prepared), order)


def _is_layer(node: fx.Node) -> bool:
    """A product with weights: what is computed has no range before it runs."""
    return node.target == aten.linear.default and isinstance(node.args[1], fx.Node) and node.args[1].op == "get_attr"


def fp16_program(order: Order) -> ExportedProgram:
    """All that `IN_HALF` names in float16, but for what the order keeps; float32 at its borders."""
    return _captured(_Halving(_module(order), order.float32).module(), order)


class _Halving:
    """One pass over a graph; remembers which value exists in which type, so that each cast is made once."""

    def __init__(self, module: fx.GraphModule, kept: Collection[str]) -> None:
        self.root, self.graph, self.kept = module, module.graph, kept
        self.tensors: dict[str, torch.Tensor] = {}
        self.floats = {node for node in self.graph.nodes if _is_float32(node.meta.get("val"))}
        self.half: set[fx.Node] = set()
        self._cast: dict[tuple[fx.Node, torch.dtype], fx.Node] = {}

    def module(self) -> fx.GraphModule:
        """The graph in its types, with the constants that it still has."""
        for node in list(self.graph.nodes):
            if node.op == "get_attr":
                self.tensors[node.target] = _attribute(self.root, node.target)
            elif node.op in ("call_function", "output"):
                self._retype(node)
        typed = fx.GraphModule(self.tensors, self.graph)
        typed.graph.eliminate_dead_code()
        return fx.GraphModule(self.tensors, typed.graph)  # copies what the graph names only

    def _retype(self, node: fx.Node) -> None:
        if node.target in CHECKS:
            self.graph.erase_node(node)
            return
        moved = node.target in MOVES or getattr(node.target, "__name__", "") == "getitem"
        takes_half = node.name not in self.kept and (
            any(each in self.half for each in node.all_input_nodes) if moved else self._computes_in_half(node)
        )
        with self.graph.inserting_before(node):
            wanted = torch.float16 if takes_half else torch.float32
            change: Callable[[Any], Any] = lambda each: self._as(each, wanted)  # noqa: E731
            node.args, node.kwargs = fx.map_arg(node.args, change), fx.map_arg(node.kwargs, change)
            if takes_half:
                self.half.add(node)
                self._without_silu(node)

    def _computes_in_half(self, node: fx.Node) -> bool:
        floats = all(each in self.floats or not _is_floating(each.meta.get("val")) for each in node.all_input_nodes)
        return node.target in IN_HALF and node in self.floats and floats

    def _as(self, value: fx.Node, wanted: torch.dtype) -> fx.Node:
        has = torch.float16 if value in self.half else torch.float32
        if value not in self.floats or has == wanted:
            return value
        if (value, wanted) not in self._cast:
            self._cast[value, wanted] = self._converted(value, wanted)
        return self._cast[value, wanted]

    def _converted(self, value: fx.Node, wanted: torch.dtype) -> fx.Node:
        """Constants are stored so: XNNPACK's weights have to be constants."""
        if value.op != "get_attr":
            return self.graph.call_function(aten.to.dtype, (value, wanted))
        name = f"half_{value.name}"
        self.tensors[name] = self.tensors[str(value.target)].to(wanted)
        return self.graph.create_node("get_attr", name)  # get_attr warns of what the module lacks so far

    def _without_silu(self, node: fx.Node) -> None:
        """As two operators: ExecuTorch's decomposition of SiLU converts to float32 and back, in portable kernels."""
        if node.target == aten.silu.default:
            gate = self.graph.call_function(aten.sigmoid.default, node.args)
            node.target, node.args = aten.mul.Tensor, (*node.args, gate)


def _is_floating(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.is_floating_point()


def _is_float32(value: Any) -> bool:
    """Of several, as a split gives them, all."""
    if isinstance(value, list | tuple):
        return bool(value) and all(map(_is_float32, value))
    return isinstance(value, torch.Tensor) and value.dtype == torch.float32


def _attribute(module: Any, target: str) -> torch.Tensor:
    for name in target.split("."):
        module = getattr(module, name)
    assert isinstance(module, torch.Tensor)
    return module.detach()


def _module(order: Order) -> fx.GraphModule:
    """A copy: the same program is lowered in float32 afterwards, and a module shares its tensors. Real programs write
    into nothing, so that what a cast copies is never written into either."""
    assert order.program is not None
    module = copy.deepcopy(order.program).module(check_guards=False)
    assert isinstance(module, fx.GraphModule)
    return module


def _zeros(order: Order) -> tuple[torch.Tensor, ...]:
    """Two where the batch varies: of one, PyTorch takes the batch for a constant."""
    shapes = [[size if isinstance(size, int) else 2 for size in spec.shape] for spec in order.inputs]
    return tuple(
        torch.zeros(shape, dtype=getattr(torch, spec.dtype)) for shape, spec in zip(shapes, order.inputs, strict=True)
    )


def _captured(module: fx.GraphModule, order: Order) -> ExportedProgram:
    """As a program again, whose batch varies as far as the order's."""
    batch = torch.export.Dim(BATCH)
    free = tuple({axis: batch for axis, size in enumerate(spec.shape) if size == BATCH} for spec in order.inputs)
    return torch.export.export(module, _zeros(order), dynamic_shapes=free)
