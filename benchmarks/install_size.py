"""What an install on a device takes on disk: hamsa-runtime alone, with OpenVINO, with ONNX Runtime.

    python benchmarks/install_size.py [--extras none openvino onnxruntime]

Makes a fresh virtual environment for each (pip downloads what it has not in its cache), adds up the files that each
distribution has installed, and fails if torch is among them. pip itself is not counted.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import tables

DISTRIBUTION = Path(__file__).parents[1] / "runtimes" / "python"
EXTRAS = ("none", "openvino", "onnxruntime")
NOT_OURS = {"pip", "setuptools", "wheel"}
FORBIDDEN = {"torch", "torchvision", "hamsa-deploy"}

# Runs in the environment; compiled Python files are in it, pip writes them.
LIST = """
import importlib.metadata, json
sizes = {}
for distribution in importlib.metadata.distributions():
    paths = [distribution.locate_file(file) for file in distribution.files or ()]
    sizes[distribution.metadata["Name"].lower()] = sum(path.stat().st_size for path in paths if path.is_file())
print(json.dumps(sizes))
"""


def main() -> None:
    parser = tables.parser(__doc__)
    parser.add_argument("--extras", nargs="+", choices=EXTRAS, default=EXTRAS)
    options, report = tables.begin(parser)
    report.show("A device install", {"install": "", "MB": ".1f", "of which": ""}, map(_row, options.extras))


def _row(extra: str) -> tables.Row:
    extras = "" if extra == "none" else f"[{extra}]"
    sizes = installed_sizes(extras)
    if found := FORBIDDEN & set(sizes):
        sys.exit(f"{', '.join(found)} on a device, by the extra {extra!r}")
    largest = sorted(sizes.items(), key=lambda item: -item[1])
    parts = ", ".join(f"{name} {size / 1e6:.1f}" for name, size in largest)
    return [f"hamsa-runtime{extras}", sum(sizes.values()) / 1e6, parts]


def installed_sizes(extras: str) -> dict[str, int]:
    """Bytes of each distribution that `pip install hamsa-runtime` brings into an empty environment."""
    with tempfile.TemporaryDirectory() as folder:
        source, python = Path(folder, "source"), Path(folder, "venv", "bin", "python")
        ignored = shutil.ignore_patterns("build", "*.egg-info", "__pycache__")  # pip leaves a build folder
        shutil.copytree(DISTRIBUTION, source, ignore=ignored)
        _run(sys.executable, "-m", "venv", str(Path(folder, "venv")))
        _run(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", f"{source}{extras}")
        sizes: dict[str, int] = json.loads(_run(str(python), "-I", "-c", LIST))
    return {name: size for name, size in sizes.items() if name not in NOT_OURS}


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603  # our own


if __name__ == "__main__":
    main()
