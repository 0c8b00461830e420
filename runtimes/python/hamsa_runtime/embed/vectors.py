"""Rows to vectors: decoding and checks by the code that the engine itself uses, inference of many rows at once.

A row that cannot be decoded, or whose vector is not finite, fails alone: it is kept, with the reason and without a
vector. Whatever is wrong with the engine or this machine ends the job.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal
from urllib.parse import urlsplit
from urllib.request import url2pathname

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs

from hamsa_runtime.embed.sources import Row, Shard, is_uri
from hamsa_runtime.engine import Engine
from hamsa_runtime.errors import InputError
from hamsa_runtime.images import MAX_FILE_BYTES
from hamsa_runtime.manifest import Manifest
from hamsa_runtime.outputs import EMBEDDING, LOGITS, classes_in, named_or_only
from hamsa_runtime.preprocess import inputs_from_images

Dtype = Literal["float32", "float16"]
DTYPES: tuple[Dtype, ...] = ("float32", "float16")
OK, FAILED = "ok", "failed"
KEPT = "kept"  # in place of inputs, of a row that is not to be embedded
# Of one inference, where the bundle leaves the batch open: rows, and values of its inputs. On a CPU a model of 32 x 32
# pixels takes a fifth of the time for an image among 64; one of 224 x 224 takes no less among 16 than among 6, and more
# memory (HAMSA-S in int8: 48 ms of a processor and 779 MB, 47 ms and 587 MB).
MOST_ROWS, CPU_VALUES, GPU_VALUES = 64, 1 << 20, 1 << 24
# Of the files that a block is made from.
MOST_BYTES = 16 << 20
# Files elsewhere that a thread waits for at once.
FETCHES = 16


@dataclass(frozen=True)
class Wanted:
    """What of a bundle's outputs is kept: the embedding, as which numbers, and the most probable label."""

    embedding: str
    width: int
    dtype: Dtype
    logits: str | None = None
    labels: tuple[str, ...] = ()

    @property
    def schema(self) -> pa.Schema:
        """Of the output."""
        vector = pa.list_(pa.float32() if self.dtype == "float32" else pa.float16(), self.width)
        label = [pa.field("label", pa.string()), pa.field("probability", pa.float32())]
        return pa.schema(
            [
                pa.field("id", pa.string(), nullable=False),
                pa.field("embedding", vector),
                *(label if self.logits else []),
                pa.field("status", pa.string(), nullable=False),
                pa.field("error", pa.string()),
            ]
        )


@dataclass(frozen=True)
class Block:
    """Rows of a shard that follow one another, as many as are inferred together; the last one of a shard says so, and
    also why the rest of the shard cannot be read. Rows that are `kept` have a vector already."""

    shard: Shard
    rows: Sequence[Row]
    kept: Sequence[bool] = ()
    is_last: bool = False
    error: InputError | None = None


@dataclass(frozen=True)
class Prepared:
    """A block, decoded: inputs of the graph, or the reason why there are none, for each row."""

    block: Block
    inputs: Sequence[Mapping[str, np.ndarray] | str]
    seconds: float


def wanted_from(manifest: Manifest, dtype: Dtype, *, label: bool) -> Wanted:
    """What a bundle gives of what is asked for.

    Raises:
        InputError: it has no embedding, or not one vector for each image; or no logits.
    """
    shapes = {spec.name: spec.shape for spec in manifest.outputs}
    found = named_or_only(EMBEDDING, shapes)
    if found is None or (found == LOGITS and len(shapes) == 1):
        raise InputError(
            f"{manifest.name}: no output is called {EMBEDDING!r}, only {', '.join(shapes)}",
            expected="a bundle of a model that gives a vector for each image or clip",
            fix=f"export a model whose output is one vector, or several of which one is called {EMBEDDING!r}",
        )
    if manifest.states:
        raise InputError(
            f"{manifest.name}: the model keeps {manifest.states[0].name!r} between calls",
            expected="a model that gives the same vector for an image whatever came before it",
        )
    spec = next(spec for spec in manifest.outputs if spec.name == found)
    sizes = [size for size in spec.shape[1:] if size != 1]
    if spec.batch_axis != 0 or len(sizes) != 1 or not isinstance(sizes[0], int) or spec.is_complex:
        raise InputError(
            f"{manifest.name}: the output {found!r} has the shape ({', '.join(map(str, spec.shape))})",
            expected="(batch, width): one vector for each image",
            fix="export a model that pools its features",
        )
    logits = _logits_of(manifest, shapes) if label else None
    return Wanted(found, sizes[0], dtype, logits, _labels_of(manifest, shapes[logits]) if logits else ())


def _logits_of(manifest: Manifest, shapes: Mapping[str, tuple[int | str, ...]]) -> str:
    if LOGITS not in shapes or classes_in(shapes[LOGITS]) is None:
        raise InputError(
            f"{manifest.name}: labels of a bundle without logits, whose outputs are {', '.join(shapes)}",
            expected=f"an output {LOGITS!r} of shape (batch, classes)",
            fix="leave --label out",
        )
    return LOGITS


def _labels_of(manifest: Manifest, shape: tuple[int | str, ...]) -> tuple[str, ...]:
    """A label is its index where the manifest has none, as of `Engine.classify`."""
    classes = classes_in(shape) or 0
    labels = manifest.labels or tuple(map(str, range(classes)))
    if len(labels) != classes:
        raise InputError(f"{manifest.name}: {len(labels)} labels of {classes} classes", expected="one for each")
    return labels


def rows_of_a_block(manifest: Manifest, *, on_cpu: bool) -> int:
    """How many are decoded and inferred together: batches of the bundle, with as many values as are worth it."""
    spec = manifest.inputs[0]
    if manifest.preprocessing is None:
        return 8  # clips, each of its own length
    values = math.prod(size for size in spec.shape[1:] if isinstance(size, int))
    most = max(1, min(MOST_ROWS, (CPU_VALUES if on_cpu else GPU_VALUES) // values))
    batch = spec.shape[0]
    return max(1, most // batch) * batch if isinstance(batch, int) else most


def prepared(block: Block, manifest: Manifest) -> Prepared:
    """Decodes a block; called by several threads at once. Files that are elsewhere are waited for together."""
    start = time.perf_counter()
    kept = block.kept or [False] * len(block.rows)

    def one(row: Row, is_kept: bool) -> Mapping[str, np.ndarray] | str:
        return KEPT if is_kept else _inputs_or_reason(row, manifest)

    if any(isinstance(row.payload, str) and is_uri(row.payload) for row in block.rows):
        with ThreadPoolExecutor(FETCHES, "hamsa-fetch") as pool:
            inputs = list(pool.map(one, block.rows, kept))
    else:
        inputs = list(map(one, block.rows, kept))
    return Prepared(block, inputs, time.perf_counter() - start)


def _inputs_or_reason(row: Row, manifest: Manifest) -> Mapping[str, np.ndarray] | str:
    if row.payload is None:
        return "nothing in the columns path and bytes"
    try:
        is_remote = isinstance(row.payload, str) and is_uri(row.payload)
        return inputs_from_images(_fetched(str(row.payload)) if is_remote else row.payload, manifest)
    except InputError as error:
        return str(error)
    except MemoryError:
        return "too little memory for this image"


def _fetched(uri: str) -> bytes | str:
    """The content of a file elsewhere; of one that is too large, more than is taken. The path of one that is here."""
    parts = urlsplit(uri)
    if parts.scheme == "file":
        return url2pathname(parts.path)
    try:
        system, root = _system(parts.scheme, parts.netloc)
        key = uri.partition("://")[2][len(parts.netloc) :]  # as it is: %20 may be in a key
        with system.open_input_stream(root + key) as stream:
            return stream.read(MAX_FILE_BYTES + 1)
    except (OSError, pa.ArrowException, ValueError) as error:
        raise InputError(f"{uri}: cannot be read ({error})", expected="a URI that pyarrow.fs opens") from error


@lru_cache(maxsize=64)
def _system(scheme: str, place: str) -> tuple[pafs.FileSystem, str]:
    """Of a bucket: to make one may ask the network."""
    return pafs.FileSystem.from_uri(f"{scheme}://{place}")


def columns_of(found: Prepared, engine: Engine, wanted: Wanted) -> pa.RecordBatch:
    """The rows of the output for a block."""
    good = [i for i, each in enumerate(found.inputs) if not isinstance(each, str)]
    errors: list[str | None] = [each if isinstance(each, str) else None for each in found.inputs]
    outputs = _inferred([found.inputs[i] for i in good], engine, wanted)  # type: ignore[misc]  # those are no reasons
    count = len(errors)
    vectors = np.zeros((count, wanted.width), wanted.dtype)
    if good:
        with np.errstate(over="ignore"):  # an overflow is infinity, which is refused
            vectors[good] = outputs[wanted.embedding].reshape(len(good), wanted.width).astype(wanted.dtype)
        for i in np.flatnonzero(~np.isfinite(vectors).all(axis=1)):
            errors[i] = f"the model's vector is not finite in {wanted.dtype}"
    failed = np.array([error is not None for error in errors], bool)
    vectors[failed] = 0
    values = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), wanted.width, mask=pa.array(failed))
    labels = _label_columns(outputs.get(wanted.logits or ""), good, failed, wanted) if wanted.logits else []
    return pa.record_batch(
        [
            pa.array([row.id for row in found.block.rows], pa.string()),
            values,
            *labels,
            pa.array([FAILED if error else OK for error in errors], pa.string()),
            pa.array(errors, pa.string()),
        ],
        schema=wanted.schema,
    )


def _inferred(inputs: Sequence[Mapping[str, np.ndarray]], engine: Engine, wanted: Wanted) -> dict[str, np.ndarray]:
    """The outputs that are wanted, one after the other. Images go together; clips, each of its own length, alone."""
    names = [name for name in (wanted.embedding, wanted.logits) if name]
    if not inputs:
        return {}
    if engine.manifest.preprocessing is not None:
        name = engine.manifest.inputs[0].name
        outputs = [engine.infer({name: np.concatenate([each[name] for each in inputs])})]
    else:
        outputs = [engine.infer(each) for each in inputs]
    return {name: np.concatenate([each[name] for each in outputs]) for name in names}


def _label_columns(
    logits: np.ndarray | None, good: Sequence[int], failed: np.ndarray, wanted: Wanted
) -> list[pa.Array]:
    best, probabilities = np.zeros(len(failed), np.int64), np.zeros(len(failed), np.float32)
    if logits is not None:
        powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
        best[good] = logits.argmax(axis=1)
        probabilities[good] = (powers / powers.sum(axis=1, keepdims=True)).max(axis=1)
    names = [None if bad else wanted.labels[k] for k, bad in zip(best, failed, strict=True)]
    return [pa.array(names, pa.string()), pa.array(probabilities, pa.float32(), mask=failed)]
