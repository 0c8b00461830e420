"""The scan compiler, beside the spectral one: selective scans, state-space duality and linear recurrences.

operators.py    what models call, with exact references
"""

from hamsa_deploy.scan.operators import linear_recurrence, selective_scan, ssd

__all__ = ["linear_recurrence", "selective_scan", "ssd"]
