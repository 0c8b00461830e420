"""ONNX Runtime's WebGPU provider, for real: a plug-in with kernels of its own, on Chromium's Vulkan for processors."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from hamsa_runtime import Engine
from hamsa_runtime.backends.providers import PROVIDERS, problem_of_plugin
from hamsa_runtime.errors import MissingError

from .tiny_bundles import MakeBundle, manifest_for, onnx_model, save_model, write_files

pytest.importorskip("onnxruntime_ep_webgpu", reason="the package onnxruntime-ep-webgpu is not installed")
if not hasattr(onnxruntime.InferenceSession, "get_provider_graph_assignment_info"):
    pytest.skip("this onnxruntime does not tell which node runs where: 1.24 and later do", allow_module_level=True)
CHROMIUM = Path("/usr/lib/chromium")
VULKAN, ADAPTER = CHROMIUM / "libvulkan.so.1", CHROMIUM / "vk_swiftshader_icd.json"


@pytest.fixture(scope="module", autouse=True)
def adapter() -> Iterator[None]:
    if not (VULKAN.is_file() and ADAPTER.is_file()):
        pytest.skip("no software adapter here: chromium brings one")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VK_ICD_FILENAMES", str(ADAPTER))
        patch.setenv("ORT_WEBGPU_EP_ALLOW_SOFTWARE_ADAPTER", "1")
        ctypes.CDLL(str(VULKAN), ctypes.RTLD_GLOBAL)
        # A test that asked for devices before has had it registered where it found none.
        problem_of_plugin.cache_clear()
        with contextlib.suppress(Exception):
            onnxruntime.unregister_execution_provider_library(PROVIDERS["WEBGPU"].name)
        yield


def test_it_computes_the_same_with_every_node_on_it(make_bundle: MakeBundle, pixels: np.ndarray) -> None:
    folder = make_bundle("onnx")
    with Engine(folder) as engine, Engine(folder, device="webgpu") as other:
        expected, facts = engine(pixels), other.describe()
        for name, array in other(pixels).items():
            np.testing.assert_allclose(array, expected[name], rtol=1e-5, atol=1e-5)  # float32, sums of 96 positions
    assert facts["device"] == "WEBGPU"
    assert facts["nodes"].endswith(" WEBGPU")
    assert "," not in facts["nodes"]


def bundle_of(nodes: list[Any], shape: list[int | str], out: list[int | str], folder: Path, **constants: Any) -> Path:
    """x to y, float32."""
    ports = [("x", TensorProto.FLOAT, shape)], [("y", TensorProto.FLOAT, out)]
    save_model(onnx_model(nodes, *ports, constants), folder, "onnx")
    manifest = manifest_for(target="onnx", preprocessing=None, labels=None) | {
        "inputs": [{"name": "x", "dtype": "float32", "shape": shape, "layout": None}],
        "outputs": [{"name": "y", "dtype": "float32", "shape": out}],
    }
    return write_files(folder, manifest)


def test_a_node_that_it_has_no_kernel_for_is_named_and_may_run_elsewhere_if_that_is_asked_for(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Mul", ["x", "x"], ["squares"], "head/mul"),
        helper.make_node("Det", ["squares"], ["y"], "head/det"),
    ]
    folder = bundle_of(nodes, ["batch", 2, 2], ["batch"], tmp_path / "b")
    with pytest.raises(MissingError) as caught:
        Engine(folder, device="WEBGPU")
    assert caught.value.found == "1 of 2 nodes would run on CPU, not on WEBGPU: Det head/det"
    with Engine(folder, device="HETERO:WEBGPU,CPU") as engine:
        x = np.array([[[1, 2], [3, 4]]], np.float32)
        np.testing.assert_allclose(engine(x)["y"], [16 - 36], rtol=1e-6)
        assert engine.describe()["nodes"] == "1 WEBGPU, 1 CPU"


def test_sizes_that_it_leaves_to_the_cpu_on_purpose_do_not_count(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"], "shape"),
        helper.make_node("Gather", ["shape", "zero"], ["size"], "size"),
        helper.make_node("Concat", ["size", "rest"], ["target"], "target", axis=0),
        helper.make_node("Mul", ["x", "x"], ["squares"], "squares"),
        helper.make_node("Reshape", ["squares", "target"], ["y"], "flat"),
    ]
    constants = {"zero": np.array([0]), "rest": np.array([-1])}
    folder = bundle_of(nodes, ["batch", 2, 3], ["batch", 6], tmp_path / "b", **constants)
    x = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    with Engine(folder, device="WEBGPU") as engine:
        np.testing.assert_array_equal(engine(x)["y"], (x * x).reshape(2, 6))
        assert engine.describe()["nodes"] == "3 WEBGPU, 2 CPU"
