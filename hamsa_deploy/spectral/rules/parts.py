"""Operators that do the same to the real and to the imaginary part: shapes, copies, indexing, sums."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils import _pytree as pytree

from hamsa_deploy.spectral.dispatch import apply, entry_rule, partwise_rule, rule
from hamsa_deploy.spectral.padded import padded, scattered
from hamsa_deploy.spectral.values import PART, Complex, RealView, Value, as_complex, is_complex, split, zeros_like

_to_copy = torch.ops.aten._to_copy.default


# Functionalisation has turned reshape, flatten, chunk, movedim, .. into these before the rules see them.
SAME_ON_BOTH_PARTS = """
    view _unsafe_view permute transpose t unsqueeze squeeze expand repeat tile flip roll
    slice select narrow index index_select gather index_put index_add scatter select_scatter slice_scatter
    diagonal tril triu cat concat stack split split_with_sizes unbind where sum mean cumsum zeros_like
""".split()


@partwise_rule(*SAME_ON_BOTH_PARTS)
def on_both_parts(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """func(re) + i func(im); a real operand beside complex ones has an imaginary part of zeros."""

    def only(part: int) -> Any:
        def pick(leaf: Any) -> Any:
            if not isinstance(leaf, (torch.Tensor, Value)) or not (is_complex(leaf) or leaf.dtype.is_floating_point):
                return leaf  # numbers, conditions, indices
            z = as_complex(leaf)
            return z.im if part else z.re

        return apply(func, *pytree.tree_map(pick, (args, kwargs)))

    re, im = only(0), only(1)
    if isinstance(re, (list, tuple)):
        return [Complex(r, i) for r, i in zip(re, im, strict=True)]
    return Complex(re, im)


@partwise_rule("masked_fill", "fill", "full_like")
def filled(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Complex:
    """Operators whose last argument is a value, real or complex, to fill with."""
    z, *others = args
    *others, value = others
    re, im = split(value)
    z, kwargs = as_complex(z), {key: v for key, v in kwargs.items() if key != "dtype"}
    if im is None:
        im = re * 0
    return Complex(apply(func, (z.re, *others, re), kwargs), apply(func, (z.im, *others, im), kwargs))


@partwise_rule("pad", "constant_pad_nd")
def pad(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Complex:
    """Padding; a value to pad with belongs to the real part unless it is complex itself."""
    z, widths, *rest = args
    *mode, value = rest if rest and not isinstance(rest[-1], str) else (*rest, None)
    re_fill, im_fill = ([], []) if value is None else ([value.real], [value.imag])
    z = as_complex(z)
    return Complex(
        apply(func, (z.re, widths, *mode, *re_fill), kwargs), apply(func, (z.im, widths, *mode, *im_fill), kwargs)
    )


@entry_rule("pad", "constant_pad_nd")
def pad_with_zeros(x: Any, widths: Sequence[int], *options: Any, **kwargs: Any) -> Any:
    """Zeros around a real value along one axis are not written before somebody needs them."""
    plain = not kwargs and all(option in ("constant", None, 0) for option in options)
    known = len(widths) >= 2 and all(isinstance(width, int) and width >= 0 for width in widths)
    axes = [axis for axis in range(len(widths) // 2) if any(widths[2 * axis : 2 * axis + 2])]
    if is_complex(x) or not (plain and known and len(axes) == 1) or not x.dtype.is_floating_point:
        return NotImplemented
    axis = -1 - axes[0]
    if not isinstance(x.shape[axis], int):
        return NotImplemented
    return padded(x, axis, *widths[2 * axes[0] : 2 * axes[0] + 2])


@entry_rule("slice_scatter")
def slice_scatter(x: Any, source: Any, *args: Any, **kwargs: Any) -> Any:
    """A real value written into zeros is that value with zeros around it."""
    if is_complex(x) or is_complex(source) or kwargs:
        return NotImplemented
    return scattered(x, source, args)


@rule("clone", "detach", "contiguous", "alias", "lift_fresh")
def same(z: Any, **kwargs: Any) -> Any:
    """Copies, which mean nothing in a graph without side effects."""
    return z


@rule("copy")
def copied(target: Any, source: Any, *_: Any) -> Any:
    """What target.copy_(source) leaves in the target."""
    z = as_complex(source)
    if z.shape == target.shape:
        return z
    return Complex(torch.broadcast_to(z.re, target.shape), torch.broadcast_to(z.im, target.shape))


@rule("ones_like")
def ones_like(z: Complex, **kwargs: Any) -> Complex:
    """1 + 0 i everywhere."""
    return Complex(torch.ones_like(z.re), zeros_like(z.re))


@rule("_assert_tensor_metadata")
def assert_metadata(*args: Any, **kwargs: Any) -> None:
    """What torch.export asserts of a complex tensor has no meaning for its parts."""


@entry_rule("fft_fftshift")
def fftshift(x: Any, dim: Sequence[int] | None = None) -> Any:
    """Rolls by half of each length, rounded down."""
    dims = list(range(x.ndim)) if dim is None else list(dim)
    return torch.roll(x, [x.shape[d] // 2 for d in dims], dims)


@entry_rule("fft_ifftshift")
def ifftshift(x: Any, dim: Sequence[int] | None = None) -> Any:
    """Rolls by half of each length, rounded up."""
    dims = list(range(x.ndim)) if dim is None else list(dim)
    return torch.roll(x, [-(x.shape[d] // 2) for d in dims], dims)


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


@rule("_to_copy")
def to(z: Any, *args: Any, **kwargs: Any) -> Any:
    """A change of dtype. To a real dtype it drops the imaginary part, as PyTorch does."""
    z = as_complex(z)
    dtype = kwargs.get("dtype") or next((arg for arg in args if isinstance(arg, torch.dtype)), None)
    if dtype is None:
        return z
    if not dtype.is_complex:
        return apply(_to_copy, (z.re,), {"dtype": dtype})
    return Complex(apply(_to_copy, (z.re,), {"dtype": PART[dtype]}), apply(_to_copy, (z.im,), {"dtype": PART[dtype]}))


@entry_rule("_to_copy")
def to_complex(x: Any, *args: Any, **kwargs: Any) -> Any:
    """A change of dtype that may make a real value complex."""
    dtype = kwargs.get("dtype") or next((arg for arg in args if isinstance(arg, torch.dtype)), None)
    if isinstance(x, Complex) or dtype is None or not dtype.is_complex:
        return NotImplemented
    re = apply(_to_copy, (x,), {"dtype": PART[dtype]})
    return Complex(re, zeros_like(re))
