"""Elementary functions of z = x + i y, from real functions of x and y that neither overflow nor cancel."""

from __future__ import annotations

import cmath
import math
from typing import Any

import torch

from hamsa_deploy.spectral.dispatch import rule
from hamsa_deploy.spectral.errors import UnsupportedOperatorError
from hamsa_deploy.spectral.rules.arithmetic import angle, conj, mul, polar, reciprocal, signed_imaginary
from hamsa_deploy.spectral.values import Complex, as_complex


@rule("exp")
def exp(z: Complex) -> Complex:
    """exp(x + i y) = exp(x) (cos y + i sin y)."""
    return polar(torch.exp(z.re), z.im)


@rule("exp2")
def exp2(z: Complex) -> Complex:
    """2^z = exp(z log 2)."""
    return exp(mul(z, math.log(2)))


@rule("expm1")
def expm1(z: Complex) -> Complex:
    """exp(z) - 1: Re = (exp(x) - 1) cos y - 2 sin(y / 2)^2, Im = exp(x) sin y."""
    half_sine = torch.sin(z.im * 0.5)
    re = torch.expm1(z.re) * torch.cos(z.im) - half_sine * half_sine * 2.0
    return Complex(re, torch.exp(z.re) * torch.sin(z.im))


@rule("log")
def log(z: Complex) -> Complex:
    """log|z| + i angle z."""
    return Complex(torch.log(z.magnitude()), angle(z))


@rule("log2")
def log2(z: Complex) -> Complex:
    """log z / log 2."""
    return mul(log(z), 1 / math.log(2))


@rule("log10")
def log10(z: Complex) -> Complex:
    """log z / log 10."""
    return mul(log(z), 1 / math.log(10))


@rule("log1p")
def log1p(z: Complex) -> Complex:
    """log(1 + z), with |1 + z|^2 - 1 = x (2 + x) + y^2."""
    excess = z.re * (z.re + 2.0) + z.im * z.im
    return Complex(torch.log1p(excess) * 0.5, torch.atan2(signed_imaginary(z), z.re + 1.0))


@rule("sqrt")
def sqrt(z: Complex) -> Complex:
    """The principal root: a = sqrt((|z| + |x|) / 2) and b = |y| / (2 a) are |Re| and |Im|, or the other way for x < 0.

    (|z| - |x|) / 2 under a root would lose half of the digits near the real axis. Im has the sign of y, -0 included.
    """
    if z.conjugate is not None:
        return conj(sqrt(z.conjugate))
    a = torch.sqrt((z.magnitude() + torch.abs(z.re)) * 0.5)
    b = torch.abs(z.im) * 0.5 / torch.where(torch.eq(a, 0), torch.ones_like(a), a)
    right = torch.ge(z.re, 0)
    im = torch.where(right, b, a)
    return Complex(torch.where(right, a, b), torch.copysign(im, signed_imaginary(z)))


@rule("rsqrt")
def rsqrt(z: Complex) -> Complex:
    """1 / sqrt(z)."""
    return reciprocal(sqrt(z))


@rule("pow")
def power(z: Any, exponent: Any) -> Complex:
    """z^p: products for small whole p, sqrt for 1/2, exp(p log z) otherwise."""
    if isinstance(z, (int, float, complex)):
        return _power_of_number(z, exponent)
    z = as_complex(z)
    if isinstance(exponent, (int, float)):
        if exponent == int(exponent) and abs(exponent) <= 8:
            return _whole_power(z, int(exponent))
        if exponent == 0.5:
            return sqrt(z)
    return exp(mul(log(z), exponent))


def _power_of_number(base: complex, exponent: Any) -> Complex:
    if base == 0:
        raise UnsupportedOperatorError("pow of the number 0", "leave out that power: it is 0, or not a number")
    logarithm = cmath.log(base)
    return exp(mul(exponent, logarithm if logarithm.imag else logarithm.real))


def _whole_power(z: Complex, exponent: int) -> Complex:
    if exponent == 0:
        return as_complex(torch.ones_like(z.re))
    result = z
    for _ in range(abs(exponent) - 1):
        result = mul(result, z)
    return result if exponent > 0 else reciprocal(result)


@rule("sin")
def sin(z: Complex) -> Complex:
    """sin x cosh y + i cos x sinh y."""
    return Complex(torch.sin(z.re) * torch.cosh(z.im), torch.cos(z.re) * torch.sinh(z.im))


@rule("cos")
def cos(z: Complex) -> Complex:
    """cos x cosh y - i sin x sinh y."""
    return Complex(torch.cos(z.re) * torch.cosh(z.im), -torch.sin(z.re) * torch.sinh(z.im))


@rule("sinh")
def sinh(z: Complex) -> Complex:
    """sinh x cos y + i cosh x sin y."""
    return Complex(torch.sinh(z.re) * torch.cos(z.im), torch.cosh(z.re) * torch.sin(z.im))


@rule("cosh")
def cosh(z: Complex) -> Complex:
    """cosh x cos y + i sinh x sin y."""
    return Complex(torch.cosh(z.re) * torch.cos(z.im), torch.sinh(z.re) * torch.sin(z.im))


@rule("tanh")
def tanh(z: Complex) -> Complex:
    """With t = tanh x, c = cos y, s = sin y: (t + i s c (1 - t^2)) / (c^2 + t^2 s^2)."""
    t, c, s = torch.tanh(z.re), torch.cos(z.im), torch.sin(z.im)
    scale = torch.reciprocal(c * c + t * t * (s * s))
    return Complex(t * scale, s * c * (t * t * -1.0 + 1.0) * scale)


@rule("tan")
def tan(z: Complex) -> Complex:
    """-i tanh(i z)."""
    turned = tanh(Complex(-z.im, z.re))
    return Complex(turned.im, -turned.re)


@rule("sigmoid")
def sigmoid(z: Complex) -> Complex:
    """1 / (1 + exp(-z)) = (1 + tanh(z / 2)) / 2."""
    half = tanh(Complex(z.re * 0.5, z.im * 0.5))
    return Complex(half.re * 0.5 + 0.5, half.im * 0.5)
