"""The request's model made real, and what it is fed with while that is done and checked."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils import _pytree as pytree

from hamsa_deploy.form.from_onnx import real_model_of_file
from hamsa_deploy.form.real_model import RealModel, real_model_of_program, with_fixed_rows
from hamsa_deploy.form.request import Request
from hamsa_deploy.models.normalisation import normalised, scale_and_offset
from hamsa_deploy.onnx_import import OnnxFile
from hamsa_deploy.spectral.factorisations import Plan
from hamsa_deploy.targets.to_real import to_real
from hamsa_runtime.errors import InputError
from hamsa_runtime.manifest import InputSpec
from hamsa_runtime.vocabulary import DYNAMIC

EXAMPLE_BATCH = 2  # of random data for a batch that varies

NO_PLANS: Mapping[int, Plan] = MappingProxyType({})


def real_model_of_request(request: Request, plans: Mapping[int, Plan] = NO_PLANS) -> RealModel:
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
    dynamic_shapes: dict[str, Any] | None = None if request.fixed_batch is None else {}
    with _normalising(request, model):
        program = to_real(
            model,
            inputs,
            dynamic_shapes=dynamic_shapes,
            batch_must_vary=request.batch == DYNAMIC,
            target=request.to,
            plans=plans,
            fft=request.fft,
        )
        form = real_model_of_program(program, model)
        return with_fixed_rows(form, lambda times: _outputs_of(model, inputs, times))


@torch.no_grad()
def _outputs_of(model: nn.Module, inputs: tuple[Any, ...], times: int) -> list[torch.Tensor]:
    """The original's outputs for several times the inputs, in the order of its real form's."""
    more = pytree.tree_map_only(torch.Tensor, lambda x: torch.cat([x] * times) if x.ndim else x, inputs)
    return [value for value in pytree.tree_leaves(model(*more)) if isinstance(value, torch.Tensor)]


def called(request: Request) -> nn.Module | OnnxFile:
    """The original as the bundle is called, with tensors one after the other: what it takes in lists and dicts is put
    together again, complex ones of their two parts; numbers and None are what they were when it was captured."""
    model, examples = request.model, request.example_inputs
    plain = all(isinstance(each, torch.Tensor) and not each.is_complex() for each in examples or ())
    if isinstance(model, OnnxFile) or plain:
        return model
    leaves, spec = pytree.tree_flatten(tuple(examples or ()))

    class Called(nn.Module):
        def __init__(self, model: nn.Module) -> None:
            super().__init__()
            self.model = model

        def forward(self, *tensors: torch.Tensor) -> Any:
            given = iter(tensors)
            return self.model(*pytree.tree_unflatten([_taken(leaf, given) for leaf in leaves], spec))

    Called.__name__ = type(model).__name__
    return Called(model).eval()


def _taken(leaf: Any, given: Iterator[torch.Tensor]) -> Any:
    """The next tensor for a leaf that was one; a complex one is given as its real and imaginary parts (.., 2)."""
    if not isinstance(leaf, torch.Tensor):
        return leaf
    return torch.view_as_complex(next(given)) if leaf.is_complex() else next(given)


def _example_inputs(request: Request) -> tuple[Any, ...]:
    batch = request.fixed_batch or 1
    how = request.preprocessing
    if how is None:
        return tuple(request.example_inputs or ())
    if request.input_dtype == "uint8":
        return (torch.zeros(batch, *how.size, how.channels, dtype=torch.uint8),)
    return (torch.zeros(batch, how.channels, *how.size),)


@contextlib.contextmanager
def _normalising(request: Request, model: nn.Module) -> Iterator[None]:
    """While it lasts, the model takes uint8 NHWC pixels. A hook, so that the names of its parameters stay theirs."""
    how = request.preprocessing
    if how is None or request.input_dtype != "uint8":
        yield
        return
    scale, offset = scale_and_offset(how.mean, how.std)

    def normalise(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (normalised(args[0], scale, offset), *args[1:])

    hook = model.register_forward_pre_hook(normalise)
    try:
        yield
    finally:
        hook.remove()


def parity_data(request: Request, form: RealModel) -> Any:
    """What the bundle is compared on: the request's, or random arrays for a model that does not take images."""
    if request.data is not None:
        return request.data
    if request.preprocessing is not None:
        raise InputError("no images for the parity check", expected="data=, a list of images")
    generator = torch.Generator().manual_seed(0)
    return {spec.name: _random(spec, generator) for spec in form.inputs}


def _random(spec: InputSpec, generator: torch.Generator) -> np.ndarray:
    """Normal numbers; for a type of whole numbers 0 and 1, which every index and mask may be."""
    dtype: torch.dtype = getattr(torch, spec.dtype)
    shape = [EXAMPLE_BATCH if size == "batch" else size for size in spec.shape]
    if dtype.is_floating_point:
        return torch.randn(shape, generator=generator).to(dtype).numpy()
    return torch.randint(0, 2, shape, generator=generator).to(dtype).numpy()
