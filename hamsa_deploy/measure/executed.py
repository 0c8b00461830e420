"""What an engine runs in which precision, counted: its own operators, not the types that were asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hamsa_runtime.backends import Operator

# What multiplies and sums: where precision decides accuracy and speed. OpenVINO's names, then ONNX Runtime's.
PRODUCTS = frozenset(
    "Convolution Deconvolution FullyConnected MatMul ScaledDotProductAttention RNNCell RNNSeq "
    "Attention Conv ConvInteger ConvTranspose DynamicQuantizeMatMul Einsum FusedConv FusedGemm FusedMatMul GRU Gemm "
    "LSTM MatMulInteger MatMulIntegerToFloat MultiHeadAttention QAttention QGemm QLinearConv QLinearMatMul".split()
)
CONVERSIONS = frozenset("Cast Convert DequantizeLinear FakeQuantize QuantizeLinear".split())
# What engines call number types -> what people do.
WORDS = {"f64": "float64", "f32": "float32", "f16": "float16", "bf16": "bfloat16", "i8": "int8", "u8": "uint8"}
# Signed and unsigned activations have kernels of the same speed, with the same signed weights.
ONE_NAME = {"u8": "i8"}


@dataclass(frozen=True)
class Executed:
    """How many operators run in each precision.

    Attributes:
        products: matrix products and convolutions; "i8" counts all products of 8 bits.
        others: all but products and conversions.
        conversions: operators that only change the type of numbers.
        not_int8: of the layers that were asked for in int8, those that no int8 product computes.
    """

    products: Mapping[str, int]
    others: Mapping[str, int]
    conversions: int
    not_int8: Sequence[str]


def executed(operators: Iterable[Operator], int8_layers: Mapping[str, str]) -> Executed:
    """Count.

    Args:
        operators: of an engine.
        int8_layers: node of the ONNX graph -> what reports call it, for the products asked for in int8.
    """
    by_kind = list(operators)
    products = [each for each in by_kind if each.kind in PRODUCTS]
    conversions = [each for each in by_kind if each.kind in CONVERSIONS]
    others = [each for each in by_kind if each.kind not in PRODUCTS | CONVERSIONS]
    in_int8 = {
        node for each in products if _name(each.precision) == "i8" for name in each.names for node in _nodes_of(name)
    }
    return Executed(
        products=dict(Counter(_name(each.precision) for each in products).most_common()),
        others=dict(Counter(each.precision for each in others).most_common()),
        conversions=len(conversions),
        not_int8=[layer for node, layer in int8_layers.items() if node not in in_int8],
    )


def in_words(counts: Mapping[str, int]) -> str:
    """{"i8": 51, "f32": 18} -> "51 int8, 18 float32"."""
    return ", ".join(f"{count} {WORDS.get(name, name)}" for name, count in counts.items()) or "none"


def _name(precision: str) -> str:
    return ONE_NAME.get(precision, precision)


def _nodes_of(name: str) -> list[str]:
    """The nodes that an engine's name may stand for: they add to it behind slashes, which nodes may have as well."""
    parts = name.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
