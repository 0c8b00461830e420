"""The target executorch: a program of ExecuTorch, model.pte.

XNNPACK is given all that it takes, ExecuTorch's portable kernels do the rest. Memory is planned at export, for the
largest size that there may be: batches that vary go up to LARGEST_BATCH, and larger ones are cut by the runtime.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hamsa_deploy.targets.here import Package
from hamsa_deploy.targets.record import Order, Target
from hamsa_runtime.dft.costs import CPU
from hamsa_runtime.errors import BuildError, MissingError
from hamsa_runtime.manifest import BATCH, InputSpec
from hamsa_runtime.vocabulary import PTE_FILE

if TYPE_CHECKING:
    from torch.export import ExportedProgram

LARGEST_BATCH = 8  # as that of TensorRT's profile
# Not fitted: ONNX Runtime's. Loops are operators of ours, for which ExecuTorch has no kernels: they must never be the
# cheapest, and scans are trees of any size.
RATES = replace(CPU, trips=1e12, largest_tree=1e12)
INSTALL = "pip install 'hamsa-deploy[executorch]'"
# Tried with 1.5.1 on 120 digits, two cores of a busy EPYC: good enough by parity's limits, and slower than float32.
NOT_YET = {
    "fp16": "XNNPACK is given float32 programs only so far: hamsa_nano halved keeps 68.6 dB of its logits, and takes "
    "4.3 ms in place of 0.4 on a server's processor, where norms and GELU are left to portable kernels",
    "bf16": "XNNPACK is given float32 programs only so far",
    "int8": "XNNPACK is given float32 programs only so far: hamsa_nano with linear layers in int8, by XNNPACK's own "
    "quantiser, keeps 38.4 dB of its logits, and takes 0.64 ms in place of 0.41 on a server's processor",
}


@dataclass(frozen=True)
class ExecuTorch(Target):
    """See `Target`."""

    def write(self, folder: Path, order: Order) -> None:
        """Lower the program."""
        assert order.program is not None
        _limit_batch(order.program, order.inputs)
        (folder / PTE_FILE).write_bytes(_lowered(order.program))


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


def _lowered(program: ExportedProgram) -> bytes:
    """The file's content."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
            from executorch.exir import EdgeCompileConfig, to_edge_transform_and_lower
    except ImportError as error:
        raise MissingError(f"the package executorch cannot be imported: {error}", fix=INSTALL) from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
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


TARGET = ExecuTorch(
    "executorch",
    precisions=("fp32",),
    rates=RATES,
    lacks=NOT_YET,
    no_native_fft="ExecuTorch 1.5 has no kernel for the FFT of complex numbers",
    stage="executorch",
    stage_words="lower to ExecuTorch",
    packages=(Package("executorch", "the target executorch", INSTALL),),
    needs=("executorch",),
    runs_without_torch=False,
    takes_program=True,
    fixed_sizes="memory is planned at export, for the largest size",
)
