"""The peer "dft": the first bundle's model through ONNX's operator DFT, on the first bundle's engine, in float32.

The standard route: torch.onnx.export, which leaves each transform as ONNX's operator DFT.

In opset 18 `axis` is an attribute of DFT, and OpenVINO 2026.4 reads two-sided transforms of that opset rightly (not
`axis` as an input, opset 20, nor one-sided transforms). The transform of a constant, such as HAMSA's psi, stays in the
graph. ONNX Runtime folds it when it loads the file; folding it for OpenVINO beforehand gained 5 %.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn

from hamsa_deploy.bench.candidates import Candidate, engine_on, opened_bundle, processor_of
from hamsa_deploy.bench.inputs import graph_inputs
from hamsa_deploy.bench.peers.bundles import write_manifest
from hamsa_deploy.bench.peers.from_pixels import FromPixels, Original
from hamsa_deploy.bench.peers.quiet import quietly
from hamsa_deploy.measure.interleaved import Run
from hamsa_deploy.parity.differences import relative_errors
from hamsa_deploy.parity.native_limits import BELOW_ANY_FAULT
from hamsa_deploy.scan.cuda import DEVICES
from hamsa_deploy.targets import target_of
from hamsa_deploy.targets.record import Order
from hamsa_runtime.errors import BuildError, InputError
from hamsa_runtime.manifest import Manifest
from hamsa_runtime.vocabulary import ONNX_FILE

DFT_OPSET = 18


def dft_peer(first: Manifest, folder: Path, original: Original, device: str | None = None) -> Candidate:
    """Exported for each batch when it is needed; see `peers_of`."""
    engine = target_of(first.target)
    if engine.needs_gpu:
        raise InputError(
            f"--peer dft with a bundle for {engine.title}",
            expected="a first bundle for openvino or onnx",
            cause="TensorRT before 11.2 has no DFT, and TensorRT-RTX does not parse it",
            fix="leave --peer dft away; --fft native makes a TensorRT bundle that keeps its transforms",
        )
    model = original()
    written = functools.cache(lambda batch: _written(model, first, batch, folder / str(batch)))
    return Candidate(
        "peer dft",
        engine_on(engine.title, device),
        "fp32",
        lambda batch, threads: _opened(model, first, written(batch), batch, threads, device),
        written,
        device,
        processor_of(first.target, device),
    )


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


def _written(model: FromPixels, first: Manifest, batch: int, folder: Path) -> Path:
    """The bundle."""
    target = target_of(first.target)
    if target.takes_program:
        raise InputError(
            f"--peer dft for {first.target}",
            expected="a target whose engine is given ONNX files",
            cause=f"{target.title} reads no ONNX, and this is a file with its operator DFT",
            fix="leave --peer dft away",
        )
    folder.mkdir(parents=True)
    examples = [torch.from_numpy(array) for array in graph_inputs(first, batch).values()]
    outputs = dict(zip((spec.name for spec in first.outputs), _computed(model, examples), strict=True))
    path = folder / ONNX_FILE
    try:
        dft_file(model, examples, path, [spec.name for spec in first.inputs], list(outputs))
    except Exception as error:
        raise BuildError(
            f"torch.onnx.export cannot export {first.model.reference}: {str(error).strip().splitlines()[0]}",
            cause="an operator on complex tensors that the standard exporter does not know",
            fix="leave --peer dft away: for this model there is no such route",
        ) from error
    target.write(folder, Order("fp32"))
    write_manifest(folder, first, "dft", model, "fp32", outputs, batch)
    return folder


@contextlib.contextmanager
def _opened(
    model: FromPixels, first: Manifest, folder: Path, batch: int, threads: int | None, device: str | None
) -> Iterator[Run]:
    with opened_bundle(folder, batch, threads, device) as run:
        _check_same(model, first, batch, run())
        yield run


def _check_same(model: FromPixels, first: Manifest, batch: int, found: object) -> None:
    """An engine that reads DFT wrongly may well be fast."""
    assert isinstance(found, dict)
    examples = [torch.from_numpy(array) for array in graph_inputs(first, batch).values()]
    expected = (tensor.numpy() for tensor in _computed(model, examples))
    title = target_of(first.target).title
    error = max(_error(found[spec.name], array) for spec, array in zip(first.outputs, expected, strict=True))
    if not error <= BELOW_ANY_FAULT:
        raise BuildError(
            f"{title} computes something else from the operator DFT: relative error {error:.1e}",
            expected=f"what PyTorch computes, at most {BELOW_ANY_FAULT:g} from it",
            fix="leave --peer dft away: its time would mean nothing",
        )


def _computed(model: FromPixels, examples: list[Tensor]) -> tuple[Tensor, ...]:
    with torch.inference_mode(), DEVICES:
        return model(*examples)


def _error(found: np.ndarray, expected: np.ndarray) -> float:
    return float(relative_errors(found, expected).max())


_real_linear = torch.nn.functional.linear


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return x @ weight.mT if weight.is_complex() else _real_linear(x, weight, bias)
