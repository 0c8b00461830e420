"""What the options say of a model's inputs: examples of them, what they are called, and which sizes stay free. Imports
torch, so it is imported once the options are good.

    examples     --input; or the factory's example_inputs; or the arrays of --data, by the names of forward's arguments
    free axes    --dynamic, and the batch, where that is not fixed
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.export import Dim

from hamsa_deploy.form.values import GivenAxis, GivenInput
from hamsa_deploy.inputs.files import kind_of_data, read_data
from hamsa_deploy.models import ModelEntry
from hamsa_deploy.onnx_import import OnnxFile
from hamsa_runtime.clips import load_clip
from hamsa_runtime.errors import InputError, nearest
from hamsa_runtime.manifest import BATCH

EXAMPLE_SEED = 0
EXAMPLES = "example_inputs"  # of a factory or of what it makes
WAYS = (
    f"--input NAME:SHAPE:TYPE for each input; or {EXAMPLES} beside the factory's code, a tuple or a function; or --data"
)


def inputs_of(options: Any, model: nn.Module, entry: ModelEntry) -> dict[str, Any]:
    """Fields of a request: example inputs, their names, and what stays free of them."""
    arguments = _arguments(model)
    if options.input:
        given, names = _ordered(options.input, arguments)
        inputs: tuple[Any, ...] | None = _random(given, options, names or arguments)
    else:
        names = None
        inputs = declared_examples(entry.factory, model) or _of_data(options, arguments)
    if inputs is None:
        return {"example_inputs": None}
    called = names or [arguments[i] if i < len(arguments) else str(i) for i in range(len(inputs))]
    shapes = _dynamic_shapes(options, inputs, called) if options.dynamic else None
    return {"example_inputs": inputs, "input_names": names, "dynamic_shapes": shapes}


def declared_examples(factory: Callable[..., Any], model: nn.Module) -> tuple[Any, ...] | None:
    """`example_inputs` of the factory or of the model, called if it is a function; None if neither has one."""
    found = getattr(factory, EXAMPLES, None)
    # Of a class it is the instance's, which may be a method.
    found = getattr(model, EXAMPLES, None) if found is None or isinstance(factory, type) else found
    if callable(found):
        found = found()
    if found is None:
        return None
    if isinstance(found, torch.Tensor):
        return (found,)
    if not isinstance(found, list | tuple):
        raise InputError(f"{EXAMPLES} is a {type(found).__name__}", expected="a tuple of what forward takes, in order")
    return tuple(found)


def examples_for_file(options: Any, file: OnnxFile) -> tuple[torch.Tensor, ...] | None:
    """Arrays whose shapes settle those of an ONNX file, in the order of its inputs."""
    given: Sequence[GivenInput] = options.input
    if not given:
        return None
    names = [str(value.name) for value in file.model.graph.inputs if value.name not in file.model.graph.initializers]
    if any(each.name for each in given):
        if sorted(each.name for each in given) != sorted(names):
            raise InputError(
                f"inputs called {', '.join(each.name or '(no name)' for each in given)}", expected=", ".join(names)
            )
        given = sorted(given, key=lambda each: names.index(each.name))
    return _random(given, options, names)


def _arguments(model: nn.Module) -> list[str]:
    """What forward calls its positional arguments."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [each.name for each in inspect.signature(model.forward).parameters.values() if each.kind in kinds]


def _ordered(given: Sequence[GivenInput], arguments: Sequence[str]) -> tuple[list[GivenInput], list[str] | None]:
    """In the order of forward's arguments, by name if these are theirs; and the names, if they are others.

    Names that are partly forward's are an error: nobody could tell which input is meant.
    """
    names = [each.name for each in given]
    if not any(names):
        return list(given), None
    known = [name for name in names if name in arguments]
    if "" in names or len(set(names)) < len(names) or (known and len(known) < len(names)):
        raise InputError(
            f"inputs called {', '.join(name or '(no name)' for name in names)}",
            expected=f"the names of forward's arguments, {', '.join(arguments)}; or others for all, in their order",
        )
    if not known:
        return list(given), names
    ordered = sorted(given, key=lambda each: arguments.index(each.name))
    if [each.name for each in ordered] != list(arguments[: len(ordered)]):
        raise InputError(
            f"inputs called {', '.join(names)}", expected=f"the first of {', '.join(arguments)}, without a gap"
        )
    return ordered, None


def _random(given: Sequence[GivenInput], options: Any, names: Sequence[str]) -> tuple[torch.Tensor, ...]:
    """Normal numbers; of whole ones 0 and 1. With --batch, of that batch."""
    generator = torch.Generator().manual_seed(EXAMPLE_SEED)
    batch = options.batch if isinstance(options.batch, int) else None
    axes = _batch_axes(options.dynamic, names)
    found = []
    for number, each in enumerate(given):
        shape = list(each.shape)
        axis = axes.get(number) if axes else 0
        if batch is not None and axis is not None and axis < len(shape):
            shape[axis] = batch
        dtype: torch.dtype = getattr(torch, each.dtype)
        if dtype.is_floating_point or dtype.is_complex:
            wide = torch.complex64 if dtype.is_complex else torch.float32
            found.append(torch.randn(shape, generator=generator, dtype=wide).to(dtype))
        else:
            found.append(torch.randint(0, 2, shape, generator=generator).to(dtype))
    return tuple(found)


def _batch_axes(free: Sequence[GivenAxis], names: Sequence[str]) -> dict[int, int]:
    """Where --dynamic says that the batch is."""
    return {
        number: each.axis
        for each in free
        for number, name in enumerate(names)
        if each.name == BATCH and each.input in (name, str(number))
    }


def _of_data(options: Any, arguments: Sequence[str]) -> tuple[torch.Tensor, ...] | None:
    """The arrays of --data as examples, in the order of forward's arguments; of clips the first, as a batch of one."""
    path: Path | None = options.data
    if path is None:
        return None
    arrays = read_data(path, kind_of_data(None, options.sample_rate))
    if isinstance(arrays, list):
        clip = load_clip(arrays[0])
        arrays = clip if len(clip) == 1 else clip[None]
    if isinstance(arrays, np.ndarray):
        arrays = {arguments[0] if arguments else "x": arrays}
    unknown = [name for name in arrays if name not in arguments]
    if unknown or not arrays or list(arguments[: len(arrays)]) != [name for name in arguments if name in arrays]:
        raise InputError(
            f"{path} holds {', '.join(arrays) or 'no arrays'}",
            expected=f"one array for each argument of forward: {', '.join(arguments)}",
            fix=WAYS,
        )
    return tuple(torch.from_numpy(np.ascontiguousarray(arrays[name])) for name in arguments if name in arrays)


def _dynamic_shapes(options: Any, inputs: Sequence[Any], names: Sequence[str]) -> tuple[dict[int, Any], ...]:
    """For each input {axis: Dim}, as torch.export has it; one Dim for a name."""
    free: Sequence[GivenAxis] = options.dynamic
    dims: dict[str, Any] = {}
    shapes: list[dict[int, Any]] = [{} for _ in inputs]
    for each in free:
        number = _number_of(each.input, names)
        limits = {"min": each.min, "max": each.max}
        dim = Dim(each.name, **{name: size for name, size in limits.items() if size is not None})
        shapes[number][each.axis] = dims.setdefault(each.name, dim)
    if BATCH not in dims and not isinstance(options.batch, int):
        batch = Dim(BATCH)
        for shape, x in zip(shapes, inputs, strict=True):
            if isinstance(x, torch.Tensor) and x.ndim:
                shape.setdefault(0, batch)
    return tuple(shapes)


def _number_of(text: str, names: Sequence[str]) -> int:
    if text in names:
        return list(names).index(text)
    if text.isdecimal() and int(text) < len(names):
        return int(text)
    raise InputError(
        f"--dynamic {text}:...: no input is called {text!r}",
        expected=f"one of {', '.join(names)}, or its number from 0 on",
        fix=nearest(text, names),
    )
