"""What bundles are timed on: graph inputs, made once before any run, so that no preprocessing is timed.

For a model of images the built-in samples, resized as the manifest says: uint8 pixels of the model's size, or
normalised floats where the graph takes those; for a model of clips the built-in ones. For any other model normal random
numbers, and 0 or 1 for whole numbers.
"""

from __future__ import annotations

import itertools

import numpy as np

from hamsa_deploy.samples import sample_images
from hamsa_deploy.samples.synthesis import sample_input
from hamsa_runtime.batches import Arrays, batch_axes, example_sizes, sized
from hamsa_runtime.errors import InputError
from hamsa_runtime.manifest import InputSpec, Manifest
from hamsa_runtime.preprocess import inputs_from_images


def graph_inputs(manifest: Manifest, batch: int) -> Arrays:
    """Inputs of one inference by name, contiguous, in the manifest's dtypes; the same at every call.

    Raises:
        InputError: the bundle takes another batch only.
    """
    check_batch(manifest, batch)
    if manifest.preprocessing is not None:
        images = itertools.cycle(sample_images(manifest.model.reference))
        return inputs_from_images(list(itertools.islice(images, batch)), manifest)
    random, sizes = np.random.default_rng(0), example_sizes(manifest.axes, batch)
    arrays = {spec.name: _random(spec, sized(spec.shape, sizes), random) for spec in manifest.inputs}
    if manifest.audio is not None:
        spec = next(each for each in manifest.inputs if each.name == manifest.audio.input)
        arrays[spec.name] = sample_input(spec, manifest.audio, sizes, 0)
    return arrays


def check_batch(manifest: Manifest, batch: int) -> None:
    """Raise InputError for a batch other than the fixed one of a bundle."""
    fixed = fixed_batch(manifest)
    if fixed not in (None, batch):
        raise InputError(
            f"{manifest.name}: a batch of {batch}",
            expected=f"{fixed}: the bundle was exported for this batch",
            fix=f"--batch {fixed}, or export without --batch",
        )


def fixed_batch(manifest: Manifest) -> int | None:
    """The first dimension of the first input, where no batch is free."""
    if batch_axes(manifest.inputs):
        return None
    size = (*manifest.inputs[0].shape, 1)[0]
    return size if isinstance(size, int) else 1


def _random(spec: InputSpec, shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
    dtype = np.dtype(spec.dtype)
    if np.issubdtype(dtype, np.floating):
        return random.standard_normal(shape).astype(dtype)
    return random.integers(0, 2, shape).astype(dtype)
