"""Krylov solutions and accumulated moments against dense ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse.linalg

from dlmath.double_descent import (
    decompose,
    feature_map,
    gcv,
    hybrid_lsqr,
    moments,
    ridge_from_moments,
    tikhonov,
)
from dlmath.linalg import min_norm, ridge

RNG = np.random.default_rng(0)
PENALTIES = np.array([1e-3, 0.1, 2.0])


@pytest.mark.parametrize("shape", [(10, 4), (6, 6), (5, 9)])
def test_whole_krylov_space_gives_ridge_and_its_cross_validation(shape):
    x, y = RNG.normal(size=shape), RNG.normal(size=shape[0])
    found = hybrid_lsqr(x, y, PENALTIES, num_steps=min(shape), tol=1e-10)
    np.testing.assert_allclose(found.coefficients, ridge(x, y, PENALTIES), rtol=1e-9)
    dense = decompose(x, y)
    np.testing.assert_allclose(found.gcv[-1], gcv(dense, tikhonov(dense, PENALTIES)), rtol=1e-8)
    np.testing.assert_allclose(
        found.residual_norm, jnp.linalg.norm(y - ridge(x, y, PENALTIES) @ x.T, axis=1), rtol=1e-8
    )
    assert found.converged.all()


def test_without_a_penalty_a_few_steps_are_those_of_scipys_lsqr():
    x, y = RNG.normal(size=(30, 20)), RNG.normal(size=30)
    found = hybrid_lsqr(x, y, [0.0], num_steps=4)
    expected = scipy.sparse.linalg.lsqr(x, y, atol=0, btol=0, conlim=0, iter_lim=4)[0]
    np.testing.assert_allclose(found.coefficients[0], expected, rtol=1e-9)
    assert not found.converged.any()


def test_chosen_solution_is_the_one_of_smallest_gcv():
    x, y = RNG.normal(size=(12, 8)), RNG.normal(size=12)
    found = hybrid_lsqr(x, y, PENALTIES, num_steps=8)
    step, number = np.unravel_index(np.argmin(found.gcv), found.gcv.shape)
    assert (found.chosen_step, found.chosen_penalty) == (step + 1, PENALTIES[number])
    shorter = hybrid_lsqr(x, y, PENALTIES, num_steps=int(step) + 1)
    np.testing.assert_allclose(found.chosen, shorter.coefficients[number], rtol=1e-9)


def test_steps_end_when_the_krylov_space_is_exhausted():
    """Rank 3, and targets in the span of two singular vectors: two steps say everything."""
    u, _ = np.linalg.qr(RNG.normal(size=(10, 3)))
    v, _ = np.linalg.qr(RNG.normal(size=(7, 3)))
    x = (u * [3.0, 2.0, 1.0]) @ v.T
    y = u[:, :2] @ [1.0, 1.0]
    found = hybrid_lsqr(x, y, [0.0, 0.1], num_steps=6, tol=1e-10)
    assert found.num_steps == 2
    assert found.converged.all()
    np.testing.assert_allclose(found.coefficients[0], min_norm(x, y), atol=1e-12)
    np.testing.assert_allclose(found.coefficients[1], ridge(x, y, 0.1), atol=1e-12)


@pytest.mark.parametrize("kind", ["relu", "fourier"])
def test_features_made_in_blocks_are_the_features(kind):
    x, y = RNG.normal(size=(8, 3)), RNG.normal(size=8)
    features = feature_map(jax.random.key(0), 3, 21, kind=kind)
    streamed = hybrid_lsqr(features, y, PENALTIES, x=x, num_steps=8, block_size=4)
    np.testing.assert_allclose(streamed.coefficients, ridge(features(x), y, PENALTIES), rtol=1e-8)


def test_moments_of_parts_add_to_those_of_the_whole():
    x, y = RNG.normal(size=(13, 3)), RNG.normal(size=(13, 2))
    features = feature_map(jax.random.key(0), 3, 5, kind="tanh")
    parts = jax.tree.map(jnp.add, moments(features, x[:6], y[:6]), moments(features, x[6:], y[6:], block_size=3))
    z = features(x)
    np.testing.assert_allclose(parts.gram, z.T @ z, rtol=1e-12)
    for capacity in (2, 5):
        beta = ridge_from_moments(parts, PENALTIES, capacity=capacity)
        np.testing.assert_allclose(beta, ridge(z[:, :capacity], y, PENALTIES), rtol=1e-9)
    beta = ridge_from_moments(parts, [0.0])
    np.testing.assert_allclose(beta[0], min_norm(z, y), rtol=1e-8)
