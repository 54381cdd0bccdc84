import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.gaussian_process.kernels import Matern
from sklearn.metrics.pairwise import rbf_kernel

import dlmath as dm

RNG = np.random.default_rng(0)
# 5 features: differences are squared; 40 features: through a matrix product.
DATA = {d: (RNG.normal(size=(12, d)), RNG.normal(size=(9, d))) for d in (5, 40)}


@pytest.mark.parametrize("d", DATA)
def test_the_gaussian_kernel_agrees_with_scikit_learn(d):
    x1, x2 = DATA[d]
    with jax.enable_x64(True):
        kernel = dm.kernels.gaussian(rate=0.02)
        np.testing.assert_allclose(kernel(x1, x2), rbf_kernel(x1, x2, gamma=0.02), rtol=1e-13)
        np.testing.assert_allclose(kernel(x1), rbf_kernel(x1, gamma=0.02), rtol=1e-13)


@pytest.mark.parametrize("d", DATA)
def test_the_laplace_kernel_is_matern_one_half(d):
    x1, x2 = DATA[d]
    with jax.enable_x64(True):
        kernel, reference = dm.kernels.laplace(bandwidth=3.0), Matern(length_scale=3.0, nu=0.5)
        np.testing.assert_allclose(kernel(x1, x2), reference(x1, x2), rtol=1e-13)
        np.testing.assert_allclose(kernel(x1), reference(x1), rtol=1e-13)


def test_rate_and_bandwidth_name_the_same_kernels():
    x1, x2 = (x.astype(np.float32) for x in DATA[5])
    for pair in (
        (dm.kernels.gaussian(rate=0.5 / 3**2), dm.kernels.gaussian(bandwidth=3)),
        (dm.kernels.laplace(rate=1 / 3), dm.kernels.laplace(bandwidth=3)),
    ):
        np.testing.assert_allclose(pair[0](x1, x2), pair[1](x1, x2), rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("d", DATA)
@pytest.mark.parametrize("kernel", [dm.kernels.gaussian(rate=0.1), dm.kernels.laplace(rate=0.1)], ids=["g", "l"])
def test_the_diagonal_is_exactly_one_and_the_matrix_symmetric_and_positive(kernel, d, dtype):
    with jax.enable_x64(dtype == np.float64):
        k = np.asarray(kernel((DATA[d][0] + 100).astype(dtype)))
    assert k.dtype == dtype
    np.testing.assert_array_equal(np.diag(k), 1)
    np.testing.assert_array_equal(k, k.T)
    assert np.linalg.eigvalsh(k.astype(float)).min() > 0


@pytest.mark.parametrize("d", DATA)
def test_distances_do_not_suffer_from_an_offset_of_the_data(d):
    # Float32 inputs far from the origin, against float64 arithmetic on the same numbers.
    x1, x2 = ((x + 1000).astype(np.float32) for x in DATA[d])
    exact = ((x1[:, None].astype(float) - x2[None].astype(float)) ** 2).sum(-1)
    np.testing.assert_allclose(dm.kernels.squared_distances(x1, x2), exact, rtol=2e-5)


def test_distances_of_few_features_are_accurate_between_near_neighbours():
    x1, x2 = jnp.array([[1.0, 1.0]]), jnp.array([[1.0 + 2.0**-20, 1.0]])
    np.testing.assert_allclose(dm.kernels.squared_distances(x1, x2), 2.0**-40, rtol=1e-6)


def test_distances_are_never_negative():
    x = np.repeat(DATA[40][0], 3, axis=0).astype(np.float32)  # every point three times
    assert (np.asarray(dm.kernels.squared_distances(x, x[::-1])) >= 0).all()


def test_images_are_flattened_and_pixels_converted():
    images = RNG.integers(0, 256, size=(6, 4, 4, 3)).astype(np.uint8)
    flat = images.reshape(6, -1).astype(np.float32)
    kernel = dm.kernels.gaussian(bandwidth=500.0)
    np.testing.assert_array_equal(kernel(images), kernel(flat))


def test_a_kernel_is_differentiable_and_mapped_over_its_bandwidth():
    x1, x2 = (x.astype(np.float32) for x in DATA[5])
    derivative = jax.jacobian(lambda rate: dm.kernels.gaussian(rate=rate)(x1, x2))(0.1)
    squared = dm.kernels.squared_distances(x1, x2)
    np.testing.assert_allclose(derivative, -squared * np.exp(-0.1 * squared), rtol=1e-4)
    rates = jnp.array([0.1, 0.2])
    stacked = jax.vmap(lambda rate: dm.kernels.laplace(rate=rate)(x1, x2))(rates)
    np.testing.assert_allclose(stacked[1], dm.kernels.laplace(rate=0.2)(x1, x2), rtol=1e-6)


def test_input_derivatives_are_finite_on_the_diagonal():
    x = jnp.asarray(DATA[5][0], jnp.float32)
    for kernel in (dm.kernels.gaussian(rate=0.1), dm.kernels.laplace(rate=0.1), dm.kernels.arc_cosine(order=1)):
        assert np.isfinite(jax.grad(lambda x, kernel=kernel: kernel(x).sum())(x)).all()


def test_another_bandwidth_compiles_nothing():
    @jax.jit
    @chex.assert_max_traces(n=1)
    def total(kernel, x):
        return dm.kernels.gram(kernel, x, block_size=4).sum()

    x = DATA[5][0].astype(np.float32)
    first, second = (total(dm.kernels.gaussian(bandwidth=b), x) for b in (1.0, 2.0))
    assert first < second
