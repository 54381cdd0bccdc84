"""The Nyström preconditioner against the inverse it approximates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlmath import linalg

KEY = jax.random.key(0)
N, SHIFT = 60, 1e-3


def matrix(values):
    rotation, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((N, N)))
    return linalg.from_matrix(jnp.asarray(rotation * values @ rotation.T))


@pytest.fixture
def low_rank(float64):
    """An operator of rank 12."""
    return matrix(np.r_[2.0 ** -np.arange(12), np.zeros(N - 12)])


@pytest.mark.parametrize("rank", [12, 25, N])
def test_of_a_low_rank_it_is_the_inverse_up_to_a_factor(low_rank, rank):
    inverse = linalg.dense(linalg.nystrom_preconditioner(KEY, low_rank, rank, shift=SHIFT))
    shifted = linalg.dense(low_rank) + SHIFT * jnp.eye(N)
    factor = 2.0**-11 + SHIFT if rank == 12 else SHIFT
    expected = factor * jnp.linalg.inv(shifted)
    # Beyond the rank that it has seen it is 1, which is (0 + μ)⁻¹ times μ.
    within = jnp.linalg.eigh(linalg.dense(low_rank))[1][:, -12:]
    np.testing.assert_allclose(within.T @ inverse @ within, within.T @ expected @ within, rtol=1e-8, atol=1e-12)
    if rank > 12:
        np.testing.assert_allclose(inverse, expected, rtol=1e-8, atol=1e-9)


def test_conjugate_gradients_take_a_fraction_of_the_steps(float64):
    op = matrix(np.arange(1.0, N + 1) ** -3.0)
    shifted, b = linalg.shift(op, 1e-5), jnp.asarray(np.random.default_rng(1).standard_normal(N))
    plain = linalg.solve(shifted, b, tol=1e-8)
    inverse = linalg.nystrom_preconditioner(KEY, op, 20, shift=1e-5)
    found = linalg.solve(shifted, b, tol=1e-8, preconditioner=inverse)
    assert found.converged
    assert found.num_steps * 3 < plain.num_steps
    np.testing.assert_allclose(found.x, jnp.linalg.solve(linalg.dense(shifted), b), rtol=1e-3, atol=1e-3)


def test_of_the_zero_operator_it_is_the_identity():
    inverse = linalg.nystrom_preconditioner(KEY, linalg.from_matrix(jnp.zeros((5, 5))), 3)
    np.testing.assert_array_equal(linalg.dense(inverse), jnp.eye(5))


def test_in_float32_what_rounding_hides_stays_positive():
    op = matrix(np.float32(10.0) ** -np.arange(N))
    op = linalg.from_matrix(linalg.dense(op).astype(jnp.float32))
    values = np.linalg.eigvalsh(linalg.dense(linalg.nystrom_preconditioner(KEY, op, 40)))
    assert values.min() > 0
    assert values.max() < 1.01
