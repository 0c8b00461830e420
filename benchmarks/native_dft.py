"""The engines' own DFT operator against the plan that the cost model chooses: one transform of real signals.

    python benchmarks/native_dft.py [--threads 2] [--rounds 9] [--columns 32]

Both give (signals, frequencies, 2): the native operator along its last axis, where it is fastest; the plan along any.
One-sided on ONNX Runtime; OpenVINO 2026.4 reads one-sided transforms wrongly, so that both give all frequencies there.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
import tables
import torch
from measure import FLOAT32_RUNS, Run, interleaved, ratio, relative_error, say
from onnx import TensorProto, helper
from torch import Tensor, nn

from hamsa_deploy import to_real
from hamsa_deploy.targets import target_of
from hamsa_deploy.targets.onnx_file import onnx_from_program
from hamsa_runtime.dft.factorisations import plan_for

OPSET = 19  # the last whose DFT has its axis as an attribute
LENGTHS = (49, 64, 196, 256, 784, 1024, 3136, 4096, 16384, 65536)


def main() -> None:
    parser = tables.parser(__doc__, threads=2)
    parser.add_argument("--rounds", type=int, default=9, help="runs of each")
    parser.add_argument("--columns", type=int, default=32, help="how many signals")
    options, report = tables.begin(parser)
    columns = {"length": "d", "plan": "", "ms": ".2f", "native, ms": ".2f", "native / plan": ".1f", "its error": ".0e"}
    for target in FLOAT32_RUNS:
        rows = [_row(target, n, options.columns, options.threads, options.rounds) for n in LENGTHS]
        report.show(f"{target_of(target).title}, {options.columns} signals", columns, rows)


def _row(target: str, n: int, columns: int, threads: int, rounds: int) -> tables.Row:
    say(f"length {n} on {target}")
    x = np.random.default_rng(0).standard_normal((1, columns, n), dtype=np.float32)
    one_sided = target == "onnx"
    with tempfile.TemporaryDirectory() as folder:
        ours, native = Path(folder, "plan.onnx"), Path(folder, "native.onnx")
        program = to_real(Transform(one_sided), (torch.from_numpy(x),), dynamic_shapes={}, target=target)
        onnx_from_program(program, ours, inputs=["x"], outputs=["y"])
        onnx.save(native_model(n, columns, one_sided), native)
        runs = {"plan": _run(target, ours, x, threads), "native": _run(target, native, x[..., None], threads)}
        times = interleaved(runs, rounds)
        spectrum = np.fft.rfft(x.astype(np.float64)) if one_sided else np.fft.fft(x.astype(np.float64))
        error = relative_error(runs["native"](), np.stack([spectrum.real, spectrum.imag], axis=-1))
    form = " x ".join(map(str, plan_for(n, target_of(target).rates, columns).factors))
    plan, dft = (tables.spread(times[name]) for name in runs)
    return [n, form, plan, dft, ratio(times, "native", "plan"), error]


class Transform(nn.Module):
    """The spectrum of the last axis, real and imaginary parts in a last dimension of 2."""

    def __init__(self, one_sided: bool) -> None:
        super().__init__()
        self.one_sided = one_sided

    def forward(self, x: Tensor) -> Tensor:
        return torch.view_as_real(torch.fft.rfft(x) if self.one_sided else torch.fft.fft(x))


def native_model(n: int, columns: int, one_sided: bool) -> onnx.ModelProto:
    """One DFT operator: (1, columns, n, 1) -> (1, columns, frequencies, 2)."""
    frequencies = n // 2 + 1 if one_sided else n
    node = helper.make_node("DFT", ["x"], ["y"], axis=2, onesided=int(one_sided))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, columns, n, 1])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, columns, frequencies, 2])
    graph = helper.make_graph([node], "native", [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)


def _run(target: str, path: Path, x: np.ndarray, threads: int) -> Run:
    return FLOAT32_RUNS[target](path, x, threads)


if __name__ == "__main__":
    main()
