"""Give hamsa_s structured activations without a data set: self-supervised training on crops of two photographs.

    python benchmarks/train_on_photographs.py [-o out/hamsa_s_photographs.safetensors]

Writes the weights, which load_model("hamsa_s", weights=...) loads; half-way once, and at the end. They classify
nothing. They are for judging reduced precision on activations that come from learning, and stay far milder than those
of a model trained for long: the kurtosis of what SASS returns rises from at most 9 to 14, the largest channel from 3
to 7 times the median one; what the linear layers and LayerNorm return stays near normal, with a kurtosis of 3.

The objective is SimCLR's (Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations", 2020).
Of each of B places two views are drawn, 2B images in all; z_i is image i's logits scaled to length 1, p(i) its partner:

    loss = mean_i  -log( exp(z_i . z_p(i) / T) / sum_{k != i} exp(z_i . z_k / T) )

log(2B - 1) is the loss of a model that cannot tell images apart. The logits stand in for a projection head, so that
every parameter of the model takes part. Before and after training: for how many of 64 new views the nearest embedding
(by cosine) among 64 others belongs to the same place. The views are new, the photographs are the same.

About 25 minutes on two shared cores. The photographs come with scikit-learn (the extra `train`). The same number of
threads on the same machine gives the same weights.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from crops import PLACES, Pixels, random_places, views_in_other_colours
from safetensors.torch import save
from torch import Tensor, nn

from hamsa_deploy import load_model
from hamsa_deploy.models.preprocessing import IMAGENET

SEED = 0
HELD_OUT_SEED = 1
STEPS = 200
PLACES_PER_STEP = 8
LEARNING_RATE = 1e-4
WARM_UP = 0.1  # of the steps
WEIGHT_DECAY = 0.05
LARGEST_GRADIENT = 1.0
TEMPERATURE = 0.2
REPORT_EVERY = 20
THREADS = 2
SIZE = 224


def main() -> None:
    """Train, measure, write the weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("out/hamsa_s_photographs.safetensors"))
    path = parser.parse_args().output
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(THREADS)
    torch.manual_seed(SEED)
    torch.use_deterministic_algorithms(True)
    model = load_model("hamsa_s")
    before = share_found(model)
    print(f"two views of a place find each other among {PLACES} before training: {before:.1%}", flush=True)
    start = time.perf_counter()
    train(model, path)
    print(f"{time.perf_counter() - start:.0f} s")
    print(f"two views of a place find each other among {PLACES} after training: {share_found(model):.1%}")
    print(path)


def train(model: nn.Module, path: Path) -> None:
    """AdamW with warm-up and cosine decay, in place; the weights are written half-way and at the end."""
    generator = np.random.default_rng(SEED)
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=STEPS, pct_start=WARM_UP)
    model.train()
    total = 0.0
    for step in range(1, STEPS + 1):
        loss = contrastive_loss(model, generator)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), LARGEST_GRADIENT)
        optimizer.step()
        schedule.step()
        total += loss.item()
        if step % REPORT_EVERY == 0:
            print(
                f"step {step:3d} of {STEPS}, mean loss of the last {REPORT_EVERY}: {total / REPORT_EVERY:.3f}",
                flush=True,
            )
            total = 0.0
        if step in (STEPS // 2, STEPS):
            path.write_bytes(save(model.state_dict()))


def contrastive_loss(model: nn.Module, generator: np.random.Generator) -> Tensor:
    """The loss of one step, equation above, with new places and views."""
    places = random_places(PLACES_PER_STEP, generator)
    images = np.concatenate([views_in_other_colours(places, SIZE, generator) for _ in range(2)])
    with torch.autocast("cpu", torch.bfloat16):  # half the time on a CPU with AMX; the parameters stay float32
        logits = model(inputs_from_pixels(images))["logits"]
    z = F.normalize(logits.float(), dim=1)
    similarities = (z @ z.T / TEMPERATURE).fill_diagonal_(-math.inf)
    partners = torch.arange(len(z)).roll(PLACES_PER_STEP)
    return F.cross_entropy(similarities, partners)


def inputs_from_pixels(pixels: Pixels) -> Tensor:
    """(N, H, W, 3), 0..255 -> normalised model inputs (N, 3, H, W)."""
    mean, std = torch.tensor(IMAGENET.mean), torch.tensor(IMAGENET.std)
    return ((torch.from_numpy(pixels).float() / 255 - mean) / std).permute(0, 3, 1, 2).contiguous()


@torch.no_grad()
def share_found(model: nn.Module) -> float:
    """Of PLACES held-out views, for how many the nearest of PLACES other views is the one of the same place."""
    generator = np.random.default_rng(HELD_OUT_SEED)
    places = random_places(PLACES, generator)
    model.eval()
    a, b = (_directions(model, views_in_other_colours(places, SIZE, generator)) for _ in range(2))
    found = (a @ b.T).argmax(dim=1) == torch.arange(PLACES)
    return float(found.float().mean())


def _directions(model: nn.Module, pixels: Pixels) -> Tensor:
    """Embeddings of images (N, H, W, 3), scaled to length 1."""
    embeddings = [model(batch)["embedding"] for batch in inputs_from_pixels(pixels).split(8)]
    return F.normalize(torch.cat(embeddings), dim=1)


if __name__ == "__main__":
    main()
