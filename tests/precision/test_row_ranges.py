from __future__ import annotations

import numpy as np
import pytest

from hamsa_deploy.precision.observers import row_ranges

from .drawing import linear_between_transforms


def test_rows_are_measured_over_runs_images_and_channels() -> None:
    model = linear_between_transforms(n=4, width=2)
    spectra = np.random.default_rng(0).normal(size=(3, 5, 4, 2))
    matrix = model.graph.initializers["c0"].const_value
    assert matrix is not None
    feeds = [{"x": (matrix.numpy().T @ spectrum).astype(np.float32)} for spectrum in spectra]
    ranges = row_ranges(model, feeds, ["v0"])
    assert ranges["v0"].shape == (1, 4, 1)
    # two float32 products of four terms
    assert ranges["v0"].ravel() == pytest.approx(np.abs(spectra).max(axis=(0, 1, 3)), rel=1e-6)
