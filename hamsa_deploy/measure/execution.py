"""What became of a lower precision, as the manifest's `execution` has it, and what is to be said when it does not pay.

The engine is asked what it has compiled, and run beside the float32 bundle of the same model, in turn: neither follows
from what was asked for.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hamsa_deploy.measure.interleaved import Run, time_in_turn
from hamsa_deploy.measure.processor import timed_on
from hamsa_deploy.precision.records import all_precisions, precision_of
from hamsa_deploy.precision.records.record import Precision
from hamsa_deploy.targets import target_of
from hamsa_runtime import Engine
from hamsa_runtime.backends import Operator
from hamsa_runtime.manifest import Execution, Manifest

# What multiplies and sums: where precision decides accuracy and speed. OpenVINO's names, then ONNX Runtime's.
PRODUCTS = frozenset(
    "Convolution Deconvolution FullyConnected MatMul ScaledDotProductAttention RNNCell RNNSeq "
    "Attention Conv ConvInteger ConvTranspose DynamicQuantizeMatMul Einsum FusedConv FusedGemm FusedMatMul GRU Gemm "
    "LSTM MatMulInteger MatMulIntegerToFloat MultiHeadAttention QAttention QGemm QLinearConv QLinearMatMul".split()
)
CONVERSIONS = frozenset("Cast Convert DequantizeLinear FakeQuantize QuantizeLinear".split())
# What engines call number types -> what people do.
WORDS = {"f64": "float64", "u8": "uint8"} | {each.type: each.words for each in all_precisions()}
# Signed and unsigned activations have kernels of the same speed, with the same signed weights.
ONE_NAME = {"u8": "i8"}
# A lower precision pays if it takes at most this share of float32's time: medians of repeated measurements differ by 1
# to 3 % on a machine that does nothing else.
PAYS = 0.95
MOST_NAMES = 5
# What a whole export may spend on its speed. A model of many seconds is measured with the fewest rounds.
BUDGET_SECONDS = 4.0
FEWEST_ROUNDS, MOST_ROUNDS = 3, 25
TURN_SECONDS = 0.02


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
    not_int8: tuple[str, ...]


def count_executed(operators: Iterable[Operator], int8_layers: Mapping[str, str]) -> Executed:
    """Count the operators.

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
        not_int8=tuple(layer for node, layer in int8_layers.items() if node not in in_int8),
    )


class Speed(NamedTuple):
    """Medians over the rounds: of both times, and of their ratio (below 1: faster than float32)."""

    milliseconds: float
    float32_milliseconds: float
    ratio: float


def measure_speed(run: Run, float32: Run) -> Speed:
    """Time one inference of each: the shortest of a turn; what drifts between rounds cancels in the ratios."""
    turns = time_in_turn(
        {"own": run, "float32": float32}, BUDGET_SECONDS, turn_seconds=TURN_SECONDS, fewest=FEWEST_ROUNDS,
        most=MOST_ROUNDS,
    )  # fmt: skip
    own, other = ([turn.shortest for turn in turns[name]] for name in ("own", "float32"))
    ratios = [a / b for a, b in zip(own, other, strict=True)]
    return Speed(1e3 * statistics.median(own), 1e3 * statistics.median(other), statistics.median(ratios))


def measure_execution(
    folder: Path,
    float32_bundle: Path,
    inputs: Mapping[str, np.ndarray],
    int8_layers: Mapping[str, str],
    device: str | None = None,
) -> Execution:
    """Run a bundle and the float32 bundle of the same model on this machine.

    Args:
        folder: the bundle, with a manifest.
        float32_bundle: the float32 bundle of the same model and target.
        inputs: graph inputs by name, for one inference.
        int8_layers: see `count_executed`.
        device: of its engine; None for the CPU.

    Returns:
        What the manifest says of it.
    """
    with Engine(folder, device=device) as engine, Engine(float32_bundle, device=device) as float32:
        found = count_executed(engine.operators(), int8_layers)
        times = measure_speed(inference(engine, inputs), inference(float32, inputs))
    return Execution(
        device=timed_on(device),
        batch=batch_of(inputs, engine.manifest),
        products=found.products,
        others=found.others,
        conversions=found.conversions,
        not_int8=found.not_int8,
        **{name: float(f"{value:.4g}") for name, value in times._asdict().items()},
    )


def in_words(counts: Mapping[str, int]) -> str:
    """{"i8": 51, "f32": 18} -> "51 int8, 18 float32"."""
    return ", ".join(f"{count} {WORDS.get(name, name)}" for name, count in counts.items()) or "none"


def warnings_of(execution: Execution, target: str, precision: str) -> list[str]:
    """A sentence for each thing that is not as somebody who asks for this precision expects."""
    asked = precision_of(precision)
    return [
        *_slower(execution, target, precision),
        *(_layers_not_in_int8(execution) if asked.is_quantised else _products_elsewhere(execution, asked)),
    ]


def pays(execution: Execution) -> bool:
    """Whether it is clearly faster than float32."""
    return execution.ratio <= PAYS


def some_of(names: tuple[str, ...]) -> str:
    """The first few."""
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more


def _slower(execution: Execution, target: str, precision: str) -> list[str]:
    if pays(execution):
        return []
    others = " or ".join(f"--{other}" for other in target_of(target).kernels_here() if other != precision)
    return [
        f"{precision} does not pay on this machine: {execution.ratio:.2f} times the time of float32; use --fp32"
        + (f", or try {others}" if others else "")
    ]


def _layers_not_in_int8(execution: Execution) -> list[str]:
    layers = execution.not_int8
    return [f"{len(layers)} layers do not run in int8, although they should: {some_of(layers)}"] if layers else []


def _products_elsewhere(execution: Execution, precision: Precision) -> list[str]:
    others = {name: count for name, count in execution.products.items() if name != precision.type}
    if not others:
        return []
    counts = f"{sum(others.values())} of {sum(execution.products.values())} products"
    return [f"{counts} do not run in {precision.name}, although it was asked for: {in_words(others)}"]


def inference(engine: Engine, inputs: Mapping[str, np.ndarray]) -> Run:
    """One inference, of graph inputs by name."""
    arrays = _as_an_engine_takes_them(inputs, engine.manifest)
    return lambda: engine(arrays)


def batch_of(inputs: Mapping[str, np.ndarray], manifest: Manifest) -> int:
    """How many images such inputs are."""
    spec = manifest.inputs[0]
    return len(inputs[spec.name]) if spec.shape else 1


def _as_an_engine_takes_them(inputs: Mapping[str, np.ndarray], manifest: Manifest) -> Any:
    """Of a model of images, the batch itself: resized already, it passes the preprocessing as it is."""
    return inputs if manifest.preprocessing is None else inputs[manifest.inputs[0].name]


def _name(precision: str) -> str:
    return ONE_NAME.get(precision, precision)


def _nodes_of(name: str) -> list[str]:
    """The nodes that an engine's name may stand for: they add to it behind slashes, which nodes may have as well."""
    parts = name.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
