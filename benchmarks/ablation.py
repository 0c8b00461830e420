"""What each part of int8 is worth: noise of hamsa_s's embedding with and without it, beside the libraries' defaults.

    python benchmarks/ablation.py --weights out/hamsa_s_photographs.safetensors

The signal-to-quantisation-noise ratio of the embedding, in dB, is that of precision.py: 64 crops of photographs,
calibrated on 64 others, against the same graph in float32. Every row is the same ONNX graph, as hamsa-export writes it
for ONNX Runtime.

- onnxruntime.quantization: quantize_static as it is, its pre-processing included, and with the settings that its
  documentation advises for transformers (symmetric int8, weights by channel).
- NNCF: nncf.quantize as it is, whose model OpenVINO refuses to compile, and with the transforms left out of it.
- ours without any pass, by each method; then with one pass, without one, and with all, by the best method.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import openvino
import tables
from measure import quietly, say
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from precision import hamsa_s_on_crops, sqnr

from hamsa_deploy import export
from hamsa_deploy.graph.sessions import Evaluator
from hamsa_deploy.inputs.calibration_set import calibration_set
from hamsa_deploy.inputs.feeds import feeds_of
from hamsa_deploy.models import model_entry
from hamsa_deploy.pipeline.int8 import calibrate, feeds_of_inputs
from hamsa_runtime import Bundle
from hamsa_runtime.backends.quiet import no_usage_reports
from hamsa_runtime.batches import Arrays
from hamsa_runtime.vocabulary import AUTO, METHODS, PASSES

OUTPUT = "embedding"

Found = tuple[float | None, str]
"""dB, and the method that was chosen, or why there are none."""
Measure = Callable[[], Found]


class Subject:
    """hamsa_s in float32, and what it is calibrated and judged on."""

    def __init__(self, weights: Path, folder: Path) -> None:
        crops = hamsa_s_on_crops(weights)
        with quietly():
            self.bundle: Bundle = export(
                crops.model,
                to="onnx",
                output=folder / "fp32",
                name=crops.name,
                preprocessing=model_entry(crops.name).preprocessing,
                data=list(crops.calibration[:8]),
            )
        self.file = self.bundle.folder / "model.onnx"
        self.folder, self.calibration = folder, list(crops.calibration)
        self.feeds = feeds_of_inputs(
            calibration_set(self.calibration, self.bundle.manifest).inputs, self.bundle.manifest
        )
        self.judged = list(feeds_of(list(crops.images), self.bundle.manifest))
        self.expected = Evaluator(ir.load(self.file))(self.judged)[OUTPUT]

    def decibels(self, model: ir.Model) -> float:
        """SQNR of a quantised graph."""
        return sqnr(Evaluator(model)(self.judged)[OUTPUT], self.expected)


class Reader(CalibrationDataReader):  # type: ignore[misc]
    """The calibration inputs, one by one."""

    def __init__(self, feeds: Sequence[Arrays]) -> None:
        self._feeds: Iterator[Arrays] = iter(feeds)

    def get_next(self) -> Arrays | None:
        return next(self._feeds, None)


def main() -> None:
    parser = tables.parser(__doc__)
    parser.add_argument("--weights", type=Path, required=True, help="from benchmarks/train_on_photographs.py")
    options, report = tables.begin(parser)
    with tempfile.TemporaryDirectory() as folder:
        subject = Subject(options.weights, Path(folder))
        columns = {"int8 of hamsa_s": "", "SQNR of the embedding, dB": ".1f", "": ""}
        report.show("What each part of int8 is worth", columns, measured(rows(subject)))


def measured(parts: Mapping[str, Measure]) -> Iterator[tables.Row]:
    """One row after the other."""
    for name, measure in parts.items():
        say(name)
        yield [name, *measure()]


def rows(subject: Subject) -> dict[str, Measure]:
    """Name of each row, and what measures it."""
    table: dict[str, Measure] = {
        "onnxruntime.quantization, defaults": partial(onnxruntime_default, subject, {}),
        "onnxruntime.quantization, int8 by channel": partial(onnxruntime_default, subject, ADVISED),
        "NNCF, defaults": partial(nncf_default, subject, transforms=True),
        "NNCF, defaults, transforms left out": partial(nncf_default, subject, transforms=False),
    }
    for method in METHODS:
        table[f"ours, no pass, {method}"] = partial(ours, subject, (), method)
    for name in PASSES:
        table[f"ours, only {name}"] = partial(ours, subject, (name,), AUTO)
    for name in PASSES:
        others = tuple(other for other in PASSES if other != name)
        table[f"ours, without {name}"] = partial(ours, subject, others, AUTO)
    table["ours, all passes"] = partial(ours, subject, PASSES, AUTO)
    return table


def ours(subject: Subject, passes: Sequence[str], method: str) -> Found:
    """With some of the passes."""
    ready = calibrate(ir.load(subject.file), subject.bundle.manifest, subject.calibration, method, passes)
    return subject.decibels(ready.quantisation.onnx()), ready.quantisation.method if method == AUTO else ""


ADVISED: dict[str, Any] = {
    "per_channel": True,
    "activation_type": QuantType.QInt8,
    "extra_options": {"ActivationSymmetric": True, "WeightSymmetric": True},
}


def onnxruntime_default(subject: Subject, options: Mapping[str, Any]) -> Found:
    """quantize_static of onnxruntime.quantization."""
    prepared, output = subject.folder / "prepared.onnx", subject.folder / "quantised.onnx"
    with quietly():
        quant_pre_process(subject.file, prepared, skip_symbolic_shape=True)
        quantize_static(prepared, output, Reader(subject.feeds), **options)
    return subject.decibels(ir.load(output)), ""


def nncf_default(subject: Subject, *, transforms: bool) -> Found:
    """nncf.quantize on OpenVINO's model; what the CPU plugin says if it refuses the result."""
    with no_usage_reports():
        import nncf

    nncf.set_log_level(logging.ERROR)
    model = openvino.Core().read_model(subject.file)
    left_out = [] if transforms else [node.get_friendly_name() for node in model.get_ops() if _is_transform(node)]
    with quietly():
        quantised = nncf.quantize(
            model,
            nncf.Dataset([dict(feed) for feed in subject.feeds]),
            ignored_scope=nncf.IgnoredScope(names=left_out) if left_out else None,
        )
    try:
        compiled = openvino.Core().compile_model(quantised, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    except RuntimeError as error:
        reason = next((line for line in str(error).splitlines() if "Check" in line), str(error).strip())
        return None, f"does not compile: {reason[:60]}"
    found = np.concatenate([compiled(dict(feed))[OUTPUT] for feed in subject.judged])
    return sqnr(found, subject.expected), ""


def _is_transform(node: Any) -> bool:
    """A product with the constant, or the transpose of one, on the left."""
    if node.get_type_name() != "MatMul":
        return False
    left = node.input_value(0).get_node()
    if left.get_type_name() == "Transpose":
        left = left.input_value(0).get_node()
    return bool(left.get_type_name() == "Constant")


if __name__ == "__main__":
    main()
