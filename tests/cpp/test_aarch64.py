"""The C++ runtime for 64-bit ARM, cross-compiled, and run by an emulator: the same pixels, the same results.

`make test-aarch64` downloads OpenVINO for ARM and configures the build."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import hamsa_deploy
from hamsa_deploy.models import load_model, model_entry
from hamsa_deploy.samples import sample_images
from hamsa_runtime import Engine

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
# Loader and C library are those of Debian's arm64. The cross compiler's own loader (-L /usr/aarch64-linux-gnu) is of
# another build of the C library: with it, the first thread that OpenVINO starts never returns.
EMULATOR = ["qemu-aarch64"]

# Of the largest value: what hamsa-parity allows float32 bundles. The kernels are others, so sums have another order.
TOLERANCE = 5e-5


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
    assert "Status: SUCCESS!" in run([*EMULATOR, build_for_arm / "tests/hamsa_tests"], SOURCE / "tests")


def test_hamsa_nano_gives_what_it_gives_here(build_for_arm: Path, tmp_path: Path) -> None:
    bundle = hamsa_deploy.export(
        load_model("hamsa_nano"),
        to="openvino",
        output=tmp_path / "bundle",
        preprocessing=model_entry("hamsa_nano").preprocessing,
        data=sample_images("hamsa_nano")[:8],
    ).folder
    photo = ROOT / "hamsa_deploy/samples/photos/china_00.jpg"
    run([*EMULATOR, build_for_arm / "hamsa-run", "--save", tmp_path, bundle, photo], tmp_path)
    with Engine(bundle) as engine:
        expected = engine(photo)
    for name, array in expected.items():
        found = np.load(tmp_path / f"0-{name}.npy")
        assert np.abs(found - array).max() <= TOLERANCE * np.abs(array).max()
