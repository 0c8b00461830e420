"""What each precision and each pass of int8 costs in accuracy, where a loss can show: hamsa_nano on drawn shapes.

    python benchmarks/accuracy.py [--images 20000] [--threads 2]

The weights are those that benchmarks/shapes.py trains; the images are drawn from another seed. The change is of the
share of images that are right, from PyTorch's float32 on the same images, in percentage points, with its 95 % interval
(hamsa_deploy.parity.significance); "other class" counts the images that are put elsewhere. Ranges of int8 are measured
on 256 images of a third seed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir
import tables
import torch
from measure import quietly, say
from precision import Form, Subject, bundles_of, outputs_of, reference_outputs
from shapes import CALIBRATION_SEED, HELD_OUT_SEED, WEIGHTS, shapes

from hamsa_deploy import load_model
from hamsa_deploy.graph.sessions import Evaluator
from hamsa_deploy.parity.significance import paired_accuracy
from hamsa_deploy.pipeline.int8 import calibrate
from hamsa_deploy.targets import target_of
from hamsa_runtime import Bundle
from hamsa_runtime.vocabulary import AUTO, METHODS, PASSES

CALIBRATION = 256
CHUNK = 250


COLUMNS = {"": "", "top-1": ".2%", "change, points": "+.2f", "95 % interval": "", "other class": "d"}


def row(name: str, found: np.ndarray, expected: np.ndarray, classes: np.ndarray) -> tables.Row:
    """Of logits (N, K) and the true classes (N,)."""
    one, other = found.argmax(axis=1), expected.argmax(axis=1)
    accuracy = paired_accuracy(one == classes, other == classes)
    low, high = (100 * each for each in accuracy.interval())
    return [name, accuracy.accuracy, 100 * accuracy.change, f"{low:+.2f} to {high:+.2f}", int((one != other).sum())]


def with_passes(bundle: Bundle, subject: Subject, method: str, passes: Sequence[str]) -> np.ndarray:
    """Logits of the float32 graph in int8, by one method and some of the passes, computed by ONNX Runtime."""
    with quietly():
        graph = ir.load(bundle.folder / "model.onnx")
        ready = calibrate(graph, bundle.manifest, list(subject.calibration), method, passes)
        run = Evaluator(ready.quantisation.onnx())
        name = bundle.manifest.inputs[0].name
        parts = [run([{name: each}])["logits"] for each in np.split(subject.images, len(subject.images) // CHUNK)]
    return np.concatenate(parts).reshape(len(subject.images), -1)


def main() -> None:
    parser = tables.parser(__doc__, threads=2)
    parser.add_argument("--images", type=int, default=20000, help=f"a multiple of {CHUNK}")
    options, report = tables.begin(parser)
    torch.set_num_threads(options.threads)
    images, classes = shapes(options.images, HELD_OUT_SEED)
    subject = Subject(
        "hamsa_nano", load_model("hamsa_nano", weights=WEIGHTS), images, shapes(CALIBRATION, CALIBRATION_SEED)[0]
    )
    with tempfile.TemporaryDirectory() as folder:
        bundles: dict[Form, Bundle] = bundles_of(subject, Path(folder))
        expected = reference_outputs(subject, bundles)["logits"]

        def rows_of_bundles() -> Iterator[tables.Row]:
            for form, bundle in bundles.items():
                found = outputs_of(bundle, images, options.threads)["logits"]
                yield row(f"{target_of(form[0]).title} {form[1]}", found, expected, classes)

        def rows_of_passes() -> Iterator[tables.Row]:
            for name, (method, passes) in choices().items():
                say(name)
                found = with_passes(bundles["onnx", "fp32"], subject, method, passes)
                yield row(name, found, expected, classes)

        right = (expected.argmax(axis=1) == classes).mean()
        title = f"{options.images} shapes; PyTorch in float32 is right on {right:.2%}"
        report.show(title, COLUMNS, rows_of_bundles())
        report.show("int8 by ONNX Runtime", COLUMNS, rows_of_passes())


def choices() -> dict[str, tuple[str, Sequence[str]]]:
    """Rows of the second table: the method for the ranges, and the passes."""
    found: dict[str, tuple[str, Sequence[str]]] = {f"no pass, {method}": (method, ()) for method in METHODS}
    found |= {f"only {name}": (AUTO, (name,)) for name in PASSES}
    found |= {f"without {name}": (AUTO, tuple(each for each in PASSES if each != name)) for name in PASSES}
    return found | {"all passes": (AUTO, PASSES)}


if __name__ == "__main__":
    main()
