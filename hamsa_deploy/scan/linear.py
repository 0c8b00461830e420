"""h = a h + b along the first axis: all states, in the form that is cheapest on the engine.

Where all steps have one decay, of the weights alone, h is b times a lower triangular matrix of its powers, in chunks of
Q steps, whose last states a scan of L / Q steps joins; or b's convolution with them:

    h[kQ + t] = sum_{s <= t} a^(t - s) b[kQ + s] + a^(t + 1) h[kQ - 1]

Powers are computed in float64; those of decays beyond 1 would overflow, and take none of these forms.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile
from typing import Any

import torch
import torch.fx.traceback as fx_traceback

from hamsa_deploy.scan import loops
from hamsa_deploy.scan.forms import Chunks, Convolution, Form, Loop, Size, Tree, cheapest, kind_of
from hamsa_deploy.scan.trees import states_of_tree
from hamsa_deploy.spectral import compilation
from hamsa_deploy.spectral.dispatch import apply, full, lowering, rule
from hamsa_deploy.spectral.provenance import FLOAT32, module_path
from hamsa_deploy.spectral.values import Complex, Constant, functions, is_complex
from hamsa_runtime.manifest import Scan

aten = torch.ops.aten


@contextmanager
def in_float32() -> Iterator[None]:
    """What is computed meanwhile stays in float32, whatever the bundle's precision: errors of steps and decays add up
    over all that follows."""
    with fx_traceback.annotate({FLOAT32: "scan: errors of its steps and its state add up along it"}):
        yield


def chosen(
    kind: str, length: Any, state: tuple[int, ...], *, is_complex: bool = False, decays: int = 0, noted: bool = True
) -> Form:
    """The form that a scan gets: what was asked for, or else the cheapest; a loop, or the usual chunks, where the
    length varies.

    Args:
        kind, length, state, is_complex, decays: see `Size`.
        noted: whether the manifest lists it; not where it is a part of another.
    """
    compiling = compilation.current()
    if isinstance(length, int):
        size = Size(kind, length, state, is_complex, decays)
        form: Form = compiling.forms.get(size) or cheapest(size, compiling.rates, transforms=not compiling.native)
    else:
        form = cheapest(Size(kind, VARYING, state), compiling.rates) if kind == "ssd" else Loop(1)
    if noted:
        module = module_path(compiling.node) if compiling.node is not None else ""
        known = length if isinstance(length, int) else None
        compiling.scans.append(Scan(module, kind, known, state, kind_of(form), form.factors, is_complex, decays))
    return form


VARYING = 10**6  # steps: more than the chunks of any form have


@rule("linear_recurrence")
@lowering("linear_recurrence")
def linear_recurrence(a: Any, b: Any, initial_state: Any = None) -> Any:
    """See `operators.linear_recurrence`."""
    if a.ndim < b.ndim:
        a = functions.reshape(a, [a.shape[0], *[1] * (b.ndim - a.ndim), *a.shape[1:]])
    a = _without_repetition(a)
    if initial_state is not None and list(initial_state.shape) != list(b.shape[1:]):
        initial_state = apply(aten.expand.default, (initial_state, list(b.shape[1:])), {})
    with in_float32():  # also what would be computed later only
        h = _states(a, b, initial_state, noted=True)
        return Complex(full(h.re), full(h.im)) if isinstance(h, Complex) else full(h)


def part_of_scan(a: Any, b: Any, first: Any) -> tuple[Any, Any]:
    """All states and the last one of a recurrence that is a part of another scan."""
    form = chosen("linear_recurrence", b.shape[0], _known(b.shape[1:]), noted=False)
    return states_of(a, b, first, form)


def _known(shape: Sequence[Any]) -> tuple[int, ...]:
    """The sizes of a state without the batch, where that varies."""
    return tuple(size for size in shape if isinstance(size, int))


def _without_repetition(a: Any) -> Any:
    """Constant decays with size 1 along all axes, time among them, along which they are the same."""
    if not isinstance(a, Constant):
        return a
    for axis, size in enumerate(a.shape):
        if size > 1 and _is_the_same(a.value, axis):
            a = functions.narrow(a, axis, 0, 1)
    return a


def _is_the_same(value: torch.Tensor, axis: int) -> bool:
    return compilation.eagerly(lambda: bool((value == value.narrow(axis, 0, 1)).all()))


def _decays_of(a: Any) -> int:
    """How many constant ones, see `Size`."""
    if not isinstance(a, Constant) or a.shape[0] > 1:
        return 0
    return math.prod(a.shape) if compilation.eagerly(lambda: bool((a.value.abs() <= 1).all())) else 0


def _states(a: Any, b: Any, initial_state: Any, *, noted: bool) -> Any:
    """(L, ...)."""
    form = chosen(
        "linear_recurrence", b.shape[0], _known(b.shape[1:]), is_complex=is_complex(a) or is_complex(b),
        decays=_decays_of(a) if isinstance(b.shape[0], int) else 0, noted=noted,
    )  # fmt: skip
    if isinstance(form, Chunks):
        return _in_products(a, b, initial_state, form)
    if isinstance(form, Convolution):
        return _convolved(a, b, initial_state, form)
    return states_of(a, b, _first_state(b) if initial_state is None else initial_state, form)[0]


def _first_state(b: Any) -> Any:
    return functions.zeros_like(functions.select(b, 0, 0))


def states_of(a: Any, b: Any, first: Any, form: Form) -> tuple[Any, Any]:
    """All states (L, ...) and the last one of h = a h + b, by a loop or a tree."""
    if isinstance(b.shape[0], int) and b.shape[0] == 1:
        h = a * first + b
        return h, functions.squeeze(h, 0)
    if isinstance(form, Loop):
        return loops.linear(first, a, b, form.steps)
    assert isinstance(form, Tree)
    length, *state = b.shape
    axes = _like_axes(a, b)
    a, b, first = (_with_one_axis(x, axes) for x in (a, b, first))
    decays = a if a.shape[0] == 1 else loops.padded(a, form.length, 1.0)
    h = states_of_tree(decays, loops.padded(b, form.length), functions.unsqueeze(first, 0), form)
    h = functions.reshape(functions.narrow(h, 0, 0, length), [length, *state])
    return h, functions.select(h, 0, length - 1)


def _like_axes(a: Any, b: Any) -> int:
    """How many of the last axes have b's sizes in a, or 1 in a, all of them: as one axis they are broadcast alike. A
    tree needs an axis more, for its runs, and engines of phones take no more than five."""
    both = list(zip(reversed(a.shape[1:]), reversed(b.shape[1:]), strict=True))
    known = list(takewhile(lambda sizes: all(isinstance(size, int) for size in sizes), both))
    same = takewhile(lambda sizes: sizes[0] == sizes[1], known)
    repeated = takewhile(lambda sizes: sizes[0] == 1, known)
    return max(len(list(same)), len(list(repeated)))


def _with_one_axis(x: Any, axes: int) -> Any:
    """The last ones as one."""
    kept = x.ndim - axes
    return x if axes < 2 else functions.reshape(x, [*x.shape[:kept], math.prod(x.shape[kept:])])


def _powers(a: Any, count: int) -> Any:
    """a^0 .. a^(count - 1) of constant decays (1, ...), as a constant (count, ...)."""

    def compute() -> torch.Tensor:
        steps = a.wide().resolve_conj().expand(count, *a.shape[1:]).clone()
        steps[0] = 1
        return steps.cumprod(0)

    return Constant(compilation.eagerly(compute), a.dtype)


def _in_products(a: Any, b: Any, initial_state: Any, form: Chunks) -> Any:
    chunk, length, state = form.steps, b.shape[0], list(b.shape[1:])
    trips = -(-length // chunk)
    powers = _powers(a, chunk + 1)
    runs = functions.reshape(loops.padded(b, trips * chunk), [trips, chunk, *state])
    h = _triangular_product(powers, runs)
    if trips > 1 or initial_state is not None:
        first = _first_state(b) if initial_state is None else initial_state
        before = functions.unsqueeze(first, 0)
        if trips > 1:
            ends = functions.narrow(functions.select(h, 1, chunk - 1), 0, 0, trips - 1)
            before = functions.cat([before, _states(functions.narrow(powers, 0, chunk, 1), ends, first, noted=False)])
        h = h + functions.unsqueeze(functions.narrow(powers, 0, 1, chunk), 0) * functions.unsqueeze(before, 1)
    return functions.narrow(functions.reshape(h, [trips * chunk, *state]), 0, 0, length)


def _triangular_product(powers: Any, b: Any) -> Any:
    """sum_{s <= t} a^(t - s) b[:, s] from a^0 .. a^Q (Q + 1, ...) and b (T, Q, ...): one product of matrices for each
    decay."""
    chunk = b.shape[1]
    own = [axis for axis in range(2, b.ndim) if powers.shape[axis - 1] > 1]
    others = [axis for axis in range(2, b.ndim) if axis not in own]
    order = [*own, 1, 0, *others]
    shape = [b.shape[axis] for axis in order]

    def compute() -> torch.Tensor:
        exponents = torch.arange(chunk)[:, None] - torch.arange(chunk)
        rows = powers.wide().flatten(1)[exponents.clamp(min=0)] * (exponents >= 0)[..., None]
        return rows.permute(2, 0, 1).contiguous()

    matrices = Constant(compilation.eagerly(compute), powers.dtype)
    if not own:
        matrices = functions.select(matrices, 0, 0)
        columns = functions.reshape(functions.permute(b, order), [chunk, -1])
    else:
        columns = functions.reshape(functions.permute(b, order), [matrices.shape[0], chunk, -1])
    h = functions.reshape(functions.matmul(matrices, columns), shape)
    return functions.permute(h, [order.index(axis) for axis in range(b.ndim)])


def _convolved(a: Any, b: Any, initial_state: Any, form: Convolution) -> Any:
    length = b.shape[0]
    points = form.points(length)
    powers = _powers(a, length + 1)
    kernel = functions.narrow(powers, 0, 0, length)
    if is_complex(a) or is_complex(b):
        spectra = [apply(aten.fft_fft.default, (each, points, 0), {}) for each in (b, kernel)]
        h = apply(aten.fft_ifft.default, (spectra[0] * spectra[1], points, 0), {})
    else:
        spectra = [apply(aten.fft_rfft.default, (each, points, 0), {}) for each in (b, kernel)]
        h = apply(aten.fft_irfft.default, (spectra[0] * spectra[1], points, 0), {})
    h = functions.narrow(h, 0, 0, length)
    return h if initial_state is None else h + functions.narrow(powers, 0, 1, length) * initial_state
