"""The family from rich to lazy training, and how far its kernels move."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlmath as dm
from dlmath import ntk

MODEL = dm.models.mlp([6], 2, activation="tanh")


@pytest.fixture
def problem(float64):
    """(apply, θ₀, x, y)."""
    rng = np.random.default_rng(0)
    x, y = jnp.asarray(rng.normal(size=(3, 4))), jnp.asarray(rng.normal(size=(3, 2)))
    return MODEL.apply, MODEL.init(jax.random.key(0), x), x, y


def trained(apply, params0, x, y, alpha, num_steps=4, rate=0.1):
    """Outputs, parameters of the member α after some steps of gradient descent."""
    f, loss = ntk.lazy(apply, params0, alpha), ntk.lazy_loss(dm.train.losses.half_mse, alpha)
    slope = jax.grad(lambda p: loss(f(p, x), y))
    step = lambda _, p: jax.tree.map(lambda leaf, g: leaf - rate * g, p, slope(p))
    params = jax.lax.fori_loop(0, num_steps, step, params0)
    return f(params, x), params


def test_a_lazy_network_is_zero_at_its_start(problem):
    apply, params0, x, _ = problem
    np.testing.assert_array_equal(ntk.lazy(apply, params0, 7.0)(params0, x), jnp.zeros((3, 2)))


def test_lazy_training_tends_to_that_of_the_linearisation_like_one_over_alpha(problem):
    apply, params0, x, y = problem
    alphas = jnp.array([50.0, 100.0])
    outputs, params = jax.vmap(lambda alpha: trained(apply, params0, x, y, alpha))(alphas)
    limit, _ = trained(ntk.linearize(apply, params0), params0, x, y, 1.0)
    errors = jnp.abs(outputs - limit).max((1, 2))
    assert jnp.log2(errors[0] / errors[1]) == pytest.approx(1, abs=0.03)
    before = ntk.empirical(apply, params0, x)
    kernels = jax.vmap(lambda p: ntk.empirical(apply, p, x))(params)
    changes = jax.vmap(lambda kernel: ntk.kernel_change(before, kernel))(kernels)
    assert jnp.log2(changes.relative[0] / changes.relative[1]) == pytest.approx(1, abs=0.03)
    assert jnp.log2(changes.distance[0] / changes.distance[1]) == pytest.approx(2, abs=0.06)


def test_another_member_of_the_family_compiles_nothing(problem):
    apply, params0, x, _ = problem
    run = jax.jit(lambda f, p, x: f(p, x))
    for alpha in (0.1, 10.0):
        run(ntk.lazy(apply, params0, alpha), params0, x)
    assert run._cache_size() == 1


def test_kernel_change_is_that_of_the_definition(float64):
    rng = np.random.default_rng(1)
    one, two = rng.normal(size=(2, 4, 3, 2, 2))
    found = ntk.kernel_change(one, two)
    cosine = (one * two).sum() / np.linalg.norm(one) / np.linalg.norm(two)
    np.testing.assert_allclose(found.relative, np.linalg.norm(two - one) / np.linalg.norm(one), rtol=1e-14)
    np.testing.assert_allclose(found.distance, 1 - cosine, rtol=1e-14)


def test_the_distance_of_near_kernels_keeps_its_digits():
    rng = np.random.default_rng(2)
    one = rng.normal(size=(8, 8)).astype(np.float32)
    two = one + np.float32(1e-4) * rng.normal(size=(8, 8)).astype(np.float32)
    a, b = np.float64(one).ravel(), np.float64(two).ravel()
    # 1 − cos in float64 has a relative error of 1e-16/1e-8.
    expected = 1 - a @ b / np.sqrt((a @ a) * (b @ b))
    np.testing.assert_allclose(ntk.kernel_change(one, two).distance, expected, rtol=5e-3)
