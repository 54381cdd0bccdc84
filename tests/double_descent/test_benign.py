"""Effective ranks, benign and tempered overfitting, and power laws."""

import jax
import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import zeta

from dlmath.double_descent import (
    benign_bound,
    effective_ranks,
    flow_risk,
    power_law,
    power_law_risk,
    random_feature_risk,
    ridge_risk,
    scaling_exponents,
)


def _benign_spectrum(n):
    """n/10 spikes over a tail of 20n equal eigenvalues that sum to n/4."""
    return np.concatenate([np.full(n // 10, 30.0), np.full(20 * n, 1 / 80)])


def _slope(x, y):
    return np.diff(np.log(y)) / np.diff(np.log(x))


def test_ranks_are_their_definitions_and_obey_their_inequalities():
    lam = np.sort(np.random.default_rng(0).gamma(0.5, size=40))[::-1]
    found = effective_ranks(lam)
    for k in (0, 7, 39):
        np.testing.assert_allclose(found.r[k], lam[k:].sum() / lam[k], rtol=1e-12)
        np.testing.assert_allclose(found.R[k], lam[k:].sum() ** 2 / (lam[k:] ** 2).sum(), rtol=1e-12)
    assert (found.r[:-1] >= 1).all()
    assert (found.r <= found.R * (1 + 1e-12)).all()
    assert (found.r**2 * (1 + 1e-12) >= found.R).all()
    assert ((40 - np.arange(40)) * (1 + 1e-12) >= found.R).all()
    zeros = effective_ranks(np.array([1.0, 0.0, 0.0]))
    np.testing.assert_array_equal(zeros, [[1, 0, 0], [1, 0, 0]])


def test_tiny_eigenvalues_have_the_ranks_of_large_ones():
    with jax.enable_x64(False):
        found = effective_ranks(np.full(8, 1e-30, np.float32))
    np.testing.assert_allclose(found.R, np.arange(8, 0, -1), rtol=1e-5)


def test_the_bound_splits_where_the_tail_is_long_enough_and_is_infinite_without_one():
    bound = benign_bound(_benign_spectrum(100), np.array([100.0, 400.0, 4000.0]))
    np.testing.assert_array_equal(bound.split, [10, 10, 2010])
    np.testing.assert_allclose(bound.hidden, [100 / 2000, 400 / 2000, np.inf])
    np.testing.assert_allclose(bound.rate, [0.15, 0.225, np.inf])


def test_the_rate_is_the_noise_that_interpolation_costs_up_to_a_factor():
    """Constants are unknown; for spikes over a flat tail the ratio stays within 3 while both fall by 40."""
    ratios, values = [], []
    for n, spikes, tail in ((50, 5, 500), (100, 4, 4_000), (200, 2, 40_000)):
        lam = np.concatenate([np.full(spikes, 50.0), np.full(tail, n / tail)])
        value = float(ridge_risk(lam, 0.0, float(n), noise=1.0).variance)
        ratios.append(value / float(benign_bound(lam, n).rate))
        values.append(value)
    assert values[0] > 10 * values[-1]
    assert 1 / 3 < min(ratios) <= max(ratios) < 3


def test_the_cost_of_a_flat_tail_is_that_of_its_ridge_and_its_width():
    """k directions in a tail of p equal eigenvalues, p ≫ n: E₀ − 1 → (k/n + n/p)/(1 − k/n − n/p) as the spikes grow."""
    n, k, p = 100.0, 10, 2000
    lam = np.concatenate([np.full(k, 1e9), np.full(p, 1.0)])
    second = k / n + (n - k) ** 2 / p / n  # Σ Lᵢ²/n with Lᵢ = 1 for the spikes and (n − k)/p in the tail
    np.testing.assert_allclose(ridge_risk(lam, 0.0, n, noise=1.0).variance, second / (1 - second), rtol=1e-5)


@pytest.mark.parametrize(("name", "num_draws"), [("benign", 60), ("a = 1.5", 100), ("a = 2", 100), ("a = 3", 100)])
def test_interpolated_noise_costs_what_the_theory_says(name, num_draws, agree):
    """The minimum norm in 100 samples of benign and power-law spectra: standard errors of at most 2 %."""
    n, rng = 100, np.random.default_rng(3)
    lam = _benign_spectrum(n) if name == "benign" else np.arange(1, 2001.0) ** -float(name[4:])
    found = []
    for _ in range(num_draws):
        x = rng.normal(size=(n, len(lam))) * np.sqrt(lam)
        dual = np.linalg.solve(x @ x.T, rng.normal(size=(n, 8)))
        found.append((lam @ (x.T @ dual) ** 2).mean())
    agree([found], [ridge_risk(lam, 0.0, n, noise=1.0).variance], standard_error=0.02)


@pytest.mark.parametrize("exponent", [1.5, 2.0, 3.0])
def test_overfitting_of_a_power_law_is_tempered(exponent):
    """Total test error → aσ² (Mallinar et al. 2022), from the fixed point of 200,000 modes."""
    lam = power_law(200_000, exponent).eigenvalues
    n = np.array([30.0, 100.0, 300.0])
    found = ridge_risk(lam, 0.0, n, noise=1.0).risk + 1
    np.testing.assert_allclose(found, exponent, rtol=0.03)
    np.testing.assert_allclose(
        found - 1, power_law_risk(n, exponent, noise=1.0) - power_law_risk(n, exponent), rtol=0.1
    )


def _interpolation(n, exponent, target, num_features=np.inf):
    """The risk for infinitely many modes: 20,000 of them, and the others as a tail that is not learned."""
    law = power_law(20_000, exponent, target)
    rest = lambda power: 20_000.5 ** (1 - power) / (power - 1)
    given = law.eigenvalues, law.energies, n, num_features
    return random_feature_risk(*given, tail=rest(exponent), unexplained=rest(target)).risk


@pytest.mark.parametrize(("exponent", "target"), [(2.0, 2.0), (1.5, 1.8), (3.0, 2.0), (2.0, 4.0)])
def test_leading_terms_and_exponents_in_samples_are_those_of_the_fixed_point(exponent, target):
    n = np.array([200.0, 400.0])
    found = _interpolation(n, exponent, target)
    np.testing.assert_allclose(found, power_law_risk(n, exponent, target), rtol=0.02)
    np.testing.assert_allclose(_slope(n, found), -scaling_exponents(exponent, target).samples, atol=0.03)


def test_smooth_targets_are_limited_by_the_first_mode():
    """Beyond b = 2a + 1 the exponent is 2a: risk → a κ² Σ i^{2a − b}."""
    n = np.array([200.0, 400.0])
    found = _interpolation(n, 1.5, 6.0)
    kappa = (np.pi / 1.5 / np.sin(np.pi / 1.5) / n) ** 1.5
    np.testing.assert_allclose(found, 1.5 * kappa**2 * zeta(3.0), rtol=0.02)
    np.testing.assert_allclose(_slope(n, found), -scaling_exponents(1.5, 6.0).samples, atol=0.03)


def test_exponents_in_features_are_those_in_samples_and_beyond_the_bottleneck_one():
    """Resolution: N at n → ∞. Variance: what is left in n, at fixed N, falls as 1/n (Bahri et al. 2024)."""
    small, large = np.array([200.0, 400.0]), np.array([2e4, 4e4])
    resolution = _interpolation(1e9, 2.0, 2.0, small)
    np.testing.assert_allclose(_slope(small, resolution), -scaling_exponents(2.0).features, atol=0.03)
    limit = _interpolation(np.array([1e12, 1e12]), 2.0, 2.0, 100.0)
    variance = _interpolation(large, 2.0, 2.0, 100.0) - limit
    np.testing.assert_allclose(_slope(large, variance), -1, atol=0.02)


def test_the_exponent_in_time_is_that_of_the_flow():
    """With n ≫ modes; at times at which most modes of few thousand are not learned."""
    law, t = power_law(2000, 2.0, 2.4), np.array([1e3, 2e3])
    found = flow_risk(law.eigenvalues, law.energies / law.eigenvalues, 1e9, t).risk
    np.testing.assert_allclose(_slope(t, found), -scaling_exponents(2.0, 2.4).time, atol=0.03)
    np.testing.assert_allclose(
        found, [(law.energies * np.exp(-2 * law.eigenvalues * one)).sum() for one in t], rtol=1e-6
    )


def test_the_leading_term_solves_the_fixed_point_of_the_integral():
    kappa = brentq(lambda kappa: (1 / (1 + kappa * np.arange(1, 10**6) ** 2.0)).sum() - 100, 1e-6, 1e-2)
    np.testing.assert_allclose(kappa, (np.pi / 2 / 100) ** 2, rtol=0.02)
