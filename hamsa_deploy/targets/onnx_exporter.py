"""torch.onnx.export, exact, quiet, and without what it does over and over.

What is replaced here is private to PyTorch and onnxscript, and is as it was afterwards. Where a version has other parts
the exporter takes its own way, which is slower; only patterns that it would match nearly are never left to it.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import io
import logging
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from torch import fx
from torch._ops import OperatorBase
from torch.export import ExportedProgram
from torch.onnx.errors import OnnxExporterError

from hamsa_deploy.spectral.compiler.capture import ONE_AT_A_TIME
from hamsa_deploy.spectral.dispatch import operator_name
from hamsa_deploy.spectral.provenance import place_of
from hamsa_deploy.targets.translations import TRANSLATIONS
from hamsa_runtime.errors import BuildError

# That the exporter leaves out.
CHECKS = {torch.ops.aten._assert_tensor_metadata.default}
# How it says that it has no translation.
MISSING = re.compile(r"No ONNX function found for <OpOverload\(op='([\w.]+)'")


def onnx_model(program: ExportedProgram, inputs: Sequence[str], outputs: Sequence[str], opset: int) -> ir.Model:
    """A program as PyTorch's exporter translates it, optimised where that is exact; the program stays as it is.

    Raises:
        BuildError: the exporter fails; its own reason is quoted.
    """
    try:
        return _translated(program, inputs, outputs, opset)
    except OnnxExporterError as error:
        said = str(error).partition("## Exception summary")[2].split() or str(error).split()
        if missing := MISSING.search(str(error)):
            raise _untranslated(program, missing[1], opset) from error
        raise BuildError(
            f"the ONNX exporter of PyTorch {torch.__version__} fails: {' '.join(said)[:400]}",
            cause="an operator, or types of its inputs, that this version does not translate",
            fix="try another version of PyTorch, or write that operator in another way",
        ) from error


def _untranslated(program: ExportedProgram, missing: str, opset: int) -> BuildError:
    """What the exporter has no form of, or of a part that it takes it apart into, and where the model has it."""
    name = missing.rpartition(".")[2].strip("_")
    nodes = [node for node in program.graph.nodes if node.target in _not_translated(program, opset)]
    named = [node for node in nodes if operator_name(node.target).strip("_") == name]
    node = next(iter(named or nodes), None)
    found = name if node is None else operator_name(node.target)
    return BuildError(
        f"the operator '{found}'{'' if node is None else place_of(node)} has no form in ONNX",
        expected="operators that the ONNX exporter of PyTorch translates",
        cause=f"PyTorch {torch.__version__} has no translation of {missing}",
        fix="write that line with other operators, or leave it to the application",
    )


def _translated(program: ExportedProgram, inputs: Sequence[str], outputs: Sequence[str], opset: int) -> ir.Model:
    with (
        ONE_AT_A_TIME,
        _quiet_exporter(),
        _translations_read_once(),
        _types_by_known_values(),
        _exact_patterns() as is_exact,
        _traced_where_needed(program, opset) as ready,
    ):
        exported = torch.onnx.export(
            ready,
            dynamo=True,
            opset_version=opset,
            input_names=list(inputs),
            output_names=list(outputs),
            custom_translation_table=TRANSLATIONS,
            optimize=is_exact,
            verbose=False,
        )
    assert exported is not None
    return exported.model


@contextlib.contextmanager
def _traced_where_needed(program: ExportedProgram, opset: int) -> Iterator[ExportedProgram]:
    """The exporter has a program traced once more, for operators that it can translate in parts only: two thirds of its
    time, and few programs have such operators. Listing how all of PyTorch's operators are taken apart, for that, is
    most of its time for a small one. Where its register is another one, it takes its time."""
    if _register() is None or _not_translated(program, opset):
        yield program
        return
    ready = copy.copy(program)
    ready._graph_module = _copied(program.graph_module)  # the exporter writes into it
    ready.run_decompositions = lambda table=None: ready
    with _no_decompositions_listed():
        yield ready


@contextlib.contextmanager
def _no_decompositions_listed() -> Iterator[None]:
    try:
        from torch.onnx._internal.exporter import _decomp

        listed = _decomp.create_onnx_friendly_decomposition_table
    except (ImportError, AttributeError):
        yield
        return
    _decomp.create_onnx_friendly_decomposition_table = lambda *_: {}
    try:
        yield
    finally:
        _decomp.create_onnx_friendly_decomposition_table = listed


def _not_translated(program: ExportedProgram, opset: int) -> set[Any]:
    """The program's operators that the exporter, as far as its register is known, translates in parts or not at all."""
    found = _register()
    known = found[1](opset_version=opset).functions.values() if found else ()
    translated = {each[0].fx_target for each in known} | TRANSLATIONS.keys() | CHECKS
    targets = {node.target for node in program.graph.nodes if node.op == "call_function"}
    return {each for each in targets if isinstance(each, OperatorBase) and each not in translated}


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

    And it tries a hundred patterns at every node, one of two slices each time with a walk over the whole graph: 126 of
    the 148 CPU seconds that Vim-tiny took. At a node of another operator than its last none can match.

    The matcher is private: gives whether it is as known. Where onnxscript has another one, nothing is to be optimised.
    """
    try:
        from onnxscript.rewriter._matcher import SimplePatternMatcher
        from onnxscript.rewriter._rewrite_rule import RewriteRule

        everywhere, nearly = RewriteRule.try_rewrite, SimplePatternMatcher._match_constant
    except (ImportError, AttributeError):
        yield False
        return

    @functools.cache
    def last_operator(rule: Any) -> tuple[str, str] | None:
        if not isinstance(rule._matcher, SimplePatternMatcher):
            return None
        operator: Any = rule._matcher.pattern.output_nodes[0].op_identifier()
        return operator and operator[:2]

    def try_rewrite(self: Any, model: Any, graph: Any, node: ir.Node, **options: Any) -> Any:
        if last_operator(self) not in (None, (node.domain, node.op_type)):
            return None
        return everywhere(self, model, graph, node, **options)

    def match_constant(self: Any, pattern: Any, value: ir.Value) -> bool:
        if not nearly(self, pattern, value):
            return False
        assert value.const_value is not None
        found = value.const_value.numpy()
        is_same = bool((found == np.asarray(pattern.value).astype(found.dtype)).all())
        return is_same or self.fail("another constant, though near")

    RewriteRule.try_rewrite, SimplePatternMatcher._match_constant = try_rewrite, match_constant  # type: ignore[assignment, method-assign]
    try:
        yield True
    finally:
        RewriteRule.try_rewrite, SimplePatternMatcher._match_constant = everywhere, nearly  # type: ignore[method-assign]


@contextlib.contextmanager
def _types_by_known_values() -> Iterator[None]:
    """The exporter runs all operators once more, on the program's stand-ins, to see which types are to be promoted: a
    third of its time. What they give is known already."""
    try:
        from torch.onnx._internal.fx.passes import type_promotion

        interpreter, rule_of = type_promotion._TypePromotionInterpreter, type_promotion.get_type_promotion_rule
        run = interpreter.run_node
    except (ImportError, AttributeError):
        yield
        return

    def run_node(self: Any, node: fx.Node) -> Any:
        if node.op != "call_function" or node.meta.get("val") is None:
            return run(self, node)
        with self._set_current_node(node):
            if (rule := rule_of(node, self.type_promotion_table)) is not None:
                self._maybe_promote_node(node, rule)
        return node.meta["val"]

    interpreter.run_node = run_node  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        interpreter.run_node = run  # type: ignore[method-assign]


@functools.cache
def _register() -> tuple[Any, Callable[..., Any]] | None:
    """The exporter's class for translations, and what fills one, which does so once."""
    try:
        from torch.onnx._internal.exporter._registration import ONNXRegistry
    except ImportError:
        return None
    return ONNXRegistry, functools.cache(without_sources(ONNXRegistry.from_torchlib))


def without_sources(read: Callable[..., Any]) -> Callable[..., Any]:
    """Reads translations, and not the source of each for the domain of its operators, which PyTorch does not ask for:
    half of the time."""

    def quickly(*args: Any, **options: Any) -> Any:
        try:
            from onnxscript.values import TracedOnnxFunction

            parsed = TracedOnnxFunction.function_ir
        except (ImportError, AttributeError):
            return read(*args, **options)
        TracedOnnxFunction.function_ir = property(lambda self: SimpleNamespace(domain=self.opset.domain))  # type: ignore[assignment]
        try:
            return read(*args, **options)
        finally:
            TracedOnnxFunction.function_ir = parsed  # type: ignore[method-assign]

    return quickly


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
