"""Train hamsa_nano on the UCI digits that scikit-learn carries: minutes on two CPU cores, no download.

    python examples/train_digits.py

Writes, next to the code that reads them:

    hamsa_deploy/models/weights/hamsa_nano.safetensors    the weights that load_model("hamsa_nano") loads
    hamsa_deploy/models/weights/hamsa_nano.md             their model card
    hamsa_deploy/samples/digits_heldout.npz               the 360 images that training did not see

Images take the road that they take on the device: 8 x 8 pixels as 0..255, three equal channels, resized by
Pillow to 32 x 32, scaled to 0..1, normalised. Augmentation (shift, rotation, scale) is drawn anew in every
epoch. The weights of the last epoch are kept: the held-out images choose nothing.
"""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

from hamsa_deploy.models import MODELS, Preprocessing, count_parameters

SEED = 0
HELD_OUT = 360
EPOCHS = 60
BATCH = 64
LEARNING_RATE = 3e-3
WEIGHT_DECAY = 0.05
LABEL_SMOOTHING = 0.05
MAX_SHIFT = 0.15  # of the half side: 2.4 of 32 pixels
MAX_ANGLE = math.radians(10)
MAX_SCALE = 0.1

ROOT = Path(__file__).parent.parent / "hamsa_deploy"
WEIGHTS = ROOT / "models" / "weights" / "hamsa_nano.safetensors"
CARD = WEIGHTS.with_suffix(".md")
SAMPLES = ROOT / "samples" / "digits_heldout.npz"

CARD_TEXT = """\
# hamsa_nano, trained on handwritten digits

- **Model**: `hamsa_nano` of `hamsa_deploy.models` ({parameters:,} parameters; input 3 x 32 x 32; classes 0 to
  9), an implementation of HAMSA (Patro and Agneeswaran, arXiv 2604.14724).
- **Intended use**: demonstrations and tests of export, parity and quantisation on a trained spectral model.
  Not for reading digits in earnest: {train} training images of 8 x 8 pixels from 13 writers.
- **Data**: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
  Repository, 1998, https://doi.org/10.24432/C50P49, licence CC BY 4.0; its test part of 1,797 images, as
  scikit-learn's `load_digits` carries it. Values 0..16 were scaled to 0..255 and rounded.
- **Split**: stratified, seed {seed}: {train} images to train on, {held_out} held out, which are
  `hamsa_deploy/samples/digits_heldout.npz`. The split is by image, not by writer: the same hands wrote both.
- **Preprocessing**: Pillow {resize} to 32 x 32, scaled to 0..1, mean {mean}, std {std} per channel.
- **Training**: `python examples/train_digits.py`, seed {seed}, {epochs} epochs, AdamW, learning rate {rate}
  with cosine decay, weight decay {decay}, label smoothing {smoothing}, random shifts, rotations and scales;
  the last epoch's weights.
- **Top-1 on the held-out images**: {accuracy:.2%} ({correct} of {held_out}).
- **Licence of the weights**: Apache-2.0, like the code; the data's attribution above applies.
"""


def main() -> None:
    """Train, measure, write the three files."""
    torch.manual_seed(SEED)
    torch.use_deterministic_algorithms(True)
    pixels, labels = digits_as_bytes()
    seen, held_out, seen_labels, held_out_labels = train_test_split(
        pixels, labels, test_size=HELD_OUT, stratify=labels, random_state=SEED
    )
    entry = MODELS["hamsa_nano"]
    assert entry.preprocessing is not None
    model = entry.factory(**entry.config)

    start = time.perf_counter()
    train(model, inputs_from_bytes(seen, entry.preprocessing), torch.from_numpy(seen_labels))
    correct = count_correct(model, inputs_from_bytes(held_out, entry.preprocessing), torch.from_numpy(held_out_labels))
    print(f"{correct} of {HELD_OUT} held-out images right, {correct / HELD_OUT:.2%}")
    print(f"{time.perf_counter() - start:.0f} s")

    WEIGHTS.parent.mkdir(parents=True, exist_ok=True)
    WEIGHTS.write_bytes(save(model.state_dict()))
    CARD.write_text(model_card(model, entry.preprocessing, len(seen), correct), encoding="utf-8")
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


def train(model: nn.Module, images: Tensor, labels: Tensor) -> None:
    """AdamW with a cosine schedule, in place."""
    steps = EPOCHS * math.ceil(len(images) / BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps, pct_start=0.1)
    model.train()
    for epoch in range(EPOCHS):
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
        print(f"epoch {epoch + 1:2d} of {EPOCHS}, loss {total / len(images):.3f}", flush=True)


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


def model_card(model: nn.Module, preprocessing: Preprocessing, train_images: int, correct: int) -> str:
    """What stands beside the weights."""
    return CARD_TEXT.format(
        parameters=count_parameters(model),
        seed=SEED,
        train=train_images,
        held_out=HELD_OUT,
        resize=preprocessing.resize,
        mean=preprocessing.mean[0],
        std=preprocessing.std[0],
        epochs=EPOCHS,
        rate=LEARNING_RATE,
        decay=WEIGHT_DECAY,
        smoothing=LABEL_SMOOTHING,
        correct=correct,
        accuracy=correct / HELD_OUT,
    )


if __name__ == "__main__":
    main()
