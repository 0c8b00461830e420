"""The scan compiler, beside the spectral one: selective scans, state-space duality and linear recurrences.

operators.py                what models call, with exact references
rules.py, forms.py          what they become, in the form that costs least on an engine
loops.py, onnx_loops.py     the form that is a loop, and ONNX's Scan
extensions.py, compiled.py, kernels.py, cuda.py     what stands in for the authors' compiled code
"""

from hamsa_deploy.scan.operators import linear_recurrence, selective_scan, ssd

__all__ = ["linear_recurrence", "selective_scan", "ssd"]
