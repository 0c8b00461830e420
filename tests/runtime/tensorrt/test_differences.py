"""Which version of which module has what."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from hamsa_runtime.errors import InputError
from hamsa_runtime.tensorrt.differences import SINCE, can, require
from hamsa_runtime.tensorrt.modules import MODULES


def module(name: str, version: str) -> SimpleNamespace:
    return SimpleNamespace(__name__=name, __version__=version)


@pytest.mark.parametrize(
    ("name", "version", "ability", "expected"),
    [
        ("tensorrt", "10.3.0", "building without a GPU", False),
        ("tensorrt_rtx", "1.7.1.116", "building without a GPU", True),
        ("tensorrt", "10.16.1.11", "the operator DFT", False),
        ("tensorrt", "11.2.1.2", "the operator DFT", True),
        ("tensorrt", "10.8.0.43", "hardware compatibility for one compute capability", False),
        ("tensorrt", "10.9.0.34", "hardware compatibility for one compute capability", True),
        ("tensorrt", "10.14.1.48.post1", "timing cache", True),
        ("tensorrt_rtx", "1.7.1.116", "timing cache", False),
    ],
)
def test_an_ability_belongs_to_a_module_from_a_version_on(
    name: str, version: str, ability: str, expected: bool
) -> None:
    assert can(module(name, version), ability) is expected


def test_what_is_missing_is_named_with_who_has_it() -> None:
    with pytest.raises(InputError) as caught:
        require(module("tensorrt_rtx", "1.7.1"), "the operator DFT", "--fft real")
    assert caught.value.found == "tensorrt_rtx 1.7.1 does not have the operator DFT"
    assert caught.value.expected == "tensorrt 11.2, or newer"
    assert caught.value.fix == "--fft real"


def test_every_row_names_modules_that_exist() -> None:
    assert all(row and row.keys() <= set(MODULES.values()) for row in SINCE.values())
