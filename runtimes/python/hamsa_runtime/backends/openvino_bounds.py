"""What a model would take to run, told from the sizes that OpenVINO finds before it compiles or folds anything.

Steps:   every operator once, those of a loop's body as often as it is run.
Time:    the multiplications of products of matrices and of convolutions; other operators go with the memory.
Memory:  operators run one after the other, and a value is kept until the last one that takes it has run; what follows
         from constants alone is kept for good, for it is computed while the model is compiled. The most of that at any
         time, with the most that a body takes where its loop stands.

Engines do better, by computing in place, or somewhat worse, by other layouts; both are within the limit's slack. A size
that depends on values counts as the most that it can be, and is refused where that is anything. Sizes of free axes are
the caller's: they count as 1. The C++ runtime's backends/openvino_bounds.cpp does the same, in the same words.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import NamedTuple

from hamsa_runtime.backends.quiet import no_usage_reports
from hamsa_runtime.errors import InputError
from hamsa_runtime.onnx_steps import MAX_STEPS

with no_usage_reports():
    import openvino

LOOPS, BRANCHES = ("Loop", "TensorIterator"), ("If",)
# Each level doubles what a compiler of branches looks at.
MAX_BODIES = 8
# What a graph may take beyond its files and inputs, and how often it may take these: float32 planes of a first layer
# have some twenty times the bytes of an image.
SLACK, FILES, INPUTS = 2 * 2**30, 16, 64
# A minute, of a processor that does some 10^11 in a second: a hundred times HAMSA-L for one image of 448 pixels.
MAX_PRODUCTS = 2**43


class Cost(NamedTuple):
    """What a graph takes once: operators that are run, bytes that are kept at a time, multiplications."""

    steps: int = 0
    bytes: int = 0
    products: int = 0


def check_bounds(model: openvino.Model, file_bytes: int) -> None:
    """Refuse a model that runs without end or fills the memory.

    Args:
        model: as read, with the batch settled.
        file_bytes: of all files of the bundle.

    Raises:
        InputError: more than `MAX_STEPS` operators; a loop whose number of steps is not known, or whose values grow; a
            size without a limit; or more memory than `SLACK` and what files and inputs explain. Which model it is, the
            caller knows.
    """
    is_free = any(port.get_partial_shape().is_dynamic for port in model.inputs)
    inputs = sum(_bytes(port, is_free=True) for port in model.inputs)
    cost = _cost(model, is_free=is_free, depth=0)
    if cost.steps > MAX_STEPS:
        raise _refused(f"it runs more than {MAX_STEPS} operators")
    if cost.products > MAX_PRODUCTS:
        raise _refused(f"it takes more than {MAX_PRODUCTS} multiplications")
    most = SLACK + FILES * file_bytes + INPUTS * inputs
    if cost.bytes > most:
        raise _refused(f"it takes {cost.bytes} bytes for its values at a time, beyond {most}")


def _cost(graph: openvino.Model, *, is_free: bool, depth: int) -> Cost:
    if depth > MAX_BODIES:
        raise _refused(f"loops and branches within one another, more than {MAX_BODIES} deep")
    operators = graph.get_ordered_ops()
    uses = Counter(_key(value) for operator in operators for value in operator.input_values())
    constant: set[tuple[str, int]] = set()
    sizes: dict[tuple[str, int], int] = {}
    steps = products = now = most = 0
    for operator in operators:
        inner = _inner_cost(operator, is_free=is_free, depth=depth)
        steps = min(steps + 1 + inner.steps, 2 * MAX_STEPS)
        products = min(products + _products(operator) + inner.products, 2 * MAX_PRODUCTS)
        keys = [_key(value) for value in operator.input_values()]
        outputs = {_key(port): _bytes(port, is_free=is_free) for port in operator.outputs()}
        if operator.get_type_name() in ("Constant", "Parameter"):
            outputs = dict.fromkeys(outputs, 0)  # they are the file's and the caller's
        if operator.get_type_name() != "Parameter" and all(key in constant for key in keys):
            constant.update(outputs)
        sizes |= outputs
        now += sum(outputs.values())
        most = max(most, now + inner.bytes)
        for key in keys:
            uses[key] -= 1
            if uses[key] == 0 and key not in constant:
                now -= sizes.get(key, 0)
    return Cost(steps, most, products)


def _inner_cost(operator: openvino.Node, *, is_free: bool, depth: int) -> Cost:
    """Of a loop's body, as often as it is run; of both branches of a condition."""
    kind = operator.get_type_name()
    if kind in BRANCHES:
        costs = [_cost(operator.get_function(i), is_free=is_free, depth=depth + 1) for i in (0, 1)]
        return Cost(*map(sum, zip(*costs, strict=True)))
    if kind not in LOOPS:
        return Cost()
    times, body = operator.get_num_iterations(), operator.get_function()
    if times < 0 and (kind == "Loop" or not is_free):
        raise _refused("a loop whose number of steps is no constant of the file")
    is_known = not any(value.get_partial_shape().is_dynamic for value in operator.input_values())
    if is_known and any(port.get_partial_shape().is_dynamic for port in body.inputs):
        raise _refused("a loop whose values grow with each step")
    cost = _cost(body, is_free=is_free, depth=depth + 1)
    times = max(times, 1)
    return Cost(min(cost.steps * times, 2 * MAX_STEPS), cost.bytes, min(cost.products * times, 2 * MAX_PRODUCTS))


def _products(operator: openvino.Node) -> int:
    """Of each number of the output one for each number of the row, or of the filter, that it is summed over."""
    kind = operator.get_type_name()
    if kind == "MatMul":
        rows = _sizes(operator.input_value(0))
        axis = -2 if operator.get_attributes()["transpose_a"] and len(rows) > 1 else -1
        return math.prod(_sizes(operator.output(0))) * (rows[axis] if rows else 1)
    if "Convolution" in kind:
        outputs = _sizes(operator.output(0))
        channels = outputs[1] if len(outputs) > 1 else 1
        return math.prod(outputs) * math.prod(_sizes(operator.input_value(1))) // max(channels, 1)
    return 0


def _key(port: openvino.Output) -> tuple[str, int]:
    return port.get_node().get_name(), port.get_index()


def _bytes(port: openvino.Output, *, is_free: bool) -> int:
    shape = port.get_partial_shape()
    if not is_free and (shape.rank.is_dynamic or any(size.get_max_length() < 0 for size in shape)):
        raise _refused("a value of any size, which other values decide")
    return (math.prod(_sizes(port)) * port.get_element_type().bitwidth + 7) // 8


def _sizes(port: openvino.Output) -> list[int]:
    """The most that each can be; 1 where that is anything."""
    shape = port.get_partial_shape()
    return [] if shape.rank.is_dynamic else [abs(size.get_max_length()) for size in shape]


def _refused(found: str) -> InputError:
    return InputError(
        found,
        expected=f"at most {MAX_STEPS} operators, {MAX_PRODUCTS} multiplications and, for values, {SLACK >> 30} GiB "
        f"beyond {FILES} times its files and {INPUTS} times its inputs",
        cause="a model that was made to run without end or to fill the memory; or one whose sizes depend on its values",
        fix="export the model again, with its loops unrolled and a smaller batch",
    )
