"""Files of some hundred bytes that run without end are refused; loops and functions within measure are taken."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import FunctionProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from hamsa_runtime.errors import InputError
from hamsa_runtime.named_files import locations_in_onnx
from hamsa_runtime.onnx_steps import check_steps

OWN, STANDARD = helper.make_opsetid("own", 1), helper.make_opsetid("", 18)


def model(*nodes: NodeProto, functions: list[FunctionProto] | None = None, **constants: int) -> ModelProto:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 2]) for name in "xy"]
    numbers = [numpy_helper.from_array(np.array(number), name) for name, number in constants.items()]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], numbers)
    return helper.make_model(graph, opset_imports=[STANDARD, OWN], functions=functions or [], ir_version=10)


def loop(trips: str, *body: NodeProto) -> NodeProto:
    return helper.make_node("Loop", [trips, "", "x"], ["y"], body=helper.make_graph(body, "body", [], []))


def calls(count: int, times: int = 2) -> list[FunctionProto]:
    """F0 to F(count): each calls the one before so many times."""
    one = [helper.make_function("own", "F0", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [STANDARD])]
    for k in range(1, count):
        nodes = [helper.make_node(f"F{k - 1}", ["a"], ["b"], domain="own")] * times
        one.append(helper.make_function("own", f"F{k}", ["a"], ["b"], nodes, [STANDARD, OWN]))
    return one


def called(name: str) -> NodeProto:
    return helper.make_node(name, ["x"], ["y"], domain="own")


STEP = helper.make_node("Relu", ["x"], ["z"])
NUMBERS = TensorProto(name="n", data_type=TensorProto.INT64, int64_data=[2**62])
ENDLESS: dict[str, ModelProto] = {
    "2^62 steps": model(loop("n", STEP), n=2**62),
    "a negative number": model(loop("n", STEP), n=-1),
    "loops in loops": model(loop("n", loop("n", loop("n", STEP))), n=1000),
    "no number": model(loop("", STEP)),
    "a computed number": model(helper.make_node("Mul", ["n", "n"], ["m"]), loop("m", STEP), n=2**30),
    "a name with two values": model(helper.make_node("Mul", ["n", "n"], ["n"]), loop("n", STEP), n=2),
    "an input": model(loop("x", STEP), x=1),
    "functions that double": model(called("F29"), functions=calls(30)),
    "a loop of functions": model(loop("n", called("F15")), functions=calls(16), n=1000),
    "a function that calls itself": model(
        called("F"), functions=[helper.make_function("own", "F", ["a"], ["b"], [called("F")], [OWN])]
    ),
    "a function of the standard's domain, by its other name": model(
        helper.make_node("F", ["x"], ["y"], domain="ai.onnx"),
        functions=[*calls(30), helper.make_function("", "F", ["a"], ["b"], [called("F29")], [OWN])],
    ),
    "a chain without end": model(called("F199"), functions=calls(200, times=1)),
}
ENDLESS["numbers in another field"] = model(loop("n", STEP))
ENDLESS["numbers in another field"].graph.initializer.append(NUMBERS)


@pytest.mark.parametrize("kind", ENDLESS)
def test_what_runs_without_end_is_refused(kind: str) -> None:
    data = ENDLESS[kind].SerializeToString()
    locations_in_onnx(data)
    with pytest.raises(InputError, match=r"a Loop whose number|run more than 8388608 nodes|functions that call"):
        check_steps(data)


def test_loops_and_functions_within_measure_are_taken() -> None:
    check_steps(model(loop("n", loop("n", STEP)), called("F9"), functions=calls(10), n=100).SerializeToString())
