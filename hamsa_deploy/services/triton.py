"""NVIDIA Triton Inference Server: ``config.pbtxt`` and the labels, beside the versions of a model.

Fields as in model_config.proto of triton-inference-server/common. A version with a plan runs on Triton's TensorRT
backend, one without on its ONNX Runtime backend: what parity has compared is what runs in both cases. Requests are
joined to batches as they come; a batch is never larger than what the plan was built for.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from hamsa_runtime.errors import printable
from hamsa_runtime.manifest import BATCH, InputSpec, Manifest, OutputSpec
from hamsa_runtime.outputs import LOGITS, named_or_only
from hamsa_runtime.tensorrt.options import options_from_manifest
from hamsa_runtime.whole_files import replace_file

CONFIG, LABELS = "config.pbtxt", "labels.txt"
TYPES = {
    "bool": "TYPE_BOOL",
    "uint8": "TYPE_UINT8",
    "int8": "TYPE_INT8",
    "int32": "TYPE_INT32",
    "int64": "TYPE_INT64",
    "float16": "TYPE_FP16",
    "float32": "TYPE_FP32",
    "float64": "TYPE_FP64",
}


class Name(NamedTuple):
    """The name of an enumeration's value, which stands without quotes."""

    text: str


def check(repository: Path) -> None:
    """Nothing in a repository stands in the way: all files belong to one model, and are replaced."""


def configure(repository: Path, name: str, manifest: Manifest) -> list[Path]:
    """Write the files of a model; see `hamsa_deploy.services.configure`."""
    files = {CONFIG: config_of(name, manifest)}
    if manifest.labels:
        files[LABELS] = "".join(f"{printable(label)}\n" for label in manifest.labels)
    for file, text in files.items():
        replace_file(repository / name / file, text.encode())
    return [repository / name / file for file in files]


def config_of(name: str, manifest: Manifest) -> str:
    """The text of config.pbtxt."""
    has_plan = manifest.engine is not None and not manifest.engine.missing
    largest = largest_batch(manifest)
    fields: dict[str, Any] = {
        "name": name,
        "backend": "tensorrt" if has_plan else "onnxruntime",
        "default_model_filename": "model.plan" if has_plan else "model.onnx",
        "max_batch_size": largest,
        # What a model keeps between calls goes through the client: any request may be any stream's.
        "input": [_port(spec, largest) for spec in manifest.graph_inputs],
        "output": [_port(spec, largest) | _label_file(spec, manifest) for spec in manifest.graph_outputs],
        "version_policy": {"latest": {"num_versions": 1}},
        "model_warmup": [_warm_up(manifest.graph_inputs, largest)],
    }
    if largest > 1:
        fields["dynamic_batching"] = {}
    return "\n".join(_lines(fields)) + "\n"


def largest_batch(manifest: Manifest) -> int:
    """The largest batch of one inference; 0, as Triton has it, if the first dimension is not a free batch, with one
    row for each request: then requests are not put together, and come with all their dimensions."""
    specs: list[InputSpec | OutputSpec] = [*manifest.graph_inputs, *manifest.graph_outputs]
    if any(spec.shape[:1] != (BATCH,) for spec in specs) or any(spec.batch_axis != 0 for spec in manifest.outputs):
        return 0
    return options_from_manifest(manifest.options).max_batch


def _port(spec: InputSpec | OutputSpec, largest: int) -> dict[str, Any]:
    return {"name": spec.name, "data_type": Name(TYPES[spec.dtype]), "dims": _sizes(spec, largest)}


def _sizes(spec: InputSpec | OutputSpec, largest: int) -> list[int]:
    """Without the batch where Triton counts it itself; -1 for one that is free."""
    return [-1 if isinstance(size, str) else size for size in (spec.shape[1:] if largest else spec.shape)]


def _label_file(spec: OutputSpec, manifest: Manifest) -> dict[str, Any]:
    """Labels belong to the output that `Engine.classify` reads."""
    classified = named_or_only(LOGITS, [each.name for each in manifest.outputs])
    return {"label_filename": LABELS} if manifest.labels and spec.name == classified else {}


def _warm_up(inputs: Iterable[InputSpec], largest: int) -> dict[str, Any]:
    """One inference before the first request, which would otherwise wait for memory and kernels."""
    sizes = {spec: [1 if size < 0 else size for size in _sizes(spec, largest)] for spec in inputs}
    entries = [
        {
            "key": spec.name,
            "value": {"data_type": Name(TYPES[spec.dtype]), "dims": dims, "random_data": True},
        }
        for spec, dims in sizes.items()
    ]
    return {"name": "one", "batch_size": 1 if largest else 0, "inputs": entries}


def _lines(fields: Mapping[str, Any], indent: str = "") -> Iterable[str]:
    """Protocol Buffers' text format: a list repeats its field, but numbers stand in brackets."""
    for key, value in fields.items():
        if isinstance(value, dict):
            yield from _block(key, value, indent)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for each in value:
                yield from _block(key, each, indent)
        else:
            yield f"{indent}{key}: {_scalar(value)}"


def _block(key: str, fields: Mapping[str, Any], indent: str) -> Iterable[str]:
    if not fields:
        yield f"{indent}{key} {{ }}"
        return
    yield f"{indent}{key} {{"
    yield from _lines(fields, indent + "  ")
    yield f"{indent}}}"


def _scalar(value: Any) -> str:
    if isinstance(value, Name):
        return value.text
    return json.dumps(value, ensure_ascii=False)  # strings, numbers, booleans and lists of numbers are written alike
