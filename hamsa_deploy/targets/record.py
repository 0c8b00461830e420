"""What there is to know of an engine that bundles are made for: everything that asks "which engine?" asks its record.

Adding one:

1. its name, in $defs target of hamsa_runtime/manifest.schema.json;
2. hamsa_runtime/backends/<name>.py, whose `Runner` runs its bundles (where an engine that is there runs them, a line in
   hamsa_runtime/vocabulary.py instead);
3. hamsa_deploy/targets/<name>.py, with _ for -, and in it TARGET: a `Target`, or an instance of a subclass whose
   methods say what it does otherwise.

Nothing else lists targets. Records are imported by --help: what their methods need is imported in the methods.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from hamsa_deploy.targets.here import HERE, Answer, Machine, Package
from hamsa_runtime.dft.costs import Rates
from hamsa_runtime.manifest import EngineBuild, InputSpec, OutputSpec
from hamsa_runtime.tensorrt.options import BuildOptions
from hamsa_runtime.vocabulary import ENGINES, EngineName

if TYPE_CHECKING:
    import numpy as np
    from torch.export import ExportedProgram

Feeds = Iterable[Mapping[str, "np.ndarray"]]
# An engine's own quantiser: from the float32 ONNX file in a folder to what the engine loads, in place of it. It is
# given the nodes that become int8, for each of their activations the magnitude that the largest level stands for,
# graph inputs by name, for the correction of biases, and the precision of all else.
Quantiser = Callable[[Path, Collection[str], Mapping[str, float], Feeds, str], None]


@dataclass(frozen=True)
class Int8:
    """What an engine computes in int8, and what it has to be given for that.

    Attributes:
        products: the ONNX operators that it has int8 kernels for, of MatMul, Gemm and Conv.
        around: the type between the products, in a file whose QuantizeLinear and DequantizeLinear say what is int8.
        quantiser: for an engine that wants no such file, but a float32 one that it quantises by itself.
        also_around: precisions that its quantiser can also leave between the products, instead of float32.
        partly_float: for one whose quantiser takes long: from a bundle's folder with all products in int8 to files in
            another folder that take as long as if some of them were in float. It is given these nodes, those that have
            to stay in float32, and the precision of all else.
    """

    products: tuple[str, ...]
    around: Literal["float32", "float16"] = "float32"
    quantiser: Quantiser | None = None
    also_around: tuple[str, ...] = ()
    partly_float: Callable[[Path, Path, Collection[str], Collection[str], str], None] | None = None


@dataclass(frozen=True)
class Order:
    """What `Target.write` is asked for.

    Attributes:
        precision: of the bundle.
        builder: for an engine with a builder.
        require_plan: whether it is an error that the builder cannot be had here.
        program: for a target that `takes_program`: in real arithmetic, with tensors as its only outputs.
        inputs: of the program, with those for what the model keeps between calls.
        outputs: what it gives, likewise.
        float32: in float16, for a target that `halves` programs: the nodes of the program's module that float16 cannot
            hold.
    """

    precision: str
    builder: BuildOptions = field(default_factory=BuildOptions)
    require_plan: bool = False
    program: ExportedProgram | None = None
    inputs: tuple[InputSpec, ...] = ()
    outputs: tuple[OutputSpec, ...] = ()
    float32: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Target:
    """An engine that bundles are made for.

    Attributes:
        name: in the vocabulary.
        precisions: what bundles for it can be in, in the vocabulary's order; float32 always.
        rates: what computing costs its engine: they choose between ways to compute a transform.
        lacks: precisions that are not among them, and why not, where there is a reason to be told.
        int8: how it computes in int8; None where that is not among its precisions, or its converter's own affair.
        operators: of ONNX, those that its parser has had since the oldest version that bundles are made for; None for
            an engine that reads each bundle at export, and not on the device only.
        later_operators: those that newer versions of its parser have, and since which.
        no_native_fft: why transforms cannot be left to the engine; empty where it has an FFT of its own that works.
        stage: what `write` is called in the progress of an export; empty where the typed ONNX file is all there is.
        stage_words: what that does, for people.
        needs_gpu: whether only a machine with an NVIDIA GPU runs its bundles.
        stand_in: the backend that runs them without a GPU, for the comparison with the original: their typed ONNX file
            is what that knows as well. How fast it does says nothing.
        has_builder: whether options of TensorRT's builder are for it.
        timed_beside_float32: whether an export in a lower precision ends with both being timed on this machine.
        packages: its engine first, then what else is for this target only, and how they are installed.
        needs: modules of these without which nothing is exported for it; ONNX Runtime is there always.
        runs_without_torch: whether the runtime's backend for Python does; each other one has arrays of its own.
        for_browsers: whether bundles are folders for a web server.
        takes_program: whether `write` is given a program of torch.export, and no ONNX file is ever written: neither
            precisions nor int8 of ours, which work on that file, are for such a target.
        halves: whether it then computes in float16 what its `write` makes so, and is told what float16 cannot hold.
        fixed_sizes: why axes beside the batch cannot be of any size; empty where they can.
    """

    name: str
    precisions: tuple[str, ...]
    rates: Rates
    lacks: Mapping[str, str] = field(default_factory=dict)
    int8: Int8 | None = None
    operators: frozenset[str] | None = None
    later_operators: Mapping[str, str] = field(default_factory=dict)
    no_native_fft: str = ""
    stage: str = ""
    stage_words: str = ""
    needs_gpu: bool = False
    stand_in: str | None = None
    has_builder: bool = False
    timed_beside_float32: bool = True
    packages: tuple[Package, ...] = ()
    needs: tuple[str, ...] = ()
    runs_without_torch: bool = True
    for_browsers: bool = False
    takes_program: bool = False
    halves: bool = False
    fixed_sizes: str = ""

    @property
    def engine(self) -> EngineName:
        """The runtime's backend that loads its bundles, and what people call it."""
        return next(engine for engine in ENGINES.values() if self.name in engine.runs)

    @property
    def title(self) -> str:
        """What people call its engine."""
        return self.engine.title

    def backend_here(self) -> str | None:
        """The backend to run a bundle with on this machine: its stand-in where it has to be; None for its own."""
        from hamsa_runtime.tensorrt.gpu import has_gpu

        return self.stand_in if self.needs_gpu and not has_gpu() else None

    def write(self, folder: Path, order: Order) -> EngineBuild | None:
        """From the typed ONNX file in a folder to what the engine loads: beside that file, or in place of it. A target
        that `takes_program` finds none there: it is given the program of the order.

        Returns:
            For an engine with a builder, what the manifest says of its work.

        Raises:
            MissingError: the engine's package, which this needs, is not installed.
            BuildError: the engine refuses the file; its own message is quoted.
        """
        return None

    def no_engine_here(self) -> str:
        """Why bundles cannot be run on this machine, whatever is installed, so that they are published without having
        been compared; empty where they can, or a stand-in can in their engine's place."""
        return ""

    def check_here(self, precision: str, device: str | None) -> None:
        """Before anything is built, or PyTorch is loaded.

        Args:
            precision: of the bundle.
            device: that is to run it here; None for the engine's usual one.

        Raises:
            MissingError: what bundles for it are made of is not here, or what is to run them does not compute in that
                precision.
        """

    def complete(self, folder: Path, sample: Callable[[], Mapping[str, np.ndarray]]) -> None:
        """Add what only the published bundle holds to one that has passed.

        Args:
            folder: of the bundle; its manifest is written anew afterwards.
            sample: gives what the bundle can be compared with once more; see `sample_of`.
        """

    def kernels_here(self) -> tuple[str, ...]:
        """The precisions below float32 that the engine has fast kernels for on this machine's processor."""
        return ()

    def answer(self, precision: str, machine: Machine) -> Answer:
        """Whether a bundle can be exported on a machine that has what it `needs`; that includes running it."""
        return Answer(True, engine=HERE)
