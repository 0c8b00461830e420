"""Operators that do the same to the real and to the imaginary part: shapes, copies, indexing, sums."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch.utils import _pytree as pytree

from hamsa_deploy.spectral.dispatch import apply, entry_rule, partwise_rule, rule
from hamsa_deploy.spectral.values import PART, Complex, RealView, as_complex, is_complex

_to_copy = torch.ops.aten._to_copy.default


@partwise_rule(
    *"view reshape _unsafe_view permute transpose t unsqueeze squeeze expand flatten unflatten clone contiguous "
    "detach alias slice select narrow index_select gather flip roll repeat sum mean cumsum movedim "
    "zeros_like dropout view_as broadcast_to swapaxes diagonal constant_pad_nd resolve_conj resolve_neg "
    "fft_fftshift fft_ifftshift tril triu cat concat stack split split_with_sizes chunk unbind".split()
)
def on_both_parts(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """func(re) + i func(im); a real operand beside complex ones has an imaginary part of zeros."""

    def only(part: int) -> Any:
        def pick(leaf: Any) -> Any:
            if isinstance(leaf, torch.Tensor) or is_complex(leaf) or hasattr(leaf, "lattice"):
                z = as_complex(leaf)
                return z.im if part else z.re
            return leaf

        return apply(func, *pytree.tree_map(pick, (args, kwargs)))

    re, im = only(0), only(1)
    if isinstance(re, (list, tuple)):
        return [Complex(r, i) for r, i in zip(re, im, strict=True)]
    return Complex(re, im)


@rule("view_as_real")
def view_as_real(z: Any) -> RealView:
    """(..., 2), not stacked until it is needed."""
    return RealView(as_complex(z))


@entry_rule("view_as_complex")
def view_as_complex(pairs: Any) -> Complex:
    """The complex tensor of a real one (..., 2)."""
    if isinstance(pairs, RealView):
        return pairs.z
    return Complex(torch.select(pairs, -1, 0), torch.select(pairs, -1, 1))


@rule("_to_copy", "to")
def to(z: Any, *args: Any, **kwargs: Any) -> Any:
    """A change of dtype. To a real dtype it drops the imaginary part, as PyTorch does."""
    z = as_complex(z)
    dtype = kwargs.get("dtype") or next((arg for arg in args if isinstance(arg, torch.dtype)), None)
    if dtype is None:
        return z
    if not dtype.is_complex:
        return apply(_to_copy, (z.re,), {"dtype": dtype})
    return Complex(
        apply(_to_copy, (z.re,), {"dtype": PART[dtype]}), apply(_to_copy, (z.im,), {"dtype": PART[dtype]})
    )


@entry_rule("_to_copy", "to")
def to_complex(x: Any, *args: Any, **kwargs: Any) -> Any:
    """A change of dtype that may make a real value complex."""
    dtype = kwargs.get("dtype") or next((arg for arg in args if isinstance(arg, torch.dtype)), None)
    if isinstance(x, Complex) or dtype is None or not dtype.is_complex:
        return NotImplemented
    re = apply(_to_copy, (x,), {"dtype": PART[dtype]})
    return Complex(re, torch.zeros_like(cast(Any, re)))
