"""Shapes on which a small model is wrong now and then: what reduced precision costs shows, which digits do not.

    python benchmarks/shapes.py      # trains hamsa_nano on them, in minutes; writes shapes.safetensors, 0.9 MB
    python benchmarks/accuracy.py    # the tables that are made with it

An image is 32 x 32 pixels: one of ten shapes, turned, scaled and placed at random, of one texture on another, both of
random colours, contrast and direction, under noise. Its distance s from the outline (inside is negative), in the frame
of the shape, p = R(angle) (x - centre) / size, r = |p|, and phi its angle:

    disc r - 1;   ring |r - 0.75| - 0.25;   polygons of k sides  q_k = r cos(phi mod 2 pi / k - pi / k) - cos(pi / k)
    frame |q_4 + 0.2| - 0.2;   star r - 0.7 - 0.3 cos 5 phi;   crescent max(r - 1, 0.8 - |p - (0.5, 0)|)
    bar max(|u| - 1, |v| - 0.3);   cross the smaller of the bar along u and that along v

pixel = sigmoid(-SHARPNESS s) blends the textures. Images are drawn from a seed: nothing is downloaded or kept. Training
sees smaller shapes, less contrast and more noise as well: it is harder than what is judged.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor, nn

from hamsa_deploy.models import MODELS

NAMES = ("disc", "ring", "triangle", "square", "pentagon", "frame", "star", "crescent", "bar", "cross")
SIDE = 32
SHARPNESS = 12.0


@dataclass(frozen=True)
class Difficulty:
    """Of images.

    Attributes:
        smallest: size of a shape, of half an image's side; the largest is 0.9.
        noise: its standard deviation, of a pixel's range.
        contrast: between the mean colours, of a pixel's range in some channel: where it is less, the shape's colours
            are inverted.
    """

    smallest: float
    noise: float
    contrast: float


TRAINING, JUDGED = Difficulty(0.5, 0.08, 0.0), Difficulty(0.7, 0.03, 0.3)

WEIGHTS = Path(__file__).with_name("shapes.safetensors")
TRAINING_SEED, HELD_OUT_SEED, CALIBRATION_SEED = 0, 1, 2
EPOCH, EPOCHS, BATCH = 16_384, 24, 128
LEARNING_RATE, WEIGHT_DECAY, WARM_UP = 3e-3, 0.05, 0.1


def shapes(count: int, seed: int, how: Difficulty = JUDGED) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images (N, 32, 32, 3) and their classes (N,)."""
    rng = np.random.default_rng(seed)
    classes = rng.integers(len(NAMES), size=count)
    inside = 1 / (1 + np.exp(np.clip(SHARPNESS * _distances(classes, how.smallest, rng), -30, 30)))[..., None]
    shape, ground = _texture(count, rng), _texture(count, rng)
    contrasts = np.abs(shape.mean(axis=(1, 2)) - ground.mean(axis=(1, 2))).max(axis=1)
    shape = np.where((contrasts < how.contrast)[:, None, None, None], 1 - shape, shape)
    picture = inside * shape + (1 - inside) * ground
    noisy = picture + how.noise * rng.standard_normal(picture.shape)
    return np.rint(255 * noisy.clip(0, 1)).astype(np.uint8), classes


def _distances(classes: NDArray[np.int64], smallest: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """(N, 32, 32): s, of which only the sign and the size near the outline matter."""
    u, v = _grid(rng.uniform(-0.2, 0.2, (2, len(classes))), rng.uniform(smallest, 0.9, len(classes)), rng)
    r, phi = np.hypot(u, v), np.arctan2(v, u)
    found = np.empty_like(r)
    for number, name in enumerate(NAMES):
        of_this = classes == number
        found[of_this] = _distance(name, u[of_this], v[of_this], r[of_this], phi[of_this])
    return found


def _grid(
    centres: NDArray[np.float64], sizes: NDArray[np.float64], rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """p of each pixel, as u and v."""
    at = (np.arange(SIDE) + 0.5) / SIDE * 2 - 1
    angles = rng.uniform(0, 2 * math.pi, len(sizes))[:, None, None]
    x = (at[None, None, :] - centres[0][:, None, None]) / sizes[:, None, None]
    y = (at[None, :, None] - centres[1][:, None, None]) / sizes[:, None, None]
    return np.cos(angles) * x + np.sin(angles) * y, np.cos(angles) * y - np.sin(angles) * x


def _distance(
    name: str, u: NDArray[np.float64], v: NDArray[np.float64], r: NDArray[np.float64], phi: NDArray[np.float64]
) -> NDArray[np.float64]:
    bar = np.maximum(np.abs(u) - 1, np.abs(v) - 0.3)
    if name in ("bar", "cross"):
        return bar if name == "bar" else np.minimum(bar, np.maximum(np.abs(v) - 1, np.abs(u) - 0.3))
    if name in ("disc", "ring"):
        return np.asarray(r - 1 if name == "disc" else np.abs(r - 0.75) - 0.25)
    if name == "star":
        return np.asarray(r - 0.7 - 0.3 * np.cos(5 * phi))
    if name == "crescent":
        return np.maximum(r - 1, 0.8 - np.hypot(u - 0.5, v))
    half = math.pi / {"triangle": 3, "square": 4, "frame": 4, "pentagon": 5}[name]
    polygon = np.asarray(r * np.cos(phi % (2 * half) - half) - math.cos(half))
    return np.abs(polygon + 0.2) - 0.2 if name == "frame" else polygon


def _texture(count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """(N, 32, 32, 3): waves of one direction between two colours."""
    one, other = rng.uniform(0, 1, (2, count, 1, 1, 3))
    waves = rng.uniform(-0.8, 0.8, (2, count, 1, 1))
    at = np.arange(SIDE)
    phase = waves[0] * at[None, None, :] + waves[1] * at[None, :, None] + rng.uniform(0, 2 * math.pi, (count, 1, 1))
    share = (0.5 + 0.5 * rng.uniform(0.1, 0.8, (count, 1, 1)) * np.sin(phase))[..., None]
    return np.asarray(share * one + (1 - share) * other)


def inputs_of(pixels: NDArray[np.uint8]) -> Tensor:
    """Normalised model inputs (N, 3, 32, 32)."""
    how = MODELS["hamsa_nano"].preprocessing
    assert how is not None
    scaled = (pixels.astype(np.float32) / 255 - np.array(how.mean, np.float32)) / np.array(how.std, np.float32)
    return torch.from_numpy(scaled).permute(0, 3, 1, 2).contiguous()


def model_of_shapes() -> nn.Module:
    """hamsa_nano as it begins."""
    torch.manual_seed(0)
    entry = MODELS["hamsa_nano"]
    return entry.factory(**entry.config)


def train(epochs: int) -> nn.Module:
    """AdamW with a cosine schedule, on images that are drawn anew in every epoch."""
    model = model_of_shapes().train()
    steps = epochs * (EPOCH // BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps, pct_start=WARM_UP)
    for epoch in range(epochs):
        pixels, classes = shapes(EPOCH, 1000 * (1 + epoch) + TRAINING_SEED, TRAINING)
        right = 0
        for images, labels in zip(inputs_of(pixels).split(BATCH), torch.from_numpy(classes).split(BATCH), strict=True):
            logits = model(images)["logits"]
            optimizer.zero_grad()
            F.cross_entropy(logits, labels).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            right += int((logits.argmax(dim=1) == labels).sum())
        print(f"epoch {epoch + 1} of {epochs}: {right / EPOCH:.1%} right while it learned", flush=True)
    return model.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    options = parser.parse_args()
    torch.use_deterministic_algorithms(True)
    start = time.perf_counter()
    model = train(options.epochs)
    pixels, classes = shapes(5000, HELD_OUT_SEED)
    with torch.inference_mode():
        found = torch.cat([model(each)["logits"].argmax(dim=1) for each in inputs_of(pixels).split(500)])
    print(
        f"{(found.numpy() == classes).mean():.2%} of 5,000 held-out images right; {time.perf_counter() - start:.0f} s"
    )
    WEIGHTS.write_bytes(save(model.state_dict()))


if __name__ == "__main__":
    main()
