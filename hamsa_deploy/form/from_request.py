"""The request's model made real, and what it is fed with while that is done and checked."""

from __future__ import annotations

import copy
import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils import _pytree as pytree

from hamsa_deploy.form.axes import free_axes
from hamsa_deploy.form.from_onnx import real_model_of_file
from hamsa_deploy.form.real_model import RealModel, real_model_of_program
from hamsa_deploy.form.request import Request
from hamsa_deploy.models.normalisation import normalised, scale_and_offset
from hamsa_deploy.onnx_import import OnnxFile
from hamsa_deploy.samples.synthesis import sample_calls, sample_input
from hamsa_deploy.scan.forms import Plans
from hamsa_deploy.spectral.values import viewed_as_real
from hamsa_deploy.targets.to_real import to_real
from hamsa_runtime.batches import example_sizes, sized
from hamsa_runtime.errors import InputError
from hamsa_runtime.manifest import BATCH, Audio, Axis, InputSpec, Manifest
from hamsa_runtime.vocabulary import DYNAMIC

EXAMPLE_BATCH = 3  # of random data for a batch that varies, and calls for one that is fixed
EXAMPLE_CALLS = 10  # of a model that keeps something between them
EXACT = 2**53  # whole numbers up to here are what they are in a manifest
NORMAL = 0.5, 8.0  # between these is the largest magnitude of an example that may be normal numbers

NO_PLANS: Plans = MappingProxyType({})


def real_model_of_request(request: Request, plans: Plans = NO_PLANS) -> RealModel:
    """Make the model real, see `_real`, and say what its clips are.

    Raises:
        InputError: a sample rate was given, and no input is of clips.
    """
    form = _real(request, plans)
    return form if request.sample_rate is None else replace(form, audio=_audio_of(form.inputs, request.sample_rate))


def _audio_of(specs: Sequence[InputSpec], sample_rate: int) -> Audio:
    """The first input that can hold clips. What stands before the samples says the channels: one, if there is nothing
    or a batch."""
    for spec in specs:
        before = spec.shape[:-1]
        channels = before[-1] if before and isinstance(before[-1], int) else 1
        audio = Audio(spec.name, sample_rate, channels)
        if audio.fits(spec):
            return audio
    raise InputError(
        "a sample rate for a model with " + "; ".join(f"{spec.name}: {spec.dtype} {spec.shape}" for spec in specs),
        expected="an input of clips: float32 (samples), (batch, samples), (channels, samples) or "
        "(batch, channels, samples)",
        fix="where the samples were taken for the batch, --dynamic INPUT:0=samples",
    )


def _real(request: Request, plans: Plans) -> RealModel:
    """Make the model real: capture a module, with its normalisation where the graph has it; or replace the transforms
    of an ONNX file. `plans` are for some lengths; the cost model chooses the others.
    """
    model = request.model
    if isinstance(model, OnnxFile):
        shapes = [tuple(example.shape) for example in request.example_inputs or ()]
        form = real_model_of_file(model, target=request.to, shapes=shapes, batch=request.fixed_batch, plans=plans)
        if request.batch == DYNAMIC and form.batch is not None:
            raise InputError(
                f"{model.path} has a fixed batch of {form.batch}",
                expected=f"a batch that varies, as --batch {DYNAMIC} asks for",
                fix="write the file with a dynamic first dimension; or leave --batch away",
            )
        return form
    inputs = _example_inputs(request)
    free = None
    dynamic_shapes: Any = None if request.fixed_batch is None else {}
    if request.dynamic_shapes is not None:
        free = free_axes(model, inputs, request.dynamic_shapes, request.fixed_batch)
        inputs, dynamic_shapes = free.inputs, free.for_capture(model)
    elif request.fixed_batch is not None:
        _check_batch(inputs, request.fixed_batch)
    program = to_real(
        _with_normalisation(request, model),
        inputs,
        dynamic_shapes=dynamic_shapes,
        batch_must_vary=request.batch == DYNAMIC,
        target=request.to,
        plans=plans,
        fft=request.fft,
    )
    tensors = [x for x in pytree.tree_leaves(inputs) if isinstance(x, torch.Tensor)]
    form = real_model_of_program(
        program,
        model,
        free=free,
        inputs=request.input_names,
        outputs=request.output_names,
        complex_inputs=[x.is_complex() for x in tensors],
    )
    if request.preprocessing is not None:
        return form
    return replace(form, inputs=tuple(map(_with_range, form.inputs, map(_range_of, tensors))))


def _with_range(spec: InputSpec, values: tuple[float, float] | None) -> InputSpec:
    return replace(spec, example_range=values)


def _range_of(example: torch.Tensor) -> tuple[float, float] | None:
    """The smallest and the largest value, where they are finite and say something."""
    values = viewed_as_real(example.detach())
    if values.dtype == torch.bool or not values.numel():
        return None
    low, high = float(values.min()), float(values.max())
    says_something = low < high if values.is_floating_point() else low < 0 or high > 1
    return (low, high) if says_something and math.isfinite(low) and math.isfinite(high) else None


def _check_batch(inputs: tuple[Any, ...], batch: int) -> None:
    """A batch that is asked for is that of the example inputs."""
    found = {x.shape[0] for x in pytree.tree_leaves(inputs) if isinstance(x, torch.Tensor) and x.ndim}
    if found and batch not in found:
        raise InputError(
            f"a batch of {batch} with example inputs whose first dimension is {', '.join(map(str, sorted(found)))}",
            expected=f"example inputs with a batch of {batch}",
            fix='dynamic_shapes with Dim("batch") says on which axis it is, where that is not the first',
        )


def called(model: nn.Module | OnnxFile, examples: Sequence[Any] | None) -> nn.Module | OnnxFile:
    """The original as the bundle is called, with tensors one after the other: what it takes in lists and dicts is put
    together again; numbers and None are what they were when it was captured."""
    plain = all(isinstance(each, torch.Tensor) for each in examples or ())
    if isinstance(model, OnnxFile) or plain:
        return model
    leaves, spec = pytree.tree_flatten(tuple(examples or ()))

    class Called(nn.Module):
        def __init__(self, model: nn.Module) -> None:
            super().__init__()
            self.model = model

        def forward(self, *tensors: torch.Tensor) -> Any:
            given = iter(tensors)
            taken = [next(given) if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves]
            return self.model(*pytree.tree_unflatten(taken, spec))

    Called.__name__ = type(model).__name__
    return Called(model).eval()


def _example_inputs(request: Request) -> tuple[Any, ...]:
    """No zeros: the first run would have to try others, too, a second of HAMSA-S."""
    batch = request.fixed_batch or 1
    how = request.preprocessing
    if how is None:
        return tuple(request.example_inputs or ())
    if request.input_dtype == "uint8":
        shape = (batch, *how.size, how.channels)
        return (torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0)),)
    return (torch.randn(batch, how.channels, *how.size, generator=torch.Generator().manual_seed(0)),)


def _with_normalisation(request: Request, model: nn.Module) -> nn.Module:
    """The model as it takes what the graph does, uint8 NHWC pixels for one of images. The normalisation is a hook, so
    that the names of its parameters stay theirs; and the hook a shallow copy's, because others may use the model now.
    """
    how = request.preprocessing
    if how is None or request.input_dtype != "uint8":
        return model
    scale, offset = scale_and_offset(how.mean, how.std)

    def normalise(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (normalised(args[0], scale, offset), *args[1:])

    copied = copy.copy(model)
    copied._forward_pre_hooks = OrderedDict(model._forward_pre_hooks)
    copied.register_forward_pre_hook(normalise)
    return copied


def parity_data(request: Request, form: RealModel) -> Any:
    """What the bundle is compared on: the request's, or sample clips or random arrays for a model that does not take
    images."""
    if request.data is not None:
        return request.data
    if request.preprocessing is not None:
        raise InputError("no images for the parity check", expected="data=, a list of images")
    return _example_data(form.inputs, form.axes, form.audio, keeps_state=bool(form.states))


def example_data(manifest: Manifest) -> Any:
    """The same for a bundle, made again from its manifest."""
    return _example_data(manifest.inputs, manifest.axes, manifest.audio, keeps_state=bool(manifest.states))


def _example_data(specs: Sequence[InputSpec], axes: Sequence[Axis], audio: Audio | None, *, keeps_state: bool) -> Any:
    """One call; several of a model of clips, in order of one that keeps something between calls, and of one whose
    batch is fixed: what depends on the input shows in several inputs only."""
    if audio is not None:
        clips = sample_calls(audio, specs, axes, keeps_state=keeps_state)
        return [{**random_arrays(specs, sizes), audio.input: clip} for sizes, clip in clips]
    has_batch = any(BATCH in spec.shape for spec in specs)
    number = EXAMPLE_CALLS if keeps_state else 1 if has_batch else EXAMPLE_BATCH
    calls = [random_arrays(specs, example_sizes(axes, EXAMPLE_BATCH), seed) for seed in range(number)]
    return calls[0] if has_batch and not keeps_state else calls


def example_arrays(manifest: Manifest, sizes: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Random inputs of a bundle whose free axes have these sizes; for clips samples: noise has other ranges."""
    arrays = random_arrays(manifest.inputs, sizes)
    for spec in manifest.inputs:
        if manifest.audio is not None and spec.name == manifest.audio.input:
            arrays[spec.name] = sample_input(spec, manifest.audio, sizes, 0)
    return arrays


def random_arrays(specs: Sequence[InputSpec], sizes: Mapping[str, int], seed: int = 0) -> dict[str, np.ndarray]:
    """Numbers in the range of the example, for inputs whose free axes have these sizes: uniform ones; normal ones where
    the example may be such, and where no range is known; and of whole numbers then 0 and 1, which every index and mask
    may be. The same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    return {spec.name: _random(spec, sized(spec.shape, sizes), generator) for spec in specs}


def _random(spec: InputSpec, shape: Sequence[int], generator: torch.Generator) -> np.ndarray:
    dtype: torch.dtype = getattr(torch, spec.dtype)
    if not dtype.is_floating_point:
        most = min(torch.iinfo(dtype).max, EXACT) if dtype != torch.bool else 1
        first, last = sorted(int(np.clip(end, -most, most)) for end in spec.example_range or (0, 1))
        return torch.randint(first, last + 1, shape, generator=generator).to(dtype).numpy()
    low, high = spec.example_range or (0, 0)
    if low >= high or (low < 0 < high and NORMAL[0] <= max(-low, high) <= NORMAL[1]):
        return torch.randn(shape, generator=generator).to(dtype).numpy()
    uniform = torch.rand(shape, generator=generator, dtype=torch.float64) * (high - low) + low
    return uniform.to(dtype).numpy()
