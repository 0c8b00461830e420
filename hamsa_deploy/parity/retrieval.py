"""Whether a search in the embeddings finds the same images.

For embeddings x (N, D), N_k(x, i) are the k images whose embeddings have the largest cosine with x_i, i itself left
out. With a those of the exported model and b those of the reference:

    recall@k = mean_i |N_k(a, i) and N_k(b, i)| / k

By chance alone it is k / (N - 1). It is computed where N > 2k, so that chance stays below one half.
"""

from __future__ import annotations

import numpy as np

NEIGHBOURS = (1, 5, 10)
ROWS = 1024  # of the matrix of similarities at a time: 50,000 images take 0.4 GB, not 20


def recalls(found: np.ndarray, expected: np.ndarray) -> dict[int, float]:
    """k -> recall@k, for each k of NEIGHBOURS that there are enough images for.

    Args:
        found, expected: a and b, (N, D).
    """
    known = [k for k in NEIGHBOURS if len(expected) > 2 * k]
    if not known:
        return {}
    a, b = neighbours(found, known[-1]), neighbours(expected, known[-1])
    return {k: float((a[:, :k, None] == b[:, None, :k]).any(axis=2).mean()) for k in known}


def neighbours(embeddings: np.ndarray, k: int) -> np.ndarray:
    """(N, k): the nearest images of each, nearest first."""
    unit = _unit(embeddings)
    return np.concatenate([_nearest(unit, start, k) for start in range(0, len(unit), ROWS)])


def _nearest(unit: np.ndarray, start: int, k: int) -> np.ndarray:
    similar = unit[start : start + ROWS] @ unit.T
    rows = np.arange(len(similar))
    similar[rows, start + rows] = -np.inf  # itself
    chosen = np.argpartition(-similar, k - 1, axis=1)[:, :k]
    order = np.argsort(-similar[rows[:, None], chosen], axis=1, kind="stable")
    return chosen[rows[:, None], order]


def _unit(embeddings: np.ndarray) -> np.ndarray:
    vectors = embeddings.astype(np.float64)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(norms > 0, norms, 1.0))
