"""What to export, and how: each option is described here, once, for Python and for the command line.

`export`'s signature and docstring, the flags of hamsa-export and the keys of a recipe follow from the fields. A new
option is a field here, and what is done about it. Imports neither torch nor an engine: `--help` must not wait for them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hamsa_deploy.form.options import Flag, documented, named, option
from hamsa_deploy.form.values import batch_profile, batch_size, device, level, names, one_of, points, positive, timeout
from hamsa_deploy.targets import all_targets
from hamsa_runtime.tensorrt.options import HARDWARE_COMPATIBILITY, BuildOptions
from hamsa_runtime.vocabulary import AUTO, DYNAMIC, FFTS, METHODS, PASSES, PRECISIONS, TARGETS, TRIAL_SECONDS

if TYPE_CHECKING:
    from torch import nn

    from hamsa_deploy.onnx_import import OnnxFile
    from hamsa_runtime.manifest import Preprocessing

DEFAULT_TARGET = "openvino"  # of the command; `export` has none

# Headings of hamsa-export's --help.
MODEL, TARGET, CALIBRATION, COMPARISON = "model", "target", "calibration", "comparison with the original"
BUILDER = "TensorRT's builder, here and on the device"

# Of --device, which all commands have that run a bundle.
DEVICE_HELP = (
    "what of this machine {runs}, as its engine calls it: CPU, GPU.1, NPU, AUTO or HETERO:GPU,CPU (OpenVINO), CUDA, "
    "TENSORRT, COREML, WEBGPU... (ONNX Runtime), GPU.1 (TensorRT); hamsa-doctor lists them (default: the CPU, for "
    "TensorRT the GPU)"
)
# Of --data, which hamsa-parity has, too.
DATA_HELP = (
    "a folder of images (or of one folder for each class), or .npz/.npy with uint8 (N, H, W, C) in RGB order and, for "
    "{labels_for}, labels (N,); for a model of clips, a folder of .wav and .flac; for a model of arrays, an .npz by "
    "input name (default: {default})"
)
PRECISION_HINTS = {"fp32": " (default)", "int8": ", calibrated on images"}


def quoted(names: Sequence[str]) -> str:
    """As Python writes them, one after the other."""
    return ", ".join(f'"{name}"' for name in names)


def precision_help(precision: str) -> str:
    """What its switch does, and for which targets, if not for all."""
    able = [each.name for each in all_targets() if precision in each.precisions]
    others = [each.name for each in all_targets() if each.name not in able]
    where = f" (not for {', '.join(others)})" if others else ""
    where = f" ({', '.join(able)} only)" if len(able) < len(others) else where
    return f"compute in {precision}{PRECISION_HINTS.get(precision, '')}{where}"


def other_passes(without: Collection[str]) -> list[str]:
    """Those that are not left away."""
    return [name for name in PASSES if name not in without]


@dataclass(frozen=True)
class ExportOptions:
    """What can be asked of `export`."""

    model: nn.Module | OnnxFile | str | Path = field(
        metadata=documented(
            "a module in eval mode; or an ONNX file, whose DFT and STFT operators are then replaced.",
        )
    )
    example_inputs: Sequence[Any] | None = option(
        None,
        "the model's inputs, batch first. Not needed for a model of images (`preprocessing`). For an ONNX file, arrays "
        "whose shapes settle what the file leaves open beside the batch; seldom needed.",
    )
    _: KW_ONLY
    to: str = field(metadata=documented(f"{quoted(TARGETS[:-1])} or {quoted(TARGETS[-1:])}."))
    precision: str = option(
        "fp32",
        '"fp32", "fp16", "int8" or (openvino) "bf16".',
        Flag(TARGET, one_each={each: precision_help(each) for each in PRECISIONS}),
    )
    name: str = option("model", "of the bundle, in its manifest.")
    preprocessing: Preprocessing | None = option(
        None, "makes it a model of images: the bundle takes images of any size."
    )
    input_dtype: str = option(
        "uint8",
        'for a model of images, "uint8" puts the normalisation into the graph; "float32" leaves it to the runtime, and '
        "the graph takes normalised NCHW floats.",
        Flag(
            MODEL,
            "uint8: the graph takes pixels and normalises them (default for built-in models); float32: it takes "
            "normalised images",
            "TYPE",
            one_of("input type", ("uint8", "float32")),
            name="--image-dtype",
            after="labels",
        ),
    )
    batch: int | str | None = option(
        None,
        'a fixed batch size; or "dynamic", and a model that fixes its batch is an error. By default the batch is '
        "dynamic where the model takes any, else that of the example inputs, with a warning.",
        Flag(
            TARGET,
            f"fix the batch size; or {DYNAMIC}, where a model that fixes its own is an error (default: any batch, or "
            "the model's own, with a warning)",
            "N",
            batch_size,
        ),
    )
    dynamic_shapes: Any = option(
        None,
        'which sizes of the inputs stay free, as for torch.export: for each input {axis: Dim("frames")}. The axis that '
        'is called "batch" is the batch, wherever it is; all sizes without a Dim are fixed. A Dim without limits gets '
        "those that the model has. By default the first axis of every input is the batch, and nothing else is free.",
    )
    input_names: Sequence[str] | None = option(
        None, "what the bundle calls its inputs, in order; by default as forward."
    )
    output_names: Sequence[str] | None = option(
        None,
        "what the bundle calls its outputs, in order; by default by the container that forward returns.",
        Flag(MODEL, "names for the outputs, in order", "NAME,NAME", names, after="labels"),
    )
    sample_rate: int | None = option(
        None,
        "of clips, in Hz: makes it a model of audio, whose first input of clips takes WAV and FLAC files of this rate. "
        "Its shape says how: float32 (samples), (batch, samples), (channels, samples) or (batch, channels, samples).",
        Flag(
            MODEL,
            "the model takes clips of this sample rate: WAV and FLAC files, float32 (samples), (batch, samples), "
            "(channels, samples) or (batch, channels, samples)",
            "HZ",
            positive,
            after="labels",
        ),
    )
    labels: Sequence[str] | None = option(
        None,
        "class names in order of the logits.",
        Flag(MODEL, "class names, one per line", "FILE", Path),
    )
    data: Any = option(
        None,
        "images (or arrays, or a list of calls, each a clip's path or arrays) for the parity check, and for the ranges "
        "of float16, or a folder or file of these; by default sample clips for a model with a sample rate, and random "
        "arrays for any other model without preprocessing.",
        Flag(
            COMPARISON,
            DATA_HELP.format(labels_for="--max-drop", default="built-in samples, or random arrays"),
            "PATH",
            Path,
        ),
    )
    device: str | None = option(
        None,
        "what of this machine the bundle is compared and timed on, see `Engine`; the bundle is the same for all. By "
        "default its engine's CPU, or, for TensorRT, the GPU.",
        Flag(
            COMPARISON,
            DEVICE_HELP.format(runs="the bundle is compared and timed on"),
            "DEVICE",
            device,
        ),
    )
    timeout: float = option(
        TRIAL_SECONDS,
        "seconds within which an ONNX file has to be loaded and run once, in a process of its own with 2 GiB of memory "
        "beyond sixteen times its size, and one more for each 2 MiB of it; 0 for a file that you trust, which is then "
        "not tried.",
        Flag(
            MODEL,
            "for --onnx, how long the file may take to be loaded and run once, in a process of limited memory; 0 for a "
            f"file that you trust, which is then not tried (default: {TRIAL_SECONDS})",
            "SECONDS",
            timeout,
            after="labels",
        ),
    )
    provenance: Mapping[str, Any] | None = option(None, "`reference`, `config` and `weights` for the manifest.")
    tune: bool = option(
        False,
        "measure the plans of the transforms on this machine, which takes minutes, and the forms of scans and complex "
        "layers, instead of trusting the cost model; the manifest's `plan`, `scans` and `linears` list what was "
        "measured.",
        Flag(
            TARGET,
            "measure plans of transforms, forms of scans and complex layers on this machine (minutes), not estimate",
        ),
    )
    calibration: Any = option(
        None,
        "what ranges are measured on, for a precision that needs it: a folder of images, an .npz or .npy file, an "
        "iterable of images (for a model of arrays, of dicts of arrays), or None for the built-in samples.",
        Flag(
            CALIBRATION,
            "what int8 scales and float16 ranges are measured on: a folder of images, or .npz/.npy as for --data "
            "(default: built-in samples)",
            "PATH",
            Path,
        ),
    )
    calibration_method: str = option(
        AUTO,
        f"for int8, {quoted(METHODS)}, or {quoted([AUTO])}, which keeps the best of them on inputs that it holds out.",
        Flag(
            CALIBRATION,
            f"how int8 scales follow from that: {', '.join(METHODS)}, or {AUTO}, which keeps the best on a part held "
            f"out (default: {AUTO})",
            "METHOD",
            one_of("calibration method", (*METHODS, AUTO)),
        ),
    )
    passes: Sequence[str] = option(
        PASSES,
        "for int8, which exact rewritings to apply first; see precision.passes.",
        Flag(
            CALIBRATION,
            f"for int8, leave one of the rewritings away: {', '.join(PASSES)}; may be repeated",
            "PASS",
            one_of("pass", PASSES),
            name="--without",
            is_list=True,
            value=other_passes,
            after="calibration",
        ),
    )
    max_drop: float | None = option(
        None,
        "for int8, the largest loss of accuracy in percentage points: of top-1 where `classes` is given, else the "
        "share of `data` on which bundle and model disagree. The layers that cost most stay in floating point, as few "
        "as possible.",
        Flag(
            CALIBRATION,
            "for int8, the largest loss of top-1, in percentage points (without true classes: of agreement with the "
            "original); the layers that cost most stay in floating point, as few as possible",
            "POINTS",
            points,
            after="calibration",
        ),
    )
    only_where_it_pays: bool = option(
        False,
        "for int8, time the products of each size on this machine, which takes minutes, and leave in floating point "
        "those that int8 makes slower; where the whole is then not faster than float32, or than another precision that "
        "the processor has kernels for, the bundle is of that precision. The manifest's `int8_choice` lists what was "
        "timed.",
        Flag(
            CALIBRATION,
            "for int8, time it on this machine (minutes): products that int8 makes slower stay in floating point, and "
            "where another precision is as fast, the bundle is of that one",
            after="max_drop",
        ),
    )
    classes: Sequence[int] | None = option(None, "the true class of each of `data`.")
    builder: BuildOptions | None = option(None, "options for TensorRT's builder, here and on the device.")
    require_plan: bool = option(
        False,
        "fail where no TensorRT plan can be built here; else it is left to the device.",
        Flag(BUILDER, "exit with 4 where no plan can be built here"),
    )
    fft: str = option(
        "real",
        '"real" for transforms as products, or "native" for one operator DFT each, where the engine has an FFT of its '
        "own that works (`no_native_fft` of its record in targets says why not). Everything around them is the same.",
        Flag(
            TARGET,
            "real: transforms become products; native: they stay one operator DFT each, for an engine with an FFT of "
            "its own, which is TensorRT from 11.2 on (default: real)",
            "FORM",
            one_of("form of transforms", FFTS),
            after="batch",
        ),
    )


@dataclass(frozen=True)
class Request(ExportOptions):
    """The same once the model is loaded: what the stages of an export work on."""

    model: nn.Module | OnnxFile

    @property
    def fixed_batch(self) -> int | None:
        """The batch size that was asked for; None for any."""
        return self.batch if isinstance(self.batch, int) else None


# The flags of `builder`, by the fields of BuildOptions, which say what they mean; `profile` is three of them.
BUILDER_FLAGS = named(
    {
        "profile": Flag(
            BUILDER,
            "smallest batch, the one to be fastest for, and the largest, for which memory is taken "
            f"(default: {','.join(map(str, BuildOptions().profile))})",
            "MIN,OPT,MAX",
            batch_profile,
            name="--batch-profile",
        ),
        "workspace_mib": Flag(
            BUILDER,
            "largest scratch memory of the builder (default: half of what is free when it builds)",
            "MIB",
            positive,
            name="--workspace",
        ),
        "optimization_level": Flag(
            BUILDER,
            f"how long it searches for fast kernels (default: {BuildOptions.optimization_level})",
            "0..5",
            level,
        ),
        "version_compatible": Flag(BUILDER, "a plan that later versions of TensorRT run as well, slower"),
        "hardware_compatibility": Flag(
            BUILDER,
            f"{', '.join(HARDWARE_COMPATIBILITY)}: a plan that other GPUs run as well, slower "
            f"(default: {BuildOptions.hardware_compatibility})",
            "LEVEL",
            one_of("hardware compatibility", HARDWARE_COMPATIBILITY),
        ),
        "refit": Flag(BUILDER, "a plan whose weights can be replaced"),
        "strip_weights": Flag(BUILDER, "a plan without weights, which come from the ONNX file"),
        "compute_capabilities": Flag(
            BUILDER,
            "for tensorrt-rtx, a GPU to build for, such as 8.9; may be repeated (default: Ampere and later)",
            "X.Y",
            name="--compute-capability",
            is_list=True,
            value=tuple,
        ),
    }
)


def builder_of(request: Request, fixed: int | None) -> BuildOptions:
    """What TensorRT's builder is given; a `fixed` batch of the model's real form is the whole profile."""
    options = request.builder or BuildOptions()
    return options if fixed is None else replace(options, min_batch=fixed, opt_batch=fixed, max_batch=fixed)
