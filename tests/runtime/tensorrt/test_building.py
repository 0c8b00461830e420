"""ONNX to plan, for real: TensorRT-RTX builds without a GPU, by the code that TensorRT runs on a device."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from hamsa_runtime.errors import BuildError, InputError, MissingError
from hamsa_runtime.tensorrt.building import plan_from_onnx
from hamsa_runtime.tensorrt.gpu import has_gpu
from hamsa_runtime.tensorrt.options import BuildOptions
from hamsa_runtime.tensorrt.progress import State, run_builder

from ..tiny_bundles import image_model, onnx_model, typed_as_float16


def saved(model: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "Modell für später.onnx"
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("batch", ["batch", 2])
@pytest.mark.parametrize("half", [False, True])
def test_a_typed_file_is_built_as_it_is_typed(rtx: Any, tmp_path: Path, batch: int | str, half: bool) -> None:
    model = image_model("runtime", batch)
    phases: list[str] = []
    path = saved(typed_as_float16(model) if half else model, tmp_path)
    built = plan_from_onnx(rtx, path, BuildOptions(), report=lambda phase, done, seconds: phases.append(phase))
    assert len(built.plan) > 1000
    # Convolution, ReLU, pooling, reshaping, product; in float16 outputs are cast back to float32.
    assert built.asked == ({"f16": 6, "f32": 2} if half else {"f32": 5})
    assert built.achieved is not None
    assert built.achieved.fell_back == []
    assert "f16" in built.achieved.layers if half else set(built.achieved.layers) == {"f32"}
    assert built.timing_cache is None
    assert 0 <= built.parse_seconds <= built.seconds
    assert phases


def test_the_batch_of_the_profile_decides_the_plan(rtx: Any, tmp_path: Path) -> None:
    path = saved(image_model("runtime", "batch"), tmp_path)
    plans = {
        plan_from_onnx(rtx, path, BuildOptions(min_batch=1, opt_batch=1, max_batch=largest)).plan for largest in (1, 8)
    }
    assert len(plans) == 2


def test_compute_capabilities_can_be_chosen(rtx: Any, tmp_path: Path) -> None:
    path = saved(typed_as_float16(image_model("runtime", 1)), tmp_path)
    choices = [(), ("7.5",), ("8.6", "8.9")]
    plans = {plan_from_onnx(rtx, path, BuildOptions(compute_capabilities=names)).plan for names in choices}
    assert len(plans) == len(choices)


def test_what_turing_lacks_is_explained(rtx: Any, tmp_path: Path) -> None:
    path = saved(image_model("runtime", 1), tmp_path)
    with pytest.raises(BuildError, match="FP32 GEMM is not supported") as caught:
        plan_from_onnx(rtx, path, BuildOptions(compute_capabilities=("7.5",)))
    assert "--fp16" in caught.value.fix


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (BuildOptions(compute_capabilities=("8.7",)), InputError, "compute capability 8.7"),
        (BuildOptions(version_compatible=True), InputError, "does not have version compatibility"),
        (BuildOptions(hardware_compatibility="ampere+"), InputError, "does not have hardware compatibility"),
        (BuildOptions(hardware_compatibility="same-compute-capability"), InputError, "for one compute capability"),
        (BuildOptions(max_batch=0), InputError, "batch profile 1, 1, 0"),
    ],
)
def test_what_rtx_does_not_have_is_refused_before_anything_is_built(
    rtx: Any, tmp_path: Path, options: BuildOptions, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        plan_from_onnx(rtx, saved(image_model("runtime", 1), tmp_path), options)


@pytest.mark.skipif(has_gpu(), reason="with a GPU it builds them")
@pytest.mark.parametrize("options", [BuildOptions(refit=True), BuildOptions(strip_weights=True)])
def test_rtx_says_that_weights_to_be_replaced_need_a_gpu(rtx: Any, tmp_path: Path, options: BuildOptions) -> None:
    path = saved(image_model("runtime", 1), tmp_path)
    with pytest.raises(MissingError, match=r"graph_jit\.cpp") as caught:  # its own message
        plan_from_onnx(rtx, path, options)
    assert "--strip-weights" in caught.value.fix


def test_tensorrt_itself_needs_a_gpu_to_build(tmp_path: Path) -> None:
    class Tensorrt:
        __name__, __version__ = "tensorrt", "10.3.0"

    with pytest.raises(MissingError, match="no GPU to build for") as caught:
        plan_from_onnx(Tensorrt(), tmp_path / "model.onnx", BuildOptions())
    assert "hamsa-build BUNDLE" in caught.value.fix


def test_an_operator_that_it_lacks_is_named_with_its_layer(rtx: Any, tmp_path: Path) -> None:
    node = helper.make_node("DFT", ["x"], ["y"], name="blocks.0.mix/node_fft", onesided=1, axis=1)
    model = onnx_model([node], [("x", TensorProto.FLOAT, [1, 8, 1])], [("y", TensorProto.FLOAT, [1, 5, 2])], {})
    with pytest.raises(BuildError) as caught:
        plan_from_onnx(rtx, saved(model, tmp_path), BuildOptions())
    assert "cannot read Modell für später.onnx (DFT) at node node_fft of the layer blocks.0.mix" in caught.value.found
    assert "Plugin not found" in caught.value.found
    assert "--fft real" in caught.value.fix


def test_uint8_that_is_not_converted_at_once_is_explained(rtx: Any, tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], name="front/node_permute", perm=[0, 2, 1]),
        helper.make_node("Cast", ["t"], ["y"], name="front/node_cast", to=TensorProto.FLOAT),
    ]
    model = onnx_model(nodes, [("x", TensorProto.UINT8, [1, 8, 4])], [("y", TensorProto.FLOAT, [1, 4, 8])], {})
    with pytest.raises(BuildError, match="node node_permute of the layer front") as caught:
        plan_from_onnx(rtx, saved(model, tmp_path), BuildOptions())
    assert "uint8 only into a conversion" in caught.value.cause


def test_quantised_values_where_there_is_no_int8_are_explained(rtx: Any, tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["weights"], ["wide"], name="a/cast", to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["x", "wide"], ["y"], name="a/product"),
    ]
    constants = {"weights": np.ones((4, 4), np.int8)}
    shape = [1, 8, 4]
    model = onnx_model(nodes, [("x", TensorProto.FLOAT, shape)], [("y", TensorProto.FLOAT, shape)], constants)
    with pytest.raises(BuildError, match="only allowed before DQ") as caught:
        plan_from_onnx(rtx, saved(model, tmp_path), BuildOptions())
    assert "--int8" in caught.value.fix


def test_too_small_a_workspace_is_explained(rtx: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    constants = {"a": rng.standard_normal((4, 512)).astype(np.float32)}
    constants["b"] = rng.standard_normal((512, 4096)).astype(np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["h"], name="a/first"),
        helper.make_node("Sqrt", ["h"], ["s"], name="a/root"),
        helper.make_node("ReduceMean", ["s"], ["r"], name="a/mean", keepdims=1),
        helper.make_node("Mul", ["s", "r"], ["m"], name="a/scaled"),
        helper.make_node("MatMul", ["m", "b"], ["y"], name="a/second"),
    ]
    shape = ["batch", 4096, 4]
    model = onnx_model(
        nodes, [("x", TensorProto.FLOAT, shape)], [("y", TensorProto.FLOAT, [*shape[:2], 4096])], constants
    )
    with pytest.raises(BuildError) as caught:
        plan_from_onnx(rtx, saved(model, tmp_path), BuildOptions(max_batch=64, workspace_mib=1))
    assert "--workspace" in caught.value.fix, caught.value.found


@pytest.mark.parametrize("data", [b"", b"not a model", b"\x08\x08" * 100])
def test_a_file_that_is_no_model_is_a_build_error(rtx: Any, tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    with pytest.raises(BuildError, match=r"cannot read model\.onnx|could not build a plan"):
        plan_from_onnx(rtx, path, BuildOptions())


def test_an_axis_besides_the_batch_must_be_fixed(rtx: Any, tmp_path: Path) -> None:
    shape = ["batch", "length", 4]
    node = helper.make_node("Relu", ["x"], ["y"], name="a/relu")
    model = onnx_model([node], [("x", TensorProto.FLOAT, shape)], [("y", TensorProto.FLOAT, shape)], {})
    with pytest.raises(BuildError, match="the input x has the shape"):
        plan_from_onnx(rtx, saved(model, tmp_path), BuildOptions())


def test_ctrl_c_stops_the_builder_at_its_next_step(rtx: Any, tmp_path: Path) -> None:
    path = saved(image_model("runtime", "batch"), tmp_path)

    def interrupt(phase: str, done: float | None, seconds: float) -> None:
        raise KeyboardInterrupt  # where a signal raises it: in the thread that waits

    with pytest.raises(KeyboardInterrupt):
        plan_from_onnx(rtx, path, BuildOptions(), report=interrupt)
    assert plan_from_onnx(rtx, path, BuildOptions()).plan  # the module still works


def test_a_builder_is_told_to_stop_and_waited_for() -> None:
    state, stopped = State(), threading.Event()

    def build() -> None:
        while not state.cancelled:
            stopped.wait(0.01)
        stopped.set()

    def interrupt(phase: str, done: float | None, seconds: float) -> None:
        if not state.cancelled:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_builder(build, state, interrupt)
    assert stopped.is_set()


INTERRUPTED = """
import signal, threading
from hamsa_runtime.tensorrt.progress import State, run_builder

signal.signal(signal.SIGINT, signal.default_int_handler)
stopped = threading.Event()

def build():
    stopped.wait(0.2)  # until the other thread waits
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
    stopped.wait(0.5)
    stopped.set()

try:
    run_builder(build, State())
except KeyboardInterrupt:
    print("interrupted", stopped.is_set())
"""


def test_a_signal_does_not_end_the_wait() -> None:
    """Up to Python 3.12, a Thread.join that is interrupted takes a thread that runs for one that has ended.

    In a process of its own: what else has run in this one has a say in what a signal does.
    """
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "interrupted True", done.stderr


def test_what_a_builder_raises_reaches_the_caller() -> None:
    def build() -> None:
        raise ValueError("from the other thread")

    with pytest.raises(ValueError, match="from the other thread"):
        run_builder(build, State())


def test_the_outermost_phase_with_steps_is_reported() -> None:
    state = State()
    assert state.phase() == ("starting", None)
    state.steps = {"whole": (0, 1), "outer": (1, 4), "inner": (2, 3)}
    assert state.phase() == ("outer", 0.25)
    state.steps = {}
    assert state.phase() == ("outer", None)
