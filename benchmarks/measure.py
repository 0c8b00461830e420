"""How the benchmarks run and time candidates: engines, interleaving, medians, ratios.

One round runs every candidate once in turn: a slow moment of the machine hits all of them. A ratio of two candidates is
the median of their ratios in each round, so that what drifts between rounds cancels.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import onnxruntime
import torch
from tables import Spread, spread

from hamsa_deploy.bench.peers.quiet import quietly as quietly  # the other benchmarks take it from here
from hamsa_deploy.measure.interleaved import time_in_turn
from hamsa_deploy.parity.differences import relative_errors
from hamsa_deploy.parity.metrics import THRESHOLDS
from hamsa_runtime.backends.quiet import no_usage_reports

with no_usage_reports():
    import openvino

Run = Callable[[], np.ndarray]
Key = TypeVar("Key", bound=Hashable)
Times = dict[Key, list[float]]
T = TypeVar("T")

# Rounds stop here, though not before the third, so that candidates of many seconds can be measured at all.
BUDGET_SECONDS = 180.0
FEWEST_ROUNDS = 3

F32, BF16 = "f32", "bf16"
# What a candidate may differ by from eager PyTorch before it counts as wrong: parity's limits, derived there.
LARGEST_ERROR = {F32: THRESHOLDS["fp32"].max_relative_error, BF16: THRESHOLDS["bf16"].max_relative_error}


def images(size: int, batch: int) -> np.ndarray:
    """Seeded normal numbers, (batch, 3, size, size) float32: what normalised photographs look like to arithmetic."""
    return np.random.default_rng(0).standard_normal((batch, 3, size, size), dtype=np.float32)


def eager_run(model: torch.nn.Module, x: np.ndarray) -> Run:
    """PyTorch as it is. The model returns logits, or a dict with them."""
    example = torch.from_numpy(x)

    def run() -> np.ndarray:
        with torch.inference_mode():
            result = model(example)
            return (result["logits"] if isinstance(result, dict) else result).numpy()

    return run


def onnxruntime_run(path: Path, x: np.ndarray, threads: int) -> Run:
    """ONNX Runtime with all of its graph optimisations (its default); the first output."""
    session = onnxruntime_session(path, threads)
    feed = {session.get_inputs()[0].name: x}
    wanted = [session.get_outputs()[0].name]
    return lambda: session.run(wanted, feed)[0]


def onnxruntime_session(path: Path, threads: int, **options: Any) -> onnxruntime.InferenceSession:
    """A session on the CPU; options are attributes of SessionOptions."""
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.log_severity_level = 3
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")  # it would spin into the next one's time
    for name, value in options.items():
        setattr(settings, name, value)
    return onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])


def openvino_run(path: Path, x: np.ndarray, precision: str, threads: int) -> Run:
    """OpenVINO on the CPU at a precision, for fixed shapes; the first output."""
    request = openvino_compiled(path, x, precision, threads).create_infer_request()

    def run() -> np.ndarray:
        request.infer({0: x})
        return request.get_output_tensor(0).data.copy()

    return run


# The engines that are here on every machine, by target: from a float32 ONNX file, an input and threads.
FLOAT32_RUNS: dict[str, Callable[[Path, np.ndarray, int], Run]] = {
    "onnx": onnxruntime_run,
    "openvino": lambda path, x, threads: openvino_run(path, x, F32, threads),
}


def openvino_compiled(
    path: Path, x: np.ndarray, precision: str, threads: int, *, profile: bool = False
) -> openvino.CompiledModel:
    """An ONNX or IR file, compiled for the shape of x; with profile=True its requests time every operator."""
    core = openvino.Core()
    model = core.read_model(path)
    model.reshape(list(x.shape))
    hints = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": precision,
        "PERF_COUNT": profile,
    }
    return core.compile_model(model, "CPU", hints)


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    """Largest over the images of max|found - expected| / max|expected|."""
    return float(relative_errors(found, expected).max())


def interleaved(runs: Mapping[Key, Run], rounds: int, budget_seconds: float = BUDGET_SECONDS) -> Times[Key]:
    """Milliseconds of each candidate in each round: of one run, after one that does not count."""
    fewest = min(FEWEST_ROUNDS, rounds)
    turns = time_in_turn(runs, budget_seconds, turn_seconds=0.0, fewest=fewest, most=rounds)
    return {key: [1e3 * turn.median for turn in each] for key, each in turns.items()}


def ratio(times: Mapping[Key, list[float]], numerator: Key, denominator: Key) -> Spread:
    """One candidate's time over another's, in each round."""
    return spread(a / b for a, b in zip(times[numerator], times[denominator], strict=True))


def in_own_process(function: Callable[..., T], *arguments: object) -> Future[T]:
    """What became of a call: it began with all memory free, and if it died it took nothing else along."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments)


def say(text: str) -> None:
    """Progress, on standard error: standard output has the tables only."""
    print(text, file=sys.stderr, flush=True)
