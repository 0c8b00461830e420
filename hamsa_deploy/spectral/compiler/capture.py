"""From a user's module to a captured program, or to the sentence that says what in the model stands in the way.

    module --first_run--> its own errors, what it writes --torch.export--> program --> random operators

Capture without Dynamo comes first, because it keeps source lines best; where a condition on a tensor stops it, Dynamo
takes some (assertions).
"""

from __future__ import annotations

import contextlib
import io
import logging
import operator
import re
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TextIO

import torch
from torch import nn
from torch.export import ExportedProgram
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode, ShapeEnv

from hamsa_deploy.scan.compiled import called_stand_ins
from hamsa_deploy.scan.cuda import DEVICES
from hamsa_deploy.scan.extensions import WHERE_MISSING
from hamsa_deploy.spectral import compilation
from hamsa_deploy.spectral.compiler.carried import ModelState, shapes_with_states, take_as_inputs, take_as_scratch
from hamsa_deploy.spectral.compiler.conditions import take_out
from hamsa_deploy.spectral.compiler.first_run import is_training, run_once, writes
from hamsa_deploy.spectral.compiler.folding import FoldedConstants
from hamsa_deploy.spectral.compiler.positions import Positions
from hamsa_deploy.spectral.compiler.stand_ins import StandIns, by_their_names
from hamsa_deploy.spectral.compiler.vmapped import VMAP
from hamsa_deploy.spectral.provenance import line_of_error, line_that_runs, place_of
from hamsa_runtime.errors import HamsaError, InputError

LOG = logging.getLogger("hamsa_deploy")

# torch.export and torch.onnx keep what they trace in globals of the process, and the first run watches all modules.
ONE_AT_A_TIME = threading.RLock()

FIX_BATCH = "leave that size fixed: dynamic_shapes={} in Python, --batch N on the command line"
GIVE_MODULE = "the module that the program was captured from: what it keeps is found by running it"
MAKE_BUFFER = "make it a buffer of the model, or an input and an output of forward"


class CaptureError(InputError):
    """A model that torch.export cannot trace."""


class FixedSizeError(CaptureError):
    """A dimension that was to vary is fixed by the model."""


class Captured(NamedTuple):
    """A captured program; what it keeps from call to call, its last inputs and outputs, in this order; and what stood
    in for compiled functions that the model calls."""

    program: ExportedProgram
    states: Sequence[ModelState] = ()
    stand_ins: Sequence[str] = ()


def capture_model(model: nn.Module, inputs: tuple[Any, ...], dynamic_shapes: Any) -> Captured:
    """Capture a user's module, which is left as it was.

    Raises:
        FixedSizeError: the model fixes a dimension that `dynamic_shapes` lets vary.
        InputError: it fails by itself, keeps what no engine can carry, is random, or cannot be captured; names the
            line.
    """
    with ONE_AT_A_TIME, called_stand_ins() as stand_ins:
        ready, states = run_once(model, inputs)
    if states:
        take_as_inputs(ready, states, len(inputs))
    shapes = shapes_with_states(dynamic_shapes, model, len(inputs), len(states))
    given = (*inputs, *(state.initial for state in states))
    folded = FoldedConstants(ready)
    program = capture(ready, given, shapes, folded)
    if (scratch := {buffer for buffer, _ in _written_buffers(program)}) and not is_training(model):
        # Running it has shown that nothing of them is read at the next call.
        take_as_scratch(ready, sorted(scratch))
        folded = FoldedConstants(ready)
        program = capture(ready, given, shapes, folded)
    check_functional(program, is_training(model))
    for place in dict.fromkeys(folded.left_out):
        LOG.warning("left out, because it depends on values: the check in %s", place)
    return Captured(program, states, sorted(stand_ins))


def capture(
    model: nn.Module,
    inputs: tuple[Any, ...],
    dynamic_shapes: Any,
    folded: FoldedConstants | None = None,
    name: str = "",
) -> ExportedProgram:
    """torch.export, with errors that say what stands in the way.

    Args:
        model, inputs, dynamic_shapes: as torch.export has them.
        folded: of a user's model, which Dynamo may be tried on, too.
        name: of the model in errors.
    """
    first: Exception | None = None
    guards: list[tuple[str, str]] = []
    ways = [_Way()]
    for way in ways:
        try:
            # some complex functions have no derivative, silu for one
            with torch.no_grad(), quiet(), DEVICES, _modes(folded, way.strict), _noted(guards):
                program = torch.export.export(
                    model,
                    inputs,
                    dynamic_shapes=dynamic_shapes or None,
                    strict=way.strict,
                    prefer_deferred_runtime_asserts_over_guards=way.asserts,
                )
            by_their_names(program.graph_module)
            program.graph_module.meta["conditions"] = take_out(program) if way.asserts else []
            return program
        except HamsaError:
            raise
        except Exception as error:  # noqa: BLE001  # whatever PyTorch and the model raise
            if first is None:
                ways += _other_ways(error, folded is not None)
            first = first or error
    assert first is not None
    raise _explained(first, name or type(model).__name__, dynamic_shapes, guards) from first


@contextlib.contextmanager
def _modes(folded: FoldedConstants | None, strict: bool) -> Iterator[None]:
    """What a user's model is captured under, where Dynamo does not stand between."""
    if strict or folded is None:
        yield
        return
    with folded, Positions(folded.numbers), StandIns(), VMAP:
        yield


@contextlib.contextmanager
def _noted(guards: list[tuple[str, str]]) -> Iterator[None]:
    """While it lasts, each condition on a size that varies, and the line that made it, is noted.

    PyTorch's error says neither; the method that it reports guards by is private, and where it is missing no line is
    known.
    """
    reports = getattr(ShapeEnv, _REPORTS, None)
    if reports is None:
        yield
        return

    def noting(self: ShapeEnv, prefix: str, guard: Any, *args: Any, **kwargs: Any) -> None:
        guards.append((str(guard), _place_at_work()))
        reports(self, prefix, guard, *args, **kwargs)

    setattr(ShapeEnv, _REPORTS, noting)
    try:
        yield
    finally:
        setattr(ShapeEnv, _REPORTS, reports)


_REPORTS = "_log_guard"


def _place_at_work() -> str:
    """Of the user's line, or of the node that a rule is computing."""
    state = compilation.current_or_none()
    if state is not None and state.node is not None:
        return place_of(state.node)
    return line_that_runs(capture.__name__)


def check_functional(program: ExportedProgram, training: bool = False) -> None:
    """Refuse a program whose results depend on more than its inputs: state that it writes, or random numbers.

    Raises:
        InputError: names the buffer or the operator, and the line.
    """
    for buffer, node in _written_buffers(program):
        raise writes(buffer, place_of(node), training=training, fix=GIVE_MODULE)
    for node in program.graph.nodes:
        if _written_by(node) in program.graph_signature.inputs_to_lifted_tensor_constants:
            raise writes("a tensor from outside of the model", place_of(node), training=training, fix=MAKE_BUFFER)
        if is_random(node):
            name = node.target._schema.name.split("::")[1]
            raise InputError(
                f"the operator '{name}'{place_of(node)} draws random numbers",
                expected="a model whose outputs depend on its inputs alone",
                cause="the model is in training mode" if training else "noise or dropout in forward",
                fix="model.eval()" if training else "make the random numbers an input of the model, or leave them away",
            )


def _written_buffers(program: ExportedProgram) -> Iterator[tuple[str, torch.fx.Node]]:
    """Each buffer that a program writes, and the node that does."""
    nodes = {node.name: node for node in program.graph.nodes}
    signature = program.graph_signature
    yield from ((buffer, nodes[name]) for name, buffer in signature.buffers_to_mutate.items())
    for node in program.graph.nodes:
        if (buffer := signature.inputs_to_buffers.get(_written_by(node))) is not None:
            yield buffer, node


def is_random(node: torch.fx.Node) -> bool:
    """Whether an operator draws random numbers; a dropout that is off does not, nor one whose result nobody uses."""
    op = node.target
    if not isinstance(op, torch._ops.OpOverload) or torch.Tag.nondeterministic_seeded not in op.tags:
        return False
    arguments = op._schema.arguments
    given = {argument.name: argument.default_value for argument in arguments if argument.has_default_value()}
    given |= dict(zip((argument.name for argument in arguments), node.args, strict=False)) | node.kwargs
    switched_off = any(given.get(name) is False for name in ("train", "training"))
    never = any(given.get(name) == 0 for name in ("p", "dropout", "dropout_p") if name in given)
    return not (switched_off or never) and bool(node.users or op._schema.is_mutable)


def _written_by(node: torch.fx.Node) -> str:
    """The name of the node whose memory an operator writes, through views of it; empty for none."""
    op = node.target
    if not isinstance(op, torch._ops.OpOverload) or not op._schema.is_mutable:
        return ""
    for i, argument in enumerate(op._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            written = node.args[i] if i < len(node.args) else node.kwargs.get(argument.name)
            while isinstance(written, torch.fx.Node) and _shares_memory(written):
                written = written.args[0]
            return written.name if isinstance(written, torch.fx.Node) else ""
    return ""


def _shares_memory(node: torch.fx.Node) -> bool:
    """Whether it is a view of its first argument; a conversion to another type is none."""
    op = node.target
    if not node.args or not isinstance(node.args[0], torch.fx.Node):
        return False
    if not isinstance(op, torch._ops.OpOverload):
        return op is operator.getitem
    if op._schema.arguments[0].alias_info is None:
        return False
    made, source = node.meta.get("val"), node.args[0].meta.get("val")
    return not isinstance(made, torch.Tensor) or made.dtype == getattr(source, "dtype", None)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """One capture at a time, without the graphs and hints that PyTorch prints; ours say what matters."""
    with ONE_AT_A_TIME, contextlib.ExitStack() as stack:
        ours = threading.get_ident()
        stack.enter_context(contextlib.redirect_stderr(_OfOtherThreads(sys.stderr, ours)))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")

        def is_of_another(record: logging.LogRecord) -> bool:
            return record.thread != ours

        for name, logger in list(logging.root.manager.loggerDict.items()):
            for handler in logger.handlers if name.startswith("torch") and isinstance(logger, logging.Logger) else ():
                handler.addFilter(is_of_another)
                stack.callback(handler.removeFilter, is_of_another)
        yield


class _OfOtherThreads(io.TextIOBase):
    """Standard error, but for what one thread writes: it is the process's, and others have their own to say."""

    def __init__(self, stream: TextIO, thread: int) -> None:
        self._stream, self._thread = stream, thread

    def write(self, text: str) -> int:
        return len(text) if threading.get_ident() == self._thread else self._stream.write(text)

    def flush(self) -> None:
        # Closed meanwhile: Python flushes what it drops, and 3.13 says what fails.
        with contextlib.suppress(ValueError):
            self._stream.flush()


class _Way(NamedTuple):
    """With Dynamo or without; and whether conditions on sizes become assertions, which `conditions` judges."""

    strict: bool = False
    asserts: bool = False


def _other_ways(error: Exception, is_users: bool) -> list[_Way]:
    """What might take what plain tracing did not: Dynamo a condition on a tensor or a scan, assertions one on sizes."""
    # All of Dynamo comes with its errors, 0.7 s: torch.export has imported it, and who captures nothing goes without.
    from torch._dynamo.exc import UncapturedHigherOrderOpError, UserError

    if isinstance(error, GuardOnDataDependentSymNode | UncapturedHigherOrderOpError):
        return [_Way(strict=True)] if is_users else []
    is_condition = isinstance(error, UserError) and _is_about_sizes(str(error))
    return [_Way(asserts=True)] if is_condition and not _what_is_fixed(str(error)).endswith(" only") else []


def _explained(error: Exception, name: str, dynamic_shapes: Any, guards: list[tuple[str, str]]) -> CaptureError:
    from torch._dynamo.exc import UserError  # see above

    where = line_of_error(error)
    if isinstance(error, GuardOnDataDependentSymNode):
        return CaptureError(
            f"{name} cannot be captured: it branches on, or takes a size from, the values of a tensor{where}",
            expected="a forward that does the same for all inputs of one shape",
            cause="an if, assert, while, range or .item() on what is computed from the inputs",
            fix="torch.where in place of the branch; a number in place of a computed size; no assertions on values",
        )
    if isinstance(error, UserError) and dynamic_shapes and _is_about_sizes(str(error)):
        fixed = _what_is_fixed(str(error))
        equal = [place for guard, place in guards if guard.startswith("Eq(") and fixed.endswith(" only")]
        return FixedSizeError(
            f"{name} cannot be captured with a dimension that varies: {fixed}"
            f"{where or next(iter(equal or [place for _, place in guards[-1:]]), '')}",
            expected="a forward that takes any size along the dimensions that vary",
            cause="the model fixes that size: a reshape to a number, a constant of that size, a transform along it",
            fix=FIX_BATCH,
        )
    cause, fix = _cause_and_fix(error)
    return CaptureError(
        f"{name} cannot be captured: {_first_sentence(error)}{where}",
        expected="a module whose forward torch.export can trace",
        cause=cause,
        fix=f"{fix}; or capture with torch.export yourself and give the program",
    )


def _cause_and_fix(error: Exception) -> tuple[str, str]:
    """By what PyTorch says of Python that cannot be traced."""
    text = str(error)
    outside = "move it out of forward, into __init__ or the application"
    if "not a known type" in text or "Unsupported input type" in text:
        return "a container of its own kind among the inputs or outputs, of which PyTorch knows no parts", (
            "tensors, tuples, lists, dicts and named tuples; or torch.export.register_dataclass"
        )
    if ".numpy()" in text or "numpy" in text.lower():
        return (
            "NumPy in forward: what it makes of the inputs (a period, a size, an index) depends on data and leaves no "
            "trace",
            f"compute it with torch, or, where it decides shapes, a number in its place; or {outside}",
        )
    if "but got FakeTensor" in text:
        return "a size that is made of the values of tensors; those of packed sequences are", (
            "a number in its place; inputs of one length, without packing"
        )
    if "data pointer" in text or "storage" in text or "pickle" in text:
        return (
            "Python that asks for where a tensor's numbers lie: a copy, a C++ extension, a compiled function",
            f"{outside}; or, for an extension of Mamba models, {WHERE_MISSING}",
        )
    if "FakeTensor" in text or "fake tensor" in text:
        return "a tensor that forward keeps or gets from elsewhere: a global, a cache, a list", (
            "register it as a buffer, or hand it to forward"
        )
    return f"Python that cannot be traced ({type(error).__name__})", outside


_SIZE = re.compile(r"L\['(\w+)'\]((?:\[\w+\])*)\.size\(\)\[(\d+)\]")


def _is_about_sizes(text: str) -> bool:
    return "Constraints violated" in text or ".size()[" in text


def _what_is_fixed(text: str) -> str:
    """The first reason that PyTorch gives, in a line."""
    reasons = [line.strip(" -") for line in text.splitlines() if line.strip().startswith("- ")]
    sentence = _SIZE.sub(r"dimension \3 of \1\2", (reasons or [text.splitlines()[0]])[0])
    if fixed := re.search(r"specialized it to be a constant \((\d+)\)", sentence):
        return f"it takes {fixed[1]} only"
    if guard := re.search(r"satisfy the generated guard (.*?)\.?$", sentence):
        return f"it takes sizes only with {guard[1]}"
    return sentence.rstrip(".")


def _first_sentence(error: Exception) -> str:
    """What PyTorch says before it comes to its own advice."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return re.split(r"(?<!e\.g)(?<!i\.e)\. ", lines[0])[0].rstrip(".") if lines else type(error).__name__
