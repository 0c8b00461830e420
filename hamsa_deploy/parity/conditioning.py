"""Whether a model can be judged at all: how far its own outputs move when inputs and weights move by one rounding.

    input      x_i (1 + e s_i),  s_i = +-1 at random,  e = 2^(1 - p): one unit in the last place of p bits
    weight     the same, with the e of its own type: what is computed of weights alone, or of inputs that are zero,
               moves, too
    moved      the relative error of f(x_moved) for f(x), as of a bundle,  the largest of the draws: DRAWS, or fewer
               where those before have settled it

Where a phase crosses its branch cut, or a value is divided by what nearly vanishes, that is as far as a bundle is from
the model: then not the export is the cause, but that this precision does not settle the output. The verdict stays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from hamsa_deploy.parity.differences import relative_errors
from hamsa_deploy.parity.verdict import ParityReport
from hamsa_deploy.precision.records import precision_of
from hamsa_deploy.spectral.compiler.state import copy_of
from hamsa_runtime.batches import Arrays

# A phase at its branch cut does not cross it in each draw: one in the harmonics of a vocoder did in 16 of 48, so that
# three draws missed it three times in ten, and twelve do once in a hundred. What is smooth shows in the first.
DRAWS = 12
AS_MUCH = 0.5  # share of a bundle's error that the model's own has to reach


def moved(x: np.ndarray, unit: float, generator: torch.Generator) -> np.ndarray:
    """`x` with each number one unit in its last place away, up or down at random; what is not floating stays."""
    if not np.issubdtype(x.dtype, np.floating):
        return x
    signs = torch.randint(0, 2, x.shape, generator=generator).numpy() * 2 - 1
    return (x * (1 + unit * signs)).astype(x.dtype)


def with_moved_weights(model: Any, generator: torch.Generator) -> Any:
    """A copy of a module with each weight one unit in its last place away; anything else as it is."""
    if not isinstance(model, nn.Module):
        return model

    def change(weight: nn.Parameter) -> nn.Parameter:
        if not weight.is_floating_point():
            return weight
        signs = torch.randint(0, 2, weight.shape, generator=generator) * 2 - 1
        return nn.Parameter(weight.detach() * (1 + torch.finfo(weight.dtype).eps * signs.to(weight.dtype)))

    return copy_of(model, change)


def own_errors(
    run: Callable[[Callable[[np.ndarray], np.ndarray]], Arrays],
    expected: Arrays,
    unit: float,
    settled: Callable[[Arrays], bool],
) -> Arrays:
    """How far each output moves, (N,) for each: relative to the largest value of the input's output.

    Args:
        run: computes the outputs of the model, with weights moved anew, of inputs that go through a function first.
        expected: its outputs of the inputs as they are.
        unit: e.
        settled: whether such errors, of fewer draws, are enough.
    """
    generator = torch.Generator().manual_seed(0)
    own = {name: np.zeros(len(b)) for name, b in expected.items()}
    for _ in range(DRAWS):
        draw = run(lambda x: moved(x, unit, generator))
        own = {name: np.maximum(e, relative_errors(draw[name], expected[name]).max(axis=1)) for name, e in own.items()}
        if settled(own):
            break
    return own


def unit_of(precision: str) -> float | None:
    """One unit in the last place of a number in [1, 2); None for a precision without a significand."""
    bits = precision_of(precision).significand
    return None if bits is None else 2.0 ** (1 - bits)


def sentence_of(report: ParityReport, own: Mapping[str, np.ndarray], precision: str) -> str:
    """What to say of a model whose outputs, where they failed, move as much by themselves; empty if they do not."""
    failed = [name for name in own if any(failure.startswith(f"{name}: ") for failure in report.failures)]
    if any("max_relative_error" not in report.metrics[name] for name in failed):
        return ""  # whole numbers
    errors = {name: (float(own[name].max()), report.metrics[name]["max_relative_error"]) for name in failed}
    if not errors or any(not by_itself >= AS_MUCH * found > 0 for by_itself, found in errors.values()):
        return ""
    words = precision_of(precision).words
    figures = "; ".join(
        f"{name} moves by {by_itself:.2g} when the weights move by one unit in their last place and the inputs by "
        f"one unit in the last place of {words}, and the bundle is {found:.2g} away"
        for name, (by_itself, found) in errors.items()
    )
    return f"the model itself is ill-conditioned: {figures}"
