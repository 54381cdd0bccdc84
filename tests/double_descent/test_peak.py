"""Peaks and thresholds of curves made for it."""

import numpy as np
import pytest
from scipy.signal import find_peaks, peak_prominences

from dlmath.double_descent import interpolation_threshold, peak

RNG = np.random.default_rng(0)
CAPACITIES = np.arange(10, 210, 10)


def bump(centre, height, capacities=CAPACITIES):
    return 1 + height * np.exp(-(((capacities - centre) / 25) ** 2)) - 0.002 * capacities


@pytest.mark.parametrize("seed", range(5))
def test_prominence_of_a_rough_curve_is_that_of_scipy(seed):
    curve = np.random.default_rng(seed).normal(size=40)
    tops, _ = find_peaks(curve)
    expected = peak_prominences(curve, tops)[0]
    found = peak(np.arange(1, 41), curve)
    assert found.position == tops[np.argmax(expected)] + 1
    np.testing.assert_allclose(found.prominence.value, expected.max(), rtol=1e-12)


def test_a_rise_at_the_start_of_a_falling_curve_is_no_match_for_a_peak_between_two_valleys():
    # The first maximum is the highest point, but only 1 above where the curve began; the second is 3 above both valleys.
    found = peak([10, 20, 30, 40, 50], [4.0, 5.0, 0.0, 3.0, 0.0])
    assert found.position == 40
    assert found.prominence.value == 3


def test_position_and_interval_of_a_noisy_bump_hold_its_centre():
    curve = bump(100, 1.0) + 0.05 * RNG.normal(size=(10, len(CAPACITIES)))
    found = peak(CAPACITIES, curve)
    assert found.bracketed
    assert found.low <= 100 <= found.high
    assert abs(found.position - 100) <= 10
    # The curve ends at 0.6, and rises from about 1.
    true = bump(100, 1.0).max() - bump(100, 1.0)[:9].min()
    assert abs(found.prominence.value - true) < 4 * found.prominence.standard_error


def test_prominence_of_pure_noise_is_not_significant():
    """The naive prominence, best of many points, is large; the cross-fitted one is unbiased."""
    values, errors, naive = [], [], []
    for seed in range(30):
        curve = np.random.default_rng(seed).normal(size=(5, 20))
        found = peak(CAPACITIES, curve)
        values.append(found.prominence.value)
        errors.append(found.prominence.standard_error)
        naive.append(peak(CAPACITIES, curve.mean(0)).prominence.value)
    assert np.mean(values) < 0.25 * np.mean(naive)
    # Student's t with 4 degrees of freedom exceeds 2.132 one time in twenty.
    assert np.mean(np.array(values) > 2.132 * np.array(errors)) < 0.2


@pytest.mark.parametrize(
    "curve", [np.linspace(1, 2, 20), np.linspace(2, 1, 20), np.ones(20), (CAPACITIES - 100.0) ** 2]
)
def test_curve_without_an_interior_maximum_is_not_bracketed(curve):
    found = peak(CAPACITIES, curve[None] + np.zeros((3, 1)))
    assert not found.bracketed
    assert found.bracketed_fraction == 0
    assert found.prominence.value == 0
    assert found.position == CAPACITIES[np.argmax(curve)]


def test_interior_peak_is_found_below_a_higher_edge():
    """At p = 1 the error of the null predictor may exceed that at the threshold."""
    curve = bump(120, 1.0)
    curve[0] = 10
    assert peak(CAPACITIES, curve).position == 120


def test_plateau_counts_as_one_peak():
    assert peak([1, 2, 3, 4, 5], [0.0, 2.0, 2.0, 2.0, 1.0]).position == 3
    assert not peak([1, 2, 3], [0.0, 2.0, 2.0]).bracketed


def test_median_is_not_moved_by_one_huge_seed():
    curve = bump(100, 1.0) + 0.01 * RNG.normal(size=(7, len(CAPACITIES)))
    curve[0, 3] = 1e6
    assert peak(CAPACITIES, curve).position == 40
    assert peak(CAPACITIES, curve, centre="median").position == 100


def test_threshold_is_the_capacity_from_which_on_errors_are_zero():
    errors = np.array([[0.4, 0.0, 0.1, 0.0, 0.0], [0.4, 0.2, 0.0, 0.0, 0.0]])
    found = interpolation_threshold([1, 2, 3, 4, 5], errors)
    assert found.position == 4
    np.testing.assert_array_equal(found.seeds, [4, 3])
    assert (found.low, found.high) == (3, 4)
    assert found.bracketed
    assert interpolation_threshold([1, 2, 3, 4, 5], errors, tolerance=0.15).position == 2


def test_threshold_outside_of_the_sweep_is_not_bracketed():
    below = interpolation_threshold([1, 2, 3], [[0.0, 0.0, 0.0]])
    assert (below.position, below.bracketed) == (1, False)
    above = interpolation_threshold([1, 2, 3], [[0.3, 0.2, 0.1]])
    assert np.isnan(above.position)
    assert not above.bracketed
