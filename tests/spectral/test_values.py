"""Values know no rules: who computes with them has to load those first."""

from __future__ import annotations

import subprocess
import sys

ONLY_VALUES = """
import torch
from hamsa_deploy.spectral.values import Complex
z = Complex(torch.ones(2), torch.ones(2))
"""
# Each import stands on those before it, and PyTorch is imported once.
REFUSED = """
for module in ("values", "dispatch"):
    __import__(f"hamsa_deploy.spectral.{module}")
    try:
        torch.sinh(z)
    except RuntimeError as error:
        print(error)
"""
COMPUTED = """
import hamsa_deploy.spectral.%s
print(torch.view_as_real(z).z.re.tolist())
"""


def test_without_rules_an_operator_says_what_to_import_and_with_them_it_computes() -> None:
    done = python(ONLY_VALUES + REFUSED + COMPUTED % "rules.arithmetic")
    told = "no rule is loaded for sinh: import hamsa_deploy.spectral.compiler, which loads all"
    assert (done.returncode, done.stdout.splitlines()) == (0, [told, told, "[1.0, 1.0]"]), done.stderr


def test_the_compilers_table_loads_them() -> None:
    done = python(ONLY_VALUES + COMPUTED % "compiler.table")
    assert (done.returncode, done.stdout) == (0, "[1.0, 1.0]\n"), done.stderr


def python(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
