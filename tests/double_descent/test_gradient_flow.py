"""Gradient flow: its limits, the isotropic case by quadrature and by contour, optimal stopping, simulations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

from dlmath.double_descent import (
    flow_risk,
    isotropic_flow_risk,
    isotropic_optimal_penalty,
    isotropic_risk,
    marchenko_pastur_density,
    marchenko_pastur_support,
    optimal_stopping,
    ridge_risk,
)

TIMES = np.array([0.0, 1e-6, 0.01, 0.5, 2.0, 20.0, 300.0, np.inf])
TAU = 2.0 * np.arange(1, 41) ** -1.0
BETA2 = np.random.default_rng(1).gamma(1.0, size=40)
GIVEN = {"signal": 1.3, "noise": 0.5, "unexplained": 0.1}


@pytest.mark.parametrize("gamma", [0.1, 0.5, 1.0, 2.0, 10.0])
def test_the_contour_with_equal_eigenvalues_is_the_marchenko_pastur_integral(gamma):
    isotropic = isotropic_flow_risk(TIMES, gamma, **GIVEN)
    general = flow_risk([1.0], 1.3, 1 / gamma, TIMES, noise=0.5, unexplained=0.1)
    for one, other in zip(isotropic, general, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-10, atol=1e-11)


def test_the_isotropic_risk_is_an_integral_over_the_density():
    a, b = (float(edge) for edge in marchenko_pastur_support(3.0))
    bias = lambda l: np.exp(-2 * l) * float(marchenko_pastur_density(l, 3.0))
    variance = lambda l: (1 - np.exp(-l)) ** 2 / l * float(marchenko_pastur_density(l, 3.0))
    found = isotropic_flow_risk(1.0, 3.0, signal=2.0, noise=0.5)
    np.testing.assert_allclose(found.bias, 2 * (quad(bias, a, b)[0] + 2 / 3), rtol=1e-7)
    np.testing.assert_allclose(found.variance, 0.5 * 3 * quad(variance, a, b)[0], rtol=1e-7)


def test_the_risk_starts_at_that_of_zero_and_ends_at_that_of_the_minimum_norm():
    for n in (20.0, 80.0):
        found = flow_risk(TAU, BETA2, n, np.array([0.0, 1e-9, 1e6, np.inf]), noise=0.3)
        end = ridge_risk(TAU, BETA2, n, noise=0.3)
        for k in (0, 1):
            np.testing.assert_allclose(found.risk[k], TAU @ BETA2, rtol=1e-8)
            np.testing.assert_allclose(found.train_error[k], TAU @ BETA2 + 0.3, rtol=1e-8)
        for one, other in zip(found, end, strict=True):
            np.testing.assert_allclose(one[2], other, rtol=1e-7, atol=1e-9)
            np.testing.assert_allclose(one[3], other, rtol=1e-12)
    np.testing.assert_allclose(
        isotropic_flow_risk(np.array([1e4, 1e4]), np.array([0.5, 2.0]), **GIVEN).risk,
        isotropic_risk(np.array([0.5, 2.0]), **GIVEN).risk,
        rtol=1e-10,
    )


def test_a_training_error_falls_at_the_rate_of_the_gradient_at_the_start():
    """d/dt E‖Xβ − y‖²/n = −2 E‖Xᵀy/n‖² at t = 0, with E‖Xᵀy/n‖² = Σ(τ² β²(1 + 1/n) + τ(Σ τβ² + σ²)/n) to order 1/n."""
    n = 1e6
    slope = jax.jit(jax.grad(lambda t: flow_risk(TAU, BETA2, n, t, noise=0.3).train_error))(1e-7)
    np.testing.assert_allclose(slope, -2 * (TAU**2 @ BETA2), rtol=1e-3)


def test_stopping_is_optimal_and_within_the_bound_of_ridge():
    """Ridge at its best penalty is better, by a factor of at most 1.22 (Ali, Kolter, Tibshirani 2019)."""
    times = np.geomspace(1e-2, 1e3, 200)
    for gamma in (0.5, 1.0, 3.0):
        best = optimal_stopping([1.0], 1.3, 1 / gamma, noise=0.5)
        around = isotropic_flow_risk(best.time * np.array([0.99, 1.0, 1.01]), gamma, signal=1.3, noise=0.5).risk
        assert around[1] < min(around[0], around[2])
        np.testing.assert_allclose(best.risk, around[1], rtol=1e-10)
        np.testing.assert_allclose(
            best.risk, isotropic_flow_risk(times, gamma, signal=1.3, noise=0.5).risk.min(), rtol=1e-2
        )
        penalty = isotropic_optimal_penalty(gamma, signal=1.3, noise=0.5)
        ratio = best.risk / isotropic_risk(gamma, penalty=penalty, signal=1.3, noise=0.5).risk
        assert 1 < ratio < 1.22


def test_flow_for_a_time_is_close_to_ridge_at_its_inverse():
    """The risk at t is at most 1.69 times that of ridge at λ = 1/t for a spherical prior (Ali et al. 2019)."""
    times = np.geomspace(1e-2, 1e3, 200)
    for gamma in (0.5, 3.0):
        flow = isotropic_flow_risk(times, gamma, signal=1.3, noise=0.5).risk
        ratio = flow / isotropic_risk(gamma, penalty=1 / times, signal=1.3, noise=0.5).risk
        assert ratio.max() < 1.6862
        np.testing.assert_allclose(np.asarray(ratio)[[0, -1]], 1, atol=0.02)


def test_without_noise_there_is_no_time_to_stop():
    best = optimal_stopping([1.0], 1.3, 2.0, noise=0.0)
    assert np.isinf(best.time)
    assert best.risk == 0


def test_derivatives_are_those_of_finite_differences(differentiates):
    def function(tau, beta2, n, t, noise, gamma):
        general = flow_risk(tau, beta2, n, t, noise=noise)
        isotropic = isotropic_flow_risk(t, gamma, signal=n, noise=noise)
        return sum(general) + sum(isotropic) + optimal_stopping(tau, beta2, n, noise=noise).risk

    differentiates(function, TAU, BETA2, 25.0, 2.0, 0.3, 1.7)


@pytest.mark.parametrize("num_features", [100, 400])
def test_regressions_by_gradient_flow_have_the_risk_norm_and_training_error_of_the_theory(num_features, agree):
    """200 samples; 40 draws of X, each with 16 of β and the noise: standard errors of at most 1 %."""
    rng, n, times = np.random.default_rng(0), 200, np.array([0.5, 5.0, 50.0])
    tau = 2.0 * np.arange(1, num_features + 1) ** -0.5
    beta2 = np.full(num_features, 1 / num_features)
    found = []
    for _ in range(40):
        x = rng.normal(size=(n, num_features)) * np.sqrt(tau)
        beta = np.sqrt(beta2)[:, None] * rng.choice([-1.0, 1.0], size=(num_features, 16))
        y = x @ beta + np.sqrt(0.1) * rng.normal(size=(n, 16))
        l, u = np.linalg.eigh(x @ x.T / n)
        projected, draw = u.T @ y, []
        for t in times:
            shrunk = np.where(l > 1e-12, -np.expm1(-t * l) / np.maximum(l, 1e-12), t)
            fitted = x.T @ (u @ (shrunk[:, None] * projected)) / n
            draw.append(
                [(tau @ (fitted - beta) ** 2).mean(), (fitted**2).sum(0).mean(), np.mean((x @ fitted - y) ** 2)]
            )
        found.append(draw)
    theory = flow_risk(tau, beta2, n, times, noise=0.1)
    found, expected = np.moveaxis(found, 0, -1), np.stack([theory.risk, theory.norm, theory.train_error], axis=-1)
    agree(found[:, :2].reshape(6, -1), expected[:, :2].ravel(), standard_error=0.01)
    # At late times the training error is that of the few smallest eigenvalues, which fluctuate, and tiny.
    agree(found[:2, 2], expected[:2, 2], standard_error=0.01)


def test_single_precision_gives_the_curve():
    with jax.enable_x64(False):
        single = flow_risk(
            *(jnp.asarray(a, jnp.float32) for a in (TAU, BETA2)), 25.0, TIMES.astype(np.float32), noise=0.3
        )
    double = flow_risk(TAU, BETA2, 25.0, TIMES, noise=0.3)
    np.testing.assert_allclose(single.risk, double.risk, rtol=2e-5)
