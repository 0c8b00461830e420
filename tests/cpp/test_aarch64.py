"""The C++ runtime for 64-bit ARM, cross-compiled, and run by an emulator: the same pixels bit for bit.

`make test-aarch64` downloads OpenVINO for ARM and configures the build."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .building import ROOT, SOURCE, Probe, run

# The same tests of images as on this machine, with the probe below.
from .test_images import (  # noqa: F401
    PHOTOS,
    test_jpeg,
    test_photographs,
    test_png,
    test_resizing_is_pillows_bit_for_bit,
    test_whole_preprocessing_is_the_same,
)

pytestmark = pytest.mark.slow

BUILD = ROOT / "build/cpp/aarch64"
LIBRARIES = Path("/usr/lib/aarch64-linux-gnu")
EMULATOR = ["qemu-aarch64", "-L", "/usr/aarch64-linux-gnu", "-E", f"LD_LIBRARY_PATH={LIBRARIES}"]


@pytest.fixture(scope="module")
def build_for_arm() -> Path:
    """The folder of an up-to-date build; skips, with the reason, where it was not configured."""
    if not (BUILD / "CMakeCache.txt").is_file():
        pytest.skip("not configured: make test-aarch64 does it, with the packages that the Makefile names")
    missing = [name for name in ("aarch64-linux-gnu-g++", "qemu-aarch64", "cmake") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed: the Makefile names the packages")
    run(["cmake", "--build", "--preset", "aarch64"], SOURCE)
    return BUILD


@pytest.fixture(scope="module")
def probe(build_for_arm: Path) -> Iterator[Probe]:
    program = Probe(*EMULATOR, build_for_arm / "tests/hamsa_probe")
    yield program
    program.close()


def test_it_is_a_program_for_arm(build_for_arm: Path) -> None:
    header = (build_for_arm / "hamsa-run").read_bytes()[:20]
    assert (header[:4], int.from_bytes(header[18:20], "little")) == (b"\x7fELF", 183)  # EM_AARCH64
    needed = subprocess.run(
        ["aarch64-linux-gnu-readelf", "-d", build_for_arm / "libhamsa_runtime.so"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "libopenvino.so" in needed


def test_units(build_for_arm: Path) -> None:
    # Without those of the engine: OpenVINO for ARM has not come to an end in the emulator yet.
    units = [*EMULATOR, build_for_arm / "tests/hamsa_tests", "--source-file-exclude=*test_engine*"]
    assert "Status: SUCCESS!" in run(units, SOURCE)
