"""The trained hamsa_nano in float16, with weights and inputs that stress it, against itself in float32.

ONNX Runtime on CPUs computes chains of float16 operators in float32, and so would hide an overflow between two of them.
Each float16 value of the graph is therefore looked at as well. Where OpenVINO has float16 instructions, it runs the
same file.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir
import onnxruntime
import openvino
import pytest
import torch

from hamsa_deploy.models import load_model, model_entry
from hamsa_deploy.models.hamsa import HAMSA
from hamsa_deploy.parity.metrics import same_top1, top1_margins
from hamsa_deploy.pipeline import Request, form_of_request
from hamsa_deploy.precision.float16 import float16_from_float32
from hamsa_deploy.precision.observation import observed, values_by_name
from hamsa_deploy.precision.ranges import ranges_of
from hamsa_deploy.samples import digits

SIZE, CHANNELS = 32, 3
CALIBRATION = 64
# The two best logits are rounded to 11 bits each: half a unit in the last place is 2^-11 of a number at most.
TIE = 2 * 2.0**-11

SCALES = (1e-3, 1.0, 1e3)
PARTS = {
    "psi": lambda node, weight: node.op_type == "Mul" and weight.ndim == 2 and weight.shape[1] > 1,
    "linear_in": lambda node, weight: node.metadata_props.get("module", "").endswith("linear_in"),
    "all products": lambda node, weight: node.op_type in ("MatMul", "Conv", "Gemm"),
}


def normalised(pixels: np.ndarray) -> np.ndarray:
    """uint8 (N, H, W, C) -> what the model takes."""
    return ((pixels.astype(np.float32) / 255 - 0.5) / 0.5).transpose(0, 3, 1, 2)


def all_digits() -> np.ndarray:
    grey = digits()[0]
    return normalised(grey.repeat(SIZE // grey.shape[1], axis=1).repeat(SIZE // grey.shape[2], axis=2))


def extremes() -> np.ndarray:
    """Constant images from 0 to 255, and impulses: one bright pixel on black, one dark pixel on white."""
    constant = np.stack([np.full((SIZE, SIZE, CHANNELS), level, np.uint8) for level in (0, 1, 127, 128, 254, 255)])
    impulses = np.zeros((5, SIZE, SIZE, CHANNELS), np.uint8)
    for image, (row, column) in zip(impulses, [(0, 0), (0, 31), (16, 16), (31, 0), (7, 21)], strict=True):
        image[row, column] = 255
    return normalised(np.concatenate([constant, impulses, 255 - impulses]))


DIGITS, EXTREMES = all_digits(), extremes()
EVERYTHING = np.concatenate([scale * images for scale in SCALES for images in (DIGITS, EXTREMES)])


def trained(norm: str) -> HAMSA:
    """hamsa_nano; for the transform that is not normalised with the weights that compute the same.

    U_hat, and Y_hat with it, are sqrt(n) times as large: psi, W_g and W_2 are divided by that.
    """
    model = load_model("hamsa_nano", norm=norm)
    assert isinstance(model, HAMSA)
    model.load_state_dict(load_model("hamsa_nano").state_dict())
    if norm == "backward":
        with torch.no_grad():
            for sass in (block.hss.sass for stage in model.stages for block in stage.blocks):
                for weight in (sass.psi, sass.gate_weight, sass.w2):
                    weight /= len(sass.psi) ** 0.5
    return model.eval()


@pytest.fixture(scope="module", params=["ortho", "backward"])
def file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """hamsa_nano as float32 ONNX."""
    how = model_entry("hamsa_nano").preprocessing
    form = form_of_request(Request(trained(request.param), "onnx", preprocessing=how, input_dtype="float32"))
    path = tmp_path_factory.mktemp("nano") / f"{request.param}.onnx"
    form.write(path)
    return str(path)


def scaled(file: str, part: str, scale: float) -> ir.Model:
    """The model with some weights scaled. K_hat, which the file holds, is linear in psi."""
    model = ir.load(file)
    chosen = {
        value.name: value
        for node in model.graph
        for value in node.inputs
        if value is not None and value.const_value is not None and value.dtype == ir.DataType.FLOAT
        and "matmul" not in str(node.name) and PARTS[part](node, value.const_value.numpy())
    }  # fmt: skip
    assert chosen
    for value in chosen.values():
        assert value.const_value is not None
        value.const_value = ir.tensor(value.const_value.numpy() * np.float32(scale), name=value.name)
    return model


def logits_of(model: ir.Model, images: np.ndarray) -> np.ndarray:
    data = ir.to_proto(model).SerializeToString()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["logits"], {"images": images})[0])


def float16_of(model: ir.Model) -> tuple[ir.Model, dict[str, str]]:
    half = ir.from_proto(ir.to_proto(model))
    ranges = ranges_of(model, ({"images": image[None]} for image in DIGITS[:CALIBRATION]))
    return half, float16_from_float32(half, ranges)


def infinite_values(half: ir.Model, images: np.ndarray) -> Iterator[str]:
    """Names of the float16 values that are not finite somewhere."""
    names = [name for name, value in values_by_name(half.graph).items() if value.dtype == ir.DataType.FLOAT16]
    assert len(names) > 200
    for arrays in observed(half, names, [{"images": images}]):
        yield from (name for name, array in arrays.items() if not np.isfinite(array).all())


def undecided(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    return ~same_top1(found, expected) & (top1_margins(expected) >= TIE)


if __name__ == "__main__":
    import time
    from collections import Counter
    import sys
    from pathlib import Path
    Path("/tmp/fp16x/st").mkdir(exist_ok=True)
    for norm in ("ortho","backward"):
        path=Path(f"/tmp/fp16x/st/{norm}.onnx")
        if not path.exists():
            t=time.time()
            form_of_request(Request(trained(norm), "onnx", preprocessing=model_entry("hamsa_nano").preprocessing, input_dtype="float32")).write(path)
            print("export", time.time()-t)
        for part in PARTS:
            for s in SCALES:
                t=time.time()
                m=scaled(str(path), part, s); t1=time.time(); half,isl=float16_of(m); t2=time.time()
                a=logits_of(half,EVERYTHING); b=logits_of(m,EVERYTHING); t3=time.time()
                inf=list(infinite_values(half,EVERYTHING)); t4=time.time()
                print(norm,part,s,"acc",(b[:360].argmax(1)==digits()[1]).mean() , Counter(r.split(":")[0] for r in isl.values()), "finite",np.isfinite(a).all(), np.isfinite(b).all(),"inf values",inf[:5],len(inf),"differ",(~same_top1(a,b)).sum(),"undecided",undecided(a,b).sum(), np.flatnonzero(undecided(a,b))[:8], top1_margins(b)[undecided(a,b)][:8], "%.1f %.1f %.1f %.1f"%(t1-t,t2-t1,t3-t2,t4-t3))
                ranges_of
                if "-v" in sys.argv: [print("    ",k,v) for k,v in isl.items() if not v.startswith("magn")]
