"""The loops of `loops.py` as ONNX's Scan, one node each.

A body owns its constants: OpenVINO 2026.4 refuses a tensor of the outer graph inside of one. What a model computes from
its inputs and a body needs in every trip is handed on from trip to trip, as a state that nobody changes. And products
have the state as their first factor: that engine multiplies in the memory of the first one, and if that is what the
trip was given, the next trip's is written over the state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import onnx.defs
import onnx_ir as ir
import onnxscript

from hamsa_deploy.scan import loops

DOMAIN = "hamsa"

Parts: TypeAlias = tuple[ir.Value, ir.Value]  # real and imaginary


def _translation(kind: str, inputs: str, results: str = "last all") -> Callable[..., Any]:
    """Of an operator of ours to a node of ours: what its constants are is known once the file is whole."""
    port = onnx.defs.OpSchema.FormalParameter
    schema = onnx.defs.OpSchema(
        kind,
        DOMAIN,
        1,
        inputs=[port(name, "T") for name in inputs.split()],
        outputs=[port(name, "T") for name in results.split()],
        type_constraints=[("T", ["tensor(float)", "tensor(double)"], "")],
    )

    def translate(*tensors: Any) -> Any:
        run: Any = onnxscript.evaluator.default()  # type: ignore[attr-defined]  # while a file is being written
        return run.eval(schema, tensors, {})

    return translate


TRANSLATIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    loops.scan_steps._opoverload: _translation("ScanSteps", "first dt x A B C"),
    loops.recurrence_steps._opoverload: _translation("RecurrenceSteps", "first a b"),
    loops.complex_steps._opoverload: _translation(
        "ComplexSteps", "first_re first_im a_re a_im b_re b_im", "last_re last_im all_re all_im"
    ),
}


def lower_loops(model: ir.Model) -> None:
    """Replace the nodes of ours in a file, in place."""
    for number, node in enumerate(node for node in list(model.graph) if node.domain == DOMAIN):
        scan = LOWERED[node.op_type](node, number)
        made = [*scan.outputs[: len(node.outputs) // 2], *scan.outputs[-(len(node.outputs) // 2) :]]
        for output, old in zip(made, node.outputs, strict=True):
            output.name, output.shape, output.type = old.name, old.shape, old.type
        scan.metadata_props.update(node.metadata_props)
        ir.convenience.replace_nodes_and_values(model.graph, node, [node], [scan], list(node.outputs), made)
    model.opset_imports.pop(DOMAIN, None)
    _drop_unused(model.graph)


def _drop_unused(graph: ir.Graph) -> None:
    """Constants that are the bodies' own by now."""
    for name, value in list(graph.initializers.items()):
        if not value.uses() and value not in graph.outputs:
            del graph.initializers[name]


class _Body:
    """Collects the nodes of a loop's body; names begin with those of the loop."""

    def __init__(self, prefix: str) -> None:
        self.prefix, self.inputs, self.nodes = prefix, [], []  # type: ignore[var-annotated]
        self.constants: list[ir.Value] = []

    def input(self, name: str, value: ir.Value, *, along_time: bool) -> ir.Value:
        """What a trip gets of a value of the outer graph: all of it, or its part along the first axis."""
        shape = None if value.shape is None else ir.Shape(list(value.shape)[along_time:])
        inner = ir.Value(name=f"{self.prefix}{name}", type=value.type, shape=shape)
        self.inputs.append(inner)
        return inner

    def constant(self, name: str, value: ir.Value) -> ir.Value:
        assert value.const_value is not None
        tensor = ir.tensor(value.const_value.numpy(), name=f"{self.prefix}{name}")
        inner = ir.Value(name=tensor.name, type=value.type, shape=value.shape, const_value=tensor)
        self.constants.append(inner)
        return inner

    def op(self, kind: str, *inputs: ir.Value, outputs: int = 1, **attributes: Any) -> Any:
        node = ir.node(kind, inputs, attributes, num_outputs=outputs, name=f"{self.prefix}{kind}_{len(self.nodes)}")
        for index, value in enumerate(node.outputs):
            value.name, value.type = f"{self.prefix}{kind}_{len(self.nodes)}_{index}", inputs[0].type
        self.nodes.append(node)
        return node.outputs[0] if outputs == 1 else list(node.outputs)

    def steps(self, value: ir.Value, count: int) -> list[ir.Value]:
        """Along the first axis."""
        return [value] if count == 1 else self.op("Split", value, outputs=count, axis=0, num_outputs=count)

    def walked(self, h: ir.Value, a: Sequence[ir.Value], b: Sequence[ir.Value]) -> list[ir.Value]:
        """h = h a + b step by step, the state as the first factor: those behind each step."""
        states = []
        for decay, increment in zip(a, b, strict=True):
            h = self.op("Add", self.op("Mul", h, decay), increment)
            states.append(h)
        return states

    def walked_both(self, h: Sequence[ir.Value], a: Sequence[Parts], b: Sequence[Parts]) -> list[Parts]:
        """The same of complex numbers, as (real, imaginary)."""
        (re, im), states = h, []
        for (a_re, a_im), (b_re, b_im) in zip(a, b, strict=True):
            rotated = self.op("Sub", self.op("Mul", re, a_re), self.op("Mul", im, a_im))
            turned = self.op("Add", self.op("Mul", im, a_re), self.op("Mul", re, a_im))
            re, im = self.op("Add", rotated, b_re), self.op("Add", turned, b_im)
            states.append((re, im))
        return states

    def joined(self, values: Sequence[ir.Value]) -> ir.Value:
        return values[0] if len(values) == 1 else self.op("Concat", *values, axis=0)

    def graph(self, outputs: Sequence[ir.Value]) -> ir.Graph:
        """With outputs that are no inputs, and none of them twice."""
        own = [self.op("Identity", value) for value in outputs]
        for inner, value in zip(own, outputs, strict=True):
            inner.shape = value.shape
        return ir.Graph(self.inputs, own, nodes=self.nodes, initializers=self.constants, name=f"{self.prefix}body")


def _scan(
    body: _Body, states: Sequence[ir.Value], along_time: Sequence[ir.Value], outputs: Sequence[ir.Value]
) -> ir.Node:
    attributes: dict[str, Any] = {"num_scan_inputs": len(along_time), "body": body.graph(outputs)}
    return ir.node("Scan", [*states, *along_time], attributes, num_outputs=len(outputs), name=f"{body.prefix}Scan")


def _steps_of(value: ir.Value) -> int:
    """U of (T, U, ...)."""
    assert value.shape is not None
    steps = value.shape[1]
    assert isinstance(steps, int)
    return steps


def _selective(node: ir.Node, number: int) -> ir.Node:
    """`scan_steps`."""
    first, dt, x, A, B, C = (value for value in node.inputs if value is not None)
    body, count = _Body(f"scan{number}_"), _steps_of(x)
    h = body.input("h", first, along_time=False)
    is_known = A.const_value is not None
    decays = body.constant("A", A) if is_known else body.input("A", A, along_time=False)
    inner = [body.input(name, value, along_time=True) for name, value in zip("dxBC", (dt, x, B, C), strict=True)]
    a = body.steps(body.op("Exp", body.op("Mul", inner[0], decays)), count)
    b = body.steps(body.op("Mul", inner[1], inner[2]), count)
    hs = body.walked(h, a, b)
    assert A.shape is not None
    y = body.op("Mul" if A.shape[1] == 1 else "MatMul", inner[3], body.joined(hs))
    hs[-1].shape, y.shape = h.shape, inner[1].shape
    states, given = ([first], [hs[-1]]) if is_known else ([first, A], [hs[-1], decays])
    return _scan(body, states, [dt, x, B, C], [*given, y])


def _recurrence(node: ir.Node, number: int) -> ir.Node:
    """`recurrence_steps`, or `complex_steps`, of which there are two of each value."""
    given = [value for value in node.inputs if value is not None]
    half = len(given) // 3
    firsts, decays, increments = given[:half], given[half : 2 * half], given[2 * half :]
    body, count = _Body(f"scan{number}_"), _steps_of(increments[0])
    h = [body.input(f"h{part}", value, along_time=False) for part, value in enumerate(firsts)]
    if is_same := _is_of_all_steps(decays[0], increments[0]):
        known = all(value.const_value is not None for value in decays)
        a = [
            body.constant(f"a{part}", value) if known else body.input(f"a{part}", value, along_time=False)
            for part, value in enumerate(decays)
        ]
        carried = [] if known else a
        steps_of_a = [[each] * count for each in a]
    else:
        carried = []
        along = [body.input(f"a{part}", value, along_time=True) for part, value in enumerate(decays)]
        steps_of_a = [body.steps(each, count) for each in along]
    b = [body.input(f"b{part}", value, along_time=True) for part, value in enumerate(increments)]
    steps_of_b = [body.steps(each, count) for each in b]
    if half == 1:
        behind = [body.walked(h[0], steps_of_a[0], steps_of_b[0])]
    else:
        pairs = body.walked_both(h, list(zip(*steps_of_a, strict=True)), list(zip(*steps_of_b, strict=True)))
        behind = [list(each) for each in zip(*pairs, strict=True)]
    every = [body.joined(each) for each in behind]
    for own, first, all_of_trip, along_b in zip(behind, h, every, b, strict=True):
        own[-1].shape, all_of_trip.shape = first.shape, along_b.shape
    states = [*firsts, *(decays if carried else [])]
    along_time = [*([] if is_same else decays), *increments]
    return _scan(body, states, along_time, [*(each[-1] for each in behind), *carried, *every])


def _is_of_all_steps(decays: ir.Value, increments: ir.Value) -> bool:
    """Whether decays are (1, ...) where increments are (T, U, ...)."""
    assert decays.shape is not None
    assert increments.shape is not None
    return len(decays.shape) < len(increments.shape)


LOWERED = {"ScanSteps": _selective, "RecurrenceSteps": _recurrence, "ComplexSteps": _recurrence}
