"""DFT and STFT nodes of an ONNX graph -> real arithmetic, for an engine of ours.

The products are those of hamsa_runtime.fix, which needs no PyTorch; here they are shaped for a target, and listed as
those of any other model are.
"""

from __future__ import annotations

from types import MappingProxyType

import onnx_ir as ir
from onnx_ir.passes import common as passes

from hamsa_deploy.scan.forms import Plans
from hamsa_deploy.spectral.framed import FRAMES
from hamsa_deploy.targets import onnx_file, target_of
from hamsa_runtime.dft.factorisations import Plan
from hamsa_runtime.errors import InputError
from hamsa_runtime.fix.forms import columns_of
from hamsa_runtime.fix.loading import copy_of
from hamsa_runtime.fix.operators import Stft, spectral_nodes
from hamsa_runtime.fix.replacement import Replaced, inline, replace_transforms
from hamsa_runtime.manifest import Transform


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
    inline(model)
    passes.RemoveInitializersFromInputsPass()(model)
    if spectral_nodes(model):
        _raise_opset(model)
    chosen = {length: plan for length, plan in plans.items() if isinstance(length, int) and isinstance(plan, Plan)}
    replaced = replace_transforms(model, target_of(target).rates, chosen).replaced
    for each in replaced:
        for node in each.nodes:
            node.metadata_props["module"] = each.name
    _infer_shapes(model)
    model.producer_name = "hamsa-deploy"
    return model, [_transform_of(each) for each in replaced]


def _transform_of(replaced: Replaced) -> Transform:
    operator, plan = replaced.operator, replaced.plan
    columns = columns_of(operator)
    if isinstance(operator, Stft):
        kind = FRAMES if plan.is_dense else plan.kind
        return Transform(replaced.name, plan.n, plan.factors, kind, columns, operator.step)
    return Transform(replaced.name, plan.n, plan.factors, plan.kind, columns)


def _raise_opset(model: ir.Model) -> None:
    """To the opset that all that follows is made for; DFT itself is the same in 17, 18 and 19."""
    found = model.opset_imports.get("", 0)
    if found >= onnx_file.OPSET:
        return
    from onnxscript.version_converter import ConvertVersionPass  # 0.2 s, which no other export need take before its end

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
