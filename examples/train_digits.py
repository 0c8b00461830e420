"""Train hamsa_nano or vim_nano on the UCI digits that scikit-learn carries: minutes on two CPU cores, no download.

    python examples/train_digits.py hamsa_nano

Writes, next to the code that reads them:

    hamsa_deploy/models/weights/hamsa_nano.safetensors    the weights that load_model("hamsa_nano") loads
    hamsa_deploy/models/weights/hamsa_nano.md             their model card
    hamsa_deploy/samples/digits_heldout.npz               the 360 images that training did not see, of either model

Images take the road that they take on the device: 8 x 8 pixels as 0..255, three equal channels, resized by
Pillow to 32 x 32, scaled to 0..1, normalised. Augmentation (shift, rotation, scale) is drawn anew in every
epoch. The weights of the last epoch are kept: the held-out images choose nothing.

The operator of selective scans has no gradient: while vim_nano is trained, `selective_scan` of this file, the same
mathematics with one, stands in for it. What counts the images that are right is the operator.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

from hamsa_deploy.models import MODELS, Preprocessing, count_parameters, vim

SEED = 0
HELD_OUT = 360
BATCH = 64
LEARNING_RATE = 3e-3
WEIGHT_DECAY = 0.05
LABEL_SMOOTHING = 0.05
MAX_SHIFT = 0.15  # of the half side: 2.4 of 32 pixels
MAX_ANGLE = math.radians(10)
MAX_SCALE = 0.1

ROOT = Path(__file__).parent.parent / "hamsa_deploy"
WEIGHTS = ROOT / "models" / "weights"
SAMPLES = ROOT / "samples" / "digits_heldout.npz"


@dataclass(frozen=True)
class Recipe:
    """What differs from model to model.

    Attributes:
        epochs: how often training sees each image.
        source: what the model implements, for its card.
        kind: what it is an example of, for its card.
    """

    epochs: int
    source: str
    kind: str


RECIPES = {
    "hamsa_nano": Recipe(60, "HAMSA (Patro and Agneeswaran, arXiv 2604.14724)", "spectral model"),
    "vim_nano": Recipe(30, "Vim (Zhu et al., arXiv 2401.09417)", "model with selective scans"),
}

CARD_TEXT = """\
# {name}, trained on handwritten digits

- **Model**: `{name}` of `hamsa_deploy.models` ({parameters:,} parameters; input 3 x 32 x 32; classes 0 to
  9), an implementation of {source}.
- **Intended use**: demonstrations and tests of export, parity and quantisation on a trained {kind}.
  Not for reading digits in earnest: {train} training images of 8 x 8 pixels from 13 writers.
- **Data**: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
  Repository, 1998, https://doi.org/10.24432/C50P49, licence CC BY 4.0; its test part of 1,797 images, as
  scikit-learn's `load_digits` carries it. Values 0..16 were scaled to 0..255 and rounded.
- **Split**: stratified, seed {seed}: {train} images to train on, {held_out} held out, which are
  `hamsa_deploy/samples/digits_heldout.npz`. The split is by image, not by writer: the same hands wrote both.
- **Preprocessing**: Pillow {resize} to 32 x 32, scaled to 0..1, mean {mean}, std {std} per channel.
- **Training**: `python examples/train_digits.py {name}`, seed {seed}, {epochs} epochs, AdamW, learning rate {rate}
  with cosine decay, weight decay {decay}, label smoothing {smoothing}, random shifts, rotations and scales;
  the last epoch's weights.
- **Top-1 on the held-out images**: {accuracy:.2%} ({correct} of {held_out}).
- **Licence of the weights**: Apache-2.0, like the code; the data's attribution above applies.
"""


def main() -> None:
    """Train, measure, write the three files."""
    parser = argparse.ArgumentParser(description="Trains a model on handwritten digits.")
    parser.add_argument("model", choices=RECIPES)
    name = parser.parse_args().model
    torch.manual_seed(SEED)
    torch.use_deterministic_algorithms(True)
    pixels, labels = digits_as_bytes()
    seen, held_out, seen_labels, held_out_labels = train_test_split(
        pixels, labels, test_size=HELD_OUT, stratify=labels, random_state=SEED
    )
    entry = MODELS[name]
    assert entry.preprocessing is not None
    model = entry.factory(**entry.config)

    start = time.perf_counter()
    with patch.object(vim, "selective_scan", selective_scan):
        images = inputs_from_bytes(seen, entry.preprocessing)
        train(model, images, torch.from_numpy(seen_labels), RECIPES[name].epochs)
    correct = count_correct(model, inputs_from_bytes(held_out, entry.preprocessing), torch.from_numpy(held_out_labels))
    print(f"{correct} of {HELD_OUT} held-out images right, {correct / HELD_OUT:.2%}")
    print(f"{time.perf_counter() - start:.0f} s")

    (WEIGHTS / f"{name}.safetensors").write_bytes(save(model.state_dict()))
    card = model_card(name, model, entry.preprocessing, len(seen), correct)
    (WEIGHTS / f"{name}.md").write_text(card, encoding="utf-8")
    np.savez_compressed(SAMPLES, images=held_out, labels=held_out_labels.astype(np.uint8))


def digits_as_bytes() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The 1,797 digits: images (N, 8, 8), 0..255, and labels (N,)."""
    digits = load_digits()
    return np.rint(digits.images * (255 / 16)).astype(np.uint8), digits.target.astype(np.int64)


def inputs_from_bytes(pixels: NDArray[np.uint8], preprocessing: Preprocessing) -> Tensor:
    """Grey images (N, 8, 8), 0..255 -> normalised model inputs (N, 3, 32, 32), as the runtime makes them."""
    height, width = preprocessing.size
    rgb = [Image.fromarray(np.repeat(image[..., None], 3, axis=-1)) for image in pixels]
    resized = np.stack([np.asarray(image.resize((width, height), Image.Resampling.BILINEAR)) for image in rgb])
    mean, std = np.array(preprocessing.mean, np.float32), np.array(preprocessing.std, np.float32)
    normalised = (resized.astype(np.float32) / 255 - mean) / std
    return torch.from_numpy(normalised).permute(0, 3, 1, 2).contiguous()


def train(model: nn.Module, images: Tensor, labels: Tensor, epochs: int) -> None:
    """AdamW with a cosine schedule, in place."""
    steps = epochs * math.ceil(len(images) / BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps, pct_start=0.1)
    model.train()
    for epoch in range(epochs):
        total = 0.0
        for batch in torch.randperm(len(images)).split(BATCH):
            logits = model(augmented(images[batch]))["logits"]
            loss = F.cross_entropy(logits, labels[batch], label_smoothing=LABEL_SMOOTHING)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            total += loss.item() * len(batch)
        print(f"epoch {epoch + 1:2d} of {epochs}, loss {total / len(images):.3f}", flush=True)


class Scan(torch.autograd.Function):
    """h_t = a_t h_{t-1} + x_t B_t and y_t = C_t h_t, a_t = exp(dt_t A), and what changes of y mean for the arguments:

        g_t  = a_{t+1} g_{t+1} + dy_t C_t          the change of h_t, from the last to the first
        dx_t = B_t g_t,   dB_t = x_t g_t,   dC_t = dy_t h_t,   d(dt_t A) = a_t g_t h_{t-1}

    dt, x (L, B, G, D'); A (G, D', N); B, C (L, B, G, N).
    """

    @staticmethod
    def forward(ctx: Any, dt: Tensor, x: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:  # type: ignore[override]
        h, hs = x.new_zeros(*x.shape[1:], A.shape[2]), []
        for t in range(len(x)):
            h = torch.exp(dt[t, ..., None] * A) * h + x[t, ..., None] * B[t, :, :, None]
            hs.append(h)
        states = torch.stack(hs)
        ctx.save_for_backward(dt, x, A, B, C, states)
        return (states @ C[..., None])[..., 0]

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        dt, x, A, B, C, states = ctx.saved_tensors
        ddt, dx, dA, dB = (torch.zeros_like(each) for each in (dt, x, A, B))
        g = torch.zeros_like(states[0])
        for t in reversed(range(len(x))):
            g = g + dy[t, ..., None] * C[t, :, :, None]
            dx[t] = (g @ B[t, ..., None])[..., 0]
            dB[t] = (x[t, :, :, None] @ g)[:, :, 0]
            g = torch.exp(dt[t, ..., None] * A) * g
            if t > 0:
                dtA = g * states[t - 1]
                ddt[t] = (dtA * A).sum(-1)
                dA += (dtA * dt[t, ..., None]).sum(0)
        return ddt, dx, dA, dB, (dy[..., None, :] @ states)[..., 0, :]


def selective_scan(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, *, delta_bias: Tensor, delta_softplus: bool
) -> tuple[Tensor, None]:
    """`hamsa_deploy.scan.selective_scan` with gradients, as far as Vim calls it: no gate, no last state."""
    groups, states, length = B.shape[1:]
    dt = F.softplus(delta + delta_bias[:, None]) if delta_softplus else delta + delta_bias[:, None]
    split = (length, len(u), groups, -1)
    dt_x = [each.permute(2, 0, 1).reshape(split) for each in (dt, dt * u)]
    y = Scan.apply(*dt_x, A.view(groups, -1, states), B.permute(3, 0, 1, 2), C.permute(3, 0, 1, 2))
    return y.reshape(length, len(u), -1).permute(1, 2, 0) + D[:, None] * u, None


def augmented(images: Tensor) -> Tensor:
    """Each image (N, C, H, W) shifted, rotated and scaled at random, with its border repeated outwards."""
    count = len(images)
    angle, scale = uniform(count, MAX_ANGLE), 1 + uniform(count, MAX_SCALE)
    cosine, sine = scale * angle.cos(), scale * angle.sin()
    rows = [cosine, -sine, uniform(count, MAX_SHIFT), sine, cosine, uniform(count, MAX_SHIFT)]
    grid = F.affine_grid(torch.stack(rows, dim=1).view(count, 2, 3), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def uniform(count: int, bound: float) -> Tensor:
    """Values (count,) in [-bound, bound)."""
    return (2 * torch.rand(count) - 1) * bound


@torch.no_grad()
def count_correct(model: nn.Module, images: Tensor, labels: Tensor) -> int:
    """How many images the model, put in eval mode, classifies right."""
    predicted = model.eval()(images)["logits"].argmax(dim=1)
    return int((predicted == labels).sum())


def model_card(name: str, model: nn.Module, preprocessing: Preprocessing, train_images: int, correct: int) -> str:
    """What stands beside the weights."""
    return CARD_TEXT.format(
        name=name,
        source=RECIPES[name].source,
        kind=RECIPES[name].kind,
        parameters=count_parameters(model),
        seed=SEED,
        train=train_images,
        held_out=HELD_OUT,
        resize=preprocessing.resize,
        mean=preprocessing.mean[0],
        std=preprocessing.std[0],
        epochs=RECIPES[name].epochs,
        rate=LEARNING_RATE,
        decay=WEIGHT_DECAY,
        smoothing=LABEL_SMOOTHING,
        correct=correct,
        accuracy=correct / HELD_OUT,
    )


if __name__ == "__main__":
    main()
