"""What a plan is made of: its layers, the types of number that go in and out of each, and the ONNX nodes behind it.

TensorRT writes them as text, in JSON (the engine inspector) or line by line (the inspector, and the builder's verbose
log, which is how TensorRT-RTX tells without a GPU). The types of a tensor stand, depending on version and layer, as

    "Format/Datatype": "Half"                                  10.x, compiled layers
    "Format/Datatype": "Row major linear FP16 format"          10.x, layers from the kernel library
    "Format/Datatype": "N/A due to dynamic shapes"             10.x, where no shape is set
    "Datatype": "Half", "Format": "(NHWC) Channel major format"    11.x and TensorRT-RTX

A plan without `ProfilingVerbosity.DETAILED` has names only. What happens inside of a fused layer is not told.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hamsa_runtime.errors import BuildError

# TensorRT's words for types -> those of `hamsa_runtime.backends.Operator`
TYPES = {
    "double": "f64",
    "float": "f32",
    "fp32": "f32",
    "tf32": "f32",
    "half": "f16",
    "fp16": "f16",
    "bfloat16": "bf16",
    "bf16": "bf16",
    "fp8": "f8",
    "int8": "i8",
    "uint8": "u8",
    "int4": "i4",
    "int32": "i32",
    "int64": "i64",
    "bool": "bool",
}
UNKNOWN = "unknown"
# How wide the types are that values of a model have; others count, index and select.
BITS = {"f64": 64, "f32": 32, "f16": 16, "bf16": 16, "f8": 8, "i8": 8, "u8": 8, "i4": 4}
# Layers that order the work and hold values, and compute nothing.
BOOKKEEPING = {"signal", "wait", "constant", "shape_call", "noop", "train_station"}

# Some versions put control characters between nodes, some nothing, some a plus sign.
NODE = re.compile(r"\[ONNX Layer: ([^\]]+)\]")
# What a line about a layer is made of; none of these words stands inside of a part.
PART = re.compile(r", (?=(?:LayerType|Inputs|Constants|Outputs|TacticName|StreamId|Metadata): )")
TENSOR = re.compile(r"Dimensions: \[(?P<dimensions>[^\]]*)\].*?(?:Format/)?Datatype: (?P<type>[^,}]*)")


@dataclass(frozen=True)
class Layer:
    """One layer of a plan.

    Attributes:
        name: TensorRT's own.
        kind: such as "gemm", "kgen" (compiled), "CaskGemmConvolution" or "Reformat"; "" if only names are known.
        inputs, outputs, constants: types of the tensors: "f32", "f16", "i8", ...; "unknown" where TensorRT does not
            say. Constants of one element, which scale products, are left out.
        nodes: of the ONNX file that it does the work of.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    constants: tuple[str, ...]
    nodes: tuple[str, ...]

    @property
    def precision(self) -> str:
        """The type that it computes with: of the first input that is a value, or else of a constant or an output."""
        types = [kind for kind in (*self.inputs, *self.constants, *self.outputs) if kind in BITS]
        return types[0] if types else (*self.inputs, *self.outputs, UNKNOWN)[0]


def layers_of(information: str) -> list[Layer]:
    """The layers that compute, in order.

    Args:
        information: what the engine inspector writes about an engine, as JSON or line by line.

    Raises:
        BuildError: it is neither.
    """
    if information.lstrip().startswith("{"):
        layers = [_layer_from_json(each) for each in _parsed(information)]
    else:
        layers = [_layer_from_line(line) for line in information.split("\n") if ", LayerType: " in line]
    if not layers:
        raise _not_understood(information)
    return [layer for layer in layers if layer.kind.lower() not in BOOKKEEPING]


def counts(layers: Iterable[Layer]) -> dict[str, int]:
    """How many layers compute in which type, the most frequent first."""
    return dict(Counter(layer.precision for layer in layers).most_common())


def fused(layers: Iterable[Layer]) -> list[Layer]:
    """The layers that do the work of several ONNX nodes."""
    return [layer for layer in layers if len(layer.nodes) > 1]


def _parsed(information: str) -> list[Any]:
    try:
        layers = json.loads(information, strict=False)["Layers"]  # control characters stand in Metadata
    except (ValueError, KeyError) as error:
        raise _not_understood(information) from error
    if not isinstance(layers, list):
        raise _not_understood(information)
    return layers


def _not_understood(information: str) -> BuildError:
    return BuildError(
        f"the engine inspector's text has no list of layers: {information.strip()[:200]!r}",
        expected='{"Layers": [...]}',
        cause="a plan without layer information, or another format",
        fix="hamsa-build --rebuild BUNDLE",
    )


def _layer_from_json(entry: str | Mapping[str, Any]) -> Layer:
    if isinstance(entry, str):
        return Layer(entry, "", (), (), (), _nodes(entry))
    sides = [tuple(map(_type_of, entry.get(key) or ())) for key in ("Inputs", "Outputs")]
    constants = [_type_of(each) for each in entry.get("Constants") or () if math.prod(each.get("Dimensions", ())) != 1]
    weights = entry.get("Weights")
    if isinstance(weights, Mapping):  # of kernels from the library
        constants.append(_type(str(weights.get("Type", ""))))
    name, metadata = str(entry.get("Name", "")), str(entry.get("Metadata") or "")
    return Layer(name, str(entry.get("LayerType", "")), sides[0], sides[1], tuple(constants), _nodes(metadata))


def _type_of(tensor: Mapping[str, Any]) -> str:
    for key in ("Format/Datatype", "Datatype", "DataType"):
        if key in tensor:
            return _type(str(tensor[key]))
    return UNKNOWN


def _layer_from_line(line: str) -> Layer:
    parts = dict(part.split(":", 1) for part in PART.split(line))
    inputs, constants, outputs = (
        [(each["dimensions"], _type(each["type"])) for each in TENSOR.finditer(parts.get(side, ""))]
        for side in ("Inputs", "Constants", "Outputs")
    )
    return Layer(
        parts["Name"].strip(),
        parts["LayerType"].strip(),
        tuple(kind for _, kind in inputs),
        tuple(kind for _, kind in outputs),
        tuple(kind for dimensions, kind in constants if set(dimensions.split(",")) != {"1"}),
        _nodes(parts.get("Metadata", "")),
    )


def _type(words: str) -> str:
    """'f16' for 'Half' and for 'Channel major FP16 format where channel % 8 == 0'."""
    return next((TYPES[word] for word in re.findall(r"\w+", words.lower()) if word in TYPES), UNKNOWN)


def _nodes(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(NODE.findall(text)))
