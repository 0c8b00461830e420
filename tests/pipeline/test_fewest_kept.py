"""As few layers as possible stay in floating point, and few bundles are built to find them."""

from __future__ import annotations

import pytest

from hamsa_deploy.pipeline.max_drop import fewest_kept


class Measured:
    """A loss that shrinks with every layer kept, and how often it was asked for."""

    def __init__(self, needed: int) -> None:
        self.needed = needed
        self.asked: list[int] = []

    def __call__(self, kept: int) -> float:
        self.asked.append(kept)
        return 0.4 if kept >= self.needed else 2.0


@pytest.mark.parametrize("needed", [*range(20), 149])
def test_the_fewest_that_suffice(needed: int) -> None:
    drop = Measured(needed)
    assert fewest_kept(150, drop, max_drop=0.5) == needed
    assert len(drop.asked) == len(set(drop.asked)) <= 16  # doubling and halving: 2 log2(150)


def test_one_layer_at_least_must_become_int8() -> None:
    drop = Measured(150)
    assert fewest_kept(150, drop, max_drop=0.5) is None
    assert max(drop.asked) == 149


def test_the_bound_itself_is_allowed() -> None:
    assert fewest_kept(3, lambda kept: 0.5, max_drop=0.5) == 0
