"""The values that the compiler computes with, beside ordinary tensors.

    Constant(value)              depends on weights only; kept in float64 until an ordinary operator needs it
    Complex(re, im)              a complex tensor as two real ones, and what is known of its magnitude
    RealView(z)                  view_as_real(z), not stacked before somebody needs the stacked form
    Mirrored(plus, minus)        a real tensor along a frequency axis, on half of the frequencies (mirrored.py)
    Padded(value, index)         a real tensor that is zero elsewhere along an axis (padded.py)
    Frames(signal, n, hop)       frames of a signal, not cut out yet (frames.py)
    Part(both, number)           the real or the imaginary parts, of a product that has both
    LazyInverse(compute)         the result of an inverse transform, not computed yet (lazy_inverse.py)
    Spectrum, Filtered           a Complex: the transform of a value, times a constant; not computed yet (spectrum.py)

`re`, `im`, `plus` and `minus` are *real values*: a torch.Tensor, a Constant, Mirrored, Padded or LazyInverse. All
classes take part in ordinary PyTorch expressions: `a.re * b.re` or `torch.sigmoid(m)` reach `dispatch.apply` through
`__torch_function__`, so a rule reads like the mathematics it states. dispatch.py imports these classes, and tells
`Value` about `apply`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NoReturn, TypeAlias, cast

import numpy as np
import torch

from hamsa_deploy.spectral import compilation

# torch.Tensor, Constant or a Lazy. PyTorch's annotations admit no tensor-like classes, so a checker sees Any.
Real: TypeAlias = Any
Deferred: TypeAlias = Real | Callable[[], Real]
Rule: TypeAlias = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]  # (operator, args, kwargs) -> result

functions: Any = torch  # torch.add and the rest take our values through __torch_function__; their annotations do not

WIDE = {
    torch.float16: torch.float64,
    torch.bfloat16: torch.float64,
    torch.float32: torch.float64,
    torch.complex32: torch.complex128,
    torch.complex64: torch.complex128,
}
PART = {torch.complex32: torch.float16, torch.complex64: torch.float32, torch.complex128: torch.float64}


def rules_missing(func: Any, *_: Any) -> NoReturn:
    """What an operator on values does as long as nobody has loaded the rules."""
    operator = getattr(func, "__name__", func)
    raise RuntimeError(f"no rule is loaded for {operator}: import hamsa_deploy.spectral.compiler, which loads all")


class Value:
    """Base class: routes operators and torch functions to the function that `dispatched_by` was given."""

    shape: torch.Size
    dtype: torch.dtype
    _apply: ClassVar[Rule] = staticmethod(rules_missing)

    @staticmethod
    def dispatched_by(apply: Rule) -> Rule:
        """Decorates the one function through which every operator on values goes."""
        Value._apply = staticmethod(apply)
        return apply

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return Value._apply(func, args, kwargs or {})

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def size(self, dim: int) -> int:
        return self.shape[dim]

    def to(self, dtype: torch.dtype) -> Any:
        return Value._apply(torch.ops.aten._to_copy.default, (self,), {"dtype": dtype})

    def __add__(self, other: Any) -> Any:
        return functions.add(self, other)

    def __radd__(self, other: Any) -> Any:
        return functions.add(self, other)

    def __sub__(self, other: Any) -> Any:
        return functions.sub(self, other)

    def __mul__(self, other: Any) -> Any:
        return functions.mul(self, other)

    def __rmul__(self, other: Any) -> Any:
        return functions.mul(self, other)

    def __truediv__(self, other: Any) -> Any:
        return functions.div(self, other)

    def __neg__(self) -> Any:
        return functions.neg(self)


class Lazy(Value):
    """A real tensor that is not there in full."""

    def materialise(self) -> Real:
        """The value that it stands for, one step less lazy."""
        raise NotImplementedError


def settled(value: Any, kind: type[Lazy]) -> Any:
    """`value`, or what it stands for while that is of a lazy kind."""
    while isinstance(value, kind):
        value = value.materialise()
    return value


def is_zero(value: Any) -> bool:
    """Whether a value is known to be zero everywhere."""
    if isinstance(value, Constant):
        return not compilation.eagerly(lambda: bool(value.value.any()))
    return compilation.current().is_zero(value)


def zeros_like(value: Any) -> Any:
    """Zeros that are known to be zeros."""
    zeros: Any = torch.zeros_like(value)
    compilation.current().mark_zero(zeros)
    return zeros


class Constant(Value):
    """A tensor that depends on weights and literals only.

    Args:
        value: the tensor, real or complex; computed in float64 where it was computed at all.
        dtype: the dtype that the user's model gives it, and the one it is emitted in.
        name: the parameter or buffer it is, unchanged; None when it was computed.
    """

    def __init__(self, value: torch.Tensor, dtype: torch.dtype, name: str | None = None) -> None:
        self.value, self.dtype, self.name = value, dtype, name
        self.shape = value.shape
        self.parts: tuple[Constant, Constant] | None = None  # real and imaginary, once they have been asked for
        self.place: compilation.Stored | None = None  # in the real graph, once it has been needed there

    def wide(self) -> torch.Tensor:
        """The value in float64 or complex128; integers and booleans as they are."""
        return self.value.to(WIDE.get(self.value.dtype, self.value.dtype))


def constant_from(array: np.ndarray, dtype: torch.dtype) -> Any:
    """A Constant of our own making: a matrix, weights, an order of frequencies."""
    return Constant(compilation.eagerly(lambda: torch.from_numpy(np.array(array, order="C"))), dtype)


def gather(x: Real, axis: int, order: np.ndarray) -> Real:
    """The entries of x along an axis in another order."""
    return torch.index_select(x, axis, constant_from(order, torch.int64))


def at_times(x: Real, axis: int, times: np.ndarray) -> Real:
    """The entries of x at some positions along an axis."""
    if len(times) == x.shape[axis] and np.array_equal(times, np.arange(len(times))):
        return x
    if np.array_equal(times, np.arange(times[0], times[0] + len(times))):
        return torch.narrow(x, axis, int(times[0]), len(times))
    return gather(x, axis, times)


class Complex(Value):
    """A complex tensor as a pair of real values of one shape.

    Args:
        re, im: real values, or functions that compute them when they are first asked for. (The imaginary part of an
            inverse transform is half of its cost, and `.real` follows it nearly always.)
        magnitude: computes |z| where that is known cheaper than by a square root.
        unsigned_zeros: whether a zero that is the imaginary part is +0, whatever its sign is here. PyTorch multiplies
            by r + 0i for a real r, and adds -0 + 0 where we have -0 alone; bins 0 and n/2 of a spectrum are such.
    """

    def __init__(
        self,
        re: Deferred,
        im: Deferred,
        magnitude: Callable[[], Real] | None = None,
        *,
        unsigned_zeros: bool = False,
    ) -> None:
        self._re, self._im = compilation.deferred(re), compilation.deferred(im)
        self.unsigned_zeros = unsigned_zeros
        self.conjugate: Complex | None = None  # of which this is the conjugate: their product is real
        self._magnitude = compilation.deferred(magnitude) if magnitude else None

    @property
    def re(self) -> Real:
        self._re = _computed(self._re)
        return self._re

    @property
    def im(self) -> Real:
        self._im = _computed(self._im)
        return self._im

    @property
    def shape(self) -> torch.Size:  # type: ignore[override]
        return cast(torch.Size, self.re.shape)

    @property
    def dtype(self) -> torch.dtype:  # type: ignore[override]
        return torch.complex128 if self.re.dtype == torch.float64 else torch.complex64

    @property
    def magnitude_is_known(self) -> bool:
        return self._magnitude is not None

    def magnitude(self) -> Real:
        """|z|; the square root is taken once per value, however often |z| is used."""
        if self._magnitude is None:
            re, im = self.re, self.im
            turned = isinstance(re, Part) and re.turned and re.is_first_of(im)
            if turned:  # one transposition behind it, and not two before
                re, im = re.exchanged(), im.exchanged()
            root: Real = torch.sqrt(re * re + im * im)
            root = torch.transpose(root, -1, -2) if turned else root
            compilation.current().mark_nonnegative(root)
        else:
            root = self._magnitude()
        self._magnitude = lambda: root
        return root


def _computed(part: Deferred) -> Real:
    return part() if callable(part) and not isinstance(part, (torch.Tensor, Value)) else part


class Part(Lazy):
    """The real or the imaginary parts of one product, (.., rows, columns), which has both.

    Args:
        both: an ordinary real tensor, (.., 2 rows, columns).
        number: 0 for the real parts, 1 for the imaginary ones.
        in_turn: whether the rows are a real one, its imaginary one, the next real one, ..; or all real ones first.
        turned: whether the last two axes are exchanged: (.., columns, rows).
    """

    def __init__(self, both: Real, number: int, *, in_turn: bool, turned: bool) -> None:
        self.both, self.number, self.in_turn, self.turned = both, number, in_turn, turned
        self._value: Real = None

    @property
    def rows(self) -> int:
        """How many."""
        return int(self.both.shape[-2]) // 2

    @property
    def shape(self) -> torch.Size:  # type: ignore[override]
        columns = self.both.shape[-1]
        last = (columns, self.rows) if self.turned else (self.rows, columns)
        return torch.Size((*self.both.shape[:-2], *last))

    @property
    def dtype(self) -> torch.dtype:  # type: ignore[override]
        return cast(torch.dtype, self.both.dtype)

    def materialise(self) -> Real:
        """The rows, cut out once."""
        if self._value is None:
            if self.in_turn:
                rows = torch.select(torch.unflatten(self.both, -2, (self.rows, 2)), -2, self.number)
            else:
                rows = torch.narrow(self.both, -2, self.number * self.rows, self.rows)
            self._value = torch.transpose(rows, -1, -2) if self.turned else rows
        return self._value

    def exchanged(self) -> Part:
        """With the last two axes exchanged."""
        return Part(self.both, self.number, in_turn=self.in_turn, turned=not self.turned)

    def pairs(self) -> Real:
        """(.., rows, columns, 2) or, turned, (.., columns, rows, 2): with the other part beside it."""
        last = self.both.ndim
        if self.turned and self.in_turn:
            return torch.unflatten(torch.transpose(self.both, -1, -2), -1, (self.rows, 2))
        if self.turned:
            pairs = torch.unflatten(torch.transpose(self.both, -1, -2), -1, (2, self.rows))
            return torch.transpose(pairs, -1, -2)
        if self.in_turn:
            return torch.transpose(torch.unflatten(self.both, -2, (self.rows, 2)), -1, -2)
        pairs = torch.unflatten(self.both, -2, (2, self.rows))
        return torch.permute(pairs, [*range(last - 2), last - 1, last, last - 2])

    def is_first_of(self, other: Any) -> bool:
        """Whether this has the real parts and the other one the imaginary parts of the same, in one order."""
        return (
            isinstance(other, Part)
            and self.both is other.both
            and (self.number, other.number) == (0, 1)
            and self.turned == other.turned
        )


def joined(re: Real, im: Real) -> Real:
    """Both below each other along the last axis but one."""
    if isinstance(re, Part) and re.is_first_of(im) and not re.turned and not re.in_turn:
        return re.both
    return torch.cat([re, im], -2)


class RealView(Value):
    """view_as_real(z) of shape (..., 2); selecting one part of it costs nothing."""

    def __init__(self, z: Complex) -> None:
        self.z = z

    @property
    def shape(self) -> torch.Size:  # type: ignore[override]
        return torch.Size((*self.z.shape, 2))

    @property
    def dtype(self) -> torch.dtype:  # type: ignore[override]
        return cast(torch.dtype, self.z.re.dtype)


def is_complex(value: Any) -> bool:
    """True for complex values, complex constants and complex Python numbers."""
    if isinstance(value, Constant):
        return value.dtype.is_complex
    return isinstance(value, (Complex, complex))


def split(value: Any) -> tuple[Any, Any]:
    """(re, im) of anything a rule may be given; im is None where the value is real."""
    if isinstance(value, Complex):
        return value.re, value.im
    if isinstance(value, complex):
        return value.real, value.imag
    if isinstance(value, Constant) and value.dtype.is_complex:
        if value.parts is None:
            value.parts = functions.real(value), functions.imag(value)
        return value.parts
    return value, None


def as_complex(value: Any) -> Complex:
    """A Complex from anything a rule may be given."""
    if isinstance(value, Complex):
        return value
    re, im = split(value)
    return Complex(re, zeros_like(re) if im is None else im)


def viewed_as_real(x: torch.Tensor) -> torch.Tensor:
    """What stands for a complex tensor among the inputs and outputs of a real form, (..., 2); any other as it is."""
    return torch.view_as_real(x.resolve_conj()).contiguous() if x.is_complex() else x
