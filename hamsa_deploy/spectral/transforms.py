"""Emits the real transform of a plan along one axis, and its inverse, as products with constants.

This is the one place where the shape of a product is chosen.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

from hamsa_deploy.spectral import trace
from hamsa_deploy.spectral.dispatch import emit
from hamsa_deploy.spectral.mirrored import EVEN, ODD, Mirrored
from hamsa_deploy.spectral.plans import Plan, plan_for
from hamsa_deploy.spectral.provenance import module_path
from hamsa_deploy.spectral.values import Real, constant_from, gather


def real_dft(x: Real, axis: int) -> tuple[Mirrored, Mirrored]:
    """Orthonormal DFT of a real value.

    Args:
        x: real, (..., n, ...).
        axis: the axis of length n, counted from the end.

    Returns:
        The real part, even, and the imaginary part, odd.
    """
    if isinstance(x, Mirrored):
        return _dft_of_mirrored(x, axis)
    plan = plan_for(x.shape[axis])
    _note(plan)
    x_columns, restore = _columns(x, axis)
    re, im = _dense_dft(x_columns, plan) if plan.is_dense else _factored_dft(x_columns, plan)
    return (
        Mirrored(restore(re), None, EVEN, axis, plan.lattice),
        Mirrored(restore(im), None, ODD, axis, plan.lattice),
    )


def real_idft(re: Real, im: Real, axis: int) -> Real:
    """Re of the orthonormal inverse DFT of re + i im.

    Only the Hermitian part (Z[k] + conj(Z[-k])) / 2 contributes, so half of the frequencies suffice.

    Args:
        re, im: real, (..., n, ...); Mirrored ones cost nothing to halve.
        axis: the frequency axis, counted from the end.

    Returns:
        Real, (..., n, ...).
    """
    plan = plan_for(re.shape[axis])
    _note(plan)
    terms = []
    for part, (value, parity) in enumerate(((re, EVEN), (im, ODD))):
        half = _hermitian_half(value, axis, plan, parity)
        if half is None:
            continue
        columns, restore = _columns(half, axis)
        terms.append(_dense_idft(columns, plan, part) if plan.is_dense else _factored_idft(columns, plan, part))
    if not terms:
        return torch.zeros_like(re)
    total = terms[0] if len(terms) == 1 else terms[0] + terms[1]
    if not plan.is_dense:
        total = _finish_idft(total, plan)
    return restore(total)


def _hermitian_half(value: Real, axis: int, plan: Plan, parity: int) -> Real | None:
    """weight (value[k] + parity * value[-k]) on the half lattice, or None where it vanishes.

    The weights are here and not in the matrices, so that the inverse has the matrices of the forward transform.
    """
    if not isinstance(value, Mirrored) or value.axis != axis or not value.lattice.same_order(plan.lattice):
        value = _halved(value, axis, plan)
    if value.parity == -parity:
        return None
    weight = plan.lattice.weight.reshape(-1, *[1] * (-axis - 1))
    if value.parity == parity:
        return value.plus * constant_from(2 * weight, value.dtype)
    both = value.plus + value.minus if parity == EVEN else value.plus - value.minus
    return both * constant_from(weight, value.dtype)


def _halved(value: Real, axis: int, plan: Plan) -> Mirrored:
    """A full spectrum as a Mirrored, by two gathers."""
    if isinstance(value, Mirrored):
        value = value.materialise()
    plus, minus = (gather(value, axis, order) for order in (plan.lattice.half, plan.lattice.mirror))
    return Mirrored(plus, minus, 0, axis, plan.lattice)


def _dft_of_mirrored(x: Mirrored, axis: int) -> tuple[Mirrored, Mirrored]:
    """A transform along another axis is pointwise along x's own, and linear: a parity survives."""
    if x.axis == axis:
        return real_dft(x.materialise(), axis)
    plus_re, plus_im = real_dft(x.plus, axis)
    minus_re, minus_im = (None, None) if x.parity else real_dft(x.minus, axis)

    def part(plus: Mirrored, minus: Mirrored | None) -> Mirrored:
        inner = x.on_half(plus.plus, minus.plus if minus else None, x.parity)
        return Mirrored(inner, None, plus.parity, axis, plus.lattice)

    return part(plus_re, minus_re), part(plus_im, minus_im)


def _columns(x: Real, axis: int) -> tuple[Real, Callable[[Real], Real]]:
    """x as (batch..., n, columns), and the way back."""
    before, after = list(x.shape[:axis]), list(x.shape[axis:])[1:]
    if axis == -1:
        return torch.unsqueeze(x, -1), lambda y: torch.squeeze(y, -1)
    if axis == -2:
        return x, lambda y: y
    flat = torch.reshape(x, (*before, x.shape[axis], math.prod(after)))
    return flat, lambda y: torch.reshape(y, (*before, y.shape[-2], *after))


def _product(matrix: np.ndarray, x: Real, *, transposed: bool = False) -> Real:
    """constant @ x; the constant has one matrix, or one for each entry of x's last batch axis.

    A transposed constant is stored as it is and transposed in the graph: engines do that once, when they load it.
    """
    stored = emit(constant_from(matrix, x.dtype))
    return torch.matmul(torch.transpose(stored, -1, -2) if transposed else stored, x)


def _dense_dft(x: Real, plan: Plan) -> tuple[Real, Real]:
    c, s = plan.dense_matrices()
    return _product(c, x), _product(s, x)


def _dense_idft(half: Real, plan: Plan, part: int) -> Real:
    return _product(plan.dense_matrices()[part], half, transposed=True)


def _factored_dft(x: Real, plan: Plan) -> tuple[Real, Real]:
    n1, n2 = plan.factors
    batch, columns = list(x.shape[:-2]), x.shape[-1]
    s = _product(plan.first_matrix(), torch.reshape(x, (*batch, n1, n2 * columns)))
    s = torch.reshape(s, (*batch, n1 // 2 + 1, 2 * n2, columns))
    re, im = (_product(matrices, s) for matrices in plan.second_matrices())
    shape = (*batch, len(plan.lattice.half), columns)
    return torch.reshape(re, shape), torch.reshape(im, shape)


def _factored_idft(half: Real, plan: Plan, part: int) -> Real:
    n1, n2 = plan.factors
    batch, columns = list(half.shape[:-2]), half.shape[-1]
    spectrum = torch.reshape(half, (*batch, n1 // 2 + 1, n2, columns))
    return _product(plan.second_matrices()[part], spectrum, transposed=True)


def _finish_idft(s: Real, plan: Plan) -> Real:
    n1, n2 = plan.factors
    batch, columns = list(s.shape[:-3]), s.shape[-1]
    s = torch.reshape(s, (*batch, 2 * (n1 // 2 + 1), n2 * columns))
    x = _product(plan.first_matrix(), s, transposed=True)
    return torch.reshape(x, (*batch, plan.n, columns))


def _note(plan: Plan) -> None:
    state = trace.current()
    module = module_path(state.node) if state.node is not None else ""
    row = {"module": module, "length": plan.n, "factors": list(plan.factors), "kind": plan.kind}
    state.transforms.append(row)
