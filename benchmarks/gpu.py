"""HAMSA-S on an NVIDIA GPU: torch.fft against the real form and DeiT-S, in PyTorch, and the TensorRT bundle.

    python benchmarks/gpu.py [--batch 1 32] [--rounds 50] [--device cuda]

Products run in float16 (autocast), with what float16 cannot hold in float32, as in an exported bundle; torch.fft itself
runs in float32, because cuFFT has float16 for powers of two only. Candidates take turns, once as they are and once as a
CUDA graph; medians of milliseconds, measured to the end of the GPU's work. The bundle is measured where tensorrt or
tensorrt_rtx is installed, through hamsa_runtime.Engine: with copies from and to the CPU.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from exports import hamsa_s
from measure import images, interleaved, quietly, relative_error, say
from torch import Tensor, nn

import hamsa_deploy
from hamsa_deploy import to_real
from hamsa_deploy.bench.peers.deit import deit_s
from hamsa_deploy.models import model_entry
from hamsa_deploy.samples import sample_images
from hamsa_runtime import Engine
from hamsa_runtime.errors import HamsaError

SIZE = 224
Run = Callable[[], Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--device", default="cuda", help="cpu: only to try the script, without graphs")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("PyTorch finds no CUDA GPU here; --device cpu tries the script")
    if options.device == "cuda":
        print(torch.cuda.get_device_name(0))
    for batch in options.batch:
        _table(batch, options.rounds, options.device)


def _table(batch: int, rounds: int, device: str) -> None:
    with torch.inference_mode():
        runs = dict(_runs(batch, device))
        expected = runs["HAMSA-S, torch.fft, float32"]().float().cpu().numpy()
        times = interleaved({name: _finished(run, device) for name, run in runs.items()}, rounds)
        print(f"\n{SIZE} pixels, batch {batch}, {rounds} rounds{'':>14}  median ms    error")
        for name, milliseconds in times.items():
            result = runs[name]().float().cpu().numpy()
            error = f"{relative_error(result, expected):.1e}" if name.startswith("HAMSA-S") else ""
            print(f"{name:<48}{statistics.median(milliseconds):>11.3f}{error:>9}")


def _runs(batch: int, device: str) -> Iterator[tuple[str, Run]]:
    x = torch.from_numpy(images(SIZE, batch)).to(device)
    model = hamsa_s(SIZE)
    say(f"batch {batch}: real form")
    with quietly():
        real = to_real(model, (x.cpu(),), dynamic_shapes={}, target="tensorrt").module()
    model, real, deit = model.to(device), real.to(device), deit_s(SIZE).to(device)
    yield "HAMSA-S, torch.fft, float32", lambda: _logits(model(x))
    for name, module in (("HAMSA-S, torch.fft", model), ("HAMSA-S, real form", real), ("DeiT-S", deit)):
        run = _in_float16(module, x, device)
        yield f"{name}, float16", run
        if device == "cuda":
            yield f"{name}, float16, CUDA graph", _as_graph(run)
    if device == "cuda":
        yield from _bundles(batch)


def _in_float16(module: nn.Module, x: Tensor, device: str) -> Run:
    def run() -> Tensor:
        with torch.autocast(device, torch.float16 if device == "cuda" else torch.bfloat16):
            return _logits(module(x))

    return run


def _as_graph(run: Run) -> Run:
    """Captured once and replayed, after runs on another stream that allocate what is needed."""
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = run()

    def replay() -> Tensor:
        graph.replay()
        return result

    return replay


def _bundles(batch: int) -> Iterator[tuple[str, Run]]:
    """HAMSA-S as a bundle in float16, for each of the two TensorRTs that is here; engines stay open."""
    pixels = np.random.default_rng(0).integers(0, 256, (batch, SIZE, SIZE, 3), dtype=np.uint8)
    for target in ("tensorrt", "tensorrt-rtx"):
        folder = Path(tempfile.mkdtemp(), target)
        try:
            say(f"batch {batch}: bundle for {target}")
            _export(target, batch, folder)
            for graph in (False, True):
                engine = Engine(folder, cuda_graph=graph)
                yield f"bundle, {target}{', CUDA graph' if graph else ''}", _engine_run(engine, pixels)
        except HamsaError as error:
            say(f"no {target}: {error.found.splitlines()[0]}")


def _export(target: str, batch: int, folder: Path) -> None:
    hamsa_deploy.export(
        hamsa_s(SIZE),
        to=target,
        precision="fp16",
        batch=batch,
        preprocessing=model_entry("hamsa_s").preprocessing,
        data=sample_images("hamsa_s"),
        output=folder,
        require_plan=True,
    )


def _engine_run(engine: Engine, pixels: np.ndarray) -> Run:
    return lambda: torch.from_numpy(engine(pixels)["logits"])


def _finished(run: Run, device: str) -> Callable[[], np.ndarray]:
    def timed() -> np.ndarray:
        result = run()
        if device == "cuda":
            torch.cuda.synchronize()
        return np.empty(0) if result.is_cuda else result.float().numpy()

    return timed


def _logits(result: Tensor | dict[str, Tensor]) -> Tensor:
    return result["logits"] if isinstance(result, dict) else result


if __name__ == "__main__":
    main()
