"""What a precision may add to the error within one layer.

A layer is judged by its own error: the relative error of what it computes from the reference's values, rounded to the
types of the graph. So one band holds at any depth. Largest own errors of clean bundles, of all layers and four images:

                                                  fp32      fp16      bf16      int8
    hamsa_nano, trained, digits                   3.0e-7    5.1e-4              5.2e-2
    the same on OpenVINO                                              6.7e-3    8.7e-2
    HAMSA, 16 wide, random weights, photographs   3.1e-7    8.0e-4              4.4e-2
    hamsa_tiny, random weights, photographs       4.9e-7    1.3e-3              5.8e-2

The bands are 7 to 30 times that, for wider models and longer sums: K terms add errors like sqrt(K). int8 gets twice:
noise of 14 dB in one layer is worth naming, be it a fault or what int8 cannot hold. Faults are far outside: a wrong
norm, a doubled scale or channels in another order add 0.3 and more, one weight of a linear that is off by 0.1 adds
1e-2 in hamsa_nano.
"""

from __future__ import annotations

from hamsa_deploy.parity.metrics import BANDS
from hamsa_deploy.parity.native_limits import wider_thresholds
from hamsa_runtime.manifest import Manifest


def band_of(manifest: Manifest) -> float:
    """The largest own error that a layer of a clean bundle may have.

    Native transforms on ONNX Runtime are less accurate than float32; see `parity.native`.
    """
    wider = wider_thresholds(manifest)
    return max(BANDS[manifest.precision], 0.0 if wider is None else wider[0].max_relative_error)
