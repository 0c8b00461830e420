"""What float16 ranges and int8 scales are measured on: images, or arrays, from wherever the user has them.

Images are decoded and scaled as the bundle's preprocessing says, and cropped where they are fed to the graph: fed
through `hamsa_runtime.preprocess`, they give the same pixels as the files would.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import itertools
import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hamsa_deploy.inputs.feeds import calls_of
from hamsa_deploy.inputs.files import check_several, image_paths, kind_of_data, read_data, read_images
from hamsa_deploy.samples import sample_images
from hamsa_deploy.samples.synthesis import sample_calls
from hamsa_runtime.batches import Arrays, batch_axes
from hamsa_runtime.errors import InputError
from hamsa_runtime.folders import is_folder
from hamsa_runtime.images import image_from_pixels, load_image, scaled, upright
from hamsa_runtime.manifest import BATCH, CalibrationInputs, InputSpec, Manifest, Preprocessing
from hamsa_runtime.preprocess import inputs_from_images

LIMIT = 256  # inputs used
MINIMUM = 8
MAX_SKIPPED = 0.1  # of the images
HELD_OUT = 4  # every fourth
BUILT_IN = "built-in samples"

logger = logging.getLogger("hamsa_deploy")


@dataclass(frozen=True)
class CalibrationSet:
    """The inputs that a model is calibrated with, in memory.

    Attributes:
        inputs: for a model of images, one array for each: uint8 (H, W, 3), or (H, W) for grey, scaled but not cropped;
            or floats (C, H, W), as they came. For any other model, one dict of arrays by input name for each run of
            the graph, with a batch of 1 where the batch is dynamic.
        source: the name of the folder or file, or what else they came from; never a path.
        found: how many there were, of which not all need be used; of an iterator, how many were taken.
        skipped: file name -> why it could not be used.
        sha256: of the inputs and of their preprocessing.
    """

    inputs: tuple[Any, ...]
    source: str
    found: int
    skipped: Mapping[str, str]
    sha256: str

    @property
    def fitted(self) -> tuple[Any, ...]:
        """The inputs that thresholds are taken from where methods compete: those that are not held out."""
        return tuple(each for i, each in enumerate(self.inputs) if i % HELD_OUT != HELD_OUT - 1)

    @property
    def held_out(self) -> tuple[Any, ...]:
        """Every fourth input, by which the competing methods are judged."""
        return self.inputs[HELD_OUT - 1 :: HELD_OUT]

    @property
    def recorded(self) -> CalibrationInputs:
        """What the bundle's manifest says about the inputs."""
        return CalibrationInputs(self.source, self.found, len(self.inputs), dict(self.skipped), self.sha256)


def calibration_set(source: Any, manifest: Manifest, limit: int = LIMIT) -> CalibrationSet:
    """Read and check calibration inputs.

    Args:
        source: a folder of images or of clips, or an .npz or .npy file (of uint8 images (N, H, W, C); for a model of
            arrays with one array for each input); an iterable of images as `Engine` takes them, or, for a model of
            arrays, of dicts of arrays by input name; an array or a dict of arrays with a leading batch axis; or None,
            for the built-in samples, which a model of arrays has none of. A model that keeps something between calls is
            given all this in order.
        manifest: of the bundle: its name chooses the samples, its preprocessing or inputs say what is wanted.
        limit: at most so many are used: evenly spaced over a folder, file or sequence; the first of any other iterable,
            and for a model that keeps something between calls.

    Raises:
        InputError: nothing there, too few, all the same or each of one colour, or more than a tenth of the images
            cannot be read.
    """
    how = manifest.preprocessing
    given = _arrays_from(source, manifest) if how is None else _images_from(source, manifest.name)
    chosen = itertools.islice(given, limit) if manifest.states else _chosen(given, limit)
    if how is None:
        # copied, because an iterator may fill the same arrays again
        inputs: list[Any] = [inputs_from_images(copy.deepcopy(each), manifest) for each in chosen]
        skipped: dict[str, str] = {}
    else:
        inputs, skipped = _decoded(chosen, how, manifest)
    name = _name(source)
    _check_enough(inputs, name)
    _check_varied(inputs, name)
    found = len(given) if isinstance(given, Sized) else len(inputs) + len(skipped)
    return CalibrationSet(tuple(inputs), name, found, skipped, _sha256(inputs, how))


def check_images_of(path: Path, channels: int) -> None:
    """Fail early where too many images of a folder cannot be read: of those that `calibration_set` would take.

    Raises:
        InputError: there are too few, or more than a tenth cannot be read; names them.
    """
    if is_folder(path):
        skipped = {}
        chosen = list(_chosen(image_paths(path), LIMIT))
        for image in chosen:
            try:
                load_image(image, channels)
            except InputError as error:
                skipped[image.name] = error.found.replace(str(image), image.name)
        _check_skipped(skipped, len(chosen))
        _check_enough(chosen[len(skipped) :], _name(path))


def _name(source: Any) -> str:
    if source is None:
        return BUILT_IN
    if isinstance(source, str | os.PathLike):
        return Path(source).resolve().name
    return f"a Python {type(source).__name__}"


def _chosen(given: Iterable[Any], limit: int) -> Iterator[Any]:
    """Those to use; no more than those are taken from an iterator, one after the other."""
    if not isinstance(given, Sequence | np.ndarray):
        yield from itertools.islice(given, limit)
        return
    for i in np.linspace(0, len(given) - 1, min(limit, len(given))).round().astype(int):
        yield given[i]


def _images_from(source: Any, model_name: str) -> Iterable[Any]:
    if source is None:
        return sample_images(model_name)
    if isinstance(source, str | os.PathLike):
        return read_images(Path(source))
    check_several(source)
    if isinstance(source, Mapping) or not isinstance(source, Iterable):
        raise _unusable(source, "a folder, an .npz or .npy file, or an iterable of images")
    return source


def _decoded(images: Iterable[Any], how: Preprocessing, manifest: Manifest) -> tuple[list[Any], dict[str, str]]:
    """Scaled pixels, and the files that could not be read."""
    inputs: list[Any] = []
    skipped: dict[str, str] = {}
    for image in images:
        if isinstance(image, str | os.PathLike):
            try:
                inputs.append(_pixels(load_image(image, how.channels), how))
            except InputError as error:
                path = Path(image)
                skipped[path.name] = error.found.replace(str(path), path.name)
        else:
            inputs.append(_pixels_of(image, how, manifest))
    _report_skipped(skipped, len(inputs) + len(skipped))
    return inputs, skipped


def _pixels_of(image: Any, how: Preprocessing, manifest: Manifest) -> np.ndarray:
    if isinstance(image, Image.Image):
        return _pixels(upright(image, how.channels, "a PIL image"), how)
    if isinstance(image, np.ndarray) and image.dtype == np.uint8:
        return _pixels(image_from_pixels(image, how.channels), how)
    inputs_from_images([image], manifest)  # refuses what is not normalised floats
    return np.array(image)


def _pixels(image: Image.Image, how: Preprocessing) -> np.ndarray:
    return np.asarray(scaled(image, how))


def _report_skipped(skipped: Mapping[str, str], tried: int) -> None:
    _check_skipped(skipped, tried)
    if skipped:
        listed = "; ".join(skipped.values())
        logger.warning("calibration goes without %d of %d images: %s", len(skipped), tried, listed)


def _check_skipped(skipped: Mapping[str, str], tried: int) -> None:
    if len(skipped) > MAX_SKIPPED * tried:
        raise InputError(
            f"{len(skipped)} of {tried} calibration images cannot be read: {'; '.join(skipped.values())}",
            expected=f"at most {MAX_SKIPPED:.0%} that cannot be",
            cause="an interrupted download, or files of another type",
            fix="remove these files, or name another folder",
        )


def _arrays_from(source: Any, manifest: Manifest) -> Iterable[Arrays]:
    """One dict of arrays for each run of the graph."""
    if source is None and manifest.audio is not None and len(manifest.inputs) == 1:
        found = sample_calls(manifest.audio, manifest.inputs, manifest.axes, keeps_state=bool(manifest.states))
        return [{manifest.audio.input: clip} for _, clip in found]
    if source is None:
        raise InputError(
            "no calibration data for a model of arrays",
            expected="an .npz file with one array for each input, or an iterable of dicts",
            cause="the built-in samples are images and clips",
            fix="--calibration arrays.npz",
        )
    if isinstance(source, str | os.PathLike):
        source = read_data(source, kind_of_data(None, manifest.audio))
    if isinstance(source, np.ndarray):
        source = dict.fromkeys([spec.name for spec in manifest.inputs[:1]], source)
    if isinstance(source, Mapping):
        return _runs(dict(source), manifest.inputs)
    if not isinstance(source, Iterable):
        raise _unusable(source, "an .npz or .npy file, a dict of arrays, or an iterable of such dicts")
    return calls_of(source, manifest) if isinstance(source, list | tuple) else source


def _runs(arrays: Arrays, specs: Sequence[InputSpec]) -> list[Arrays]:
    """The arrays cut along the batch, or else their first axis, into what the graph takes at once, or as they are if
    that does not fit."""
    axes = {spec.name: 0 for spec in specs if spec.shape} | batch_axes(specs)
    rows: dict[str, int] = {}
    for spec in specs:
        size = spec.shape[axes[spec.name]] if spec.shape else None
        if isinstance(size, int) or size == BATCH:
            rows[spec.name] = size if isinstance(size, int) else 1
    if set(rows) != set(arrays) or not all(arrays[name].ndim > axes[name] for name in rows):
        return [arrays]
    runs = {arrays[name].shape[axes[name]] / size for name, size in rows.items()}
    count = runs.pop()
    if runs or count != int(count):
        return [arrays]
    return [
        {name: np.take(arrays[name], range(i * size, (i + 1) * size), axes[name]) for name, size in rows.items()}
        for i in range(int(count))
    ]


def _unusable(source: Any, expected: str) -> InputError:
    return InputError(f"calibration data given as {type(source).__name__}", expected=expected)


def _check_enough(inputs: Sequence[Any], name: str) -> None:
    if len(inputs) < MINIMUM:
        raise InputError(
            f"{len(inputs)} calibration inputs in {name}",
            expected=f"at least {MINIMUM}; some hundred are better",
            cause="ranges measured on so few would clip other inputs",
            fix="add images that look like those the model will see",
        )


def _check_varied(inputs: Sequence[Any], name: str) -> None:
    """Refuse inputs that tell nothing about the ranges of others."""
    same = all(_same(inputs[0], each) for each in inputs[1:])
    if same or all(map(_flat, inputs)):
        found = "the same" if same else "of a single value each"
        raise InputError(
            f"all {len(inputs)} calibration inputs in {name} are {found}",
            expected="inputs that look like those the model will see",
            cause="placeholder images, or arrays of zeros",
        )


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Mapping):
        return all(np.array_equal(one[name], other[name]) for name in one)
    return np.array_equal(one, other)


def _flat(given: Any) -> bool:
    """One value throughout, or, for images, one in each channel."""
    if isinstance(given, Mapping):
        return all(array.size > 1 and bool((array == array.flat[0]).all()) for array in given.values())
    corner = given[:1, :1] if given.dtype == np.uint8 else given[:, :1, :1]
    return bool((given == corner).all())


def _sha256(inputs: Sequence[Any], how: Preprocessing | None) -> str:
    digest = hashlib.sha256(json.dumps(None if how is None else dataclasses.asdict(how)).encode())
    for given in inputs:
        arrays = given if isinstance(given, Mapping) else {"": given}
        for name, array in sorted(arrays.items()):
            digest.update(json.dumps([name, array.dtype.str, array.shape]).encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
