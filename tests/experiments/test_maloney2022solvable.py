import jax
import numpy as np


def test_the_error_is_that_of_the_pseudo_inverse_averaged_over_targets(paper, double_precision):
    config = paper.Config(num_latent=9, sizes=(2, 4))
    key = jax.random.key(0)
    found = paper.measure(config, key[None], exponent=0.5)["error"][1][0]
    of_features, of_x = jax.random.split(key)
    u = np.asarray(jax.random.normal(of_features, (9, 4)))
    tau = paper.variances(config, 0.5)
    x = np.asarray(jax.random.normal(of_x, (9, 4))).T * np.sqrt(tau)
    for i, n in enumerate(config.sizes):
        for j, t in enumerate(config.sizes):
            total = 0.0
            for w in np.eye(9):
                coefficients = np.linalg.pinv(x[:t] @ u[:, :n]) @ (x[:t] @ w)
                total += np.sum(tau * (u[:, :n] @ coefficients - w) ** 2)
            np.testing.assert_allclose(found[i, j], total, rtol=1e-8)


def test_with_far_more_samples_the_error_is_what_the_features_leave(paper, double_precision):
    # Equal variances, T → ∞: a random projection leaves the share 1 − N/M.
    config = paper.Config(num_latent=40)
    np.testing.assert_allclose(paper.expected_error(config, -1.0, 10, 1e9), 30.0, rtol=1e-6)


def test_the_theory_is_symmetric_in_features_and_samples(paper, double_precision):
    config = paper.Config()
    np.testing.assert_allclose(
        paper.expected_error(config, 1.0, 30, 70), paper.expected_error(config, 1.0, 70, 30), rtol=1e-8
    )
