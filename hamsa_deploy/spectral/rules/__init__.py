"""The rules of the spectral compiler, one family per file; importing this package registers them."""

from hamsa_deploy.spectral.rules import (
    arithmetic,
    comparisons,
    creation,
    elementary,
    fourier,
    norms,
    parts,
    portable,
    products,
    reductions,
    short_time,
    substitutes,
)

__all__ = [
    "arithmetic",
    "comparisons",
    "creation",
    "elementary",
    "fourier",
    "norms",
    "parts",
    "portable",
    "products",
    "reductions",
    "short_time",
    "substitutes",
]
