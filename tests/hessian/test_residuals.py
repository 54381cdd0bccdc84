"""Residuals of a linearised function that are computed twice are kept once."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

import dlmath as dm
from dlmath.hessian._residuals import repeats


def outputs(function, *arguments):
    return repeats(jax.jit(function).trace(*arguments).jaxpr)


def test_equal_computations_are_found_and_different_ones_told_apart():
    x = jnp.arange(3.0)
    assert outputs(lambda x: (jnp.sin(x), jnp.cos(x), jnp.sin(x)), x) == (0, 1, 0)
    assert outputs(lambda x, y: (jnp.sin(x), jnp.sin(y), x + y, y + x), x, x) == (0, 1, 2, 3)
    assert outputs(lambda x: (2 * x, 3 * x, 2.0 * x), x) == (0, 1, 0)
    assert outputs(lambda x: (x.sum(0), x.sum(1), x.sum(0) + 0), jnp.ones((2, 2))) == (0, 1, 2)
    assert outputs(lambda x: (x, x), x) == (0, 0)


def test_equal_computations_are_found_inside_nested_programs():
    inner = jax.jit(lambda x, y: (jnp.sin(x) * y, jnp.sin(x)))
    other = jax.jit(lambda x: jnp.sin(x))
    x = jnp.arange(3.0)
    assert outputs(lambda x: (*inner(x, 2.0), other(x), *inner(x, 3.0)), x) == (0, 1, 1, 3, 1)


def test_constants_are_told_apart():
    a, b = np.arange(3.0), np.arange(3.0) + 1
    assert outputs(lambda x: (x * a, x * b), jnp.ones(3)) == (0, 1)


def test_loops_with_different_bodies_are_told_apart():
    loop = lambda x, f: jax.lax.fori_loop(0, 3, lambda _, x: f(x), x)
    found = outputs(lambda x: (loop(x, jnp.sin), loop(x, jnp.cos), loop(x, jnp.sin)), jnp.ones(3))
    assert found == (0, 1, 0)


def test_a_linearised_hessian_of_a_convolutional_network_keeps_no_array_twice():
    model = dm.models.cnn([4, 8], 3, strides=2)
    x = jax.random.normal(jax.random.key(0), (5, 8, 8, 2))
    params = model.init(jax.random.key(1), x)
    objective = lambda params, x, y: dm.train.losses.cross_entropy(model.apply(params, x), y)
    op = dm.hessian.operator(objective, params, x, jnp.arange(5) % 3)
    linear = dm.hessian.linearized(op)
    large = [leaf for leaf in jax.tree.leaves(linear.matvec) if leaf.size >= 100 and leaf.dtype != bool]
    assert len(large) >= 4
    for one, other in itertools.combinations(large, 2):
        assert one.shape != other.shape or not np.array_equal(one, other)
    vector = jax.tree.map(jnp.ones_like, params)
    for one, other in zip(jax.tree.leaves(linear(vector)), jax.tree.leaves(op(vector)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
