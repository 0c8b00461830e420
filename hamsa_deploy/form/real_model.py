"""A model in real arithmetic, wherever it came from: what the manifest says of it, and how it becomes ONNX."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import onnx_ir as ir
import torch
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from hamsa_deploy.form.outputs import names_of
from hamsa_deploy.targets.onnx_file import onnx_from_program
from hamsa_runtime.manifest import InputSpec, OutputSpec, Transform

Spec = TypeVar("Spec", InputSpec, OutputSpec)
Shape = tuple[int | Literal["batch"], ...]


@dataclass(frozen=True)
class RealModel:
    """What a pipeline needs to know between the compiler and the ONNX file.

    Attributes:
        reference: what the model is called where nobody gave it a name.
        parameters: how many numbers its weights have.
        inputs, outputs: as the manifest has them; nobody has said yet whether an input is an image.
        transforms: each once.
        write: writes the ONNX file to a path, and returns the model as written.
    """

    reference: str
    parameters: int
    inputs: tuple[InputSpec, ...]
    outputs: tuple[OutputSpec, ...]
    transforms: tuple[Transform, ...]
    write: Callable[[Path], ir.Model]

    @property
    def batch(self) -> int | None:
        """The size of the batch that the graph is fixed to, the first dimension of its first input; None for any."""
        first = self.inputs[0].shape[:1]
        if not first or any("batch" in spec.shape for spec in self.inputs):
            return None
        return int(first[0])


def real_model_of_program(program: ExportedProgram, model: torch.nn.Module) -> RealModel:
    """The form of a program that `to_real` has made of a module."""
    inputs, outputs = [str(name) for name in program.graph_signature.user_inputs], output_names(program)
    return RealModel(
        reference=f"{type(model).__module__}:{type(model).__qualname__}",
        parameters=sum(p.numel() for p in model.parameters()),
        inputs=_specs(InputSpec, program, program.graph_signature.user_inputs, inputs),
        outputs=_specs(OutputSpec, program, program.graph_signature.user_outputs, outputs),
        transforms=each_once(program.graph_module.meta["transforms"]),
        write=lambda path: onnx_from_program(program, path, inputs=inputs, outputs=outputs),
    )


def output_names(program: ExportedProgram) -> list[str]:
    """Names of the program's outputs, from the container that the model returns."""
    spec = program.call_spec.out_spec
    assert spec is not None
    return names_of(pytree.tree_unflatten(list(range(spec.num_leaves)), spec))


def each_once(transforms: Iterable[Transform]) -> tuple[Transform, ...]:
    """Without repetitions, in order."""
    return tuple(dict.fromkeys(transforms))


def _specs(
    make: Callable[[str, str, Shape], Spec], program: ExportedProgram, graph_names: Any, names: list[str]
) -> tuple[Spec, ...]:
    nodes = {node.name: node for node in program.graph.nodes}
    values = [nodes[str(name)].meta["val"] for name in graph_names]
    return tuple(
        make(name, str(value.dtype).removeprefix("torch."), _shape_of(value))
        for name, value in zip(names, values, strict=True)
    )


def _shape_of(value: torch.Tensor) -> Shape:
    """With "batch" for the dynamic dimension."""
    return tuple("batch" if isinstance(size, torch.SymInt) else size for size in value.shape)
