"""HAMSA-S on an NVIDIA GPU: torch.fft against the real form and DeiT-S, in PyTorch, and the TensorRT bundle.

    python benchmarks/gpu.py [--sizes 224 1248] [--batch 1 32] [--rounds 50] [--device cuda]

Products run in float16 (autocast), with what float16 cannot hold in float32, as in an exported bundle; the model with
torch.fft runs in float32, because cuFFT has float16 for powers of two only. Candidates take turns: as they are, as a
CUDA graph, and fused by torch.compile in a CUDA graph. Medians of milliseconds, measured to the end of the GPU's work,
and how many times as fast as DeiT-S in the same form. Batches beyond 1 are measured at the first size only. The bundle
is measured where tensorrt or tensorrt_rtx is installed, through hamsa_runtime.Engine: with copies from and to the CPU.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import tables
import torch
from exports import hamsa_s
from measure import images, interleaved, quietly, ratio, relative_error, say
from torch import Tensor, nn

import hamsa_deploy
from hamsa_deploy import to_real
from hamsa_deploy.bench.peers.deit import deit_s
from hamsa_deploy.models import model_entry
from hamsa_deploy.samples import sample_images
from hamsa_runtime import Engine
from hamsa_runtime.errors import HamsaError

HAMSA, DEIT = "HAMSA-S", "DeiT-S"
Run = Callable[[], Tensor]
Name = tuple[str, str]
"""Model and form."""
COLUMNS = {"": "", "ms": ".3f", "DeiT-S / it": ".2f", "error": ".1e"}


def main() -> None:
    parser = tables.parser(__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[224, 1248])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--device", default="cuda", help="cpu: only to try the script, without graphs")
    options, report = tables.begin(parser)
    if options.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("PyTorch finds no CUDA GPU here; --device cpu tries the script")
    name = torch.cuda.get_device_name(0) if options.device == "cuda" else options.device
    for size in options.sizes:
        for batch in options.batch if size == options.sizes[0] else options.batch[:1]:
            rows = _rows(size, batch, options.rounds, options.device)
            report.show(f"{name}, {size} pixels, batch {batch}", COLUMNS, rows)


def _rows(size: int, batch: int, rounds: int, device: str) -> Iterator[tables.Row]:
    with torch.inference_mode():
        runs = dict(_runs(size, batch, device))
        expected = runs[HAMSA, "torch.fft, float32"]().float().cpu().numpy()
        times = interleaved({name: _finished(run, device) for name, run in runs.items()}, rounds)
        for (model, form), milliseconds in times.items():
            speed = ratio(times, (DEIT, form), (model, form)) if (DEIT, form) in times else None
            found = runs[model, form]().float().cpu().numpy()
            error = None if model == DEIT else relative_error(found, expected)
            yield [f"{model}, {form}", tables.spread(milliseconds), speed, error]


def _runs(size: int, batch: int, device: str) -> Iterator[tuple[Name, Run]]:
    x = torch.from_numpy(images(size, batch)).to(device)
    model = hamsa_s(size)
    say(f"{size} pixels, batch {batch}: real form")
    with quietly():
        real = to_real(model, (x.cpu(),), dynamic_shapes={}, target="tensorrt").module()
    model, real, deit = model.to(device), real.to(device), deit_s(size).to(device)

    def plain() -> Tensor:
        return _logits(model(x))

    yield (HAMSA, "torch.fft, float32"), plain
    if device == "cuda":
        yield (HAMSA, "torch.fft, float32, CUDA graph"), _as_graph(plain)
    for name, module in ((HAMSA, real), (DEIT, deit)):
        run = _in_float16(module, x, device)
        yield (name, "float16"), run
        if device == "cuda":
            yield (name, "float16, CUDA graph"), _as_graph(run)
        say(f"{size} pixels, batch {batch}: compiling {name}")
        fused = _in_float16(_fused(module), x, device)
        yield (name, "float16, fused, CUDA graph"), _as_graph(fused) if device == "cuda" else fused
    if device == "cuda":
        yield from _bundles(size, batch)


def _fused(module: nn.Module) -> nn.Module:
    return torch.compile(module)  # type: ignore[return-value]  # a module for a module


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


def _bundles(size: int, batch: int) -> Iterator[tuple[Name, Run]]:
    """HAMSA-S as a bundle in float16, for each of the two TensorRTs that is here; engines stay open."""
    pixels = np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), dtype=np.uint8)
    for target in ("tensorrt", "tensorrt-rtx"):
        folder = Path(tempfile.mkdtemp(), target)
        try:
            say(f"batch {batch}: bundle for {target}")
            _export(target, size, batch, folder)
            for graph in (False, True):
                engine = Engine(folder, cuda_graph=graph)
                yield (HAMSA, f"bundle, {target}{', CUDA graph' if graph else ''}"), _engine_run(engine, pixels)
        except HamsaError as error:
            say(f"no {target}: {error.found.splitlines()[0]}")


def _export(target: str, size: int, batch: int, folder: Path) -> None:
    hamsa_deploy.export(
        hamsa_s(size),
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
