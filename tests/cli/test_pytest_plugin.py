"""The gate: `pytest --hamsa-bundle`, the fixtures, and what a failure says; run as a user would, in a process."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hamsa_deploy.models import load_model
from hamsa_deploy.samples import sample_images
from hamsa_deploy.testing import assert_parity
from tests.rewriting import rewrite_manifest

from .conftest import Export

EXAMPLE = Path(__file__).parents[2] / "examples" / "pytest_parity" / "test_release.py"


def run_pytest(folder: Path, *arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def project(tmp_path: Path, exported: Export) -> Path:
    """A folder with the example, and a copy of the bundle that may be damaged."""
    shutil.copy(EXAMPLE, tmp_path)
    shutil.copytree(exported.bundle, tmp_path / "bundle")
    return tmp_path


def test_the_example_and_the_gate_pass(project: Path) -> None:
    code, text = run_pytest(project, "--hamsa-bundle", "bundle", "-vv")
    assert code == 0, text
    assert "bundle::files PASSED" in text
    assert "bundle::parity PASSED" in text
    assert "4 passed" in text


def test_without_a_bundle_its_tests_are_skipped_with_the_reason(project: Path) -> None:
    code, text = run_pytest(project, "-rs")
    assert code == 0
    assert "2 skipped" in text
    assert "needs --hamsa-bundle DIR" in text


def test_a_damaged_bundle_fails_both_and_says_why(project: Path) -> None:
    weights = project / "bundle" / "model.bin"
    weights.write_bytes(weights.read_bytes()[:-1])
    code, text = run_pytest(project, "--hamsa-bundle", "bundle", "-k", "files or parity and not agrees")
    assert code == 1
    assert text.count("the file was changed, swapped or cut after the export") >= 2
    assert "Traceback" not in text


@pytest.mark.slow
def test_outside_its_limits_the_worst_images_are_listed(project: Path) -> None:
    code, text = run_pytest(project, "--hamsa-bundle", "bundle", "--hamsa-against", "other", "-k", "::parity")
    assert code == 1
    assert "other: no such folder" in text
    damage(project / "bundle")
    code, text = run_pytest(project, "--hamsa-bundle", "bundle", "-k", "::parity")
    assert code == 1
    assert "bundle is outside its limits, compared with" in text
    assert "worst of logits:" in text
    assert text.count("relative error") >= 10
    assert "layers: first divergence: " in text
    assert "worst layers:" in text


def damage(folder: Path) -> None:
    """Zeros for the last weights, with a manifest that says so: files are whole, results are not."""
    weights = bytearray((folder / "model.bin").read_bytes())
    weights[-40000:] = bytes(40000)
    (folder / "model.bin").write_bytes(bytes(weights))
    rewrite_manifest(folder)


def test_another_precision_is_a_failed_assertion(exported: Export) -> None:
    with pytest.raises(AssertionError, match="is in fp32, not in int8"):
        assert_parity(exported.bundle, load_model("hamsa_nano"), sample_images("hamsa_nano")[:4], precision="int8")


def test_a_bundle_against_itself_agrees(exported: Export) -> None:
    report = assert_parity(exported.bundle, exported.bundle, sample_images("hamsa_nano")[:4], precision="fp32")
    assert report.metrics["logits"]["max_relative_error"] == 0
