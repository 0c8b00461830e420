"""TensorRT and TensorRT-RTX on a GPU: built here, run, compared with numpy. Skipped where there is none.

What these find right on a real device is what tensorrt/test_execution.py finds right on a simulated one.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from hamsa_runtime import Engine
from hamsa_runtime.bundle import open_bundle
from hamsa_runtime.errors import BuildError, EngineClosedError
from hamsa_runtime.tensorrt import cuda
from hamsa_runtime.tensorrt.dlpack import CUDA
from hamsa_runtime.tensorrt.execution import Execution
from hamsa_runtime.tensorrt.modules import MODULES, load

from .tensorrt.dlpack_head import address_of
from .tiny_bundles import CHANNELS, CLASSES, SIZE, MakeBundle, reference

pytestmark = pytest.mark.gpu

# half a unit in the last place of each format, times the handful of roundings on the way to a logit
ROUNDING = {"fp32": 1e-6, "fp16": 2e-3}
LARGEST = 8  # of the batch profile, by default


@pytest.fixture(params=sorted(MODULES))
def target(request: pytest.FixtureRequest) -> str:
    """Each of the two, where its package is installed."""
    name: str = request.param
    try:
        importlib.import_module(MODULES[name])
    except (ImportError, OSError) as error:
        pytest.skip(f"{MODULES[name]} cannot be imported: {error}")
    return name


@pytest.fixture
def engine(target: str, make_bundle: MakeBundle) -> Iterator[Engine]:
    with Engine(make_bundle(target)) as opened:
        yield opened


def images(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, *SIZE, CHANNELS), dtype=np.uint8)


def check(logits: np.ndarray, pixels: np.ndarray, precision: str = "fp32") -> None:
    expected = reference(pixels)["logits"]
    assert logits.shape == expected.shape
    assert np.abs(logits - expected).max() / np.abs(expected).max() < ROUNDING[precision]


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("cuda_graph", [False, True])
def test_every_batch_is_right(target: str, make_bundle: MakeBundle, precision: str, cuda_graph: bool) -> None:
    """Above the profile's largest batch it is cut; with graphs, the third run of a batch size is a replay."""
    with Engine(make_bundle(target, precision=precision), cuda_graph=cuda_graph) as opened:
        for count in (1, LARGEST, 1, 3, LARGEST + 1, 1, 2 * LARGEST):
            check(opened(images(count))["logits"], images(count), precision)


def test_a_static_batch_is_filled_up(target: str, make_bundle: MakeBundle) -> None:
    with Engine(make_bundle(target, batch=4)) as opened:
        for count in (4, 1, 6):
            check(opened(images(count))["logits"], images(count))


def test_graphs_change_nothing_in_the_results(target: str, make_bundle: MakeBundle) -> None:
    folder = make_bundle(target)
    with Engine(folder) as plain, Engine(folder, cuda_graph=True) as graphs:
        for _ in range(3):
            np.testing.assert_array_equal(plain(images(2))["logits"], graphs(images(2))["logits"])


def test_threads_infer_at_once(engine: Engine) -> None:
    def work(count: int) -> None:
        for _ in range(20):
            check(engine(images(count))["logits"], images(count))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, (1, 2, 3, LARGEST)))


def test_results_on_the_gpu_outlive_the_engine(engine: Engine) -> None:
    array = engine.on_device(images(3))["logits"]
    engine(images(2))  # does not write over them
    engine.close()
    assert array.__dlpack_device__() == (CUDA, 0)
    copied = np.zeros((3, CLASSES), np.float32)
    kind = cuda.runtime().cudaMemcpyKind.cudaMemcpyDeviceToHost
    cuda.call("cudaMemcpy", copied.ctypes.data, address_of(array), copied.nbytes, kind)
    check(copied, images(3))


def test_torch_takes_the_results_without_a_copy(engine: Engine) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch has no CUDA")
    array = engine.on_device(images(3))["logits"]
    tensor = torch.from_dlpack(array)
    assert tensor.device == torch.device("cuda", 0)
    assert tensor.data_ptr() == address_of(array)
    with torch.cuda.stream(torch.cuda.Stream()):  # another stream than that of the inference
        other = torch.from_dlpack(array) * 1
    engine.close()
    del array
    torch.cuda.synchronize()
    check(tensor.cpu().numpy(), images(3))
    check(other.cpu().numpy(), images(3))


def test_cupy_takes_the_results_without_a_copy(engine: Engine) -> None:
    cupy = pytest.importorskip("cupy")
    array = engine.on_device(images(3))["logits"]
    found = cupy.from_dlpack(array)
    assert found.data.ptr == address_of(array)
    check(cupy.asnumpy(found), images(3))


def test_results_on_the_gpu_are_freed(engine: Engine) -> None:
    """Ten thousand results of 8 x 4 numbers, each at least one page of 512 bytes, would take 5 MB and more."""
    for _ in range(100):
        engine.on_device(images(1))
    before = cuda.gpu_at(0).free_bytes
    for _ in range(10_000):
        engine.on_device(images(1))
    assert before - cuda.gpu_at(0).free_bytes < 2**22


def test_two_hundred_loads_give_their_memory_back(target: str, make_bundle: MakeBundle) -> None:
    """Memory grows by under 10 % growth after 30 loads, of what one engine takes besides the driver's own."""
    folder = make_bundle(target)

    def load_and_run() -> None:
        with Engine(folder, cuda_graph=True) as opened:
            for _ in range(3):
                opened(images(2))

    for _ in range(30):
        load_and_run()
    used = cuda.gpu_at(0).total_bytes - cuda.gpu_at(0).free_bytes
    for _ in range(170):
        load_and_run()
    assert cuda.gpu_at(0).total_bytes - cuda.gpu_at(0).free_bytes < 1.1 * used


def test_the_layers_are_in_the_precision_of_the_bundle(target: str, make_bundle: MakeBundle) -> None:
    with Engine(make_bundle(target, precision="fp16")) as opened:
        operators, description = opened.operators(), opened.describe()
    products = [each for each in operators if "f16" in each.precision]
    assert products, operators
    assert description["backend"] == target
    assert "f16" in description["layers"]


def test_a_plan_that_is_damaged_is_an_error_with_the_log(target: str, make_bundle: MakeBundle) -> None:
    manifest = open_bundle(make_bundle(target)).manifest
    with pytest.raises(BuildError, match="could not load the plan") as caught:
        Execution(load(target), bytes(1000), manifest, cuda.gpu_at(0))
    assert caught.value.exit_code == 5
    assert "nothing: its log is empty" not in str(caught.value)


def test_what_tensorrt_rtx_compiles_is_kept(make_bundle: MakeBundle, tmp_path: Path) -> None:
    """The second load takes the kernels from the file, and does not write it again."""
    from hamsa_runtime.tensorrt.engine_files import plan_of_bundle

    pytest.importorskip("tensorrt_rtx")
    bundle, kernels = open_bundle(make_bundle("tensorrt-rtx")), tmp_path / "kernels"
    plan = plan_of_bundle(load("tensorrt-rtx"), bundle, None).plan
    written = []
    for _ in range(2):
        execution = Execution(load("tensorrt-rtx"), plan, bundle.manifest, cuda.gpu_at(0), kernels=kernels)
        check(execution.infer({"image": images(2)})["logits"], images(2))
        execution.close()
        written.append(kernels.stat().st_mtime_ns)
    assert kernels.stat().st_size > 32
    assert written[0] == written[1]


def test_use_after_close_is_an_error(engine: Engine) -> None:
    engine.close()
    engine.close()
    with pytest.raises(EngineClosedError):
        engine.on_device(images(1))
