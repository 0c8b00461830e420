"""Small models that take much more than their files say: loops, values that double, sizes that constants or values say.

Each takes x of (batch, 2) and gives y of the same shape.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
STANDARD = helper.make_opsetid("", 18)
node = helper.make_node


def model(*nodes: NodeProto, **constants: Any) -> ModelProto:
    values = [helper.make_tensor_value_info(name, FLOAT, ["batch", 2]) for name in "xy"]
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], tensors)
    return helper.make_model(graph, opset_imports=[STANDARD], ir_version=10)


def largest(*nodes: NodeProto, **constants: Any) -> ModelProto:
    """y = x + max(v), so that no part of v can be left away."""
    return model(*nodes, node("ReduceMax", ["v"], ["most"], keepdims=0), node("Add", ["x", "most"], ["y"]), **constants)


def body(*nodes: NodeProto, name: str = "b") -> GraphProto:
    """Of a Loop, from v<name> to w<name>."""
    values: list[tuple[str, int, list[int] | None]] = [
        ("i", INT64, []),
        ("c", BOOL, []),
        ("v", FLOAT, None),
        ("d", BOOL, []),
        ("w", FLOAT, None),
    ]
    infos = [helper.make_tensor_value_info(each + name, dtype, shape) for each, dtype, shape in values]
    return helper.make_graph([node("Identity", [f"c{name}"], [f"d{name}"]), *nodes], name, infos[:3], infos[3:])


def loops(depth: int, steps: int) -> ModelProto:
    """Loops in loops."""
    inner = body(node("Sin", ["vb0"], ["wb0"]), name="b0")
    for k in range(1, depth):
        inner = body(node("Loop", ["n", "true", f"vb{k}"], [f"wb{k}"], body=inner), name=f"b{k}")
    return model(node("Loop", ["n", "true", "x"], ["y"], body=inner), n=np.int64(steps), true=True)


def branches(depth: int) -> ModelProto:
    """Conditions in conditions."""

    def branch(k: int) -> GraphProto:
        if k == 0:
            return helper.make_graph([node("Sin", ["x"], ["o0"])], "g0", [], [_any("o0")])
        other = helper.make_graph([node("Cos", ["x"], [f"e{k}"])], f"h{k}", [], [_any(f"e{k}")])
        condition = node("If", ["is"], [f"o{k}"], then_branch=branch(k - 1), else_branch=other)
        return helper.make_graph([condition], f"g{k}", [], [_any(f"o{k}")])

    deepest = branch(depth)
    return model(
        node("ReduceMax", ["x"], ["most"], keepdims=0),
        node("Greater", ["most", "zero"], ["is"]),
        node("If", ["is"], ["y"], then_branch=deepest, else_branch=deepest),
        zero=np.float32(0),
    )


def _any(name: str) -> Any:
    return helper.make_tensor_value_info(name, FLOAT, None)


def doubled(start: str, times: int) -> list[NodeProto]:
    names = [start, *(f"v{k}" for k in range(1, times)), "v"]
    return [node("Concat", [a, a], [b], axis=0) for a, b in itertools.pairwise(names)]


_SCANNED = helper.make_graph(
    [node("Add", ["s", "e"], ["t"])],
    "scanned",
    [helper.make_tensor_value_info(name, FLOAT, []) for name in "se"],
    [helper.make_tensor_value_info("t", FLOAT, [])],
)
_GROWING = body(node("Concat", ["vb", "vb"], ["wb"], axis=0))
_PLANE = node("Unsqueeze", ["x", "axes"], ["plane"])
_MOST = node("ReduceMax", ["x"], ["top"], keepdims=0)

# What they take, and what is said of it where that is found before anything is computed.
MEMORY, STEPS, ANY = "bytes for its values", "runs more than", "of any size"
GREEDY: dict[str, tuple[ModelProto, str]] = {
    "an input doubled": (largest(*doubled("x", 40)), MEMORY),
    "a constant doubled": (largest(*doubled("c", 40), c=np.zeros((1, 2), np.float32)), MEMORY),
    "tiles": (largest(node("Tile", ["x", "r"], ["v"]), r=[2**20, 2**20]), MEMORY),
    "a number expanded": (largest(node("Expand", ["c", "s"], ["v"]), c=np.zeros(1, np.float32), s=[2**40]), MEMORY),
    "a constant of a shape": (largest(node("ConstantOfShape", ["s"], ["v"]), s=[2**40]), MEMORY),
    "one of some gigabytes": (largest(node("ConstantOfShape", ["s"], ["v"]), s=[2**31]), MEMORY),
    "a range": (
        largest(node("Range", ["a", "b", "c"], ["r"]), node("Cast", ["r"], ["v"], to=FLOAT),
                a=np.int64(0), b=np.int64(2**31), c=np.int64(1)),
        MEMORY,
    ),
    "an image resized": (
        largest(_PLANE, node("Resize", ["plane", "", "scales"], ["v"], mode="nearest"),
                axes=[0, 1], scales=np.array([1, 1, 2**10, 2**20], np.float32)),
        MEMORY,
    ),
    "a border": (largest(node("Pad", ["x", "p"], ["v"]), p=[0, 0, 0, 2**40]), MEMORY),
    "a filter": (
        largest(_PLANE, node("ConstantOfShape", ["s"], ["k"]),
                node("Conv", ["plane", "k"], ["v"], pads=[2**14] * 4), axes=[0, 1], s=[1, 1, 2**15, 2**15]),
        MEMORY,
    ),
    "one of many": (
        largest(node("OneHot", ["i", "depth", "values"], ["v"]),
                i=np.arange(2), depth=np.int64(2**40), values=np.array([0, 1], np.float32)),
        MEMORY,
    ),
    "a column by a row": (
        largest(_MOST, node("Add", ["a", "top"], ["col"]), node("Add", ["b", "top"], ["row"]),
                node("Mul", ["col", "row"], ["v"]),
                a=np.zeros((2**16, 1), np.float32), b=np.zeros((1, 2**16), np.float32)),
        MEMORY,
    ),
    "products without end": (
        largest(_MOST, node("ConstantOfShape", ["s"], ["c"]), node("Add", ["c", "top"], ["v0"]),
                *(node("MatMul", [f"v{k}"] * 2, [f"v{k + 1}" if k < 29 else "v"]) for k in range(30)), s=[8192] * 2),
        "multiplications",
    ),
    "loops in loops": (loops(2, 2000), STEPS),
    "a scan": (
        model(node("ConstantOfShape", ["s"], ["c"]), _MOST,
              node("Scan", ["top", "c"], ["end"], body=_SCANNED, num_scan_inputs=1),
              node("Add", ["x", "end"], ["y"]), s=[2**24]),
        STEPS,
    ),
    "a loop that doubles": (
        largest(node("Loop", ["n", "true", "x"], ["v"], body=_GROWING), n=np.int64(40), true=True),
        "grow with each step",
    ),
    "branches in branches": (branches(28), "within one another"),
    "a size that the input says": (
        largest(_MOST, node("Mul", ["top", "k"], ["f"]), node("Cast", ["f"], ["i"], to=INT64),
                node("Unsqueeze", ["i", "first"], ["s"]), node("ConstantOfShape", ["s"], ["v"]),
                k=np.float32(2**32), first=[0]),
        ANY,
    ),
}  # fmt: skip

HONEST: dict[str, ModelProto] = {
    "a loop of ten steps": loops(2, 10),
    "two branches": branches(2),
    "a constant of some megabytes": largest(node("ConstantOfShape", ["s"], ["v"]), s=[2**20]),
    "a product": model(node("MatMul", ["x", "w"], ["y"]), w=np.eye(2, dtype=np.float32)),
}
