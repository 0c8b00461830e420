"""What a random program has computed so far: its lines, and every variable with its values.

Each variable is computed in float64 exactly, and DRAWS times with noise added to the result of every line. The most of
the noise that arrives is the program's *amplification*

    kappa = max over draws of |noisy - exact| / (noise |exact|)

One draw does not find it: where a single number decides (a phase, a divisor near zero), its noise may be small.

A line whose result amplifies more than MAX_AMPLIFICATION, or cancels, overflows or grows too large, is left out: what
stays is well conditioned, and the accuracy that it must reach is known before the compiler is asked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fft

from hamsa_deploy.spectral.separable import OneAxisAtATime

NOISE = 1e-7
DRAWS = 6
MAX_AMPLIFICATION = 10.0
MAX_ELEMENTS = 4096
LARGEST = 1e4  # rms; and 1 / LARGEST: far from the range of float32


class Unsuitable(Exception):
    """A template does not fit the variables at hand."""


@dataclass(frozen=True)
class Variable:
    """A name of the program and its values.

    Args:
        name: as the source has it.
        exact: float64 or complex128.
        noisy: the same with noise from every line before, DRAWS times.
    """

    name: str
    exact: Tensor
    noisy: Sequence[Tensor]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.exact.shape)

    @property
    def is_complex(self) -> bool:
        return self.exact.is_complex()

    @property
    def rms(self) -> float:
        return rms(self.exact)

    def fits(self, kind: str, rank: str | None = None) -> bool:
        """Whether it is of a kind, `v`, `x` or `z`, and of a rank: `2` for at least two, `=2` for just two."""
        if kind != "v" and self.is_complex != (kind == "z"):
            return False
        if rank is None:
            return True
        return self.exact.ndim == int(rank[1:]) if rank.startswith("=") else self.exact.ndim >= int(rank)


def rms(value: Tensor) -> float:
    return float(value.abs().square().mean().sqrt())


def broadcasts(shape: Sequence[int], to: Sequence[int]) -> bool:
    """Whether a tensor of one shape broadcasts to another."""
    try:
        return torch.broadcast_shapes(tuple(shape), tuple(to)) == tuple(to)
    except RuntimeError:
        return False


def normal(dtype: torch.dtype, *shape: int, seed: int) -> Tensor:
    """Standard normal numbers, exact in float32: the same in every precision."""
    narrow = torch.complex64 if dtype.is_complex else torch.float32
    return torch.randn(shape, dtype=narrow, generator=torch.Generator().manual_seed(seed)).to(dtype)


class Scope:
    """Variables, constants and lines of one program.

    Attributes:
        spectrum: lengths of the frequency axes, for programs that work on a spectrum.
    """

    def __init__(self) -> None:
        self.variables: list[Variable] = []
        self.inputs: dict[str, tuple[int, ...]] = {}
        self.constants: dict[str, str] = {}
        self.lines: dict[str, list[str]] = {}
        self.spectrum: set[int] = set()
        self._model = SimpleNamespace(real_dtype=torch.float64, complex_dtype=torch.complex128)

    def recent(self) -> list[Variable]:
        """All variables, the latest first."""
        return self.variables[::-1]

    def input(self, shape: Sequence[int], is_complex: bool) -> None:
        """Add an input, called z0, z1, .. if complex and x0, x1, .. if real."""
        count = len(self.inputs)
        name = f"{'z' if is_complex else 'x'}{count}"
        self.inputs[name] = tuple(shape)
        value = normal(torch.complex128 if is_complex else torch.float64, *shape, seed=count)
        self.variables.append(Variable(name, value, self._with_noise([value] * DRAWS)))

    def constant(self, shape: Sequence[int], is_complex: bool, is_parameter: bool) -> str:
        """Add a parameter or buffer of the model; returns what the source calls it."""
        count = len(self.constants)
        name, kind, seed = f"k{count}", "complex_dtype" if is_complex else "real_dtype", 100 + count
        call = f"normal({', '.join([kind, *map(str, shape)])}, seed={seed})"
        register = f"self.{name} = nn.Parameter({call})" if is_parameter else f'self.register_buffer("{name}", {call})'
        value = normal(getattr(self._model, kind), *shape, seed=seed)
        self.constants[name] = register
        setattr(self._model, name, value)
        self.variables.insert(0, Variable(f"self.{name}", value, [value] * DRAWS))
        return f"self.{name}"

    def add(self, name: str, lines: Sequence[str]) -> bool:
        """Run the lines that compute one more variable; keep them if the result is well conditioned."""
        exact = self._run(name, lines, [variable.exact for variable in self.variables])
        if not 0 < exact.numel() <= MAX_ELEMENTS:
            return False
        draws = zip(*(variable.noisy for variable in self.variables), strict=True)
        noisy = self._with_noise([self._run(name, lines, values) for values in draws])
        if not 1 / LARGEST < rms(exact) < LARGEST or not amplification(exact, noisy) <= MAX_AMPLIFICATION:
            return False
        self.variables.append(Variable(name, exact, noisy))
        self.lines[name] = list(lines)
        return True

    def _run(self, name: str, lines: Sequence[str], values: Sequence[Tensor]) -> Any:
        names: dict[str, Any] = {"torch": torch, "F": F, "fft": fft, "self": self._model}
        names |= {v.name: value for v, value in zip(self.variables, values, strict=True) if "." not in v.name}
        try:
            with OneAxisAtATime():
                exec("\n".join(lines), names)  # noqa: S102  our own templates
        except Exception as error:
            shapes = {v.name: (v.shape, v.exact.dtype) for v in self.variables}
            raise AssertionError(f"the template of {lines} does not fit {shapes}") from error
        return names[name]

    def _with_noise(self, values: Sequence[Tensor]) -> list[Tensor]:
        """Rounding errors of a transform are as large as the rms of its result everywhere, so this noise is, too."""
        seed = 1000 + DRAWS * len(self.variables)
        return [
            value + NOISE * rms(value) * normal(value.dtype, *value.shape, seed=seed + draw)
            for draw, value in enumerate(values)
        ]


def amplification(exact: Tensor, noisy: Sequence[Tensor]) -> float:
    """kappa; infinite where there is nothing to compare."""
    norm = float(exact.norm())
    if not math.isfinite(norm) or norm == 0:
        return math.inf
    return max(float((each - exact).norm()) for each in noisy) / (NOISE * norm)
