"""From a user's module to a captured program, or to the sentence that says what in the model stands in the way.

    module --copied, run once--> its own errors, and what it writes --torch.export--> program --> random operators

A copy is captured, which shares the parameters: whatever a model fills at its first run (caches) is there then, and the
model itself is left as it was. Capture without Dynamo comes first, because it keeps source lines best; where a
condition on a tensor stops it, Dynamo takes some (assertions).
"""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import re
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch._dynamo.exc import UserError
from torch.export import ExportedProgram
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode
from torch.utils import _pytree as pytree

from hamsa_deploy.spectral.compiler.folding import FoldedConstants
from hamsa_deploy.spectral.compiler.stand_ins import StandIns
from hamsa_deploy.spectral.provenance import innermost_frame, place_of
from hamsa_runtime.errors import HamsaError, InputError

LOG = logging.getLogger("hamsa_deploy")

# torch.export and torch.onnx keep what they trace in globals of the process.
ONE_AT_A_TIME = threading.RLock()

NOT_USERS = (str(Path(torch.__file__).parent), str(Path(__file__).parents[3] / "hamsa_deploy" / "spectral"))
FIX_BATCH = "fix the batch: dynamic_shapes={} in Python, --batch N on the command line"


class CaptureError(InputError):
    """A model that torch.export cannot trace."""


class FixedSizeError(CaptureError):
    """A dimension that was to vary is fixed by the model."""


def capture_model(model: nn.Module, inputs: tuple[Any, ...], dynamic_shapes: Any) -> ExportedProgram:
    """Capture a user's module, which is left as it was.

    Raises:
        FixedSizeError: the model fixes a dimension that `dynamic_shapes` lets vary.
        InputError: it fails by itself, writes state, is random, or cannot be captured; names the line.
    """
    ready, written = _run_once(model, inputs)
    if written:
        with contextlib.suppress(CaptureError):  # the line is known then
            check_functional(capture(ready, inputs, dynamic_shapes), model.training)
        raise _writes(written, "", model.training)
    folded = FoldedConstants(ready)
    program = capture(ready, inputs, dynamic_shapes, folded)
    check_functional(program, model.training)
    for place in dict.fromkeys(folded.left_out):
        LOG.warning("left out, because it depends on values: the assertion in %s", place)
    return program


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
    for strict in (False, True):
        try:
            # some complex functions have no derivative, silu for one
            with torch.no_grad(), quiet(), _modes(folded, strict):
                return torch.export.export(model, inputs, dynamic_shapes=dynamic_shapes or None, strict=strict)
        except HamsaError:
            raise
        except Exception as error:  # noqa: BLE001  # whatever PyTorch and the model raise
            first = first or error
            if folded is None or not _may_be_strict(error):
                break
    assert first is not None
    raise _explained(first, name or type(model).__name__, dynamic_shapes) from first


@contextlib.contextmanager
def _modes(folded: FoldedConstants | None, strict: bool) -> Iterator[None]:
    """What a user's model is captured under, where Dynamo does not stand between."""
    if strict or folded is None:
        yield
        return
    with folded, StandIns():
        yield


def check_functional(program: ExportedProgram, training: bool = False) -> None:
    """Refuse a program whose results depend on more than its inputs: state that it writes, or random numbers.

    Raises:
        InputError: names the buffer or the operator, and the line.
    """
    nodes = {node.name: node for node in program.graph.nodes}
    for name, buffer in program.graph_signature.buffers_to_mutate.items():
        raise _writes([buffer], place_of(nodes[name]), training)
    for node in program.graph.nodes:
        if (buffer := program.graph_signature.inputs_to_buffers.get(_written_by(node))) is not None:
            raise _writes([buffer], place_of(node), training)
        if is_random(node):
            name = node.target._schema.name.split("::")[1]
            raise InputError(
                f"the operator '{name}'{place_of(node)} draws random numbers",
                expected="a model whose outputs depend on its inputs alone",
                cause="the model is in training mode" if training else "noise or dropout in forward",
                fix="model.eval()" if training else "make the random numbers an input of the model, or leave them away",
            )


def is_random(node: torch.fx.Node) -> bool:
    """Whether an operator draws random numbers; a dropout that is off does not."""
    op = node.target
    if not isinstance(op, torch._ops.OpOverload) or torch.Tag.nondeterministic_seeded not in op.tags:
        return False
    arguments = op._schema.arguments
    given = {argument.name: argument.default_value for argument in arguments if argument.has_default_value()}
    given |= dict(zip((argument.name for argument in arguments), node.args, strict=False)) | node.kwargs
    switched_off = any(given.get(name) is False for name in ("train", "training"))
    return not switched_off and given.get("dropout_p") != 0


def _written_by(node: torch.fx.Node) -> str:
    """The name of the node whose memory an operator writes, through views of it; empty for none."""
    op = node.target
    if not isinstance(op, torch._ops.OpOverload) or not op._schema.is_mutable:
        return ""
    root = node
    while root.args and isinstance(root.args[0], torch.fx.Node):
        root = root.args[0]
    return root.name


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """One capture at a time, without the graphs and hints that PyTorch prints; ours say what matters."""
    with ONE_AT_A_TIME:
        before = logging.root.manager.disable
        logging.disable(max(before, logging.WARNING))
        try:
            with contextlib.redirect_stderr(io.StringIO()):
                yield
        finally:
            logging.disable(before)


def _run_once(model: nn.Module, inputs: tuple[Any, ...]) -> tuple[nn.Module, list[str]]:
    """A copy of the model that has run, sharing its parameters, and what it writes and reads again.

    What is filled at the first run and only read since is a cache. The model itself is not touched.

    Raises:
        InputError: the model's own error.
    """
    ready = _copy_of(model)
    before = _state_of(ready)
    outputs = _outputs_of(ready, inputs)
    after = _state_of(ready)
    changed = {name for name in after if name not in before or not _same(before[name], after[name])}
    if not changed:
        return ready, []
    again = _outputs_of(ready, inputs)
    last = _state_of(ready)
    written = [name for name in changed if before.get(name) is not None or not _same(after[name], last.get(name))]
    if not all(map(_same, pytree.tree_leaves(outputs), pytree.tree_leaves(again))):
        written = written or sorted(changed)
    return ready, sorted(written)


def _copy_of(model: nn.Module) -> nn.Module:
    shared: dict[int, Any] = {id(parameter): parameter for parameter in model.parameters()}
    try:
        return copy.deepcopy(model, shared)
    except Exception:  # noqa: BLE001  # a model may hold what nobody can copy: a file, a lock
        return model


def _outputs_of(model: nn.Module, inputs: tuple[Any, ...]) -> Any:
    """Of one eager run, from the same random numbers each time; those of the process are left as they were."""
    given = pytree.tree_map_only(torch.Tensor, torch.clone, inputs)
    try:
        with torch.no_grad(), torch.random.fork_rng():
            torch.manual_seed(0)
            return model(*given)
    except HamsaError:
        raise
    except Exception as error:
        raise InputError(
            f"{type(model).__name__} fails on the example inputs by itself: {_first_line(error)}{_users_line(error)}",
            expected=f"a model that runs on {_described(inputs)}",
            cause=_cause_of_own(error),
            fix="inputs of the shapes and types that it takes: example_inputs in Python, --input-shape on the command"
            " line; or mend that line of the model",
        ) from error


def _cause_of_own(error: Exception) -> str:
    text = str(error).lower()
    if isinstance(error, ModuleNotFoundError):
        return f"the package {error.name} is not installed"
    if "cuda" in text or "mps" in text or "xpu" in text:
        return "the model asks for a device that is not here: it should take the device of its inputs"
    if isinstance(error, TypeError) and "positional argument" in text:
        return "another number of inputs than forward takes"
    return "a shape or type that does not fit, in the inputs or in the model itself"


def _state_of(model: nn.Module) -> dict[str, Any]:
    """What a forward could write: buffers and plain attributes of all modules, by path; tensors are copied."""
    found: dict[str, Any] = {}
    for path, module in model.named_modules():
        held = {**module._buffers, **{name: value for name, value in vars(module).items() if name not in _MODULES_OWN}}
        found |= {f"{path}.{name}" if path else name: _kept(value) for name, value in held.items()}
    return found


_MODULES_OWN = frozenset(vars(nn.Module()))


def _kept(value: Any) -> Any:
    """A copy that later writes do not reach; of what is neither number, text nor tensor, its identity."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {key: _kept(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_kept(each) for each in value]
    return value if value is None or isinstance(value, bool | int | float | complex | str) else id(value)


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return a.shape == b.shape and a.dtype == b.dtype and torch.allclose(a, b, rtol=1e-4, atol=1e-6, equal_nan=True)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_same, a, b))
    return type(a) is type(b) and bool(a == b)


def _writes(names: list[str], where: str, training: bool) -> InputError:
    what = ", ".join(f"'{name}'" for name in names)
    kept = "state that is kept between calls (an average, an overlap, a counter, a cache): an engine has none"
    return InputError(
        f"forward writes {what}{where}, and reads it at the next call",
        expected="a model whose outputs depend on its inputs alone",
        cause="the model is in training mode, in which it gathers statistics" if training else kept,
        fix="model.eval()" if training else "make it an input and an output of forward; the application carries it",
    )


def _may_be_strict(error: Exception) -> bool:
    """Whether Dynamo might take what plain tracing did not: a condition on a tensor."""
    return isinstance(error, GuardOnDataDependentSymNode)


def _explained(error: Exception, name: str, dynamic_shapes: Any) -> CaptureError:
    where = _users_line(error)
    if isinstance(error, GuardOnDataDependentSymNode):
        return CaptureError(
            f"{name} cannot be captured: it branches on, or takes a size from, the values of a tensor{where}",
            expected="a forward that does the same for all inputs of one shape",
            cause="an if, assert, while, range or .item() on what is computed from the inputs",
            fix="torch.where in place of the branch; a number in place of a computed size; no assertions on values",
        )
    if isinstance(error, UserError) and dynamic_shapes and _is_about_sizes(str(error)):
        return FixedSizeError(
            f"{name} cannot be captured with a dimension that varies: {_what_is_fixed(str(error))}{where}",
            expected="a forward that takes any size along the dimensions that vary",
            cause="the model fixes that size: a reshape to a number, a constant of that size, a transform along it",
            fix=FIX_BATCH,
        )
    return CaptureError(
        f"{name} cannot be captured: {_first_line(error)}{where}",
        expected="a module whose forward torch.export can trace",
        cause=f"Python that cannot be traced ({type(error).__name__})",
        fix="move it out of forward, into __init__ or the application; or capture with torch.export yourself and give "
        "the program",
    )


_SIZE = re.compile(r"L\['(\w+)'\]\.size\(\)\[(\d+)\]")


def _is_about_sizes(text: str) -> bool:
    return "Constraints violated" in text or ".size()[" in text


def _what_is_fixed(text: str) -> str:
    """The first reason that PyTorch gives, in a line."""
    reasons = [line.strip(" -") for line in text.splitlines() if line.strip().startswith("- ")]
    sentence = _SIZE.sub(r"dimension \2 of \1", (reasons or [text.splitlines()[0]])[0])
    if fixed := re.search(r"specialized it to be a constant \((\d+)\)", sentence):
        return f"it takes {fixed[1]} only"
    if guard := re.search(r"satisfy the generated guard (.*?)\.?$", sentence):
        return f"it takes sizes only with {guard[1]}"
    return sentence.rstrip(".")


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _users_line(error: Exception) -> str:
    """`, model.py:12: y = x.view(2, -1)`: the innermost line that is the user's; empty where none is known."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not _is_inner(frame.filename)]
    if frames and frames[-1].line:
        return f", {frames[-1].filename}:{frames[-1].lineno}: {frames[-1].line}"
    frame = innermost_frame(str(error))
    return "" if frame is None else f", {frame[0]}:{frame[1]}: {frame[2]}"


def _is_inner(file: str) -> bool:
    return file.startswith((*NOT_USERS, "<")) or "/hamsa_deploy/" in file


def _described(inputs: tuple[Any, ...]) -> str:
    """`float32 (2, 3, 16), int64 (2,)`."""
    tensors = [leaf for leaf in pytree.tree_leaves(inputs) if isinstance(leaf, torch.Tensor)]
    return ", ".join(f"{str(x.dtype).removeprefix('torch.')} {tuple(x.shape)}" for x in tensors) or "its inputs"
