"""A model in real arithmetic, wherever it came from: what the manifest says of it, and how it becomes ONNX."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import onnx_ir as ir
import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind, TensorArgument
from torch.utils import _pytree as pytree

from hamsa_deploy.form.outputs import names_of
from hamsa_deploy.targets.onnx_file import onnx_from_program
from hamsa_runtime.errors import InputError
from hamsa_runtime.manifest import InputSpec, OutputSpec, Transform

LOG = logging.getLogger("hamsa_deploy")

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
    inputs = [spec.arg.name for spec in _tensor_specs(program.graph_signature.input_specs)]
    outputs = output_names(program, inputs)
    return RealModel(
        reference=f"{type(model).__module__}:{type(model).__qualname__}",
        parameters=sum(p.numel() for p in model.parameters()),
        inputs=_input_specs(program, inputs),
        outputs=_output_specs(program, outputs),
        transforms=each_once(program.graph_module.meta["transforms"]),
        write=lambda path: onnx_from_program(_of_tensors(program), path, inputs=inputs, outputs=outputs),
    )


def output_names(program: ExportedProgram, taken: Collection[str] = ()) -> list[str]:
    """Names of the tensors that a program gives, from the container that the model returns; not those `taken`."""
    spec = program.call_spec.out_spec
    assert spec is not None
    names = names_of(pytree.tree_unflatten(list(range(spec.num_leaves)), spec), taken)
    kinds = [each.arg for each in program.graph_signature.output_specs if each.kind is OutputKind.USER_OUTPUT]
    others = [name for name, kind in zip(names, kinds, strict=True) if not isinstance(kind, TensorArgument)]
    if others:
        LOG.info("left out of the outputs, because they are no tensors: %s", ", ".join(others))
    return [name for name in names if name not in others]


def _of_tensors(program: ExportedProgram) -> ExportedProgram:
    """The program without outputs that are no tensors, which torch.onnx does not take."""
    given: Any = program.graph.output_node().args[0]
    kept = [i for i, value in enumerate(given) if isinstance(value, torch.fx.Node)]
    if len(kept) < len(given):
        program.graph.output_node().args = (tuple(given[i] for i in kept),)
        specs = program.graph_signature.output_specs
        program.graph_signature.output_specs = [specs[i] for i in kept]
        signature: Any = program.module_call_graph[0].signature
        signature.out_spec = pytree.tree_structure(tuple(kept))
        program.graph_module.recompile()
    return program


def _tensor_specs(specs: Iterable[Any]) -> list[Any]:
    """Those of the user's inputs or outputs that are tensors: None and numbers are built in."""
    kinds = (InputKind.USER_INPUT, OutputKind.USER_OUTPUT)
    return [spec for spec in specs if spec.kind in kinds and isinstance(spec.arg, TensorArgument)]


def each_once(transforms: Iterable[Transform]) -> tuple[Transform, ...]:
    """Without repetitions, in order."""
    return tuple(dict.fromkeys(transforms))


def _input_specs(program: ExportedProgram, names: list[str]) -> tuple[InputSpec, ...]:
    values = _values(program, program.graph_signature.input_specs)
    return tuple(InputSpec(name, _dtype(value), _shape_of(value)) for name, value in zip(names, values, strict=True))


def _output_specs(program: ExportedProgram, names: list[str]) -> tuple[OutputSpec, ...]:
    """With how many rows belong to one input of the batch, by the expressions of their sizes.

    Raises:
        InputError: a size depends on the batch in another way than as a multiple.
    """
    sizes: list[Any] = [s for value in _values(program, program.graph_signature.input_specs) for s in value.shape]
    batch = next((size.node.expr for size in sizes if isinstance(size, torch.SymInt)), None)
    specs = []
    for name, value in zip(names, _values(program, program.graph_signature.output_specs), strict=True):
        if 0 in value.shape:
            raise InputError(f"the output {name!r} is empty: {tuple(value.shape)}", expected="values in it")
        multiples = [_multiple(size, batch) for size in value.shape]
        if None in multiples or any(multiple not in (0, 1) for multiple in multiples[1:]):
            shape = ", ".join(str(size).replace(str(batch), "batch") for size in value.shape)
            raise InputError(
                f"the output {name!r} has the shape ({shape})",
                expected="the batch, or in front a multiple of it, along one of its axes",
                cause="the model joins or cuts along the batch",
                fix="return the inputs of the batch one after the other; or fix the batch: --batch N",
            )
        specs.append(OutputSpec(name, _dtype(value), _shape_of(value), _rows(multiples, batch)))
    return tuple(specs)


def _multiple(size: int | torch.SymInt, batch: Any) -> int | None:
    """k for k times the batch, 0 for a fixed size, None for anything else."""
    if not isinstance(size, torch.SymInt):
        return 0
    multiple = size.node.expr / batch
    return int(multiple) if multiple.is_Integer else None


def _rows(multiples: Sequence[int | None], batch: Any) -> int:
    """Of an output; where the whole graph has fixed sizes, `with_fixed_rows` knows more."""
    return 1 if batch is None else (multiples[0] or 0) if multiples else 0


def with_fixed_rows(form: RealModel, run: Callable[[int], Sequence[torch.Tensor]]) -> RealModel:
    """The form of a graph with a fixed batch, with what its outputs have for each input.

    Args:
        form: all of whose sizes are fixed.
        run: the original's outputs for so many times the inputs.
    """
    batch = form.batch
    if batch is None or all(spec.shape[:1] == (batch,) for spec in form.outputs):
        return form
    try:
        twice = [len(value) if value.ndim else 0 for value in run(2)]
    except Exception:  # noqa: BLE001  # it takes this batch only
        twice = [2 * int(spec.shape[0]) if spec.shape else 0 for spec in form.outputs]
    rows = []
    for spec, size in zip(form.outputs, twice, strict=True):
        once = int(spec.shape[0]) if spec.shape else 0
        rows.append(once // batch if size == 2 * once and once % batch == 0 else 0)
    return replace(form, outputs=tuple(replace(s, rows=r) for s, r in zip(form.outputs, rows, strict=True)))


def _values(program: ExportedProgram, specs: Iterable[Any]) -> list[torch.Tensor]:
    nodes = {node.name: node for node in program.graph.nodes}
    return [nodes[spec.arg.name].meta["val"] for spec in _tensor_specs(specs)]


def _dtype(value: torch.Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")


def _shape_of(value: torch.Tensor) -> Shape:
    """With "batch" for a dynamic dimension."""
    return tuple("batch" if isinstance(size, torch.SymInt) else size for size in value.shape)
