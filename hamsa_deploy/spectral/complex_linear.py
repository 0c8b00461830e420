"""The forms in which a complex linear layer with constant weights is computed, and what each costs.

    (xr + i xi) (Wr + i Wi),    W of d_in x d_out

three     s = (xr + xi) Wr,    Re = s - xi (Wr + Wi),    Im = s + xr (Wi - Wr)       Gauss: a quarter of the MACs less
stacked   [Re | Im] = [xr | xi] [[Wr, Wi], [-Wi, Wr]]                                 one product, fewest operators
two       [P | Q] = xr [Wr | Wi],    [R | S] = xi [Wr | Wi],    Re = P - S,    Im = Q + R

Layers by themselves, one thread of an AMD Zen 4, times that of the first form: of width 5 to 24 and 16 to 100
vectors, on ONNX Runtime 0.95 to 0.99 stacked and 1.06 to 1.11 as two, on OpenVINO 1.02 to 1.05 and 1.01 to 1.05; of
width 32 to 512 and 49 to 3136 vectors 1.01 to 2.4 and 1.1 to 2.1, and 1.02 to 1.5 and 1.04 to 1.5. In a block of
HAMSA-S of width 64, 320 and 512, on ONNX Runtime: 1.04, 1.06, 1.04 and 1.02, 1.05, 1.11. On an H200 in float16, where
operators cost more than products, the whole model in stacked form takes 0.96 to 0.98 of the time, and 0.87 of it
where the rest is fused.

What else was tried there, and is no form because it is level with what is done today, or slower: the two linear layers
of one input as one (1.02, 1.00, and 1.01 on OpenVINO), both parts of a transform by one last product (1.02, 1.01, 1.02;
1.07), the same of its inverse (1.01, 0.99; 1.00), and both halves of a spectrum along an axis of 2 (0.97, 0.99, 1.00;
1.02).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from hamsa_runtime.dft.costs import Rates, Work, nanoseconds
from hamsa_runtime.manifest import ComplexLinear

Product = Callable[[Any, Any], Any]
"""Vectors (.., d_in) and weights (d_out, d_in) to (.., d_out)."""


class Layer(NamedTuple):
    """All that the cost of a complex linear layer depends on.

    Args:
        inputs, outputs: d_in and d_out.
        rows: how many vectors one image has.
    """

    inputs: int
    outputs: int
    rows: int


@dataclass(frozen=True)
class LinearForm:
    """One form.

    Args:
        name: as a manifest calls it.
        parts: the real and the imaginary part from a real product, and from the parts of vectors and weights.
        work: what it takes for one vector, by d_in and d_out.
    """

    name: str
    parts: Callable[[Product, Any, Any, Any, Any], tuple[Any, Any]]
    work: Callable[[int, int], Work]


def _three(product: Product, xr: Any, xi: Any, wr: Any, wi: Any) -> tuple[Any, Any]:
    s = product(xr + xi, wr)
    return s - product(xi, wr + wi), s + product(xr, wi - wr)


def _stacked(product: Product, xr: Any, xi: Any, wr: Any, wi: Any) -> tuple[Any, Any]:
    weights = torch.cat([torch.cat([wr, -wi], 1), torch.cat([wi, wr], 1)], 0)
    return _halves(product(torch.cat([xr, xi], -1), weights))


def _two(product: Product, xr: Any, xi: Any, wr: Any, wi: Any) -> tuple[Any, Any]:
    weights = torch.cat([wr, wi], 0)
    (p, q), (r, s) = _halves(product(xr, weights)), _halves(product(xi, weights))
    return p - s, q + r


def _halves(both: Any) -> tuple[Any, Any]:
    width = both.shape[-1] // 2
    return torch.narrow(both, -1, 0, width), torch.narrow(both, -1, width, width)


# Sums count as numbers moved. What is put beside other numbers along the last axis, or cut from them, is in many
# pieces of memory: it counts twice.
THREE = LinearForm("three", _three, lambda i, o: Work(plain=3 * i * o, moved=i + 5 * o, operators=6))
STACKED = LinearForm("stacked", _stacked, lambda i, o: Work(plain=4 * i * o, moved=4 * i + 6 * o, operators=4))
TWO = LinearForm("two", _two, lambda i, o: Work(plain=4 * i * o, moved=14 * o, operators=8))
FORMS = {form.name: form for form in (THREE, STACKED, TWO)}


def cheapest(layer: Layer, rates: Rates) -> LinearForm:
    """The form with the smallest estimate."""
    return min(FORMS.values(), key=lambda form: nanoseconds(form.work(layer.inputs, layer.outputs), rates, layer.rows))


def layer_of(listed: ComplexLinear) -> Layer:
    """Of one as a manifest lists it."""
    return Layer(listed.inputs, listed.outputs, listed.rows)
