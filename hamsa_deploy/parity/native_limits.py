"""How well a bundle with native transforms can be judged on ONNX Runtime, whose DFT is less accurate than float32.

Largest error over largest result, ONNX Runtime 1.31, forward and inverse, of noise, constants and waves, n points:

    n a power of two, up to 65,536      1e-6 at most
    all others, 3 to 97,344             0.7 eps n to 1.9 eps n,   eps = 2^-23

Most models dilute that: HAMSA-S, with 3136 points, has 7e-6 in its outputs. Where one does not, fp32's limit of 5e-5
would reject from a few hundred points on what is right. Then the longest length that is no power of two allows 4 eps n,
a forward and an inverse transform at their worst, but never so much that a fault could hide: a wrong norm, length or
axis changes results by 1e-2 and more. The report says in its note where this was needed.
"""

from __future__ import annotations

from dataclasses import replace

from hamsa_deploy.parity.metrics import THRESHOLDS, Thresholds
from hamsa_runtime.manifest import Manifest

ERROR_PER_POINT = 4 * 2.0**-23
BELOW_ANY_FAULT = 5e-3


def wider_thresholds(manifest: Manifest) -> tuple[Thresholds, str] | None:
    """What ONNX Runtime's DFT makes of the thresholds of a precision, and the note on it; None if nothing."""
    usual = THRESHOLDS[manifest.precision]
    lengths = [row.length for row in manifest.plan if row.kind == "native" and row.length & (row.length - 1)]
    longest = max(lengths, default=0)
    error = min(ERROR_PER_POINT * longest, BELOW_ANY_FAULT)
    if not longest or error <= usual.max_relative_error:
        return None
    note = (
        f"Errors up to {error:.1e}, not {usual.max_relative_error:.0e}, were allowed: ONNX Runtime's own DFT is no"
        f" better at {longest} points. An engine with a better one has smaller errors."
    )
    return replace(usual, max_relative_error=error, tie=max(usual.tie, 2 * error)), note
