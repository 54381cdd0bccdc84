import jax
import numpy as np
import pytest
from scipy.integrate import quad

import dlmath as dm


def marchenko_pastur(function, gamma):
    """∫ f dF, for the limiting spectrum of XᵀX/n with p/n → γ, atom at zero included."""
    low, high = (1 - np.sqrt(gamma)) ** 2, (1 + np.sqrt(gamma)) ** 2
    density = lambda l: np.sqrt((high - l) * (l - low)) / (2 * np.pi * gamma * l)
    bulk, _ = quad(lambda l: function(l) * density(l), low, high)
    return bulk + (1 - 1 / gamma) * function(0.0) if gamma > 1 else bulk


def test_signal_5_and_noise_1_give_the_known_test_errors_and_norms(paper, double_precision):
    config = paper.Config()
    np.testing.assert_allclose(1 + paper.ridgeless_risk(config, np.array([0.5, 2.0])), [2.0, 4.5])
    np.testing.assert_allclose(paper.ridgeless_norm(config, np.array([0.5, 2.0])), [6.0, 3.5])


@pytest.mark.parametrize("gamma", [0.1, 0.5, 0.99, 1.0, 1.01, 3.0, 10.0])
def test_the_optimal_ridge_risk_is_an_integral_over_the_marchenko_pastur_law(paper, gamma, double_precision):
    # With β ~ N(0, r²/p I) the risk is the posterior variance, σ² tr(XᵀX + nλ*)⁻¹ = σ²γ ∫ 1/(l + λ*) dF(l).
    config = paper.Config(signal=3.0, noise=0.7)
    penalty = 0.7 * gamma / 3.0
    expected = 0.7 * gamma * marchenko_pastur(lambda l: 1 / (l + penalty), gamma)
    np.testing.assert_allclose(paper.ridge_risk(config, gamma), expected, rtol=1e-6)


@pytest.mark.parametrize("gamma", [0.2, 0.7])
def test_the_ridgeless_risk_is_an_integral_over_the_marchenko_pastur_law(paper, gamma, double_precision):
    config = paper.Config(noise=2.0)
    expected = 2.0 * gamma * marchenko_pastur(lambda l: 1 / l, gamma)
    np.testing.assert_allclose(paper.ridgeless_risk(config, gamma), expected, rtol=1e-6)


def test_above_the_threshold_the_risk_is_smallest_at_the_stated_ratio(paper, double_precision):
    config = paper.Config(signal=5.0, noise=1.0)
    grid = np.linspace(1.2, 4, 28001)
    assert abs(grid[paper.ridgeless_risk(config, grid).argmin()] - paper.best_aspect_ratio(config)) < 1e-3


def test_a_measurement_agrees_with_numpy_seed_by_seed(paper):
    config = paper.Config(num_samples=10, penalty_factors=(0.5, 2.0))
    keys = jax.random.split(jax.random.key(0), 3)
    with jax.enable_x64(True):
        measured = paper.measure(config, keys, aspect_ratio=1.5)
        for seed, key in enumerate(keys):
            x, y, beta = (
                np.asarray(a) for a in dm.data.linear_gaussian(key, 10, 15, signal=np.sqrt(5.0), noise_std=1.0)
            )
            ridgeless = np.linalg.pinv(x) @ y
            np.testing.assert_allclose(measured["ridgeless_risk"][seed], np.sum((ridgeless - beta) ** 2), rtol=1e-9)
            np.testing.assert_allclose(measured["ridgeless_norm"][seed], np.sum(ridgeless**2), rtol=1e-9)
            for index, factor in enumerate(config.penalty_factors):
                ridge = np.linalg.solve(x.T @ x + 10 * factor * 0.3 * np.eye(15), x.T @ y)  # λ* = 1.5 / 5
                risk = np.sum((ridge - beta) ** 2)
                np.testing.assert_allclose(measured["path_risk"][1][seed, index], risk, rtol=1e-9)


@pytest.mark.parametrize("aspect_ratio", [0.5, 2.0])
def test_the_expected_risk_is_the_mean_over_noise_of_that_of_the_minimum_norm(paper, aspect_ratio, double_precision):
    config = paper.Config(num_samples=20)
    key = jax.random.key(1)
    for name in config.models:
        tau, energy, missing = (np.asarray(a) for a in paper.model(config, name, round(20 * aspect_ratio)))
        of_x, of_beta = jax.random.split(key)
        x = np.asarray(jax.random.normal(of_x, (20, len(tau)))) * np.sqrt(tau)
        beta = np.sqrt(energy) * np.asarray(jax.random.rademacher(of_beta, (len(tau),), float))
        inverse = np.linalg.pinv(x)
        # The mean over ε is exact over the 2n directions ±√n σ e_i.
        noises = np.sqrt(20 * (1 + missing)) * np.concatenate([np.eye(20), -np.eye(20)])
        risks = [np.sum(tau * (inverse @ (x @ beta + noise) - beta) ** 2) + missing for noise in noises]
        found = paper.measure_models(config, key[None], model_name=name, model_aspect_ratio=aspect_ratio)
        np.testing.assert_allclose(found["risk"][0], np.mean(risks), rtol=1e-8)


def test_the_latent_model_is_the_law_of_noisy_views_of_the_latent_variables(paper, double_precision):
    # x = Wz + u with WᵀW = (p/d) I and y = ⟨θ, z⟩: β = Cov(x)⁻¹ Cov(x, y), and the rest of y is unexplained.
    p, d, radius = 30, 2, 5.0
    w = np.sqrt(p / d) * np.linalg.qr(np.random.default_rng(0).normal(size=(p, d)))[0]
    theta = np.sqrt(radius) * np.array([0.6, 0.8])
    covariance = np.eye(p) + w @ w.T
    beta = np.linalg.solve(covariance, w @ theta)
    tau, energy, missing = paper.model(paper.Config(num_samples=20), "latent", p)
    np.testing.assert_allclose(np.sort(tau), np.linalg.eigvalsh(covariance), rtol=1e-10)
    np.testing.assert_allclose(np.sum(energy), beta @ beta, rtol=1e-10)
    np.testing.assert_allclose(missing, theta @ theta - beta @ covariance @ beta, rtol=1e-10)
    np.testing.assert_allclose(np.sum(tau * energy), beta @ covariance @ beta, rtol=1e-10)
