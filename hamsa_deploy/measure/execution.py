"""What became of a lower precision, as the manifest's `execution` has it, and what is to be said when it does not pay.

The engine is asked what it has compiled, and run beside the float32 bundle of the same model: neither follows from
what was asked for.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hamsa_deploy.measure.executed import executed, in_words
from hamsa_deploy.measure.processor import processor_name
from hamsa_deploy.measure.speed import speed
from hamsa_runtime import Engine
from hamsa_runtime.manifest import Execution, Manifest

# A lower precision pays if it takes at most this share of float32's time: medians of repeated measurements differ by 1
# to 3 % on a machine that does nothing else.
PAYS = 0.95
# bundle precision -> what engines call it
TYPES = {"fp16": "f16", "bf16": "bf16", "int8": "i8"}
MOST_NAMES = 5


def execution_of(
    folder: Path, float32_bundle: Path, inputs: Mapping[str, np.ndarray], int8_layers: Mapping[str, str]
) -> dict[str, Any]:
    """Run a bundle and its float32 float32_bundle on this machine's CPU.

    Args:
        folder: the bundle, with a manifest.
        float32_bundle: the float32 bundle of the same model and target.
        inputs: graph inputs by name, for one inference.
        int8_layers: see `executed`.

    Returns:
        `hamsa_runtime.manifest.Execution` as a dict.
    """
    with Engine(folder) as engine, Engine(float32_bundle) as float32:
        found = executed(engine.operators(), int8_layers)
        arrays = _as_an_engine_takes_them(inputs, engine.manifest)
        times = speed(lambda: engine(arrays), lambda: float32(arrays))
    return {
        "device": processor_name(),
        "batch": _batch(inputs, engine.manifest),
        **dataclasses.asdict(found),
        **{name: float(f"{value:.4g}") for name, value in times._asdict().items()},
    }


def warnings_of(execution: Execution, target: str, precision: str) -> list[str]:
    """A sentence for each thing that is not as somebody who asks for this precision expects."""
    return [
        *_slower(execution, target, precision),
        *(_layers_not_in_int8(execution) if precision == "int8" else _products_elsewhere(execution, precision)),
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
    others = " or ".join(f"--{other}" for other in _alternatives(target, precision))
    return [
        f"{precision} does not pay on this machine: {execution.ratio:.2f} times the time of float32; use --fp32"
        + (f", or try {others}" if others else "")
    ]


def _layers_not_in_int8(execution: Execution) -> list[str]:
    layers = execution.not_int8
    return [f"{len(layers)} layers do not run in int8, although they should: {some_of(layers)}"] if layers else []


def _products_elsewhere(execution: Execution, precision: str) -> list[str]:
    others = {name: count for name, count in execution.products.items() if name != TYPES[precision]}
    if not others:
        return []
    counts = f"{sum(others.values())} of {sum(execution.products.values())} products"
    return [f"{counts} do not run in {precision}, although it was asked for: {in_words(others)}"]


def _alternatives(target: str, precision: str) -> list[str]:
    """Other precisions that the target's engine has kernels for on this processor."""
    if target == "onnx":
        able = ["int8"]
    else:
        from hamsa_runtime.backends.openvino import PRECISIONS
        from hamsa_runtime.backends.quiet import no_usage_reports

        with no_usage_reports():
            import openvino
        capabilities = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        able = [
            name for name, (_, _, needed) in PRECISIONS.items() if name in ("bf16", "int8") and needed in capabilities
        ]
    return [name for name in able if name != precision]


def _batch(inputs: Mapping[str, np.ndarray], manifest: Manifest) -> int:
    spec = manifest.inputs[0]
    return len(inputs[spec.name]) if spec.shape else 1


def _as_an_engine_takes_them(inputs: Mapping[str, np.ndarray], manifest: Manifest) -> Any:
    """Of a model of images, the batch itself: resized already, it passes the preprocessing as it is."""
    return inputs if manifest.preprocessing is None else inputs[manifest.inputs[0].name]
