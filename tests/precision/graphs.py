"""Graphs that the passes of hamsa_deploy.precision are tried on, and how they are run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import Tensor, nn

from hamsa_deploy.form.from_request import real_model_of_request
from hamsa_deploy.form.request import Request
from hamsa_deploy.graph.sessions import session_from_model
from hamsa_deploy.models import load_model
from hamsa_deploy.models.hamsa import HAMSA
from hamsa_runtime.batches import Arrays
from tests.shared import Once

Named = tuple[str, ir.Model]  # the model that it was made from, and the graph


def real_graph(model: nn.Module, example: Tensor, folder: Path, to: str = "onnx", batch: int | None = None) -> ir.Model:
    """The real-valued ONNX graph that the pipeline writes."""
    form = real_model_of_request(Request(model.eval(), (example,), to=to, batch=batch))
    return form.write(folder / "model.onnx")


def file_of(name: str, once: Once, to: str = "onnx") -> Path:
    """That of one of MODELS; translated once, whoever asks for it."""

    def make(folder: Path) -> None:
        folder.mkdir()
        real_graph(*MODELS[name](), folder, to)

    return once(f"graph-{name}-{to}", make) / "model.onnx"


def graph_of(name: str, once: Once, to: str = "onnx") -> ir.Model:
    """The same, read."""
    return ir.load(file_of(name, once, to))


def copy_of(model: ir.Model) -> ir.Model:
    return ir.from_proto(ir.to_proto(model))


def nano() -> tuple[nn.Module, Tensor]:
    """The trained one: 256 tokens in two factors, then 64, 16, 16 and 4."""
    return load_model("hamsa_nano"), torch.zeros(2, 3, 32, 32)


def tiny_at_224() -> tuple[nn.Module, Tensor]:
    """3136 tokens in two or three factors, 784, 196 and 49; four channels."""
    torch.manual_seed(0)
    return HAMSA([4] * 4, [1] * 4, [1] * 4, image_size=224, num_classes=3), torch.zeros(2, 3, 224, 224)


class SpectralFilter(nn.Module):
    """A filter, a gate by the magnitude of what comes out, and back; nothing in it is HAMSA's."""

    def __init__(self, n: int = 96, width: int = 6) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.kernel = nn.Parameter(torch.randn(n, width))
        self.mix = nn.Linear(width, width)

    def forward(self, signal: Tensor) -> Tensor:
        spectrum = torch.fft.rfft(signal, dim=1) * torch.fft.rfft(self.kernel, dim=0)
        spectrum = spectrum * torch.tanh(self.mix(spectrum.abs()))
        return torch.fft.irfft(spectrum, n=signal.shape[1], dim=1)


def general() -> tuple[nn.Module, Tensor]:
    return SpectralFilter(), torch.zeros(2, 96, 6)


# Ten seconds for each translation; beside "nano" it has transforms in three factors.
TINY = pytest.param("tiny_at_224", marks=pytest.mark.slow)
MODELS = {"nano": nano, "tiny_at_224": tiny_at_224, "general": general}


def smooth_feeds(model: ir.Model, count: int, seed: int = 0) -> list[Arrays]:
    """Inputs whose spectra fall as 1/f along the last axis but the channels, in batches of 2, around a mean."""
    value = model.graph.inputs[0]
    assert value.shape is not None
    shape = [size if isinstance(size, int) else 2 for size in value.shape]
    axis = 1 if len(shape) == 3 else -1
    generator = np.random.default_rng(seed)
    feeds: list[Arrays] = []
    for _ in range(count):
        spectrum = np.fft.rfft(generator.normal(size=shape), axis=axis)
        frequencies = np.moveaxis(np.ones(spectrum.shape), axis, -1) * np.maximum(np.arange(spectrum.shape[axis]), 1)
        signal = np.fft.irfft(spectrum / np.moveaxis(frequencies, -1, axis), shape[axis], axis=axis) + 0.5
        feeds.append({str(value.name): signal.astype(np.float32)})
    return feeds


def outputs_of(model: ir.Model, feeds: Sequence[Arrays], *, optimised: bool = False) -> list[np.ndarray]:
    """All outputs, run after run, by ONNX Runtime."""
    session = session_from_model(model, optimised=optimised)
    return [np.asarray(output) for feed in feeds for output in session.run(None, feed)]


def relative_error(found: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> float:
    """The largest |found - expected| / |expected| of an output."""
    pairs = zip(found, expected, strict=True)
    return max(float(np.linalg.norm(a - b) / np.linalg.norm(b)) for a, b in pairs)
