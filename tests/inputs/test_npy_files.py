"""Good arrays are read as numpy reads them; what lies is refused before anything is allocated."""

from __future__ import annotations

import contextlib
import io
import random
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hamsa_deploy.inputs.files import read_arrays
from hamsa_deploy.inputs.npy_files import read_npy, read_npz
from hamsa_runtime.errors import InputError

RNG = np.random.default_rng(3)
GOOD: list[np.ndarray] = [
    RNG.integers(0, 256, (2, 3, 4), np.uint8), np.asfortranarray(RNG.standard_normal((3, 5))), np.array(7),
    np.zeros((0, 3), np.float16), np.arange(6, dtype=">i4"), np.array([True, False]), np.ones(3, np.complex64),
]  # fmt: skip


def npy(descr: str = "'|u1'", shape: str = "(2,)", data: bytes = b"ab", **changes: Any) -> bytes:
    """An .npy file with this header."""
    text = changes.get("text", f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}").encode() + b"\n"
    version, length = changes.get("version", b"\x01\x00"), changes.get("length", len(text))
    return b"\x93NUMPY" + version + length.to_bytes(2 if version[0] == 1 else 4, "little") + text + data


def npz(data: bytes = b"", name: str = "x.npy", compression: int = zipfile.ZIP_DEFLATED, times: int = 1) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for i in range(times):
            archive.writestr(f"{i or ''}{name}", data or npy())
    return stream.getvalue()


def encrypted() -> bytes:
    data = bytearray(npz())
    for place in (data.index(b"PK\x03\x04") + 6, data.index(b"PK\x01\x02") + 8):
        data[place] |= 1
    return bytes(data)


def damaged() -> bytes:
    data = bytearray(npz(npy("'|u1'", "(500,)", RNG.bytes(500))))
    data[300] ^= 255
    return bytes(data)


# Made when they are read: one takes a second.
LIES: dict[str, tuple[Callable[[], bytes], str]] = {
    "a size": (lambda: npy(shape="(100000, 1000, 1000, 3)"), "300000000000 bytes, and has 2"),
    "a product that overflows": (lambda: npy(shape="(4294967296, 4294967296, 4294967296)"), "and has 2"),
    "a negative size": (lambda: npy(shape="(-1,)"), "has the shape"),
    "many dimensions": (lambda: npy(shape=f"({'1,' * 40})"), "at most 32"),
    "a size that is no number": (lambda: npy(shape="('a',)"), "has the shape"),
    "more than it says": (lambda: npy(shape="(2,)", data=bytes(9)), "2 bytes, and has 9"),
    "more than it says, in an archive": (lambda: npz(npy(shape="(2,)", data=bytes(9))), "2 bytes, and has 9"),
    "objects": (lambda: npy("'|O'"), "no objects"),
    "records": (lambda: npy("[('a', '<i4')]"), "records"),
    "texts": (lambda: npy("'<U1000000000'"), "no objects, texts"),
    "a type of no size": (lambda: npy("'|V0'"), "plain numbers"),
    "brackets": (lambda: npy(text="(" * 5000), "damaged header"),
    "a header without end": (lambda: npy(version=b"\x02\x00", length=2**32 - 1), "has a header of 4294967295 bytes"),
    "what the compiler would warn about": (lambda: npy(text=r"{'descr': '\c', 'shape': 1or 2}"), "damaged header"),
    "code": (lambda: npy(text="__import__('os')"), "damaged header"),
    "a key more": (
        lambda: npy(text="{'descr': '|u1', 'fortran_order': False, 'shape': (2,), 'a': 1}"),
        "damaged header",
    ),
    "another version": (lambda: npy(version=b"\x09\x00"), "has version 9"),
    "nothing": (lambda: b"", r"is no \.npy file"),
    "300 MB in 300 kB": (lambda: npz(npy(shape="(300000000,)", data=bytes(300_000_000))), "grows from"),
    "no array": (lambda: npz(name="x.txt"), "is no array"),
    "another in it": (lambda: npz(b"no array"), r"is no \.npy file"),
    "encrypted": (lambda: encrypted(), "is encrypted"),
    "lzma": (lambda: npz(compression=zipfile.ZIP_LZMA), "has the compression 14"),
    "damaged": (lambda: damaged(), "cannot be read"),
    "cut": (lambda: npz()[:-30], "cannot be read"),
    "many files": (lambda: npz(times=1001), "holds 1001 files"),
}


@pytest.mark.parametrize("array", GOOD, ids=lambda array: f"{array.dtype} {array.shape}")
def test_what_numpy_writes_is_read(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", array)
    np.savez_compressed(tmp_path / "a.npz", a=array, b=array)
    found = {"npy": read_npy(tmp_path / "a.npy"), **read_npz(tmp_path / "a.npz")}
    assert list(found) == ["npy", "a", "b"]
    for each in found.values():
        assert each.dtype == array.dtype
        np.testing.assert_array_equal(each, array)


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_refused_before_anything_is_allocated(
    tmp_path: Path, lie: str, recwarn: pytest.WarningsRecorder
) -> None:
    make, found = LIES[lie]
    data = make()
    path = tmp_path / ("a.npz" if data.startswith(b"PK") else "a.npy")
    path.write_bytes(data)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=found):
            read_arrays(path)
        assert tracemalloc.get_traced_memory()[1] < 16 * 2**20
    finally:
        tracemalloc.stop()
    assert not recwarn.list


def test_bytes_that_are_changed_or_cut_are_read_or_refused(tmp_path: Path) -> None:
    rng = random.Random(4)
    for suffix, good in (".npy", npy(shape="(3, 4)", data=bytes(range(12)))), (".npz", npz()):
        path = tmp_path / f"a{suffix}"
        for _ in range(300):
            data = bytearray(good[: rng.randrange(1, len(good) + 1)])
            data[rng.randrange(len(data))] = rng.randrange(256)
            path.write_bytes(data)
            with contextlib.suppress(InputError):
                read_arrays(path)
