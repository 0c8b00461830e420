"""What TensorRT's parser and builder say when they fail, in words that help: which node, which layer, what to try.

Nodes of a bundle's ONNX file are called `module/node`, with the module's path in the user's model.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import NamedTuple

from hamsa_runtime.errors import BuildError, HamsaError, MissingError

MOST_LINES = 12
MOST_NODES = 4


class Advice(NamedTuple):
    """The likely cause of a message, and the way out."""

    pattern: str
    cause: str
    fix: str
    error: type[HamsaError] = BuildError


# The first that is found counts: special ones first.
ADVICE = (
    Advice(
        r"libnvinfer_lean",
        "a version-compatible plan needs TensorRT's lean runtime",
        "install it (pip install tensorrt_lean), or build without --version-compatible",
        MissingError,
    ),
    Advice(
        r"within workspace limit|[Ii]nsufficient workspace|exceeds? .*workspace",
        "the builder's scratch memory is too small for a layer",
        "a larger --workspace, or none",
    ),
    Advice(
        r"out of memory|OutOfMemory|cudaErrorMemoryAllocation|cudaError 2\b|failed to allocate",
        "the workspace or the GPU's memory is too small; a Jetson shares its memory with the CPU",
        "a larger --workspace where one was set; close other programs; a smaller largest batch (--batch-profile 1,1,1)",
    ),
    Advice(
        r"\bDFT\b|FFTPlugin",
        "TensorRT has the operator DFT from 11.2 on, and TensorRT-RTX not at all",
        "export with --fft real, the default",
    ),
    Advice(
        r"Plugin not found|No importer registered|[Uu]nsupported operator",
        "an operator that this version does not know",
        "a newer TensorRT; hamsa-export --to onnx shows the file's operators",
    ),
    Advice(
        r"UInt8 but must have|UINT8",
        "TensorRT takes uint8 only into a conversion right behind an input",
        "convert to float before anything else, or export with --image-dtype float32",
    ),
    Advice(
        r"only allowed before DQ",
        "QuantizeLinear and DequantizeLinear stand where TensorRT has no int8",
        "export with hamsa-export --to tensorrt --int8, which places them as TensorRT wants",
    ),
    Advice(
        r"cudnn_impl\.cpp.*dtype",
        "TensorRT-RTX has int8 convolutions from 1.7 on",
        "a newer tensorrt-rtx, or --fp16",
    ),
    Advice(
        r"Turing \(SM75\)",
        "TensorRT-RTX has no such kernel for Turing GPUs, of compute capability 7.5",
        "--fp16, or leave --compute-capability 7.5 away",
    ),
    Advice(
        r"graph_jit\.cpp.*CUDA_SUCCESS",
        "TensorRT-RTX needs a GPU to build plans without weights, or with weights to be replaced",
        "build where a GPU is (hamsa-build BUNDLE), or leave --refit and --strip-weights away",
        MissingError,
    ),
    Advice(
        r"cudaError (35|100|101|999)|CUDA driver version is insufficient|no CUDA-capable device|CUDA initialization",
        "no NVIDIA GPU with a driver that fits",
        "build on the device: hamsa-build BUNDLE",
        MissingError,
    ),
    Advice(
        r"Could not find any implementation",
        "no kernel for these layers in their types and shapes on this GPU",
        "a larger --workspace, a newer TensorRT, or another precision",
    ),
    Advice(
        r"has type .* but must have type|must have the same type|incompatible types",
        "types that do not fit together in the ONNX file",
        "export again with this version of hamsa-deploy; if it stays, it is a bug",
    ),
    Advice(
        r"[Oo]pset|IR version|ir_version",
        "the ONNX file is of a version that this TensorRT does not read",
        "TensorRT 10.3 or newer, which reads opset 20",
    ),
    Advice(
        r"does not support this compute capability|current SM version is not supported|Unsupported sm version",
        "this TensorRT has no kernels for this GPU, whoever builds the plan; TensorRT-RTX is for GPUs of PCs",
        "export with --to tensorrt for this GPU; or another GPU",
        MissingError,
    ),
    Advice(
        r"serialization version|[Vv]ersion tag does not match|different version|platform tag|compute capability",
        "a plan that another TensorRT or GPU has built",
        "hamsa-build BUNDLE on this device",
    ),
)
ANYTHING_ELSE = Advice("", "an operator, type or shape that this version does not take", "another version of TensorRT")


def build_error(what: str, lines: Sequence[str], nodes: Collection[str], gpu: str = "") -> HamsaError:
    """The error for a parser, builder or plan that failed.

    Args:
        what: what was tried, with the name of the module and its version.
        lines: what it said.
        nodes: of the ONNX file, where it failed.
        gpu: on which, where there is one; its name and compute capability are no part of the cause.
    """
    text = "\n".join([what, *lines])
    advice = next((each for each in ADVICE if re.search(each.pattern, text)), ANYTHING_ELSE)
    where = (f" on {gpu}" if gpu else "") + (f" at {', '.join(map(_described, nodes))}" if nodes else "")
    said = "\n".join(line.strip() for line in lines[-MOST_LINES:]) or "nothing: its log is empty"
    return advice.error(f"{what}{where}. It said:\n{said}", cause=advice.cause, fix=advice.fix)


def nodes_in(lines: Sequence[str], names: Collection[str]) -> list[str]:
    """Which of the nodes of a network some messages name, at most a few.

    Where they name none that is known, what stands as a node's name in them counts.
    """
    text = "\n".join(lines)
    words = set(re.findall(r"[^\s()\[\]{},;:'\"]+", text.replace("...", " ")))
    found = [name for name in names if name in words]
    if not found:
        found = list(dict.fromkeys(re.findall(r"\[ONNX Layer: ([^\]]+)\]", text)))
    return found[:MOST_NODES]


def _described(node: str) -> str:
    module, _, name = node.rpartition("/")
    return f"node {name} of the layer {module}" if module else f"node {name}"
