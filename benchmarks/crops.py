"""Square crops of the two photographs that scikit-learn carries (china.jpg, flower.jpg; 427 x 640), drawn with a seed.

A *place* is a point of a photograph. A *view* of it is a square crop of random side whose centre is near the point,
mirrored half of the time. Places come from different cells of a grid over both photographs, one from each: no two
places of one draw coincide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance
from sklearn.datasets import load_sample_image

NAMES = ("china.jpg", "flower.jpg")
ROWS, COLUMNS = 4, 8
PLACES = len(NAMES) * ROWS * COLUMNS
# Of a view, in pixels of the photograph.
SMALLEST_SIDE, LARGEST_SIDE = 112, 256
# Of a view's centre from its place, in sides.
LARGEST_OFFSET = 0.15
# Brightness, contrast and saturation are multiplied by 1 - COLOUR_JITTER to 1 + COLOUR_JITTER.
COLOUR_JITTER = 0.4

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Place:
    """A point of a photograph, in pixels."""

    photograph: str
    x: float
    y: float


def random_places(count: int, generator: np.random.Generator) -> list[Place]:
    """`count` places, at most PLACES, each in another cell of the grid, in random order."""
    return [_place_in(int(cell), generator) for cell in generator.choice(PLACES, count, replace=False)]


def _place_in(cell: int, generator: np.random.Generator) -> Place:
    number, row, column = np.unravel_index(cell, (len(NAMES), ROWS, COLUMNS))
    name = NAMES[int(number)]
    image = _photograph(name)
    x = (int(column) + generator.uniform()) * image.width / COLUMNS
    y = (int(row) + generator.uniform()) * image.height / ROWS
    return Place(name, x, y)


def view(place: Place, size: int, generator: np.random.Generator) -> Image.Image:
    """A view of the place, resized to size x size pixels. Near an edge its centre moves inwards."""
    image = _photograph(place.photograph)
    side = generator.uniform(SMALLEST_SIDE, LARGEST_SIDE)
    offset_x, offset_y = side * generator.uniform(-LARGEST_OFFSET, LARGEST_OFFSET, size=2)
    left = float(np.clip(place.x + offset_x - side / 2, 0, image.width - side))
    top = float(np.clip(place.y + offset_y - side / 2, 0, image.height - side))
    crop = image.resize((size, size), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side))
    return crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if generator.uniform() < 0.5 else crop


def recoloured(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    """Brightness, contrast and saturation changed at random."""
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        image = enhance(image).enhance(generator.uniform(1 - COLOUR_JITTER, 1 + COLOUR_JITTER))
    return image


def views_in_other_colours(places: Sequence[Place], size: int, generator: np.random.Generator) -> Pixels:
    """One view of each place, recoloured: (places, size, size, 3), 0..255."""
    return np.stack([np.asarray(recoloured(view(place, size, generator), generator)) for place in places])


def crops(count: int, size: int, seed: int) -> Pixels:
    """One view of each of `count` places, in the photographs' own colours: (count, size, size, 3), 0..255."""
    generator = np.random.default_rng(seed)
    return np.stack([np.asarray(view(place, size, generator)) for place in random_places(count, generator)])


@cache
def _photograph(name: str) -> Image.Image:
    return Image.fromarray(load_sample_image(name))
