"""Which models TensorRT-RTX reads and builds, in which precision, how long that takes and how large the plans are.

    python benchmarks/tensorrt_builds.py [--models hamsa_nano ...] [--precisions fp16 int8] [--weights hamsa_s=FILE]

No GPU is needed. The ONNX file is the one that TensorRT 10.3 and later build on the device; it is compared with PyTorch
by ONNX Runtime. Built-in models have random weights but for hamsa_nano and what --weights names.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import onnx

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
HEAD = ("model", "precision", "batch", "parse s", "build s", "ONNX MB", "plan MB", "nodes", "layers", "cosine", "top-1")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--precisions", nargs="+", default=PRECISIONS)
    parser.add_argument("--weights", nargs="*", default=[], metavar="MODEL=FILE")
    options = parser.parse_args()
    weights = dict(each.split("=", 1) for each in options.weights)
    operators: dict[str, Counter[str]] = {}
    print(f"tensorrt_rtx {load('tensorrt-rtx').__version__}\n")
    print("| " + " | ".join(HEAD) + " |\n|---|---|---|" + "---:|" * (len(HEAD) - 3))
    for name in options.models:
        for precision in options.precisions:
            for batch in BATCHES:
                print(_row(name, precision, batch, weights.get(name), operators), flush=True)
    print("\nOperators of the ONNX files, all batches and precisions, domain ai.onnx:")
    for name, counts in operators.items():
        print(f"  {name}: {', '.join(sorted(counts))}")


def _row(name: str, precision: str, batch: int | None, weights: str | None, operators: dict[str, Counter[str]]) -> str:
    with tempfile.TemporaryDirectory() as folder:
        try:
            bundle = _exported(name, precision, batch, weights, Path(folder, "bundle"))
        except HamsaError as error:
            return f"| {name} | {precision} | {_batch(batch)} | {error.found} |"
        operators.setdefault(name, Counter()).update(_operators(bundle))
        cells = _figures(bundle)
    return "| " + " | ".join((name, precision, _batch(batch), *cells)) + " |"


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


def _figures(bundle: Bundle) -> tuple[str, ...]:
    """Of a build that takes nothing from the cache."""
    manifest = bundle.manifest
    onnx_file = bundle.folder / "model.onnx"
    built = plan_from_onnx(load(manifest.target), onnx_file, options_from_manifest(manifest.options))
    assert manifest.parity is not None
    metrics = manifest.parity.metrics
    top1 = metrics.get("logits", {}).get("top1")
    return (
        f"{built.parse_seconds:.1f}",
        f"{built.seconds - built.parse_seconds:.1f}",
        f"{onnx_file.stat().st_size / 1e6:.1f}",
        f"{len(built.plan) / 1e6:.1f}",
        _counts(built.asked),
        "-" if built.achieved is None else _counts(built.achieved.layers),
        f"{min(each['cosine'] for each in metrics.values()):.6f}",
        "-" if top1 is None else f"{top1:.1%}",
    )


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
