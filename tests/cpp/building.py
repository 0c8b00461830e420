"""Builds the C++ runtime once, in a folder that git ignores, and talks to its test program."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "runtimes/cpp"
BUILD = ROOT / "build/cpp/test"

# What CMake says where a library of README's list is not installed: nothing else is a reason to skip.
NOT_INSTALLED = (
    "Could NOT find",
    "Could not find a package configuration file",
    "No CMAKE_CXX_COMPILER could be found",
)


class Probe:
    """The program `hamsa_probe`: functions of the runtime that it does not show, one question at a time."""

    def __init__(self, *command: str | Path) -> None:
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, *words: object) -> dict[str, Any]:
        """An empty dict, or the parts of the error."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\t".join(map(str, words)) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def most_memory(self) -> int:
        """That it has had so far, in bytes."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) * 1024

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.wait() == 0


def openvino_cmake() -> str:
    """Where the pip package of OpenVINO has its CMake files."""
    from hamsa_runtime.backends.quiet import no_usage_reports

    with no_usage_reports():
        import openvino

    return str(Path(openvino.__file__).parent / "cmake")


def built() -> Path:
    """The folder of an up-to-date build; skips, with the reason, where what it needs is not installed."""
    missing = [name for name in ("cmake", "ninja", "c++") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"the C++ runtime needs {', '.join(missing)}")
    BUILD.mkdir(parents=True, exist_ok=True)
    with (BUILD.parent / "lock").open("w") as lock:  # workers of pytest-xdist: one builds, the others find it done
        fcntl.flock(lock, fcntl.LOCK_EX)
        configure = ["cmake", "--preset", "test", f"-DOpenVINO_DIR={openvino_cmake()}"]
        done = subprocess.run(configure, cwd=SOURCE, capture_output=True, text=True)
        missing = [line.strip() for line in done.stderr.splitlines() if any(text in line for text in NOT_INSTALLED)]
        if done.returncode != 0 and missing:
            pytest.skip(f"the C++ runtime needs more packages: {missing[0]}")
        assert done.returncode == 0, done.stdout + done.stderr
        run(["cmake", "--build", "--preset", "test"], SOURCE)
    return BUILD


def run(command: list[Any], folder: Path, **variables: str) -> str:
    """Runs a command that must succeed; what it printed."""
    environment = {**os.environ, **variables, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(list(map(str, command)), cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
    return done.stdout
