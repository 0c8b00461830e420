"""manifest.json, schema version 1: what a bundle holds, what goes in and out, and the proof that it is right.

`manifest_from_json` is the only way in. Every key is listed once, in the tables below, with the check that it
must pass; nothing else is accepted, so a misspelt or newer key is an error and never silently ignored.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from hamsa_runtime.backends import TARGETS
from hamsa_runtime.errors import InputError
from hamsa_runtime.schema import (
    Check,
    boolean,
    dict_of,
    either,
    integer,
    json_object,
    list_of,
    nullable,
    number,
    one_of,
    record,
    reject,
    scalar,
    text,
)

MANIFEST = "manifest.json"
SCHEMA_VERSION = 1
PRECISIONS = ("fp32", "fp16", "bf16", "int8")
DTYPES = ("bool", "uint8", "int8", "int32", "int64", "float16", "float32", "float64")
MAX_BYTES = 4 * 2**20
MAX_DEPTH = 32


@dataclass(frozen=True)
class WeightsFile:
    """The checkpoint that the model was built from (not part of the bundle)."""

    file: str
    sha256: str


@dataclass(frozen=True)
class Model:
    """Where the model came from: a built-in name or ``package.module:factory``, its config and weights."""

    reference: str
    config: Mapping[str, Any]
    weights: WeightsFile | None
    parameters: int


@dataclass(frozen=True)
class InputSpec:
    """One input of the graph; "batch" in `shape` stands for the dynamic dimension."""

    name: str
    dtype: str
    shape: tuple[int | Literal["batch"], ...]
    layout: Literal["NHWC", "NCHW"] | None


@dataclass(frozen=True)
class OutputSpec:
    """One output of the graph; "batch" in `shape` stands for the dynamic dimension."""

    name: str
    dtype: str
    shape: tuple[int | Literal["batch"], ...]


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes the input: resize, centre crop, then ``(p / 255 - mean) / std`` per channel.

    `normalise` says where the last step happens: "graph" takes uint8 NHWC pixels, "runtime" float32 NCHW.
    """

    size: tuple[int, int]
    channels: int
    resize: Literal["bicubic", "bilinear"]
    crop_fraction: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    normalise: Literal["graph", "runtime"]


@dataclass(frozen=True)
class Measurement:
    """How long a forward and an inverse transform took together, for all columns that the model has, where the bundle
    was made. No factors: Rader's form."""

    factors: tuple[int, ...]
    milliseconds: float


@dataclass(frozen=True)
class Transform:
    """One spectral transform of the plan: whose it is, its length, and the factors it was split into.

    The kind is "native" where the engine's own FFT computes it. `columns` is how many signals one image has.
    `measured`, where the bundle was tuned, lists the forms that this one was chosen from; the cost model's choice comes
    first. Older bundles have neither.
    """

    module: str
    length: int
    factors: tuple[int, ...]
    kind: str
    columns: int | None = None
    measured: tuple[Measurement, ...] = ()


@dataclass(frozen=True)
class FileEntry:
    """Hash and size of one file of the bundle."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class Parity:
    """The comparison with the PyTorch model that was made when the bundle was written.

    `engine` is what ran the bundle, where that was not its own engine: ONNX Runtime for TensorRT without a GPU.
    `note` says why the thresholds are not those of the precision. Older bundles have none.
    """

    reference: str
    images: int
    metrics: Mapping[str, Any]
    thresholds: Mapping[str, Any]
    passed: bool
    engine: str | None = None
    note: str = ""


@dataclass(frozen=True)
class AchievedTypes:
    """What the layers of a plan compute in: how many in which type, how many of them do the work of several ONNX nodes,
    and a node of each that computes in a wider type than it was asked to."""

    layers: Mapping[str, int]
    fused: int
    fell_back: tuple[str, ...]


@dataclass(frozen=True)
class EngineBuild:
    """The plan of a TensorRT bundle, `model.plan`, or why there is none in it.

    `missing` is the reason, and empty where there is a plan; nothing else is known then. `gpu` and `compute_capability`
    are None for a plan that is compiled on the device. `asked` counts the nodes of the ONNX file by the type of number
    that they are to give, "i8" for a product of int8 factors; `achieved` is what became of it, if the engine tells.
    """

    missing: str
    module: str
    version: str
    system: str
    gpu: str | None
    compute_capability: str | None
    seconds: float
    asked: Mapping[str, int]
    achieved: AchievedTypes | None


@dataclass(frozen=True)
class Execution:
    """What ran in which precision, and how fast, on the machine that made the bundle: one inference of `batch` images.

    `products` (with weights, or of activations) and `others` count the operators of the engine's compiled model by
    precision, "i8" or "f32" for example; `conversions` those that only change from one to another. `not_int8` lists
    the layers that should run in int8 and do not. Times are medians, and `ratio` is the median of the ratios, of runs
    that took turns with the float32 bundle of the same model.
    """

    device: str
    batch: int
    products: Mapping[str, int]
    others: Mapping[str, int]
    conversions: int
    not_int8: tuple[str, ...]
    milliseconds: float
    float32_milliseconds: float
    ratio: float


@dataclass(frozen=True)
class Manifest:
    """A whole manifest; see the module's tables for what each key may hold.

    `islands` are the layers of a float16 model that stay in float32, each with its reason, "kind: what was found".
    Older bundles do not list them. `execution` is of bundles in a lower precision than float32, and not of older ones.
    `engine` is of bundles for TensorRT.
    """

    schema: int
    name: str
    model: Model
    inputs: tuple[InputSpec, ...]
    outputs: tuple[OutputSpec, ...]
    preprocessing: Preprocessing | None
    labels: tuple[str, ...] | None
    target: str
    precision: str
    options: Mapping[str, str | int | float | bool | None]
    plan: tuple[Transform, ...]
    files: Mapping[str, FileEntry]
    versions: Mapping[str, str]
    calibration: Mapping[str, Any] | None
    parity: Parity | None
    islands: Mapping[str, str] = field(default_factory=dict)
    execution: Execution | None = None
    engine: EngineBuild | None = None

    @property
    def has_native_transforms(self) -> bool:
        """Whether the graph holds transforms as operators, which not every engine computes."""
        return any(transform.kind == "native" for transform in self.plan)


def _sha256(value: Any, where: str) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[0-9a-f]{64}", value):
        raise reject(value, where, "a sha256 as 64 lower-case hexadecimal digits")
    return value


def _file_name(value: Any, where: str) -> str:
    """A relative path with forward slashes that can't leave the folder on any system; not the manifest."""
    parts = text(value, where).split("/")
    if any(part in ("", ".", "..") for part in parts) or re.search(r'[\\:*?"<>|\x00-\x1f]', value):
        raise reject(value, where, "a relative path inside the bundle's folder, with forward slashes")
    if value == MANIFEST:
        raise reject(value, where, "a file other than the manifest: it cannot hold its own hash")
    return value


_positive = integer(1)
_dtype = one_of(*DTYPES)
_shape = list_of(either('a positive whole number or "batch"', _positive, one_of("batch")))

_WEIGHTS = {"file": text, "sha256": _sha256}
_MODEL: dict[str, Check[Any]] = {
    "reference": text,
    "config": json_object,
    "weights": nullable(record(WeightsFile, _WEIGHTS)),
    "parameters": integer(0),
}
_OUTPUT: dict[str, Check[Any]] = {"name": text, "dtype": _dtype, "shape": _shape}
_INPUT: dict[str, Check[Any]] = {**_OUTPUT, "layout": nullable(one_of("NHWC", "NCHW"))}
_PREPROCESSING: dict[str, Check[Any]] = {
    "size": list_of(_positive, length=2),
    "channels": one_of(1, 3),
    "resize": one_of("bicubic", "bilinear"),
    "crop_fraction": number,
    "mean": list_of(number),
    "std": list_of(number),
    "normalise": one_of("graph", "runtime"),
}
_TRANSFORM: dict[str, Check[Any]] = {
    "module": text,
    "length": _positive,
    "factors": list_of(_positive),
    "kind": text,
}
_MEASUREMENT: dict[str, Check[Any]] = {"factors": list_of(_positive), "milliseconds": number}
_TRANSFORM_SINCE: dict[str, Check[Any]] = {
    "columns": nullable(_positive),
    "measured": list_of(record(Measurement, _MEASUREMENT)),
}
_FILE: dict[str, Check[Any]] = {"sha256": _sha256, "bytes": integer(0)}
_PARITY: dict[str, Check[Any]] = {
    "reference": text,
    "images": integer(0),
    "metrics": json_object,
    "thresholds": json_object,
    "passed": boolean,
}
_PARITY_SINCE: dict[str, Check[Any]] = {"engine": nullable(text), "note": text}
_ACHIEVED: dict[str, Check[Any]] = {
    "layers": dict_of(_positive),
    "fused": integer(0),
    "fell_back": list_of(text),
}
_ENGINE: dict[str, Check[Any]] = {
    "missing": text,
    "module": text,
    "version": text,
    "system": text,
    "gpu": nullable(text),
    "compute_capability": nullable(text),
    "seconds": number,
    "asked": dict_of(_positive),
    "achieved": nullable(record(AchievedTypes, _ACHIEVED)),
}
_EXECUTION: dict[str, Check[Any]] = {
    "device": text,
    "batch": _positive,
    "products": dict_of(_positive),
    "others": dict_of(_positive),
    "conversions": integer(0),
    "not_int8": list_of(text),
    "milliseconds": number,
    "float32_milliseconds": number,
    "ratio": number,
}
_MANIFEST: dict[str, Check[Any]] = {
    "schema": one_of(SCHEMA_VERSION),
    "name": text,
    "model": record(Model, _MODEL),
    "inputs": list_of(record(InputSpec, _INPUT)),
    "outputs": list_of(record(OutputSpec, _OUTPUT)),
    "preprocessing": nullable(record(Preprocessing, _PREPROCESSING)),
    "labels": nullable(list_of(text)),
    "target": one_of(*TARGETS),
    "precision": one_of(*PRECISIONS),
    "options": dict_of(scalar),
    "plan": list_of(record(Transform, _TRANSFORM, _TRANSFORM_SINCE)),
    "files": dict_of(record(FileEntry, _FILE), key=_file_name),
    "versions": dict_of(text),
    "calibration": nullable(json_object),
    "parity": nullable(record(Parity, _PARITY, _PARITY_SINCE)),
}
_MANIFEST_SINCE: dict[str, Check[Any]] = {
    "islands": dict_of(text),
    "execution": nullable(record(Execution, _EXECUTION)),
    "engine": nullable(record(EngineBuild, _ENGINE)),
}


def read_manifest(path: Path) -> Manifest:
    """Reads and checks one manifest file of at most 4 MiB; InputError for anything wrong with it."""
    return manifest_from_json(read_at_most(path))


def read_at_most(path: Path) -> bytes:
    """The bytes of a manifest file; of a larger one, as many as show that it is too large."""
    with path.open("rb") as stream:
        return stream.read(MAX_BYTES + 1)


def manifest_from_json(data: bytes) -> Manifest:
    """Checks the bytes of a manifest; InputError says what was found where, and what was expected."""
    document = _parsed(data)
    # A newer schema may have other keys: say that it is newer, not that its keys are unknown.
    if isinstance(document, dict) and "schema" in document:
        _MANIFEST["schema"](document["schema"], "schema")
    manifest = record(Manifest, _MANIFEST, _MANIFEST_SINCE)(document, "")
    _check_names(manifest)
    if manifest.preprocessing is not None:
        _check_preprocessing(manifest.preprocessing, manifest.inputs)
    return manifest


def _parsed(data: bytes) -> Any:
    """JSON within limits of size and depth, without duplicate names, NaN or infinity."""
    if len(data) > MAX_BYTES:
        raise InputError(f"manifest.json: more than {MAX_BYTES} bytes", expected=f"at most {MAX_BYTES} bytes")
    if (depth := _depth(data)) > MAX_DEPTH:
        raise InputError(f"manifest.json: nested {depth} levels deep", expected=f"at most {MAX_DEPTH} levels")
    try:
        return json.loads(data.decode(), parse_constant=_no_constant, object_pairs_hook=_no_duplicates)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise InputError(
            f"manifest.json: not JSON ({error})",
            expected="a UTF-8 JSON object",
            cause="the file is cut or was edited by hand",
            fix="copy or export the bundle again",
        ) from error


def _depth(data: bytes) -> int:
    """How deep brackets nest outside strings. Counted before parsing: the parser itself recurses."""
    deepest = depth = 0
    for token in re.finditer(rb'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', data, re.DOTALL):
        first = data[token.start()]
        depth += 1 if first in b"[{" else -1 if first in b"]}" else 0
        deepest = max(deepest, depth)
    return deepest


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("the same name twice in one object")
    return result


def _check_names(manifest: Manifest) -> None:
    for where, specs in (("inputs", manifest.inputs), ("outputs", manifest.outputs)):
        names = [spec.name for spec in specs]
        if not names or len(set(names)) != len(names):
            raise reject(names, f"{where}: names", "at least one, each of them once")


def _check_preprocessing(how: Preprocessing, inputs: tuple[InputSpec, ...]) -> None:
    """The image input must be what the preprocessing produces."""
    if not 0 < how.crop_fraction <= 1:
        raise reject(how.crop_fraction, "preprocessing.crop_fraction", "above 0 and at most 1")
    if len(how.mean) != how.channels or len(how.std) != how.channels or min(how.std) <= 0:
        raise reject((how.mean, how.std), "preprocessing: mean and std", "one per channel, each std above 0")
    if how.normalise == "graph":
        dtype, layout, shape = "uint8", "NHWC", (*how.size, how.channels)
    else:
        dtype, layout, shape = "float32", "NCHW", (how.channels, *how.size)
    image = inputs[0]
    fits = (image.dtype, image.layout, image.shape[1:]) == (dtype, layout, shape)
    if len(inputs) != 1 or not fits:
        expected = f'one input, {dtype} {layout}, ["batch" or a number, {", ".join(map(str, shape))}]'
        raise reject([(i.name, i.dtype, i.layout, i.shape) for i in inputs], "inputs", expected)
