"""Operators that do the same to the real and to the imaginary part: shapes, copies, indexing, sums."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils import _pytree as pytree

from hamsa_deploy.spectral.dispatch import apply, entry_rule, partwise_rule, rule, stacked
from hamsa_deploy.spectral.padded import padded, scattered
from hamsa_deploy.spectral.rules.portable import circularly_padded
from hamsa_deploy.spectral.values import PART, Complex, RealView, Value, as_complex, functions, is_complex, zeros_like

# Functionalisation has turned reshape, flatten, chunk, movedim, .. into these before the rules see them.
SAME_ON_BOTH_PARTS = """
    _unsafe_view reshape permute transpose t unsqueeze squeeze expand repeat tile flip roll
    unfold im2col slice select narrow index index_select gather embedding index_put scatter scatter_add
    masked_scatter select_scatter slice_scatter diagonal diag_embed tril triu cat concat stack split
    split_with_sizes unbind where masked_fill fill index_fill sum mean cumsum nan_to_num
""".split()

# Arguments that say where, not what. All other tensors and numbers are values, with a real and an imaginary part.
PLACES = {"condition", "index", "indices", "mask"}


@partwise_rule(*SAME_ON_BOTH_PARTS)
def on_both_parts(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """func(re) + i func(im); a real operand beside complex ones has an imaginary part of zeros."""
    re, im = (apply(func, *_arguments_of(part, func, args, kwargs)) for part in (0, 1))
    if isinstance(re, (list, tuple)):
        return [Complex(r, i) for r, i in zip(re, im, strict=True)]
    return Complex(re, im)


def _arguments_of(part: int, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
    """The arguments with which func computes one part: 0 real, 1 imaginary."""
    if not isinstance(func, torch._ops.OpOverload):  # a rule's own call: it has tensors for values, never numbers
        return pytree.tree_map(lambda leaf: leaf if _is_place(leaf) else _part(leaf, part), (args, kwargs))
    declared = func._schema.arguments
    by_name = {argument.name: argument for argument in declared}
    positional = tuple(_argument_part(arg, part, each) for arg, each in zip(args, declared, strict=False))
    return positional, {name: _argument_part(arg, part, by_name[name]) for name, arg in kwargs.items()}


def _argument_part(argument: Any, part: int, declared: torch.Argument) -> Any:
    if declared.name in PLACES:
        return argument
    if str(declared.type) == "number":
        return argument.imag if part else argument.real
    return pytree.tree_map(lambda leaf: _part(leaf, part), argument)


def _is_place(leaf: Any) -> bool:
    return isinstance(leaf, (torch.Tensor, Value)) and leaf.dtype in (torch.bool, torch.int64)


def _part(leaf: Any, part: int) -> Any:
    if isinstance(leaf, torch.dtype):
        return PART.get(leaf, leaf)
    if not isinstance(leaf, (torch.Tensor, Value)):
        return leaf
    z = as_complex(leaf)
    return z.im if part else z.re


@rule("view")
def view(z: Any, shape: Any) -> Any:
    """A change of shape; or of dtype, to the real numbers (.., re, im, re, im, ..) along the last axis."""
    if not isinstance(shape, torch.dtype):
        return on_both_parts(torch.reshape, (z, shape), {})
    z = as_complex(z)
    return z if shape.is_complex else torch.flatten(stacked(z), -2)


@entry_rule("view")
def view_as_dtype(x: Any, dtype: Any) -> Any:
    """A change of dtype from real to complex takes pairs along the last axis."""
    if is_complex(x) or not isinstance(dtype, torch.dtype) or not dtype.is_complex:
        return NotImplemented
    return view_as_complex(torch.unflatten(x, -1, (-1, 2)))


@rule("index_add")
def index_add(z: Any, dim: int, index: Any, source: Any, *, alpha: Any = 1) -> Any:
    """z with alpha * source added at index."""
    source = source if alpha == 1 else functions.mul(as_complex(source), alpha)
    return on_both_parts(torch.ops.aten.index_add.default, (z, dim, index, source), {})


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
    """Zeros around a real value along one axis are not written before somebody needs them; no engine wraps around."""
    if "circular" in (*options, *kwargs.values()):
        return circularly_padded(x, widths)
    plain = not kwargs and all(option in ("constant", None, 0) for option in options)
    known = len(widths) >= 2 and all(isinstance(width, int) and width >= 0 for width in widths)
    if is_complex(x) or not (plain and known):  # whether a width that varies is 0 must not be asked: that would fix it
        return NotImplemented
    axes = [axis for axis in range(len(widths) // 2) if any(widths[2 * axis : 2 * axis + 2])]
    if len(axes) != 1 or not x.dtype.is_floating_point:
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


@entry_rule("_neg_view")
def negated_later(x: Any) -> Any:
    """What PyTorch negates when somebody looks, the imaginary part of a conjugate, is negated here."""
    return functions.neg(x)


@rule("clone", "alias", "detach")
def same(z: Any, **kwargs: Any) -> Any:
    """Copies, which mean nothing in a graph without side effects."""
    return z


@rule("copy")
def copied(target: Any, source: Any, *_: Any) -> Any:
    """What target.copy_(source) leaves in the target: the source in the target's shape and dtype."""
    if not is_complex(target):
        return torch.broadcast_to(_cast(as_complex(source).re, target.dtype), target.shape)
    z = to(source, dtype=target.dtype)
    if z.shape == target.shape:
        return z
    return Complex(torch.broadcast_to(z.re, target.shape), torch.broadcast_to(z.im, target.shape))


@rule("sym_size")
def size(z: Any, dim: int) -> Any:
    """The length of an axis, which may vary."""
    return z.shape[dim]


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


@rule("real")
def real(z: Any) -> Any:
    """Re z."""
    return as_complex(z).re


@rule("imag")
def imag(z: Any) -> Any:
    """Im z."""
    return as_complex(z).im


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
    z, dtype = as_complex(z), _dtype_among(args, kwargs)
    if dtype is None:
        return z
    if dtype == torch.bool:
        return torch.ne(z, 0)
    if not dtype.is_complex:
        return _cast(z.re, dtype)
    return Complex(_cast(z.re, PART[dtype]), _cast(z.im, PART[dtype]))


@entry_rule("_to_copy")
def to_complex(x: Any, *args: Any, **kwargs: Any) -> Any:
    """A change of dtype that may make a real value complex."""
    dtype = _dtype_among(args, kwargs)
    if isinstance(x, Complex) or dtype is None or not dtype.is_complex:
        return NotImplemented
    re = _cast(x, PART[dtype])
    return Complex(re, zeros_like(re))


def _dtype_among(args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.dtype | None:
    return kwargs.get("dtype") or next((arg for arg in args if isinstance(arg, torch.dtype)), None)


def _cast(x: Any, dtype: torch.dtype) -> Any:
    """x in another dtype; itself where it has that already, so that a Mirrored value stays one."""
    return x if x.dtype == dtype else apply(torch.ops.aten._to_copy.default, (x,), {"dtype": dtype})
