"""One scan on both engines: against the loop in eager PyTorch, that loop as the standard exporter unrolls it, and the
scan's exponentials alone.

    python benchmarks/scans.py [--cases vim-s mambavision-3 ..] [--threads 1] [--rounds 15] [--unrolled]

The sizes are those of published models at 224 pixels, batch 1. Errors are against float64, relative to the largest
output, the worst of four kinds of steps: as initialised, e^-50 of decay at each, 1e-6 of it, and both mixed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import openvino
import tables
import torch
import torch.nn.functional as F
from measure import F32, Run, Times, interleaved, onnxruntime_session, quietly, ratio, say
from torch import Tensor, nn

from hamsa_deploy import to_real
from hamsa_deploy.scan import selective_scan, ssd
from hamsa_deploy.targets.onnx_file import onnx_from_program

EAGER, UNROLLED, EXPONENTIALS = "eager loop", "unrolled", "exponentials"
KINDS = ("realistic", "strong", "weak", "mixed")
LONGEST_UNROLLED = 200  # steps: the exporter takes a minute for those


@dataclass(frozen=True)
class Size:
    """Groups, channels of a group, states, steps; for duality, heads, width of a head, states, steps."""

    groups: int
    width: int
    states: int
    length: int
    is_duality: bool = False


CASES = {
    "vim-s": Size(1, 768, 16, 197),
    "vmamba-1": Size(4, 192, 1, 3136),
    "vmamba-1, N = 16": Size(4, 192, 16, 3136),
    "mambavision-3": Size(1, 160, 8, 196),
    "mambavision-4": Size(1, 320, 8, 49),
    "ssd-197": Size(12, 64, 64, 197, is_duality=True),
    "ssd-3136": Size(12, 64, 16, 3136, is_duality=True),
}


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def steps(kind: str, *shape: int) -> Tensor:
    """What softplus makes steps of."""
    x = draw(*shape, seed=7)
    if kind == "mixed":
        return torch.where(x > 1.6, 50.0, x - 10)
    return {"realistic": x - 4.5, "strong": 50 + 10 * x.abs(), "weak": 0.1 * x - 14}[kind]


class Selective(nn.Module):
    """Mamba-1's scan with all that belongs to it."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        channels = size.groups * size.width
        self.A_log = nn.Parameter(torch.arange(1.0, size.states + 1).log().repeat(channels, 1))
        self.D, self.bias = nn.Parameter(draw(channels)), nn.Parameter(0.3 * draw(channels, seed=1))

    def forward(self, u: Tensor, delta: Tensor, B: Tensor, C: Tensor, z: Tensor) -> Tensor:
        return selective_scan(u, delta, -self.A_log.exp(), B, C, self.D, z, self.bias, True)[0]


class Unrolled(Selective):
    """The same as repositories carry it in plain PyTorch; for one group."""

    def forward(self, u: Tensor, delta: Tensor, B: Tensor, C: Tensor, z: Tensor) -> Tensor:
        dt, A = F.softplus(delta + self.bias[:, None]), -self.A_log.exp()
        decays = torch.exp(torch.einsum("bdl,dn->bdln", dt, A))
        increments = torch.einsum("bdl,bnl,bdl->bdln", dt, B[:, 0], u)
        h, ys = torch.zeros_like(decays[:, :, 0]), []
        for t in range(u.shape[2]):
            h = decays[:, :, t] * h + increments[:, :, t]
            ys.append(torch.einsum("bdn,bn->bd", h, C[:, 0, :, t]))
        return (torch.stack(ys, 2) + u * self.D[:, None]) * F.silu(z)


class Duality(nn.Module):
    """Mamba-2's scan."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.A, self.D = nn.Parameter(-(1 + draw(size.groups).abs())), nn.Parameter(draw(size.groups))

    def forward(self, x: Tensor, dt: Tensor, B: Tensor, C: Tensor) -> Tensor:
        return ssd(x, dt, self.A, B, C, self.D, dt_softplus=True)[0]


def inputs_of(size: Size, kind: str) -> tuple[Tensor, ...]:
    if size.is_duality:
        heads, shape = (1, size.length, size.groups), (1, size.length, 1, size.states)
        return draw(*heads, size.width), steps(kind, *heads), draw(*shape, seed=2), draw(*shape, seed=3)
    channels, shape = (1, size.groups * size.width, size.length), (1, size.groups, size.states, size.length)
    pair = draw(*shape, seed=2), draw(*shape, seed=3)
    return draw(*channels), steps(kind, *channels), *pair, draw(*channels, seed=4)


Feed = Mapping[str, np.ndarray]
Engine = Callable[[Feed], np.ndarray]
Notes = dict[str, tuple[int, float | None]]
"""Nodes of each file, and its error."""


def feed_of(inputs: Sequence[Tensor]) -> Feed:
    return {f"x{number}": each.numpy() for number, each in enumerate(inputs)}


class Exponentials(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.exp(x)


def written(model: nn.Module, inputs: Sequence[Tensor], target: str, path: Path) -> int:
    """Write a model's file; gives the number of its nodes."""
    with quietly():
        program = to_real(model, inputs, target=target, dynamic_shapes={})
        return len(onnx_from_program(program, path, inputs=list(feed_of(inputs)), outputs=["y"]).graph)


def standard(model: nn.Module, inputs: Sequence[Tensor], path: Path) -> int:
    """The same by the standard exporter alone."""
    with quietly():
        exported = torch.onnx.export(
            model, tuple(inputs), dynamo=True, input_names=list(feed_of(inputs)), verbose=False
        )
    assert exported is not None
    exported.save(path)
    return len(exported.model.graph)


def runner(target: str, path: Path, threads: int) -> Engine:
    """Runs a file."""
    if target == "onnx":
        session = onnxruntime_session(path, threads)
        return lambda feed: session.run(None, dict(feed))[0]
    options = {"INFERENCE_PRECISION_HINT": F32, "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    request = openvino.Core().compile_model(path, "CPU", options).create_infer_request()

    def run(feed: Feed) -> np.ndarray:
        request.infer(list(feed.values()), share_inputs=False)
        return request.get_output_tensor(0).data.copy()

    return run


def worst_error(model: nn.Module, size: Size, run: Engine) -> float:
    errors = []
    for kind in KINDS:
        inputs = inputs_of(size, kind)
        exact = model.double()(*(each.double() for each in inputs)).detach().numpy()
        model.float()
        errors.append(float(np.abs(run(feed_of(inputs)) - exact).max() / np.abs(exact).max()))
    return max(errors)


def measured(name: str, threads: int, rounds: int, folder: Path, *, unrolled: bool) -> tuple[Times[str], Notes]:
    """Time one case on both engines."""
    size = CASES[name]
    model = (Duality(size) if size.is_duality else Selective(size)).eval()
    inputs = inputs_of(size, "realistic")
    feed = feed_of(inputs)

    def eager() -> np.ndarray:
        with torch.inference_mode():
            return model(*inputs).numpy()

    runs: dict[str, Run] = {EAGER: eager}
    notes: Notes = {}
    for target in ("onnx", "openvino"):
        say(f"{name}: {target}")
        path = folder / f"{target}.onnx"
        nodes = written(model, inputs, target, path)
        run = runner(target, path, threads)
        runs[target] = partial(run, feed)
        notes[target] = nodes, worst_error(model, size, run)
        if size.is_duality:
            continue
        x = -torch.rand(size.length, size.groups * size.width * size.states)
        written(Exponentials(), [x], target, path)
        alone, given = runner(target, path, threads), feed_of([x])
        runs[f"{target} {EXPONENTIALS}"] = partial(alone, given)
        if unrolled and size.groups == 1 and size.length <= LONGEST_UNROLLED:
            nodes = standard(Unrolled(size).eval(), inputs, path)
            every = runner(target, path, threads)
            runs[f"{target} {UNROLLED}"] = partial(every, feed)
            notes[f"{target} {UNROLLED}"] = nodes, None
    return interleaved(runs, rounds), notes


RATIOS = {"eager / it": ".2f", "of its exponentials": ".2f", "of ours": ".1f"}
COLUMNS = {"": "", "ms": ".2f", **RATIOS, "nodes": "d", "error": ".1e"}


def rows(times: Times[str], notes: Notes) -> Iterator[tables.Row]:
    for key, each in times.items():
        alone = f"{key} {EXPONENTIALS}"
        of_alone = ratio(times, key, alone) if alone in times else None
        of_ours = ratio(times, key, key.split()[0]) if key.endswith(UNROLLED) else None
        yield [key, tables.spread(each), ratio(times, EAGER, key), of_alone, of_ours, *notes.get(key, (None, None))]


def main() -> None:
    parser = tables.parser(__doc__, threads=1)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--rounds", type=int, default=15, help="runs of each")
    parser.add_argument("--unrolled", action="store_true", help="the standard exporter's loops, too: a minute each")
    options, report = tables.begin(parser)
    torch.set_num_threads(options.threads)
    for name in options.cases:
        with tempfile.TemporaryDirectory() as folder:
            found = measured(name, options.threads, options.rounds, Path(folder), unrolled=options.unrolled)
        size = CASES[name]
        title = f"{name}: {size.groups} x {size.width} channels, N = {size.states}, {size.length} steps"
        report.show(title, COLUMNS, rows(*found))


if __name__ == "__main__":
    main()
