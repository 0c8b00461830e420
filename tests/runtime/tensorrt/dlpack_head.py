"""The beginning of a DLPack structure, read as dlpack.h (version 0.8) has it and as any consumer would."""

from __future__ import annotations

import ctypes
from typing import Any


class Head(ctypes.Structure):
    """`DLManagedTensor` begins with its `DLTensor`, and that with these."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
    )


def head_of(capsule: Any) -> Head:
    """What an unused capsule holds; it must outlive the result."""
    pointer_of = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
        ("PyCapsule_GetPointer", ctypes.pythonapi)
    )
    return Head.from_address(pointer_of(capsule, b"dltensor"))


def address_of(array: Any) -> int:
    """Where the elements of an array lie that has `__dlpack__`."""
    capsule = array.__dlpack__()
    address: int = head_of(capsule).data
    return address
