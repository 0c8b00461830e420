"""The peer "eager": the model that the first bundle was made from, in PyTorch as it is, with torch.fft."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import torch

from hamsa_deploy.bench.candidates import Candidate
from hamsa_deploy.bench.inputs import graph_inputs
from hamsa_deploy.bench.peers.from_pixels import FromPixels, Original
from hamsa_deploy.measure.interleaved import Run
from hamsa_deploy.scan.cuda import DEVICES
from hamsa_runtime.manifest import Manifest


def eager_peer(first: Manifest, folder: Path, original: Original, device: str | None = None) -> Candidate:
    """On the CPU whatever the device, in float32; see `peers_of`."""
    model = original()
    return Candidate(
        "peer eager", "PyTorch", "fp32", lambda batch, threads: opened_module(model, first, batch, threads)
    )


@contextlib.contextmanager
def opened_module(model: FromPixels, first: Manifest, batch: int, threads: int | None) -> Iterator[Run]:
    """One inference on the inputs of the first bundle."""
    inputs = [torch.from_numpy(array) for array in graph_inputs(first, batch).values()]
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)

    def run() -> object:
        with torch.inference_mode():
            return model(*inputs)

    try:
        with DEVICES:
            yield run
    finally:
        torch.set_num_threads(before)
