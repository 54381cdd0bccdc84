import jax
import numpy as np
import pytest

import dlmath as dm


def polynomials(psi1, psi2, penalty, linear, rest):
    """𝓑 and 𝓥 as Definition 1 has them, from the fixed point (ν₁, ν₂) at ξ = i√(ψ₁ψ₂λ̄)."""
    zeta2, xi = linear / rest, 1j * np.sqrt(psi1 * psi2 * penalty / rest)
    nu1 = nu2 = 0j
    for scale in np.geomspace(1e4, 1, 60):  # continued from large |ξ|, where ν = −ψ/ξ
        z = scale * xi
        if nu1 == 0:
            nu1, nu2 = -psi1 / z, -psi2 / z
        for _ in range(4000 if scale == 1 else 400):
            shared = 1 - zeta2 * nu1 * nu2
            nu1 = 0.5 * nu1 + 0.5 * psi1 / (-z - nu2 - zeta2 * nu2 / shared)
            shared = 1 - zeta2 * nu1 * nu2
            nu2 = 0.5 * nu2 + 0.5 * psi2 / (-z - nu1 - zeta2 * nu1 / shared)
    x, z = (nu1 * nu2).real, np.sqrt(zeta2)
    e0 = (
        -(x**5) * z**6 + 3 * x**4 * z**4 + (psi1 * psi2 - psi2 - psi1 + 1) * x**3 * z**6 - 2 * x**3 * z**4
        - 3 * x**3 * z**2 + (psi1 + psi2 - 3 * psi1 * psi2 + 1) * x**2 * z**4 + 2 * x**2 * z**2 + x**2
        + 3 * psi1 * psi2 * x * z**2 - psi1 * psi2
    )  # fmt: skip
    e1 = psi2 * x**3 * z**4 - psi2 * x**2 * z**2 + psi1 * psi2 * x * z**2 - psi1 * psi2
    e2 = (
        x**5 * z**6 - 3 * x**4 * z**4 + (psi1 - 1) * x**3 * z**6 + 2 * x**3 * z**4 + 3 * x**3 * z**2
        - (psi1 + 1) * x**2 * z**4 - 2 * x**2 * z**2 - x**2
    )  # fmt: skip
    return e1 / e0, e2 / e0


@pytest.mark.parametrize("psi1", [2.0, 3.0, 5.0, 10.0, 20.0])
def test_the_expected_risks_are_those_of_the_polynomials_of_the_paper(paper, psi1, double_precision):
    bias, variance = polynomials(psi1, 3.0, 1e-3, 0.25, 0.25 - 1 / (2 * np.pi))  # μ₁², μ⋆² of ReLU
    found = paper.theory(paper.Config(), psi1, 1e-3)
    np.testing.assert_allclose(found.bias, bias, rtol=1e-5)
    np.testing.assert_allclose(found.variance, 0.5 * variance, rtol=1e-5)
    assert abs(bias + 0.5 * variance - paper.PRINTED[psi1]) < 6e-4


def test_a_measurement_agrees_with_numpy(paper, double_precision):
    config = paper.Config(
        dimension=8,
        features_per_dimension=(1.0, 2.0, 5.0),
        samples_per_dimension=2.0,
        penalties=(0.01, 0.3),
        num_test=7,
    )
    key = jax.random.key(3)
    found = paper.measure(config, key[None])
    of_features, of_beta, of_x, of_noise = jax.random.split(key, 4)
    x = np.asarray(dm.data.sphere(of_x, 23, 8, radius=np.sqrt(8)))
    features = dm.double_descent.feature_map(of_features, 8, 40, kind="relu", weights="spherical")
    z, clean = np.asarray(features(x)), x @ np.asarray(dm.data.sphere(of_beta, 1, 8))[0]
    error = np.sqrt(0.5) * np.asarray(jax.random.normal(of_noise, (16,)))
    for i, capacity in enumerate((8, 16, 40)):
        a = z[:16, :capacity]
        for j, penalty in enumerate(config.penalties):
            inverse = np.linalg.inv(a.T @ a + 16 * capacity * penalty / 8 * np.eye(capacity))  # nNλ/d
            fit = lambda y, inverse=inverse, a=a, capacity=capacity: z[16:, :capacity] @ inverse @ a.T @ y
            np.testing.assert_allclose(
                found["bias"][1][0, i, j], np.mean((fit(clean[:16]) - clean[16:]) ** 2), rtol=1e-8
            )
            np.testing.assert_allclose(found["variance"][1][0, i, j], np.mean(fit(error) ** 2), rtol=1e-8)
