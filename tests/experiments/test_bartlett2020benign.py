import jax
import numpy as np


def test_the_rate_of_a_flat_tail_after_spikes_is_known(paper, double_precision):
    # k* = 5, R = p − 5: k*/n + n/R
    config = paper.Config(growth=2.0)
    np.testing.assert_allclose(paper.rate(config, "spikes", 100), 5 / 100 + 100 / 9995, rtol=1e-6)


def test_the_rate_of_a_power_law_does_not_fall(paper, double_precision):
    # r_k ≈ k, hence k* ≈ n, and R_k ≈ 3k: 1 + 1/3 for infinitely many features
    config = paper.Config()
    np.testing.assert_allclose([paper.rate(config, "power", n) for n in (100, 1000)], 4 / 3, rtol=0.1)


def test_the_variance_of_a_flat_spectrum_is_n_over_p_minus_n(paper, double_precision):
    np.testing.assert_allclose(paper.variance(paper.Config(), "flat", 100), 0.5, rtol=1e-6)


def test_bias_and_variance_are_those_of_the_pseudo_inverse(paper, double_precision):
    config = paper.Config(noise=0.5, signal=2.0)
    key = jax.random.key(0)
    for spectrum in config.spectra:
        found = paper.measure(config, key[None], spectrum=spectrum, size=12)
        tau = paper.eigenvalues(config, spectrum, 12)
        x = np.asarray(jax.random.normal(key, (12, len(tau)))) * np.sqrt(tau)
        inverse, beta = np.linalg.pinv(x), np.sqrt(2.0 / tau[0]) * (np.arange(len(tau)) == 0)
        np.testing.assert_allclose(found["bias"][0], np.sum(tau * (inverse @ x @ beta - beta) ** 2), rtol=1e-7)
        np.testing.assert_allclose(found["variance"][0], 0.5 * np.sum(tau[:, None] * inverse**2), rtol=1e-7)
