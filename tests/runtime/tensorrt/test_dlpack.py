"""The DLPack structure for real, on host memory; on a GPU only the device in it is another."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

from hamsa_runtime.tensorrt.dlpack import CPU, CUDA, DeviceArray

from .dlpack_head import head_of

torch = pytest.importorskip("torch", reason="torch is not here, as on a device")

HOST = (CPU, 0)
# the types of a manifest; torch and numpy agree on all of them
DTYPES = ["float32", "float16", "float64", "int8", "uint8", "int32", "int64", "bool"]


class HostMemory:
    """Stands for memory of a GPU: with an address, and freed with its last reference."""

    def __init__(self, content: np.ndarray) -> None:
        self.content = np.ascontiguousarray(content)
        self.address = self.content.ctypes.data


def array_of(content: np.ndarray, device: tuple[int, int] = HOST) -> tuple[DeviceArray, weakref.ref[HostMemory]]:
    memory = HostMemory(content)
    return DeviceArray(memory, content.shape, content.dtype, device), weakref.ref(memory)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (1,), (3, 4), (2, 3, 5)])
def test_numpy_and_torch_see_the_same_memory(dtype: str, shape: tuple[int, ...]) -> None:
    content = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    array, memory = array_of(content)
    by_numpy, by_torch = np.from_dlpack(array), torch.from_dlpack(array)
    assert by_numpy.dtype == by_torch.numpy().dtype == np.dtype(dtype)
    np.testing.assert_array_equal(by_numpy, content)
    np.testing.assert_array_equal(by_torch.numpy(), content)
    held = memory()
    assert held is not None
    assert by_numpy.ctypes.data == by_torch.data_ptr() == held.address  # no copy


def test_the_memory_is_freed_with_the_last_of_the_array_and_its_consumers() -> None:
    array, memory = array_of(np.ones((2, 3), np.float32))
    by_numpy, by_torch = np.from_dlpack(array), torch.from_dlpack(array)
    del array
    gc.collect()
    assert memory() is not None
    del by_torch
    gc.collect()
    assert memory() is not None
    del by_numpy
    gc.collect()
    assert memory() is None


def test_a_capsule_that_nobody_takes_frees_the_memory() -> None:
    array, memory = array_of(np.ones(3, np.float32))
    capsule = array.__dlpack__()
    del array
    gc.collect()
    assert memory() is not None
    del capsule
    gc.collect()
    assert memory() is None


def test_the_device_in_the_structure_is_the_gpu() -> None:
    array, memory = array_of(np.ones((2, 3), np.float16), (CUDA, 3))
    assert array.__dlpack_device__() == (CUDA, 3)
    capsule = array.__dlpack__(stream=2, max_version=(1, 0), dl_device=(CUDA, 3), copy=False)
    head, held = head_of(capsule), memory()
    assert held is not None
    assert (head.data, head.device_type, head.device_id) == (held.address, CUDA, 3)
    assert (head.code, head.bits, head.lanes) == (2, 16, 1)  # code 2: floating point
    assert (head.ndim, head.shape[0], head.shape[1]) == (2, 2, 3)


def test_numpy_refuses_an_array_on_the_gpu_instead_of_reading_it() -> None:
    array, _ = array_of(np.ones(3, np.float32), (CUDA, 0))
    with pytest.raises((BufferError, RuntimeError, ValueError), match="device"):
        np.from_dlpack(array)


def test_a_copy_or_another_device_cannot_be_had() -> None:
    array, _ = array_of(np.ones(3, np.float32), (CUDA, 0))
    with pytest.raises(BufferError, match="not copied or moved"):
        array.__dlpack__(copy=True)
    with pytest.raises(BufferError, match=r"moved to \(1, 0\)"):
        array.__dlpack__(dl_device=HOST)


def test_the_first_rows_are_in_the_same_memory() -> None:
    content = np.arange(6, dtype=np.float32).reshape(3, 2)
    array, memory = array_of(content)
    rows = array.first(2, 3)
    del array
    np.testing.assert_array_equal(np.from_dlpack(rows), content[:2])
    assert memory() is not None
