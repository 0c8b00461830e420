"""Plans of transforms: what half a spectrum holds, and which plan is the best."""

from __future__ import annotations

import numpy as np
import pytest

from hamsa_runtime.dft.factorisations import Plan, best, candidates, plan_for
from hamsa_runtime.dft.half_spectrum import HalfSpectrum

LENGTHS = [1, 2, 3, 4, 7, 12, 49, 60, 97, 196, 197, 400, 401, 404, 625, 784, 1021, 1024, 3136, 4095, 4096]


@pytest.mark.parametrize("n", LENGTHS)
def test_a_half_spectrum_covers_every_frequency_with_weight_one(n: int) -> None:
    half_spectrum = plan_for(n).half_spectrum
    total = np.zeros(n)
    np.add.at(total, half_spectrum.half, half_spectrum.weight[half_spectrum.half])
    np.add.at(total, half_spectrum.mirror, half_spectrum.weight[half_spectrum.mirror])
    np.testing.assert_allclose(total, 1, rtol=0, atol=1e-15)


@pytest.mark.parametrize("n", LENGTHS)
def test_the_order_of_a_half_spectrum_finds_every_frequency(n: int) -> None:
    half_spectrum = plan_for(n).half_spectrum
    both = np.concatenate([half_spectrum.half, half_spectrum.mirror])
    np.testing.assert_array_equal(both[half_spectrum.order], np.arange(n))


def test_half_spectra_of_other_order_differ() -> None:
    assert Plan(8, (8,)).half_spectrum.same_order(HalfSpectrum.hermitian(8, np.arange(5)))
    assert not Plan(8, (8,)).half_spectrum.same_order(Plan(8, (4, 2)).half_spectrum)


def test_the_forms_of_a_length() -> None:
    assert [plan.factors for plan in candidates(8)] == [(8,), (2, 4), (2, 2, 2), (4, 2)]
    assert [plan.kind for plan in candidates(13)] == ["dense", "Rader"]
    assert Plan(2310, (2310,)) in candidates(2310)


def test_of_plans_that_are_as_good_as_equal_the_one_with_fewest_factors_is_taken() -> None:
    dense, two, three, rader = Plan(13, (13,)), Plan(64, (8, 8)), Plan(64, (4, 4, 4)), Plan(13, ())
    assert best({three: 1.0, two: 1.02}) == two
    assert best({three: 1.0, two: 1.04}) == three
    assert best({rader: 1.0, dense: 1.02}) == dense
    assert best({rader: 1.0, dense: 1.04}) == rader
