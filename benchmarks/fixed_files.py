"""ONNX files with DFT and STFT, and what `hamsa-fix` makes of them: nodes, errors and times on two engines.

    python benchmarks/fixed_files.py [--threads 1] [--rounds 9]

Errors are of the first output, relative to its largest value, against the original file in float64 on onnx.reference.
The files of torch are torch.onnx.export(dynamo=True)'s; the others are written out here, one in the manner of
converters: Unsqueeze, DFT, one Gather for each part.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import tables
import torch
from measure import FLOAT32_RUNS, Run, interleaved, quietly, ratio, say
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from hamsa_runtime.fix import fix_onnx
from hamsa_runtime.fix.loading import load_onnx
from hamsa_runtime.fix.reference_session import ReferenceSession
from hamsa_runtime.fix.verification import relative_error

COLUMNS = {
    "file": "",
    "nodes": "",
    "ONNX Runtime: error": ".0e",
    "repaired": ".0e",
    "time": ".2f",
    "OpenVINO: error": ".0e",
    "repaired ": ".0e",
    "time ": ".2f",
}


class File(NamedTuple):
    """A model, and the shape of its input."""

    make: Callable[[], onnx.ModelProto]
    shape: tuple[int, ...]


def main() -> None:
    parser = tables.parser(__doc__, threads=1)
    parser.add_argument("--rounds", type=int, default=9, help="runs of each")
    options, report = tables.begin(parser)
    rows = [_row(name, file, options.threads, options.rounds) for name, file in FILES.items()]
    report.show("files before and after hamsa-fix; time: after / before", COLUMNS, rows)


def _row(name: str, file: File, threads: int, rounds: int) -> tables.Row:
    say(name)
    x = np.random.default_rng(0).standard_normal(file.shape, dtype=np.float32)
    with tempfile.TemporaryDirectory() as folder:
        original, repaired = Path(folder, "original.onnx"), Path(folder, "repaired.onnx")
        onnx.save(file.make(), original)
        fixed = fix_onnx(original, repaired)
        loaded = load_onnx(original)
        expected = next(iter(ReferenceSession(loaded)({str(loaded.model.graph.inputs[0].name): x}).values()))
        cells: tables.Row = [name, f"{fixed.nodes[0]} -> {fixed.nodes[1]}"]
        for run in FLOAT32_RUNS.values():
            cells += _compared(lambda path, run=run: run(path, x, threads), original, repaired, expected, rounds)  # type: ignore[misc]
    return cells


def _compared(
    load: Callable[[Path], Run], original: Path, repaired: Path, expected: np.ndarray, rounds: int
) -> list[tables.Cell]:
    """Errors before and after, and the ratio of times; a word where there is no number."""
    after = load(repaired)
    try:
        before = load(original)
        found = before()
    except Exception:  # noqa: BLE001  # what an engine does not read it refuses in many ways
        return ["refused", relative_error(after(), expected), None]
    wrong: tables.Cell = relative_error(found, expected) if found.shape == expected.shape else "wrong shape"
    times = interleaved({"after": after, "before": before}, rounds)
    return [wrong, relative_error(after(), expected), ratio(times, "after", "before")]


def _exported(module: nn.Module, shape: tuple[int, ...], *, length: bool = False) -> onnx.ModelProto:
    """As torch.onnx writes it, with the batch dynamic, or the length of the signal too."""
    sizes = {0: torch.export.Dim.DYNAMIC} | ({1: torch.export.Dim.DYNAMIC} if length else {})
    with quietly():
        program = torch.onnx.export(
            module.eval(), (torch.zeros(2, *shape[1:]),), dynamic_shapes=(sizes,), dynamo=True, verbose=False
        )
    assert program is not None
    return program.model_proto


class Spectrogram(nn.Module):
    """log |STFT|^2, as speech models begin."""

    def __init__(self, n: int, hop: int) -> None:
        super().__init__()
        self.n, self.hop = n, hop
        self.window: Tensor
        self.register_buffer("window", torch.hann_window(n))

    def forward(self, x: Tensor) -> Tensor:
        z = torch.stft(x, self.n, self.hop, window=self.window, center=False, return_complex=True)
        parts = torch.view_as_real(z)
        return torch.log1p((parts * parts).sum(-1))


class GlobalFilter(nn.Module):
    """A learned filter of images' spectra: the layer of GFNet."""

    def __init__(self, size: int, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(size, size // 2 + 1, channels, 2))

    def forward(self, x: Tensor) -> Tensor:
        z = torch.fft.rfft2(x, dim=(1, 2), norm="ortho") * torch.view_as_complex(self.weight)
        return torch.fft.irfft2(z, s=x.shape[1:3], dim=(1, 2), norm="ortho")


class Mixing(nn.Module):
    """What FNet has in place of attention."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.fft2(x, dim=(1, 2)).real


def _graph(
    nodes: list[onnx.NodeProto], shape: list[int | str], constants: dict[str, np.ndarray], rank: int, opset: int
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * rank)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def _integer(value: int) -> np.ndarray:
    return np.array(value, dtype=np.int64)


def _converters_magnitude() -> onnx.ModelProto:
    """|rfft(x)|, of frames of 512 samples: what a converter writes that knows one operator after the other."""
    nodes = [
        helper.make_node("Unsqueeze", ["x", "last"], ["pairs"]),
        helper.make_node("DFT", ["pairs", "length"], ["spectrum"], axis=2, onesided=1),
        helper.make_node("Gather", ["spectrum", "zero"], ["re"], axis=-1),
        helper.make_node("Gather", ["spectrum", "one"], ["im"], axis=-1),
        helper.make_node("Mul", ["re", "re"], ["re2"]),
        helper.make_node("Mul", ["im", "im"], ["im2"]),
        helper.make_node("Add", ["re2", "im2"], ["power"]),
        helper.make_node("Sqrt", ["power"], ["y"]),
    ]
    constants = {"last": np.array([-1]), "length": _integer(512), "zero": _integer(0), "one": _integer(1)}
    return _graph(nodes, ["N", 98, 400], constants, 3, 17)


def _transform(shape: list[int | str], axis: int, opset: int, **attributes: Any) -> onnx.ModelProto:
    """One DFT."""
    if opset >= 20:
        node = helper.make_node("DFT", ["x", "", "axis"], ["y"], **attributes)
        return _graph([node], shape, {"axis": _integer(axis)}, len(shape), opset)
    return _graph([helper.make_node("DFT", ["x"], ["y"], axis=axis, **attributes)], shape, {}, len(shape), opset)


def _short_time() -> onnx.ModelProto:
    """One STFT, of signals of any length."""
    node = helper.make_node("STFT", ["x", "step", "window"], ["y"])
    constants = {"step": _integer(128), "window": np.hanning(512).astype(np.float32)}
    return _graph([node], ["N", "L", 1], constants, 4, 17)


FILES = {
    "torch: log spectrogram, 400 every 160": File(lambda: _exported(Spectrogram(400, 160), (1, 16000)), (1, 16000)),
    "torch: the same, of any length": File(
        lambda: _exported(Spectrogram(400, 160), (1, 16000), length=True), (1, 16000)
    ),
    "torch: global filter, 56 x 56 x 64": File(
        lambda: _exported(GlobalFilter(56, 64), (1, 56, 56, 64)), (1, 56, 56, 64)
    ),
    "torch: mixing, 196 x 384": File(lambda: _exported(Mixing(), (1, 196, 384)), (1, 196, 384)),
    "converter: magnitudes, 98 x 400 to 512": File(_converters_magnitude, (1, 98, 400)),
    "DFT-17, onesided, 64 x 1024": File(lambda: _transform(["N", 64, 1024, 1], 2, 17, onesided=1), (1, 64, 1024, 1)),
    "DFT-20, complex, 384 x 196": File(lambda: _transform(["N", 384, 196, 2], 2, 20), (1, 384, 196, 2)),
    "DFT-20, axis 1 of 196 x 384": File(lambda: _transform(["N", 196, 384, 1], 1, 20, onesided=1), (1, 196, 384, 1)),
    "DFT-20, inverse onesided, 384 x 99": File(
        lambda: _transform(["N", 384, 99, 2], 2, 20, inverse=1, onesided=1), (1, 384, 99, 2)
    ),
    "STFT, 512 every 128, any length": File(_short_time, (1, 16000, 1)),
}


if __name__ == "__main__":
    main()
