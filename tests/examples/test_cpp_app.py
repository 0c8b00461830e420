"""The C++ application, built as its README says against an installed hamsa_runtime, and run."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest

from hamsa_deploy.samples import FOLDER
from hamsa_runtime import Engine

from ..cpp.building import built, run
from .conftest import EXAMPLES

SOURCE = EXAMPLES / "cpp_app"
HEIGHT, WIDTH = 48, 64
LINE = re.compile(r"(.+)  (\S+)  (\d+\.\d\d) %  (\d+\.\d\d) ms")
SUMMARY = re.compile(r"(\d+) images(, stopped)?, p50 (\d+\.\d\d) ms, p99 (\d+\.\d\d) ms")


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program. It has no other way to the library than find_package."""
    folder = tmp_path_factory.mktemp("cpp_app")
    run(["cmake", "--install", built(), "--prefix", folder / "prefix"], folder)
    run(["cmake", "-G", "Ninja", "-S", SOURCE, "-B", ".", f"-DCMAKE_PREFIX_PATH={folder / 'prefix'}"], folder)
    run(["cmake", "--build", "."], folder)
    return folder / "cpp_app"


def classified(printed: str) -> tuple[list[tuple[str, str, float]], re.Match[str]]:
    """Name, class and probability of each image, and the last line."""
    *lines, last = printed.splitlines()
    rows = [LINE.fullmatch(line) for line in lines]
    summary = SUMMARY.fullmatch(last)
    assert summary is not None, last
    assert None not in rows, printed
    return [(row[1], row[2], float(row[3])) for row in rows if row is not None], summary


def in_python(bundle: Path, names: list[str], images: list[Path] | list[np.ndarray]) -> list[tuple[str, str, float]]:
    with Engine(bundle, threads=1) as engine:
        best = [row[0] for row in engine.classify(images, top=1)]
    return [(name, label, 100 * probability) for name, (label, probability) in zip(names, best, strict=True)]


def assert_same(found: list[tuple[str, str, float]], expected: list[tuple[str, str, float]]) -> None:
    assert [row[:2] for row in found] == [row[:2] for row in expected]
    # printed with two digits; the runtimes themselves agree to 1e-5
    assert np.allclose([row[2] for row in found], [row[2] for row in expected], rtol=0, atol=0.006)


def frames(count: int) -> np.ndarray:
    """Coarse patterns, (count, HEIGHT, WIDTH, 3)."""
    coarse = np.random.default_rng(5).integers(0, 256, (count, 6, 8, 3), dtype=np.uint8)
    return coarse.repeat(8, axis=1).repeat(8, axis=2)


def test_a_folder_of_photographs(app: Path, bundle: Path, tmp_path: Path) -> None:
    photos = sorted((FOLDER / "photos").glob("*.jpg"))
    found, summary = classified(run([app, bundle, FOLDER / "photos", "--threads", 1], tmp_path))
    assert_same(found, in_python(bundle, [path.name for path in photos], photos))
    assert summary[1] == "12"


def test_digits_and_an_image_that_cannot_be_read(
    app: Path, bundle: Path, digit_files: list[Path], tmp_path: Path
) -> None:
    paths = [Path(shutil.copy(path, tmp_path / path.name)) for path in digit_files[:40]]
    (tmp_path / "0.png").write_bytes(b"no image")
    (tmp_path / "notes.txt").write_text("neither")
    done = subprocess.run([app, bundle, tmp_path, "--threads", "1"], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stderr.startswith(f"skipped  {tmp_path / '0.png'}: ")
    found, summary = classified(done.stdout)
    assert_same(found, in_python(bundle, [path.name for path in paths], paths))
    assert [label for _, label, _ in found] == [path.parent.name for path in digit_files[:40]]
    latencies = sorted(float(line.split()[-2]) for line in done.stdout.splitlines()[:-1])
    assert (float(summary[3]), float(summary[4])) == (latencies[19], latencies[39])


def test_raw_frames_from_standard_input(app: Path, bundle: Path) -> None:
    images = frames(7)
    command: list[str | Path] = [app, bundle, "--frames", f"{WIDTH}x{HEIGHT}", "--threads", "1"]
    done = subprocess.run(command, input=images.tobytes(), capture_output=True)
    assert done.returncode == 0, done.stderr
    found, summary = classified(done.stdout.decode())
    assert_same(found, in_python(bundle, [f"frame {n}" for n in range(7)], list(images)))
    assert (summary[1], summary[2]) == ("7", None)


def test_a_frame_that_is_cut_off(app: Path, bundle: Path) -> None:
    command: list[str | Path] = [app, bundle, "--frames", f"{WIDTH}x{HEIGHT}"]
    done = subprocess.run(command, input=frames(2).tobytes()[:-5], capture_output=True)
    assert done.returncode == 2
    assert done.stdout.startswith(b"frame 0  ")
    assert b"the input ends after 9211 bytes of a frame" in done.stderr
    assert b"expected: 9216 bytes for each frame" in done.stderr


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_the_summary(app: Path, bundle: Path, sent: signal.Signals) -> None:
    command: list[str | Path] = [app, bundle, "--frames", f"{WIDTH}x{HEIGHT}", "--threads", "1"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(frames(2).tobytes() + b"half a frame")
        process.stdin.flush()
        lines = [process.stdout.readline(), process.stdout.readline()]
        process.send_signal(sent)  # it waits for the rest of the third frame
        rest, errors = process.stdout.read(), process.stderr.read() if process.stderr else b""
        assert process.wait(timeout=10) == 0, errors
    found, summary = classified((b"".join(lines) + rest).decode())
    assert len(found) == 2
    assert (summary[1], summary[2]) == ("2", ", stopped")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "0 names given"),
        (["--frames", "640"], "--frames: '640'"),
        (["--frames", "0x480"], "--frames: '0'"),
        (["--frames", "640x99999999999"], "--frames: '99999999999'"),
        (["--threads"], "--threads has no value"),
        (["--top", "5"], "unknown option --top"),
        (["here", "--threads", "1"], "1 names given"),
        (["no-bundle", "no-folder"], "no-bundle"),
    ],
)
def test_bad_usage(app: Path, words: list[str], message: str) -> None:
    done = subprocess.run([app, *words], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("cpp_app: ")
    assert message in done.stderr


def test_a_folder_without_images(app: Path, bundle: Path, tmp_path: Path) -> None:
    done = subprocess.run([app, bundle, tmp_path], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{tmp_path}: no images" in done.stderr


def test_help(app: Path, tmp_path: Path) -> None:
    assert "--frames WIDTHxHEIGHT" in run([app, "--help"], tmp_path)
