"""What a pickle would build, read off its instructions: nothing of it is run, imported or allocated.

torch.load(weights_only=True) says that something is in the way. This says what, and where the weights are beside it.
A pickle is a program for a machine with a stack; here the machine's values are outlines:

    dict                  of outlines, by its keys that are text
    Made("collections.OrderedDict"), Made("torch._utils._rebuild_tensor_v2"), ...     what a class or function gave
    anything else         itself if it is text, or None
"""

from __future__ import annotations

import io
import pickletools
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Of the instructions, not of tensors: as much as a model of some ten thousand tensors has, and read in seconds.
MAX_BYTES = 2 * 2**20
# Before the object itself, files of PyTorch before 1.6 hold a number, a version and what the system is like.
BEFORE_IN_OLD_FILES = 3
HARMLESS = ("torch._utils._rebuild_", "torch.Size", "torch.device", "torch.serialization", "collections.", "_codecs.")
_MARK = object()


@dataclass
class Made:
    """What a class or function gave.

    Attributes:
        name: of it, with its module.
        state: an outline of what it was filled with, or None.
    """

    name: str
    state: Any = None

    @property
    def is_tensor(self) -> bool:
        return self.name.startswith("torch._utils._rebuild_")

    @property
    def is_module(self) -> bool:
        """Whether it looks like a torch.nn.Module, which keeps its parts under these names."""
        return isinstance(self.state, Mapping) and {"_parameters", "_modules"} <= self.state.keys()


@dataclass(frozen=True)
class Outline:
    """Of a whole pickle.

    Attributes:
        top: what it builds.
        names: the classes and functions that it takes, which are none of tensors, in order.
    """

    top: Any
    names: tuple[str, ...]


def outline_of(path: Path) -> Outline | None:
    """Of a file that torch.save wrote; None where it is none, too long, or odd."""
    try:
        stream = _instructions(path)
        machine = _Machine()
        for operation, argument, _ in pickletools.genops(stream):
            machine.step(operation, argument)
        return Outline(machine.stack[-1], tuple(dict.fromkeys(machine.names)))
    except Exception:  # noqa: BLE001  # the file is refused anyway: whatever it is, no more is said of it
        return None


def tensors_in(found: Any) -> int:
    """How many tensors a dict, or a module, has by name."""
    if isinstance(found, Made) and found.is_module:
        return 1
    items = found.values() if isinstance(found, Mapping) else ()
    return sum(isinstance(each, Made) and each.is_tensor for each in items)


def _instructions(path: Path) -> io.BytesIO:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            [member] = [each for each in archive.infolist() if each.filename.endswith("/data.pkl")]
            if member.file_size > MAX_BYTES:
                raise ValueError("too long")
            return io.BytesIO(archive.read(member))
    with path.open("rb") as file:
        stream = io.BytesIO(file.read(MAX_BYTES))
    for _ in range(BEFORE_IN_OLD_FILES):
        for _ in pickletools.genops(stream):
            pass
    return stream


class _Machine:
    """The stack, and what was put aside."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.names: list[str] = []
        self._memo: dict[int, Any] = {}

    def step(self, operation: Any, argument: Any) -> None:
        name = operation.name
        if name in _STEPS:
            _STEPS[name](self)
        elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
            self._memo[argument] = self.stack[-1]
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            self.stack.append(self._memo[argument])
        elif name == "GLOBAL":
            self._take(argument.replace(" ", "."))
        elif name in ("MARK", "EMPTY_DICT"):
            self.stack.append(_MARK if name == "MARK" else {})
        elif not operation.stack_before:
            self.stack += [argument if isinstance(argument, str) else None] * len(operation.stack_after)
        else:
            raise ValueError(name)

    def remember(self) -> None:
        self._memo[len(self._memo)] = self.stack[-1]

    def named(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self._take(f"{module}.{name}")

    def _take(self, name: str) -> None:
        if not (name.startswith(HARMLESS) or (name.startswith("torch.") and name.endswith("Storage"))):
            self.names.append(name)
        self.stack.append(Made(name))

    def make(self, arguments: int = 1) -> None:
        """Call the class or function below so many arguments."""
        del self.stack[-arguments:]
        called = self.stack.pop()
        is_dict = isinstance(called, Made) and called.name == "collections.OrderedDict"
        self.stack.append({} if is_dict else Made(called.name) if isinstance(called, Made) else None)

    def fill(self) -> None:
        state = self.stack.pop()
        if isinstance(self.stack[-1], Made):
            self.stack[-1].state = state

    def set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set([key, value])

    def set_items(self) -> None:
        self._set(self.above_mark())

    def _set(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, dict):
            target |= {key: value for key, value in zip(items[::2], items[1::2], strict=True) if isinstance(key, str)}

    def above_mark(self) -> list[Any]:
        found = []
        while (value := self.stack.pop()) is not _MARK:
            found.append(value)
        return found[::-1]

    def give(self, taken: int | None) -> None:
        """Something without an outline, of so many values; of all above the mark for None."""
        if taken is None:
            self.above_mark()
        elif taken:
            del self.stack[-taken:]
        self.stack.append(None)


_STEPS: dict[str, Callable[[_Machine], object]] = {
    "PROTO": lambda machine: None,
    "FRAME": lambda machine: None,
    "STOP": lambda machine: None,
    "MEMOIZE": _Machine.remember,
    "STACK_GLOBAL": _Machine.named,
    "REDUCE": _Machine.make,
    "NEWOBJ": _Machine.make,
    "NEWOBJ_EX": lambda machine: machine.make(2),
    "BUILD": _Machine.fill,
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_items,
    "APPEND": lambda machine: machine.stack.pop(),
    "APPENDS": _Machine.above_mark,
    "ADDITEMS": _Machine.above_mark,
    "POP": lambda machine: machine.stack.pop(),
    "POP_MARK": _Machine.above_mark,
    "BINPERSID": lambda machine: machine.give(1),
    "TUPLE1": lambda machine: machine.give(1),
    "TUPLE2": lambda machine: machine.give(2),
    "TUPLE3": lambda machine: machine.give(3),
    "TUPLE": lambda machine: machine.give(None),
    "LIST": lambda machine: machine.give(None),
    "FROZENSET": lambda machine: machine.give(None),
}


def paths_to_weights(top: Any, depth: int = 3) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The keys that lead to each dict of tensors or module, from the top on, and it."""
    if tensors_in(top):
        yield (), top
    elif isinstance(top, Mapping) and depth:
        for key, value in top.items():
            for path, found in paths_to_weights(value, depth - 1):
                yield (key, *path), found
