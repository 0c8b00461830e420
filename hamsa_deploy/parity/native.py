"""How well a bundle with native transforms can be judged on ONNX Runtime, whose DFT is less accurate than float32.

Largest error over largest result, ONNX Runtime 1.31, forward and inverse, of noise, constants and waves, n points:

    n a power of two, up to 65,536      1e-6 at most
    all others, 3 to 97,344             0.7 eps n to 1.9 eps n,   eps = 2^-23

So fp32's limit, 5e-5, says nothing about the bundle from some hundred points on. The longest length that is no power of
two raises it to 4 eps n, a forward and an inverse transform at their worst, but never so far that a fault could hide:
a wrong norm, length or axis changes results by 1e-2 and more. The report says so in its note.
"""

from __future__ import annotations

from dataclasses import replace

from hamsa_deploy.parity.metrics import THRESHOLDS, Thresholds
from hamsa_runtime.manifest import Manifest

ERROR_PER_POINT = 4 * 2.0**-23
BELOW_ANY_FAULT = 5e-3


def limits_of(manifest: Manifest) -> tuple[Thresholds, str]:
    """The thresholds for a bundle, and a note on why they are not those of its precision; empty if they are."""
    usual = THRESHOLDS[manifest.precision]
    lengths = [row.length for row in manifest.plan if row.kind == "native" and row.length & (row.length - 1)]
    error = min(ERROR_PER_POINT * max(lengths, default=0), BELOW_ANY_FAULT)
    if error <= usual.max_relative_error:
        return usual, ""
    note = (
        f"Errors up to {error:.1e}, not {usual.max_relative_error:.0e}, are allowed: ONNX Runtime's own DFT is no"
        f" better at {max(lengths)} points. An engine with a better one has smaller errors."
    )
    return replace(usual, max_relative_error=error, tie=max(usual.tie, 2 * error)), note
