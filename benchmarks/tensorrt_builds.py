"""Which models TensorRT-RTX reads and builds, in which precision, how long that takes and how large the plans are.

    python benchmarks/tensorrt_builds.py [--models hamsa_nano ...] [--precisions fp16 int8] [--weights hamsa_s=FILE]

No GPU is needed. The ONNX file is the one that TensorRT 10.3 and later build on the device; it is compared with PyTorch
by ONNX Runtime. Built-in models have random weights but for hamsa_nano and what --weights names.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import onnx
import tables

import hamsa_deploy
from hamsa_deploy.models import model_entry
from hamsa_deploy.samples import sample_images
from hamsa_runtime.bundle import Bundle
from hamsa_runtime.errors import HamsaError
from hamsa_runtime.tensorrt.building import plan_from_onnx
from hamsa_runtime.tensorrt.modules import load
from hamsa_runtime.tensorrt.options import options_from_manifest

MODELS = ("hamsa_nano", "hamsa_tiny", "hamsa_s", "hamsa_b", "vminet_ti")
PRECISIONS = ("fp32", "fp16", "int8")
BATCHES: tuple[int | None, ...] = (None, 1)
UNWANTED = ("DFT", "STFT", "Loop", "Scan", "If")
COLUMNS = {
    "precision": "", "batch": "", "parse, s": ".1f", "build, s": ".1f", "ONNX, MB": ".1f", "plan, MB": ".1f",
    "nodes": "", "layers": "", "cosine": ".6f", "same top-1": ".1%",
}  # fmt: skip
Operators = dict[str, Counter[str]]


def main() -> None:
    parser = tables.parser(__doc__)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--precisions", nargs="+", default=PRECISIONS)
    parser.add_argument("--weights", nargs="*", default=[], metavar="MODEL=FILE")
    options, report = tables.begin(parser)
    weights = dict(each.split("=", 1) for each in options.weights)
    operators: Operators = {}
    for name in options.models:
        rows = _rows(name, options.precisions, weights.get(name), operators)
        report.show(f"{name}, built by TensorRT-RTX", COLUMNS, rows)
    found = [[name, ", ".join(sorted(counts))] for name, counts in operators.items()]
    report.show("Operators of all ONNX files, domain ai.onnx", {"model": "", "operators": ""}, found)


def _rows(name: str, precisions: Sequence[str], weights: str | None, operators: Operators) -> Iterator[tables.Row]:
    for precision in precisions:
        for batch in BATCHES:
            yield [precision, _batch(batch), *_cells(name, precision, batch, weights, operators)]


def _cells(name: str, precision: str, batch: int | None, weights: str | None, operators: Operators) -> tables.Row:
    with tempfile.TemporaryDirectory() as folder:
        try:
            bundle = _exported(name, precision, batch, weights, Path(folder, "bundle"))
        except HamsaError as error:
            return [*[None] * 5, error.found, None, None]
        operators.setdefault(name, Counter()).update(_operators(bundle))
        return _figures(bundle)


def _exported(name: str, precision: str, batch: int | None, weights: str | None, folder: Path) -> Bundle:
    return hamsa_deploy.export(
        hamsa_deploy.load_model(name, weights),
        to="tensorrt-rtx",
        precision=precision,
        batch=batch,
        output=folder,
        preprocessing=model_entry(name).preprocessing,
        data=sample_images(name),
        calibration=sample_images(name) if precision == "int8" else None,
        require_plan=True,
    )


def _figures(bundle: Bundle) -> tables.Row:
    """Of a build that takes nothing from the cache."""
    manifest = bundle.manifest
    onnx_file = bundle.folder / "model.onnx"
    built = plan_from_onnx(load(manifest.target), onnx_file, options_from_manifest(manifest.options))
    assert manifest.parity is not None
    metrics = manifest.parity.metrics
    return [
        built.parse_seconds,
        built.seconds - built.parse_seconds,
        onnx_file.stat().st_size / 1e6,
        len(built.plan) / 1e6,
        _counts(built.asked),
        None if built.achieved is None else _counts(built.achieved.layers),
        min(each["cosine"] for each in metrics.values()),
        metrics.get("logits", {}).get("top1"),
    ]


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in counts.items())


def _operators(bundle: Bundle) -> Mapping[str, int]:
    model = onnx.load(bundle.folder / "model.onnx", load_external_data=False)
    assert [(each.domain, each.version) for each in model.opset_import] == [("", 20)]
    counts = Counter(node.op_type for node in model.graph.node)
    assert not counts.keys() & set(UNWANTED), counts
    return counts


def _batch(batch: int | None) -> str:
    return "1 to 8" if batch is None else str(batch)


if __name__ == "__main__":
    main()
