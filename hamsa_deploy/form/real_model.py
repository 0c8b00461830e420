"""A model in real arithmetic, wherever it came from: what the manifest says of it, and how it becomes ONNX."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import ConstantArgument, InputKind, OutputKind, TensorArgument
from torch.utils import _pytree as pytree

from hamsa_deploy.form.axes import FreeAxes, Sizes, default_names, input_values, output_values, tensor_specs
from hamsa_deploy.form.outputs import names_of
from hamsa_deploy.spectral.compiler.carried import ModelState
from hamsa_deploy.spectral.values import viewed_as_real
from hamsa_deploy.targets.onnx_file import onnx_from_program
from hamsa_runtime.errors import InputError
from hamsa_runtime.manifest import (
    BATCH,
    DTYPES,
    Audio,
    Axis,
    ComplexLinear,
    InputSpec,
    OutputSpec,
    Scan,
    State,
    Transform,
)
from hamsa_runtime.vocabulary import STATE_FILE

LOG = logging.getLogger("hamsa_deploy")

Shape = tuple[int | str, ...]


@dataclass(frozen=True)
class RealModel:
    """What a pipeline needs to know between the compiler and the ONNX file.

    Attributes:
        reference: what the model is called where nobody gave it a name.
        parameters: how many numbers its weights have.
        inputs, outputs: as the manifest has them; nobody has said yet whether an input is an image.
        transforms: each once.
        write: writes the ONNX file to a path, and returns the model as written.
        axes: of the inputs beside the batch, those of any size.
        states: what the model keeps between calls, each with its first value.
        audio: of a model of clips.
        stand_ins: for compiled functions that the model calls.
        scans, linears: as the transforms.
        program: what `write` writes, of tensors only; None where that was an ONNX file from the start.
    """

    reference: str
    parameters: int
    inputs: tuple[InputSpec, ...]
    outputs: tuple[OutputSpec, ...]
    transforms: tuple[Transform, ...]
    write: Callable[[Path], ir.Model]
    axes: tuple[Axis, ...] = ()
    states: tuple[tuple[State, np.ndarray], ...] = ()
    audio: Audio | None = None
    stand_ins: tuple[str, ...] = ()
    scans: tuple[Scan, ...] = ()
    linears: tuple[ComplexLinear, ...] = ()
    program: ExportedProgram | None = None

    @property
    def batch(self) -> int | None:
        """The size of the batch that the graph is fixed to, the first dimension of its first input; None for any."""
        first = self.inputs[0].shape[:1]
        if not first or any(BATCH in spec.shape for spec in self.inputs):
            return None
        return first[0] if isinstance(first[0], int) else None

    def write_states(self, folder: Path) -> None:
        """What the model keeps starts as this; zeros need no file."""
        for i, (state, value) in enumerate(self.states):
            if state.stored:
                (folder / STATE_FILE.format(i)).write_bytes(value.astype(value.dtype.newbyteorder("<")).tobytes())


def real_model_of_program(
    program: ExportedProgram,
    model: torch.nn.Module,
    *,
    free: FreeAxes | None = None,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    complex_inputs: Sequence[bool] = (),
) -> RealModel:
    """The form of a program that `to_real` has made of a module.

    Args:
        program, model: what was made, and of what.
        free: what the axes of the inputs are called; by default the batch is the only free one.
        inputs, outputs: names, in order; by default those of forward, and of the container that it returns.
        complex_inputs: for each input, whether it was complex.

    Raises:
        InputError: another number of names; an output whose size follows from the batch otherwise than as a multiple;
            or of a type that no bundle has.
    """
    _say_what_is_fixed(program)
    kept: Sequence[ModelState] = program.graph_module.meta["states"]
    found = [spec.arg.name for spec in tensor_specs(program.graph_signature.input_specs)]
    found = found[: len(found) - len(kept)]
    before, after = ([f"{when}.{state.name}" for state in kept] for when in ("state", "next"))
    chosen = _chosen("input", inputs, found), _chosen("output", outputs, output_names(program, found))
    names = [*chosen[0], *before], [*chosen[1], *after]
    none_free: list[dict[int, str]] = [{}] * len(kept)
    sizes = Sizes(program, default_names(program) if free is None else [*free.names, *none_free])
    all_inputs, all_outputs = _inputs(program, names[0], sizes), _outputs(program, names[1], sizes)
    shapes = [spec.shape for spec in all_inputs] + [spec.shape for spec in all_outputs]
    are_complex = dict(zip(chosen[0], complex_inputs, strict=False))
    program = _of_tensors(program)
    return RealModel(
        reference=f"{type(model).__module__}:{type(model).__qualname__}",
        parameters=sum(p.numel() for p in model.parameters()),
        inputs=tuple(
            replace(spec, is_complex=are_complex.get(spec.name, False)) for spec in all_inputs[: len(chosen[0])]
        ),
        outputs=_not_cut(all_outputs[: len(chosen[1])]) if kept else all_outputs,
        transforms=each_once(program.graph_module.meta["transforms"]),
        write=lambda path: onnx_from_program(program, path, inputs=names[0], outputs=names[1], shapes=shapes),
        axes=() if free is None else sizes.axes({name: max(free.sizes(name)) for name in free.dims}),
        states=tuple(_states(kept, all_inputs[len(chosen[0]) :], all_outputs[len(chosen[1]) :])),
        stand_ins=program.graph_module.meta["stand_ins"],
        scans=tuple(dict.fromkeys(program.graph_module.meta["scans"])),
        linears=tuple(dict.fromkeys(program.graph_module.meta["linears"])),
        program=program,
    )


def _not_cut(outputs: Sequence[OutputSpec]) -> tuple[OutputSpec, ...]:
    """Of a model with state, of which each inference is a call of its own."""
    return tuple(replace(spec, batch_axis=None) for spec in outputs)


def _states(
    kept: Sequence[ModelState], inputs: Sequence[InputSpec], outputs: Sequence[OutputSpec]
) -> Iterator[tuple[State, np.ndarray]]:
    for state, spec, output in zip(kept, inputs, outputs, strict=True):
        if spec.shape != output.shape or spec.dtype != output.dtype:
            raise InputError(
                f"the state {state.name!r} is {spec.dtype} {spec.shape}, after a call {output.dtype} {output.shape}",
                expected="one type and shape",
                fix="write it in place: self.tail.copy_(...)",
            )
        array = viewed_as_real(state.initial).detach().cpu().contiguous().numpy()
        shape = tuple(size for size in spec.shape if isinstance(size, int))
        yield State(state.name, spec.dtype, shape, spec.name, output.name, bool(array.any())), array


def output_names(program: ExportedProgram, taken: Collection[str] = ()) -> list[str]:
    """Names of the tensors that a program gives, from the container that the model returns; not those `taken`."""
    return [name for name, is_tensor in _returned(program, taken) if is_tensor]


def _returned(program: ExportedProgram, taken: Collection[str] = ()) -> list[tuple[str, bool]]:
    """What the model returns, without the states that stand behind it: each name, and whether it is of a tensor."""
    spec = program.call_spec.out_spec
    assert spec is not None
    outputs: Any = pytree.tree_unflatten(list(range(spec.num_leaves)), spec)
    names = names_of(outputs[0] if program.graph_module.meta["states"] else outputs, taken)
    kinds = [each.arg for each in program.graph_signature.output_specs if each.kind is OutputKind.USER_OUTPUT]
    return [(name, isinstance(kind, TensorArgument)) for name, kind in zip(names, kinds[: len(names)], strict=True)]


def _say_what_is_fixed(program: ExportedProgram) -> None:
    """None and numbers, which a bundle neither takes nor gives."""
    given = [each.arg for each in program.graph_signature.input_specs if each.kind is InputKind.USER_INPUT]
    fixed = [f"{each.name} = {each.value!r}" for each in given if isinstance(each, ConstantArgument)]
    if fixed:
        LOG.warning("no inputs of the bundle, but for ever what they were at the export: %s", ", ".join(fixed))
    returned = _returned(program)
    others = [name for name, is_tensor in returned if not is_tensor]
    if len(others) == len(returned):
        raise InputError(
            f"the model returns no tensor, but {', '.join(others) or 'nothing'}",
            expected="a tensor, or a container of tensors",
        )
    if others:
        LOG.warning("left out of the outputs, because they are no tensors: %s", ", ".join(others))


def _of_tensors(program: ExportedProgram) -> ExportedProgram:
    """The program without outputs that are no tensors, which torch.onnx does not take."""
    given: Any = program.graph.output_node().args[0]
    specs = program.graph_signature.output_specs
    kept = [i for i, spec in enumerate(specs) if isinstance(spec.arg, TensorArgument)]
    if len(kept) < len(given):
        program.graph.output_node().args = (tuple(given[i] for i in kept),)
        program.graph_signature.output_specs = [specs[i] for i in kept]
        signature: Any = program.module_call_graph[0].signature
        signature.out_spec = pytree.tree_structure(tuple(kept))
        program.graph.eliminate_dead_code()
        program.graph_module.recompile()
    return program


def each_once(transforms: Iterable[Transform]) -> tuple[Transform, ...]:
    """Without repetitions, in order."""
    return tuple(dict.fromkeys(transforms))


def _chosen(kind: str, chosen: Sequence[str] | None, found: list[str]) -> list[str]:
    if chosen is None:
        return found
    if len(chosen) != len(found) or len(set(chosen)) != len(chosen):
        raise InputError(
            f"the {kind} names {', '.join(chosen)}",
            expected=f"{len(found)}, each of them once, for {', '.join(found)}",
        )
    return list(chosen)


def _inputs(program: ExportedProgram, names: Sequence[str], sizes: Sizes) -> tuple[InputSpec, ...]:
    if not names:
        raise InputError("the model takes no tensor", expected="one input at least", fix="example_inputs=(x,)")
    _check_not_empty("input", names, input_values(program), sizes)
    return tuple(
        InputSpec(name, _dtype_of(value, f"the input {name!r}"), tuple(map(sizes.text, value.shape)))
        for name, value in zip(names, input_values(program), strict=True)
    )


def _outputs(program: ExportedProgram, names: Sequence[str], sizes: Sizes) -> tuple[OutputSpec, ...]:
    values = output_values(program)
    _check_not_empty("output", names, values, sizes)
    are_complex = program.graph_module.meta["complex_outputs"]
    return tuple(
        OutputSpec(
            name,
            _dtype_of(value, f"the output {name!r}"),
            tuple(map(sizes.text, value.shape)),
            _batch_axis(name, value, sizes),
            is_complex,
        )
        for name, value, is_complex in zip(names, values, are_complex, strict=True)
    )


def _check_not_empty(kind: str, names: Sequence[str], values: Sequence[torch.Tensor], sizes: Sizes) -> None:
    for name, value in zip(names, values, strict=True):
        if 0 in value.shape:
            shape = ", ".join(str(sizes.text(size)) for size in value.shape)
            raise InputError(
                f"the {kind} {name!r} is empty: ({shape})", expected="values in it", fix=f"leave that {kind} away"
            )


def _batch_axis(name: str, value: torch.Tensor, sizes: Sizes) -> int | None:
    """As far as sizes tell; where no size is free, nothing is known yet."""
    if sizes.has_batch:
        try:
            return sizes.batch_axis(value.shape)
        except ValueError as error:
            raise InputError(
                f"the output {name!r} has the shape ({error})",
                expected="the batch along one dimension: as many rows for each input as for any other",
                cause="what belongs to which input cannot be told, so a batch could be neither cut nor put together",
                fix="leave that output away, or compute it in the application; or fix the batch: --batch N",
            ) from error
    return 0 if value.ndim else None


def _dtype_of(value: torch.Tensor, what: str) -> str:
    dtype = str(value.dtype).removeprefix("torch.")
    if dtype not in DTYPES:
        raise InputError(
            f"{what} is {dtype}",
            expected=f"one of {', '.join(DTYPES)}",
            cause="neither NumPy nor the engines have arrays of this type at their borders",
            fix="model.float(), and --bf16 where the engine is to compute in bfloat16"
            if dtype == "bfloat16"
            else f"{what.split()[1]}.float() in forward",
        )
    return dtype
