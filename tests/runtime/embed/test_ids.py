"""Ids that are lost or twice, also of more than are held in memory."""

from __future__ import annotations

import pytest

from hamsa_runtime.embed import ids
from hamsa_runtime.embed.ids import IdSet, compared, named, twice


@pytest.mark.parametrize("held", [100, 1 << 20])
def test_which_are_twice_missing_or_unknown(held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids, "HELD", held)
    asked = [f"{i}.png" for i in range(730)]
    given = [*asked[3:], "new é.png", "8.png", "8.png", "9.png"]
    with IdSet() as one:
        one.add(given)
        found = twice(one)
        assert (found.number, named(found, given)) == (2, ["8.png", "9.png"])
    with IdSet() as one, IdSet() as other:
        one.add(asked)
        for id in given:
            other.add([id])
        missing, unknown, again = compared(one, other)
    assert (missing.number, named(missing, asked)) == (3, ["0.png", "1.png", "2.png"])
    assert (unknown.number, named(unknown, given)) == (1, ["new é.png"])
    assert (again.number, named(again, given)) == (2, ["8.png", "9.png"])


def test_only_a_few_are_named() -> None:
    with IdSet() as one, IdSet() as other:
        one.add(f"{i}" for i in range(1000))
        missing, _, _ = compared(one, other)
    assert missing.number == 1000
    assert len(named(missing, (f"{i}" for i in range(1000)))) == ids.SHOWN
