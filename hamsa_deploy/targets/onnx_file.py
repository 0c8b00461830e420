"""ExportedProgram -> ONNX file.

Opset 20: the newest that TensorRT 10.3 reads. LayerNormalization (17) and Gelu (20) are one operator each; a decomposed
GELU costs HAMSA-S 9 % on ONNX Runtime. Every node keeps where it comes from in its metadata: `module`, the path in the
user's model, and `source`, file and line. Its name is `module/name`, because names are all that engines repeat: in
their errors, in OpenVINO's IR, in TensorRT's plans, to profilers (`hamsa_runtime.backends.module_of_node` reads them).
"""

from __future__ import annotations

import ast
import contextlib
import copy
import functools
import io
import logging
import re
import sys
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from torch import fx
from torch._ops import OperatorBase
from torch.export import ExportedProgram

from hamsa_deploy.scan.onnx_loops import lower_loops
from hamsa_deploy.spectral.compiler.capture import ONE_AT_A_TIME
from hamsa_deploy.spectral.provenance import FLOAT32, innermost_frame
from hamsa_deploy.targets.translations import TRANSLATIONS
from hamsa_runtime.errors import InputError
from hamsa_runtime.manifest import BATCH

OPSET = 20

# That the exporter leaves out.
CHECKS = {torch.ops.aten._assert_tensor_metadata.default}

# Protobuf cannot hold 2 GiB; from here on weights go into a file of their own beside the model.
EXTERNAL_DATA_BYTES = 1_900_000_000


def onnx_from_program(
    program: ExportedProgram,
    path: Path,
    *,
    inputs: Sequence[str],
    outputs: Sequence[str],
    shapes: Sequence[Sequence[int | str]] | None = None,
) -> ir.Model:
    """Translate a real-valued program to ONNX and write it.

    Args:
        program: from `to_real`, or any program without complex tensors.
        path: the file to write, `model.onnx`; weights beyond 1.9 GB go to `model.onnx.data` beside it.
        inputs, outputs: names for the graph's inputs and outputs, in order.
        shapes: of the inputs and then of the outputs, as the manifest has them: what dimensions are called. By
            default a dimension of any size is the batch.

    Returns:
        The model as written.
    """
    with ONE_AT_A_TIME, _quiet_exporter(), _translations_read_once(), _exact_patterns() as is_exact:
        exported = torch.onnx.export(
            _traced_where_needed(program),
            dynamo=True,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=list(outputs),
            custom_translation_table=TRANSLATIONS,
            optimize=is_exact,
            verbose=False,
        )
    assert exported is not None
    model = exported.model
    model.producer_name = "hamsa-deploy"
    _name_axes(model, shapes)
    reasons = {node.name: node.meta.get("custom", {}).get(FLOAT32, "") for node in program.graph.nodes}
    for node in model.graph.all_nodes():
        _keep_provenance(node, reasons)
    _drop_notes(model)
    lower_loops(model)
    save(model, path)
    return model


def check_operators(
    model: ir.Model, operators: Collection[str], engine: str, later: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Refuse a file with an operator that an engine's parser does not have, before the device does.

    Args:
        model: whose nodes keep where they come from.
        operators: that the parser has.
        engine: what people call it.
        later: operators that newer versions of the parser have, and since which.

    Raises:
        InputError: names the operator, its module and line, and the versions that have it.
    """
    for node in model.graph.all_nodes():
        if node.domain or node.op_type in operators:
            continue
        raise InputError(
            described(node),
            expected=f"operators that {engine} reads",
            cause=f"the parser of {engine} has no {node.op_type}"
            + (f" before version {later[node.op_type]}" if node.op_type in later else "")
            + ", and the device would refuse the file",
            fix="write that line of the model with other operators; or export for another target, such as --to onnx",
        )


def described(node: ir.Node) -> str:
    """`the ONNX operator Col2Im in module 'stem.fold', model.py:12: y = fold(x)`, as far as the node knows it."""
    module, source = (node.metadata_props.get(key) for key in ("module", "source"))
    where = (f" in module '{module}'" if module else "") + (f", {source}" if source else "")
    return f"the ONNX operator {node.op_type}{where}"


def save(model: ir.Model, path: Path) -> None:
    """Write a model, with external data only where one file cannot hold it; new nodes get their modules' names."""
    for node in model.graph:
        _name_by_module(node)
    size = sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value)
    external = f"{path.name}.data" if size > EXTERNAL_DATA_BYTES else None
    ir.save(model, path, external_data=external)


def _name_by_module(node: ir.Node) -> None:
    """`module/name`, and so the values that it computes, which ONNX Runtime names convolutions after."""
    module = node.metadata_props.get("module")
    if module is None or str(node.name).startswith(f"{module}/"):
        return
    node.name = f"{module}/{node.name}"
    for value in node.outputs:
        if value.name and not value.is_graph_output():
            value.name = f"{module}/{value.name}"


def _name_axes(model: ir.Model, shapes: Sequence[Sequence[int | str]] | None) -> None:
    """The exporter calls a free axis s34 or the like, and sizes that follow from it `s34//4 + 1`."""
    names: dict[str, int | str] = {
        dim.value: BATCH if shapes is None else shapes[i][axis]
        for i, value in enumerate(model.graph.inputs)
        for axis, dim in enumerate(value.shape or ())
        if isinstance(dim, ir.SymbolicDim) and dim.value is not None
    }
    for value in (*model.graph.inputs, *(out for node in model.graph for out in node.outputs)):
        if value.shape is not None:
            value.shape = ir.Shape([_named(dim, names) for dim in value.shape])
    for value, shape in zip(
        model.graph.outputs, () if shapes is None else shapes[len(model.graph.inputs) :], strict=False
    ):
        value.shape = ir.Shape(shape)


def _named(dim: int | ir.SymbolicDim, names: Mapping[str, int | str]) -> int | str | None:
    """A dimension by the names of the axes that it follows from."""
    if isinstance(dim, int) or dim.value is None:
        return None if isinstance(dim, ir.SymbolicDim) else dim
    return re.sub(r"[A-Za-z_]\w*", lambda found: str(names.get(found[0], found[0])), dim.value)


def _keep_provenance(node: ir.Node, reasons: Mapping[str, str]) -> None:
    """Module path and source line instead of the exporter's stack traces, which hold the paths of this machine; and the
    reason to stay in float32, of the node of the program that it was made from."""
    scopes = ast.literal_eval(node.metadata_props.get("pkg.torch.onnx.name_scopes", "[]"))
    frame = innermost_frame(node.metadata_props.get("pkg.torch.onnx.stack_trace", ""))
    node.metadata_props.clear()
    node.metadata_props["module"] = scopes[-2] if len(scopes) > 1 else ""
    if scopes and (reason := reasons.get(scopes[-1])):
        node.metadata_props[FLOAT32] = reason
    if frame is not None:
        node.metadata_props["source"] = f"{_importable(frame[0])}:{frame[1]}"


def _drop_notes(model: ir.Model) -> None:
    """The exporter's signatures of graph and weights, 40 kB in hamsa_nano, that nothing reads."""
    weights = model.graph.initializers.values()
    for value in (*model.graph.inputs, *weights, *(out for node in model.graph for out in node.outputs)):
        value.metadata_props.clear()
    model.graph.metadata_props.clear()
    model.metadata_props.clear()


def _importable(file: str) -> str:
    """A source file relative to the import path it was found on."""
    roots = sorted((root for root in sys.path if root and file.startswith(root + "/")), key=len)
    return file[len(roots[-1]) + 1 :] if roots else Path(file).name


def _traced_where_needed(program: ExportedProgram) -> ExportedProgram:
    """The exporter has a program traced once more, for operators that it can translate in parts only: two thirds of its
    time, and few programs have such operators. Where its register is another one, it takes its time."""
    if (found := _register()) is None:
        return program
    translated = (
        {each[0].fx_target for each in found[1](opset_version=OPSET).functions.values()} | TRANSLATIONS.keys() | CHECKS
    )
    targets = {node.target for node in program.graph.nodes if node.op == "call_function"}
    if any(isinstance(each, OperatorBase) and each not in translated for each in targets):
        return program
    ready = copy.copy(program)
    ready._graph_module = _copied(program.graph_module)  # the exporter writes into it
    ready.run_decompositions = lambda table=None: ready
    return ready


def _copied(module: fx.GraphModule) -> fx.GraphModule:
    """With the same names: a copied graph calls a placeholder `input` otherwise, after Python's function."""
    copied = fx.GraphModule(module, copy.deepcopy(module.graph))
    copied.meta.update(module.meta)
    for node, before in zip(copied.graph.nodes, module.graph.nodes, strict=True):
        node.name = before.name
    return copied


@contextlib.contextmanager
def _translations_read_once() -> Iterator[None]:
    """The exporter parses the source of its 500 translations at every export, half a second: tuning exports dozens.

    Ours are added to a copy, so that they are nobody else's. The register is private: where PyTorch has another one,
    it is filled each time.
    """
    if (found := _register()) is None:
        yield
        return
    register, read = found
    reads_anew = register.from_torchlib

    def copied(*args: Any, **options: Any) -> Any:
        own = copy.copy(read(*args, **options))
        own.functions = {target: list(functions) for target, functions in own.functions.items()}
        return own

    register.from_torchlib = staticmethod(copied)
    try:
        yield
    finally:
        register.from_torchlib = reads_anew


@contextlib.contextmanager
def _exact_patterns() -> Iterator[bool]:
    """The exporter's optimiser takes 1e-8 for 0 and 1.00001 for 1: log(x + 1e-10) became log(x), -inf of silence.

    And it tries a pattern of two slices at every node, each time with a walk over the whole graph: 126 of the 148 CPU
    seconds that Vim-tiny took. At a node of another operator it cannot match.

    The matcher is private: gives whether it is as known. Where onnxscript has another one, nothing is to be optimised.
    """
    try:
        from onnxscript.rewriter._basics import MatchResult
        from onnxscript.rewriter._matcher import SimplePatternMatcher

        everywhere, nearly = SimplePatternMatcher.match, SimplePatternMatcher._match_constant
    except (ImportError, AttributeError):
        yield False
        return

    def match(self: Any, model: Any, graph: Any, node: ir.Node, **options: Any) -> Any:
        if not self.pattern.has_single_output_node:
            wanted = self.pattern.output_nodes[0].op_identifier()
            if wanted not in (None, node.op_identifier()):
                return MatchResult().fail("another operator")
        return everywhere(self, model, graph, node, **options)

    def match_constant(self: Any, pattern: Any, value: ir.Value) -> bool:
        if not nearly(self, pattern, value):
            return False
        assert value.const_value is not None
        found = value.const_value.numpy()
        is_same = bool((found == np.asarray(pattern.value).astype(found.dtype)).all())
        return is_same or self.fail("another constant, though near")

    SimplePatternMatcher.match, SimplePatternMatcher._match_constant = match, match_constant  # type: ignore[assignment, method-assign]
    try:
        yield True
    finally:
        SimplePatternMatcher.match, SimplePatternMatcher._match_constant = everywhere, nearly  # type: ignore[method-assign]


@functools.cache
def _register() -> tuple[Any, Callable[..., Any]] | None:
    """The exporter's class for translations, and what fills one, which does so once."""
    try:
        from torch.onnx._internal.exporter._registration import ONNXRegistry
    except ImportError:
        return None
    return ONNXRegistry, functools.cache(ONNXRegistry.from_torchlib)


@contextlib.contextmanager
def _quiet_exporter() -> Iterator[None]:
    """The exporter prints its own progress, and warns of a torchvision that nobody needs."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
