"""Operators that give booleans: a complex number is zero, or equal to another, where both of its parts are."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils import _pytree as pytree

from hamsa_deploy.spectral.dispatch import apply, partwise_rule, rule
from hamsa_deploy.spectral.values import Real, as_complex, is_complex, split


@rule("eq")
def equal(a: Any, b: Any) -> Real:
    """Both parts are equal."""
    (ar, ai), (br, bi) = split(a), split(b)
    ai = torch.zeros_like(ar) if ai is None else ai
    return torch.logical_and(torch.eq(ar, br), torch.eq(ai, 0 if bi is None else bi))


@rule("ne")
def not_equal(a: Any, b: Any) -> Real:
    """One part differs."""
    return torch.logical_not(equal(a, b))


@partwise_rule("isnan", "isinf")
def either_part(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Real:
    """One part is."""
    z = as_complex(args[0])
    return torch.logical_or(apply(func, (z.re,), kwargs), apply(func, (z.im,), kwargs))


@rule("isfinite")
def is_finite(z: Any) -> Real:
    """Both parts are."""
    z = as_complex(z)
    return torch.logical_and(torch.isfinite(z.re), torch.isfinite(z.im))


@partwise_rule("any", "all", "logical_not", "logical_and", "logical_or", "logical_xor")
def of_truth(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Real:
    """The operator of z != 0."""

    def truth(leaf: Any) -> Any:
        return torch.ne(leaf, 0) if is_complex(leaf) else leaf

    return apply(func, pytree.tree_map(truth, args), kwargs)
