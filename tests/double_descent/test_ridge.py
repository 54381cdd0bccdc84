"""Ridge and ridgeless asymptotics: special cases, limits, optimal penalties and simulations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from dlmath.double_descent import (
    isotropic_optimal_penalty,
    isotropic_risk,
    latent_space,
    missing_share,
    optimal_penalty,
    ridge_risk,
    stieltjes,
)
from dlmath.ntk import learning_curve

QUICK = {"xla_backend_optimization_level": 0}

RATIOS = np.array([1e-3, 0.5, 1.0, 50.0])
TAU = np.exp(np.random.default_rng(0).normal(size=40))
BETA2 = np.random.default_rng(1).gamma(1.0, size=40)


def test_ridgeless_risk_and_norm_have_their_closed_forms():
    r2, s2, below, above = 5.0, 1.0, np.array([0.1, 0.5, 0.9]), np.array([1.1, 2.0, 10.0])
    found = isotropic_risk(below, signal=r2, noise=s2)
    np.testing.assert_allclose(found.risk, s2 * below / (1 - below), rtol=1e-13)
    np.testing.assert_allclose(found.norm, r2 + s2 * below / (1 - below), rtol=1e-13)
    np.testing.assert_allclose(found.train_error, s2 * (1 - below), rtol=1e-13)
    found = isotropic_risk(above, signal=r2, noise=s2)
    np.testing.assert_allclose(found.bias, r2 * (1 - 1 / above), rtol=1e-13)
    np.testing.assert_allclose(found.variance, s2 / (above - 1), rtol=1e-13)
    np.testing.assert_allclose(found.norm, r2 / above + s2 / (above - 1), rtol=1e-13)
    np.testing.assert_allclose(found.train_error, 0, atol=1e-15)


def test_ridge_risk_is_that_of_the_stieltjes_transform():
    """risk = r²λ²m′(−λ) + σ²γ(m − λm′), m′ = dm/dz (Dobriban, Wager 2018; Hastie et al. 2022)."""
    r2, s2, penalty = 2.0, 0.7, 0.3
    for gamma in (0.4, 1.0, 3.0):
        m = stieltjes(-penalty, gamma)
        slope = jax.grad(lambda z, gamma=gamma: stieltjes(z, gamma))(-penalty)
        expected = r2 * penalty**2 * slope + s2 * gamma * (m - penalty * slope)
        np.testing.assert_allclose(
            isotropic_risk(gamma, penalty=penalty, signal=r2, noise=s2).risk, expected, rtol=1e-10
        )


@pytest.mark.parametrize("penalty", [0.0, 1e-8, 0.1, 10.0])
def test_the_general_formula_with_equal_eigenvalues_is_the_isotropic_one(penalty):
    isotropic = isotropic_risk(RATIOS, penalty=penalty, signal=2.0, noise=0.7, unexplained=0.2)
    general = ridge_risk(np.ones(40), 2.0, 40 / RATIOS, penalty=penalty, noise=0.7, unexplained=0.2)
    for one, other in zip(isotropic, general, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-13)
    scaled = ridge_risk(np.full(40, 3.0), 2.0 / 3, 40 / RATIOS, penalty=3 * penalty, noise=0.7, unexplained=0.2)
    np.testing.assert_allclose(scaled.risk, general.risk, rtol=1e-10)  # and X → √3 X, β → β/√3 changes nothing


def test_risks_are_infinite_at_the_threshold_and_nowhere_nan():
    for found in (isotropic_risk(1.0, noise=0.1), ridge_risk(TAU, BETA2, 40.0, noise=0.1)):
        assert np.isinf(found.risk)
        assert np.isinf(found.norm)
        assert np.isfinite(found.bias)
        assert found.train_error == 0
    for found in (isotropic_risk(1.0, noise=0.0), ridge_risk(TAU, BETA2, 40.0, noise=0.0)):
        assert found.variance == 0
        assert np.isfinite(found.risk)


def test_the_risk_tends_to_the_ridgeless_one_as_the_penalty_vanishes():
    n = np.array([10.0, 30.0, 60.0, 200.0])
    limit = ridge_risk(TAU, BETA2, n, noise=0.3)
    for penalty, tolerance in ((1e-6, 1e-3), (1e-12, 1e-9)):
        for one, other in zip(limit, ridge_risk(TAU, BETA2, n, penalty=penalty, noise=0.3), strict=True):
            np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


def test_the_general_risk_is_the_learning_curve_of_the_linear_kernel():
    curve = learning_curve(TAU, np.sqrt(TAU * BETA2), 25.0, ridge=25.0 * 0.2, noise=0.3)
    found = ridge_risk(TAU, BETA2, 25.0, penalty=0.2, noise=0.3)
    np.testing.assert_allclose(found.risk + 0.3, curve.test_error, rtol=1e-12)
    np.testing.assert_allclose(found.train_error, curve.train_error, rtol=1e-12)


def test_norm_is_the_derivative_of_the_least_objective():
    """min_β ‖y − Xβ‖²/n + λ‖β‖² = train + λ norm, and its derivative in λ is ‖β̂‖²."""
    least = lambda penalty: (lambda r: r.train_error + penalty * r.norm)(
        ridge_risk(TAU, BETA2, 25.0, penalty=penalty, noise=0.3)
    )
    np.testing.assert_allclose(
        jax.grad(least)(0.2), ridge_risk(TAU, BETA2, 25.0, penalty=0.2, noise=0.3).norm, rtol=1e-9
    )


def test_the_optimal_isotropic_penalty_has_its_closed_form_and_no_peak():
    n = np.array([10.0, 39.9, 40.0, 400.0])
    expected = isotropic_optimal_penalty(40 / n, signal=2.0, noise=0.5)
    np.testing.assert_allclose(expected, 0.5 * (40 / n) / 2, rtol=1e-14)
    np.testing.assert_allclose(optimal_penalty(np.ones(40), 2.0, n, noise=0.5), expected, rtol=1e-10)
    gamma = np.linspace(0.1, 5, 99)
    tuned = isotropic_risk(
        gamma, penalty=isotropic_optimal_penalty(gamma, signal=2.0, noise=0.5), signal=2.0, noise=0.5
    )
    assert (np.diff(tuned.risk) > 0).all()


def test_the_optimal_penalty_of_a_spherical_prior_is_bayesian_for_any_covariance():
    """With equal energies the ridge estimator at λ = σ²/(nβᵢ²) is the posterior mean of β ~ N(0, β² I)."""
    n = np.array([10.0, 39.9, 40.0, 400.0])
    np.testing.assert_allclose(optimal_penalty(TAU, 40 * 0.7, n, noise=0.5), 0.5 / (n * 0.7), rtol=1e-9)


def test_the_optimal_penalty_minimises_the_risk_and_is_zero_or_infinite_at_the_ends():
    at = lambda log: float(ridge_risk(TAU, BETA2, 25.0, penalty=np.exp(log), noise=0.3).risk)
    found = float(optimal_penalty(TAU, BETA2, 25.0, noise=0.3))
    np.testing.assert_allclose(found, np.exp(minimize_scalar(at, bracket=(-6, 0), tol=1e-12).x), rtol=1e-6)
    assert optimal_penalty(TAU, BETA2, 25.0, noise=0.0) == 0
    assert np.isinf(optimal_penalty(TAU, np.zeros(40), 25.0, noise=0.3))
    # Spikes that carry the signal over a flat tail that acts as a ridge: less than none is wanted (Kobak et al. 2020).
    spiked = np.concatenate([np.full(4, 100.0), np.full(36, 1.0)])
    assert optimal_penalty(spiked, np.where(spiked > 1, 1.0, 0.0), 10.0, noise=1e-3) == 0


def test_derivatives_are_those_of_finite_differences(differentiates):
    def function(tau, beta2, n, penalty, noise, gamma):
        general = ridge_risk(tau, beta2, n, penalty=penalty, noise=noise)
        isotropic = isotropic_risk(gamma, penalty=penalty, signal=n, noise=noise)
        ridgeless = isotropic_risk(gamma, signal=n, noise=noise)
        best = optimal_penalty(tau, beta2, n, noise=noise)
        return sum(general) + sum(isotropic) + sum(ridgeless) + 100 * best

    differentiates(function, TAU, BETA2, 25.0, 0.2, 0.3, 1.7)


def _draw(rng, n, tau, beta2, noise, unexplained, penalty=0.0):
    """Risk, norm and training error of one draw of X, averaged over 16 of the signs of β and of the noise."""
    x = rng.normal(size=(n, len(tau))) * np.sqrt(tau)
    beta = np.sqrt(beta2)[:, None] * rng.choice([-1.0, 1.0], size=(len(tau), 16))
    y = x @ beta + np.sqrt(noise + unexplained) * rng.normal(size=(n, 16))
    small = x @ x.T if n <= len(tau) else x.T @ x
    small[np.diag_indices(len(small))] += n * penalty
    found = x.T @ np.linalg.solve(small, y) if n <= len(tau) else np.linalg.solve(small, x.T @ y)
    risk = (tau @ (found - beta) ** 2).mean() + unexplained
    return risk, (found**2).sum(0).mean(), np.mean((x @ found - y) ** 2)


def test_ridgeless_regressions_have_the_risk_and_norm_of_the_theory(agree):
    """400 samples; standard errors of at most 0.7 %, away from the threshold."""
    rng, n = np.random.default_rng(2), 400
    draws, theory = [], []
    for gamma, num_draws in ((0.25, 50), (0.5, 50), (2.0, 16), (4.0, 8)):
        p = int(gamma * n)
        found = [_draw(rng, n, np.ones(p), np.full(p, 2 / p), 0.5, 0.0)[:2] for _ in range(num_draws)]
        draws += [*np.transpose(found)]
        theory += isotropic_risk(gamma, signal=2.0, noise=0.5)[::3]
    agree(draws, theory, standard_error=0.007)


def test_anisotropic_and_misspecified_regressions_have_the_risk_of_the_theory(agree):
    """Eigenvalues of a latent space model and of a power law, with and without a penalty."""
    rng, n = np.random.default_rng(3), 150
    model = latent_space(450, 15, strength=0.1, signal=2.0)
    power = np.arange(1, 451) ** -0.5
    tau = np.asarray(model.eigenvalues), power
    beta2 = np.asarray(model.signal), power / power.sum()
    missing, penalties = (float(model.unexplained), 0.1), (0.0, 0.02)
    draws = [[_draw(rng, n, tau[i], beta2[i], 0.2, missing[i], penalties[i]) for i in (0, 1)] for _ in range(40)]
    theory = [ridge_risk(tau[i], beta2[i], n, penalty=penalties[i], noise=0.2, unexplained=missing[i]) for i in (0, 1)]
    draws = np.moveaxis(draws, 0, -1)
    expected = np.array([[t.risk, t.norm, t.train_error] for t in theory])
    agree([*draws[0, :2], *draws[1]], [*expected[0, :2], *expected[1]], standard_error=0.007)


def test_the_latent_space_model_is_the_regression_on_its_features():
    """β = Σ⁻¹ E xy and the residual variance of y = ⟨θ, z⟩ + ε given x = Wz + u, from the covariance matrix itself."""
    p, d, mu = 12, 3, 0.8
    w = np.linalg.qr(np.random.default_rng(0).normal(size=(p, d)))[0] * np.sqrt(mu * p / d)
    theta = np.full(d, 1 / np.sqrt(d))
    covariance = np.eye(p) + w @ w.T
    beta = np.linalg.solve(covariance, w @ theta)
    model = latent_space(p, d, strength=mu, signal=1.0)
    np.testing.assert_allclose(np.sort(model.eigenvalues), np.linalg.eigvalsh(covariance), rtol=1e-12)
    np.testing.assert_allclose(model.signal.sum(), beta @ beta, rtol=1e-12)
    np.testing.assert_allclose(model.unexplained, 1 - (w @ theta) @ beta, rtol=1e-12)


def test_features_left_out_act_as_noise():
    gamma = np.array([0.5, 3.0])
    share = missing_share(gamma, 2.0)
    found = isotropic_risk(gamma, signal=1 - share, noise=0.1, unexplained=share)
    plain = isotropic_risk(gamma, signal=1 - share, noise=0.1 + share)
    np.testing.assert_allclose(found.risk, plain.risk + share, rtol=1e-14)
    np.testing.assert_allclose(found.train_error, plain.train_error, rtol=1e-14)


def test_functions_map_over_and_compile_with_their_arguments():
    n = jnp.array([10.0, 40.0, 100.0, 400.0])
    whole = ridge_risk(TAU, BETA2, n, penalty=0.1, noise=0.3)
    program = jax.jit(jax.vmap(lambda n: ridge_risk(TAU, BETA2, n, penalty=0.1, noise=0.3)), compiler_options=QUICK)
    mapped = program(n)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), whole, mapped)
    single = ridge_risk(TAU.astype(np.float32), BETA2.astype(np.float32), n.astype(np.float32), penalty=0.1, noise=0.3)
    assert single.risk.dtype == np.float32
    np.testing.assert_allclose(single.risk, whole.risk, rtol=1e-5)
