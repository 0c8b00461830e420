"""Which layer of the user's model computes in which type: as the file asks for it, and as the engine here does it.

The two differ where an engine has no kernels: ONNX Runtime on a CPU stores float16 and computes in float32. What counts
is the engine's word; what another one will do on the device is nearer to what the file asks for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import onnx_ir as ir

from hamsa_deploy.measure.execution import CONVERSIONS, ONE_NAME, PRODUCTS
from hamsa_deploy.parity.comparison import engine_for
from hamsa_deploy.parity.layers.matching import module_of
from hamsa_runtime.backends import Operator, module_of_node
from hamsa_runtime.bundle import open_bundle
from hamsa_runtime.vocabulary import ONNX_FILE

FILE_TYPES = {
    ir.DataType.FLOAT: "f32", ir.DataType.FLOAT16: "f16", ir.DataType.BFLOAT16: "bf16", ir.DataType.DOUBLE: "f64",
}  # fmt: skip
BY_FILE, BY_ENGINE = "as the file asks for it", "as the engine ran it on this machine"

Layers = dict[str, dict[str, Counter[str]]]


def precision_maps(bundle: Path, device: str | None = None) -> list[dict[str, Any]]:
    """One map for what the file asks for, if that is ONNX, and one for the engine.

    None for the latter, if its operators do not say which module they are of: an older bundle, or somebody's ONNX file.
    """
    asked = layers_of_file(ir.load(bundle / ONNX_FILE).graph) if (bundle / ONNX_FILE).is_file() else {}
    with engine_for(open_bundle(bundle), device=device) as engine:
        run = layers_of_engine(engine.operators(), asked)
    maps = {title: layers for title, layers in ((BY_FILE, asked), (BY_ENGINE, run)) if set(layers) - {""}}
    return [
        {"title": title, "layers": [{"module": path, **each} for path, each in m.items()]} for title, m in maps.items()
    ]


def layers_of_file(graph: ir.Graph) -> Layers:
    """Module -> "products" and "others", each the number of nodes by type; in the order of the graph."""
    layers: Layers = {}
    for node in graph:
        kind = FILE_TYPES.get(node.outputs[0].dtype) if node.outputs and node.outputs[0].dtype is not None else None
        if kind is not None and node.op_type not in CONVERSIONS:
            is_int8 = node.op_type in PRODUCTS and _is_dequantised(node)
            _count(layers, module_of(node), node.op_type, "i8" if is_int8 else kind)
    return layers


def layers_of_engine(operators: Iterable[Operator], modules: Iterable[str]) -> Layers:
    """The same for what an engine runs. An operator that does the work of several layers counts for each of them.

    Args:
        operators: of an engine.
        modules: those of the file, in its order, if it tells: of these one whose nodes the engine has renamed or left
            out has no counts, and others are not its modules.
    """
    layers: Layers = {path: {"products": Counter(), "others": Counter()} for path in modules}
    known = set(layers)
    for each in operators:
        if each.kind in CONVERSIONS:
            continue
        for path in dict.fromkeys(map(module_of_node, each.names)):
            if path is not None and (path in known or not known):
                _count(layers, path, each.kind, ONE_NAME.get(each.precision, each.precision))
    return layers


def _count(layers: Layers, path: str, kind: str, precision: str) -> None:
    counts = layers.setdefault(path, {"products": Counter(), "others": Counter()})
    counts["products" if kind in PRODUCTS else "others"][precision] += 1


def _is_dequantised(node: ir.Node) -> bool:
    """Whether both factors come from int8."""
    producers = [value.producer() for value in node.inputs[:2] if value is not None]
    return all(each is not None and each.op_type == "DequantizeLinear" for each in producers)
