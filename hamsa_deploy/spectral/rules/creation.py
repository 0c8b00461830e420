"""Tensors of one value in a complex dtype, which a model may ask for without having a complex tensor yet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from hamsa_deploy.spectral.dispatch import apply, entry_rule
from hamsa_deploy.spectral.values import PART, Complex, split

# The dtype of a complex Python number follows the default dtype.
COMPLEX_OF = {torch.float16: torch.complex32, torch.float32: torch.complex64, torch.float64: torch.complex128}


def _filled(size: Sequence[Any], value: Any, dtype: torch.dtype | None) -> Any:
    """`value` everywhere; NotImplemented where the result is real, so that the operator itself runs."""
    if dtype is None or not dtype.is_complex:
        return NotImplemented
    re, im = split(value)
    return Complex(_real(size, re, PART[dtype]), _real(size, im or 0.0, PART[dtype]))


def _filled_like(z: Any, value: Any, dtype: torch.dtype | None, size: Sequence[Any] | None = None) -> Any:
    """`value` everywhere, in z's dtype and shape unless others are given."""
    dtype, size = dtype or z.dtype, z.shape if size is None else size
    if not dtype.is_complex and z.dtype.is_complex:
        return _real(size, value, dtype)
    return _filled(size, value, dtype)


def _real(size: Sequence[Any], value: float, dtype: torch.dtype) -> Any:
    return apply(torch.ops.aten.full.default, (size, value), {"dtype": dtype})


@entry_rule("empty")
def empty(size: Any, *, dtype: torch.dtype | None = None, **layout: Any) -> Any:
    """Zeros: an empty tensor may hold anything."""
    dtype = dtype or torch.get_default_dtype()
    return _filled(size, 0.0, dtype) if dtype.is_complex else _real(size, 0.0, dtype)


@entry_rule("new_empty")
def new_empty(z: Any, size: Any, *, dtype: torch.dtype | None = None, **layout: Any) -> Any:
    """Zeros in z's dtype."""
    return empty(size, dtype=dtype or z.dtype)


@entry_rule("empty_like")
def empty_like(z: Any, *, dtype: torch.dtype | None = None, **layout: Any) -> Any:
    """Zeros in z's dtype and shape."""
    return empty(z.shape, dtype=dtype or z.dtype)


@entry_rule("zeros")
def zeros(size: Any, *, dtype: torch.dtype | None = None, **layout: Any) -> Any:
    """0 + 0 i everywhere."""
    return _filled(size, 0.0, dtype)


@entry_rule("ones")
def ones(size: Any, *, dtype: torch.dtype | None = None, **layout: Any) -> Any:
    """1 + 0 i everywhere."""
    return _filled(size, 1.0, dtype)


@entry_rule("full")
def full(size: Any, value: Any, *, dtype: torch.dtype | None = None, **layout: Any) -> Any:
    """`value` everywhere."""
    if dtype is None and isinstance(value, complex):
        dtype = COMPLEX_OF[torch.get_default_dtype()]
    return _filled(size, value, dtype)


@entry_rule("new_zeros")
def new_zeros(z: Any, size: Any, *, dtype: torch.dtype | None = None, **layout: Any) -> Any:
    """Zeros in z's dtype."""
    return _filled_like(z, 0.0, dtype, size)


@entry_rule("new_ones")
def new_ones(z: Any, size: Any, *, dtype: torch.dtype | None = None, **layout: Any) -> Any:
    """Ones in z's dtype."""
    return _filled_like(z, 1.0, dtype, size)


@entry_rule("new_full")
def new_full(z: Any, size: Any, value: Any, *, dtype: torch.dtype | None = None, **layout: Any) -> Any:
    """`value` in z's dtype."""
    return _filled_like(z, value, dtype, size)


@entry_rule("zeros_like", "zero")
def zeros_like(z: Any, *, dtype: torch.dtype | None = None, **layout: Any) -> Any:
    """Zeros in z's dtype and shape."""
    return _filled_like(z, 0.0, dtype)


@entry_rule("ones_like")
def ones_like(z: Any, *, dtype: torch.dtype | None = None, **layout: Any) -> Any:
    """Ones in z's dtype and shape."""
    return _filled_like(z, 1.0, dtype)


@entry_rule("full_like")
def full_like(z: Any, value: Any, *, dtype: torch.dtype | None = None, **layout: Any) -> Any:
    """`value` in z's dtype and shape."""
    return _filled_like(z, value, dtype)
