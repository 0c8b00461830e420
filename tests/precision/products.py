"""A small classifier with every kind of product that int8 may compute, and the graph that it becomes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor, nn

from hamsa_deploy.precision.int8.histogram import HISTOGRAMS
from hamsa_deploy.precision.int8.int8_sites import Site, sites_of
from hamsa_deploy.precision.int8.qdq import quantise
from hamsa_deploy.precision.int8.thresholds import threshold
from hamsa_runtime.batches import Arrays

from .graphs import real_graph

WIDTH, CLASSES = 16, 5


class Classifier(nn.Module):
    """Conv, two linears that share their input, a filtered spectrum, and a head: (B, 3, 8, 8) -> logits (B, 5)."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.patches = nn.Conv2d(3, WIDTH, 2, 2)
        self.left, self.right = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.mix = nn.Linear(WIDTH, WIDTH)
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        left, right = torch.relu(self.left(tokens)), torch.sigmoid(self.right(tokens))
        magnitudes = torch.fft.fft(left, dim=1).abs()
        mixed = self.mix(magnitudes) + right
        return {"logits": self.head(mixed.mean(dim=1))}


def classifier_graph(folder: Path, to: str = "openvino", batch: int | None = None) -> ir.Model:
    return real_graph(Classifier(), torch.zeros(2, 3, 8, 8), folder, to, batch)


def feeds(count: int = 8, seed: int = 0) -> list[Arrays]:
    generator = np.random.default_rng(seed)
    return [{"images": generator.normal(size=(2, 3, 8, 8)).astype(np.float32)} for _ in range(count)]


def thresholds_of(model: ir.Model, sites: list[Site], method: str = "min-max") -> dict[str, float]:
    histograms = HISTOGRAMS.watch(model, sorted({site.activation for site in sites}), feeds())
    return {name: threshold(histogram, method) for name, histogram in histograms.items()}


def quantised(model: ir.Model, target: str = "openvino") -> ir.Model:
    """An int8 copy."""
    sites = sites_of(model.graph, target)
    copy = model.clone()
    quantise(copy, thresholds_of(model, sites), sites)
    return copy
