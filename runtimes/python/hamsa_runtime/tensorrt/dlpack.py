"""Arrays in GPU memory for torch.from_dlpack, cupy.from_dlpack and whatever else speaks DLPack, without a copy.

numpy writes the DLPack structure, and frees it: it is given an array at the GPU's address, which it never reads, and
then the device in the structure is set from the CPU to the GPU. The structure (dlpack.h, version 0.8) begins with

    struct { void* data; struct { int32_t device_type, device_id; } device; int32_t ndim; ... }

https://dmlc.github.io/dlpack/latest/c_api.html; the protocol is that of the Python array API standard.
"""

from __future__ import annotations

import ctypes
from typing import Any, Protocol

import numpy as np

from hamsa_runtime.errors import InputError

CPU, CUDA = 1, 2  # DLDeviceType
CAPSULE = b"dltensor"

_pointer_of = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)


class _Head(ctypes.Structure):
    _fields_ = (("data", ctypes.c_void_p), ("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32))


class Owner(Protocol):
    """Memory that stays allocated for as long as there is a reference to this object."""

    address: int


class _Interface:
    """What numpy asks an array for; it keeps a reference to this object, and so to the memory."""

    def __init__(self, memory: Owner, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.memory = memory
        self.__array_interface__ = {
            "version": 3,
            "data": (memory.address, False),  # not read-only
            "shape": shape,
            "typestr": dtype.str,
        }


class DeviceArray:
    """An array in GPU memory, C-contiguous.

    The memory is freed when this array and everything that was made from it are gone. Its contents are complete when
    you get it, so any stream may read it at once, and `__dlpack__` has nothing to wait for on the stream it is given.

    Attributes:
        shape, dtype: as in numpy.
    """

    def __init__(
        self, memory: Owner, shape: tuple[int, ...], dtype: np.dtype[Any], device: tuple[int, int] = (CUDA, 0)
    ) -> None:
        self.shape, self.dtype = shape, dtype
        self._memory, self._device = memory, device

    def __repr__(self) -> str:
        return f"DeviceArray(shape={self.shape}, dtype={self.dtype}, device={self._device})"

    def first(self, keep: int, images: int, axis: int = 0) -> DeviceArray:
        """What belongs to the first `keep` of `images`, which lie one after the other along `axis`; the same memory.

        Raises:
            InputError: they do not lie at the front of the memory.
        """
        if any(size != 1 for size in self.shape[:axis]):
            raise InputError(
                f"{keep} images for a batch of {images}, along dimension {axis} of an output",
                expected=f"{images} images: what belongs to fewer has no place of its own on the GPU",
                fix="call the engine itself: engine(images)",
            )
        size = self.shape[axis] // images * keep
        shape = (*self.shape[:axis], size, *self.shape[axis + 1 :])
        return DeviceArray(self._memory, shape, self.dtype, self._device)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._device

    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """A capsule called "dltensor", which every consumer takes: of DLPack before 1.0, whatever `max_version` is.

        Raises:
            BufferError: a copy, or another device, is asked for.
        """
        if copy or dl_device not in (None, self._device):
            raise BufferError(f"{self!r} can be handed over as it is only, not copied or moved to {dl_device}")
        array = np.asarray(_Interface(self._memory, self.shape, self.dtype))
        capsule = array.__dlpack__()
        head = _Head.from_address(_pointer_of(capsule, CAPSULE))
        head.device_type, head.device_id = self._device
        return capsule
