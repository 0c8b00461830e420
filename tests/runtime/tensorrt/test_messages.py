"""What builders say, translated. The texts are TensorRT-RTX 1.7's own, or as NVIDIA's forums quote TensorRT 10."""

from __future__ import annotations

import pytest

from hamsa_runtime.errors import BuildError, HamsaError, MissingError
from hamsa_runtime.tensorrt.messages import build_error, nodes_in

NODE = "stages.0.blocks.1.hss.sass/node_matmul_3"


@pytest.mark.parametrize(
    ("text", "kind", "cause", "fix"),
    [
        (
            "Error Code 1: Myelin ([tactic.cpp:1676: enumerate_tactics] Tactic Selection: no tactics to implement the "
            "operation within workspace limit. Consider increase the allowed workspace size if applicable.)",
            BuildError,
            "scratch memory is too small",
            "--workspace",
        ),
        (
            "[executionContext.cpp] Error Code 2: OutOfMemory (Requested amount of GPU memory (2147483648 bytes) could "
            "not be allocated.)",
            BuildError,
            "memory is too small",
            "--batch-profile 1,1,1",
        ),
        (
            "Error Code 10: Internal Error (Could not find any implementation for node {ForeignNode[a...b]}.)",
            BuildError,
            "no kernel",
            "newer TensorRT",
        ),
        (
            "MyelinCheckException: graph_jit.cpp:278: CHECK(status == CUDA_SUCCESS) failed.",
            MissingError,
            "needs a GPU to build plans without weights",
            "--strip-weights",
        ),
        (
            "Cuda Runtime (cudaError 35: CUDA driver version is insufficient for CUDA runtime version)",
            MissingError,
            "no NVIDIA GPU",
            "hamsa-build BUNDLE",
        ),
        ("In node 12 (importFallbackPluginImporter): Plugin not found: DFT", BuildError, "11.2", "--fft real"),
        ("Plugin not found, are the plugin name, version, and namespace correct?", BuildError, "operator", "newer"),
        ("Cannot compile operation 'a/b' for Turing (SM75): FP32 GEMM is not supported.", BuildError, "7.5", "--fp16"),
        ("cudnn_impl.cpp:89: CHECK(dtype == myelinTypeFloat) failed.", BuildError, "int8 convolutions", "newer"),
        ("Unable to load library: libnvinfer_lean.so.1", MissingError, "lean runtime", "tensorrt_lean"),
        (
            "The engine cannot run on this GPU, which has compute capability 9.0. TensorRT-RTX does not support this "
            "compute capability, so the engine cannot be rebuilt for it.",
            MissingError,
            "no kernels for this GPU",
            "--to tensorrt for this GPU",
        ),
        (
            "The engine cannot run on this GPU, which has compute capability 8.9. Rebuild the engine for compute "
            "capability 8.9",
            BuildError,
            "another TensorRT or GPU",
            "hamsa-build",
        ),
        ("something new", BuildError, "does not take", "another version"),
        ("", BuildError, "does not take", "another version"),
    ],
)
def test_a_message_becomes_a_cause_and_a_way_out(text: str, kind: type[HamsaError], cause: str, fix: str) -> None:
    error = build_error("tensorrt 10.3.0 failed", [text] if text else [], [], "Simulated (compute capability 8.8)")
    assert type(error) is kind
    assert cause in error.cause
    assert fix in error.fix
    assert (text or "its log is empty") in error.found


@pytest.mark.parametrize(
    "text",
    [
        f"({NODE}: first input has type UInt8 but must have type Float)",
        f"Could not find any implementation for node {{ForeignNode[{NODE}...other/node_add]}}.",
        f"Error Code 9: Skipping tactic 0x0 due to exception [ONNX Layer: {NODE}]",
    ],
)
def test_the_node_and_its_layer_are_named(text: str) -> None:
    error = build_error("it failed", [text], nodes_in([text], {NODE, "stages.0"}))
    assert error.found.startswith("it failed at node node_matmul_3 of the layer stages.0.blocks.1.hss.sass")


def test_a_node_that_the_network_does_not_list_is_taken_from_the_message() -> None:
    assert nodes_in(["something about [ONNX Layer: a/b] and [ONNX Layer: c]"], ()) == ["a/b", "c"]
    assert nodes_in(["nothing about layers"], {"lay"}) == []
