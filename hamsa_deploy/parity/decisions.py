"""How far two classifiers are apart that should be one.

a (N, C) are the logits of the exported model, b (N, C) those of the reference, i an image, j a class:

    KL divergence      d_i = sum_j p_ij (log p_ij - log q_ij),   p = softmax(b), q = softmax(a);  in nats, >= 0
    top-k agreement    share of i with argmax_j b_ij among the k largest a_ij
    rank correlation   Spearman's rho of a_i and b_i: Pearson's of their ranks, where equal values share the mean rank
    margin             m_i(x) = x_iy - max_{j != y} x_ij,   y = argmax_j b_ij
    margin change      m_i(a) - m_i(b);  in units of a logit

A margin that shrinks is a class about to change; where m_i(a) < 0 it has changed.

A top-1 that differs is a *tie* where the reference itself cannot tell: where the margin between its two best classes,
m_i(b) relative to the scale s_i of `differences`, is smaller than the precision can resolve. Ties are counted, and do
not fail the verdict, unless they are many.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Leading(NamedTuple):
    """The most probable classes of each image, best first: (N, k) of int, and (N, k) their softmax probabilities."""

    classes: np.ndarray
    probabilities: np.ndarray

    def of(self, image: int) -> list[tuple[int, float]]:
        """Class and probability of one image."""
        return [(int(k), float(p)) for k, p in zip(self.classes[image], self.probabilities[image], strict=True)]


def leading(logits: np.ndarray, k: int) -> Leading:
    """The k most probable classes of logits (N, C), or all C."""
    best = _best_classes(logits, k)
    return Leading(best, np.exp(np.take_along_axis(_log_softmax(logits), best, axis=1)))


def same_top1(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """(N,): whether both have the same best class."""
    return np.asarray(found.argmax(axis=1) == expected.argmax(axis=1))


def top1_margins(expected: np.ndarray) -> np.ndarray:
    """(N,): distance of the reference's two best classes."""
    two = np.sort(expected.astype(np.float64), axis=1)[:, -2:]
    return np.asarray(two[:, -1] - two[:, 0])


def kl_divergences(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """(N,): d_i in nats, of logits (N, C)."""
    log_p, log_q = _log_softmax(expected), _log_softmax(found)
    # Rounding can leave -1e-17 where both are the same.
    return np.maximum((np.exp(log_p) * (log_p - log_q)).sum(axis=1), 0.0)


def in_top(found: np.ndarray, expected: np.ndarray, k: int) -> np.ndarray:
    """(N,) of bool: whether the reference's best class is among the exported model's k best."""
    best = expected.argmax(axis=1)[:, None]
    return np.asarray((_best_classes(found, k) == best).any(axis=1))


def rank_correlations(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """(N,): Spearman's rho; where all logits of an image are equal, 1 if they are in both, else 0."""
    a, b = ranks(found), ranks(expected)
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    both_constant = ~a.any(axis=1) & ~b.any(axis=1)
    return np.where(both_constant, 1.0, np.einsum("ij,ij->i", a, b) / np.where(norms > 0, norms, 1.0))


def ranks(values: np.ndarray) -> np.ndarray:
    """(N, C): the rank of each value in its row, from 0, equal values sharing their mean rank."""
    return np.stack([_ranks_of_row(row) for row in values])


def margin_changes(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """(N,): m_i(a) - m_i(b)."""
    best = expected.argmax(axis=1)
    return _margins(found, best) - _margins(expected, best)


def _ranks_of_row(row: np.ndarray) -> np.ndarray:
    _, group, sizes = np.unique(row, return_inverse=True, return_counts=True)
    first = np.cumsum(sizes) - sizes
    return np.asarray((first + (sizes - 1) / 2)[group])


def _margins(logits: np.ndarray, classes: np.ndarray) -> np.ndarray:
    rows = np.arange(len(logits))
    others = logits.astype(np.float64)
    own = others[rows, classes].copy()
    others[rows, classes] = -np.inf
    return np.asarray(own - others.max(axis=1))


def _best_classes(logits: np.ndarray, k: int) -> np.ndarray:
    """(N, k): stable, so that of equal logits the first class is the better one, as for argmax."""
    return np.argsort(-logits.astype(np.float64), axis=1, kind="stable")[:, :k]


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))
