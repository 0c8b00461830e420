"""The target tensorrt: the typed ONNX file, and beside it the plan that TensorRT has built from it, where it could.

It has an FFT of its own from 11.2 on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hamsa_deploy.targets.here import HERE, ON_THE_DEVICE, Answer, Machine, Package, numbers
from hamsa_deploy.targets.record import Int8, Order, Target
from hamsa_runtime.dft.costs import Rates
from hamsa_runtime.manifest import EngineBuild

OLDEST_TENSORRT = (10, 3)  # reads ONNX opset 20, which the bundles are in
APT_TENSORRT = "sudo apt install python3-libnvinfer"
# Not fitted, since no GPU was at hand: reckoned for float16 on a small one, an Orin Nano, from 2.5 T MAC/s in products
# (a quarter of its peak; a third of that where matrices are small), 68 GB/s of memory, and 8 us to start a kernel.
# Pointwise operators are fused. A convolution of one channel with long kernels is reckoned at half a product's speed; a
# transposed one has been seen a thousand times slower (github.com/NVIDIA/TensorRT-RTX-EP-ABI/issues/8). `--tune`
# measures on the GPU that is there.
SMALL_GPU = Rates(
    plain=0.0004, batched=0.0012, depthwise=0.02, convolved=0.0008, transposed=0.4, moved=0.03, pointwise=0.0,
    stored=0.03, operators=8000, matrices=0.0, trips=20000, largest_tree=150,
)  # fmt: skip
NOT_JUDGED = "a plan is compared with PyTorch by ONNX Runtime where no GPU is, and that has no products in bfloat16"
INT8 = Int8(("MatMul", "Gemm", "Conv"), around="float16")


# Those that NVIDIA's list for the ONNX parser of TensorRT 10.1 marks as supported (github.com/onnx/onnx-tensorrt,
# docs/operators.md of branch 10.1-GA): the newest list that is not newer than OLDEST_TENSORRT. Later parsers have all
# of them, and LATER: by docs/Changelog.md there, the list for 10.15, and the releases of github.com/NVIDIA/TensorRT up
# to 11.5: after Swish, these add DFT (11.2) and opset 25 (11.5) alone; files of ours are of opset 20.
OPERATORS = frozenset(
    """
    Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization Cast CastLike Ceil
    Celu Clip Concat Constant ConstantOfShape Conv ConvTranspose Cos Cosh CumSum DeformConv DepthToSpace
    DequantizeLinear Div Dropout Einsum Elu Equal Erf Exp Expand EyeLike Flatten Floor GRU Gather GatherElements
    GatherND Gelu Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool Greater GreaterOrEqual GridSample
    GroupNormalization HardSigmoid HardSwish Hardmax Identity If ImageScaler InstanceNormalization IsInf IsNaN LRN
    LSTM LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax Loop LpNormalization LpPool MatMul Max
    MaxPool Mean MeanVarianceNormalization Min Mish Mod Mul Neg NonMaxSuppression NonZero Not OneHot Or PRelu Pad
    ParametricSoftplus Pow QuantizeLinear RNN RandomNormal RandomNormalLike RandomUniform RandomUniformLike Range
    Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
    ReduceSumSquare Relu Reshape Resize ReverseSequence RoiAlign Round ScaledTanh Scan Scatter ScatterElements
    ScatterND Selu Shape Shrink Sigmoid Sign Sin Sinh Size Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt
    Squeeze Sub Sum Tan Tanh ThresholdedRelu Tile TopK Transpose Trilu Unsqueeze Upsample Where Xor
    """.split()
)


LATER = {
    "BlackmanWindow": "10.4", "HammingWindow": "10.4", "HannWindow": "10.4", "STFT": "10.5", "Attention": "10.14",
    "RMSNormalization": "10.15", "RotaryEmbedding": "10.15", "TensorScatter": "10.15", "Swish": "11.0",
}  # fmt: skip


@dataclass(frozen=True)
class TensorRt(Target):
    """What all engines of the family have in common; see `Target`."""

    precisions: tuple[str, ...] = ("fp32", "fp16", "int8")
    rates: Rates = SMALL_GPU
    lacks: Mapping[str, str] = field(default_factory=lambda: {"bf16": NOT_JUDGED})
    int8: Int8 | None = INT8
    operators: frozenset[str] | None = OPERATORS
    later_operators: Mapping[str, str] = field(default_factory=lambda: LATER)
    stage: str = "plan"
    stage_words: str = "build the TensorRT plan, where that can be"
    needs_gpu: bool = True
    fixed_sizes: str = "plans are built for a range of the batch only"
    stand_in: str | None = "onnxruntime"
    has_builder: bool = True
    timed_beside_float32: bool = False  # a second plan takes as long again, and without a GPU nothing is learnt

    def write(self, folder: Path, order: Order) -> EngineBuild:
        """Build the plan; what cannot be built here is left to the device."""
        from hamsa_deploy.targets.tensorrt_plan import plan_or_reason

        return plan_or_reason(self.name, folder, order.builder, required=order.require_plan)

    def answer(self, precision: str, machine: Machine) -> Answer:
        """A bundle is whole, and compared, without its plan, which is built on the GPU that it is for."""
        version = machine.version("tensorrt")
        is_built = version is not None and numbers(version) >= OLDEST_TENSORRT and machine.gpus()
        return Answer(True, engine=HERE if is_built else ON_THE_DEVICE)


TARGET = TensorRt(
    "tensorrt",
    packages=(
        Package(
            "tensorrt",
            "builds and runs the target tensorrt, with a GPU",
            "pip install tensorrt",
            for_cuda_12="pip install tensorrt-cu12",
            on_jetson=APT_TENSORRT,
        ),
    ),
)
