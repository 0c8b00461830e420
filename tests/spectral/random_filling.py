"""Fills the placeholders of random_operations.py with what fits the variables of a program so far."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from .random_scope import Scope, Unsuitable, Variable, broadcasts

PLACEHOLDER = re.compile(r"\{(\w+)(?::(=?\d))?\}")
MARGIN = 0.01  # of the rms: how far a value must be from a jump that follows, a hundred thousand roundings of float32

Writer = Callable[["Filling"], str]
WRITERS: dict[str, Writer] = {}


def placeholder(name: str) -> Callable[[Writer], Writer]:
    """Register the function that writes a placeholder's text."""

    def register(writer: Writer) -> Writer:
        WRITERS[name] = writer
        return writer

    return register


def operand_of(template: str) -> tuple[str, str | None]:
    """Kind and rank of the first variable that a template needs."""
    for name, rank in PLACEHOLDER.findall(template):
        if name in ("v", "x", "z"):
            return name, rank or None
        if name in ("right", "uncut", "nonzero"):
            return "z", None
    raise AssertionError(f"no operand in {template}")


class Filling:
    """One use of a template: what has been drawn for it.

    Args:
        random: hypothesis' own: what it draws, hypothesis shrinks.
        scope: the program so far.
        out: the name of the variable that the line makes.
    """

    def __init__(self, random: Random, scope: Scope, out: str) -> None:
        self.random, self.scope, self.out = random, scope, out
        self.texts: dict[str, str] = {"out": out}
        self.operand: Variable | None = None
        self.axis_drawn: int | None = None
        self.axes: list[int] = []
        self.rows = 0

    def fill(self, template: str) -> list[str]:
        """The lines of source of a template."""
        text = PLACEHOLDER.sub(self._text, template)
        return text.split("; ") if "{out}" in template else [f"{self.out} = {text}"]

    def _text(self, match: re.Match[str]) -> str:
        name, rank = match.groups()
        if name not in self.texts:
            if name in ("v", "x", "z") and self.operand is None:
                fitting = [v for v in self.scope.recent() if v.fits(name, rank)]
                latest_only = self.coin()  # so that chains grow longer than uniform draws would let them
                self.operand = self.one_of(fitting[:1] if latest_only else fitting)
                self.texts[name] = self.operand.name
            else:
                self.texts[name] = WRITERS[name](self)
        return self.texts[name]

    def one_of(self, candidates: Sequence[Any]) -> Any:
        """One of the candidates; the first is the simplest."""
        if not candidates:
            raise Unsuitable
        return self.random.choice(candidates)

    def whole(self, low: int, high: int) -> int:
        """A whole number, both bounds included."""
        if low > high:
            raise Unsuitable
        return self.random.randint(low, high)

    def coin(self) -> bool:
        return bool(self.random.randint(0, 1))

    def order(self, length: int) -> list[int]:
        """A permutation of 0..length-1."""
        left = list(range(length))
        return [left.pop(self.random.randint(0, len(left) - 1)) for _ in range(length)]

    @property
    def leader(self) -> Variable:
        """The operand; a placeholder that needs one before the template names it gets any variable."""
        if self.operand is None:
            self.operand = self.one_of(self.scope.recent())
        return self.operand

    @property
    def shape(self) -> tuple[int, ...]:
        return self.leader.shape

    @property
    def length(self) -> int:
        """Length of the axis drawn last."""
        return self.shape[self.axis]

    @property
    def axis(self) -> int:
        """The axis drawn last, counted from the front; the first one where the template draws none."""
        if not self.shape:
            raise Unsuitable
        return self.axis_drawn if self.axis_drawn is not None else 0

    def draw_axis(self, among: Sequence[int]) -> str:
        self.axis_drawn = self.one_of(among)
        return str(self.signed(self.axis_drawn, len(self.shape)))

    def signed(self, axis: int, rank: int) -> int:
        """An axis counted from the front or from the end."""
        return axis - rank if self.coin() else axis

    def constant(self, shape: Sequence[int], is_complex: bool) -> str:
        return self.scope.constant(shape, is_complex, is_parameter=self.coin())

    def beside(self, kind: str) -> str:
        """A variable or constant that broadcasts with the operand."""
        candidates = [v.name for v in self.scope.recent() if v.fits(kind) and broadcasts(v.shape, self.shape)]
        choice = self.one_of([*candidates, None])
        return choice or self.constant(self.part_of_shape(), kind == "z" or (kind == "v" and self.coin()))

    def part_of_shape(self) -> tuple[int, ...]:
        """A shape that broadcasts with the operand's."""
        first = self.whole(0, len(self.shape))
        return tuple(size if self.coin() else 1 for size in self.shape[first:])

    def away(self, is_away: Callable[[Variable], bool]) -> str:
        """A complex variable that a singularity does not touch."""
        return self.complex_beside(is_away).name

    def complex_beside(self, is_fit: Callable[[Variable], bool] = lambda v: True) -> Variable:
        """A complex variable: the operand, or one that broadcasts with the operand."""
        fit = [v for v in self.scope.recent() if v.is_complex and is_fit(v)]
        if self.operand is not None:
            return self.one_of([v for v in fit if broadcasts(v.shape, self.shape)])
        self.operand = self.one_of(fit)
        return self.operand


def beside(kind: str) -> Callable[[Filling], str]:
    return lambda filling: filling.beside(kind)


for kind in ("x", "z", "v"):
    for number in ("", "2", "3"):
        WRITERS[kind + number] = beside(kind)


@placeholder("same")
def same(filling: Filling) -> str:
    return filling.one_of([v.name for v in filling.scope.recent() if v.shape == filling.shape])


@placeholder("matching")
def matching(filling: Filling) -> str:
    leader = filling.leader
    alike = [v for v in filling.scope.recent() if v.shape == leader.shape and v.is_complex == leader.is_complex]
    choice = filling.one_of([*alike, None])
    return choice.name if choice else filling.constant(leader.shape, leader.is_complex)


@placeholder("right")
def right(filling: Filling) -> str:
    z = filling.complex_beside()
    return f"({z.name} + {math.ceil(1.3 * float(z.exact.abs().max()) + 0.1)})"


@placeholder("nonzero")
def nonzero(filling: Filling) -> str:
    return filling.away(_is_nonzero)


@placeholder("uncut")
def uncut(filling: Filling) -> str:
    def is_uncut(v: Variable) -> bool:
        margin = MARGIN * v.rms
        return _is_nonzero(v) and not bool(((v.exact.real < 0) & (v.exact.imag.abs() < margin)).any())

    return filling.away(is_uncut)


def _is_nonzero(v: Variable) -> bool:
    return float(v.exact.abs().min()) > MARGIN * v.rms


@placeholder("mask")
def mask(filling: Filling) -> str:
    def is_decided(v: Variable) -> bool:
        return float(v.exact.real.abs().min()) > MARGIN * v.rms

    near = [v for v in filling.scope.recent() if broadcasts(v.shape, filling.shape) and is_decided(v)]
    texts = [f"({v.name}.real > 0)" if v.is_complex else f"({v.name} > 0)" for v in near]
    if filling.shape:
        texts.append(f"(torch.arange({filling.shape[-1]}) % 3 != 1)")
    return filling.one_of(texts)
