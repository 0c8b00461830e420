"""A release has one version, in every file that says it (docs/releasing.md), and these are all."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import hamsa_deploy
import hamsa_runtime

ROOT = Path(__file__).parents[2]


def found(file: str, pattern: str) -> list[str]:
    """The versions that a file says."""
    return re.findall(pattern, (ROOT / file).read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize(
    ("file", "versions"),
    [
        ("runtimes/python/hamsa_runtime/__init__.py", [hamsa_runtime.__version__]),
        ("pyproject.toml", found("pyproject.toml", r'"hamsa-runtime==([\d.]+)"')),
        ("runtimes/cpp/CMakeLists.txt", found("runtimes/cpp/CMakeLists.txt", r"^project\(\w+ VERSION ([\d.]+) ")),
        ("runtimes/js/package.json", [json.loads((ROOT / "runtimes/js/package.json").read_text())["version"]]),
        ("CITATION.cff", found("CITATION.cff", r"^version: ([\d.]+)$")),
    ],
)
def test_every_file_says_the_same_version(file: str, versions: list[str]) -> None:
    assert versions == [hamsa_deploy.__version__], file


def test_the_lock_file_of_npm_has_it_too() -> None:
    lock = json.loads((ROOT / "runtimes/js/package-lock.json").read_text())
    assert {lock["version"], lock["packages"][""]["version"]} == {hamsa_deploy.__version__}


def test_programs_that_link_the_library_ask_for_this_version() -> None:
    minor = hamsa_deploy.__version__.rpartition(".")[0]
    files = [*ROOT.glob("examples/*/CMakeLists.txt"), *ROOT.glob("docs/*.md"), ROOT / "README.md"]
    asked = {path: found(str(path.relative_to(ROOT)), r"^find_package\(hamsa_runtime ([\d.]+) ") for path in files}
    assert {version for versions in asked.values() for version in versions} == {minor}
    assert len([path for path, versions in asked.items() if versions]) >= 3


def test_the_change_log_starts_with_what_comes_next() -> None:
    """The newest section is the version of this checkout, or what is there since."""
    assert found("CHANGELOG.md", r"^## (\S+)")[0] in ("Unreleased", hamsa_deploy.__version__)
