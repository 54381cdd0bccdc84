import jax
import numpy as np
import pytest


def test_the_spectra_are_those_named(paper):
    config = paper.Config(num_modes=6)
    index = np.arange(1, 7)
    np.testing.assert_allclose(paper.eigenvalues(config, "2") * index**2, 1)
    np.testing.assert_allclose(np.log(paper.eigenvalues(config, "fast")), -(np.log(index) ** 2), atol=1e-12)
    np.testing.assert_allclose(paper.eigenvalues(config, "log") * index * (1 + np.log(index)) ** 2, 1)
    assert [paper.limit(name) for name in ("log", "1.5", "fast")] == [1.0, 1.5, np.inf]


def test_the_tails_are_sums_of_what_is_left_out(paper):
    for spectrum in ("log", "1.5", "3"):
        few, many = (paper.Config(num_modes=m) for m in (100, 1_000_000))
        left = paper.eigenvalues(many, spectrum)[100:].sum() + paper.tail(many, spectrum)
        np.testing.assert_allclose(paper.tail(few, spectrum), left, rtol=1e-4)


@pytest.mark.parametrize("exponent", ["1.5", "2", "3"])
def test_the_equivalent_tends_to_a_times_the_noise(paper, exponent, double_precision):
    # ∫ L² over ∫ L for L = 1/(1 + s^a) is 1 − 1/a, hence E₀ = 1/(1 − (1 − 1/a)) = a.
    config = paper.Config(num_modes=200_000, noise=0.7)
    found = paper.expected_error(config, exponent, 1000, 0.0)
    assert abs(found / 0.7 - float(exponent)) < 0.01 * float(exponent)


@pytest.mark.parametrize("ridge", [0.0, 0.3])
def test_the_error_is_the_mean_over_labels_of_kernel_regression(paper, ridge, double_precision):
    config = paper.Config(num_modes=24, noise=0.5, signal=2.0, ridges=(ridge,))
    key = jax.random.key(2)
    found = paper.measure(config, key[None], spectrum="1.5", size=8)["error"][1][0, 0]
    tau = paper.eigenvalues(config, "1.5")
    z = np.asarray(jax.random.normal(key, (8, 24)))
    gram = (z * tau) @ z.T + (8 * ridge + 2 / np.sqrt(24.5)) * np.eye(8)
    errors = []
    for noise in np.concatenate([np.eye(8), -np.eye(8)]) * 2.0:  # √(nσ²): their mean is that over the noise
        # f = Σ cᵢ φᵢ with target √2 √λ₁ φ₁, coefficients in orthonormal φ
        c = tau * (z.T @ np.linalg.solve(gram, np.sqrt(2.0 * tau[0]) * z[:, 0] + noise))
        errors.append(np.sum((c - np.sqrt(2.0 * tau[0]) * (np.arange(24) == 0)) ** 2) + 0.5)
    np.testing.assert_allclose(found, np.mean(errors), rtol=1e-8)
