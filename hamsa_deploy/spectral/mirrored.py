"""A real tensor along a frequency axis, stored on half of the frequencies.

    plus[i]  = value at  half[i]
    minus[i] = value at -half[i]  =  parity * plus[i]   where a parity is known: +1 even, -1 odd

The spectrum of a real signal is Hermitian: its real part is even, its imaginary part odd, its magnitude even. An
operator that is pointwise along the axis works on both halves, and only on `plus` as long as the parity survives.
Everything else sees the full spectrum (`materialise`): always right, only slower.
"""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
import torch

from hamsa_deploy.spectral import compilation
from hamsa_deploy.spectral.dispatch import apply, lazy_rule, operator_name
from hamsa_deploy.spectral.indexing import picked
from hamsa_deploy.spectral.values import Constant, Lazy, Real, Value, gather
from hamsa_runtime.dft.half_spectrum import HalfSpectrum

EVEN, ODD = 1, -1

POINTWISE = """
    add sub rsub mul div neg abs sgn sign square pow reciprocal sqrt rsqrt exp log sin cos tanh atan2 erf sigmoid
    hardsigmoid relu relu6 leaky_relu elu gelu silu softplus hardtanh hardswish clamp clamp_min clamp_max maximum
    minimum copysign where eq ne lt le gt ge clone contiguous detach alias dropout zeros_like ones_like
""".split()
ODD_TO_EVEN = {"abs", "square"}
ODD_TO_ODD = {"neg", "clone", "contiguous", "detach", "alias", "zeros_like", "dropout"}


class Mirrored(Lazy):
    """A real tensor along one frequency axis.

    Args:
        plus: values at the stored frequencies; length h along `axis`.
        minus: values at their mirror images, up to `sign`, or None where `parity` gives them.
        parity: EVEN, ODD or 0.
        axis: the frequency axis, counted from the end (-1 is the last).
        half_spectrum: which frequencies are stored.
        sign: what `minus` is to be multiplied with. The product of a constant and an odd value has -1; the sum that
            it goes into becomes a difference, so no constant is stored with both signs.
    """

    def __init__(
        self, plus: Real, minus: Real | None, parity: int, axis: int, half_spectrum: HalfSpectrum, sign: int = 1
    ) -> None:
        self.plus, self._minus, self.parity = plus, minus, parity
        self.axis, self.half_spectrum = axis, half_spectrum
        self.sign = sign if minus is not None else parity

    @property
    def shape(self) -> torch.Size:  # type: ignore[override]
        shape = list(self.plus.shape)
        shape[self.axis] = self.half_spectrum.n
        return torch.Size(shape)

    @property
    def dtype(self) -> torch.dtype:  # type: ignore[override]
        return cast(torch.dtype, self.plus.dtype)

    @property
    def minus(self) -> Real:
        return self.unsigned_minus if self.sign == 1 else -self.unsigned_minus

    @property
    def unsigned_minus(self) -> Real:
        """`minus` without its sign."""
        return self.plus if self._minus is None else self._minus

    def materialise(self) -> Real:
        """The full spectrum in natural order."""
        return self._gathered(np.arange(self.half_spectrum.n))

    def picked(self, index: np.ndarray) -> Real:
        """The values at some positions, in that order; still Mirrored where those are all, or in natural order."""
        if np.array_equal(index, np.arange(self.half_spectrum.n)):
            return self.plus if np.array_equal(self.half_spectrum.half, index) else self
        if len(set(index)) == self.half_spectrum.n == len(index):
            return Mirrored(
                self.plus, self._minus, self.parity, self.axis, self.half_spectrum.relabelled(index), self.sign
            )
        return self._gathered(index)

    def _gathered(self, index: np.ndarray) -> Real:
        order = self.half_spectrum.order[index]
        stored = self.plus
        if order.max() >= len(self.half_spectrum.half):
            stored = torch.cat([self.plus, self.minus], dim=self.axis)
        if np.array_equal(order, np.arange(stored.shape[self.axis])):
            return stored
        return gather(stored, self.axis, order)

    def on_half(self, plus: Real, minus: Real | None, parity: int, sign: int = 1) -> Mirrored:
        """A value on the same axis and half spectrum."""
        return Mirrored(plus, minus, parity, self.axis, self.half_spectrum, sign)


def mirror_constant(constant: Constant, axis: int, half_spectrum: HalfSpectrum) -> Mirrored:
    """A constant along a frequency axis, permuted to the half spectrum's order; its parity is found from its values."""

    def halves() -> tuple[torch.Tensor, torch.Tensor, int]:
        value = constant.wide()
        plus = value.index_select(axis, torch.from_numpy(half_spectrum.half))
        minus = value.index_select(axis, torch.from_numpy(half_spectrum.mirror))
        if torch.equal(plus, minus):
            return plus, minus, EVEN
        if value.dtype == torch.bool:
            return plus, minus, 0
        return plus, minus, ODD if torch.equal(plus, -minus) else 0

    plus, minus, parity = compilation.eagerly(halves)
    other = None if parity else Constant(minus, constant.dtype)
    return Mirrored(Constant(plus, constant.dtype), other, parity, axis, half_spectrum)


def _aligned(value: Any, leader: Mirrored) -> Any:
    """`value` as a Mirrored on the leader's axis; as it is if it does not vary along that axis; or NotImplemented."""
    if isinstance(value, Mirrored) and value.axis == leader.axis:
        return value if value.half_spectrum.same_order(leader.half_spectrum) else NotImplemented
    if not isinstance(value, (torch.Tensor, Value)):
        return value
    if value.ndim < -leader.axis or value.shape[leader.axis] == 1:
        return value
    if isinstance(value, Constant):
        return mirror_constant(value, leader.axis, leader.half_spectrum)
    return NotImplemented


def _parity_of_result(name: str, parities: list[int], is_product: bool) -> int:
    """Parity of a pointwise function of values with these parities; 0 where it has none."""
    if 0 in parities:
        return 0
    if all(parity == EVEN for parity in parities):
        return EVEN
    if is_product:
        return EVEN if parities.count(ODD) % 2 == 0 else ODD
    if name in ("add", "sub", "rsub") and parities.count(EVEN) == 0:
        return ODD
    if name in ODD_TO_EVEN:
        return EVEN
    return ODD if name in ODD_TO_ODD else 0


@lazy_rule(Mirrored, *POINTWISE)
def pointwise(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Both halves of a pointwise function, or one where the result has a parity."""
    leader = next(arg for arg in args if isinstance(arg, Mirrored))
    aligned = [_aligned(arg, leader) for arg in args]
    if any(arg is NotImplemented for arg in aligned):
        return NotImplemented
    name = operator_name(func)
    is_product = name in ("mul", "div") and not kwargs  # a quotient may be rounded
    parity = _parity_of_result(name, [_parity(arg) for arg in aligned], is_product)
    plus = apply(func, tuple(_plus(arg) for arg in aligned), kwargs)
    if parity:
        return leader.on_half(plus, None, parity)
    if is_product:
        unsigned = apply(func, tuple(_unsigned_minus(arg) for arg in aligned), kwargs)
        return leader.on_half(plus, unsigned, 0, math.prod(_sign(arg) for arg in aligned))
    if name in ("add", "sub") and not kwargs and _sign(aligned[0]) != _sign(aligned[1]):
        return leader.on_half(plus, *_minus_of_sum(name, *aligned))
    return leader.on_half(plus, apply(func, tuple(_minus(arg) for arg in aligned), kwargs), 0)


@lazy_rule(Mirrored, "linear")
def linear(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A linear layer over channels: pointwise along every other axis; a bias is even."""
    x, *weights = args
    if not isinstance(x, Mirrored) or x.axis == -1 or any(isinstance(w, Mirrored) for w in weights):
        return NotImplemented
    biased = len(weights) == 2 and weights[1] is not None
    if x.parity == EVEN or (x.parity == ODD and not biased):
        return x.on_half(apply(func, (x.plus, *weights), kwargs), None, x.parity)
    # One product over both halves beats two of half the height on ONNX Runtime and OpenVINO (HAMSA-S, 5 %).
    both = apply(func, (torch.cat([x.plus, x.minus], dim=x.axis), *weights), kwargs)
    h = len(x.half_spectrum.half)
    return x.on_half(torch.narrow(both, x.axis, 0, h), torch.narrow(both, x.axis, h, h), 0)


@lazy_rule(Mirrored, "matmul")
def matmul(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """x @ W with a matrix W over channels."""
    x, weight = args
    if not isinstance(x, Mirrored) or x.axis == -1 or isinstance(weight, Mirrored) or weight.ndim != 2:
        return NotImplemented
    plus = apply(func, (x.plus, weight), kwargs)
    minus = None if x.parity else apply(func, (x.minus, weight), kwargs)
    return x.on_half(plus, minus, x.parity)


def _parity(value: Any) -> int:
    return value.parity if isinstance(value, Mirrored) else EVEN


def _plus(value: Any) -> Any:
    return value.plus if isinstance(value, Mirrored) else value


def _minus(value: Any) -> Any:
    return value.minus if isinstance(value, Mirrored) else value


def _unsigned_minus(value: Any) -> Any:
    return value.unsigned_minus if isinstance(value, Mirrored) else value


def _sign(value: Any) -> int:
    return value.sign if isinstance(value, Mirrored) else 1


def _minus_of_sum(name: str, a: Any, b: Any) -> tuple[Real, int, int]:
    """(minus, parity, sign) of a + b or a - b, where a and b have opposite signs."""
    x, y = _unsigned_minus(a), _unsigned_minus(b)
    if name == "add":
        return (torch.sub(x, y) if _sign(a) == 1 else torch.sub(y, x)), 0, 1
    return torch.add(x, y), 0, _sign(a)


@lazy_rule(Mirrored, "slice", "narrow")
def cut(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A part along another axis, of both halves. (To gather from both would cost more than to gather once.)"""
    x, found = args[0], picked(operator_name(func), args)
    if not isinstance(x, Mirrored) or found is None or found[0] == x.axis:
        return NotImplemented
    plus = apply(func, (x.plus, *args[1:]), kwargs)
    minus = None if x.parity else apply(func, (x.unsigned_minus, *args[1:]), kwargs)
    return x.on_half(plus, minus, x.parity, x.sign)


@lazy_rule(Mirrored, "cat")
def cat(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Concatenation along another axis, of values on one half spectrum."""
    parts, dim = list(args[0]), (args[1] if len(args) > 1 else kwargs.get("dim", 0))
    leader = next(part for part in parts if isinstance(part, Mirrored))
    dim = dim if dim < 0 else dim - leader.ndim
    aligned = [_aligned(part, leader) for part in parts]
    if dim == leader.axis or not all(isinstance(part, Mirrored) for part in aligned):
        return NotImplemented
    plus = apply(func, ([part.plus for part in aligned], dim), {})
    parities = {part.parity for part in aligned}
    if len(parities) == 1 and 0 not in parities:
        return leader.on_half(plus, None, parities.pop())
    return leader.on_half(plus, apply(func, ([part.minus for part in aligned], dim), {}), 0)
