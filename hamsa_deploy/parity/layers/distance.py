"""How far a value is from its reference.

    error   ||a - b|| / ||b||,   over all elements of one batch

the noise-to-signal ratio as amplitudes. NaN or Inf in a, and any difference from a reference of zeros, are infinitely
far.
"""

from __future__ import annotations

import numpy as np


def relative_error(a: np.ndarray, b: np.ndarray) -> float:
    """||a - b|| / ||b|| in float64."""
    a, b = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
    if not np.isfinite(a).all():
        return float("inf")
    difference, size = float(np.linalg.norm(a - b)), float(np.linalg.norm(b))
    if size == 0:
        return 0.0 if difference == 0 else float("inf")
    return difference / size
