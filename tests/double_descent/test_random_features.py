"""Random features: the polynomials of Mei and Montanari, limits, symmetries, simulations, and the sources of variance."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq

from dlmath.double_descent import (
    HermiteWeights,
    anova,
    hermite_weights,
    mei_montanari_components,
    mei_montanari_risk,
    random_feature_components,
    random_feature_risk,
    ridge_risk,
)

TAU = 4.0 * np.arange(1, 41) ** -1.5
V2 = np.random.default_rng(1).gamma(1.0, size=40)
PSI1 = np.array([0.5, 2.0, 3.0, 20.0])


def _polynomials(psi1, psi2, penalty, weights, signal, nonlinear, noise):
    """Theorem 2 of Mei and Montanari: risk = F₁² E₁/E₀ + (τ² + F⋆²) E₂/E₀ + F⋆² in χ = ν₁ν₂ = −x.

    ν₁ = ψ₁/(−ξ − ν₂ − ζ²ν₂/(1 − ζ²ν₁ν₂)) and ν₂ likewise, at imaginary ξ, are imaginary; with h = x + ζ²x/(1 + ζ²x)
    they say ψ₁ψ₂λ̄x = (ψ₁ − h)(ψ₂ − h).
    """
    zeta2 = (weights.linear / weights.nonlinear) ** 2
    scaled = penalty / weights.nonlinear**2
    h = lambda x: x + zeta2 * x / (1 + zeta2 * x)
    most = brentq(lambda x: h(x) - min(psi1, psi2), 0, max(psi1, psi2), xtol=1e-300, rtol=1e-15)
    x = brentq(lambda x: psi1 * psi2 * scaled * x - (psi1 - h(x)) * (psi2 - h(x)), 0, most, xtol=1e-300, rtol=1e-15)
    nu1, nu2 = ((psi - h(x)) / np.sqrt(psi1 * psi2 * scaled) * 1j for psi in (psi1, psi2))
    xi = 1j * np.sqrt(psi1 * psi2 * scaled)
    np.testing.assert_allclose(nu1, psi1 / (-xi - nu2 - zeta2 * nu2 / (1 - zeta2 * nu1 * nu2)), rtol=1e-6)
    c, z2, z4, z6 = -x, zeta2, zeta2**2, zeta2**3
    e0 = (
        -(c**5) * z6 + 3 * c**4 * z4 + (psi1 * psi2 - psi2 - psi1 + 1) * c**3 * z6 - 2 * c**3 * z4 - 3 * c**3 * z2
        + (psi1 + psi2 - 3 * psi1 * psi2 + 1) * c**2 * z4 + 2 * c**2 * z2 + c**2 + 3 * psi1 * psi2 * c * z2 - psi1 * psi2
    )  # fmt: skip
    e1 = psi2 * c**3 * z4 - psi2 * c**2 * z2 + psi1 * psi2 * c * z2 - psi1 * psi2
    e2 = (
        c**5 * z6 - 3 * c**4 * z4 + (psi1 - 1) * c**3 * z6 + 2 * c**3 * z4 + 3 * c**3 * z2
        - (psi1 + 1) * c**2 * z4 - 2 * c**2 * z2 - c**2
    )  # fmt: skip
    return signal * e1 / e0 + (noise + nonlinear) * e2 / e0 + nonlinear


@pytest.mark.parametrize("penalty", [1e-3, 0.3])
def test_the_risk_is_that_of_the_polynomials_of_mei_and_montanari(penalty):
    relu, tanh = hermite_weights("relu"), hermite_weights("tanh")
    for weights, psi2, nonlinear in ((relu, 3.0, 0.0), (tanh, 0.7, 0.3)):
        found = mei_montanari_risk(
            PSI1, psi2, penalty, activation=weights, signal=0.8, nonlinear=nonlinear, noise=0.5
        ).risk
        plain = HermiteWeights(*(float(weight) for weight in weights))
        expected = [_polynomials(psi1, psi2, penalty, plain, 0.8, nonlinear, 0.5) for psi1 in PSI1]
        np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_the_risk_at_three_samples_a_dimension_has_the_values_of_an_independent_solution():
    """ReLU, n = 3d, τ² = 0.5, λ = 1e-3: ν₁, ν₂ by damped iteration in the complex plane."""
    found = mei_montanari_risk(np.array([2, 3, 5, 10, 20]), 3, 1e-3, noise=0.5).risk
    np.testing.assert_allclose(found, [1.417, 2.054, 0.942, 0.440, 0.295], atol=1e-3)


def test_hermite_weights_are_integrals_over_the_gaussian():
    density = lambda z: np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    moment = lambda f: quad(lambda z: f(z) * density(z), -12, 12, points=[0.0], epsabs=1e-13)[0]
    for activation, phi in (("tanh", np.tanh), ("relu", lambda z: max(z, 0.0)), (jnp.exp, np.exp)):
        found = hermite_weights(activation)
        constant, linear = moment(phi), moment(lambda z, phi=phi: z * phi(z))
        rest = np.sqrt(moment(lambda z, phi=phi: phi(z) ** 2) - constant**2 - linear**2)
        np.testing.assert_allclose(found, [abs(constant), abs(linear), rest], rtol=1e-6, atol=1e-12)
    assert hermite_weights("identity") == (0, 1, 0)


@pytest.mark.parametrize("penalty", [0.0, 0.01, 1.0])
def test_infinitely_many_features_are_ridge_regression(penalty):
    n = np.array([10.0, 39.0, 40.0, 60.0])
    ridge = ridge_risk(TAU, V2 / TAU, n, penalty=penalty, noise=0.3, unexplained=0.1)
    features = random_feature_risk(TAU, V2, n, np.inf, penalty=penalty, noise=0.3, unexplained=0.1)
    for one, other in zip(ridge._replace(norm=0.0), features._replace(norm=0.0), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(features.norm, ridge.norm, rtol=1e-10)


def test_a_tail_of_small_eigenvalues_is_many_of_them_and_for_infinitely_many_features_a_penalty():
    sizes = np.array([20.0, 20.0, 20.0, 20.0]), np.array([10.0, 20.0, 30.0, np.inf])
    tail = random_feature_risk(TAU, V2, *sizes, penalty=0.02, noise=0.3, tail=1.5)
    many = np.concatenate([TAU, np.full(400_000, 1.5 / 400_000)])
    whole = random_feature_risk(many, np.concatenate([V2, np.zeros(400_000)]), *sizes, penalty=0.02, noise=0.3)
    for one, other in zip(tail, whole, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4)
    penalty = ridge_risk(TAU, V2 / TAU, np.full(4, 20.0), penalty=0.02 + 1.5 / 20, noise=0.3)
    np.testing.assert_allclose(tail.risk[3], penalty.risk[3], rtol=1e-10)


def test_fewer_features_than_samples_are_a_regression_on_what_they_span():
    """At λ = 0 and N < n the risk is (Σ(1 − Lᵢ)vᵢ² + σ²)/(1 − N/n) − σ² with Σ Lᵢ = N: Maloney et al. 2022, in n and N."""
    n, features = np.array([30.0, 60.0, 1e9, 30.0]), np.array([10.0, 10.0, 10.0, 29.0])
    found = random_feature_risk(TAU, V2, n, features, noise=0.3).risk
    for k in range(4):
        kappa = brentq(lambda kappa, k=k: (TAU / (TAU + kappa)).sum() - features[k], 1e-9, 1e3, rtol=1e-15)
        left = (V2 * kappa / (TAU + kappa)).sum()
        np.testing.assert_allclose(found[k], (left + 0.3) / (1 - features[k] / n[k]) - 0.3, rtol=1e-9)


def test_the_risk_is_infinite_where_features_equal_samples_and_only_without_penalty():
    sizes = np.array([20.0, 20.0, 20.0, 20.0]), np.array([19.0, 20.0, 21.0, 60.0])
    ridgeless = random_feature_risk(TAU, V2, *sizes, noise=0.3)
    assert np.isinf(ridgeless.risk).tolist() == [False, True, False, False]
    assert not any(np.isnan(part).any() for part in ridgeless)
    parts = random_feature_components(TAU, V2, *sizes, noise=0.3)
    infinite = {name: bool(np.isinf(part).any()) for name, part in parts._asdict().items()}
    assert infinite == {
        "bias": False, "samples": False, "init": False, "samples_init": True, "samples_noise": False,
        "samples_init_noise": True,
    }  # fmt: skip
    assert np.isfinite(random_feature_risk(TAU, V2, *sizes, penalty=1e-6, noise=0.3).risk).all()


def test_norm_is_the_derivative_of_the_least_objective():
    at = lambda penalty: random_feature_risk(TAU, V2, 25.0, 35.0, penalty=penalty, noise=0.3, tail=0.1)
    found, h = at(0.2), 1e-4
    objective = lambda penalty: (lambda r: r.train_error + penalty * r.norm)(at(penalty))
    np.testing.assert_allclose((objective(0.2 + h) - objective(0.2 - h)) / (2 * h), found.norm, rtol=1e-7)


def _coefficients(phi, y, penalty):
    """The ridge or minimum-norm solution, from the smaller of the two Gram matrices."""
    n, num_features = phi.shape
    small = phi @ phi.T if n < num_features else phi.T @ phi
    small[np.diag_indices(len(small))] += n * penalty
    return phi.T @ np.linalg.solve(small, y) if n < num_features else np.linalg.solve(small, phi.T @ y)


def test_regressions_on_gaussian_features_have_the_risk_and_norm_of_the_theory(agree):
    """200 samples, 300 modes; 50 draws, each with 8 of the noise; standard errors of at most 1.7 %."""
    rng, modes, draws = np.random.default_rng(0), np.arange(1, 301), []
    tau, v = 4.0 * modes**-1.5, 1.0 / modes
    num_features, penalties = np.array([100, 400, 240, 600]), np.array([0.0, 0.0, 0.003, 0.1])
    for count, penalty in zip(num_features, penalties, strict=True):
        found = []
        for _ in range(50):
            f, z = rng.normal(size=(count, 300)) * np.sqrt(tau / count), rng.normal(size=(200, 300))
            y = (z @ v)[:, None] + np.sqrt(0.2) * rng.normal(size=(200, 8))
            a = _coefficients(z @ f.T, y, penalty)
            found.append([((f.T @ a - v[:, None]) ** 2).sum(0).mean(), (a**2).sum(0).mean()])
        draws += [*np.transpose(found)]
    theory = random_feature_risk(tau, v**2, 200, num_features, penalty=penalties, noise=0.2)
    agree(draws, np.stack([theory.risk, theory.norm], axis=-1).ravel(), standard_error=0.017)


def test_the_components_sum_to_the_risk_and_vanish_with_their_source():
    sizes = np.array([20.0, 20.0, 20.0, 20.0]), np.array([10.0, 20.0, 30.0, np.inf])
    given = {"penalty": 0.02, "noise": 0.3, "tail": 0.4, "unexplained": 0.1}
    parts = random_feature_components(TAU, V2, *sizes, **given)
    np.testing.assert_allclose(sum(parts), random_feature_risk(TAU, V2, *sizes, **given).risk, rtol=1e-12)
    assert all((part >= 0).all() for part in parts)
    for part in (parts.init, parts.samples_init, parts.samples_init_noise):
        np.testing.assert_allclose(part[3], 0, atol=1e-12)
    mei = mei_montanari_components(PSI1, 3.0, 1e-3, nonlinear=0.2, noise=0.5)
    np.testing.assert_allclose(sum(mei), mei_montanari_risk(PSI1, 3.0, 1e-3, nonlinear=0.2, noise=0.5).risk, rtol=1e-12)


@pytest.mark.parametrize(("num_features", "penalty"), [(60, 0.01), (150, 0.003)])
def test_the_components_of_simulated_regressions_are_those_of_the_theory(num_features, penalty):
    """A crossed design of 12 feature draws, 12 samples and 3 noises, n = 100: within 3 standard errors and O(1/n)."""
    v = 1.0 / np.arange(1, 201)
    streams = lambda offset, count: [lambda offset=offset, i=i: np.random.default_rng(offset + i) for i in range(count)]
    z = [rng().normal(size=(100, 200)) for rng in streams(0, 12)]
    f = [rng().normal(size=(num_features, 200)) * np.sqrt(4.0 * np.arange(1, 201) ** -1.5) for rng in streams(100, 12)]
    noises = np.stack([rng().normal(size=100) for rng in streams(200, 3)], axis=1) * np.sqrt(0.2)
    found = np.empty([12, 12, 3, 200])
    for i, j in np.ndindex(12, 12):
        phi = z[i] @ f[j].T / np.sqrt(num_features)
        y = (z[i] @ v)[:, None] + noises
        a = _coefficients(phi, y, penalty)
        found[i, j] = (f[j].T @ a / np.sqrt(num_features)).T
    # The risk is a sum over modes: they are the test points, times their number.
    estimates = anova(found * np.sqrt(200), v * np.sqrt(200))
    theory = random_feature_components(
        4.0 * np.arange(1, 201) ** -1.5, v**2, 100, num_features, penalty=penalty, noise=0.2
    )
    for name, value in theory._asdict().items():
        estimate = estimates[name]
        assert abs(estimate.value - value) < 3 * estimate.standard_error + 0.02 * value, (name, estimate, value)
    for name in ("noise", "init_noise"):
        assert abs(estimates[name].value) < 3 * estimates[name].standard_error


def test_derivatives_are_those_of_finite_differences(differentiates):
    def function(tau, v2, n, num_features, penalty, noise, tail):
        given = tau, v2, n, num_features
        risk = random_feature_risk(*given, penalty=penalty, noise=noise, tail=tail)
        parts = random_feature_components(*given, penalty=penalty, noise=noise, tail=tail)
        ridgeless = random_feature_risk(*given, noise=noise)
        return sum(risk) + parts.samples_init + parts.init + ridgeless.risk

    differentiates(function, TAU, V2, 20.0, 30.0, 0.1, 0.3, 0.2)


def test_activations_on_a_sphere_have_the_risk_of_the_theory(agree):
    """tanh features in 100 dimensions, n = 200; each draw with 8 of β and the noise: standard errors of at most 1.7 %."""
    rng, d, n = np.random.default_rng(0), 100, 200
    weights = hermite_weights("tanh")
    sphere = lambda m: (lambda g: g * np.sqrt(d) / np.linalg.norm(g, axis=1, keepdims=True))(rng.normal(size=(m, d)))
    draws, theory = [], []
    for num_features in (100, 400):
        found = []
        for _ in range(32):
            theta, x, new = sphere(num_features), sphere(n), sphere(400)
            beta = sphere(8).T / np.sqrt(d)
            y = x @ beta + np.sqrt(0.5) * rng.normal(size=(n, 8))
            phi, phi_new = (np.tanh(points @ theta.T / np.sqrt(d)) for points in (x, new))
            a = _coefficients(phi, y, 0.01 * num_features / d)
            found.append(np.mean((phi_new @ a - new @ beta) ** 2))
        draws.append(found)
        theory.append(mei_montanari_risk(num_features / d, n / d, 0.01, activation=weights, noise=0.5).risk)
    agree(draws, theory, standard_error=0.017)


def test_single_precision_is_enough_for_a_curve():
    with jax.enable_x64(False):
        found = mei_montanari_risk(PSI1.astype(np.float32), 3, 1e-3, noise=0.5).risk
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, mei_montanari_risk(PSI1, 3, 1e-3, noise=0.5).risk, rtol=1e-5)
