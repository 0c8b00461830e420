"""The target coreml: a package of Core ML, model.mlpackage, for iOS 17, macOS 14 and newer.

coremltools converts on any machine, and Core ML runs on Apple's only: elsewhere a bundle is written, and nothing says
that it computes what the model does. Packages are for one input at a time, which is what its Neural Engine takes.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hamsa_deploy.targets.executorch import RATES, quietly
from hamsa_deploy.targets.here import HERE, ON_THE_DEVICE, Answer, Machine, Package
from hamsa_deploy.targets.litert import one_at_a_time
from hamsa_deploy.targets.record import Order, Target
from hamsa_runtime.errors import BuildError, MissingError
from hamsa_runtime.port_names import as_identifiers
from hamsa_runtime.vocabulary import MLPACKAGE

INSTALL = "pip install 'hamsa-deploy[coreml]'"
# Core ML's names for what it computes in; float16 is what its Neural Engine has.
TYPES = {"fp32": "FLOAT32", "fp16": "FLOAT16"}


CASTS = ("aten.to.dtype", "aten.to.dtype_layout", "aten._to_copy.default")


@dataclass(frozen=True)
class CoreMl(Target):
    """See `Target`."""

    def write(self, folder: Path, order: Order) -> None:
        """Convert the program."""
        _converted(order).save(str(folder / MLPACKAGE))
        (folder / MLPACKAGE / "executorch_debug_handle_mapping.json").unlink(missing_ok=True)  # for ExecuTorch's tools

    def no_engine_here(self) -> str:
        """Core ML is a part of Apple's systems."""
        return "" if sys.platform == "darwin" else f"Core ML runs on Apple's systems, and this is {sys.platform}"

    def answer(self, precision: str, machine: Machine) -> Answer:
        """Anywhere, unverified where it does not run."""
        return Answer(True, engine=ON_THE_DEVICE if self.no_engine_here() else HERE)


def _converted(order: Order) -> Any:
    """The package; as a program of torch.export once more, of fixed sizes."""
    import torch

    try:
        with quietly():
            import coremltools
    except ImportError as error:
        raise MissingError(f"the package coremltools cannot be imported: {error}", fix=INSTALL) from error
    module, examples = one_at_a_time(order)
    examples |= {name: examples[name].int() for name in _pixels(order)}
    try:
        with quietly():
            return coremltools.convert(
                torch.export.export(module, (), examples).run_decompositions({}),
                outputs=[coremltools.TensorType(name=name, dtype=dtype) for name, dtype in _outputs(order)],
                convert_to="mlprogram",
                compute_precision=getattr(coremltools.precision, TYPES[order.precision]),
                minimum_deployment_target=coremltools.target.iOS17,
                skip_model_load=True,
            )
    except Exception as error:
        raise BuildError(
            f"Core ML cannot take this model: {error}",
            cause="an operator or type that this version of coremltools does not convert",
            fix="export with --to onnx, or try another version of coremltools",
        ) from error


def _outputs(order: Order) -> list[tuple[str, type]]:
    """What Core ML calls each, and the nearest type that it has at its borders: integers would be rounded as floats."""
    import numpy as np

    names = as_identifiers([spec.name for spec in order.outputs])
    floats = {spec.name for spec in order.outputs if np.dtype(spec.dtype).kind == "f"}
    return [(port, np.float32 if name in floats else np.int32) for name, port in names.items()]


def _pixels(order: Order) -> list[str]:
    """The inputs of 8 bits, which Core ML has none of at its borders: they become integers of 32 bits, where all that
    is done with them is to make them floating point, so that nothing can tell.

    Raises:
        BuildError: something else is done with one.
    """
    import torch

    assert order.program is not None
    ports = as_identifiers([spec.name for spec in order.inputs])
    nodes = {node.name: node for node in order.program.graph.nodes if node.op == "placeholder"}
    taken = [nodes[name] for name in order.program.graph_signature.user_inputs if isinstance(name, str)]
    found = []
    for spec, node in zip(order.inputs, (n for n in taken if isinstance(n.meta["val"], torch.Tensor)), strict=True):
        if spec.dtype != "uint8":
            continue
        # What is no tensor is one of its sizes, or a check of its type.
        users = [user for user in node.users if isinstance(user.meta.get("val"), torch.Tensor)]
        if not all(user.meta["val"].is_floating_point() and str(user.target) in CASTS for user in users):
            raise BuildError(
                f"Core ML cannot take this model: its input {spec.name!r} is uint8, and computed with as such",
                expected="numbers of 8 bits that the model makes floating point before anything else",
                fix="x.float() first in forward; or --image-dtype float32",
            )
        found.append(ports[spec.name])
    return found


TARGET = CoreMl(
    "coreml",
    precisions=("fp32", "fp16"),
    rates=RATES,  # not fitted, and the same: loops of scans are operators of ours there as well
    lacks={
        "bf16": "Core ML has no bfloat16",
        "int8": "coremltools measures the ranges of activations by running the model, which Apple's systems alone can; "
        "int8 weights alone would not be computed with",
    },
    no_native_fft="Core ML has no FFT: coremltools lowers it to dense products without its symmetry",
    stage="coreml",
    stage_words="convert to Core ML",
    timed_beside_float32=False,  # on Apple's systems only
    packages=(Package("coremltools", "the target coreml", INSTALL),),
    needs=("coremltools",),
    takes_program=True,
    fixed_sizes="packages are for one input of a fixed size",
)
