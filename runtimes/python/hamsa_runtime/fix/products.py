r"""DFT along the rows of a matrix as products with constants: x, (.., n p, c), to (.., 2 h, c) or (.., n, c).

The rows of a complex signal hold the real and the imaginary part of each sample in turn (p = 2; p = 1 for a real one),
and so do those of a spectrum. With the matrices of hamsa_runtime.dft.factorisations, C = cos, S = -sin,

    real x          re X[k]  = C x,              im X[k]  = S x,             im X[-k] = -S x
    x = a + i b     re X[k]  = C a - S b,        im X[k]  = S a + C b
                    re X[-k] = C a + S b,        im X[-k] = C b - S a        for k in half a spectrum

so that half a spectrum's matrices make all of it: in the last step of a plan there is a row for each of these, and one
gather puts them in order. An inverse is a forward transform read backwards, x[t] = X[-t] / n; one of half a spectrum
has a plan's steps transposed, in the opposite order.

All scales are inside the first matrix. `lead` says what stands before the rows, as Reshape wants it: 0 for each axis.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from hamsa_runtime.dft import rader
from hamsa_runtime.dft.factorisations import Plan, plan_for, rows_of_dft
from hamsa_runtime.fix.emission import Nodes

Lead = tuple[int, ...]


def spectrum_matrix(n: int, parts: int, frequencies: np.ndarray, samples: int) -> np.ndarray:
    """(2 h, samples * parts), not scaled: all of a dense transform; samples behind the last one are zero."""
    c, s = (np.sqrt(n) * rows for rows in rows_of_dft(n, frequencies, np.arange(samples)))
    if parts == 1:
        return np.stack([c, s], axis=1).reshape(-1, samples)
    return np.stack([np.stack([c, -s], axis=-1), np.stack([s, c], axis=-1)], axis=1).reshape(-1, 2 * samples)


def signal_matrix(n: int, bins: int) -> np.ndarray:
    """(n, bins * 2): the real signal of a half spectrum, of which `bins` are given."""
    k = np.arange(bins)
    weight = np.where(k > n // 2, 0, np.where((2 * k) % n == 0, 1, 2)) / np.sqrt(n)
    c, s = rows_of_dft(n, k, np.arange(n))
    return np.stack([c * weight[:, None], s * weight[:, None]], axis=1).reshape(-1, n).T


def spectrum(
    nodes: Nodes,
    x: ir.Value,
    lead: Lead,
    plan: Plan,
    frequencies: np.ndarray,
    *,
    samples: int,
    parts: int,
    scale: float = 1.0,
) -> ir.Value:
    """The spectrum of (lead, samples * parts, c) at some frequencies, times a scale: (lead, 2 h, c).

    Args:
        plan: any. Samples behind the last one are zero; there are at most plan.n.
    """
    if plan.is_dense:
        matrix = spectrum_matrix(plan.n, parts, frequencies, samples)
        return nodes.add("MatMul", nodes.matrix(scale * matrix), x)
    if plan.is_rader:
        x = nodes.padded(x, len(lead) + 2, len(lead), (plan.n - samples) * parts) if samples < plan.n else x
        return _convolved(nodes, x, lead, plan, frequencies, parts, scale)
    x, rows = _whole_rows(nodes, x, lead, plan, samples, parts)
    final, order = _last_step(plan, parts, frequencies)
    others = plan.factors[1:]
    x = nodes.reshape(x, (*lead, rows, -1))
    s = nodes.add("MatMul", nodes.matrix(scale * np.sqrt(plan.n) * plan.first_matrix()[:, :rows]), x)
    matrices = plan.first_rows
    for step, factor in enumerate(others, start=1):
        last = step == len(others)
        s = nodes.reshape(s, (*lead, matrices, 2 * factor * (parts if last else 1), -1))
        matrix = final if last else plan.middle_matrix(step)
        s = nodes.add("MatMul", nodes.matrix(matrix), s)
        matrices *= factor
    s = nodes.reshape(s, (*lead, final.shape[0] * final.shape[1], -1))
    return nodes.add("Gather", s, nodes.positions(order), axis=len(lead))


def _whole_rows(nodes: Nodes, x: ir.Value, lead: Lead, plan: Plan, samples: int, parts: int) -> tuple[ir.Value, int]:
    """Zeros behind the samples, as many as complete a row of the first step; and how many rows there are."""
    rest = plan.n // plan.factors[0]
    rows = -(-samples // rest)
    missing = rows * rest - samples
    return (nodes.padded(x, len(lead) + 2, len(lead), missing * parts) if missing else x), rows


def _last_step(plan: Plan, parts: int, frequencies: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The matrices of the last step, (P, blocks * n_j, 2 n_j * parts), and where their results have the real and the
    imaginary part of each frequency in turn, (2 h,).

    The columns are [re S; im S], of a complex signal with both parts of each in turn. Blocks are the real and the
    imaginary part at k, and what differs from them at -k; none, if no frequency is above n/2.
    """
    is_one_sided = parts == 1 and bool((frequencies <= plan.n // 2).all())
    c, s = plan.last_matrices(is_one_sided)
    half = plan.half_spectrum.one_sided if is_one_sided else plan.half_spectrum
    if parts == 1:
        blocks, at_minus_k = ([c, s] if is_one_sided else [c, s, -s]), (0, 2)
    else:
        pairs = [(c, -s), (s, c), (c, s), (-s, c)]
        blocks, at_minus_k = [np.stack(pair, axis=-1).reshape(*c.shape[:2], -1) for pair in pairs], (2, 3)
    place, last = half.order[frequencies], plan.factors[-1]
    mirrored, stored = place >= len(half.half), place % len(half.half)
    start = stored // last * len(blocks) * last + stored % last
    rows = [start + np.where(mirrored, minus, block) * last for block, minus in enumerate(at_minus_k)]
    return np.concatenate(blocks, axis=1), np.stack(rows, axis=1).reshape(-1)


def _convolved(
    nodes: Nodes, x: ir.Value, lead: Lead, plan: Plan, frequencies: np.ndarray, parts: int, scale: float
) -> ir.Value:
    """Rader's form of a prime length: a cyclic convolution of length n - 1, see hamsa_runtime/dft/rader.py.

    The two parts of a complex signal are columns of a real one, and meet at the end.
    """
    n, axis = plan.n, len(lead)
    inner, half = plan_for(n - 1), (n - 1) // 2
    x = nodes.reshape(x, (*lead, n, -1))
    turned = nodes.add("Gather", x, nodes.positions(rader.powers(n, 1)), axis=axis)
    y = spectrum(nodes, turned, lead, inner, np.arange(n - 1), samples=n - 1, parts=1)
    response = scale * np.sqrt(n) / (n - 1) * rader.forward_response(n)
    z = _multiplied(nodes, nodes.reshape(y, (*lead, n - 1, 2, -1)), response, axis)
    z = nodes.reshape(z, (*lead, 2 * (n - 1), -1))
    w = spectrum(nodes, z, lead, inner, -np.arange(half) % (n - 1), samples=n - 1, parts=2)
    first = nodes.add("Mul", nodes.cut(x, axis, 0, 1), nodes.matrix(np.tile([scale, 0.0], half)[:, None]))
    total = nodes.add("Mul", nodes.add("ReduceSum", x, nodes.integers(axis)), nodes.matrix(np.array(scale)))
    rows = nodes.add("Concat", total, nodes.add("Add", w, first), axis=axis)
    return _in_order(nodes, rows, lead, plan, frequencies, parts)


def _multiplied(nodes: Nodes, z: ir.Value, factor: np.ndarray, axis: int) -> ir.Value:
    """(lead, m, 2, c), complex, times m complex numbers."""
    turned = nodes.add("Gather", z, nodes.integers(1, 0), axis=axis + 1)
    straight = nodes.add("Mul", z, nodes.matrix(factor.real[:, None, None]))
    across = nodes.add("Mul", turned, nodes.matrix(np.stack([-factor.imag, factor.imag], axis=1)[:, :, None]))
    return nodes.add("Add", straight, across)


def _in_order(nodes: Nodes, rows: ir.Value, lead: Lead, plan: Plan, frequencies: np.ndarray, parts: int) -> ir.Value:
    """From rows X[0], and re and im of each other stored frequency, of real columns: (lead, 2 h, c)."""
    axis, spectra = len(lead), plan.half_spectrum
    place = spectra.order[frequencies]
    mirrored, stored = place >= len(spectra.half), place % len(spectra.half)
    re, im = np.where(stored > 0, 2 * stored - 1, 0), 2 * stored
    sign = np.where(stored > 0, np.where(mirrored, -1.0, 1.0), 0.0)  # of the imaginary part
    one = np.ones(len(sign))

    def taken(x: ir.Value, first: np.ndarray, second: np.ndarray, *signs: np.ndarray) -> ir.Value:
        order, factor = np.stack([first, second], axis=1).reshape(-1), np.stack(signs, axis=1).reshape(-1, 1)
        return nodes.add("Mul", nodes.add("Gather", x, nodes.positions(order), axis=axis), nodes.matrix(factor))

    if parts == 1:
        return taken(rows, re, im, one, sign)
    both = nodes.reshape(rows, (*lead, plan.n, 2, -1))
    a, b = (nodes.add("Gather", both, nodes.integer(part), axis=axis + 1) for part in (0, 1))
    return nodes.add("Add", taken(a, re, im, one, sign), taken(b, im, re, -sign, one))


def _of_both_halves(nodes: Nodes, x: ir.Value, lead: Lead, plan: Plan, bins: int) -> ir.Value:
    """The real signal of half a spectrum, (lead, bins * 2, c), by way of all of it: the real rows of its inverse."""
    n, axis, k = plan.n, len(lead), np.arange(plan.n)
    folded = np.minimum(k, n - k)
    given = folded < bins
    order = 2 * np.where(given, folded, 0)
    sign = np.where(k == 0, 0.0, np.where(k > n // 2, -1.0, 1.0)) * given
    factor = np.stack([1.0 * given, sign], axis=1).reshape(-1, 1)
    z = nodes.add("Gather", x, nodes.positions(np.stack([order, order + 1], axis=1).reshape(-1)), axis=axis)
    z = nodes.add("Mul", z, nodes.matrix(factor))
    both = spectrum(nodes, z, lead, plan, -k % n, samples=n, parts=2, scale=1 / n)
    return nodes.add("Gather", both, nodes.positions(2 * k), axis=axis)


def signal(nodes: Nodes, x: ir.Value, lead: Lead, plan: Plan, bins: int) -> ir.Value:
    """The real signal of a half spectrum (lead, bins * 2, c): (lead, n, c); see `spectrum`."""
    n = plan.n
    if plan.is_dense:
        return nodes.add("MatMul", nodes.matrix(signal_matrix(n, bins)), x)
    if plan.is_rader:
        return _of_both_halves(nodes, x, lead, plan, bins)
    others, last = plan.factors[1:], plan.factors[-1]
    order, weight = _stored_bins(plan, bins)
    x = nodes.add("Gather", x, nodes.positions(order), axis=len(lead))
    both = np.concatenate(plan.last_matrices(one_sided=True), axis=1) * weight[:, :, None] / np.sqrt(n)
    s = nodes.reshape(x, (*lead, len(both), 2 * last, -1))
    s = nodes.add("MatMul", nodes.matrix(both.transpose(0, 2, 1)), s)
    for step in range(len(others) - 1, 0, -1):
        matrix = plan.middle_matrix(step)
        s = nodes.reshape(s, (*lead, len(matrix), 2 * others[step - 1], -1))
        s = nodes.add("MatMul", nodes.matrix(matrix.transpose(0, 2, 1)), s)
    s = nodes.reshape(s, (*lead, 2 * plan.first_rows, -1))
    s = nodes.add("MatMul", nodes.matrix(plan.first_matrix().T), s)
    return nodes.reshape(s, (*lead, n, -1))


def _stored_bins(plan: Plan, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the last step finds what it takes, (P * 2 n_j,), real parts before imaginary ones; and the weights of
    that, (P, 2 n_j): 0 for a bin that is not given."""
    last = plan.factors[-1]
    folded = plan.half_spectrum.one_sided.half.reshape(-1, last)
    given = np.where(folded < bins, folded, 0)
    order = np.concatenate([2 * given, 2 * given + 1], axis=1).reshape(-1)
    weight = np.where(folded < bins, 2 * plan.weight[plan.half_spectrum.half].reshape(-1, last), 0.0)
    return order, np.concatenate([weight, weight], axis=1)
