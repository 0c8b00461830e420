"""Hypothesis strategies that draw programs with torch.fft and complex tensors, as Python source.

general      a chain or graph of 1 to 8 operations from all tables
mixer        a spectrum, what a model does to it, and the way back: what Mirrored is made for
programs()   two general ones for each mixer

What a failing test prints is a script; run in the repository's root, it fails in the same way.
"""

from __future__ import annotations

import itertools
import math
import re
import textwrap
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import Any

import torch
import torch.nn.functional as F
from hypothesis import reject
from hypothesis import strategies as st
from torch import Tensor, fft, nn

from . import random_constants, random_sizes
from .random_axes import LONG_LENGTHS, NORMS
from .random_filling import Filling, operand_of
from .random_operations import BESIDE, GENERAL, MIXING, TRANSFORMS, lines
from .random_plans import MOST_CHOICES
from .random_scope import Scope, Unsuitable, normal

# The modules that are imported whole register the placeholders that they write.
__all__ = ["RandomProgram", "programs", "random_constants", "random_sizes", "single"]

LENGTHS = (2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 1, 13, 15, 16)
MAX_INPUT = 600  # elements, of an input with several axes longer than that
WORD = re.compile(r"\w+")
KIND = {"x": "real_dtype", "z": "complex_dtype"}
FREQUENCY_AXES = ((1,), (0,), (2,), (1, 2), (2, 3), (0, 1))
MAX_LINES = 7
ATTEMPTS = 3  # templates tried for one line before there is one line less

FORM = """\
class Model(nn.Module):
    def __init__(self, real_dtype, complex_dtype):
        super().__init__()
        self.real_dtype, self.complex_dtype = real_dtype, complex_dtype
{constants}
    def forward(self, {inputs}):
{lines}
        return {outputs}


def inputs(real_dtype, complex_dtype):
    return ({tensors},)
"""

SCRIPT = """\
import torch
import torch.nn.functional as F
from torch import fft, nn

from tests.spectral.programs import check_both_precisions
from tests.spectral.random_plans import plans_numbered
from tests.spectral.random_scope import normal


{form}

check_both_precisions(Model, inputs, plans=plans_numbered({plans}))
"""


class RandomProgram:
    """A program as Python source, and what the source defines.

    Attributes:
        form: source of a module `Model` and of a function `inputs`, both of (real dtype, complex dtype).
        templates: where its lines come from.
        plans: how its transforms are computed, see random_plans.py.
    """

    def __init__(self, scope: Scope, templates: Sequence[str], plans: int = 0) -> None:
        if not scope.lines:
            reject()
        self.form, self.templates, self.plans = _form(scope), list(templates), plans

    def __repr__(self) -> str:
        return f"RandomProgram of {len(self.templates)} lines"

    @property
    def script(self) -> str:
        """What compares the program with eager PyTorch again."""
        return SCRIPT.format(form=self.form, plans=self.plans)

    @cached_property
    def _defined(self) -> dict[str, Any]:
        names: dict[str, Any] = {"torch": torch, "F": F, "fft": fft, "nn": nn, "normal": normal}
        exec(self.form, names)  # noqa: S102  our own templates
        return names

    def model(self, real_dtype: torch.dtype, complex_dtype: torch.dtype) -> nn.Module:
        """The module in one precision; its numbers are exact in float32, so they are the same in all."""
        return self._defined["Model"](real_dtype, complex_dtype)

    def inputs(self, real_dtype: torch.dtype, complex_dtype: torch.dtype) -> tuple[Tensor, ...]:
        return self._defined["inputs"](real_dtype, complex_dtype)


def _form(scope: Scope) -> str:
    def indented(source: Iterable[str]) -> str:
        return textwrap.indent("\n".join(source), " " * 8)

    lines_of_all = [line for source in scope.lines.values() for line in source]
    read = set(WORD.findall("\n".join(lines_of_all)))
    constants = [register for name, register in scope.constants.items() if name in read]
    tensors = [
        f"normal({', '.join([KIND[name[0]], *map(str, shape)])}, seed={seed})"
        for seed, (name, shape) in enumerate(scope.inputs.items())
    ]
    return FORM.format(
        constants=indented(constants) + "\n" if constants else "",
        inputs=", ".join(scope.inputs),
        lines=indented(lines_of_all),
        outputs=", ".join(_unread(scope)),
        tensors=", ".join(tensors),
    )


def _unread(scope: Scope) -> list[str]:
    """What is computed and not read by another variable's lines: the outputs."""
    words = {name: set(WORD.findall("\n".join(source))) for name, source in scope.lines.items()}
    return [name for name in words if not any(name in words[other] for other in words if other != name)]


def input_shape(random: Random, least_rank: int = 1) -> tuple[int, ...]:
    """Rank 1 to 4; now and then with one axis that is longer than a single product takes."""
    shape = [random.choice(LENGTHS) for _ in range(random.randint(least_rank, 4))]
    while math.prod(shape) > MAX_INPUT:
        shape[shape.index(max(shape))] //= 2
    if random.randint(0, 5) == 5:
        shape = [min(size, 2) for size in shape]
        shape[random.randint(0, len(shape) - 1)] = random.choice(LONG_LENGTHS)
    return tuple(shape)


def add_line(random: Random, scope: Scope, tables: Sequence[Sequence[str]]) -> str | None:
    """Draw templates until one fits and is well conditioned; returns it, or None after ATTEMPTS."""
    name = f"a{len(scope.lines)}"
    for _ in range(ATTEMPTS):
        table = random.choice(tables)
        template = random.choice([t for t in table if any(v.fits(*operand_of(t)) for v in scope.variables)])
        with suppress(Unsuitable):
            if scope.add(name, Filling(random, scope, name).fill(template)):
                return template
    return None


def add_lines(random: Random, scope: Scope, tables: Sequence[Sequence[str]]) -> list[str]:
    """Up to MAX_LINES lines; returns their templates."""
    templates: list[str | None] = []
    while len(templates) < MAX_LINES and random.randint(0, 5):
        templates.append(add_line(random, scope, tables))
    return [template for template in templates if template]


def general(random: Random) -> tuple[Scope, list[str]]:
    """A few inputs and up to 8 operations from all tables."""
    scope = Scope()
    shape = input_shape(random)
    for _ in range(random.randint(1, 3)):
        scope.input(shape, is_complex=bool(random.randint(0, 1)))
        shape = random.choice((shape, shape[1:], input_shape(random)))
    only_real = not any(v.is_complex for v in scope.variables)
    first = add_line(random, scope, [lines(TRANSFORMS)] if only_real else GENERAL)
    return scope, [first or "", *add_lines(random, scope, GENERAL)]


def mixer(random: Random) -> tuple[Scope, list[str]]:
    """x -> FFT along one or two axes -> operations of MIXING, some of BESIDE -> inverse FFT."""
    scope = Scope()
    shape = input_shape(random, least_rank=2)
    scope.input(shape, is_complex=False)
    spectrum = Spectrum.of(random, shape)
    scope.spectrum = set(spectrum.stored)
    scope.add("a0", [f"a0 = {spectrum.forward('x0', norm_option(random))}"])
    tables = [lines(MIXING), lines(MIXING), lines(BESIDE)]
    templates = [add_line(random, scope, tables), *add_lines(random, scope, tables)]
    add_inverse(random, scope, spectrum)
    return scope, [template for template in templates if template]


@dataclass(frozen=True)
class Spectrum:
    """A transform of an input, and how the way there and back are written.

    Args:
        axes: transformed axes of the input, one or two.
        lengths: of the transform along them.
        is_half: one-sided along the last of them.
    """

    axes: tuple[int, ...]
    lengths: tuple[int, ...]
    is_half: bool

    @classmethod
    def of(cls, random: Random, shape: Sequence[int]) -> Spectrum:
        """A transform of an input of that shape, of its own length or zero-padded to twice that."""
        last = len(shape) - 1  # mostly the channels, which linear layers mix
        most = last - 1 if random.randint(0, 3) else last
        axes = random.choice([a for a in FREQUENCY_AXES if max(a) <= most])
        lengths = tuple(shape[a] * random.choice((1, 1, 2)) for a in axes)
        return cls(axes, lengths, is_half=bool(random.randint(0, 1)))

    @property
    def stored(self) -> tuple[int, ...]:
        """Length of each frequency axis."""
        *others, last = self.lengths
        return (*others, last // 2 + 1 if self.is_half else last)

    def forward(self, name: str, norm: str) -> str:
        return f"{self._call('rfft' if self.is_half else 'fft')}({name}{self._options(self.axes)}{norm})"

    def inverse(self, name: str, axes: tuple[int, ...], norm: str) -> str:
        if self.is_half:
            return f"{self._call('irfft')}({name}{self._options(axes)}{norm})"
        return f"{self._call('ifft')}({name}{self._options(axes)}{norm}).real"

    def _call(self, name: str) -> str:
        return f"fft.{name}" + ("2" if len(self.axes) == 2 else "")

    def _options(self, axes: tuple[int, ...]) -> str:
        if len(axes) == 2:
            return f", s={self.lengths}, dim={axes}"
        return f", n={self.lengths[0]}, dim={axes[0]}"

    def places(self, shape: Sequence[int]) -> list[tuple[int, ...]]:
        """Axes of a variable that may be the frequency axes."""
        order = itertools.permutations(range(len(shape)), len(self.axes))
        return [axes for axes in order if tuple(shape[a] for a in axes) == self.stored]


def norm_option(random: Random) -> str:
    norm = random.choice(NORMS)
    return f', norm="{norm}"' if norm else ""


def add_inverse(random: Random, scope: Scope, spectrum: Spectrum) -> None:
    """The way back, from the latest variable that still has the frequency axes."""
    for variable in scope.recent():
        places = spectrum.places(variable.shape)
        if places and "." not in variable.name:
            name = f"a{len(scope.lines)}"
            back = spectrum.inverse(variable.name, random.choice(places), norm_option(random))
            if scope.add(name, [f"{name} = {back}"]):
                return


# One generator for a whole program, not one strategy for each choice: hypothesis follows every new example by five
# variations that copy parts of it over others, and knows parts by their strategies. Here it would spend five programs
# of six on that.
choices = st.randoms(use_true_random=False)


@st.composite
def programs(draw: Any) -> RandomProgram:
    """Any program, a mixer in one of three; half of them with plans that the cost model would not choose."""
    random = draw(choices)
    plans = random.randint(0, MOST_CHOICES) if random.randint(0, 1) else 0
    scope, templates = mixer(random) if random.randint(0, 2) == 2 else general(random)
    return RandomProgram(scope, templates, plans)


@st.composite
def single(draw: Any, template: str) -> RandomProgram:
    """A program with one line from one template."""
    random, scope = draw(choices), Scope()
    shape = input_shape(random)
    scope.input(shape, is_complex=True)
    scope.input(shape, is_complex=False)
    fits = any(v.fits(*operand_of(template)) for v in scope.variables)
    return RandomProgram(scope, [add_line(random, scope, [[template]]) or ""] if fits else [])
