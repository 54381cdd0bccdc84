"""Inferences that are approximate in general and known in the linear-Gaussian case."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dlmath import bnn


def starts(problem, number, key=3):
    return bnn.sample_prior(jax.random.key(key), problem.posterior, problem.params, number)


def test_every_member_of_an_ensemble_of_a_convex_problem_is_the_mode(conjugate):
    problem = conjugate()
    samples = bnn.ensemble(jax.random.key(0), problem.posterior, starts(problem, 3), num_steps=3000, learning_rate=3e-2)
    assert samples.log_joint.shape == (3, 1)
    for member in samples.params["weight"]:
        np.testing.assert_allclose(member[0], problem.exact.mean, atol=1e-5)
    best = problem.posterior.potential({"weight": problem.exact.mean}) / 12
    np.testing.assert_allclose(samples.stats["loss"], best, rtol=1e-6)


def test_randomized_ensembles_are_draws_of_the_linear_posterior(conjugate):
    problem = conjugate()
    # Gradient descent with momentum on a quadratic converges to rounding.
    samples = bnn.ensemble(
        jax.random.key(1), problem.posterior, starts(problem, 2000), num_steps=1500, randomized=True,
        optimizer=optax.sgd(0.02, momentum=0.95),
    )  # fmt: skip
    draws = np.asarray(samples.params["weight"])[:, 0, :, 0]
    mean, variance = np.asarray(problem.exact.mean)[:, 0], np.diag(problem.exact.covariance)
    assert (np.abs(draws.mean(0) - mean) < 4 * np.sqrt(variance / 2000)).all()
    assert (np.abs(draws.var(0, ddof=1) / variance - 1) < 4 * np.sqrt(2 / 2000)).all()


def test_ensembles_train_on_minibatches_and_with_learned_noise(conjugate):
    problem = conjugate(n=60)
    learned = bnn.posterior(
        problem.posterior.apply, problem.posterior.prior, bnn.likelihoods.gaussian(bnn.likelihoods.log_normal(0.5)),
        problem.posterior.data,
    )  # fmt: skip
    start = bnn.sample_prior(jax.random.key(0), learned, problem.params, 2)
    samples = bnn.ensemble(jax.random.key(0), learned, start, num_steps=2000, batch_size=20, learning_rate=1e-2)
    best = bnn.mode(learned, jax.tree.map(lambda leaf: leaf[0], start)).params
    np.testing.assert_allclose(jnp.exp(samples.params["log_noise"]), jnp.exp(best["log_noise"]), rtol=0.1)


def test_the_mean_field_of_a_gaussian_has_its_mean_and_the_diagonal_of_its_precision(conjugate):
    problem = conjugate()
    found = bnn.mean_field(
        jax.random.key(0), problem.posterior, problem.params, num_draws=2000, num_steps=4000, learning_rate=3e-2
    )
    precision = np.linalg.inv(problem.exact.covariance)
    np.testing.assert_allclose(found.std["weight"][:, 0], np.diag(precision) ** -0.5, rtol=0.02)
    np.testing.assert_allclose(found.mean["weight"], problem.exact.mean, atol=0.04 * np.diag(precision).max() ** -0.5)
    # log Z − ELBO = KL(q ‖ p) = ½ (log Π Λ_ii − log det Λ) at the optimum.
    gap = 0.5 * (np.log(np.diag(precision)).sum() - np.linalg.slogdet(precision)[1])
    expected = float(problem.exact.log_evidence) - gap
    assert abs(float(found.elbo.value) - expected) < 4 * float(found.elbo.standard_error) + 1e-2


def test_a_factor_of_full_rank_reaches_the_evidence(conjugate):
    problem = conjugate()
    found = bnn.mean_field(
        jax.random.key(0), problem.posterior, problem.params, num_draws=4000, num_steps=6000, learning_rate=2e-2, rank=5,
        num_particles=16,
    )  # fmt: skip
    covariance = np.diag(np.asarray(found.std["weight"])[:, 0] ** 2) + np.asarray(found.factor @ found.factor.T)
    scale = np.sqrt(np.diag(problem.exact.covariance))
    error = np.abs(covariance - problem.exact.covariance) / np.outer(scale, scale)
    assert error.max() < 0.1
    gap = float(problem.exact.log_evidence) - float(found.elbo.value)
    assert -4 * float(found.elbo.standard_error) < gap < 4 * float(found.elbo.standard_error) + 0.05


def test_swag_collects_the_moments_of_its_iterates(conjugate):
    problem = conjugate()
    rate, steps = 1e-3, 40
    found = bnn.swag(
        jax.random.key(0), problem.posterior, starts(problem, 2), num_draws=20_000, num_steps=steps, learning_rate=rate,
        momentum=0.0, every=4, rank=10,
    )  # fmt: skip
    # Plain gradient descent, snapshots after every fourth step, the running mean as in the paper.
    for chain in range(2):
        w = np.asarray(starts(problem, 2)["weight"][chain])
        snapshots, deviations = [], []
        for step in range(1, steps + 1):
            w = w - rate * np.asarray(jax.grad(problem.posterior.potential)({"weight": jnp.asarray(w)})["weight"]) / 12
            if step % 4 == 0:
                snapshots.append(w[:, 0])
                deviations.append(w[:, 0] - np.mean(snapshots, 0))
        mean, variance, d = np.mean(snapshots, 0), np.var(snapshots, 0), np.array(deviations)
        np.testing.assert_allclose(found.stats["mean"][chain], mean, rtol=1e-10)
        np.testing.assert_allclose(found.stats["variance"][chain], variance, rtol=1e-8)
        draws = np.asarray(found.params["weight"][chain])[..., 0]
        expected = np.diag(variance) / 2 + d.T @ d / (2 * 9)
        scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
        assert (np.abs(np.cov(draws.T) - expected) < 5 * scale * np.sqrt(2 / 20_000)).all()


def test_svgd_of_a_gaussian_has_its_mean_and_nearly_its_variance(conjugate):
    problem = conjugate(d=2)
    samples = bnn.svgd(jax.random.key(0), problem.posterior, starts(problem, 50), num_steps=1500, learning_rate=1e-2)
    draws = np.asarray(samples.params["weight"])[0, :, :, 0]
    sd = np.sqrt(np.diag(problem.exact.covariance))
    # Particles of a fixed point have the mean of a Gaussian target nearly exactly; their spread is somewhat too small.
    assert (np.abs(draws.mean(0) - np.asarray(problem.exact.mean)[:, 0]) < 0.05 * sd).all()
    assert (draws.std(0) > 0.8 * sd).all()
    assert (draws.std(0) < 1.1 * sd).all()


def test_dropped_rows_are_zero_and_the_others_are_scaled(conjugate):
    problem = conjugate()
    samples = bnn.mc_dropout(
        jax.random.key(0), problem.posterior, starts(problem, 1), num_draws=2000, num_steps=5, rate=0.25
    )
    draws, trained = np.asarray(samples.params["weight"])[0, :, :, 0], np.asarray(samples.stats["trained"]["weight"])[0]
    kept = draws != 0
    np.testing.assert_allclose(draws[kept], np.broadcast_to(trained[:, 0] / 0.75, draws.shape)[kept], rtol=1e-12)
    assert (np.abs(kept.mean(0) - 0.75) < 4 * np.sqrt(0.75 * 0.25 / 2000)).all()


def test_dropout_minimises_the_mean_over_masks(conjugate):
    # For a linear network E over masks is ridge regression: E‖y − XBw/(1 − r)‖² = ‖y − Xw‖² + r/(1 − r) Σ_j w_j² ‖x_j‖².
    problem = conjugate()
    rate = 0.25
    penalty = rate / (1 - rate) * np.sum(np.asarray(problem.x) ** 2, 0) / 0.09 + 1 / (1 - rate) / 0.49
    best = np.linalg.solve(
        np.asarray(problem.x.T @ problem.x) / 0.09 + np.diag(penalty), np.asarray(problem.x.T @ problem.y) / 0.09
    )
    schedule = optax.cosine_decay_schedule(3e-2, 4000)
    samples = bnn.mc_dropout(
        jax.random.key(0), problem.posterior, starts(problem, 1), num_draws=1, num_steps=4000, rate=rate,
        optimizer=optax.adam(schedule), num_masks=12,
    )  # fmt: skip
    np.testing.assert_allclose(samples.stats["trained"]["weight"][0], best, atol=0.02)


@pytest.mark.parametrize("infer", ["ensemble", "swag"])
def test_training_that_diverges_says_so(conjugate, infer):
    problem = conjugate()
    if infer == "swag":
        with pytest.raises(ValueError, match="learning_rate must be small enough"):
            bnn.swag(jax.random.key(0), problem.posterior, starts(problem, 2), num_draws=1, num_steps=400,
                     learning_rate=1e6, rank=2)  # fmt: skip
    else:
        found = bnn.ensemble(jax.random.key(0), problem.posterior, starts(problem, 2), num_steps=400,
                             optimizer=optax.sgd(1e6))  # fmt: skip
        assert (np.asarray(found.stats["diverged_at"]) >= 0).all()
