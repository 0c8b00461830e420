"""What TensorRT-RTX compiles on the device: kernels for this GPU, kept in a file, so that it is done once.

The file holds the sha256 of the rest in its first 32 bytes. TensorRT-RTX itself refuses what another version, GPU or
driver has compiled (`IRuntimeCache.deserialize`); then, and if the file is damaged, it compiles again.
https://docs.nvidia.com/deeplearning/tensorrt-rtx/latest/inference-library/work-with-runtime-cache.html
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any

from hamsa_runtime.tensorrt.cuda import Gpu
from hamsa_runtime.whole_files import replace_file

DIGEST = 32

logger = logging.getLogger("hamsa_runtime")


class Kernels:
    """The runtime cache of one engine, shared by its execution contexts.

    Args:
        path: of the file; None keeps nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._cache: Any = None

    def config(self, trt: Any, engine: Any, cuda_graph: bool) -> Any:
        """The configuration for a new execution context."""
        config = engine.create_runtime_config()
        if cuda_graph:
            config.cuda_graph_strategy = trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        if self._cache is None:
            self._cache = config.create_runtime_cache()
            stored = _read(self._path)
            if stored is not None and not self._cache.deserialize(stored):
                logger.warning("%s is of another GPU, driver or TensorRT-RTX: kernels are compiled again", self._path)
        config.set_runtime_cache(self._cache)
        return config

    def save(self) -> None:
        """Write the file, if there is something new; a file that cannot be written is reported only."""
        cache, self._cache = self._cache, None
        if cache is None or self._path is None:
            return
        data = bytes(cache.serialize())
        if data == _read(self._path, report=False):
            return
        try:
            replace_file(self._path, hashlib.sha256(data).digest() + data)
        except OSError as error:
            logger.warning("compiled kernels cannot be kept in %s (%s)", self._path, error)


def file_for(plan: bytes, gpu: Gpu, folder: Path) -> Path:
    """Where the kernels of a plan on a GPU are kept: a file in the folder of the plans, under a hash of both."""
    key = hashlib.sha256(f"{gpu.name} {gpu.compute_capability}".encode() + hashlib.sha256(plan).digest())
    return folder / f"kernels-{key.hexdigest()[:32]}"


def _read(path: Path | None, report: bool = True) -> bytes | None:
    """What is in the file, or None if there is none, or it is damaged."""
    if path is None or not path.is_file():
        return None
    try:
        content = path.read_bytes()
    except OSError as error:
        logger.warning("%s cannot be read (%s): kernels are compiled again", path, error)
        return None
    digest, data = content[:DIGEST], content[DIGEST:]
    if hashlib.sha256(data).digest() == digest:
        return data
    if report:
        logger.warning("%s is damaged: kernels are compiled again", path)
    return None
