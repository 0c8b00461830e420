"""On a simulated GPU: who allocates, runs, waits and frees what, and when."""

from __future__ import annotations

import gc
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hamsa_runtime.errors import BuildError, EngineClosedError, InputError, MissingError
from hamsa_runtime.manifest import Manifest, manifest_from_json
from hamsa_runtime.tensorrt import cuda
from hamsa_runtime.tensorrt.cuda import Gpu
from hamsa_runtime.tensorrt.dlpack import CUDA
from hamsa_runtime.tensorrt.execution import Execution, layer_recorder

from .simulated import FACTOR, Code, Cuda, tensorrt

GPU = Gpu(1, "Simulated", "8.8", 2**29, 2**30)
Open = Callable[..., tuple[Execution, Any]]


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cuda]:
    """A simulated GPU; at the end nothing may be left on it."""
    simulated = Cuda()
    monkeypatch.setattr(cuda, "runtime", lambda: simulated)
    yield simulated
    gc.collect()
    assert simulated.memory == {}
    assert simulated.handles == {}


@pytest.fixture
def execution(device: Cuda) -> Iterator[Open]:
    """Opens executions, with the simulated module; they are closed at the end."""
    opened: list[Execution] = []

    def make(*, limits: Any = (1, 4), plan: bytes = b"plan", name: str = "tensorrt", **options: Any) -> Any:
        version = "1.7.1.116" if name == "tensorrt_rtx" else "10.3.0"
        trt = tensorrt(device, name, version, limits)
        opened.append(Execution(trt, plan, manifest("batch" if limits else 5), GPU, **options))
        return opened[-1], trt.engine

    yield make
    for each in opened:
        each.close()


def manifest(batch: int | str = "batch", **changes: Any) -> Manifest:
    port = {"dtype": "float32", "shape": [batch, 4]} | changes
    document: dict[str, Any] = {
        "schema": 1,
        "name": "three",
        "model": {"reference": "tests:three", "config": {}, "weights": None, "parameters": 0},
        "inputs": [{"name": "x", "layout": None, **port}],
        "outputs": [{"name": "y", **port}],
        "target": "tensorrt",
        "precision": "fp32",
        "plan": [],
        **dict.fromkeys(("preprocessing", "labels", "calibration", "parity")),
        **{key: {} for key in ("options", "files", "versions")},
    }
    return manifest_from_json(json.dumps(document).encode())


def numbers(batch: int, start: float = 0) -> dict[str, np.ndarray]:
    return {"x": start + np.arange(4 * batch, dtype=np.float32).reshape(batch, 4)}


@pytest.mark.parametrize("cuda_graph", [False, True])
def test_every_batch_is_right_in_any_order_and_the_results_are_the_callers(execution: Open, cuda_graph: bool) -> None:
    """With graphs: the first run of a batch size is ordinary, the second captured, the third a replay."""
    opened, _ = execution(cuda_graph=cuda_graph)
    given = [numbers(batch, start) for start, batch in enumerate((1, 4, 1, 3, 1, 4, 3, 4))]
    found = [opened.infer(each)["y"] for each in given]
    for each, y in zip(given, found, strict=True):  # after all of them: no result is a view of shared memory
        np.testing.assert_array_equal(y, FACTOR * each["x"])
        assert y.flags.owndata


def test_a_fixed_batch_has_no_limits(execution: Open) -> None:
    opened, _ = execution(limits=None)
    assert opened.batch_limits is None
    np.testing.assert_array_equal(opened.infer(numbers(5))["y"], FACTOR * numbers(5)["x"])


def test_memory_is_taken_once_for_the_largest_batch(execution: Open, device: Cuda) -> None:
    opened, engine = execution()
    for batch in (1, 4, 2):
        opened.infer(numbers(batch))
    assert device.calls["cudaMalloc"] == device.calls["cudaMallocHost"] == 2  # one input, one output
    assert {len(each) for each in device.memory.values()} == {4 * 4 * 4}
    assert engine.contexts_made == 1


def test_a_graph_is_launched_from_the_second_run_of_a_batch_size_on(execution: Open, device: Cuda) -> None:
    opened, engine = execution(cuda_graph=True)
    launches = []
    for batch in (2, 2, 2, 3, 3):
        opened.infer(numbers(batch))
        launches.append(device.calls["cudaGraphLaunch"])
    assert launches == [0, 1, 2, 2, 3]
    assert device.calls["cudaGraphInstantiate"] == engine.contexts_made == 2  # one context for each graph


def test_a_graph_is_not_captured_from_a_context_that_was_inspected_only(execution: Open) -> None:
    opened, _ = execution(cuda_graph=True)
    assert opened.information() == '{"Layers": ["one"]}'
    for _ in range(3):
        np.testing.assert_array_equal(opened.infer(numbers(1))["y"], FACTOR * numbers(1)["x"])


def test_a_graph_that_cannot_be_captured_is_an_error(execution: Open, device: Cuda) -> None:
    opened, _ = execution(cuda_graph=True)
    opened.infer(numbers(2))
    device.fails["cudaGraphInstantiate"] = Code.SICK
    with pytest.raises(BuildError, match="cudaGraphInstantiate: cudaErrorIllegalAddress"):
        opened.infer(numbers(2))


def test_tensorrt_rtx_is_asked_to_capture_by_itself(execution: Open, device: Cuda) -> None:
    opened, engine = execution(name="tensorrt_rtx", cuda_graph=True)
    for _ in range(3):
        opened.infer(numbers(2))
    assert engine.configs[0].cuda_graph_strategy == "whole"
    assert device.calls["cudaGraphLaunch"] == 0


def test_what_tensorrt_rtx_compiled_is_kept(execution: Open, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kernels = tmp_path / "kernels"
    for _ in range(2):
        opened, _ = execution(name="tensorrt_rtx", kernels=kernels)
        opened.infer(numbers(1))
        opened.close()
    assert kernels.read_bytes()[32:] == b"kernels of a GPU"
    assert [path.name for path in tmp_path.iterdir()] == ["kernels"]
    assert caplog.text == ""


@pytest.mark.parametrize("content", [b"", b"kernels", bytes(32) + b"kernels"], ids=["empty", "short", "wrong"])
def test_kernels_that_are_damaged_are_compiled_again(
    execution: Open, tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    kernels = tmp_path / "kernels"
    kernels.write_bytes(content)
    opened, _ = execution(name="tensorrt_rtx", kernels=kernels)
    opened.infer(numbers(1))
    opened.close()
    assert "is damaged" in caplog.text
    assert kernels.read_bytes()[32:] == b"kernels of a GPU"


def test_a_folder_that_cannot_be_written_is_reported(
    execution: Open, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    opened, _ = execution(name="tensorrt_rtx", kernels=tmp_path / "missing" / "kernels")
    opened.infer(numbers(1))
    opened.close()
    assert "cannot be kept" in caplog.text


def test_threads_run_at_once_each_with_a_context_of_its_own(execution: Open) -> None:
    opened, engine = execution()
    engine.seconds = 0.05
    start = threading.Barrier(3)

    def work(number: int) -> bool:
        start.wait()
        return all(
            np.array_equal(opened.infer(numbers(2, number))["y"], FACTOR * numbers(2, number)["x"]) for _ in "12"
        )

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(work, range(3))) == [True] * 3
    assert engine.contexts_made == 3


def test_threads_that_come_and_go_share_what_is_idle(execution: Open) -> None:
    opened, engine = execution()
    for number in range(20):
        thread = threading.Thread(target=opened.infer, args=(numbers(1, number),))
        thread.start()
        thread.join()
    assert engine.contexts_made == 1


def test_close_waits_for_what_runs(execution: Open) -> None:
    opened, engine = execution()
    engine.seconds = 0.2
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(opened.infer, numbers(1))
        assert engine.at_work.wait(10)
        opened.close()
        assert running.done()
        np.testing.assert_array_equal(running.result()["y"], FACTOR * numbers(1)["x"])


def test_use_after_close_is_an_error_and_closing_twice_is_not(execution: Open, device: Cuda) -> None:
    opened, _ = execution()
    opened.infer(numbers(1))
    opened.close()
    opened.close()
    assert device.memory == {}
    for use in (opened.infer, opened.infer_on_device):
        with pytest.raises(EngineClosedError, match="this engine was closed"):
            use(numbers(1))


def test_two_hundred_loads_leave_nothing(execution: Open, device: Cuda) -> None:
    for _ in range(200):
        opened, _ = execution(cuda_graph=True)
        for batch in (1, 1, 1, 4):
            opened.infer(numbers(batch))
        opened.close()
        assert device.memory == device.handles == {}
        assert not list(device.contexts)


def test_the_current_gpu_of_the_thread_is_as_it_was(execution: Open, device: Cuda) -> None:
    opened, _ = execution()
    opened.infer(numbers(1))
    opened.close()
    assert device.cudaGetDevice() == (Code.SUCCESS, 0)
    assert device.calls["cudaSetDevice"] > 0  # the plan runs on number 1


def test_results_on_the_gpu_outlive_the_engine_and_are_freed_with_their_last_reference(
    execution: Open, device: Cuda
) -> None:
    opened, _ = execution()
    array = opened.infer_on_device(numbers(3))["y"]
    opened.infer(numbers(2, 7))  # does not write over them
    opened.close()
    assert array.__dlpack_device__() == (CUDA, GPU.index)
    assert (array.shape, array.dtype) == ((3, 4), np.dtype(np.float32))
    [(address, memory)] = device.memory.items()
    np.testing.assert_array_equal(np.frombuffer(memory, np.float32).reshape(3, 4), FACTOR * numbers(3)["x"])
    rows, capsule = array.first(2, 3), array.__dlpack__(stream=1, max_version=(1, 0))
    del array, memory
    assert address in device.memory
    del rows
    assert address in device.memory
    del capsule
    assert device.memory == {}


@pytest.mark.parametrize("batch", [0, 5])
def test_a_batch_outside_of_the_profile_is_an_error(execution: Open, batch: int) -> None:
    opened, _ = execution()
    with pytest.raises(InputError, match=f"a batch of {batch}") as caught:
        opened.infer(numbers(batch))
    assert caught.value.expected == "1 to 4, which the plan was built for"


def test_a_plan_that_cannot_be_loaded_is_an_error_with_the_log(execution: Open) -> None:
    with pytest.raises(BuildError) as caught:
        execution(plan=b"of another version")
    assert caught.value.exit_code == 5
    assert "tensorrt 10.3.0 could not load the plan on Simulated (compute capability 8.8)" in str(caught.value)
    assert "Current Version: 239, Serialized Engine Version: 236" in str(caught.value)
    assert "hamsa-build" in caught.value.fix


def test_a_plan_without_weights_gets_them_from_the_onnx_file_or_is_not_run(execution: Open) -> None:
    _, engine = execution(weights=Path("model.onnx"))
    assert engine.refitted_from == "model.onnx"
    _, engine = execution()
    assert engine.refitted_from == ""
    with pytest.raises(BuildError, match="could not give the plan its weights") as caught:
        execution(weights=Path("other.onnx"))
    assert "a weight of the plan is not in the file" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"dtype": "float16"}, "'x' of the plan is float32"), ({"shape": ["batch", 5]}, r"is float32 \(-1, 4\)")],
)
def test_a_plan_of_another_model_is_an_error(device: Cuda, change: dict[str, Any], message: str) -> None:
    with pytest.raises(BuildError, match=message):
        Execution(tensorrt(device), b"plan", manifest(**change), GPU)


def test_an_inference_that_fails_says_why_and_its_lane_is_not_used_again(execution: Open, device: Cuda) -> None:
    opened, engine = execution()
    engine.refuses = "no kernel image is available"
    with pytest.raises(BuildError, match="no kernel image is available"):
        opened.infer(numbers(1))
    assert device.memory == {}
    engine.refuses = ""
    np.testing.assert_array_equal(opened.infer(numbers(1))["y"], FACTOR * numbers(1)["x"])


def test_a_gpu_that_is_full_is_an_error_and_gives_back_what_it_gave(execution: Open, device: Cuda) -> None:
    opened, _ = execution()
    device.limit = 3 * 4 * 4 * 4  # three of the four buffers
    with pytest.raises(BuildError, match="cudaErrorMemoryAllocation") as caught:
        opened.infer(numbers(1))
    assert "Jetson" in caught.value.cause
    assert device.memory == device.handles == {}


def test_a_gpu_that_fails_can_still_be_closed(execution: Open, device: Cuda) -> None:
    opened, _ = execution()
    opened.infer(numbers(1))
    device.fails["cudaStreamSynchronize"] = Code.SICK
    with pytest.raises(BuildError, match="illegal memory access"):
        opened.infer(numbers(1))
    opened.close()
    assert device.memory == {}


def test_a_driver_that_is_too_old_names_both_versions(device: Cuda) -> None:
    device.fails["cudaGetDeviceCount"] = Code.NO_DRIVER
    with pytest.raises(MissingError, match="cudaErrorInsufficientDriver") as caught:
        cuda.gpu_at(0)
    assert caught.value.cause == "the driver is for CUDA 12.6, cuda-python for 12.9"
    assert "cuda-python<13" in caught.value.fix


def test_a_gpu_is_described(device: Cuda) -> None:
    assert cuda.gpu_at(1) == GPU
    with pytest.raises(MissingError, match="no GPU number 2 here") as caught:
        cuda.gpu_at(2)
    assert caught.value.expected == "one of GPU.0, GPU.1"


def test_what_times_layers_is_a_profiler_of_the_module_and_keeps_every_run() -> None:
    module = SimpleNamespace(IProfiler=type("IProfiler", (), {}))
    recorder = layer_recorder(module)
    for name, ms in (("gemm", 1.0), ("reformat", 0.5), ("gemm", 3.0)):
        recorder.report_layer_time(name, ms)
    assert isinstance(recorder, module.IProfiler)
    assert recorder.seen == {"gemm": [1.0, 3.0], "reformat": [0.5]}
