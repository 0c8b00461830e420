"""What is fuzzed: every door through which bytes from somebody else come in.

The property is the same for all: whatever the bytes are, they are either taken or refused by a HamsaError; no other
exception, no crash, and within the time and memory that `test_replay.py` and `run.py` allow.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError
from torch import nn

from hamsa_deploy.cli.export import parser as export_parser
from hamsa_deploy.inputs.files import read_arrays
from hamsa_deploy.models import load_weights
from hamsa_deploy.onnx_import import load_onnx
from hamsa_runtime.bundle import Bundle, open_bundle
from hamsa_runtime.clips import load_clip
from hamsa_runtime.errors import HamsaError
from hamsa_runtime.fix.fixing import fixed_proto
from hamsa_runtime.fix.loading import read_onnx
from hamsa_runtime.images import load_image
from hamsa_runtime.manifest import FileEntry, manifest_from_json
from hamsa_runtime.tensorrt import cache
from tests.runtime.tiny_bundles import manifest_for

# A plan's entry in the cache is damaged or not, and is never an error: see `_cache`.
IDENTITY = {"format": 1, "module": "tensorrt_rtx"}
PLAN = b"a plan"
WEIGHTS = bytes(64)

Target = Callable[[bytes, Path], None]


def _manifest(data: bytes, folder: Path) -> None:
    manifest_from_json(data)


def _bundle(data: bytes, folder: Path) -> None:
    """A manifest, a zero byte, and the bundle's file model.onnx."""
    place = folder / "bundle"
    place.mkdir(exist_ok=True)
    manifest, _, model = data.partition(b"\0")
    _written(manifest, place / "manifest.json")
    _written(model, place / "model.onnx")
    open_bundle(place).verify()


def _external(data: bytes, folder: Path) -> None:
    """A bundle's model.onnx, listed with its hash, and weights.bin beside it: what is taken names no other file, as
    protobuf reads it."""
    files = {"model.onnx": data, "weights.bin": WEIGHTS}
    _verify("onnx", files, folder / "external")
    assert files.keys() >= set(_places_of_data(data))


def _ir(data: bytes, folder: Path) -> None:
    """A bundle's model.xml for OpenVINO, listed with its hash, and model.bin beside it."""
    _verify("openvino", {"model.xml": data, "model.bin": WEIGHTS}, folder / "ir")


def _npy(data: bytes, folder: Path) -> None:
    read_arrays(_written(data, folder / "array.npy"))


def _npz(data: bytes, folder: Path) -> None:
    read_arrays(_written(data, folder / "arrays.npz"))


def _wav(data: bytes, folder: Path) -> None:
    """Or FLAC, of which the header is looked at first."""
    load_clip(_written(data, folder / "clip.wav"))


def _recipe(data: bytes, folder: Path) -> None:
    export_parser().options_from(["--recipe", str(_written(data, folder / "recipe.toml"))])


def _safetensors(data: bytes, folder: Path) -> None:
    _load_all_or_nothing(_written(data, folder / "weights.safetensors"))


def _checkpoint(data: bytes, folder: Path) -> None:
    _load_all_or_nothing(_written(data, folder / "weights.pt"))


def _onnx(data: bytes, folder: Path) -> None:
    """With a file of 64 bytes beside the model, for its external data."""
    if not (folder / "weights.bin").exists():
        _written(WEIGHTS, folder / "weights.bin")
    path = _written(data, folder / "model.onnx")
    load_onnx(path)
    fixed_proto(read_onnx(path)[0], path)


def _image(data: bytes, folder: Path) -> None:
    assert load_image(_written(data, folder / "image.jpg")).mode == "RGB"


def _cache(data: bytes, folder: Path) -> None:
    """The entry is found whole, or discarded; its files are the fuzzer's."""
    place = folder / "entry"
    place.mkdir(exist_ok=True)
    _written(data, place / cache.ENTRY)
    _written(PLAN, place / cache.PLAN)
    found = cache.plan_kept_in(place, IDENTITY)
    assert found is not None or not place.exists()


TARGETS: dict[str, Target] = {
    "manifest": _manifest,
    "bundle": _bundle,
    "external": _external,
    "ir": _ir,
    "npy": _npy,
    "npz": _npz,
    "recipe": _recipe,
    "safetensors": _safetensors,
    "checkpoint": _checkpoint,
    "onnx": _onnx,
    "image": _image,
    "wav": _wav,
    "cache": _cache,
}


def is_taken(name: str, data: bytes, folder: Path) -> bool:
    """Give the bytes to a target: True if they were taken, False if they were refused as they should be."""
    try:
        TARGETS[name](data, folder)
    except HamsaError:
        return False
    return True


def tiny_model() -> nn.Module:
    """Weights of three kinds, 12 numbers in all."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))


def _verify(target: str, files: dict[str, bytes], place: Path) -> None:
    place.mkdir(exist_ok=True)
    listed = {}
    for name, data in files.items():
        _written(data, place / name)
        listed[name] = FileEntry(hashlib.sha256(data).hexdigest(), len(data))
    manifest = manifest_from_json(json.dumps(manifest_for(target=target)).encode())
    Bundle(place, dataclasses.replace(manifest, files=listed)).verify()


def _places_of_data(data: bytes) -> Iterator[str]:
    """The location of each tensor's data that protobuf finds; of what it does not read, none."""
    try:
        pending: list[Any] = [onnx.ModelProto.FromString(data)]
    except DecodeError:
        return
    while pending:
        message = pending.pop()
        if isinstance(message, onnx.TensorProto):
            yield from (entry.value for entry in message.external_data if entry.key == "location")
        for field, value in message.ListFields():
            if field.message_type is not None:
                pending += value if field.is_repeated else [value]


def _load_all_or_nothing(path: Path) -> None:
    model = tiny_model()
    before = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    try:
        load_weights(model, path)
    except BaseException:
        for name, value in model.state_dict().items():
            np.testing.assert_array_equal(value.numpy(), before[name])
        raise
    assert all(bool(torch.isfinite(value).all()) for value in model.state_dict().values())


def _written(data: bytes, path: Path) -> Path:
    path.write_bytes(data)
    return path
