"""DeiT-S as the file that each engine runs fastest; `benchmarks/peers.py` compares the forms, and says why these."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from hamsa_deploy.bench.peers.deit import HEADS, Attend, fused
from hamsa_deploy.bench.peers.quiet import quietly
from hamsa_runtime.backends.quiet import no_usage_reports
from hamsa_runtime.outputs import LOGITS
from hamsa_runtime.vocabulary import IR_FILES, ONNX_FILE

MHA_OPSET = 20  # GELU is one operator from here on


def multi_head_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """ONNX Runtime's own operator, as DeiT-S's `attend`; it has no meaning outside an export."""
    return torch.onnx.ops.symbolic(
        "com.microsoft::MultiHeadAttention", (q, k, v), {"num_heads": HEADS}, dtype=q.dtype, shape=q.shape, version=1
    )


def onnx_file(model: nn.Module, example: Tensor, path: Path, name: str = "images", opset: int = MHA_OPSET) -> None:
    """What torch.onnx.export makes of a model of images; the input gets a name, the output is LOGITS; shapes fixed."""
    with quietly():
        torch.onnx.export(
            model, (example,), path, dynamo=True, opset_version=opset, verbose=False, external_data=False,
            input_names=[name], output_names=[LOGITS],
        )  # fmt: skip


def openvino_file(model: nn.Module, example: Tensor, path: Path, name: str = "images") -> None:
    """IR from OpenVINO's own PyTorch front end; the input gets a name, the output is LOGITS; weights stay float32."""
    with no_usage_reports():
        import openvino
    with quietly():
        program = torch.export.export(model, (example,))
        converted = openvino.convert_model(program)
        converted.inputs[0].get_tensor().set_names({name})
        converted.outputs[0].get_tensor().set_names({LOGITS})
        openvino.save_model(converted, path, compress_to_fp16=False)


# The engines that have a form of their own which is faster than what an export makes: how attention is written, the
# file, and what writes it.
FORMS: dict[str, tuple[Attend, str, Callable[[nn.Module, Tensor, Path, str], None]]] = {
    "onnx": (multi_head_attention, ONNX_FILE, onnx_file),
    "openvino": (fused, IR_FILES[0], openvino_file),
}
