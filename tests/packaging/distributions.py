"""Wheels and source distributions of both packages, from what git tracks: python -m tests.packaging.distributions dist

Each wheel is built from its source distribution, so that one who has only that can build it as well.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = {"hamsa_runtime": ROOT / "runtimes/python", "hamsa_deploy": ROOT}
# Made by `make page` and not tracked: the page of --to web, which is in the wheel where it has been made.
SITE = Path("hamsa_deploy/targets/site")

MADE = ("__pycache__", "*.egg-info", ".*", "build", "dist", "out", "node_modules")


def build(folder: Path) -> list[Path]:
    """Both packages, as two files each in `folder`. setuptools is that of this environment: nothing is downloaded."""
    with tempfile.TemporaryDirectory() as scratch:
        for source in PACKAGES.values():
            copy = Path(scratch) / source.name
            _copy_tracked(source, copy)
            command: list[str | Path] = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, copy]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode != 0:
                raise SystemExit((done.stdout + done.stderr)[-5000:])
    return sorted(folder.iterdir())


def _copy_tracked(source: Path, copy: Path) -> None:
    """What lies about in a checkout, such as build/ of an older layout, must not get into a release."""
    if not (ROOT / ".git").exists():  # an archive of the repository has what git tracks, and what was made since
        shutil.copytree(source, copy, ignore=shutil.ignore_patterns(*MADE))
        return
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "."]
    listed = subprocess.run(command, cwd=source, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        if (source / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source / name, copy / name)
        elif (source / name).is_dir():  # a link to a folder: packages hold what it leads to
            shutil.copytree(source / name, copy / name)
    if (source / SITE).is_dir():
        shutil.copytree(source / SITE, copy / SITE)


if __name__ == "__main__":
    print(*(file.name for file in build(Path(sys.argv[1]).resolve())), sep="\n")  # noqa: T201  # a script of make package
