"""Transforms of composite length: the steps of plans with several factors; factorisations.py has the equations.

A signal with zeros behind it, and a result that is cut off, leave out rows of the first step.
"""

from __future__ import annotations

import numpy as np
import torch

from hamsa_deploy.spectral.padded import Padded
from hamsa_deploy.spectral.products import as_columns, multiply, multiply_each
from hamsa_deploy.spectral.values import Real, at_times, gather, settled
from hamsa_runtime.dft.factorisations import Plan


def dft(x: Real, axis: int, plan: Plan, one_sided: bool) -> tuple[Real, Real]:
    """Real and imaginary part of the orthonormal DFT, in the order of the plan's half spectrum.

    Args:
        x: ordinary or Padded real tensor, (..., n, ...).
        axis: counted from the end.
        plan: with two factors or more, for length n.
        one_sided: whether what is stored at k > n/2 stands for n - k.
    """
    x, rows = _leading_rows(x, axis, plan)
    columns, restore = as_columns(x, axis)
    batch, width = list(columns.shape[:-2]), columns.shape[-1]
    re, im = _steps(columns, plan, rows, one_sided)
    shape = (*batch, len(plan.half_spectrum.half), width)
    return restore(torch.reshape(re, shape)), restore(torch.reshape(im, shape))


def _leading_rows(x: Real, axis: int, plan: Plan) -> tuple[Real, int]:
    """The samples as whole rows of the first step: of a signal with zeros behind it, only as many as hold samples."""
    rest = plan.n // plan.factors[0]
    if not isinstance(x, Padded) or not np.array_equal(x.index, np.arange(len(x.index))):
        return settled(x, Padded), plan.factors[0]
    rows = -(-len(x.index) // rest)
    return settled(Padded(x.value, axis, rows * rest, x.index), Padded), rows


def rows_of(x: Real, plan: Plan, frequencies: np.ndarray, in_turn: bool) -> Real:
    """Orthonormal DFT at some frequencies of 0 .. n // 2: real and imaginary parts in one tensor.

    The last step is one product for both parts, and one gather of rows puts them in order.

    Args:
        x: ordinary real tensor, (.., n, columns).
        frequencies: in any order.
        in_turn: whether each real part is followed by its imaginary part; or else all real ones come first.

    Returns:
        (.., 2 len(frequencies), columns).
    """
    batch, width = list(x.shape[:-2]), x.shape[-1]
    both = np.concatenate(plan.last_matrices(one_sided=True), axis=1)  # (P, 2 n_k, 2 n_k)
    found = multiply_each(both, _before_the_last(x, plan, plan.factors[0]))
    found = torch.reshape(found, (*batch, both.shape[0] * both.shape[1], width))
    last = plan.factors[-1]
    place = np.empty(plan.n // 2 + 1, dtype=np.int64)
    stored = np.arange(len(plan.half_spectrum.half))
    place[plan.half_spectrum.one_sided.half] = stored // last * 2 * last + stored % last
    rows = np.stack([place[frequencies], place[frequencies] + last], axis=1 if in_turn else 0)
    return gather(found, -2, rows.reshape(-1))


def _steps(x: Real, plan: Plan, rows: int, one_sided: bool) -> tuple[Real, Real]:
    """From (.., rows * n / n1, columns), the samples that are not zero, to two (.., P, n_k, columns)."""
    s = _before_the_last(x, plan, rows)
    re, im = plan.last_matrices(one_sided)
    return multiply_each(re, s), multiply_each(im, s)


def _before_the_last(x: Real, plan: Plan, rows: int) -> Real:
    """(.., P, 2 n_k, columns): what the last step takes."""
    batch, width = list(x.shape[:-2]), x.shape[-1]
    n1, *others = plan.factors
    rest = plan.n // n1
    s = multiply(plan.first_matrix()[:, :rows], torch.reshape(x, (*batch, rows, rest * width)), -2)
    matrices = plan.first_rows
    for step, factor in enumerate(others, start=1):
        rest //= factor
        s = torch.reshape(s, (*batch, matrices, 2 * factor, rest * width))
        if step < len(others):
            s = multiply_each(plan.middle_matrix(step), s)
        matrices *= factor
    return s


def idft(even: Real | None, odd: Real | None, axis: int, plan: Plan, times: np.ndarray, one_sided: bool) -> Real:
    """The signal at some times, from weighted halves in the plan's order; None for zero.

    The steps of `dft`, transposed and in the opposite order.
    """
    n1, *others = plan.factors
    rest = plan.n // n1
    terms = []
    for matrices, part in zip(plan.last_matrices(one_sided), (even, odd), strict=True):
        if part is not None:
            columns, restore = as_columns(part, axis)
            batch, width = list(columns.shape[:-2]), columns.shape[-1]
            spectrum = torch.reshape(columns, (*batch, len(matrices), others[-1], width))
            terms.append(multiply_each(matrices, spectrum, transposed=True))
    s = terms[0] if len(terms) == 1 else terms[0] + terms[1]
    inner = 1
    for step in range(len(others) - 1, 0, -1):
        inner *= others[step]
        matrix = plan.middle_matrix(step)
        s = torch.reshape(s, (*batch, len(matrix), 2 * others[step - 1], inner * width))
        s = multiply_each(matrix, s, transposed=True)
    rows = -(-(int(times.max()) + 1) // rest)  # the later ones are cut off
    s = torch.reshape(s, (*batch, 2 * plan.first_rows, rest * width))
    s = multiply(plan.first_matrix()[:, :rows], s, -2, transposed=True)
    return at_times(restore(torch.reshape(s, (*batch, rows * rest, width))), axis, times)
