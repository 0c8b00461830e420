"""Small pictures of what a model was given, as data URIs: they stand in the report itself."""

from __future__ import annotations

import base64
import dataclasses
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from hamsa_runtime.manifest import Manifest
from hamsa_runtime.preprocess import inputs_from_images

LARGEST = 192  # pixels along the longer side
PNG_UP_TO = 64  # smaller ones without loss, since each pixel is seen


def pictures_of(data: Any, images: Iterable[int], manifest: Manifest) -> dict[str, str]:
    """Number of an image -> its pixels after resizing and cropping, as a data URI; empty for a model of arrays."""
    if manifest.preprocessing is None or isinstance(data, Mapping) or not isinstance(data, (Sequence, np.ndarray)):
        return {}
    how = dataclasses.replace(manifest.preprocessing, normalise="graph")
    as_pixels = dataclasses.replace(manifest, preprocessing=how)
    name = manifest.inputs[0].name
    return {str(i): data_uri(inputs_from_images([data[i]], as_pixels)[name][0]) for i in sorted(set(images))}


def data_uri(pixels: np.ndarray) -> str:
    """uint8 (H, W, 1) or (H, W, 3) -> "data:image/png;base64,...", made smaller if need be."""
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    image.thumbnail((LARGEST, LARGEST))
    kind = "png" if max(image.size) <= PNG_UP_TO else "jpeg"
    stream = io.BytesIO()
    image.save(stream, kind, quality=85)
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}"
