"""The Marchenko-Pastur law and Stieltjes transforms against moments, quadrature, quadratic equations and sampled spectra."""

from math import comb

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlmath.double_descent import (
    companion_stieltjes,
    marchenko_pastur_density,
    marchenko_pastur_rule,
    marchenko_pastur_support,
    stieltjes,
)

RATIOS = np.array([1e-6, 0.1, 0.9, 1.0, 1.1, 3.0, 100.0])
SPECTRUM = np.exp(np.random.default_rng(0).normal(size=40))


def test_gauss_rules_have_the_moments_of_the_law():
    """∫ lᵏ dF = Σᵢ γⁱ C(k, i) C(k − 1, i)/(i + 1), the Narayana polynomials, up to k = 2·6 − 1."""
    rule = marchenko_pastur_rule(RATIOS, 6)
    assert (rule.weights > 0).all()
    np.testing.assert_allclose(rule.weights.sum(-1) + rule.atom, 1, rtol=1e-14)
    for k in range(1, 12):
        moment = sum(RATIOS**i / (i + 1) * comb(k, i) * comb(k - 1, i) for i in range(k))
        np.testing.assert_allclose((rule.weights * rule.nodes**k).sum(-1), moment, rtol=1e-12)
    moment = sum(RATIOS**i / (i + 1) * comb(12, i) * comb(11, i) for i in range(12))
    assert (abs((rule.weights * rule.nodes**12).sum(-1) / moment - 1)[1:-1] > 1e-9).all()  # and no further


@pytest.mark.parametrize("gamma", [0.3, 1.0, 4.0])
def test_density_integrates_to_the_mass_of_the_bulk_and_agrees_with_the_rule(gamma):
    a, b = (float(edge) for edge in marchenko_pastur_support(gamma))
    rule = marchenko_pastur_rule(gamma, 40)
    # l = a + (b − a) sin² takes the roots at the edges away.
    angle, weights = np.polynomial.legendre.leggauss(200)
    angle, weights = np.pi / 4 * (angle + 1), np.pi / 4 * weights
    l = a + (b - a) * np.sin(angle) ** 2
    weights = weights * (b - a) * np.sin(2 * angle) * marchenko_pastur_density(l, gamma)
    np.testing.assert_allclose(weights.sum(), 1 - rule.atom, rtol=1e-9)
    np.testing.assert_allclose((weights * np.cos(l)).sum(), (rule.weights * np.cos(rule.nodes)).sum(), rtol=1e-9)
    outside = marchenko_pastur_density(np.array([a - 1e-9, b + 1e-9, -1.0]), gamma)
    np.testing.assert_array_equal(outside, 0)


@pytest.mark.parametrize(
    "z", [-0.3, np.array([-1 + 0.1j, 0.5 + 0.5j, 3 - 0.3j, 1 + 1e-9j, 1e3 + 1j])], ids=["real", "complex"]
)
def test_isotropic_transforms_solve_their_quadratic_equation_in_the_right_half_plane(z):
    for gamma in (0.25, 1.0, 3.0):
        m = stieltjes(z, gamma)
        np.testing.assert_allclose(gamma * z * m**2 - (1 - gamma - z) * m + 1, 0, atol=1e-12)
        assert (np.imag(m) * np.imag(z) > 0).all() if np.iscomplexobj(z) else m > 0
        np.testing.assert_allclose(companion_stieltjes(z, gamma), gamma * m - (1 - gamma) / z, rtol=1e-12)


def test_the_transform_next_to_the_axis_is_the_density():
    x = np.array([0.5, 1.0, 2.0])
    np.testing.assert_allclose(stieltjes(x + 1e-10j, 0.5).imag / np.pi, marchenko_pastur_density(x, 0.5), rtol=1e-8)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_transforms_of_any_spectrum_solve_their_equation_and_are_those_of_sampled_covariances(gamma):
    """Fluctuations of tr(Σ̂ − z)⁻¹/p are of the order 1/p: 800 eigenvalues, within 0.5 %."""
    z = np.array([-0.1 + 0.05j, -1 + 0.1j, 0.5 + 0.5j, 3 - 1j, 20 + 2j])
    v = companion_stieltjes(z, gamma, SPECTRUM)
    equation = -1 / v + gamma * (SPECTRUM / (1 + SPECTRUM * v[:, None])).mean(-1)
    np.testing.assert_allclose(equation, z, rtol=1e-12)
    p, n = 800, int(800 / gamma)
    x = np.random.default_rng(1).normal(size=(n, p)) * np.sqrt(np.repeat(SPECTRUM, 20))
    l = np.linalg.eigvalsh(x.T @ x / n if p <= n else x @ x.T / n)
    zeros = max(p - n, 0) / p
    sampled = lambda z: (1 - zeros) * (1 / (l - z[:, None])).mean(-1) - zeros / z
    np.testing.assert_allclose(stieltjes(z, gamma, SPECTRUM), sampled(z), rtol=5e-3)
    real = np.array([-0.1, -1.0, -10.0])
    np.testing.assert_allclose(stieltjes(real, gamma, SPECTRUM), sampled(real), rtol=5e-3)
    # The real route and the complex one, close to the axis.
    np.testing.assert_allclose(stieltjes(real + 1e-14j, gamma, SPECTRUM), stieltjes(real, gamma, SPECTRUM), rtol=1e-12)


def test_derivatives_are_those_of_finite_differences(differentiates):
    def function(x, gamma, tau, other):
        m = stieltjes(jax.lax.complex(x, 0.2), gamma, tau)
        rule = marchenko_pastur_rule(other, 40)
        return m.real * m.imag + stieltjes(-x, gamma, tau) + (rule.weights * jnp.sqrt(rule.nodes)).sum()

    differentiates(function, 0.7, 1.5, SPECTRUM, 0.4)
