"""What the caller has, turned into what the graph takes, as the manifest says.

With pixels p in 0..255 and the manifest's mean and std per channel, a normalised image is

    x = (p / 255 - mean) / std

Bundles with ``normalise: graph`` take p (uint8, NHWC) and compute x inside; with ``normalise: runtime`` they
take x (float32, NCHW), and uint8 pixels are normalised here. Floats from the caller are always x, of the
model's size.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
from PIL import Image

from hamsa_runtime.clips import arrays_from_clips
from hamsa_runtime.errors import InputError, nearest
from hamsa_runtime.images import Encoded, image_from_pixels, is_encoded, load_image, resized, upright
from hamsa_runtime.manifest import InputSpec, Manifest, Preprocessing

OneImage: TypeAlias = Encoded | Image.Image | np.ndarray
Images: TypeAlias = OneImage | Sequence[OneImage] | Mapping[str, np.ndarray | str | os.PathLike[str]]

# How far a denormalised float may be from a whole pixel. float32 rounding gives 1e-4.
PIXEL_TOLERANCE = 0.02


def inputs_from_images(images: Images, manifest: Manifest) -> dict[str, np.ndarray]:
    """The graph's inputs by name, contiguous, in the manifest's dtypes, shapes and layout.

    Args:
        images: for a model of images, one image or a batch:
            a path, the content of an image file (bytes) or an open one, a PIL image, uint8 pixels (H, W),
            (H, W, 1), (H, W, 3) or (N, H, W, C), which are resized and cropped; normalised float32 or float64
            (C, H, W) or (N, C, H, W) of exactly the model's size; or a list of single images, mixed as you like.
            Channels are red, green, blue.
            For a model of clips, the path of one, or several of one length for its batch; see `load_clip`.
            For a model without preprocessing, an array (if there is one input) or a dict of arrays by name, where the
            path of a clip may stand for its array.
        manifest: of the bundle.

    Raises:
        InputError: the wrong type, dtype, rank or size, saying what was found and what is expected.
    """
    how = manifest.preprocessing
    if how is None:
        return checked_inputs(images if manifest.audio is None else arrays_from_clips(images, manifest), manifest)
    singles = _singles(images)
    for each in singles:
        _check_unmasked(each)
    if not singles:
        raise InputError("no images", expected="at least one")
    convert = _pixels_from_image if how.normalise == "graph" else _normalised_from_image
    return {manifest.inputs[0].name: np.stack([convert(image, how) for image in singles])}


def decoded(images: Images, manifest: Manifest) -> Images:
    """Images with those that are files decoded; the first half of `inputs_from_images`, to be timed."""
    how = manifest.preprocessing
    if how is None:
        return images
    return [load_image(each, how.channels) if is_encoded(each) else each for each in _singles(images)]


def _singles(images: Images) -> Sequence[OneImage]:
    """One image or a batch, as a sequence of images."""
    if isinstance(images, np.ndarray):
        return list(images) if images.ndim == 4 else [images]
    if isinstance(images, Image.Image) or is_encoded(images):
        return [images]
    if isinstance(images, (list, tuple)):
        return images
    raise _not_an_image(images)


def _pixels_from_image(image: OneImage, how: Preprocessing) -> np.ndarray:
    """uint8 (H, W, C) for a graph that normalises inside."""
    if not _is_float(image):
        return _resized_from_image(image, how)
    x = _checked_floats(image, how).astype(np.float64).transpose(1, 2, 0)
    p = (x * how.std + how.mean) * 255
    pixels = np.clip(np.rint(p), 0, 255)
    worst = np.abs(p - pixels).max()
    if not worst <= PIXEL_TOLERANCE:
        raise InputError(
            f"a float image that is not made of 8-bit pixels: off by {worst:.3g} of 255 at worst",
            expected=f"(p / 255 - mean) / std of whole p in 0..255, with mean {how.mean} and std {how.std}",
            cause="another normalisation, floats in 0..1, or an image that was resized as floats",
            fix="pass the uint8 pixels, or export with --image-dtype float32",
        )
    return pixels.astype(np.uint8)


def _normalised_from_image(image: OneImage, how: Preprocessing) -> np.ndarray:
    """float32 (C, H, W) for a graph that takes normalised floats."""
    if _is_float(image):
        return np.ascontiguousarray(_checked_floats(image, how), dtype=np.float32)
    mean, std = np.asarray(how.mean, np.float32), np.asarray(how.std, np.float32)
    x = (_resized_from_image(image, how).astype(np.float32) / np.float32(255) - mean) / std
    return np.ascontiguousarray(x.transpose(2, 0, 1))


def _resized_from_image(image: OneImage, how: Preprocessing) -> np.ndarray:
    if is_encoded(image):
        return resized(load_image(image, how.channels), how)
    if isinstance(image, Image.Image):
        return resized(upright(image, how.channels, "a PIL image"), how)
    if isinstance(image, np.ndarray) and image.dtype == np.uint8:
        return resized(image_from_pixels(image, how.channels), how)
    raise _not_an_image(image)


def _is_float(image: object) -> bool:
    return isinstance(image, np.ndarray) and image.dtype in (np.float32, np.float64)


def _checked_floats(image: OneImage, how: Preprocessing) -> np.ndarray:
    array = np.asarray(image)
    expected = (how.channels, *how.size)
    if array.shape != expected:
        raise InputError(
            f"a float image of shape {array.shape}",
            expected=f"normalised floats of shape {expected}, or a batch of them",
            fix="pass uint8 pixels (H, W, C) to have them resized",
        )
    if not np.isfinite(array).all():
        raise InputError("a float image with NaN or infinity in it", expected="finite numbers")
    return array


def _check_unmasked(array: object) -> None:
    if isinstance(array, np.ma.MaskedArray):
        raise InputError(
            "a masked array, whose mask no model takes",
            expected="an array",
            fix="array.filled(0), or what it should be",
        )


def described(given: object) -> str:
    """`float64 array (3, 32, 32)`, or what else was given."""
    return f"{given.dtype} array {given.shape}" if isinstance(given, np.ndarray) else type(given).__name__


def is_pixels(given: object) -> bool:
    """Whether it is one image (H, W, 1) or (H, W, 3), and no series of grey ones as narrow as that."""
    return isinstance(given, np.ndarray) and given.dtype == np.uint8 and given.ndim == 3 and given.shape[-1] in (1, 3)


def _not_an_image(image: object) -> InputError:
    return InputError(
        f"an image given as {described(image)}",
        expected="a path, an image file's bytes, an open file, a PIL image, a uint8 array (H, W, C), a float32 array "
        "(C, H, W), or a list",
        fix=_way_for(image),
    )


def _way_for(image: object) -> str:
    if image is None:
        return "look at what read it: cv2.imread gives None for a file that it cannot read"
    if isinstance(image, Mapping):
        return "engine.infer(arrays), for arrays that are as the manifest says"
    return "pass tensor.numpy()" if hasattr(image, "numpy") else ""


def checked_inputs(given: Images, manifest: Manifest) -> dict[str, np.ndarray]:
    """The graph's inputs by name, from an array (if there is one input) or a dict of arrays that are already as the
    manifest says.

    Raises:
        InputError: names, dtypes, shapes, or sizes of axes that do not fit.
    """
    specs = manifest.inputs
    names = [spec.name for spec in specs]
    if not isinstance(given, Mapping):
        if len(specs) != 1:
            what = given if isinstance(given, str | os.PathLike) else described(given)
            raise InputError(
                f"inputs given as {what}",
                expected=f"arrays for {', '.join(names)}: a dict in Python, an .npz file in the shell",
            )
        given = {names[0]: given}  # type: ignore[dict-item]  # checked in _checked_array
    for name in given:
        if name not in names:
            raise InputError(f"unknown input {name!r}", expected=", ".join(names), fix=nearest(str(name), names))
    if missing := [name for name in names if name not in given]:
        raise InputError(f"missing inputs: {', '.join(missing)}", expected=", ".join(names))
    arrays = {spec.name: _checked_array(given[spec.name], spec) for spec in specs}
    _check_axes(arrays, manifest)
    return arrays


def _checked_array(array: object, spec: InputSpec) -> np.ndarray:
    """The array, made contiguous. Another dtype is an error: a cast would hide a wrong scale."""
    expected = f"{spec.dtype} array of shape ({', '.join(map(str, spec.shape))})"
    if spec.is_complex:
        expected += ", real and imaginary part last; or the complex numbers themselves"
    if not isinstance(array, np.ndarray):
        raise InputError(f"the input {spec.name!r} is a {type(array).__name__}", expected=expected)
    _check_unmasked(array)
    parts = _parts(array) if spec.is_complex else array
    fits = parts.ndim == len(spec.shape) and all(
        size == wanted or (isinstance(wanted, str) and size > 0)
        for size, wanted in zip(parts.shape, spec.shape, strict=True)
    )
    if parts.dtype != np.dtype(spec.dtype) or not fits:
        fix = f"array.astype(np.{spec.dtype})" if fits and not np.iscomplexobj(array) else ""
        raise InputError(f"the input {spec.name!r} is {array.dtype} {array.shape}", expected=expected, fix=fix)
    return np.asarray(parts, order="C")


def _parts(array: np.ndarray) -> np.ndarray:
    """(..., 2) of complex numbers; anything else as it is."""
    if not np.iscomplexobj(array):
        return array
    return np.stack([array.real, array.imag], axis=-1)


def _check_axes(arrays: Mapping[str, np.ndarray], manifest: Manifest) -> None:
    """An axis has one size in all inputs, within its limits."""
    limits = {axis.name: (axis.min, axis.max) for axis in manifest.axes}
    seen: dict[str, tuple[str, int]] = {}
    for spec in manifest.inputs:
        for size, axis in zip(arrays[spec.name].shape, spec.shape, strict=True):
            if not isinstance(axis, str):
                continue
            first, before = seen.setdefault(axis, (spec.name, size))
            if size != before:
                raise InputError(
                    f"the axis {axis!r} is {before} in {first!r} and {size} in {spec.name!r}",
                    expected="the same in both",
                )
            low, high = limits.get(axis, (1, None))
            if size < low or (high is not None and size > high):
                raise InputError(
                    f"the axis {axis!r} is {size} in {spec.name!r}",
                    expected=f"at least {low}" if high is None else f"{low} to {high}",
                )
