"""The target litert: a LiteRT model, model.tflite, for Android, iOS and boards; TensorFlow Lite by its older name.

litert-torch traces the program once more, for one input at a time: what it lowers a batch of any size to is refused by
its own layer norm. The runtime cuts larger batches.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hamsa_deploy.targets.executorch import RATES
from hamsa_deploy.targets.here import Package
from hamsa_deploy.targets.record import Order, Target
from hamsa_runtime.errors import BuildError, MissingError
from hamsa_runtime.interrupts import interruptible
from hamsa_runtime.port_names import as_identifiers
from hamsa_runtime.vocabulary import TFLITE_FILE

if TYPE_CHECKING:
    import torch
    from torch import nn

INSTALL = "pip install 'hamsa-deploy[litert]'"
ONLY_FLOAT32 = "LiteRT is given float32 programs only so far"


@dataclass(frozen=True)
class LiteRt(Target):
    """See `Target`."""

    def write(self, folder: Path, order: Order) -> None:
        """Convert the program."""
        (folder / TFLITE_FILE).write_bytes(_converted(order))


def _converted(order: Order) -> bytes:
    """The file's content, in float32."""
    try:
        with _quietly():
            import litert_torch
    except ImportError as error:
        raise MissingError(f"the package litert-torch cannot be imported: {error}", fix=INSTALL) from error
    module, examples = one_at_a_time(order)
    try:
        with _quietly():
            # 64 bits stay 64 bits: the manifest says so of whole numbers.
            found = litert_torch.convert(module, sample_kwargs=examples, enable_x64=True).model_content()
    except Exception as error:
        raise BuildError(
            f"LiteRT cannot convert this model: {error}",
            cause="an operator or type that this version of litert-torch does not lower",
            fix="export with --to onnx, or try another version of litert-torch",
        ) from error
    return bytes(found)


def one_at_a_time(order: Order) -> tuple[nn.Module, dict[str, torch.Tensor]]:
    """The program as a module that takes and gives tensors by the graph's names, as far as they are identifiers; and
    zeros for it, of a batch of one where the batch varies."""
    import torch
    from torch import nn
    from torch.utils import _pytree as pytree

    assert order.program is not None
    names = list(as_identifiers([spec.name for spec in order.inputs]).values())
    outputs = list(as_identifiers([spec.name for spec in order.outputs]).values())

    class Named(nn.Module):
        """The program's inputs by name, one tensor each."""

        def __init__(self, program: nn.Module) -> None:
            super().__init__()
            self.program = program
            self.training = False  # a program's own module has no such mode

        def forward(self, **inputs: torch.Tensor) -> dict[str, torch.Tensor]:
            given = pytree.tree_leaves(self.program(*(inputs[name] for name in names)))
            return dict(zip(outputs, given, strict=True))

    shapes = [[size if isinstance(size, int) else 1 for size in spec.shape] for spec in order.inputs]
    zeros = [
        torch.zeros(shape, dtype=getattr(torch, spec.dtype)) for shape, spec in zip(shapes, order.inputs, strict=True)
    ]
    program = order.program.module(check_guards=False)
    assert isinstance(program, torch.fx.GraphModule)
    for node in program.graph.find_nodes(op="call_function", target=torch.ops.aten._assert_tensor_metadata.default):
        program.graph.erase_node(node)  # what is traced has the types that the caller gives it
    program.recompile()
    return Named(program), dict(zip(names, zeros, strict=True))


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without its progress, on standard output, and its advice about types that we keep."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with interruptible(), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


TARGET = LiteRt(
    "litert",
    precisions=("fp32",),
    rates=RATES,  # not fitted, and the same: loops of scans are operators of ours there as well
    lacks={"fp16": ONLY_FLOAT32, "bf16": "LiteRT has no bfloat16 on processors", "int8": ONLY_FLOAT32},
    no_native_fft="LiteRT has no kernel for the FFT of complex numbers that XNNPACK runs",
    stage="litert",
    stage_words="convert to LiteRT",
    packages=(
        Package("ai_edge_litert", "the target litert", INSTALL, distribution="ai-edge-litert"),
        Package("litert_torch", "exports for the target litert", INSTALL, distribution="litert-torch"),
    ),
    needs=("ai_edge_litert", "litert_torch"),
    takes_program=True,
    fixed_sizes="litert-torch lowers programs of fixed sizes, and a batch is cut",
)
