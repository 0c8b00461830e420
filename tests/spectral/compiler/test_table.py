"""The table of operators in docs/operators.md is what the rules say, in names that PyTorch's users know."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from hamsa_deploy.spectral.compiler.table import COMPOSITES, FAMILIES, family_of, names_of, operators_table
from hamsa_deploy.spectral.dispatch import COMPLEX_RULES, ENTRY_RULES

from ...docs.pages import DOCS, text_of

BEGIN, END = "<!-- operators: python -m hamsa_deploy.spectral.compiler.table -->\n\n", "\n\n<!-- end of operators -->"
NAMES = sorted({*COMPOSITES, *(name for family in FAMILIES for name in names_of(family))})


def test_the_table_in_the_pages_is_the_one_that_the_rules_give() -> None:
    assert text_of(DOCS / "operators.md").partition(BEGIN)[2].partition(END)[0] == operators_table()


def test_every_rule_is_in_a_family() -> None:
    rules = {**COMPLEX_RULES, **ENTRY_RULES}
    assert {family_of(name, rule.__module__) for name, rule in rules.items()} == set(FAMILIES)


def test_all_functions_of_torch_fft_are_in_the_table() -> None:
    functions = {name for name in torch.fft.__all__ if name != "Tensor"}
    named = {*names_of("torch.fft"), *(name.removeprefix("fft.") for name in COMPOSITES)}
    assert functions <= named


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("x[")])
def test_a_name_in_the_table_is_one_of_pytorchs(name: str) -> None:
    places: tuple[Any, ...] = (torch, torch.Tensor, torch.nn.functional, torch.fft, torch.ops.hamsa)
    *path, leaf = name.split(".")
    if path:
        places = (getattr(torch.nn if path[0] == "nn" else torch, path[-1]),)
    assert any(hasattr(place, leaf) for place in places)
