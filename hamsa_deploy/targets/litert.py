"""The target litert: a LiteRT model, model.tflite, for Android, iOS and boards; TensorFlow Lite by its older name.

litert-torch traces the program once more, for one input at a time: what it lowers a batch of any size to is refused by
its own layer norm. The runtime cuts larger batches.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hamsa_deploy.targets.executorch import RATES, quietly
from hamsa_deploy.targets.here import Package
from hamsa_deploy.targets.record import Order, Target
from hamsa_runtime.errors import BuildError, MissingError
from hamsa_runtime.port_names import as_identifiers
from hamsa_runtime.vocabulary import TFLITE_FILE

if TYPE_CHECKING:
    import torch
    from torch import nn

INSTALL = "pip install 'hamsa-deploy[litert]'"
# What int8 is of: operators that multiply by weights. Ranges of activations are taken at run time. On a dozen
# photographs and 120 digits, with ai-edge-quantizer 0.10 and LiteRT 2.3: with ranges that are measured before, its
# quantiser treats transforms as layers, and hamsa_nano's logits keep a cosine of 0.966 at most; so they keep 46.7 dB.
PRODUCTS = ("FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D")
BITS = 8


@dataclass(frozen=True)
class LiteRt(Target):
    """See `Target`."""

    def write(self, folder: Path, order: Order) -> None:
        """Convert the program; its weights to float16 or int8 afterwards, if asked for."""
        model = _converted(order)
        (folder / TFLITE_FILE).write_bytes(model if order.precision == "fp32" else _quantised(model, order.precision))


def _converted(order: Order) -> bytes:
    """The file's content, in float32."""
    try:
        with quietly():
            import litert_torch
    except ImportError as error:
        raise MissingError(f"the package litert-torch cannot be imported: {error}", fix=INSTALL) from error
    module, examples = one_at_a_time(order)
    try:
        with quietly():
            # 64 bits stay 64 bits: the manifest says so of whole numbers.
            found = litert_torch.convert(module, sample_kwargs=examples, enable_x64=True).model_content()
    except Exception as error:
        raise BuildError(
            f"LiteRT cannot convert this model: {error}",
            cause="an operator or type that this version of litert-torch does not lower",
            fix="export with --to onnx, or try another version of litert-torch",
        ) from error
    return bytes(found)


def _quantised(model: bytes, precision: str) -> bytes:
    """The same in a lower precision, by LiteRT's own quantiser.

    In float16 its weights are that: XNNPACK makes them float32 again when it loads them, but on processors that compute
    in float16. In int8 the weights of products are that, and their inputs become so when they run, each with the range
    that it has then.
    """
    try:
        with quietly():
            from ai_edge_quantizer import qtyping, quantizer
            from ai_edge_quantizer.algorithm_manager import AlgorithmName
    except ImportError as error:
        raise MissingError(f"the package ai-edge-quantizer cannot be imported: {error}", fix=INSTALL) from error
    weights = qtyping.TensorQuantizationConfig(num_bits=16, dtype=qtyping.TensorDataType.FLOAT)
    how = qtyping.OpQuantizationConfig(
        weight_tensor_config=weights, compute_precision=qtyping.ComputePrecision.FLOAT, explicit_dequantize=True
    )
    names = qtyping.TFLOperationName
    try:
        with quietly():
            changing = quantizer.Quantizer(bytearray(model))
            if precision == "fp16":
                changing.update_quantization_recipe(".*", names.ALL_SUPPORTED, how, AlgorithmName.FLOAT_CASTING)
            for name in PRODUCTS if precision == "int8" else ():
                changing.add_dynamic_config(regex=".*", operation_name=names[name], num_bits=BITS)
            found = changing.quantize(enable_progress_bar=False, enable_progress_report=False).quantized_model
    except Exception as error:
        raise BuildError(
            f"LiteRT's quantiser cannot make the weights {precision}: {error}", fix="--fp32, or another version of it"
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


TARGET = LiteRt(
    "litert",
    precisions=("fp32", "fp16", "int8"),
    rates=RATES,  # not fitted, and the same: loops of scans are operators of ours there as well
    lacks={"bf16": "LiteRT has no bfloat16 on processors"},
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
