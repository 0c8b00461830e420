"""From text on a command line to the value of an option. Each refuses what is none, saying what would be."""

from __future__ import annotations

import argparse
import ast
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from hamsa_runtime.devices import device_from
from hamsa_runtime.errors import InputError, nearest
from hamsa_runtime.tensorrt.options import LEVELS
from hamsa_runtime.vocabulary import DTYPES, DYNAMIC, MOST_SECONDS

# Of example inputs; complex ones are two numbers each in the bundle.
INPUT_DTYPES = (*DTYPES, "complex64", "complex128")


@dataclass(frozen=True, eq=False)
class OneOf:
    """A value type for one of a few names; a misspelt one is answered with the nearest.

    Attributes:
        kind: of name, for errors.
        names: that there are.
        elsewhere: what other tools call them, and which of ours that is.
    """

    kind: str
    names: Sequence[str]
    elsewhere: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, value: str) -> str:
        if value in self.names:
            return value
        hint = nearest(value, self.names, self.elsewhere)
        raise argparse.ArgumentTypeError(
            f"unknown {self.kind} {value!r}, not one of {', '.join(self.names)}" + (f"; {hint}" if hint else "")
        )


@dataclass(frozen=True, eq=False)
class Suggested:
    """A value type for any text; shells complete these names."""

    names: Sequence[str]

    def __call__(self, value: str) -> str:
        return value


def one_of(kind: str, valid: Sequence[str], elsewhere: Mapping[str, str] | None = None) -> OneOf:
    """See `OneOf`."""
    return OneOf(kind, valid, elsewhere or {})


def device(text: str) -> str:
    """A device's name as engines print it: 'cuda:1' -> 'CUDA.1'. Whether there is one, its engine says."""
    try:
        return str(device_from(text))
    except InputError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no device, such as {error.expected}") from error


def list_of(valid: Mapping[str, Sequence[str]]) -> Callable[[str], tuple[str, list[str]]]:
    """A value type for KEY=NAME,NAME,...: 'targets=onnx,openvino' -> ('targets', ['onnx', 'openvino']).

    Args:
        valid: for each key the names that may stand behind it.
    """

    def checked(text: str) -> tuple[str, list[str]]:
        key, equals, names = text.partition("=")
        if not equals:
            raise argparse.ArgumentTypeError(f"{text!r} is not KEY=NAME,NAME,..., where KEY is {' or '.join(valid)}")
        one_of("key", tuple(valid))(key)
        named = one_of(key.removesuffix("s"), valid[key])
        return key, [named(name.strip()) for name in names.split(",")]

    return checked


def assignment(text: str) -> tuple[str, Any]:
    """'image_size=448' -> ('image_size', 448). A value that is no Python literal is taken as text."""
    key, equals, value = text.partition("=")
    if not equals or not key.isidentifier():
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE, such as image_size=448")
    try:
        return key, ast.literal_eval(value)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):  # TypeError: {[]: 1}
        return key, value


class GivenInput(NamedTuple):
    """One input of a model, as --input has it; no name where none was said."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def text(self) -> str:
        """1x3x224x224."""
        return "x".join(map(str, self.shape))


def inputs(text: str) -> list[GivenInput]:
    """'ids:2x16:int64,1x10' -> [("ids", (2, 16), "int64"), ("", (1, 10), "float32")]."""
    return [_input(part.strip()) for part in text.split(",")]


def _input(text: str) -> GivenInput:
    parts = text.split(":")
    dtype = parts.pop() if len(parts) > 1 and (parts[-1] in INPUT_DTYPES or not _is_shape(parts[-1])) else "float32"
    name = parts.pop(0) if len(parts) == 2 else ""
    if dtype not in INPUT_DTYPES:
        hint = nearest(dtype, INPUT_DTYPES)
        raise argparse.ArgumentTypeError(
            f"unknown type {dtype!r} in {text!r}, not one of {', '.join(INPUT_DTYPES)}" + (f"; {hint}" if hint else "")
        )
    if len(parts) != 1 or not _is_shape(parts[0]) or (name and not name.isidentifier()):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not [NAME:]SHAPE[:TYPE] with a shape of positive sizes, such as 1x3x224x224 or ids:2x16:int64"
        )
    return GivenInput(name, tuple(map(int, parts[0].split("x"))), dtype)


def _is_shape(text: str) -> bool:
    return all(size.isdecimal() and int(size) > 0 for size in text.split("x"))


def sides(text: str) -> list[int]:
    """'224' -> [224, 224]; '224x320' -> [224, 320], (H, W)."""
    if not _is_shape(text) or text.count("x") > 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not N, or HEIGHTxWIDTH, in pixels, such as 224 or 224x320")
    found = [int(size) for size in text.split("x")]
    return found * 2 if len(found) == 1 else found


def channel_values(text: str) -> float | list[float]:
    """'0.5' -> 0.5, of every channel; '0.485,0.456,0.406' -> [0.485, 0.456, 0.406], red, green and blue."""
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        found = []
    if len(found) not in (1, 3) or not all(map(math.isfinite, found)):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not one number, or three for red, green and blue, such as 0.485,0.456,0.406"
        )
    return found if len(found) == 3 else found[0]


class GivenAxis(NamedTuple):
    """One free axis, as --dynamic has it; no limits where none were said."""

    input: str
    axis: int
    name: str
    min: int | None
    max: int | None


def free_axis(text: str) -> GivenAxis:
    """'x:2=frames:32..4096' -> ("x", 2, "frames", 32, 4096)."""
    found = re.fullmatch(r"(\w+):(\d+)=([A-Za-z_]\w*)(?::(\d*)\.\.(\d*))?", text)
    if found is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not INPUT:AXIS=NAME or INPUT:AXIS=NAME:MIN..MAX, such as x:2=frames:32..4096"
        )
    given, axis, name, smallest, largest = found.groups()
    return GivenAxis(given, int(axis), name, int(smallest) if smallest else None, int(largest) if largest else None)


def names(text: str) -> list[str]:
    """'logits,embedding' -> ['logits', 'embedding']."""
    found = [part.strip() for part in text.split(",")]
    if not all(found):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME,NAME,...")
    return found


def positive(text: str) -> int:
    """A whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def batch_size(text: str) -> int | str:
    """A whole number of at least 1, or "dynamic"."""
    return text if text == DYNAMIC else positive(text)


def level(text: str) -> int:
    """A level of optimisation, 0 to 5."""
    if text not in map(str, LEVELS):
        raise argparse.ArgumentTypeError(f"{text!r} is not a level from 0 to 5")
    return int(text)


def batch_profile(text: str) -> tuple[int, int, int]:
    """'1,4,16' -> (1, 4, 16)."""
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 3 or not all(part.isdecimal() for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is not MIN,OPT,MAX, such as 1,1,8")
    smallest, best, largest = map(int, parts)
    return smallest, best, largest


def points(text: str) -> float:
    """Percentage points, from 0 to 100."""
    return _number(text, 0, 100, "a number of percentage points from 0 to 100, such as 0.5")


def share(text: str) -> float:
    """A share of a whole, from 0 to 1."""
    return _number(text, 0, 1, "a number from 0 to 1, such as 0.99")


def timeout(text: str) -> float:
    """Seconds, at most a day; 0 for no limit."""
    return _number(text, 0, MOST_SECONDS, f"a number of seconds from 0 to {MOST_SECONDS}, such as 300")


def amount(text: str) -> float:
    """A number that is not below 0."""
    return _number(text, 0, float("inf"), "a number of at least 0, such as 1e-3")


def _number(text: str, smallest: float, largest: float, expected: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not smallest <= value <= largest or math.isinf(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not {expected}")
    return value


def svg_file(text: str) -> Path:
    """A path that ends in .svg."""
    if Path(text).suffix.lower() != ".svg":
        raise argparse.ArgumentTypeError(f"{text!r} does not end in .svg, which is what is drawn")
    return Path(text)
