"""A transform that is not computed yet, times a constant.

    Z[i] = scale * response[i] * X[index[i]],    X the orthonormal DFT of x

Cutting, rolling and flipping a spectrum only changes which frequencies are computed. A spectrum times a constant,
between two transforms of one length, is a convolution with a constant, which may be cheaper without any transform.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from hamsa_deploy.spectral.dispatch import apply, lazy_rule, operator_name
from hamsa_deploy.spectral.indexing import PICKING, picked
from hamsa_deploy.spectral.transforms import real_dft
from hamsa_deploy.spectral.values import PART, Complex, Constant, Real, as_complex, functions, gather, is_complex


class Spectrum(Complex):
    """The DFT of a value along one axis, at some frequencies, times a constant.

    Args:
        x: real or complex, (..., n, ...).
        axis: counted from the end.
        index: the frequencies, in order.
        scale: what multiplies the orthonormal transform.
        response: a constant that multiplies it, too; broadcast against the rest.
        transform: the orthonormal transform at `index`, if another Spectrum has it already.
    """

    def __init__(
        self,
        x: Any,
        axis: int,
        index: np.ndarray,
        scale: float = 1.0,
        response: Constant | None = None,
        transform: Complex | None = None,
    ) -> None:
        if isinstance(x, Spectrum) and x.response is None:  # one multiplication for the scales of all axes
            x, scale = x.transform_as_spectrum(), scale * x.scale
        self.x, self.axis, self.index, self.scale = x, axis, index, scale
        self.response: Constant | None = response
        self.transform = transform or _Transform(x, axis, index)
        super().__init__(
            lambda: self._scaled().re,
            lambda: self._scaled().im,
            lambda: self._scaled().magnitude(),
            unsigned_zeros=scale < 0 or response is not None,
        )
        self._product: Complex | None = None

    @property
    def n(self) -> int:
        """Transform length."""
        return int(self.x.shape[self.axis])

    @property
    def shape(self) -> torch.Size:  # type: ignore[override]
        shape = list(self.x.shape)
        shape[self.axis] = len(self.index)
        return torch.Size(shape) if self.response is None else torch.broadcast_shapes(shape, self.response.shape)

    @property
    def dtype(self) -> torch.dtype:  # type: ignore[override]
        return torch.complex128 if self.x.dtype in (torch.float64, torch.complex128) else torch.complex64

    @property
    def magnitude_is_known(self) -> bool:
        return self.transform.magnitude_is_known

    def transform_as_spectrum(self) -> Spectrum:
        """The orthonormal transform, which can still be cut."""
        return Spectrum(self.x, self.axis, self.index, transform=self.transform)

    def _scaled(self) -> Complex:
        if self._product is None:
            self._product = self.weighted(None)
        return self._product

    def weighted(self, weight: Constant | None) -> Complex:
        """weight * Z, where the weight costs nothing if there is a response already."""
        factors = [factor for factor in (self.response, weight) if factor is not None]
        if not factors:
            return self.transform if self.scale == 1.0 else functions.mul(self.transform, self.scale)
        total = factors[0] if len(factors) == 1 else functions.mul(*factors)
        return functions.mul(self.transform, total if self.scale == 1.0 else functions.mul(total, self.scale))

    def filtered(self, factor: Any) -> Spectrum:
        """Z times a constant or a number."""
        if isinstance(factor, (int, float)):
            return Spectrum(self.x, self.axis, self.index, self.scale * factor, self.response, self.transform)
        factor = self.in_precision(factor)
        response = factor if self.response is None else functions.mul(self.response, factor)
        return Spectrum(self.x, self.axis, self.index, self.scale, response, self.transform)

    def in_precision(self, factor: Constant) -> Any:
        """A constant in the spectrum's precision, or else a scale would be rounded as a mask is."""
        dtype = self.dtype if is_complex(factor) else PART[self.dtype]
        return apply(torch.ops.aten._to_copy.default, (factor,), {"dtype": dtype})

    def picked(self, axis: int, index: np.ndarray) -> Spectrum | None:
        """The entries at some positions along an axis that has been transformed; None along any other."""
        response = self.response
        if response is not None and response.ndim >= -axis and response.shape[axis] != 1:
            response = gather(response, axis, index)
            if self._length(axis) == 1:  # the response alone varies along that axis
                return Spectrum(self.x, self.axis, self.index, self.scale, response, self.transform)
        if axis == self.axis:
            return Spectrum(self.x, self.axis, self.index[index], self.scale, response)
        inner = self.x.picked(axis, index) if isinstance(self.x, Spectrum) else None
        return None if inner is None else Spectrum(inner, self.axis, self.index, self.scale, response)

    def _length(self, axis: int) -> int:
        """Length of the transform along an axis, before it broadcasts against the response."""
        if axis == self.axis:
            return len(self.index)
        return int(self.x.shape[axis]) if -axis <= len(self.x.shape) else 1


class _Transform(Complex):
    """The orthonormal transform itself: real and imaginary part are computed together, once."""

    def __init__(self, x: Any, axis: int, index: np.ndarray) -> None:
        self._parts: tuple[Real, Real] | None = None

        def part(number: int) -> Real:
            if self._parts is None:
                self._parts = dft(x, axis, index)
            return self._parts[number]

        super().__init__(lambda: part(0), lambda: part(1))


def dft(x: Any, axis: int, index: np.ndarray) -> tuple[Real, Real]:
    """Orthonormal DFT of a real or complex value at some frequencies: real and imaginary part."""
    if not is_complex(x):
        return real_dft(x, axis, index)
    z = as_complex(x)
    (ar, ai), (br, bi) = real_dft(z.re, axis, index), real_dft(z.im, axis, index)
    return ar - bi, ai + br


@lazy_rule(Spectrum, *PICKING)
def pick(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Fewer frequencies, or another order of them."""
    z = args[0]
    found = picked(operator_name(func), args) if isinstance(z, Spectrum) else None
    result = None if found is None else z.picked(*found)
    return NotImplemented if result is None else result


@lazy_rule(Spectrum, "mul", "div", "neg")
def scale(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A product with a constant goes into the response."""
    name = operator_name(func)
    if name == "neg":
        return args[0].filtered(-1.0)
    z, factor = args if isinstance(args[0], Spectrum) else reversed(args)
    if not isinstance(factor, (Constant, int, float)) or kwargs or (name == "div" and z is not args[0]):
        return NotImplemented
    if name == "div" and isinstance(factor, (int, float)) and factor < 0:
        return NotImplemented  # of a zero it makes another than the product does: see Complex
    if isinstance(factor, Constant) and factor.ndim and torch.promote_types(factor.dtype, z.dtype) != z.dtype:
        return NotImplemented  # the product has the constant's precision
    if name == "div":
        factor = functions.reciprocal(z.in_precision(factor)) if isinstance(factor, Constant) else 1 / factor
    return z.filtered(factor)


@lazy_rule(Spectrum, "add", "sub")
def combine(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A sum of one transform's products with constants is one product."""
    if kwargs or not all(isinstance(arg, Spectrum) and arg.response is not None for arg in args):
        return NotImplemented
    a, b = args
    if a.transform is not b.transform:
        return NotImplemented
    return Spectrum(a.x, a.axis, a.index, 1.0, func(_total(a), _total(b)), a.transform)


def _total(z: Spectrum) -> Any:
    return functions.mul(z.response, z.scale)
