"""The DLPack structure for real, on host memory; on a GPU only the device in it is another."""

from __future__ import annotations

import ctypes
import gc
import weakref

import numpy as np
import pytest

from hamsa_runtime.tensorrt.dlpack import CAPSULE, CPU, CUDA, DeviceArray, _Head, _pointer_of

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
    address = _pointer_of(capsule, CAPSULE)
    head, held = _Head.from_address(address), memory()
    assert held is not None
    assert (head.data, head.device_type, head.device_id) == (held.address, CUDA, 3)
    # behind the head: int32 ndim; DLDataType {uint8 code, uint8 bits, uint16 lanes}; int64* shape
    ndim, dtype = (
        ctypes.c_int32.from_address(address + 16).value,
        bytes((ctypes.c_uint8 * 4).from_address(address + 20)),
    )
    sizes = ctypes.POINTER(ctypes.c_int64).from_address(address + 24)
    assert (ndim, dtype, sizes[0], sizes[1]) == (2, bytes([2, 16, 1, 0]), 2, 3)  # code 2: floating point


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
    rows = array.first(2)
    del array
    np.testing.assert_array_equal(np.from_dlpack(rows), content[:2])
    assert memory() is not None
