"""The peer "deit_s": DeiT-S at the image size of the first bundle, on its engine, from the same pixels.

It runs in the precision of the first bundle where that is float32, bfloat16, or float16 on a GPU; beside the others in
float32: random weights are not worth calibrating, and no CPU engine here runs it faster in float16.

Each engine gets the file that it runs fastest; `benchmarks/peers.py` compares the forms, and says why these.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from hamsa_deploy.bench.candidates import Candidate, engine_on, opened_bundle, processor_of
from hamsa_deploy.bench.inputs import graph_inputs
from hamsa_deploy.bench.peers.bundles import write_manifest
from hamsa_deploy.bench.peers.deit import HEADS, PATCH, Attend, deit_s, fused
from hamsa_deploy.bench.peers.from_pixels import FromPixels, Original
from hamsa_deploy.bench.peers.quiet import quietly
from hamsa_deploy.targets import target_of
from hamsa_runtime.backends.quiet import no_usage_reports
from hamsa_runtime.errors import InputError
from hamsa_runtime.manifest import Manifest
from hamsa_runtime.outputs import LOGITS
from hamsa_runtime.vocabulary import IR_FILES, ONNX_FILE

MHA_OPSET = 20  # GELU is one operator from here on


class _Logits(nn.Module):
    """One input, one output, which is what the exporters for vision transformers are given."""

    def __init__(self, model: FromPixels) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return self.model(images)[0]


def deit_peer(first: Manifest, folder: Path, original: Original, device: str | None = None) -> Candidate:
    """Exported for each batch when it is needed; see `peers_of`."""
    size = _size(first)
    precision = _precision(first)
    written = functools.cache(lambda batch: _written(first, size, precision, batch, folder / str(batch)))
    return Candidate(
        "peer deit_s",
        engine_on(target_of(first.target).title, device),
        precision,
        lambda batch, threads: opened_bundle(written(batch), batch, threads, device),
        written,
        device,
        processor_of(first.target, device),
    )


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
        converted.reshape(list(example.shape))  # the program's sizes are fixed, which this front end does not say
        converted.inputs[0].get_tensor().set_names({name})
        converted.outputs[0].get_tensor().set_names({LOGITS})
        openvino.save_model(converted, path, compress_to_fp16=False)


# The engines that have a form of their own which is faster than what an export makes: how attention is written, the
# file, and what writes it.
FORMS: dict[str, tuple[Attend, str, Callable[[nn.Module, Tensor, Path, str], None]]] = {
    "onnx": (multi_head_attention, ONNX_FILE, onnx_file),
    "openvino": (fused, IR_FILES[0], openvino_file),
}


def _precision(first: Manifest) -> str:
    able = ("fp32", "fp16") if target_of(first.target).needs_gpu else ("fp32", "bf16")
    return first.precision if first.precision in able else "fp32"


def _size(first: Manifest) -> int:
    """Side of its images in pixels."""
    how = first.preprocessing
    if how is None or how.channels != 3 or how.size[0] != how.size[1] or how.size[0] % PATCH:
        found = "arrays" if how is None else f"images of {how.size[0]} x {how.size[1]} x {how.channels}"
        raise InputError(
            f"--peer deit_s with {first.name}, a model of {found}",
            expected=f"a first bundle of square RGB images whose side is a multiple of {PATCH}",
            fix="leave --peer deit_s away",
        )
    return how.size[0]


def _written(first: Manifest, size: int, precision: str, batch: int, folder: Path) -> Path:
    """The bundle, in the form that its engine runs fastest."""
    if first.target not in FORMS:
        return _exported(first, size, precision, batch, folder)
    folder.mkdir(parents=True)
    (example,) = (torch.from_numpy(array) for array in graph_inputs(first, batch).values())
    attend, file, write = FORMS[first.target]
    model = _Logits(FromPixels(deit_s(size, attend), first)).eval()
    write(model, example, folder / file, first.inputs[0].name)
    logits = torch.empty(batch, deit_s(size).head.out_features)
    write_manifest(folder, first, "deit_s", model, precision, {LOGITS: logits}, batch)
    return folder


def _exported(first: Manifest, size: int, precision: str, batch: int, folder: Path) -> Path:
    """As this project exports any model, for an engine without a form of its own: TensorRT finds the attention in its
    parts."""
    from hamsa_deploy.models.preprocessing import IMAGENET
    from hamsa_deploy.pipeline.run import export
    from hamsa_deploy.samples import photos

    how = first.preprocessing
    assert how is not None
    normalise = "uint8" if how.normalise == "graph" else "float32"
    bundle = export(
        deit_s(size),
        to=first.target,
        precision=precision,
        name="deit_s",
        preprocessing=IMAGENET.resized_to((size, size)),
        input_dtype=normalise,
        batch=batch,
        data=photos(),
        output=folder,
        require_plan=target_of(first.target).has_builder,
    )
    return bundle.folder
