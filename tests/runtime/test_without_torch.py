"""hamsa-runtime in a fresh virtual environment of its own: what a device has, and no torch in it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from .tiny_bundles import MakeBundle, reference

DISTRIBUTION = Path(__file__).parents[2] / "runtimes" / "python"

SCRIPT = """
import importlib.util, json, sys
import numpy as np
from hamsa_runtime import Engine
with Engine(sys.argv[1]) as engine:
    logits = engine(np.load(sys.argv[2]))["logits"].tolist()
has_torch = importlib.util.find_spec("torch") is not None
print(json.dumps({"logits": logits, "has_torch": has_torch, "torch": "torch" in sys.modules}))
"""


@pytest.fixture(scope="session")
def device_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a virtual environment with hamsa-runtime and its two engines, installed by pip."""
    folder = tmp_path_factory.mktemp("device")
    # a copy, because pip leaves a build folder in what it builds
    source = folder / "source"
    shutil.copytree(DISTRIBUTION, source, ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"))
    python = folder / "venv" / "bin" / "python"
    # By the pip that is here, and nothing compiled that is not imported: both take longer than all else.
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    pip: list[str | Path] = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-compile"]
    install = [*pip, f"{source}[openvino,onnxruntime]"]
    result = subprocess.run(install, capture_output=True, text=True)
    if result.returncode:
        pytest.skip(f"pip could not install the engines (offline?): {result.stderr.strip()[-300:]}")
    return python


def test_the_runtime_alone_runs_bundles_of_both_targets(
    make_bundle: MakeBundle, device_python: Path, pixels: np.ndarray, tmp_path: Path
) -> None:
    np.save(tmp_path / "pixels.npy", pixels)
    for target in ("onnx", "openvino"):  # one test, so that one worker makes one environment
        command: list[str | Path] = [
            device_python,
            "-I",
            "-c",
            SCRIPT,
            make_bundle(target, folder=tmp_path / target),
            tmp_path / "pixels.npy",
        ]
        result = subprocess.run(command, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        found = json.loads(result.stdout)
        assert found["has_torch"] is False
        assert found["torch"] is False
        np.testing.assert_allclose(found["logits"], reference(pixels)["logits"], rtol=1e-5, atol=1e-5)
