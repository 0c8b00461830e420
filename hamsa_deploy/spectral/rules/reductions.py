"""Products, variances and norms along axes (sums and means are in parts.py)."""

from __future__ import annotations

from typing import Any

import torch

from hamsa_deploy.spectral.dispatch import apply, partwise_rule, rule
from hamsa_deploy.spectral.errors import UnsupportedOperatorError
from hamsa_deploy.spectral.values import PART, Real, as_complex


@rule("prod")
def prod(z: Any, dim: int | None = None, keepdim: bool = False, *, dtype: torch.dtype | None = None) -> Any:
    """The product along an axis, or of all numbers: first half times second half until one is left."""
    if dim is None:
        z, dim = torch.reshape(z, (-1,)), 0
    while (n := _fixed_length("prod", z, dim)) > 1:
        paired = torch.mul(torch.narrow(z, dim, 0, n // 2), torch.narrow(z, dim, n // 2, n // 2))
        z = torch.cat([paired, torch.narrow(z, dim, n - 1, 1)], dim) if n % 2 else paired
    return z if keepdim else torch.squeeze(z, dim)


@rule("cumprod")
def cumprod(z: Any, dim: int, *, dtype: torch.dtype | None = None) -> Any:
    """Running products in log2(n) steps: after the one of stride s, entry k is the product of the 2 s up to it.

    Source: Hillis and Steele (1986).
    """
    n, stride = _fixed_length("cumprod", z, dim), 1
    while stride < n:
        tail = torch.mul(torch.narrow(z, dim, stride, n - stride), torch.narrow(z, dim, 0, n - stride))
        z = torch.cat([torch.narrow(z, dim, 0, stride), tail], dim)
        stride *= 2
    return z


def _fixed_length(name: str, z: Any, dim: int) -> int:
    n = z.shape[dim]
    if isinstance(n, torch.SymInt):
        raise UnsupportedOperatorError(f"{name} along a dynamic axis", "fix that axis with dynamic_shapes")
    return int(n)


@partwise_rule("var")
def var(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Real:
    """var z = var x + var y; real."""
    z, *options = args
    z = as_complex(z)
    return apply(func, (z.re, *options), kwargs) + apply(func, (z.im, *options), kwargs)


@rule("var_mean")
def var_mean(z: Any, dim: Any = None, *, correction: float | None = None, keepdim: bool = False) -> tuple[Real, Any]:
    """Variance, real, and mean, complex."""
    variance = torch.var(z, dim=dim, correction=correction, keepdim=keepdim)
    return variance, torch.mean(z, dim=dim, keepdim=keepdim)


@partwise_rule("linalg_vector_norm")
def vector_norm(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Real:
    """A norm depends on magnitudes only."""
    z, *options = args
    kwargs = {key: PART.get(value, value) for key, value in kwargs.items()}
    return apply(func, (as_complex(z).magnitude(), *options), kwargs)
