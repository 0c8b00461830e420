"""The target executorch: a program of ExecuTorch, model.pte.

XNNPACK is given all that it takes, ExecuTorch's portable kernels do the rest. Memory is planned at export, for the
largest size that there may be: batches that vary go up to LARGEST_BATCH, and larger ones are cut by the runtime.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hamsa_deploy.targets.here import Package
from hamsa_deploy.targets.record import Order, Target
from hamsa_runtime.dft.costs import CPU
from hamsa_runtime.errors import BuildError, MissingError
from hamsa_runtime.interrupts import interruptible
from hamsa_runtime.manifest import BATCH, InputSpec
from hamsa_runtime.vocabulary import PTE_FILE

if TYPE_CHECKING:
    from torch.export import ExportedProgram

LARGEST_BATCH = 8  # as that of TensorRT's profile
# Not fitted: ONNX Runtime's. Loops are operators of ours, for which ExecuTorch has no kernels: they must never be the
# cheapest, and scans are trees of any size.
RATES = replace(CPU, trips=1e12, largest_tree=1e12)
INSTALL = "pip install 'hamsa-deploy[executorch]'"
LACKS = {
    "bf16": "ExecuTorch 1.5 gives XNNPACK nothing in bfloat16, but for fully connected layers where an option says so"
}


@dataclass(frozen=True)
class ExecuTorch(Target):
    """See `Target`."""

    def write(self, folder: Path, order: Order) -> None:
        """Lower the program, in the order's precision."""
        program = _typed(order)
        _limit_batch(program, order.inputs)
        (folder / PTE_FILE).write_bytes(_lowered(program))


def _typed(order: Order) -> ExportedProgram:
    """In float16 or int8 another program, changed before it is lowered."""
    assert order.program is not None
    if order.precision == "fp32":
        return order.program
    from hamsa_deploy.targets.executorch_lower import fp16_program, int8_program

    try:
        with quietly():
            return {"fp16": fp16_program, "int8": int8_program}[order.precision](order)
    except ImportError as error:
        raise _missing(error) from error
    except Exception as error:
        raise BuildError(
            f"ExecuTorch's quantiser cannot make this model {order.precision}: {error}",
            fix="--fp32, or another version",
        ) from error


def _limit_batch(program: ExportedProgram, inputs: tuple[InputSpec, ...]) -> None:
    """In the symbols' own environment: planned for what the program's ranges say is only what that knows."""
    import torch

    values = {node.name: node.meta["val"] for node in program.graph.nodes if node.op == "placeholder"}
    given = [values[name] for name in program.graph_signature.user_inputs if isinstance(name, str)]
    tensors = [each for each in given if isinstance(each, torch.Tensor)]
    for value, spec in zip(tensors, inputs, strict=False):
        for size, name in zip(value.shape, spec.shape, strict=True):
            if name == BATCH and isinstance(size, torch.SymInt):
                symbols = size.node.shape_env
                symbols.constrain_symbol_range(size.node.expr, compiler_min=1, compiler_max=LARGEST_BATCH)


def _missing(error: ImportError) -> MissingError:
    return MissingError(f"the package executorch cannot be imported: {error}", fix=INSTALL)


def _lowered(program: ExportedProgram) -> bytes:
    """The file's content."""
    try:
        with quietly():
            from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
            from executorch.exir import EdgeCompileConfig, to_edge_transform_and_lower
    except ImportError as error:
        raise _missing(error) from error
    try:
        with quietly():
            # Its own check of types takes the length of the first tensor of a list for that of the list: behind a split
            # the batch is the example's, and any other is refused when it runs (error 0x10; seen in 1.5.1).
            unchecked = EdgeCompileConfig(_check_ir_validity=False)
            lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()], compile_config=unchecked)
            return bytes(lowered.to_executorch().buffer)
    except Exception as error:
        raise BuildError(
            f"ExecuTorch cannot lower this model: {error}",
            cause="an operator or type that this version does not lower, or has no kernel for",
            fix="export with --to onnx, or try another ExecuTorch version",
        ) from error


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Without a converter's progress, and its advice about types that we keep and versions that it was tested with."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with (
            interruptible(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


TARGET = ExecuTorch(
    "executorch",
    precisions=("fp32", "fp16", "int8"),
    rates=RATES,
    lacks=LACKS,
    no_native_fft="ExecuTorch 1.5 has no kernel for the FFT of complex numbers",
    stage="executorch",
    stage_words="lower to ExecuTorch",
    packages=(Package("executorch", "the target executorch", INSTALL),),
    needs=("executorch",),
    runs_without_torch=False,
    takes_program=True,
    halves=True,
    fixed_sizes="memory is planned at export, for the largest size",
)
