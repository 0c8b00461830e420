"""Golden vectors of authors' code, as tests/data has them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch


def golden_data(path: Path) -> tuple[dict[str, torch.Tensor], torch.Tensor, torch.Tensor]:
    """The authors' state dict, images and their logits."""
    with np.load(path) as data:
        tensors = {name: torch.from_numpy(data[name]) for name in data.files}
    state = {name.removeprefix("state/"): tensors[name] for name in tensors if name.startswith("state/")}
    return state, tensors["x"], tensors["y"]
