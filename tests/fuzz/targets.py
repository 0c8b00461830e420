"""What is fuzzed: every door through which bytes from somebody else come in.

The property is the same for all: whatever the bytes are, they are either taken or refused by a HamsaError; no other
exception, no crash, and within the time and memory that `test_replay.py` and `run.py` allow.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from hamsa_deploy.cli.export import parser as export_parser
from hamsa_deploy.inputs.files import read_arrays
from hamsa_deploy.models import load_weights
from hamsa_deploy.onnx_import import load_onnx
from hamsa_runtime.bundle import open_bundle
from hamsa_runtime.clips import load_clip
from hamsa_runtime.errors import HamsaError
from hamsa_runtime.images import load_image
from hamsa_runtime.manifest import Audio, manifest_from_json
from hamsa_runtime.tensorrt import cache

# A plan's entry in the cache is damaged or not, and is never an error: see `_cache`.
IDENTITY = {"format": 1, "module": "tensorrt_rtx"}
PLAN = b"a plan"

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


def _npy(data: bytes, folder: Path) -> None:
    read_arrays(_written(data, folder / "array.npy"))


def _npz(data: bytes, folder: Path) -> None:
    read_arrays(_written(data, folder / "arrays.npz"))


def _wav(data: bytes, folder: Path) -> None:
    """Of 16,000 Hz and one channel; or FLAC."""
    load_clip(_written(data, folder / "clip.wav"), Audio("x", 16000, 1))


def _recipe(data: bytes, folder: Path) -> None:
    export_parser().options_from(["--recipe", str(_written(data, folder / "recipe.toml"))])


def _safetensors(data: bytes, folder: Path) -> None:
    _load_all_or_nothing(_written(data, folder / "weights.safetensors"))


def _checkpoint(data: bytes, folder: Path) -> None:
    _load_all_or_nothing(_written(data, folder / "weights.pt"))


def _onnx(data: bytes, folder: Path) -> None:
    """With a file of 64 bytes beside the model, for its external data."""
    if not (folder / "weights.bin").exists():
        _written(bytes(64), folder / "weights.bin")
    load_onnx(_written(data, folder / "model.onnx"))


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
