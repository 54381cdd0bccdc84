import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlmath as dm
from dlmath import hessian


def distance(w, x):
    """Its gradients w − x have the covariance of x, and the expectation w − E x."""
    return 0.5 * jnp.mean(jnp.sum((w - x) ** 2, axis=-1))


def test_moments_are_those_of_the_gradients_of_a_network(problem):
    p = problem("mlp", "cross_entropy")
    one = jax.grad(lambda params, x, y: p.objective(params, x[None], y[None]))
    g = np.stack(
        [
            np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(one(p.params, x, y))])
            for x, y in zip(p.x, p.y, strict=True)
        ]
    )
    trace = g.var(axis=0, ddof=1).sum()
    signal = (g.mean(0) ** 2).sum() - trace / len(g)
    for batch_size in (1, 4, 100):
        found = hessian.gradient_noise_scale(p.objective, p.params, p.x, p.y, batch_size=batch_size)
        np.testing.assert_allclose(found.covariance_trace.value, trace, rtol=1e-12)
        np.testing.assert_allclose(found.squared_gradient.value, signal, rtol=1e-12)
        np.testing.assert_allclose(found.scale.value, trace / signal, rtol=1e-11)


def test_standard_errors_are_those_of_leaving_out_each_example(problem):
    p = problem("mlp", "half_mse")
    found = hessian.gradient_noise_scale(p.objective, p.params, p.x, p.y)
    n = len(p.x)
    left = [
        hessian.gradient_noise_scale(p.objective, p.params, jnp.delete(p.x, i, 0), jnp.delete(p.y, i, 0))
        for i in range(n)
    ]
    for name in ("scale", "covariance_trace", "squared_gradient"):
        values = np.array([getattr(each, name).value for each in left])
        expected = np.sqrt((n - 1) / n * ((values - values.mean()) ** 2).sum())
        np.testing.assert_allclose(getattr(found, name).standard_error, expected, rtol=1e-9)


def test_estimates_are_unbiased_and_their_errors_calibrated(float64):
    d, n, s, repetitions = 10, 200, 2.0, 500
    w = jnp.full(d, 0.5)  # |G|² = 2.5, tr Σ = 40, B = 16
    x = s * jax.random.normal(jax.random.key(0), (repetitions, n, d))
    found = jax.jit(jax.vmap(lambda x: hessian.gradient_noise_scale(distance, w, x, batch_size=50)))(x)
    for estimate, truth in ((found.covariance_trace, d * s**2), (found.squared_gradient, d * 0.25)):
        scores = (np.mean(estimate.value) - truth) / (np.std(estimate.value) / np.sqrt(repetitions))
        assert abs(scores) < 4
        ratio = np.sqrt(np.mean(np.square(estimate.standard_error))) / np.std(estimate.value)
        # A standard deviation of 500 values has a relative error of 1/√1000; the jackknife leans upwards.
        assert 0.87 < ratio < 1.15
    covered = np.abs(found.scale.value - 16.0) <= 1.972 * found.scale.standard_error
    assert 0.90 <= covered.mean() <= 0.99


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_reduction_of_the_objective_does_not_matter(problem, reduction):
    p = problem("mlp", "mse")
    objective = lambda params, x, y: dm.train.losses.mse(p.apply(params, x), y, reduction=reduction)
    found = hessian.gradient_noise_scale(objective, p.params, p.x, p.y)
    mean = hessian.gradient_noise_scale(p.objective, p.params, p.x, p.y)
    np.testing.assert_allclose(found.scale.value, mean.scale.value, rtol=1e-12)


def test_examples_with_equal_gradients_have_no_noise(float64):
    found = hessian.gradient_noise_scale(distance, jnp.zeros(2), jnp.ones((5, 2)))
    assert float(found.scale.value) == 0.0
    assert float(found.squared_gradient.value) == 2.0
