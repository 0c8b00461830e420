"""The passes that make a float32 graph fit for int8. Each is exact up to rounding, and can be left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import onnx_ir as ir

from hamsa_deploy.precision.passes.equalisation import equalisable, equalise
from hamsa_deploy.precision.passes.mean_split import split_means, transforms_of
from hamsa_deploy.precision.passes.smoothing import smooth, smoothable

if TYPE_CHECKING:  # it imports two of the passes
    from hamsa_deploy.precision.measurements import Measurements

# A pass rewrites a model in place by what it measures, and says in a few words what it did.
Pass = Callable[[ir.Model, "Measurements"], str]


def split_off_means(model: ir.Model, measurements: Measurements) -> str:
    """See `mean_split`."""
    signals = [str(transform.signal.name) for transform in transforms_of(model)]
    split = split_means(model, measurements.splitting_gains(model, signals))
    return f"{len(split)} of {len(signals)} transforms without the mean"


def equalise_frequencies(model: ir.Model, measurements: Measurements) -> str:
    """See `equalisation`."""
    done = equalise(model, measurements.rows(model, equalisable(model)))
    return f"{len(done.scales)} activations scaled by frequency, {len(done.undone)} multiplications added"


def smooth_channels(model: ir.Model, measurements: Measurements) -> str:
    """See `smoothing`."""
    done = smooth(model, measurements.channels(model, smoothable(model)))
    return f"{len(done)} activations scaled by channel"


PASSES: dict[str, Pass] = {
    "mean-split": split_off_means,
    "equalise": equalise_frequencies,
    "smooth": smooth_channels,
}


def applied(names: Sequence[str], model: ir.Model, measurements: Measurements) -> Mapping[str, str]:
    """Apply some of PASSES to a model in place, in the order of the table; what each did."""
    return {name: PASSES[name](model, measurements) for name in PASSES if name in names}
