"""What an engine calls inputs whose names have to be identifiers."""

from __future__ import annotations

import pytest

from hamsa_runtime.port_names import as_identifiers


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["x", "images"], ["x", "images"]),
        (["x", "state.heard"], ["x", "state_heard"]),
        (["state.heard", "state_heard"], ["state_heard_", "state_heard"]),
        (["a.b", "a-b"], ["a_b", "a_b_"]),
        (["0", "class", "", "port_0"], ["port_0_", "port_1", "port_2", "port_0"]),
        (["é"], ["_"]),
    ],
)
def test_they_are_the_manifests_wherever_they_can_be_and_each_once(names: list[str], expected: list[str]) -> None:
    assert list(as_identifiers(names).values()) == expected
