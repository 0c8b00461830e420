"""Names said once, for all that needs no engine: what a manifest may hold, how files are called, who runs what.

Those of manifests stand in manifest.schema.json. A new target is a name there, and by convention has an engine of its
own: backend and extra have the target's name, and the module is ``backends/<name>.py``, with _ for -. What deviates
from that is listed below.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

# The description of manifest.json, which both runtimes read manifests with.
SCHEMA: dict[str, Any] = json.loads(Path(__file__).with_name("manifest.schema.json").read_bytes())


def _names(definition: str) -> tuple[str, ...]:
    return tuple(SCHEMA["$defs"][definition]["enum"])


SCHEMA_VERSION: int = SCHEMA["properties"]["schema"]["enum"][0]
TARGETS, PRECISIONS, DTYPES = _names("target"), _names("precision"), _names("dtype")

# Of int8's calibration; "auto" tries all methods and keeps the best.
METHODS, AUTO = ("min-max", "percentile", "entropy", "mse"), "auto"
# A batch that must vary.
DYNAMIC = "dynamic"
# The rewritings before int8, in the order in which they are applied.
PASSES = ("mean-split", "equalise", "smooth")
# Transforms as products, or as the engine's own operator.
# What files of weights are called: the first by its own reader, the others by torch.load.
CHECKPOINTS = (".safetensors", ".pt", ".pth", ".ckpt", ".bin")
FFTS = ("real", "native")

# Where models are known by name, and the library that loads them.
HUBS = {"timm": "timm", "hf": "transformers"}

# How long a stranger's model may take to be loaded and run once, where it is tried: see trial.py.
TRIAL_SECONDS = 45
MOST_SECONDS = 86400

MANIFEST, SIGNATURE = "manifest.json", "manifest.sig"
OWN_FILES = (MANIFEST, SIGNATURE)  # of a bundle: they cannot list themselves
ONNX_FILE, PLAN_FILE = "model.onnx", "model.plan"
IR_FILES = ("model.xml", "model.bin")
PTE_FILE, TFLITE_FILE, MLPACKAGE = "model.pte", "model.tflite", "model.mlpackage"  # the last is a folder
SAMPLE_FILE = "sample.safetensors"  # what a page compares again: inputs, and what the original computes for them
STATE_FILE = "state_{}.bin"  # what the N-th thing that a model keeps between calls starts as


class EngineName(NamedTuple):
    """What a backend is called, and where.

    Attributes:
        title: for people.
        module: where its `Runner` is.
        extra: installs its engine.
        runs: the targets whose bundles it runs.
    """

    title: str
    module: str
    extra: str
    runs: tuple[str, ...]


_BACKENDS = "hamsa_runtime.backends."


def _own(name: str, title: str = "", module: str = "") -> EngineName:
    """By convention: an engine for one target of the same name."""
    return EngineName(title or name, f"{_BACKENDS}{module or name.replace('-', '_')}", name, (name,))


# A TensorRT bundle holds typed ONNX, which ONNX Runtime runs as well, if asked to; one for the web is run by the same
# engine, here and in browsers.
_LISTED = {
    "tensorrt": _own("tensorrt", "TensorRT"),
    "tensorrt-rtx": _own("tensorrt-rtx", "TensorRT-RTX", "tensorrt"),
    "onnxruntime": _own("onnxruntime", "ONNX Runtime")._replace(runs=("onnx", "tensorrt", "tensorrt-rtx", "web")),
    "openvino": _own("openvino", "OpenVINO")._replace(runs=("openvino", "onnx")),
    "executorch": _own("executorch", "ExecuTorch"),
    "litert": _own("litert", "LiteRT"),
    "coreml": _own("coreml", "Core ML"),
}


def engines_of(targets: tuple[str, ...]) -> dict[str, EngineName]:
    """Every backend by its name; the first that runs a target is that target's default."""
    run = {target for engine in _LISTED.values() for target in engine.runs}
    return _LISTED | {target: _own(target) for target in targets if target not in run}


ENGINES = engines_of(TARGETS)


def is_of_hub(reference: str) -> bool:
    """Whether a model's name is one in a hub: timm:NAME, hf:ID."""
    return reference.partition(":")[0] in HUBS
