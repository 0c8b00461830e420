"""DeiT-S for each engine in the form that the engine runs fastest; run by itself, it compares the forms.

    python benchmarks/peers.py [--size 224] [--batch 1] [--runs 9] [--threads 2]

A comparison is worth as much as the care spent on the other side. What was measured on a Xeon with AMX, one thread,
CPU time, with ONNX Runtime 1.31 and OpenVINO 2026.4, at 224, 448, 896 and (OpenVINO) 1248 pixels:

ONNX Runtime    its own MultiHeadAttention (com.microsoft), and opset 20, where GELU is one operator: best or within
                2 % at every size. ONNX's Attention (opset 23) is as fast up to 448 pixels and 11 % slower at 896. The
                decomposed form of opset 18 is 5 to 12 % slower. onnxscript's fusions for ONNX Runtime find the same
                MultiHeadAttention, but take the biases out of the linears: 11 % slower at 224. The `vit` optimiser of
                onnxruntime.transformers finds no attention in the exporter's graph.
OpenVINO        every form ends as one operator per attention, a Subgraph with both products and the softmax inside, and
                all are within 3 % of each other. Its own PyTorch front end leaves the fewest transposes, and is
                fastest or within 2 % at every size. (The plugin has an operator ScaledDotProductAttention, but keeps it
                for language models with a cache.) Without those Subgraphs attention costs far more: DeiT-S takes
                1.5 times as long at 896 pixels in f32, 2.6 times in bf16.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import tables
import torch
from measure import (
    BF16,
    F32,
    Run,
    Times,
    eager_run,
    images,
    interleaved,
    onnxruntime_run,
    openvino_run,
    ratio,
    relative_error,
    say,
)
from torch import Tensor

from hamsa_deploy.bench.peers.deit import HEADS, Attend, deit_s, fused
from hamsa_deploy.bench.peers.vision_transformer import multi_head_attention, onnx_file, openvino_file

Export = Callable[[int, int, Path], Path]
"""Image size, batch, folder -> the file written there."""


def for_onnxruntime(size: int, batch: int, folder: Path) -> Path:
    """ONNX file with ONNX Runtime's MultiHeadAttention."""
    return _onnx(size, batch, folder / "deit_s_mha.onnx", multi_head_attention, opset=20)


def for_openvino(size: int, batch: int, folder: Path) -> Path:
    """IR from OpenVINO's PyTorch front end."""
    path = folder / "deit_s.xml"
    openvino_file(deit_s(size), torch.from_numpy(images(size, batch)), path)
    return path


def decomposed(size: int, batch: int, folder: Path) -> Path:
    """ONNX file in which attention is two products and a softmax."""
    return _onnx(size, batch, folder / "deit_s_18.onnx", fused, opset=18)


def standard_attention(size: int, batch: int, folder: Path) -> Path:
    """ONNX file with the operator Attention of opset 23."""
    return _onnx(size, batch, folder / "deit_s_23.onnx", _attention, opset=23)


def _onnx(size: int, batch: int, path: Path, attend: Attend, opset: int) -> Path:
    onnx_file(deit_s(size, attend), torch.from_numpy(images(size, batch)), path, opset=opset)
    return path


def _attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return torch.onnx.ops.attention(q, k, v, q_num_heads=HEADS, kv_num_heads=HEADS)[0]


def main() -> None:
    parser = tables.parser(__doc__, threads=2)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--runs", type=int, default=9)
    options, report = tables.begin(parser)
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        runs = _all_forms(options.size, options.batch, options.threads, Path(folder))
        title = f"DeiT-S, {options.size} pixels, batch {options.batch}"
        columns = {"": "", "ms": ".1f", "of first": ".2f", "error": ".1e"}
        report.show(title, columns, _rows(runs, interleaved(runs, options.runs)))


# The first form of each engine is the one that hamsa_s.py and growth.py take.
FORMS: dict[str, dict[str, Export]] = {
    "ONNX Runtime": {
        "MultiHeadAttention, opset 20": for_onnxruntime,
        "Attention, opset 23": standard_attention,
        "decomposed, opset 18": decomposed,
    },
    f"OpenVINO {F32}": {
        "PyTorch front end": for_openvino,
        "Attention, opset 23": standard_attention,
        "decomposed, opset 18": decomposed,
    },
}
FORMS[f"OpenVINO {BF16}"] = FORMS[f"OpenVINO {F32}"]


def _all_forms(size: int, batch: int, threads: int, folder: Path) -> dict[tuple[str, str], Run]:
    x = images(size, batch)
    runs = {("PyTorch eager", "scaled_dot_product_attention"): eager_run(deit_s(size), x)}
    files: dict[Export, Path] = {}
    for engine, forms in FORMS.items():
        for form, export in forms.items():
            say(f"preparing {engine}, {form}")
            if export not in files:
                files[export] = export(size, batch, folder)
            if engine == "ONNX Runtime":
                runs[engine, form] = onnxruntime_run(files[export], x, threads)
            else:
                runs[engine, form] = openvino_run(files[export], x, engine.split()[1], threads)
    return runs


def _rows(runs: dict[tuple[str, str], Run], times: Times[tuple[str, str]]) -> Iterator[tables.Row]:
    expected = runs["PyTorch eager", "scaled_dot_product_attention"]()
    for name, values in times.items():
        first = next(key for key in times if key[0] == name[0])
        error = relative_error(runs[name](), expected)
        yield [", ".join(name), tables.spread(values), ratio(times, name, first), error]


if __name__ == "__main__":
    main()
