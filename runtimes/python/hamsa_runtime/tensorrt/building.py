"""ONNX file -> plan: one code path for TensorRT 10.3 to 11.x and TensorRT-RTX.

The types are those of the file, and float32 is float32: TF32, which keeps 10 bits of the significand and is on by
default, is switched off.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hamsa_runtime.errors import BuildError, InputError, MissingError
from hamsa_runtime.tensorrt.achieved import Achieved, achieved, asked_types
from hamsa_runtime.tensorrt.cuda import Gpu
from hamsa_runtime.tensorrt.differences import can, require
from hamsa_runtime.tensorrt.inspection import BITS, Layer, layers_of
from hamsa_runtime.tensorrt.messages import MOST_NODES, build_error, nodes_in
from hamsa_runtime.tensorrt.modules import Lines, log_of
from hamsa_runtime.tensorrt.options import BuildOptions
from hamsa_runtime.tensorrt.progress import Report, State, monitor_of, run_builder, silent

MIB = 2**20
# What a builder may take of the memory that is free, if nobody says: the rest is for weights, and on a Jetson for
# everything else that runs.
SHARE_OF_FREE = 0.5
LEVELS = {"same-compute-capability": "SAME_COMPUTE_CAPABILITY", "ampere+": "AMPERE_PLUS"}


@dataclass(frozen=True)
class Built:
    """A plan and how it came about.

    Attributes:
        plan: serialised.
        seconds: that reading and building took.
        parse_seconds: of these, for reading the ONNX file.
        asked: nodes of the ONNX file, counted by the type that they are to give.
        achieved: what the layers of the plan compute in; None if nobody can tell.
        timing_cache: what was measured on the way, for the next build; None where there is no such thing.
        warnings: of parser and builder.
    """

    plan: bytes
    seconds: float
    parse_seconds: float
    asked: Mapping[str, int]
    achieved: Achieved | None
    timing_cache: bytes | None
    warnings: Sequence[str]


def plan_from_onnx(
    trt: Any,
    onnx_file: Path,
    options: BuildOptions,
    gpu: Gpu | None = None,
    *,
    timing_cache: bytes | None = None,
    report: Report = silent,
) -> Built:
    """Build a plan.

    Args:
        trt: the module.
        onnx_file: typed; external data lie beside it.
        options: for the builder.
        gpu: to build for; None for TensorRT-RTX without a GPU.
        timing_cache: of an earlier build.
        report: called ten times a second with phase, share done and seconds.

    Raises:
        InputError: an option that this version does not have.
        MissingError: a GPU or a library is needed that is not here.
        BuildError: the parser or the builder failed: with what it said, the ONNX node, the layer, and what to try.
        KeyboardInterrupt: the build was stopped.
    """
    options.check()
    if gpu is None and not can(trt, "building without a GPU"):
        raise MissingError(
            f"no GPU to build for: {trt.__name__} {trt.__version__} times its kernels on the GPU that will run them",
            fix="hamsa-build BUNDLE on the device",
        )
    start, state, log = time.monotonic(), State(), log_of(trt)
    with log.listening() as lines:
        builder = trt.Builder(log)
        network, parser = _parsed(trt, builder, onnx_file, lines.errors)
        read = time.monotonic() - start
        config = _configured(trt, builder, network, options, gpu)
        config.progress_monitor = monitor_of(trt, state)
        cache = _timing_cache(trt, config, timing_cache)
        plan = run_builder(lambda: builder.build_serialized_network(network, config), state, report)
        if plan is None:
            what = f"{trt.__name__} {trt.__version__} could not build a plan"
            raise build_error(what, lines.errors, nodes_in(lines.errors, asked_types(network)))
        measured = bytes(config.get_timing_cache().serialize()) if cache else None
        del parser  # its memory holds the weights of the network
        asked, layers = asked_types(network), _layers_of(trt, plan, gpu, lines)
        return Built(
            plan=bytes(plan),
            seconds=time.monotonic() - start,
            parse_seconds=read,
            asked=dict(Counter(kind for kind in asked.values() if kind in BITS).most_common()),
            achieved=None if layers is None else achieved(layers, asked),
            timing_cache=measured,
            warnings=list(dict.fromkeys(lines.warnings)),
        )


def _layers_of(trt: Any, plan: Any, gpu: Gpu | None, lines: Lines) -> list[Layer] | None:
    """From the builder's log, or from the plan itself, which only a GPU can load."""
    if lines.layers:
        return layers_of(lines.layers[-1])
    if gpu is None:
        return None
    engine = trt.Runtime(log_of(trt)).deserialize_cuda_engine(plan)
    if engine is None:
        raise build_error(f"{trt.__name__} {trt.__version__} could not load the plan that it built", lines.errors, [])
    return layers_of(engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON))


def _parsed(trt: Any, builder: Any, onnx_file: Path, lines: Sequence[str]) -> tuple[Any, Any]:
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log_of(trt))
    if parser.parse_from_file(str(onnx_file)):
        return network, parser
    errors = [parser.get_error(i) for i in range(parser.num_errors)]
    said = [error.desc() for error in errors] or list(lines)
    nodes = list(dict.fromkeys(error.node_name() for error in errors if error.node_name()))[:MOST_NODES]
    operators = ", ".join(sorted({error.node_operator() for error in errors if error.node_operator()}))
    what = f"{trt.__name__} {trt.__version__} cannot read {onnx_file.name}" + (f" ({operators})" if operators else "")
    raise build_error(what, said, nodes)


def _configured(trt: Any, builder: Any, network: Any, options: BuildOptions, gpu: Gpu | None) -> Any:
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)
    config.builder_optimization_level = options.optimization_level
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # names and types of layers, for the inspector
    workspace = workspace_of(options, gpu)
    if workspace is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace)
    for flag in _flags(trt, options):
        config.set_flag(getattr(trt.BuilderFlag, flag))
    _set_hardware(trt, config, options)
    _add_profile(builder, network, config, options)
    return config


def workspace_of(options: BuildOptions, gpu: Gpu | None) -> int | None:
    """The limit of the builder's scratch memory in bytes: what was asked for, but never more than is free."""
    asked = None if options.workspace_mib is None else options.workspace_mib * MIB
    if gpu is None:
        return asked
    return min(asked, gpu.free_bytes) if asked is not None else int(SHARE_OF_FREE * gpu.free_bytes)


def _flags(trt: Any, options: BuildOptions) -> list[str]:
    flags = []
    if options.version_compatible:
        require(trt, "version compatibility", "leave --version-compatible away")
        flags.append("VERSION_COMPATIBLE")
    if options.strip_weights:
        # With the same weights as here: REFIT may take the bias of a product for zero (release notes of 11.3.0).
        flags += ["STRIP_PLAN", "REFIT_IDENTICAL"]
    if options.refit:
        flags.append("REFIT")
    return flags


def _set_hardware(trt: Any, config: Any, options: BuildOptions) -> None:
    if options.hardware_compatibility != "none":
        one = options.hardware_compatibility == "same-compute-capability"
        ability = "hardware compatibility" + (" for one compute capability" if one else "")
        require(trt, ability, "leave --hardware-compatibility away")
        level = getattr(trt.HardwareCompatibilityLevel, LEVELS[options.hardware_compatibility])
        config.hardware_compatibility_level = level
    if options.compute_capabilities:
        require(trt, "a choice of compute capabilities", "leave --compute-capability away")
        config.num_compute_capabilities = len(options.compute_capabilities)
        for index, name in enumerate(options.compute_capabilities):
            config.set_compute_capability(_compute_capability(trt, name), index)


def _compute_capability(trt: Any, name: str) -> Any:
    known = {f"{each[2:-1]}.{each[-1]}": each for each in dir(trt.ComputeCapability) if each.startswith("SM")}
    if name not in known:
        raise InputError(
            f"{trt.__name__} {trt.__version__} does not build for compute capability {name}",
            expected="one of " + ", ".join(sorted(known, key=float)),
        )
    return getattr(trt.ComputeCapability, known[name])


def _add_profile(builder: Any, network: Any, config: Any, options: BuildOptions) -> None:
    """The range of the batch, for every input that has one."""
    inputs = [network.get_input(i) for i in range(network.num_inputs)]
    dynamic = [each for each in inputs if -1 in tuple(each.shape)]
    if not dynamic:
        return
    profile = builder.create_optimization_profile()
    for each in dynamic:
        shape = tuple(each.shape)
        if shape.count(-1) > 1:
            raise BuildError(f"the input {each.name} has the shape {shape}", expected="a fixed shape beside the batch")
        sizes = (options.min_batch, options.opt_batch, options.max_batch)
        profile.set_shape(each.name, *(tuple(n if size == -1 else size for size in shape) for n in sizes))
    config.add_optimization_profile(profile)


def _timing_cache(trt: Any, config: Any, stored: bytes | None) -> bool:
    if not can(trt, "timing cache"):
        return False
    cache = config.create_timing_cache(stored or b"") or config.create_timing_cache(b"")  # None: it was damaged
    return bool(config.set_timing_cache(cache, False))
