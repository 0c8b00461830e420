"""Typed ONNX to plan: what every model becomes, built for real by TensorRT-RTX, and what a machine without it gets."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from hamsa_deploy.form.from_request import real_model_of_request
from hamsa_deploy.form.request import Request
from hamsa_deploy.models import load_model, model_entry
from hamsa_deploy.pipeline.checks import check_request
from hamsa_deploy.pipeline.run import stages_of
from hamsa_deploy.precision.float16.from_float32 import float16_from_float32
from hamsa_deploy.precision.int8.int8_sites import sites_of
from hamsa_deploy.precision.int8.qdq import int8_float16_from_float32
from hamsa_deploy.precision.observers import RANGES, float32_values
from hamsa_deploy.targets import onnx_file, tensorrt_plan
from hamsa_runtime.errors import InputError, MissingError
from hamsa_runtime.tensorrt.building import Built, plan_from_onnx
from hamsa_runtime.tensorrt.gpu import has_gpu
from hamsa_runtime.tensorrt.modules import load
from hamsa_runtime.tensorrt.options import BuildOptions
from tests.shared import Once

# Operators of ONNX that TensorRT 10.1 lists as supported (github.com/onnx/onnx-tensorrt, docs/operators.md), out of
# those that the exporter may write. 10.3, on JetPack 6, is the oldest version that bundles are for.
SUPPORTED = set(
    "Add AveragePool BatchNormalization Cast Clip Concat Conv DequantizeLinear Div Einsum Exp Expand Flatten Gather "
    "Gelu Gemm GlobalAveragePool LayerNormalization MatMul Mul Neg Pad Pow QuantizeLinear ReduceMean "
    "ReduceSum Relu Reshape Sigmoid Slice Softmax Split Sqrt Squeeze Sub Tanh Tile Transpose Unsqueeze Where".split()
)
SMALL, LARGE = ("hamsa_nano",), ("vminet_ti", "hamsa_tiny", "hamsa_s", "hamsa_b")


@dataclass(frozen=True)
class Exported:
    """A model in float32, and what it computes on random pixels."""

    name: str
    model: ir.Model
    pixels: np.ndarray
    expected: np.ndarray

    def typed(self, precision: str) -> ir.Model:
        model = ir.from_proto(ir.to_proto(self.model))
        ranges = RANGES.watch(model, float32_values(model), [{"images": self.pixels}])
        if precision == "fp16":
            float16_from_float32(model, ranges)
        elif precision == "int8":
            sites = sites_of(model.graph, "tensorrt")
            thresholds = {site.activation: ranges[site.activation] for site in sites}
            int8_float16_from_float32(model, thresholds, sites, ranges)
        return model


def exported(name: str, batch: int | None, once: Once) -> Exported:
    how = model_entry(name).preprocessing
    assert how is not None
    request = Request(load_model(name), to="tensorrt", preprocessing=how, batch=batch)

    def make(folder: Path) -> None:
        folder.mkdir()
        real_model_of_request(request).write(folder / "model.onnx")

    model = ir.load(once(f"for-a-plan-{name}-{batch}", make) / "model.onnx")
    pixels = np.random.default_rng(0).integers(0, 256, (batch or 2, *how.size, how.channels), np.uint8)
    return Exported(name, model, pixels, logits_of(model, pixels))


def logits_of(model: ir.Model, pixels: np.ndarray) -> np.ndarray:
    data = ir.to_proto(model).SerializeToString()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return session.run(["logits"], {"images": pixels})[0]


def models(names: tuple[str, ...]) -> list[Any]:
    """Each statically and dynamically."""
    return [pytest.param((name, batch), id=f"{name}-{batch or 'any'}") for name in names for batch in (1, None)]


@pytest.fixture(
    scope="module",
    params=[*models(SMALL), *(pytest.param(p.values[0], id=p.id, marks=pytest.mark.slow) for p in models(LARGE))],
)
def each(request: pytest.FixtureRequest, once: Once) -> Exported:
    name, batch = request.param
    return exported(name, batch, once)


# Of the largest logit: what 11 and 8 bits leave of one image; a wrong type or place differs by far more.
LIMITS = {"fp32": 1e-6, "fp16": 2e-2, "int8": 0.3}


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_every_model_is_read_and_built_in_every_precision(each: Exported, precision: str, tmp_path: Path) -> None:
    model = each.typed(precision)
    path = tmp_path / "model.onnx"
    onnx_file.save(model, path)
    assert {node.op_type for node in model.graph} <= SUPPORTED
    assert {node.domain for node in model.graph} <= {"", "ai.onnx"}
    assert {each.version for each in onnx.load(path).opset_import} == {20}
    built = plan_from_onnx(load("tensorrt-rtx"), path, BuildOptions())
    assert _types_fit(built, precision), (built.asked, built.achieved)
    found = logits_of(model, each.pixels)
    assert np.abs(found - each.expected).max() <= LIMITS[precision] * np.abs(each.expected).max()


def _types_fit(built: Built, precision: str) -> bool:
    """Float32 only where it was asked for, or a magnitude wants it; int8 in every product with weights."""
    assert built.achieved is not None
    # Behind an int8 convolution RTX goes on in float32 as far as the next layer, which the reshape begins.
    behind = "Reshape" if precision == "int8" else "nothing"
    assert [node for node in built.achieved.fell_back if behind not in node] == []
    asked, layers = built.asked, built.achieved.layers
    if precision == "fp32":
        return set(asked) == {"f32"} and set(layers) <= {"f32", "u8"}
    mostly = asked["f16"] > 8 * asked.get("f32", 0)
    return mostly and all((counts.get("i8", 0) > 10) == (precision == "int8") for counts in (asked, layers))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, once: Once) -> Path:
    path = tmp_path_factory.mktemp("bundle")
    onnx_file.save(exported("hamsa_nano", 1, once).model, path / "model.onnx")
    return path


def test_without_the_package_there_is_a_reason_and_no_plan(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(MissingError, match="the package tensorrt cannot be imported") as caught:
        tensorrt_plan.write_plan("tensorrt", folder, BuildOptions())
    assert not (folder / "model.plan").exists()
    without = tensorrt_plan.without_plan(caught.value)
    assert without.missing == caught.value.found


@pytest.mark.skipif(has_gpu(), reason="a GPU is here")
def test_without_a_gpu_there_is_a_reason_and_no_plan(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Tensorrt:
        __name__, __version__ = "tensorrt", "10.3.0"

    monkeypatch.setattr(tensorrt_plan, "load", lambda target: Tensorrt())
    with pytest.raises(MissingError):
        tensorrt_plan.write_plan("tensorrt", folder, BuildOptions())
    assert not (folder / "model.plan").exists()


def test_rtx_builds_here_for_no_gpu_in_particular(folder: Path) -> None:
    found = tensorrt_plan.write_plan("tensorrt-rtx", folder, BuildOptions())
    assert found.missing == ""
    assert (found.module, found.gpu, found.compute_capability) == ("tensorrt_rtx", None, None)
    assert (folder / "model.plan").stat().st_size > 10**6
    assert found.achieved is not None
    assert found.achieved.fell_back == ()


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"to": "onnx", "builder": BuildOptions()}, InputError, "TensorRT's builder for the target onnx"),
        ({"to": "openvino", "require_plan": True}, InputError, "TensorRT's builder for the target openvino"),
        ({"builder": BuildOptions(max_batch=0)}, InputError, "batch profile 1, 1, 0"),
        ({"precision": "bf16"}, InputError, "precision bf16 for tensorrt"),
        ({"batch": 2, "builder": BuildOptions(max_batch=4)}, InputError, "a batch of 2 with the batch profile 1, 1, 4"),
        ({"tune": True}, MissingError, "no GPU to measure plans on"),
    ],
)
def test_a_request_that_cannot_be_met_is_refused_at_once(
    changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    if changes.get("tune") and has_gpu():
        pytest.skip("a GPU is here")
    how = model_entry("hamsa_nano").preprocessing
    with pytest.raises(error, match=message):
        check_request(replace(Request(load_model("hamsa_nano"), to="tensorrt", preprocessing=how), **changes))


def test_the_plan_is_a_stage_of_its_own() -> None:
    assert stages_of("tensorrt", "fp16") == ["real form", "onnx", "float16", "plan", "parity", "pack"]
    assert stages_of("tensorrt-rtx", "int8", search=True)[2:6] == ["calibrate", "search", "int8", "plan"]
