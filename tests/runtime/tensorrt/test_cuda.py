"""cuda-python itself, without a driver where there is none; with one, these calls succeed."""

from __future__ import annotations

import importlib.util
import sys

import pytest

from hamsa_runtime.errors import BuildError, HamsaError, MissingError
from hamsa_runtime.tensorrt import cuda

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("cuda") is None or importlib.util.find_spec("cuda.bindings") is None,
    reason="cuda-python is not installed",
)


def error_for(symbol: str) -> HamsaError:
    """The error for an error code of the real module."""
    code = getattr(cuda.runtime().cudaError_t, symbol)
    with pytest.raises(HamsaError) as caught:
        cuda.check(code, "cudaSomething")
    return caught.value


def has_driver() -> bool:
    return cuda.versions()[0] != (0, 0)


@pytest.mark.skipif("has_driver()", reason="this machine has an NVIDIA driver")
def test_no_driver_is_a_missing_error_with_the_way_out() -> None:
    with pytest.raises(MissingError, match="cudaErrorInsufficientDriver") as caught:
        cuda.gpu_at(0)
    assert caught.value.exit_code == 4
    assert "no NVIDIA driver is installed" in caught.value.cause
    assert "nvidia-smi" in caught.value.fix
    with pytest.raises(MissingError, match="cudaMalloc"):
        cuda.Memory(16)


def test_what_cannot_be_had_is_missing_and_the_rest_is_a_failure() -> None:
    for symbol in cuda.ADVICE:
        if symbol != "cudaErrorMemoryAllocation":
            assert isinstance(error_for(symbol), MissingError)
    assert isinstance(error_for("cudaErrorMemoryAllocation"), BuildError)
    failed = error_for("cudaErrorIllegalAddress")
    assert isinstance(failed, BuildError)
    assert str(failed).startswith("cudaSomething: cudaErrorIllegalAddress (an illegal memory access was encountered)")


def test_success_is_no_error() -> None:
    cuda.check(cuda.runtime().cudaError_t.cudaSuccess, "cudaSomething")
    assert cuda.versions()[1] >= (12, 6)


def test_without_cuda_python_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    cuda.runtime.cache_clear()
    with pytest.raises(MissingError, match="cuda-python") as caught:
        cuda.call("cudaGetDeviceCount")
    assert "hamsa-runtime[tensorrt]" in caught.value.fix
    monkeypatch.undo()
    assert cuda.runtime().__name__ == "cuda.bindings.runtime"


@pytest.mark.parametrize(("device", "index"), [("GPU", 0), ("GPU.0", 0), ("gpu:1", 1), ("GPU.12", 12)])
def test_devices_are_numbered_as_cuda_counts_them(device: str, index: int) -> None:
    assert cuda.index_of(device) == index


@pytest.mark.parametrize("device", ["CPU", "GPU.x", "CUDA", "cuda:0"])
def test_another_device_is_an_error(device: str) -> None:
    with pytest.raises(MissingError, match="TensorRT has no device") as caught:
        cuda.index_of(device)
    assert "GPU.1" in caught.value.expected
