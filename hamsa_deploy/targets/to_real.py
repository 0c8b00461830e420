"""nn.Module -> real-valued ExportedProgram, in products of the shapes that a target's engine is fast at."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

from torch import nn
from torch.export import ExportedProgram

from hamsa_deploy.scan.forms import Plans
from hamsa_deploy.spectral.compiler import rewrite
from hamsa_deploy.targets import target_of
from hamsa_runtime.errors import unknown_name
from hamsa_runtime.vocabulary import FFTS


def to_real(
    model: nn.Module | ExportedProgram,
    example_inputs: Sequence[Any],
    *,
    dynamic_shapes: Any = None,
    batch_must_vary: bool = False,
    target: str = "onnx",
    plans: Plans = MappingProxyType({}),
    fft: str = "real",
) -> ExportedProgram:
    """Rewrite a model with torch.fft and complex tensors into real arithmetic.

    Args:
        model: any module that torch.export captures (in eval mode), or a captured program.
        example_inputs: positional inputs. A complex one becomes a real one with an extra last dimension of 2; so does
            a complex output.
        dynamic_shapes: as for torch.export. By default the first dimension of every input is a dynamic batch, or, where
            the model fixes it, that of the example inputs, with a warning; pass {} to fix all shapes.
        batch_must_vary: whether a model that fixes its batch is an error.
        target: the engine that the products are shaped for.
        plans: the plan for some transform lengths, the form for some sizes of scans and for some complex linear layers;
            the cost model chooses the others.
        fft: "native" leaves each transform of a signal as one FFT operator, which is real at its outer end, for engines
            that have one. Short-time transforms of short frames remain one convolution.

    Returns:
        A program with the same inputs and outputs in which no tensor is complex and no FFT operator is left (but for
        native ones). Its graph_module.meta["transforms"], ["scans"] and ["linears"] list what is computed in a form of
        ours, as a manifest does. What the model keeps between calls, in buffers or attributes, are its last inputs, and
        the outputs behind those that the model returns: (y, [s']) for (x, s). graph_module.meta["states"] has their
        names and first values, in order.

    Raises:
        UnsupportedOperatorError: a complex tensor reaches an operator without a rule; names it and the model's line.
        UnsupportedTransformError: a transform along a dynamic axis, or of length 0.
        InputError: the model fails on the inputs by itself, keeps between calls what is no tensor of one shape, draws
            random numbers, or cannot be captured: says which line stands in the way. Or the target or `fft` is
            unknown.
    """
    rates = target_of(target).rates
    if fft not in FFTS:
        raise unknown_name("form of transforms", fft, FFTS)
    return rewrite(
        model,
        example_inputs,
        rates,
        dynamic_shapes=dynamic_shapes,
        batch_must_vary=batch_must_vary,
        plans=plans,
        native=fft == "native",
    )
