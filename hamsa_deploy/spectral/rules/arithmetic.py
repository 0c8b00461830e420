"""Arithmetic on pairs of real values: sums, products with what is known of their magnitude, |z|, conj."""

from __future__ import annotations

from typing import Any, cast

import torch

from hamsa_deploy.spectral import compilation
from hamsa_deploy.spectral.dispatch import entry_rule, rule
from hamsa_deploy.spectral.values import Complex, Constant, Real, as_complex, functions, is_complex, split, zeros_like


@rule("add")
def add(a: Any, b: Any, *, alpha: Any = 1) -> Complex:
    """a + alpha b; a real operand leaves the imaginary part alone."""
    if alpha != 1:
        b = torch.mul(b, alpha)
    (ar, ai), (br, bi) = split(a), split(b)
    re = ar + br
    if ai is not None and bi is not None:
        return Complex(re, ai + bi)
    return Complex(re, zeros_like(re) + (ai if bi is None else bi))


@rule("sub")
def sub(a: Any, b: Any, *, alpha: Any = 1) -> Complex:
    """a - alpha b."""
    return add(a, _negated(torch.mul(b, alpha) if alpha != 1 else b))


@rule("rsub")
def rsub(a: Any, b: Any, *, alpha: Any = 1) -> Complex:
    """b - alpha a."""
    return sub(b, a, alpha=alpha)


@rule("mul")
def mul(a: Any, b: Any) -> Complex:
    """a b, and |a b| = |a| |b| where that saves a square root."""
    if isinstance(a, Complex) and isinstance(b, Complex) and (a.conjugate is b or b.conjugate is a):
        squared = a.re * a.re + a.im * a.im
        return Complex(squared, lambda: zeros_like(squared), lambda: squared)
    (ar, ai), (br, bi) = split(a), split(b)
    magnitude = _magnitude_of_product(a, b)
    if ai is None:
        return Complex(ar * br, ar * bi, magnitude, unsigned_zeros=True)
    if bi is None:
        return Complex(ar * br, ai * br, magnitude, unsigned_zeros=True)
    return Complex(ar * br - ai * bi, ar * bi + ai * br, magnitude)


def _magnitude_of_product(a: Any, b: Any) -> Any:
    """One factor is real or constant: |a b| costs a multiplication. Otherwise only if both are known already."""
    costly = [z for z in (a, b) if isinstance(z, Complex)]
    if len(costly) == 2 and not all(z.magnitude_is_known for z in costly):
        return None
    return lambda: _absolute(a) * _absolute(b)


def _absolute(value: Any) -> Real:
    if isinstance(value, Complex):
        return value.magnitude()
    if isinstance(value, (int, float, complex)):
        return abs(value)
    if value.dtype == torch.bool or compilation.current().is_nonnegative(value):
        return value
    return torch.abs(value)


@rule("div")
def div(a: Any, b: Any) -> Complex:
    """a / b = a conj(b) / |b|^2."""
    if not is_complex(b):
        ar, ai = split(a)
        return Complex(torch.div(ar, b), torch.div(ai, b))
    if isinstance(b, (complex, Constant)):
        return mul(a, 1 / b if isinstance(b, complex) else functions.reciprocal(b))
    product = mul(a, conj(b))
    squared = b.re * b.re + b.im * b.im
    return Complex(product.re / squared, product.im / squared)


@rule("reciprocal")
def reciprocal(z: Complex) -> Complex:
    """1 / z."""
    squared = z.re * z.re + z.im * z.im
    return Complex(z.re / squared, -z.im / squared)


@rule("neg", "_neg_view")
def neg(z: Complex) -> Complex:
    """-z."""
    return cast(Complex, _negated(z))


def _negated(value: Any) -> Any:
    if isinstance(value, Complex):
        magnitude = value.magnitude if value.magnitude_is_known else None
        return Complex(-value.re, -value.im, magnitude, unsigned_zeros=True)
    return -value


@rule("_conj", "_conj_physical")
def conj(z: Any) -> Complex:
    """The complex conjugate; its magnitude is z's."""
    z = as_complex(z)
    result = Complex(lambda: z.re, lambda: -z.im, lambda: z.magnitude())
    result.conjugate = z
    return result


@rule("abs")
def absolute(z: Complex) -> Real:
    """|z|."""
    return z.magnitude()


@rule("angle")
def angle(z: Complex) -> Real:
    """The phase of z, in [-pi, pi]; on the negative real axis it has the sign of the zero that Im z is."""
    if z.conjugate is not None:  # some engines make one of -(x S) and x (-S), and another zero
        return -angle(z.conjugate)
    return torch.atan2(signed_imaginary(z), z.re)


def signed_imaginary(z: Complex) -> Real:
    """Im z with PyTorch's signs of zero, which say on which side of a branch cut z is."""
    return torch.where(torch.eq(z.im, 0), torch.zeros_like(z.im), z.im) if z.unsigned_zeros else z.im


@entry_rule("complex")
def complex_from_parts(re: Any, im: Any) -> Complex:
    """re + i im; they broadcast."""
    shape = torch.broadcast_shapes(re.shape, im.shape)
    re, im = (part if part.shape == shape else torch.broadcast_to(part, shape) for part in (re, im))
    return Complex(re, im)


@entry_rule("polar")
def polar(magnitude: Any, phase: Any) -> Complex:
    """magnitude exp(i phase)."""
    return Complex(magnitude * torch.cos(phase), magnitude * torch.sin(phase))


@rule("square")
def square(z: Complex) -> Complex:
    """z z."""
    return mul(z, z)


@rule("sgn")
def sgn(z: Complex) -> Complex:
    """z / |z|, and 0 at 0."""
    r = z.magnitude()
    safe = torch.where(torch.eq(r, 0), torch.ones_like(r), r)
    return Complex(z.re / safe, z.im / safe)
