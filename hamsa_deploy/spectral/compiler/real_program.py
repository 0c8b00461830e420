"""The captured graph, interpreted with the compiler's values: what that executes is the real program.

    recorded        on the capture's own stand-ins, in one go; constants become placeholders as they are met
    traced_anew     on real arithmetic over stand-ins, for its constants, and then by torch.export

Recording asks nothing new of the sizes that vary: they are the capture's, and what that has proven of them holds. Where
interpreting has decided anything more by the example (a size is compared, or taken for a number), only torch.export can
say whether it may, so the program is traced anew. Capture and all, hamsa_nano takes 2.5 CPU s; traced anew, 1.5 more.

What is left is mostly PyTorch's bookkeeping for each operator, 2 ms, half of it arithmetic on the symbols of sizes.
Without its cache of stand-ins it takes as long: what hits save, the misses cost. A trace at one size, or at two that
are compared, would prove nothing of the others.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
import torch.fx.traceback as fx_traceback
from torch import nn
from torch._dispatch.python import enable_python_dispatcher
from torch._subclasses import FakeTensor, FakeTensorMode
from torch.export import ExportedProgram
from torch.export.graph_signature import (
    ExportGraphSignature,
    InputKind,
    InputSpec,
    OutputKind,
    OutputSpec,
    TensorArgument,
)
from torch.fx.experimental import proxy_tensor
from torch.fx.passes.runtime_assert import insert_deferred_runtime_asserts
from torch.utils import _pytree as pytree

from hamsa_deploy.scan.forms import Plans
from hamsa_deploy.spectral import compilation
from hamsa_deploy.spectral.compiler.capture import capture
from hamsa_deploy.spectral.compiler.stand_ins import Products, by_their_names
from hamsa_deploy.spectral.dispatch import apply, full, stacked
from hamsa_deploy.spectral.errors import UnsupportedOperatorError
from hamsa_deploy.spectral.provenance import function_called, place_of
from hamsa_deploy.spectral.values import Complex, Constant, RealView, Value, is_complex, split
from hamsa_runtime.dft.costs import Rates
from hamsa_runtime.errors import HamsaError, UnsupportedTransformError

# Of PyTorch's environment of sizes: what has been decided by the example, what is equal, and what can be assumed.
FACTS = ("guards", "replacements", "var_to_range", "deferred_runtime_asserts")

STRIDE = torch.ops.aten.sym_stride.int


class Asked(NamedTuple):
    """What is shaped for an engine: what computing costs it, the plans that were chosen, and whether it has an FFT."""

    rates: Rates
    plans: Plans
    native: bool


def known_of_sizes(captured: ExportedProgram) -> Any:
    """What tracing has found out about the sizes that vary, to be compared with the same of later; None where PyTorch
    does not say."""
    environment = _sizes_of(captured.graph)
    if not all(hasattr(environment, name) for name in FACTS):
        return None
    return [len(getattr(environment, FACTS[0])), *(dict(getattr(environment, name)) for name in FACTS[1:])]


def recorded(
    captured: ExportedProgram, graph: torch.fx.GraphModule, inputs: tuple[Any, ...], asked: Asked, known: Any
) -> ExportedProgram | None:
    """The real program, of what torch.export has captured of a module.

    Args:
        captured: for the sizes that vary, and for the user's inputs and outputs.
        graph: what is to be interpreted, with the same inputs and outputs.
        inputs: examples of them, in real arithmetic.
        asked: see there.
        known: of the sizes, right after the capture.

    Returns:
        The program, and in its meta what is computed in a form of ours; None where
        torch.export is needed, see above.

    Raises:
        UnsupportedOperatorError, UnsupportedTransformError: see `RealInterpreter`.
    """
    if known is None or captured.graph_module.meta["conditions"]:
        return None
    recorder = _Recorder(graph, asked)
    try:
        traced = recorder.traced([each.arg.name for each in _given(captured)])
        if known_of_sizes(captured) != known or not recorder.is_like(captured, traced):
            return None
        program = recorder.program(traced, captured, inputs)
    except HamsaError:
        raise
    except Exception:  # noqa: BLE001  # of a version of PyTorch that has these parts otherwise, or what its export explains
        return None
    if any(node.target is STRIDE for node in program.graph.nodes):
        return None  # it is the size of no input: no exporter translates that
    program.graph_module.meta.update(recorder.state.listed, conditions=[])
    return program


class _Recorder:
    """One interpretation, of whose constants the first use makes placeholders."""

    def __init__(self, graph: torch.fx.GraphModule, asked: Asked) -> None:
        self.graph = graph
        mode = _mode_of(graph.graph)
        assert mode is not None
        self.mode = mode
        self.state = compilation.Compilation(nn.Module(), *asked, placeholder=self._placeholder)
        self._own: dict[str, tuple[torch.Tensor, torch.fx.Node]] = {}
        self._structure: Any = None

    def traced(self, names: Sequence[str]) -> torch.fx.GraphModule:
        """In which placeholders of constants stand before the first of the inputs, which have these names."""
        values = [node.meta["val"] for node in self.graph.graph.nodes if node.op == "placeholder"]

        def run(*args: Any) -> Any:
            self._name_inputs(names)
            with compilation.tracing(self.state), fx_traceback.preserve_node_meta():
                result = RealInterpreter(self.graph).run(*args)
            leaves, self._structure = pytree.tree_flatten(result)
            return tuple(leaves)

        # Which library would convolve depends on the batch; torch.export leaves them out as well.
        no_libraries = torch.backends.mkldnn.flags(enabled=False), torch.backends.nnpack.flags(enabled=False)
        with self.mode, torch.no_grad(), no_libraries[0], no_libraries[1], Products():
            args = [like_real(x) if isinstance(x, torch.Tensor) else x for x in values]
            traced: torch.fx.GraphModule = proxy_tensor.make_fx(run, pre_dispatch=True)(*args)
        by_their_names(traced)
        for node in reversed(traced.graph.nodes):
            if node.op == "call_function" and not node.users and "val" not in node.meta:
                if isinstance(node.target, torch._ops.OpOverload):
                    node.meta["val"] = None  # a check
                elif not node.is_impure():
                    traced.graph.erase_node(node)  # a question of a rule's, such as torch.promote_types
        return traced

    def _name_inputs(self, names: Sequence[str]) -> None:
        """Before anything else is named."""
        graph = _tracer().graph
        for node, name in zip(list(graph.nodes), names, strict=True):
            node._rename(name)
            node.target = name
        self._first = next(iter(graph.nodes))

    def _placeholder(self, name: str, value: torch.Tensor) -> torch.Tensor:
        if name not in self._own:
            tracer = _tracer()
            kind = "p" if isinstance(value, nn.Parameter) else "b"
            stand_in = compilation.eagerly(lambda: self.mode.from_tensor(value, static_shapes=True))
            with tracer.graph.inserting_before(self._first):
                node = tracer.graph.placeholder(f"{kind}_{name.lower().replace('.', '_')}")
            proxy = torch.fx.Proxy(node, tracer)
            proxy_tensor.track_tensor_tree(stand_in, proxy, constant=None, tracer=tracer)
            self._own[name] = stand_in, node
        return self._own[name][0]

    def is_like(self, captured: ExportedProgram, traced: torch.fx.GraphModule) -> bool:
        """Whether it has the structure of what was captured, and takes and gives tensors only."""
        returned: Any = traced.graph.output_node().args[0]
        return (
            self._structure == captured.call_spec.out_spec
            and all(isinstance(each.arg, TensorArgument) for each in _given(captured))
            and all(isinstance(getattr(each, "meta", {}).get("val"), torch.Tensor) for each in returned)
            and all("val" in node.meta for node in traced.graph.nodes if node.op != "output")
            and not any(node.op == "get_attr" for node in traced.graph.nodes)
        )

    def program(
        self, traced: torch.fx.GraphModule, captured: ExportedProgram, inputs: tuple[Any, ...]
    ) -> ExportedProgram:
        """As torch.export would have it: parameters first, then buffers, then the user's inputs."""
        if (sizes := _sizes_of(self.graph.graph)) is not None:
            insert_deferred_runtime_asserts(traced, sizes, "the real form", export=True)
            _strides_as_sizes(traced.graph)
        for node in traced.graph.nodes:
            if node.op == "placeholder":
                node.name = node.target  # `input` has become another, after Python's function
            if node.op in ("placeholder", "output"):
                node.meta = {key: value for key, value in node.meta.items() if key == "val"}
        parameters = dict(self.state.module.named_parameters(remove_duplicate=False))
        buffers = dict(self.state.module.named_buffers(remove_duplicate=False))
        returned: Any = traced.graph.output_node().args[0]
        call = captured.module_call_graph[0]
        return ExportedProgram(
            root=traced,
            graph=traced.graph,
            graph_signature=ExportGraphSignature(
                [
                    *(self._in_order(InputKind.PARAMETER, name) for name in parameters),
                    *(self._in_order(InputKind.BUFFER, name) for name in buffers),
                    *copy.deepcopy(_given(captured)),
                ],
                [OutputSpec(OutputKind.USER_OUTPUT, TensorArgument(node.name), None) for node in returned],
            ),
            state_dict=parameters | buffers,
            range_constraints=dict(captured.range_constraints),
            module_call_graph=[replace(call, signature=copy.copy(call.signature))],
            example_inputs=(inputs, {}),
            verifiers=captured.verifiers,
        )

    def _in_order(self, kind: InputKind, name: str) -> InputSpec:
        """The next of the constants, as they are asked for: its placeholder goes behind those before."""
        node = self._own[name][1]
        self._first.prepend(node)
        return InputSpec(kind, TensorArgument(node.name), name, persistent=kind is InputKind.BUFFER or None)


def _strides_as_sizes(graph: torch.fx.Graph) -> None:
    """A size is taken from wherever an input has that number, which may be a stride: no exporter translates that."""
    sizes = {
        size.node.expr: (node, dim)
        for node in graph.nodes
        if node.op == "placeholder" and isinstance(node.meta.get("val"), torch.Tensor)
        for dim, size in enumerate(node.meta["val"].shape)
        if isinstance(size, torch.SymInt)
    }
    for node in list(graph.nodes):
        found = sizes.get(node.meta["val"].node.expr) if node.target is STRIDE else None
        if found is not None:
            with graph.inserting_before(node):
                size = graph.call_function(torch.ops.aten.sym_size.int, found)
            size.meta = dict(node.meta)
            node.replace_all_uses_with(size)
            graph.erase_node(node)


def _given(captured: ExportedProgram) -> list[InputSpec]:
    """The user's inputs."""
    return [each for each in captured.graph_signature.input_specs if each.kind is InputKind.USER_INPUT]


def _tracer() -> Any:
    mode = proxy_tensor.get_proxy_mode()
    assert mode is not None
    return mode.tracer


def _sizes_of(graph: torch.fx.Graph) -> Any:
    """The environment of the sizes that vary; None where nothing stands for a tensor."""
    mode = _mode_of(graph)
    return None if mode is None else mode.shape_env


def _mode_of(graph: torch.fx.Graph) -> FakeTensorMode | None:
    values = (node.meta.get("val") for node in graph.nodes if node.op == "placeholder")
    return next((x.fake_mode for x in values if isinstance(x, FakeTensor)), None)


def traced_anew(
    graph: torch.fx.GraphModule, inputs: tuple[Any, ...], shapes: Any, asked: Asked, name: str
) -> ExportedProgram:
    """The same by torch.export, which says what stands in the way.

    Args:
        graph: what is to be interpreted.
        inputs: examples, in real arithmetic.
        shapes: what varies of them.
        asked: see there.
        name: of the model in errors.

    Raises:
        InputError: see `capture`.
        UnsupportedOperatorError, UnsupportedTransformError: see `RealInterpreter`.
    """
    real = _real_module(graph, asked)
    listed = _collect_constants(real, graph)
    program = capture(real, inputs, shapes, name=name)
    program.graph_module.meta.update(listed)
    return program


def _real_module(graph: torch.fx.GraphModule, asked: Asked) -> nn.Module:
    """A module that interprets `graph` with the compiler's values; it has the user's signature."""

    class Interpreted(nn.Module):
        listed: dict[str, list[Any]]

        def forward(self, *args: Any) -> Any:
            state = compilation.Compilation(self, *asked)
            with compilation.tracing(state), fx_traceback.preserve_node_meta():
                result = RealInterpreter(graph).run(*pytree.tree_leaves(args))
            self.listed = state.listed
            return result

    original = graph.forward
    signature = inspect.signature(original)
    positional = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(name, positional) for name in signature.parameters]
    Interpreted.forward.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter("self", positional), *parameters]
    )
    return Interpreted().eval()


def _collect_constants(real: nn.Module, graph: torch.fx.GraphModule) -> dict[str, list[Any]]:
    """The dry run: over fake tensors, so that the module knows all its buffers before it is captured. Returns what is
    computed in forms of ours.

    Their shapes are dynamic where the captured ones are; with others, what depends on a shape would seem constant.
    """
    captured = [node.meta.get("val") for node in graph.graph.nodes if node.op == "placeholder"]
    fake = FakeTensorMode(allow_non_fake_inputs=True, shape_env=_sizes_of(graph.graph))
    # The dispatcher that torch.export uses, too: without it an FFT of a transposed tensor of dynamic shape fails.
    with enable_python_dispatcher(), fake, torch.no_grad():
        real(*[like_real(x) if isinstance(x, torch.Tensor) else x for x in captured])
    return real.listed  # type: ignore[return-value]


def like_real(x: torch.Tensor) -> torch.Tensor:
    """An uninitialised tensor that stands for `x`, in the real form of a complex one."""
    if x.is_complex():
        return torch.empty((*x.shape, 2), dtype=x.dtype.to_real())
    return torch.empty(x.shape, dtype=x.dtype)


class RealInterpreter(torch.fx.Interpreter):
    """Runs a captured graph with the compiler's values in place of complex tensors."""

    def run_node(self, n: torch.fx.Node) -> Any:
        compilation.current().node = n
        try:
            return super().run_node(n)
        except UnsupportedOperatorError as error:
            raise error.at(place_of(n), function_called(n)) from None
        except UnsupportedTransformError as error:
            raise error.at(place_of(n)) from None

    def run(self, *args: Any, **kwargs: Any) -> Any:
        self._given = {id(each) for each in args}
        return super().run(*args, **kwargs)

    def placeholder(self, target: Any, args: Any, kwargs: Any) -> Any:
        value = super().placeholder(target, args, kwargs)
        node = compilation.current().node
        assert node is not None
        if getattr(node.meta.get("val"), "is_complex", bool)():
            return Complex(value[..., 0], value[..., 1])
        return value

    def get_attr(self, target: Any, args: Any, kwargs: Any) -> Any:
        value = super().get_attr(target, args, kwargs)
        return Constant(value, value.dtype, name=target) if isinstance(value, torch.Tensor) else value

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        if isinstance(target, torch._ops.OpOverload):
            return apply(target, args, kwargs)
        return super().call_function(target, args, kwargs)  # getitem, arithmetic on sizes

    def output(self, target: Any, args: Any, kwargs: Any) -> Any:
        outputs = pytree.tree_map_only(Value, _ordinary, super().output(target, args, kwargs))
        # An input that is returned as it is is an output of its own: no file has one value under two names.
        return pytree.tree_map_only(torch.Tensor, lambda x: x.clone() if id(x) in self._given else x, outputs)


def _ordinary(value: Value) -> torch.Tensor:
    if isinstance(value, RealView):
        return stacked(value.z)
    if is_complex(value):
        return stacked(Complex(*split(value)))
    return full(value)
