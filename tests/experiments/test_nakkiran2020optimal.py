import jax
import numpy as np
import pytest


@pytest.mark.parametrize("shape", [(6, 9), (9, 6)])
def test_the_risk_is_the_mean_over_noise_and_coefficients_of_ridge_regression(paper, shape, double_precision):
    n, d = shape
    key = jax.random.key(0)
    found = paper.risks(key[None], [(n, d)], [2.0], [0.3], (0.5, 1.0))[0, 0]
    x = np.asarray(jax.random.normal(key, shape))
    for factor, risk in zip((0.5, 1.0), found, strict=True):
        penalty = factor * d * 0.3 / 2.0
        solve = np.linalg.inv(x.T @ x + penalty * np.eye(d)) @ x.T
        expected = 2.0 / d * np.sum((solve @ x - np.eye(d)) ** 2) + 0.3 * np.sum(solve**2)
        np.testing.assert_allclose(risk, expected, rtol=1e-9)


def test_without_penalty_it_is_that_of_least_squares(paper, double_precision):
    config = paper.Config()  # n = 200 of d = 100: σ²γ/(1 − γ)
    np.testing.assert_allclose(paper.sample_risk(config, 200, 0.0), 0.25, rtol=1e-6)
    # d = 25 of p = 100 at n = 50: noise 1/4 + 3/4, of which 3/4 are risk by themselves, and γ/(1 − γ) = 1
    np.testing.assert_allclose(paper.size_risk(config, 25, 0.0), 1.0 + 0.75, rtol=1e-6)


def test_at_the_best_penalty_the_limits_are_monotone(paper, double_precision):
    config = paper.Config()
    assert (np.diff(paper.sample_risk(config, np.arange(5, 500), 1.0)) < 0).all()
    assert (np.diff(paper.size_risk(config, np.arange(1, 100), 1.0)) < 0).all()
    assert np.diff(paper.sample_risk(config, np.arange(5, 99), 0.0)).max() > 0
    for n in (30, 100, 300):
        factors = np.linspace(0.5, 2, 1501)
        assert abs(factors[paper.sample_risk(config, n, factors).argmin()] - 1) < 2e-3
