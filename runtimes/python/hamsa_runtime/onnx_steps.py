"""How many nodes an ONNX file runs, counted before an engine takes it: some hundred bytes can ask for 2^62.

A Loop runs its body as often as its first input says, and a function may call others, each of them twice. What a graph
runs is the sum over its nodes of 1, or of what the function runs that they call, times the product of the counts of the
loops that they are in. Engines expand functions before anything runs, and none can be stopped while it does.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping

from hamsa_runtime.errors import InputError
from hamsa_runtime.named_files import (
    ATTRIBUTE,
    FIELDS,
    FUNCTION,
    GRAPH,
    MODEL,
    NODE,
    TENSOR,
    TRAINING,
    fields_of,
    varint,
)

# On a slow core half a minute, if a node takes some microseconds.
MAX_STEPS = 2**23
MAX_CALLS = 100  # of functions within functions

Function = tuple[bytes, bytes]  # domain and name
MAIN: Function = (b"", b"")

# Fields of onnx.proto: names, and what a whole number of one element may be in.
NODE_INPUT, NODE_OUTPUT, NODE_OPERATOR, NODE_DOMAIN = 1, 2, 4, 7
FUNCTION_NAME, FUNCTION_INPUT, FUNCTION_DOMAIN = 1, 4, 10
GRAPH_INPUT, VALUE_NAME = 11, 1
TENSOR_NUMBERS, TENSOR_NAME, TENSOR_RAW = 7, 8, 9
STANDARD = b"ai.onnx"  # which the empty domain is, too
NUMBER_BYTES = 8
LONGEST_NAME = 4096
CONTAINERS = (GRAPH, NODE, ATTRIBUTE, FUNCTION, TRAINING)


Texts = dict[int, list[bytes]]


def check_steps(data: bytes) -> None:
    """Refuse an ONNX file that runs without end, or more than `MAX_STEPS` nodes.

    Args:
        data: the file, which `locations_in_onnx` has looked through.

    Raises:
        InputError: so many; or a loop whose number of steps is no constant of the file, or functions that call
            themselves. Which file it is, the caller knows.
    """
    runs, functions = _runs_of(data, _constants(data))
    if _total(MAIN, runs, functions, {}, 0) > MAX_STEPS:
        raise _endless(f"its loops and functions run more than {MAX_STEPS} nodes")


def _constants(data: bytes) -> dict[bytes, int]:
    """Whole numbers by name, each name of which nothing else in the file gives a value to; of several, the largest."""
    found: dict[bytes, int] = {}
    computed: set[bytes] = set()
    pending = [(MODEL, 0, len(data))]
    while pending:
        kind, start, stop = pending.pop()
        inner = FIELDS.get(kind, {})
        if kind == TENSOR:
            _note_number(_texts(data, start, stop), found)
        for number, begin, end in fields_of(data, start, stop):
            if begin < 0:
                continue
            if number in inner:
                pending.append((inner[number], begin, end))
            elif (kind, number) == (GRAPH, GRAPH_INPUT):
                computed.update(_texts(data, begin, end)[VALUE_NAME])
            elif (kind, number) in ((NODE, NODE_OUTPUT), (FUNCTION, FUNCTION_INPUT)):
                computed.add(data[begin:end])
    return {name: number for name, number in found.items() if name not in computed}


def _note_number(tensor: Texts, found: dict[bytes, int]) -> None:
    numbers = [int.from_bytes(raw, "little") for raw in tensor[TENSOR_RAW] if len(raw) == NUMBER_BYTES]
    for packed in tensor[TENSOR_NUMBERS]:
        number, end = varint(packed, 0, len(packed), 10) if packed else (0, 0)
        numbers += [number] if packed and end == len(packed) else []
    for name in tensor[TENSOR_NAME]:
        if numbers:
            found[name] = max(found.get(name, 0), *numbers)


def _runs_of(data: bytes, constants: Mapping[bytes, int]) -> tuple[Mapping[Function, Counter[Function]], set[Function]]:
    """How often each function, and the graph, runs which operators; and the functions that there are."""
    runs: dict[Function, Counter[Function]] = defaultdict(Counter)
    functions: set[Function] = set()
    pending = [(MODEL, 0, len(data), MAIN, 1)]
    while pending:
        kind, start, stop, function, times = pending.pop()
        if kind == FUNCTION:
            texts = _texts(data, start, stop)
            function = _name(texts, FUNCTION_DOMAIN, FUNCTION_NAME)
            functions.add(function)
        if kind == NODE:
            texts = _texts(data, start, stop)
            operator = _name(texts, NODE_DOMAIN, NODE_OPERATOR)
            runs[function][operator] += times
            if operator == (b"", b"Loop"):
                times = min(times * _trips(texts[NODE_INPUT], constants), 2 * MAX_STEPS)
        inner = FIELDS.get(kind, {})
        for number, begin, end in fields_of(data, start, stop):
            if begin >= 0 and inner.get(number) in CONTAINERS:
                pending.append((inner[number], begin, end, function, times))
    return runs, functions


def _name(texts: Texts, domain: int, name: int) -> Function:
    found = b"".join(texts[domain][-1:])
    return (b"" if found == STANDARD else found), b"".join(texts[name][-1:])


def _trips(inputs: list[bytes], constants: Mapping[bytes, int]) -> int:
    name = inputs[0] if inputs else b""
    if name not in constants:
        raise _endless("a Loop whose number of steps is no constant of the file")
    return constants[name]


def _total(
    function: Function,
    runs: Mapping[Function, Counter[Function]],
    functions: Collection[Function],
    known: dict[Function, int],
    depth: int,
) -> int:
    """How many nodes a function runs, or more than `MAX_STEPS`."""
    if depth > MAX_CALLS:
        raise _endless(f"functions that call themselves, or one another more than {MAX_CALLS} deep")
    if function not in known:
        total = 0
        for operator, times in runs.get(function, {}).items():
            each = _total(operator, runs, functions, known, depth + 1) if operator in functions else 1
            total += times * max(each, 1)
        known[function] = min(total, 2 * MAX_STEPS)
    return known[function]


def _texts(data: bytes, start: int, stop: int) -> Texts:
    """What the fields of a message hold that are short texts."""
    found: Texts = defaultdict(list)
    for number, begin, end in fields_of(data, start, stop):
        if 0 <= begin <= end <= begin + LONGEST_NAME:
            found[number].append(data[begin:end])
    return found


def _endless(found: str) -> InputError:
    return InputError(
        found,
        expected=f"at most {MAX_STEPS} nodes in all, and loops whose number of steps stands in the file",
        cause="a model that was made to run without end, or one that loops over a size that varies",
        fix="export the model with its loops unrolled, for a fixed size",
    )
