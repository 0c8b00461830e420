"""manifest.json, schema version 1: what a bundle holds, what goes in and out, and the proof that it is right.

manifest.schema.json says what each key may hold; the classes here give it types, and a test keeps the two the same.
`manifest_from_json` is the only way in: what the schema does not list is refused, so that a misspelt or newer key is
an error and never silently ignored. `Manifest.to_json` is the only way out, and writes nothing that is not read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hamsa_runtime.errors import InputError
from hamsa_runtime.json_document import MAX_BYTES, MAX_DEPTH, check_bounds, json_document
from hamsa_runtime.records import SINCE, document_from, record_from
from hamsa_runtime.schema import Schema, reject
from hamsa_runtime.vocabulary import DTYPES, MANIFEST, OWN_FILES, PRECISIONS, SCHEMA, SCHEMA_VERSION, STATE_FILE

__all__ = [
    "DTYPES",
    "MANIFEST",
    "MAX_BYTES",
    "MAX_DEPTH",
    "PRECISIONS",
    "SCHEMA_VERSION",
    "AchievedTypes",
    "Audio",
    "Axis",
    "Calibration",
    "CalibrationInputs",
    "ComplexLinear",
    "EngineBuild",
    "Execution",
    "FileEntry",
    "InputSpec",
    "Int8Choice",
    "LinearMeasurement",
    "Manifest",
    "Measurement",
    "Model",
    "OutputSpec",
    "Parity",
    "Preprocessing",
    "Scan",
    "ScanMeasurement",
    "State",
    "TimedForm",
    "TimedLayers",
    "Transform",
    "WeightsFile",
    "manifest_from_json",
    "preprocessing_from",
    "read_at_most",
    "read_manifest",
]

_SCHEMA = Schema(SCHEMA)
_PREPROCESSING = Schema({"$ref": "#/$defs/preprocessing", "$defs": SCHEMA["$defs"]})
# What shapes call the axis of the batch.
BATCH = "batch"


@dataclass(frozen=True)
class WeightsFile:
    """The checkpoint that the model was built from (not part of the bundle), and where in it the weights are."""

    file: str
    sha256: str
    key: str | None = field(default=None, metadata=SINCE)


@dataclass(frozen=True)
class Model:
    """Where the model came from: a built-in name or ``package.module:factory``, its config and weights."""

    reference: str
    config: Mapping[str, Any]
    weights: WeightsFile | None
    parameters: int

    @property
    def is_onnx_file(self) -> bool:
        """Whether it is an ONNX file: that is its own weights; a PyTorch model has another name than its checkpoint."""
        return self.weights is not None and self.weights.file == self.reference


@dataclass(frozen=True)
class Axis:
    """An axis beside the batch that may have any size from `min` to `max` (None: any); `example` is a usual one."""

    name: str
    min: int
    max: int | None
    example: int


@dataclass(frozen=True)
class InputSpec:
    """One input of the graph; names in `shape` are axes whose size is free: "batch", or one of the manifest's `axes`.

    Where it `is_complex`, the last dimension holds real and imaginary part. `example_range` is the smallest and the
    largest value of the example that the model was captured with, where that is known. Older bundles say neither.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    layout: Literal["NHWC", "NCHW"] | None = None
    is_complex: bool = field(default=False, metadata=SINCE)
    example_range: tuple[float, float] | None = field(default=None, metadata=SINCE)


@dataclass(frozen=True)
class OutputSpec:
    """One output of the graph; texts in `shape` follow from the sizes of axes: "batch", "4*batch", "frames//4 + 1".

    `batch_axis` is the dimension along which the images of a batch lie, one after the other and each with as many rows
    as any other. It is None, or no dimension of it, for an output that is of the whole batch, or of none: such a batch
    cannot be cut. Where it `is_complex`, the last dimension holds real and imaginary part. Older bundles say neither.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    batch_axis: int | None = field(default=0, metadata=SINCE)
    is_complex: bool = field(default=False, metadata=SINCE)


@dataclass(frozen=True)
class State:
    """What the model keeps from one call to the next: a buffer that it reads and writes, called `name` there.

    The graph takes it as `input` and gives what becomes of it as `output`, an array of the same type and shape. It
    starts as zeros, or, if that is `stored`, as what its file holds, in C order and little-endian.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    input: str
    output: str
    stored: bool

    @property
    def nbytes(self) -> int:
        """Its size."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Preprocessing:
    """How a decoded 8-bit image becomes the input.

    It is scaled, aspect kept, until it covers size / crop_fraction (if square: its shorter side is that long), or
    stretched to just that; the centre is cropped to `size`, and each channel becomes ``(p / 255 - mean) / std``.

    Attributes:
        size: (H, W) of the input, in pixels.
        channels: 1 (grey) or 3 (RGB).
        resize: interpolation, as Pillow names it.
        crop_fraction: side of the crop over side of the resized image, in (0, 1].
        mean, std: one value per channel, of pixels scaled to 0..1.
        normalise: where the last step happens: "graph" takes uint8 NHWC pixels, "runtime" float32 NCHW.
        fit: "cover" keeps the aspect, "stretch" does not.
    """

    size: tuple[int, int]
    channels: int
    resize: Literal["bicubic", "bilinear"]
    crop_fraction: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    normalise: Literal["graph", "runtime"] = "graph"
    fit: Literal["cover", "stretch"] = field(default="cover", metadata=SINCE)

    def resized_to(self, size: tuple[int, int]) -> Preprocessing:
        """The same for another input size (H, W)."""
        return replace(self, size=size)

    def with_channels(self, channels: int) -> Preprocessing:
        """The same for grey (1) or RGB (3) input; grey takes the averages of mean and std."""
        if channels == self.channels:
            return self
        mean, std = sum(self.mean) / self.channels, sum(self.std) / self.channels
        return replace(self, channels=channels, mean=(mean,) * channels, std=(std,) * channels)


@dataclass(frozen=True)
class Audio:
    """How a clip becomes an input: float32 samples in [-1, 1] of so many channels, `sample_rate` of each in a second.

    The shape of the input says how they lie: (samples), (batch, samples), (channels, samples) or
    (batch, channels, samples).
    """

    input: str
    sample_rate: int
    channels: int

    def fits(self, spec: InputSpec) -> bool:
        """Whether an input is of such clips."""
        if spec.dtype != "float32" or spec.is_complex or not spec.shape or spec.shape[-1] == BATCH:
            return False
        clips = spec.shape[:1] if self.is_batched(spec) else ()
        channels = spec.shape[len(clips) : -1]
        return all(isinstance(size, int) or size == BATCH for size in clips) and (
            channels == (self.channels,) or (channels, self.channels) == ((), 1)
        )

    def is_batched(self, spec: InputSpec) -> bool:
        """Whether the first dimension of the input counts clips."""
        return len(spec.shape) == 3 or (len(spec.shape) == 2 and self.channels == 1)


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
    `hop`, of frames of a signal, is how many samples one begins after the other. `measured`, where the bundle was
    tuned, lists the forms that this one was chosen from; the cost model's choice comes first. Older bundles have none
    of them.
    """

    module: str
    length: int
    factors: tuple[int, ...]
    kind: str
    columns: int | None = field(default=None, metadata=SINCE)
    hop: int | None = field(default=None, metadata=SINCE)
    measured: tuple[Measurement, ...] = field(default=(), metadata=SINCE)


@dataclass(frozen=True)
class ScanMeasurement:
    """How long one scan took in one form, for a batch, where the bundle was made."""

    form: str
    factors: tuple[int, ...]
    milliseconds: float


@dataclass(frozen=True)
class Scan:
    """One scan: whose it is, which operator, its steps (None: any number), the shape of its state for one image, and
    its form, which is a loop with so many steps in its body, a tree of such runs, chunks of so many steps, or a
    convolution.

    `decays` is how many different ones a step has, where all steps have the same, of the weights alone; 0 where they
    vary. `measured` is as of a `Transform`.
    """

    module: str
    kind: str
    length: int | None
    state: tuple[int, ...]
    form: str
    factors: tuple[int, ...]
    is_complex: bool = field(default=False, metadata=SINCE)
    decays: int = field(default=0, metadata=SINCE)
    measured: tuple[ScanMeasurement, ...] = field(default=(), metadata=SINCE)


@dataclass(frozen=True)
class LinearMeasurement:
    """How long one complex linear layer took in one form, for a batch, where the bundle was made."""

    form: str
    milliseconds: float


@dataclass(frozen=True)
class ComplexLinear:
    """One complex linear layer: whose it is, the lengths of the vectors that it takes and gives, how many vectors one
    image has, and its form: three real products, one stacked product, or two.

    `measured` is as of a `Transform`.
    """

    module: str
    inputs: int
    outputs: int
    rows: int
    form: str
    measured: tuple[LinearMeasurement, ...] = field(default=(), metadata=SINCE)


@dataclass(frozen=True)
class FileEntry:
    """Hash and size of one file of the bundle."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class CalibrationInputs:
    """What ranges were measured on: `used` of the `found` inputs of a source; those that could not be read are
    `skipped`, each with the reason. The hash is of the inputs and of how they are prepared."""

    source: str
    found: int
    used: int
    skipped: Mapping[str, str]
    sha256: str


@dataclass(frozen=True)
class Calibration:
    """How an int8 bundle was calibrated.

    `signal_to_noise_db` has a score for each method that was tried; `passes` what each rewriting did, in its own
    words; `kept_layers` are those that stay in floating point because int8 costs too much accuracy there, beside
    `int8_layers` that do not. `around` is the precision of all but the products in int8, where that is not float32;
    float16, which TensorRT has there, it does not say.
    """

    inputs: CalibrationInputs
    method: str
    signal_to_noise_db: Mapping[str, float]
    passes: Mapping[str, str]
    int8_layers: int
    kept_layers: tuple[str, ...]
    around: str | None = field(default=None, metadata=SINCE)


@dataclass(frozen=True)
class TimedForm:
    """A bundle of the model that was timed beside others: its precision, how many of its layers are in int8, in which
    precision all else is, how long an inference took (the first quartile of many in turn), the ratio to float32's, and
    whether it is this bundle."""

    precision: str
    int8_layers: int
    around: str
    milliseconds: float
    ratio: float
    chosen: bool


@dataclass(frozen=True)
class TimedLayers:
    """Layers whose products are of one kind and size, and whether int8 `pays` there.

    An inference of the whole model took `int8_milliseconds` with all layers in int8, and `float_milliseconds` with
    these in floating point.
    """

    product: str
    layers: tuple[str, ...]
    pays: bool
    int8_milliseconds: float
    float_milliseconds: float


@dataclass(frozen=True)
class Int8Choice:
    """Where int8 was asked for only where it pays: what was timed where the bundle was made, with `batch` images.

    `forms` are what the bundle could have been, float32 first, and `layers` all that could have been in int8.
    """

    device: str
    batch: int
    forms: tuple[TimedForm, ...]
    layers: tuple[TimedLayers, ...]


@dataclass(frozen=True)
class Parity:
    """The comparison with the PyTorch model that was made when the bundle was written.

    `engine` is what ran the bundle, where that was not its own engine: ONNX Runtime for TensorRT without a GPU.
    `note` says why the thresholds are not those of the precision, `device` what ran the bundle, as its engine calls it.
    Older bundles have neither.
    """

    reference: str
    images: int
    metrics: Mapping[str, Any]
    thresholds: Mapping[str, Any]
    passed: bool
    engine: str | None = None
    note: str = ""
    device: str = ""


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
    """A whole manifest; see manifest.schema.json for what each key may hold.

    `islands` are the layers of a float16 model that stay in float32, each with its reason, "kind: what was found".
    Older bundles do not list them. `execution` is of bundles in a lower precision than float32, and not of older ones.
    `engine` is of bundles for TensorRT. `axes` are those of the inputs beside the batch whose size is free. `states`
    are what the model keeps between calls; `inputs` and `outputs`, which an application sees, do not hold theirs.
    `audio` is of models that take clips, and `preprocessing` of those that take images. `stand_ins` are compiled
    functions that the model calls and that were not installed where the bundle was made, `selective_scan_cuda.fwd`.
    `int8_choice` is of bundles for which int8 was asked for only where it pays, whatever precision they are in then.
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
    calibration: Calibration | None
    parity: Parity | None
    islands: Mapping[str, str] = field(default_factory=dict)
    execution: Execution | None = field(default=None, metadata=SINCE)
    engine: EngineBuild | None = field(default=None, metadata=SINCE)
    axes: tuple[Axis, ...] = field(default=(), metadata=SINCE)
    states: tuple[State, ...] = field(default=(), metadata=SINCE)
    audio: Audio | None = field(default=None, metadata=SINCE)
    stand_ins: tuple[str, ...] = field(default=(), metadata=SINCE)
    scans: tuple[Scan, ...] = field(default=(), metadata=SINCE)
    int8_choice: Int8Choice | None = field(default=None, metadata=SINCE)
    linears: tuple[ComplexLinear, ...] = field(default=(), metadata=SINCE)

    @property
    def graph_inputs(self) -> tuple[InputSpec, ...]:
        """All that the graph takes: the inputs, and the states."""
        return (*self.inputs, *(InputSpec(each.input, each.dtype, each.shape) for each in self.states))

    @property
    def graph_outputs(self) -> tuple[OutputSpec, ...]:
        """All that the graph gives: the outputs, and the states."""
        return (*self.outputs, *(OutputSpec(each.output, each.dtype, each.shape, None) for each in self.states))

    def as_document(self) -> dict[str, Any]:
        """What manifest.json holds, unchecked: `files` may still be missing."""
        document: dict[str, Any] = document_from(self)
        return document

    def to_json(self) -> bytes:
        """The bytes of manifest.json: the same for the same manifest.

        Raises:
            InputError: it is not valid; `manifest_from_json` would refuse it.
        """
        try:
            document = self.as_document()
            text = json.dumps(document, sort_keys=True, indent=2, allow_nan=False, ensure_ascii=False)
            data = (text + "\n").encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise InputError(
                f"the manifest cannot be written as JSON: {error}", expected="plain finite values"
            ) from error
        check_bounds(data)
        _SCHEMA.check(document)
        _check_whole(self)
        return data

    @property
    def has_native_transforms(self) -> bool:
        """Whether the graph holds transforms as operators, which not every engine computes."""
        return any(transform.kind == "native" for transform in self.plan)


def read_manifest(path: Path) -> Manifest:
    """Reads and checks one manifest file of at most 4 MiB; InputError for anything wrong with it."""
    return manifest_from_json(read_at_most(path))


def read_at_most(path: Path) -> bytes:
    """The bytes of a manifest file; of a larger one, as many as show that it is too large."""
    with path.open("rb") as stream:
        return stream.read(MAX_BYTES + 1)


def manifest_from_json(data: bytes) -> Manifest:
    """Checks the bytes of a manifest; InputError says what was found where, and what was expected."""
    document = json_document(data)
    _check_version(document)
    _SCHEMA.check(document)
    manifest = record_from(Manifest, document)
    _check_whole(manifest)
    return manifest


def preprocessing_from(document: Mapping[str, Any], where: str) -> Preprocessing:
    """Checks what a file says of preprocessing, with the keys that a manifest has.

    Raises:
        InputError: it is not valid; `where` is the file.
    """
    try:
        _PREPROCESSING.check(document)
        how = record_from(Preprocessing, document)
        _check_channels(how)
    except InputError as error:
        found = error.found.removeprefix("manifest.json: ")
        raise InputError(f"{where}: {found}", expected=error.expected, fix=error.fix) from error
    return how


def _check_whole(manifest: Manifest) -> None:
    """What no single field tells."""
    _check_names("inputs", manifest.graph_inputs)
    _check_names("outputs", manifest.graph_outputs)
    _check_files(manifest.files)
    _check_states(manifest)
    _check_axes(manifest.axes, manifest.inputs)
    if manifest.preprocessing is not None:
        _check_preprocessing(manifest.preprocessing, manifest.inputs)
    if manifest.audio is not None:
        _check_audio(manifest.audio, manifest)


def _check_axes(axes: tuple[Axis, ...], inputs: tuple[InputSpec, ...]) -> None:
    names = [axis.name for axis in axes]
    if len(set(names)) != len(names) or BATCH in names:
        raise reject(names, "axes: names", "each of them once, and batch not at all")
    for i, axis in enumerate(axes):
        if axis.example < axis.min or (axis.max is not None and axis.example > axis.max):
            raise reject(axis.example, f"axes[{i}].example", "a size from min to max")
    known = {BATCH, *names}
    unlisted = [size for spec in inputs for size in spec.shape if isinstance(size, str) and size not in known]
    if unlisted:
        raise reject(unlisted[0], "inputs: an axis", ", ".join((BATCH, *names)))


def _check_files(files: Mapping[str, FileEntry]) -> None:
    """On macOS and Windows two names that differ only in case are one file, or one folder."""
    known = {name: name for name in OWN_FILES}
    for name in sorted(files):
        parts = name.split("/")
        for path in ("/".join(parts[:i]) for i in range(1, len(parts) + 1)):
            if (other := known.setdefault(path.lower(), path)) != path:
                raise reject([other, path], "files: names", "names that differ in more than upper and lower case")


def _check_states(manifest: Manifest) -> None:
    names = [state.name for state in manifest.states]
    if len(set(names)) != len(names):
        raise reject(names, "states: names", "each of them once")
    for i, state in enumerate(manifest.states):
        file = STATE_FILE.format(i)
        if not state.stored:
            continue
        if file not in manifest.files:
            raise reject(True, f"states[{i}].stored", f"{file} among the files")
        if (found := manifest.files[file].bytes) != state.nbytes:
            raise reject(found, f"files.{file}: bytes", f"{state.nbytes}, as states[{i}] says")


def _check_version(document: Any) -> None:
    """A newer schema may have other keys: say that it is newer, not that its keys are unknown."""
    version = document.get("schema") if isinstance(document, dict) else None
    if type(version) is int and version > SCHEMA_VERSION:
        raise reject(version, "schema", f"one of {SCHEMA_VERSION}", "a newer hamsa-runtime", "a newer hamsa-deploy")


def _check_names(where: str, specs: tuple[InputSpec, ...] | tuple[OutputSpec, ...]) -> None:
    names = [spec.name for spec in specs]
    if len(set(names)) != len(names):
        raise reject(names, f"{where}: names", "each of them once")


def _check_channels(how: Preprocessing) -> None:
    if len(how.mean) != how.channels or len(how.std) != how.channels:
        raise reject((how.mean, how.std), "preprocessing: mean and std", "one per channel")


def _check_preprocessing(how: Preprocessing, inputs: tuple[InputSpec, ...]) -> None:
    """The image input must be what the preprocessing produces."""
    _check_channels(how)
    if how.normalise == "graph":
        dtype, layout, shape = "uint8", "NHWC", (*how.size, how.channels)
    else:
        dtype, layout, shape = "float32", "NCHW", (how.channels, *how.size)
    image = inputs[0]
    fits = (image.dtype, image.layout, image.shape[1:]) == (dtype, layout, shape)
    if len(inputs) != 1 or not fits:
        expected = f'one input, {dtype} {layout}, ["batch" or a number, {", ".join(map(str, shape))}]'
        raise reject([(i.name, i.dtype, i.layout, i.shape) for i in inputs], "inputs", expected)


def _check_audio(how: Audio, manifest: Manifest) -> None:
    """The input that it names must be one of clips."""
    if manifest.preprocessing is not None:
        raise reject(how.input, "audio: input", "no audio beside preprocessing")
    specs = {spec.name: spec for spec in manifest.inputs}
    if how.input not in specs:
        raise reject(how.input, "audio: input", f"one of the inputs: {', '.join(specs)}")
    spec = specs[how.input]
    if not how.fits(spec):
        raise reject((spec.dtype, spec.shape), "audio: the input", clip_shapes(how.channels))


def clip_shapes(channels: int) -> str:
    """How an input of clips of so many channels may look like."""
    mono = "(samples), (batch, samples) or "
    return f"float32 {mono if channels == 1 else f'({channels}, samples) or '}(batch, {channels}, samples)"
