"""Bias and variance of ridge regression against their closed forms."""

import jax
import jax.numpy as jnp
import numpy as np

from dlmath.double_descent import bias_variance
from dlmath.linalg import ridge

RNG = np.random.default_rng(0)
N, P, NOISE = 20, 5, 0.7
X, X_TEST, BETA = RNG.normal(size=(N, P)), RNG.normal(size=(40, P)), RNG.normal(size=P)
PENALTIES = np.array([0.05, 0.5])


def within(estimate, expected, k=4):
    return (abs(estimate.value - expected) < k * estimate.standard_error).all()


def test_parts_of_fixed_design_ridge_are_its_closed_form():
    """β̂ = S(Xβ + ε), S = (XᵀX + nλ)⁻¹Xᵀ: bias ‖x·(SX − I)β‖², variance σ²‖Sᵀx‖²; all of it from the noise."""
    draw = lambda sample, noise: (X, X @ BETA + NOISE * jax.random.normal(noise, (N,)))
    predict = lambda x, y: ridge(x, y, PENALTIES) @ X_TEST.T
    found = bias_variance(jax.random.key(0), draw, predict, X_TEST @ BETA, num_samples=150, num_noise=2)
    for k, penalty in enumerate(PENALTIES):
        s = np.linalg.solve(X.T @ X + N * penalty * np.eye(P), X.T)
        bias = ((X_TEST @ (s @ X @ BETA - BETA)) ** 2).mean()
        variance = NOISE**2 * ((X_TEST @ s) ** 2).sum(1).mean()
        pick = lambda estimate, k=k: jax.tree.map(lambda a: a[k], estimate)
        assert within(pick(found.bias), bias)
        assert within(pick(found.variance), variance)
        assert within(pick(found.noise_variance), variance)
        assert within(pick(found.sample_variance), 0)
        assert within(pick(found.error), bias + variance)
    assert (found.error.standard_error < 0.1 * found.error.value).all()


def test_parts_add_up():
    draw = lambda sample, noise: (
        x := jax.random.normal(sample, (N, P)), x @ BETA + NOISE * jax.random.normal(noise, (N,))
    )  # fmt: skip
    found = bias_variance(
        jax.random.key(1), draw, lambda x, y: X_TEST @ ridge(x, y, 0.3), X_TEST @ BETA, num_samples=10, num_noise=3
    )
    np.testing.assert_allclose(found.noise_variance.value + found.sample_variance.value, found.variance.value)
    np.testing.assert_allclose(found.bias.value + found.variance.value, found.error.value)
    assert found.sample_variance.value > 0


def test_mean_over_random_samples_separates_both_variances():
    """f̂ = a + mean of labels, a ~ N(0, 4) of the sample, 5 labels of noise 1: variances 4 and 1/5."""
    draw = lambda sample, noise: (2 * jax.random.normal(sample), jax.random.normal(noise, (5,)))
    found = bias_variance(
        jax.random.key(0), draw, lambda x, y: (x + y.mean())[None] + jnp.arange(3.0), jnp.arange(3.0) + 1,
        num_samples=800, num_noise=3, batch_size=100,
    )  # fmt: skip
    assert within(found.noise_variance, 1 / 5)
    assert within(found.sample_variance, 4)
    assert within(found.bias, 1)
    assert found.sample_variance.standard_error < 0.4


def test_standard_errors_are_the_spread_of_repetitions():
    draw = lambda sample, noise: (jax.random.normal(sample), jax.random.normal(noise, (5,)))
    run = lambda key: bias_variance(
        key, draw, lambda x, y: (x + y.mean())[None] + 1, jnp.zeros(1), num_samples=40, num_noise=2
    )
    found = jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(0), 100))
    for estimate in found:
        spread = estimate.value.std(ddof=1) / jnp.sqrt((estimate.standard_error**2).mean())
        assert 0.75 < spread < 1.33
