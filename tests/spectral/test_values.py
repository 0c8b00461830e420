"""Values know no rules: who computes with them has to load those first."""

from __future__ import annotations

import subprocess
import sys

import pytest

ONLY_VALUES = """
import torch
from hamsa_deploy.spectral.values import Complex
z = Complex(torch.ones(2), torch.ones(2))
"""


@pytest.mark.parametrize("others", ["", "import hamsa_deploy.spectral.dispatch"])
def test_without_rules_an_operator_says_what_to_import(others: str) -> None:
    done = python(f"{ONLY_VALUES}\n{others}\ntorch.sinh(z)")
    assert done.returncode == 1
    told = "RuntimeError: no rule is loaded for sinh: import hamsa_deploy.spectral.compiler, which loads all"
    assert done.stderr.splitlines()[-1] == told


@pytest.mark.parametrize("module", ["compiler.table", "rules.arithmetic"])
def test_with_rules_it_computes(module: str) -> None:
    done = python(f"{ONLY_VALUES}\nimport hamsa_deploy.spectral.{module}\nprint(torch.view_as_real(z).z.re.tolist())")
    assert (done.returncode, done.stdout) == (0, "[1.0, 1.0]\n"), done.stderr


def python(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
