"""Short-time transforms: eager PyTorch, a convolution written by hand, ONNX's STFT operator, and what is made here.

    python benchmarks/short_time.py [--batch 16] [--threads 1] [--rounds 41] [--cases 128,8,1024] [--inverse] [--plans]

The sizes are those of https://github.com/microsoft/onnxruntime/issues/32403, (n_fft, hop, samples). "stft" is a model
with torch.stft, "unfold" one with unfold, a window and torch.fft.rfft, which has the frames before the frequencies.
Both give complex spectra, which a file has as (.., 2), and so does the convolution. Candidates take turns; on one
thread it is processor time that counts, which leaves out what a busy machine adds. OpenVINO does not run the STFT
operator with a signal of real numbers.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import tables
import torch
from measure import FLOAT32_RUNS, quietly, ratio, relative_error, say
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from hamsa_deploy import to_real
from hamsa_deploy.measure.interleaved import Clock, Run, time_in_turn
from hamsa_deploy.scan.forms import Plans
from hamsa_deploy.targets import target_of
from hamsa_deploy.targets.onnx_file import OPSET, onnx_from_program
from hamsa_runtime.dft.costs import nanoseconds
from hamsa_runtime.dft.factorisations import candidates, framed_plan_for, framed_work

CASES = ((128, 8, 1024), (100, 10, 1000), (1024, 256, 32000))
TURN_SECONDS = 0.02
# In float32; the longest product has 1024 terms.
LARGEST_ERROR = 5e-6

Case = tuple[int, int, int]
NO_PLANS: Plans = {}


def main() -> None:
    parser = tables.parser(__doc__, threads=1)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=41)
    parser.add_argument("--cases", type=_case, nargs="+", default=CASES, help="n_fft,hop,samples")
    parser.add_argument("--inverse", action="store_true", help="istft, too, of spectra of the same sizes")
    parser.add_argument("--plans", action="store_true", help="magnitudes by the plan that is chosen, and by others")
    options, report = tables.begin(parser)
    torch.set_num_threads(options.threads)
    clock = time.process_time if options.threads == 1 else time.perf_counter
    for case in options.cases:
        sizes = f"n_fft {case[0]}, hop {case[1]}, {case[2]} samples, batch {options.batch}"
        with tempfile.TemporaryDirectory() as folder:
            for title, runs in _tables(case, options, Path(folder)):
                columns = {"": "", "ms": ".3f", "of the first": ".2f"}
                report.show(f"{title}: {sizes}", columns, _rows(runs, options.rounds, clock))


def _tables(case: Case, options: argparse.Namespace, folder: Path) -> Iterator[tuple[str, dict[str, Run]]]:
    """Titles and candidates."""
    if options.plans:
        for target in FLOAT32_RUNS:
            yield f"{target}, the chosen plan first", _by_plan(case, target, options.batch, options.threads, folder)
        return
    yield "Forward", _forward(case, options.batch, options.threads, folder)
    if options.inverse:
        yield "Inverse", _inverse(case, options.batch, options.threads, folder)


def _case(text: str) -> Case:
    n, hop, samples = (int(number) for number in text.split(","))
    return n, hop, samples


def _rows(runs: dict[str, Run], rounds: int, clock: Clock) -> Iterator[tables.Row]:
    turns = time_in_turn(runs, 0.0, turn_seconds=TURN_SECONDS, fewest=rounds, clock=clock)
    times = {name: [1e3 * turn.median for turn in each] for name, each in turns.items()}
    for name, milliseconds in times.items():
        yield [name, tables.spread(milliseconds), ratio(times, name, next(iter(times)))]


class Framed(nn.Module):
    """Has a window."""

    def __init__(self, n: int, hop: int) -> None:
        super().__init__()
        self.n, self.hop = n, hop
        self.window: Tensor
        self.register_buffer("window", torch.hann_window(n))


class Stft(Framed):
    """torch.stft without centring."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.stft(x, self.n, self.hop, window=self.window, center=False, return_complex=True)


class Magnitudes(Framed):
    """Of torch.stft."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.stft(x, self.n, self.hop, window=self.window, center=False, return_complex=True).abs()


class Unfolded(Framed):
    """The same with the frames before the frequencies, by unfold."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.rfft(x.unfold(-1, self.n, self.hop) * self.window)


class Istft(Framed):
    """torch.istft of centred frames."""

    def forward(self, z: Tensor) -> Tensor:
        return torch.istft(torch.view_as_complex(z), self.n, self.hop, window=self.window)


def _forward(case: Case, batch: int, threads: int, folder: Path) -> dict[str, Run]:
    n, hop, samples = case
    x = np.random.default_rng(0).standard_normal((batch, samples), dtype=np.float32)
    model = Stft(n, hop).eval()
    runs: dict[str, Run] = {"eager torch.stft": _eager(model, torch.from_numpy(x))}
    expected = torch.view_as_real(model.double()(torch.from_numpy(x).double())).numpy()
    by_hand = _convolution(case, batch, folder)
    for target, run in FLOAT32_RUNS.items():
        runs[f"convolution by hand, {target}"] = found = run(by_hand, x, threads)
        _check("the convolution", found(), expected)
        for name, module in (("stft", Stft(n, hop)), ("unfold", Unfolded(n, hop))):
            file = _ours(module, torch.from_numpy(x), target, folder / f"{name}-{target}.onnx")
            runs[f"{name}, {target}"] = found = run(file, x, threads)
            _check(name, found() if name == "stft" else found().swapaxes(1, 2), expected)
    runs["STFT operator, onnx"] = FLOAT32_RUNS["onnx"](_operator(case, batch, folder), x, threads)
    return runs


def _inverse(case: Case, batch: int, threads: int, folder: Path) -> dict[str, Run]:
    n, hop, samples = case
    frames = (samples - n) // hop + 1
    z = np.random.default_rng(0).standard_normal((batch, n // 2 + 1, frames, 2), dtype=np.float32)
    model = Istft(n, hop).eval()
    runs: dict[str, Run] = {"eager torch.istft": _eager(model, torch.from_numpy(z))}
    expected = model.double()(torch.from_numpy(z).double()).numpy()
    for target, run in FLOAT32_RUNS.items():
        file = _ours(Istft(n, hop), torch.from_numpy(z), target, folder / f"istft-{target}.onnx")
        runs[f"istft, {target}"] = found = run(file, z, threads)
        _check("istft", found(), expected)
    return runs


def _by_plan(case: Case, target: str, batch: int, threads: int, folder: Path) -> dict[str, Run]:
    """The chosen plan, the dense one, and of those with two and three factors the three best by estimate."""
    n, hop, samples = case
    x = np.random.default_rng(0).standard_normal((batch, samples), dtype=np.float32)
    rates, columns = target_of(target).rates, batch * ((samples - n) // hop + 1)
    ranked = sorted(candidates(n), key=lambda plan: nanoseconds(framed_work(plan, hop), rates, columns))
    others = [plan for count in (1, 2, 3) for plan in [plan for plan in ranked if len(plan.factors) == count][:3]]
    runs: dict[str, Run] = {}
    for plan in dict.fromkeys([framed_plan_for(n, hop, rates, columns), *others]):
        name = "x".join(map(str, plan.factors))
        file = _ours(Magnitudes(n, hop), torch.from_numpy(x), target, folder / f"{target}-{name}.onnx", {n: plan})
        runs[name] = FLOAT32_RUNS[target](file, x, threads)
    return runs


def _eager(model: nn.Module, x: Tensor) -> Callable[[], object]:
    model = type(model)(model.n, model.hop)

    def run() -> object:
        with torch.inference_mode():
            return model(x)

    return run


def _ours(module: nn.Module, x: Tensor, target: str, path: Path, plans: Plans = NO_PLANS) -> Path:
    say(f"exporting {path.stem}")
    with quietly():
        program = to_real(module.eval(), (x,), dynamic_shapes={}, target=target, plans=plans)
        onnx_from_program(program, path, inputs=["x"], outputs=["y"])
    return path


def _check(name: str, found: np.ndarray, expected: np.ndarray) -> None:
    error = relative_error(found, expected)
    assert error < LARGEST_ERROR, f"{name} is off by {error}"


def _convolution(case: Case, batch: int, folder: Path) -> Path:
    """Conv(x, window times cosines and sines), as (batch, frequencies, frames, 2)."""
    n, hop, samples = case
    rows = np.fft.rfft(np.eye(n)) * torch.hann_window(n, dtype=torch.float64).numpy()[:, None]
    kernel = np.concatenate([rows.real.T, rows.imag.T])[:, None].astype(np.float32)
    nodes = [
        helper.make_node("Unsqueeze", ["x", "axes"], ["signal"]),
        helper.make_node("Conv", ["signal", "kernel"], ["both"], strides=[hop]),
        helper.make_node("Reshape", ["both", "shape"], ["parts"]),
        helper.make_node("Transpose", ["parts"], ["y"], perm=[0, 2, 3, 1]),
    ]
    constants = [
        numpy_helper.from_array(np.array([1]), "axes"),
        numpy_helper.from_array(kernel, "kernel"),
        numpy_helper.from_array(np.array([batch, 2, n // 2 + 1, (samples - n) // hop + 1]), "shape"),
    ]
    return _saved(nodes, constants, [batch, samples], folder / "convolution.onnx")


def _operator(case: Case, batch: int, folder: Path) -> Path:
    """ONNX's own, (batch, frames, frequencies, 2)."""
    n, hop, samples = case
    nodes = [
        helper.make_node("Unsqueeze", ["x", "axes"], ["signal"]),
        helper.make_node("STFT", ["signal", "hop", "window", "length"], ["y"], onesided=1),
    ]
    constants = [
        numpy_helper.from_array(np.array([2]), "axes"),
        numpy_helper.from_array(np.array(hop), "hop"),
        numpy_helper.from_array(torch.hann_window(n).numpy(), "window"),
        numpy_helper.from_array(np.array(n), "length"),
    ]
    return _saved(nodes, constants, [batch, samples], folder / "operator.onnx")


def _saved(nodes: list[onnx.NodeProto], constants: list[onnx.TensorProto], shape: list[int], path: Path) -> Path:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "short_time", [x], [y], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9), path)
    return path


if __name__ == "__main__":
    main()
