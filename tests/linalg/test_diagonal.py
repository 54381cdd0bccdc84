import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlmath as dm

pytestmark = pytest.mark.usefixtures("float64")


def symmetric(n=20):
    a = np.random.default_rng(0).normal(size=(n, n))
    return a + a.T


def test_the_diagonal_of_a_diagonal_matrix_is_exact():
    found = dm.linalg.diagonal(jax.random.key(0), dm.linalg.from_matrix(np.diag(np.arange(5.0))), num_probes=2)
    np.testing.assert_array_equal(found.value, np.arange(5.0))
    np.testing.assert_array_equal(found.standard_error, np.zeros(5))


def test_the_variance_of_an_entry_is_the_sum_of_squares_beside_it_in_its_row():
    matrix = symmetric()
    predicted = (np.square(matrix).sum(1) - np.square(np.diag(matrix))) / 8
    keys = jax.random.split(jax.random.key(0), 4000)
    op = dm.linalg.from_matrix(matrix)
    found = jax.jit(jax.vmap(lambda key: dm.linalg.diagonal(key, op, num_probes=8)))(keys)
    tolerance = 5 * np.sqrt(2 / 4000)
    np.testing.assert_allclose(found.value.var(0), predicted, rtol=tolerance)
    np.testing.assert_allclose((found.standard_error**2).mean(0), predicted, rtol=tolerance)
    assert (abs(found.value.mean(0) - np.diag(matrix)) < 4.5 * np.sqrt(predicted / 4000)).all()


def test_t_intervals_cover_the_diagonal():
    matrix = symmetric()
    keys = jax.random.split(jax.random.key(1), 500)
    op = dm.linalg.from_matrix(matrix)
    found = jax.jit(jax.vmap(lambda key: dm.linalg.diagonal(key, op, num_probes=12)))(keys)
    low, high = dm.linalg.interval(found, 11)
    assert 0.90 <= ((low <= np.diag(matrix)) & (np.diag(matrix) <= high)).mean() <= 0.99


@pytest.mark.parametrize("block", [1, 3, 4, 10, 99])
def test_mean_and_error_are_those_of_the_probes_whatever_the_block(block):
    matrix, key = symmetric(), jax.random.key(2)
    found = dm.linalg.diagonal(key, dm.linalg.from_matrix(matrix), num_probes=10, block=block)
    z = np.stack([jax.random.rademacher(jax.random.fold_in(key, i), (20,), float) for i in range(10)])
    samples = z * (z @ matrix)
    np.testing.assert_allclose(found.value, samples.mean(0), atol=1e-12)
    np.testing.assert_allclose(found.standard_error, samples.std(0, ddof=1) / np.sqrt(10), atol=1e-12)


def weighted(weights, vector):
    return jax.tree.map(jnp.multiply, weights, vector)


def test_the_diagonal_has_the_structure_of_the_vectors():
    weights = {"w": jnp.arange(6.0).reshape(2, 3), "b": jnp.array(-1.0, jnp.float32)}
    op = dm.linalg.operator(weighted, weights, weights)
    found = dm.linalg.diagonal(jax.random.key(0), op, num_probes=3)
    jax.tree.map(np.testing.assert_array_equal, found.value, weights)
    assert found.value["b"].dtype == jnp.float32
