"""The exception family: what becomes of it between processes."""

from __future__ import annotations

import pickle

import pytest

from hamsa_runtime.errors import BuildError, EngineClosedError, HamsaError, InputError, MissingError, ParityError


@pytest.mark.parametrize("kind", [HamsaError, InputError, ParityError, MissingError, BuildError, EngineClosedError])
def test_an_error_of_another_process_has_all_its_parts(kind: type[HamsaError]) -> None:
    error = kind("a.png: damaged", expected="a PNG file", cause="it was cut", fix="copy it again")
    again = pickle.loads(pickle.dumps(error))  # noqa: S301  # what this test has made
    assert type(again) is kind
    assert str(again) == str(error)
    assert vars(again) == vars(error)
