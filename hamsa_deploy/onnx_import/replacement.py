"""DFT and STFT nodes of an ONNX graph -> real arithmetic.

Each node becomes a small PyTorch module (`operators`), which the spectral compiler rewrites and the exporter
translates, as for any model; the nodes of that translation then stand in for the one node. So plans and the shapes of
products are decided in one place. Equal nodes are compiled once, and constants that are equal are stored once.

The splice is done here and not by a rewriter's pattern: what takes a node's place is a graph that is already built, and
a pattern would have to be repeated for every combination of the optional inputs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import onnx_ir as ir
import torch
from onnx_ir.passes import common as passes
from onnxscript.version_converter import ConvertVersionPass
from torch.export import Dim, ExportedProgram

from hamsa_deploy.onnx_import.loading import copy_of
from hamsa_deploy.onnx_import.operators import DTYPES, OPERATORS, Dft, Stft, name_of, operator_of
from hamsa_deploy.scan.forms import Plans
from hamsa_deploy.targets import onnx_file
from hamsa_deploy.targets.to_real import to_real
from hamsa_runtime.errors import InputError
from hamsa_runtime.manifest import Transform
from hamsa_runtime.vocabulary import ONNX_FILE
from hamsa_runtime.whole_files import scratch_folder

STANDARD = ("", "ai.onnx")


def real_onnx(
    model: ir.Model, *, target: str = "onnx", plans: Plans = MappingProxyType({})
) -> tuple[ir.Model, list[Transform]]:
    """Replace every DFT and STFT node by real products, as `to_real` does for torch.fft.

    Args:
        model: opset 17 or later, or without these operators; it stays as it is.
        target: the engine that the products are shaped for, as for to_real.
        plans: the plan for some transform lengths, as for to_real.

    Returns:
        The new model, with shapes inferred; and its transforms, as `manifest.plan` lists them.

    Raises:
        UnsupportedTransformError: a transform along a dynamic axis, or of a length that is computed in the graph;
            names the node.
        InputError: an opset that cannot be raised to the exporter's.
    """
    model = copy_of(model)
    passes.InlinePass()(model)
    passes.RemoveInitializersFromInputsPass()(model)
    if _spectral_nodes(model):
        _raise_opset(model)
    _infer_shapes(model)
    templates: dict[Dft | Stft, _Template] = {}
    transforms: list[Transform] = []
    for index, node in enumerate(_spectral_nodes(model)):
        operator = operator_of(node, model.opset_imports.get("", 0))
        template = templates.setdefault(operator, _Template(operator, target, plans))
        transforms += template.transforms_for(node)
        _splice(model, node, template.graph(), prefix=f"{node.outputs[0].name}/{index}/")
    if templates:
        passes.DeduplicateHashedInitializersPass()(model)
        passes.RemoveUnusedNodesPass()(model)  # the constants that only the replaced nodes read
        _infer_shapes(model)
    model.producer_name = "hamsa-deploy"
    return model, transforms


def _spectral_nodes(model: ir.Model) -> list[ir.Node]:
    """In the order in which they run, those of subgraphs included."""
    nodes = model.graph.all_nodes()
    return [node for node in nodes if node.op_type in OPERATORS and node.domain in STANDARD]


def _raise_opset(model: ir.Model) -> None:
    """To the opset of the nodes that will be spliced in, at least; DFT itself is the same in 17, 18 and 19."""
    found = model.opset_imports.get("", 0)
    if found >= onnx_file.OPSET:
        return
    ConvertVersionPass(onnx_file.OPSET, fallback=True)(model)
    if model.opset_imports.get("") != onnx_file.OPSET:
        raise InputError(
            f"opset {found} cannot be converted to {onnx_file.OPSET}",
            expected=f"a file of opset {onnx_file.OPSET} or later, or operators that onnx.version_converter knows",
            fix=f"export it again with opset {onnx_file.OPSET}",
        )


def _infer_shapes(model: ir.Model) -> None:
    # Not strict: a node that cannot be inferred (another domain's, for example) leaves the others as they are.
    passes.ShapeInferencePass(check_type=False, strict_mode=False, data_prop=True)(model)


class _Template:
    """The real form of one operator, compiled when it is first asked for."""

    def __init__(self, operator: Dft | Stft, target: str, plans: Plans) -> None:
        self.operator, self.target, self.plans = operator, target, plans
        self._model: ir.Model | None = None
        self._transforms: list[Transform] = []

    def graph(self) -> ir.Graph:
        """A copy of its own, whose tensors are shared."""
        assert self._model is not None
        return self._model.graph.clone()

    def transforms_for(self, node: ir.Node) -> list[Transform]:
        """The transforms of the compiled form, under the node's name."""
        if self._model is None:
            self._compile()
        return [replace(transform, module=name_of(node)) for transform in self._transforms]

    def _compile(self) -> None:
        signal, sizes = _example_of(self.operator)
        examples, dynamic = [signal], [sizes]
        if isinstance(self.operator, Stft) and self.operator.windowed:
            examples.append(torch.ones(self.operator.length, dtype=signal.dtype))
            dynamic.append({})
        program = to_real(
            self.operator.module().eval(),
            examples,
            dynamic_shapes=tuple(dynamic),
            target=self.target,
            plans=self.plans,
        )
        _check_dynamic(program, sizes)
        names = [str(name) for name in program.graph_signature.user_inputs]
        with scratch_folder() as folder:
            path = folder / ONNX_FILE
            onnx_file.onnx_from_program(program, path, inputs=names, outputs=["output"])
            self._model = ir.external_data.load_to_model(ir.load(path))
        self._transforms = program.graph_module.meta["transforms"]


def _example_of(operator: Dft | Stft) -> tuple[torch.Tensor, dict[int, Any]]:
    """A signal, and the dimensions of it that are dynamic. torch.export takes a size of 1 for fixed.

    Dim.AUTO and not Dim(name): torch.fft.rfft's shape function compares sizes to choose strides (PyTorch 2.13), which
    named dimensions do not allow. AUTO may fix a dimension without saying so, hence `_check_dynamic`.
    """
    sizes = {axis: Dim.AUTO for axis, size in enumerate(operator.shape) if size is None}
    shape = [2 if size is None else size for size in operator.shape]
    return torch.zeros(shape, dtype=DTYPES[operator.dtype]), sizes


def _check_dynamic(program: ExportedProgram, sizes: Iterable[int]) -> None:
    signal = next(node for node in program.graph.nodes if node.name == program.graph_signature.user_inputs[0])
    fixed = [axis for axis in sizes if isinstance(signal.meta["val"].shape[axis], int)]
    if fixed:
        raise InputError(
            f"the real form of a transform fixes the dynamic dimension {fixed[0]}",
            expected="a form for any size",
            fix="fix the sizes yourself: --input 1x3x224x224, --batch 1",
        )


def _splice(model: ir.Model, node: ir.Node, graph: ir.Graph, prefix: str) -> None:
    """Put the nodes of `graph` in the place of `node`; its constants go to the main graph."""
    owner, (old,), (new,) = node.graph, node.outputs, graph.outputs
    assert isinstance(owner, ir.Graph)
    for value, formal in zip(
        (v for v in (node.inputs[0], *node.inputs[2:3]) if v is not None), graph.inputs, strict=False
    ):
        formal.replace_all_uses_with(value)
    for value in list(graph.initializers.values()):
        graph.initializers.pop(str(value.name))
        value.name = prefix + str(value.name)
        model.graph.register_initializer(value)
    new_nodes = list(graph)
    graph.outputs.clear()
    graph.remove(new_nodes)
    for each in new_nodes:
        each.name = prefix + str(each.name)
        each.metadata_props["module"] = name_of(node)
        for value in each.outputs:
            value.name = prefix + str(value.name)
    ir.convenience.replace_nodes_and_values(owner, node, [node], new_nodes, [old], [new])
