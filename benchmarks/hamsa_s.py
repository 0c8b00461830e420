"""HAMSA-S on every engine against eager PyTorch, interleaved in one process: medians and ratios.

    python benchmarks/hamsa_s.py [--runs 15] [--threads 2] [--size 224]

One round runs every candidate twice and times the second run: a slow moment of the machine hits all of them, and nobody
pays for the caches that the one before left behind.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import numpy as np
import onnxruntime
import openvino
import torch

from hamsa_deploy.models import load_model
from hamsa_deploy.spectral import to_real
from hamsa_deploy.targets.onnx import onnx_from_program

Run = Callable[[], object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--size", type=int, default=224)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = load_model("hamsa_s", image_size=options.size)
    x = np.random.default_rng(0).standard_normal((1, 3, options.size, options.size), dtype=np.float32)
    with tempfile.TemporaryDirectory() as folder:
        real, dft = _files(model, x, Path(folder))
        runs = {
            "PyTorch eager, torch.fft": _eager(model, x),
            "ONNX Runtime, real form": _onnxruntime(real, x, options.threads),
            "OpenVINO f32, real form": _openvino(real, x, "f32", options.threads),
            "OpenVINO bf16, real form": _openvino(real, x, "bf16", options.threads),
            "ONNX Runtime, DFT operator": _onnxruntime(dft, x, options.threads),
        }
        _print(_interleaved(runs, options.runs))


def _files(model: torch.nn.Module, x: np.ndarray, folder: Path) -> tuple[Path, Path]:
    """The real form, and what torch.onnx.export makes of the same model by itself: standard DFT operators."""
    example, real, dft = torch.from_numpy(x), folder / "real.onnx", folder / "dft.onnx"
    onnx_from_program(to_real(model, (example,)), real, inputs=["images"], outputs=["logits", "embedding"])
    # By itself the exporter fails on HAMSA: it has no complex linear layer. With a matmul in its place it goes on.
    with warnings.catch_warnings(), patch("torch.nn.functional.linear", _linear):
        warnings.simplefilter("ignore")
        torch.onnx.export(model, (example,), dft, dynamo=True, opset_version=18, input_names=["images"], verbose=False)
    return real, dft


_real_linear = torch.nn.functional.linear


def _linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    return x @ weight.mT if weight.is_complex() else _real_linear(x, weight, bias)


def _eager(model: torch.nn.Module, x: np.ndarray) -> Run:
    images = torch.from_numpy(x)

    def run() -> object:
        with torch.inference_mode():
            return model(images)

    return run


def _onnxruntime(path: Path, x: np.ndarray, threads: int) -> Run:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # it would spin into the next one's time
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"images": x})


def _openvino(path: Path, x: np.ndarray, precision: str, threads: int) -> Run:
    model = openvino.Core().read_model(path)
    model.reshape(list(x.shape))
    hints = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": precision,
    }
    request = openvino.compile_model(model, "CPU", hints).create_infer_request()
    return lambda: request.infer({0: x})


def _interleaved(runs: dict[str, Run], rounds: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            run()
            start = time.perf_counter()
            run()
            times[name].append(1e3 * (time.perf_counter() - start))
    return times


def _print(times: dict[str, list[float]]) -> None:
    eager, dft = times["PyTorch eager, torch.fft"], times["ONNX Runtime, DFT operator"]
    print(f"{'HAMSA-S, batch 1':30} {'median ms':>10} {'of eager':>9} {'times DFT':>10}")
    for name, values in times.items():
        ratio = statistics.median(a / b for a, b in zip(values, eager, strict=True))
        faster = statistics.median(b / a for a, b in zip(values, dft, strict=True))
        print(f"{name:30} {statistics.median(values):10.1f} {ratio:9.2f} {faster:9.1f}x")


if __name__ == "__main__":
    main()
