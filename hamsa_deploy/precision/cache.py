"""Arrays that took long to measure, kept between runs: under the hash of all that they depend on.

    key = cache_key(model, calibration.sha256, {"method": "mse"})
    arrays = load(key)
    if arrays is None:
        arrays = ...
        store(key, arrays)

An entry is a file $XDG_CACHE_HOME/hamsa-deploy/calibration/<key>, by default under ~/.cache: the sha256 of the key and
of what follows, and then the arrays as .npz. It is read only if that hash is right, and written in one rename. The
cache saves time and nothing else: what goes wrong with it is a warning.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from hamsa_runtime.batches import Arrays
from hamsa_runtime.cache_files import cache_folder
from hamsa_runtime.whole_files import remove_leftovers, replace_file

FORMAT = 2  # to be raised with the meaning of any array that is stored
PACKAGES = ("hamsa-deploy", "hamsa-runtime", "numpy", "onnxruntime", "openvino", "nncf")

DIGEST_BYTES = hashlib.sha256().digest_size

logger = logging.getLogger("hamsa_deploy")


def cache_key(model: ir.Model, data_sha256: str, options: Mapping[str, Any]) -> str:
    """The hash of a graph with its weights, the calibration inputs, options, and the versions of the packages.

    Args:
        model: float32. Where its nodes came from in the user's source does not count.
        data_sha256: of the calibration inputs.
        options: JSON values.

    Returns:
        64 hexadecimal digits.
    """
    parts = {
        "format": FORMAT,
        "model": model_sha256(model),
        "data": data_sha256,
        "options": dict(options),
        "versions": {package: _version(package) for package in PACKAGES},
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def model_sha256(model: ir.Model) -> str:
    """The hash of a graph: its nodes, inputs, outputs and weights."""
    digest = hashlib.sha256()
    graph = model.graph
    digest.update(json.dumps([sorted(model.opset_imports.items()), [str(name) for name in model.functions]]).encode())
    for value in (*graph.inputs, *graph.outputs):
        digest.update(json.dumps([value.name, str(value.dtype), str(value.shape)]).encode())
    for node in (*graph, *(node for function in model.functions.values() for node in function)):
        proto = ir.to_proto(node)
        proto.ClearField("metadata_props")
        digest.update(proto.SerializeToString(deterministic=True))
    for name, value in sorted(graph.initializers.items()):
        assert value.const_value is not None
        weights = np.ascontiguousarray(value.const_value.numpy())
        digest.update(json.dumps([name, weights.dtype.str, weights.shape]).encode())
        digest.update(weights.tobytes())
    return digest.hexdigest()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def load(key: str) -> Arrays | None:
    """The arrays that were stored under this key, or None. A damaged entry is discarded, with a warning."""
    try:
        path = _folder() / key
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        logger.warning("the calibration cache cannot be read (%s): measuring again", error)
        return None
    arrays = _unpacked(key, data)
    if arrays is None:
        logger.warning("the calibration cache entry %s is damaged: discarded, and measured again", path)
        with contextlib.suppress(OSError):
            path.unlink()
    return arrays


def store(key: str, arrays: Arrays) -> None:
    """Keep arrays under a key, in place of earlier ones. If they cannot be written, only a warning is given.

    Args:
        key: from `cache_key`.
        arrays: of numbers or text, by any name.
    """
    try:
        folder = _folder()
        folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder)
        replace_file(folder / key, _packed(key, arrays))
    except OSError as error:
        logger.warning("the calibration cache cannot be written (%s): the next run will measure again", error)


def _folder() -> Path:
    return cache_folder("hamsa-deploy", "calibration")


def _packed(key: str, arrays: Arrays) -> bytes:
    """The file of an entry. Arrays are numbered, because not every name can be one in an .npz."""
    stream = io.BytesIO()
    numbered: dict[str, Any] = {str(i): array for i, array in enumerate(arrays.values())}
    np.savez_compressed(stream, names=np.array(list(arrays), dtype=np.str_), **numbered)
    content = stream.getvalue()
    return _digest(key, content) + content


def _unpacked(key: str, data: bytes) -> Arrays | None:
    content = data[DIGEST_BYTES:]
    if data[:DIGEST_BYTES] != _digest(key, content):
        return None
    with np.load(io.BytesIO(content), allow_pickle=False) as stored:
        return {str(name): stored[str(i)] for i, name in enumerate(stored["names"])}


def _digest(key: str, content: bytes) -> bytes:
    return hashlib.sha256(key.encode() + content).digest()
