import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlmath as dm

X1, X2 = (np.random.default_rng(seed).normal(size=(n, 20)).astype(np.float32) for seed, n in ((0, 23), (1, 17)))


@pytest.mark.parametrize("block_size", [1, 5, 17, 22, 23, 50])
def test_tiles_make_up_the_kernel_matrix(block_size):
    kernel = dm.kernels.laplace(bandwidth=4.0)
    np.testing.assert_allclose(dm.linalg.gram(kernel, X1, X2, block_size=block_size), kernel(X1, X2), atol=1e-6)
    np.testing.assert_allclose(dm.linalg.gram(kernel, X1, block_size=block_size), kernel(X1), atol=1e-6)


@pytest.mark.parametrize("block_size", [None, 5, 22])
def test_a_gram_matrix_is_symmetric_to_the_last_bit_with_an_exact_diagonal(block_size):
    k = np.asarray(dm.linalg.gram(dm.kernels.gaussian(rate=0.1), X1 + 100, block_size=block_size))
    np.testing.assert_array_equal(k, k.T)
    np.testing.assert_array_equal(np.diag(k), 1)


def test_only_tiles_on_and_above_the_diagonal_are_computed():
    evaluations = []

    def counting(x1, x2=None):
        columns = x1 if x2 is None else x2
        jax.debug.callback(lambda: evaluations.append(len(x1) * len(columns)))
        return x1 @ columns.T

    dm.linalg.gram(counting, jnp.ones([40, 2]), block_size=4).block_until_ready()
    jax.effects_barrier()
    assert sum(evaluations) == 16 * (10 * 11 // 2)


def test_reverse_derivatives_pass_through_tiles():
    def total(rate, block_size):
        return dm.linalg.gram(dm.kernels.gaussian(rate=rate), X1, block_size=block_size).sum()

    np.testing.assert_allclose(jax.grad(total)(0.1, 5), jax.grad(total)(0.1, None), rtol=1e-4)


def test_any_function_of_two_batches_is_a_kernel():
    def brownian(x1, x2=None):
        return jnp.minimum(x1, (x1 if x2 is None else x2).T)

    t = jnp.arange(1.0, 8.0)[:, None]
    np.testing.assert_array_equal(dm.linalg.gram(brownian, t, block_size=3), np.minimum(t, t.T))
