import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from sklearn.kernel_ridge import KernelRidge

import dlmath as dm

pytestmark = pytest.mark.usefixtures("float64")


def linear(x1, x2=None):
    return x1 @ (x1 if x2 is None else x2).T


def brownian(x1, x2=None):
    return jnp.minimum(x1, (x1 if x2 is None else x2).T)


def problem(n=30, d=4):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, d)), rng.normal(size=(n, 3)), rng.normal(size=(11, d))


def test_with_the_linear_kernel_kernel_ridge_is_ridge_at_the_same_penalty():
    x, y, x_test = problem()
    fit = dm.linalg.kernel_ridge(linear, x, y, 0.2, jitter=0.0)
    np.testing.assert_allclose(dm.linalg.predict(fit, x_test), x_test @ dm.linalg.ridge(x, y, 0.2), atol=1e-12)


def test_kernel_ridge_agrees_with_scikit_learn_at_alpha_equal_to_n_lambda():
    x, y, x_test = problem()
    reference = KernelRidge(alpha=30 * 0.01, kernel="rbf", gamma=0.3).fit(x, y)
    fit = dm.linalg.kernel_ridge(dm.kernels.gaussian(rate=0.3), x, y, 0.01)
    np.testing.assert_allclose(fit.coefficients, reference.dual_coef_, atol=1e-10)
    np.testing.assert_allclose(dm.linalg.predict(fit, x_test), reference.predict(x_test), atol=1e-10)


def test_interpolation_with_brownian_motion_is_piecewise_linear():
    x, y = np.array([[1.0], [2.0], [4.0]]), np.array([1.0, 3.0, -1.0])
    at = np.linspace(0, 5, 21)[:, None]
    fit = dm.linalg.interpolate(brownian, x, y)
    np.testing.assert_allclose(dm.linalg.predict(fit, at), np.interp(at[:, 0], [0, 1, 2, 4], [0, 1, 3, -1]), atol=1e-12)


def test_interpolation_passes_through_the_targets_up_to_jitter_times_coefficients():
    x, y, _ = problem()
    fit = dm.linalg.interpolate(dm.kernels.laplace(bandwidth=3.0), x, y, jitter=1e-3)
    np.testing.assert_allclose(y - dm.linalg.predict(fit, x), 1e-3 * fit.coefficients, atol=1e-12)


def test_the_default_jitter_is_n_eps_times_the_mean_of_the_diagonal():
    x, y, _ = problem()
    fit = dm.linalg.kernel_ridge(linear, x, y, 0.2)
    np.testing.assert_allclose(fit.jitter, 30 * np.finfo(float).eps * np.square(x).sum(1).mean(), rtol=1e-12)


@pytest.mark.parametrize("block_size", [1, 7, 30, 100])
def test_the_block_size_changes_nothing(block_size):
    x, y, x_test = problem()
    kernel = dm.kernels.gaussian(rate=0.3)
    whole = dm.linalg.kernel_ridge(kernel, x, y, 1e-3)
    blocks = dm.linalg.kernel_ridge(kernel, x, y, 1e-3, block_size=block_size)
    np.testing.assert_allclose(blocks.coefficients, whole.coefficients, atol=1e-9)
    np.testing.assert_allclose(
        dm.linalg.predict(whole, x_test, block_size=block_size), dm.linalg.predict(whole, x_test), atol=1e-12
    )


def test_residual_measures_the_solve_and_condition_bounds_the_condition_number_from_below():
    x, y, _ = problem()
    kernel = dm.kernels.gaussian(rate=0.3)
    fit = dm.linalg.kernel_ridge(kernel, x, y, 1e-4)
    k = np.asarray(kernel(x)) + (30 * 1e-4 + float(fit.jitter)) * np.eye(30)
    assert fit.positive_definite
    assert fit.residual < 1e-12
    assert 1 < fit.condition < np.linalg.cond(k)


def test_a_matrix_that_is_not_positive_definite_is_refused_outside_jit():
    x, y, _ = problem()
    with pytest.raises(ValueError, match=r"not positive definite.*raise jitter"):
        dm.linalg.interpolate(linear, x, y, jitter=0.0)  # rank 4 of 30


def test_a_matrix_that_is_not_positive_definite_is_flagged_and_finite_inside_jit():
    x, y, x_test = problem()

    @jax.jit
    def failing(x, y):
        fit = dm.linalg.interpolate(linear, x, y, jitter=0.0)
        return fit, dm.linalg.predict(fit, x_test)

    fit, values = failing(x, y)
    assert not fit.positive_definite
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((fit, values)))
    np.testing.assert_array_equal(values, 0)
    derivative = jax.jit(jax.grad(lambda x, y: dm.linalg.interpolate(linear, x, y, jitter=0.0).coefficients.sum()))
    assert np.isfinite(derivative(x, y)).all()


def test_vmap_flags_each_data_set_on_its_own():
    x, y, _ = problem(n=4, d=4)
    both = jnp.stack([x, np.vstack([x[:1], x[:1], x[2:]])])  # the first input twice
    fits = jax.vmap(lambda x: dm.linalg.interpolate(dm.kernels.gaussian(rate=1.0), x, y, jitter=0.0))(both)
    np.testing.assert_array_equal(fits.positive_definite, [True, False])
    one = dm.linalg.interpolate(dm.kernels.gaussian(rate=1.0), x, y, jitter=0.0)
    np.testing.assert_allclose(fits.coefficients[0], one.coefficients, rtol=1e-9)


def test_derivatives_in_targets_bandwidth_and_penalty_agree_with_finite_differences():
    x, y, x_test = problem(n=8)

    def value(y, rate, penalty):
        fit = dm.linalg.kernel_ridge(dm.kernels.gaussian(rate=rate), x, y, penalty, jitter=1e-6)
        return dm.linalg.predict(fit, x_test)

    check_grads(value, (jnp.asarray(y), 0.4, 0.1), order=1, modes=["fwd", "rev"])


def test_the_posterior_mean_of_a_zero_target_is_zero():
    x, _, x_test = problem()
    fit = dm.linalg.interpolate(dm.kernels.gaussian(rate=1.0), x, np.zeros(30))
    np.testing.assert_array_equal(dm.linalg.predict(fit, x_test), np.zeros(11))
    assert fit.residual == 0


def test_float32_stays_float32():
    x, y, x_test = (a.astype(np.float32) for a in problem())
    fit = dm.linalg.kernel_ridge(dm.kernels.gaussian(rate=0.3), x, y, 0.01)
    assert dm.linalg.predict(fit, x_test).dtype == jnp.float32
    double = dm.linalg.kernel_ridge(dm.kernels.gaussian(rate=0.3), x.astype(float), y.astype(float), 0.01)
    np.testing.assert_allclose(fit.coefficients, double.coefficients, rtol=1e-3, atol=1e-3)


def test_images_are_accepted_as_they_are():
    x, y, _ = problem(d=6)
    kernel = dm.kernels.gaussian(rate=0.3)
    flat, images = dm.linalg.interpolate(kernel, x, y), dm.linalg.interpolate(kernel, x.reshape(30, 2, 3, 1), y)
    np.testing.assert_array_equal(flat.coefficients, images.coefficients)
    np.testing.assert_allclose(dm.linalg.predict(images, x.reshape(30, 2, 3, 1)), y, atol=1e-9)
