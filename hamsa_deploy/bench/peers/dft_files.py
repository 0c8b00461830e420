"""The standard route: torch.onnx.export, which leaves each transform as ONNX's operator DFT.

In opset 18 `axis` is an attribute of DFT, and OpenVINO 2026.4 reads two-sided transforms of that opset rightly (not
`axis` as an input, opset 20, nor one-sided transforms). The transform of a constant, such as HAMSA's psi, stays in the
graph. ONNX Runtime folds it when it loads the file; folding it for OpenVINO beforehand gained 5 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

import torch
from torch import Tensor, nn

from hamsa_deploy.bench.peers.quiet import quietly

DFT_OPSET = 18


def dft_file(
    model: nn.Module,
    examples: Sequence[Tensor],
    path: Path,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
) -> None:
    """Export a model; all shapes fixed. `inputs` and `outputs` name them, or the exporter does."""
    # By itself the exporter fails on HAMSA: it has no complex linear layer. With a matmul in its place it goes on.
    with quietly(), patch("torch.nn.functional.linear", _linear):
        torch.onnx.export(
            model, tuple(examples), path, dynamo=True, opset_version=DFT_OPSET, verbose=False, external_data=False,
            input_names=inputs, output_names=outputs,
        )  # fmt: skip


_real_linear = torch.nn.functional.linear


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return x @ weight.mT if weight.is_complex() else _real_linear(x, weight, bias)
