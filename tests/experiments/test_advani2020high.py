import jax
import numpy as np
import pytest
from scipy.integrate import quad


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_the_risk_is_the_integral_over_the_marchenko_pastur_law(paper, gamma, double_precision):
    config = paper.Config(signal=1.5, noise=0.4)
    low, high = (1 - np.sqrt(gamma)) ** 2, (1 + np.sqrt(gamma)) ** 2
    density = lambda l: np.sqrt((high - l) * (l - low)) / (2 * np.pi * gamma * l)
    at = lambda l, t: 1.5 * np.exp(-2 * l * t) + 0.4 * gamma * (1 - np.exp(-l * t)) ** 2 / l
    for time in (0.3, 5.0):
        bulk = quad(lambda l, time=time: at(l, time) * density(l), low, high)[0]
        np.testing.assert_allclose(paper.flow_risk(config, gamma, time), bulk + 1.5 * max(0, 1 - 1 / gamma), rtol=1e-6)


def test_the_best_time_of_the_theory_is_the_best_of_a_grid(paper, double_precision):
    config = paper.Config()
    grid = np.geomspace(0.01, 100, 4001)
    for gamma in (0.5, 1.0, 3.0):
        np.testing.assert_allclose(
            paper.best_risk(config, gamma), paper.flow_risk(config, gamma, grid).min(), rtol=1e-5
        )


@pytest.mark.parametrize("aspect_ratio", [0.5, 1.5])
def test_the_flow_is_the_mean_over_noise_and_targets_of_its_solution(paper, aspect_ratio, double_precision):
    config = paper.Config(num_samples=12, signal=2.0, num_times=3, first_time=0.1, last_time=10.0)
    key = jax.random.key(0)
    found = paper.measure(config, key[None], aspect_ratio=aspect_ratio)["risk"][1][0]
    p = round(12 * aspect_ratio)
    x = np.asarray(jax.random.normal(key, (12, p)))
    values, vectors = np.linalg.eigh(x.T @ x / 12)
    for time, risk in zip(paper.times(config), found, strict=True):
        decay = (vectors * np.exp(-time * values)) @ vectors.T  # β(t) = (I − e^{−tS}) β* + (I − e^{−tS}) S⁺ Xᵀε/n
        gain = (vectors * -np.expm1(-time * values) / np.where(values > 1e-12, values, np.inf)) @ vectors.T @ x.T / 12
        np.testing.assert_allclose(risk, 2.0 / p * np.sum(decay**2) + 0.5 * np.sum(gain**2), rtol=1e-7)


def test_gradient_descent_differs_from_the_flow_by_the_step_size(paper, double_precision):
    gaps = []
    for step_size, num_steps in ((0.04, 100), (0.02, 200)):
        config = paper.Config(num_samples=30, step_size=step_size, num_steps=num_steps)
        found = paper.measure_descent(config, jax.random.key(1)[None], aspect_ratio=0.5)
        gaps.append(np.abs(found["descent"][1] - found["flow"][1]).max())
    assert 1.7 < gaps[0] / gaps[1] < 2.4  # first order
