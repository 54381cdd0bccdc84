"""Gradients from minibatches: their mean, their variance, and control variates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.infer import MCMC

import dlmath as dm
from dlmath.mcmc import _minibatch

rng = np.random.default_rng(0)
X = jnp.asarray(rng.normal(size=(40, 3)), jnp.float32)
Y = jnp.asarray(rng.integers(0, 2, size=40), jnp.float32)


def potential(z, x, y):
    """Logistic regression: the sum over the data of the loss, and a standard normal prior."""
    logits = x @ z
    return len(X) / len(x) * jnp.sum(jnp.logaddexp(0.0, logits) - y * logits) + 0.5 * jnp.sum(z**2)


Z = jnp.array([0.3, -0.5, 0.2])
FULL = np.asarray(jax.grad(potential)(Z, X, Y), np.float64)


def many(gradient, num=4000):
    return np.asarray(jax.jit(jax.vmap(gradient))(jax.random.split(jax.random.key(0), num)), np.float64)


def assert_mean(found, expected):
    standard_error = found.std(axis=0) / np.sqrt(len(found))
    np.testing.assert_array_less(np.abs(found.mean(axis=0) - expected), 4 * standard_error + 1e-4)


@pytest.mark.parametrize("batch_size", [2, 8])
def test_the_minibatch_gradient_is_unbiased_with_the_variance_of_rows_drawn_with_replacement(batch_size):
    found = many(lambda key: _minibatch.minibatch_gradient(key, potential, Z, (X, Y), batch_size)[1])
    assert_mean(found, FULL)
    each = np.asarray(jax.vmap(lambda x, y: jax.grad(potential)(Z, x[None], y[None]))(X, Y), np.float64)
    # 40 times the gradient of a row plus the prior: the variance of a mean of `batch_size` of them.
    np.testing.assert_allclose(found.var(axis=0), each.var(axis=0) / batch_size, rtol=6 * np.sqrt(2 / 4000))


def test_a_control_variate_is_unbiased_and_exact_at_its_centre():
    centre = Z + 0.1
    at_centre = jax.grad(potential)(centre, X, Y)
    gradient = lambda z: (
        lambda key: _minibatch.control_variate_gradient(key, potential, z, (X, Y), 4, centre, at_centre)[1]
    )
    found, plain = many(gradient(Z)), many(lambda key: _minibatch.minibatch_gradient(key, potential, Z, (X, Y), 4)[1])
    assert_mean(found, FULL)
    assert (found.var(axis=0) < 0.05 * plain.var(axis=0)).all()
    np.testing.assert_allclose(
        many(gradient(centre), 5), np.asarray(at_centre)[None].repeat(5, 0), rtol=1e-5, atol=1e-5
    )


def test_the_variance_of_a_control_variate_falls_with_the_square_of_the_distance():
    def variance(distance):
        centre = Z + distance
        at_centre = jax.grad(potential)(centre, X, Y)
        control = lambda key: _minibatch.control_variate_gradient(key, potential, Z, (X, Y), 4, centre, at_centre)[1]
        return many(control, 1000).var(axis=0).sum()

    assert np.log2(variance(0.04) / variance(0.02)) == pytest.approx(2, abs=0.1)


def test_the_gradient_at_the_centre_is_kept_in_the_state():
    kernel = dm.mcmc.SGLD(minibatch_potential=potential, batch_size=4, num_data=40, control=Z, step_size=1e-3)
    mcmc = MCMC(kernel, num_warmup=5, num_samples=5, progress_bar=False)
    mcmc.run(jax.random.key(0), X, Y, init_params=Z)
    np.testing.assert_allclose(mcmc.last_state.control_grad, FULL, rtol=1e-5)


def test_other_data_of_the_same_kernel_are_other_targets():
    kernel = dm.mcmc.SGLD(minibatch_potential=potential, batch_size=40, step_size=1e-3)
    mcmc = MCMC(kernel, num_warmup=0, num_samples=2, progress_bar=False, jit_model_args=True)
    mcmc.run(jax.random.key(0), X, Y, init_params=Z)
    first = np.asarray(mcmc.get_samples())
    mcmc.run(jax.random.key(0), X, 1 - Y, init_params=Z)
    assert np.abs(first - np.asarray(mcmc.get_samples())).min() > 0
