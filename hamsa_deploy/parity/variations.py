"""What one comparison of many images at once leaves out: the same images one by one, and sizes of free axes other than
those that the model was captured with.

One by one, through the stream, the batch is cut, filled up and put together otherwise: the results must be those of
all images at once. Outputs that are of all images of an inference together have no such results.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from hamsa_deploy.form.from_request import example_arrays
from hamsa_deploy.inputs.feeds import is_calls
from hamsa_deploy.parity.differences import cosines, relative_errors
from hamsa_deploy.parity.metrics import Thresholds
from hamsa_runtime import Engine
from hamsa_runtime.batches import Arrays, batch_axes, images_of, is_separable, joined, part
from hamsa_runtime.errors import InputError, ParityError
from hamsa_runtime.manifest import BATCH, Axis, Manifest
from hamsa_runtime.preprocess import inputs_from_images

STREAMED = 3  # images, at least
EXAMPLE_BATCH = 2
WITH = " (with "


def by_image(outputs: Arrays, data: Any, manifest: Manifest) -> Arrays:
    """Outputs with one row for each image, (N, ...); with one row in all where they are of all images together, or
    where nothing says what an image is and there is no dimension."""
    if is_calls(data, manifest):
        return outputs  # a row for each
    images = number_of_images(data, manifest)
    known = manifest.preprocessing is not None or bool(batch_axes(manifest.inputs))
    found = dict(outputs)
    for spec in manifest.outputs:
        array = outputs.get(spec.name)
        if array is None or (not known and array.ndim):
            continue
        axis = spec.batch_axis
        if axis is None or array.ndim <= axis:
            found[spec.name] = array[None]
        elif array.shape[axis] % images:
            raise ParityError(
                f"output {spec.name!r} has {array.shape[axis]} rows along dimension {axis} for {images} inputs",
                expected=f"a multiple of {images}, as many for each input",
                cause="the manifest says that the batch lies there",
            )
        elif axis or array.shape[0] != images:
            rows = np.moveaxis(array, axis, 0)
            found[spec.name] = rows.reshape(images, -1, *rows.shape[1:])
    return found


def number_of_images(data: Any, manifest: Manifest) -> int:
    """In data as `Engine` takes them."""
    return len(data) if manifest.preprocessing is not None else images_of(inputs_from_images(data, manifest), manifest)


def stream_failures(engine: Engine, data: Any, found: Arrays, thresholds: Thresholds) -> list[str]:
    """A sentence for each output that is another when images come one by one.

    Args:
        engine: of the bundle.
        data: of which `found` is what it computes at once.
        thresholds: what may differ; of these only the errors.
    """
    manifest = engine.manifest
    if is_calls(data, manifest):
        return []
    singles = list(_singles(data, manifest))
    if not singles or not all(map(is_separable, manifest.outputs)):
        return []
    total = number_of_images(data, manifest)
    apart = joined(list(engine.stream(singles)), manifest)
    at_once = part(found, manifest, 0, len(singles), total)
    failures = []
    for name, one in at_once.items():
        if apart[name].shape != one.shape:
            failures.append(f"{name}: shape {apart[name].shape} from a stream of {len(singles)}, {one.shape} at once")
        elif one.size and not _are_near(apart[name], one, thresholds):
            failures.append(f"{name}: from a stream of {len(singles)} others than at once")
    return failures


def other_sizes(manifest: Manifest) -> Iterator[tuple[str, Arrays]]:
    """Examples of inputs, a batch of two, with other sizes of the free axes than the usual ones: what they are called,
    and the arrays."""
    if not manifest.axes:
        yield f"a batch of {EXAMPLE_BATCH}", example_arrays(manifest, {BATCH: EXAMPLE_BATCH})
    for change in (lambda n: n + 1, lambda n: n - 1, lambda n: n // 2 + 1, lambda n: 2 * n):
        sizes = {axis.name: _within(axis, change(axis.example)) for axis in manifest.axes}
        if all(sizes[axis.name] == axis.example for axis in manifest.axes):
            continue
        text = ", ".join(f"{name} {size}" for name, size in sizes.items())
        yield text, example_arrays(manifest, {BATCH: EXAMPLE_BATCH, **sizes})


def size_failures(
    run: Callable[[Any], Arrays],
    run_bundle: Callable[[Any], Arrays],
    manifest: Manifest,
    judged: Callable[[Arrays, Arrays, Any], list[str]],
    *,
    calls: bool,
) -> list[str]:
    """A sentence for each output that is wrong at another size of a free axis, the first that the model takes.

    Args:
        run, run_bundle: the original, and the bundle.
        manifest: of the bundle.
        judged: failures of what was found, what was expected, of which inputs.
        calls: whether the data were calls, which leave a batch untried.
    """
    if not manifest.axes and not (calls and batch_axes(manifest.inputs)):
        return []
    tried = []
    for text, arrays in other_sizes(manifest):
        try:
            expected = run(arrays)
        except InputError:
            raise
        except Exception:  # noqa: BLE001  # whatever the model says of a size that it does not take
            tried.append(text)
            continue
        return [f"{sentence}{WITH}{text})" for sentence in judged(run_bundle(arrays), expected, arrays)]
    return [f"the model itself takes none of the sizes that were tried: {'; '.join(tried)}"] if tried else []


def is_of_other_sizes(failure: str) -> bool:
    """Whether a sentence is of a size other than those that the model was captured with."""
    return WITH in failure


def _within(axis: Axis, size: int) -> int:
    return max(axis.min, size if axis.max is None else min(size, axis.max))


def _singles(data: Any, manifest: Manifest) -> Iterator[Any]:
    """The first images, one by one: one more than a fixed batch has."""
    if manifest.preprocessing is not None:
        fixed = manifest.inputs[0].shape[0]
        yield from data[: fixed + 1 if isinstance(fixed, int) and fixed >= STREAMED else STREAMED]
        return
    arrays, axes = inputs_from_images(data, manifest), batch_axes(manifest.inputs)
    for i in range(min(STREAMED, images_of(arrays, manifest)) if axes else 0):
        yield {**arrays, **{name: np.take(arrays[name], [i], axis=axis) for name, axis in axes.items()}}


def _are_near(found: np.ndarray, expected: np.ndarray, thresholds: Thresholds) -> bool:
    a, b = found.reshape(1, -1), expected.reshape(1, -1)
    if not np.issubdtype(b.dtype, np.floating):
        return bool(np.array_equal(a, b))
    near = relative_errors(a, b).max() <= thresholds.max_relative_error
    return bool(near and cosines(a, b).min() >= thresholds.cosine)
