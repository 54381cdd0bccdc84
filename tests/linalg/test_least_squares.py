import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from sklearn.linear_model import Ridge

import dlmath as dm

TALL, SQUARE, WIDE = (20, 7), (9, 9), (7, 20)


pytestmark = pytest.mark.usefixtures("float64")


def problem(shape, num_targets=2):
    rng = np.random.default_rng(0)
    return rng.normal(size=shape), rng.normal(size=(shape[0], num_targets))


@pytest.mark.parametrize("shape", [TALL, SQUARE, WIDE])
def test_ridge_solves_the_normal_equations(shape):
    x, y = problem(shape)
    n, p = shape
    path = dm.linalg.ridge(x, y, [1e-3, 0.1, 10.0])
    assert path.shape == (3, p, 2)
    for penalty, beta in zip([1e-3, 0.1, 10.0], path, strict=True):
        np.testing.assert_allclose(x.T @ (x @ beta - y) / n + penalty * beta, 0, atol=1e-13)


@pytest.mark.parametrize("shape", [TALL, WIDE])
def test_ridge_agrees_with_scikit_learn_at_alpha_equal_to_n_lambda(shape):
    x, y = problem(shape)
    reference = Ridge(alpha=shape[0] * 0.3, fit_intercept=False).fit(x, y).coef_.T
    np.testing.assert_allclose(dm.linalg.ridge(x, y, 0.3), reference, rtol=1e-9)


def test_ridge_of_an_orthonormal_design_shrinks_every_coefficient_alike():
    x = np.linalg.qr(problem(TALL)[0])[0] * np.sqrt(20)  # XᵀX = nI, so β(λ) = β(0)/(1 + λ)
    y = x @ np.arange(1.0, 8.0)
    np.testing.assert_allclose(dm.linalg.ridge(x, y, 3.0), np.arange(1.0, 8.0) / 4, rtol=1e-12)


@pytest.mark.parametrize("shape", [TALL, WIDE])
def test_ridge_tends_to_the_min_norm_solution_as_the_penalty_vanishes(shape):
    x, y = problem(shape)
    gaps = [jnp.linalg.norm(dm.linalg.ridge(x, y, lam) - dm.linalg.min_norm(x, y)) for lam in (1e-6, 1e-7)]
    assert gaps[0] < 1e-3
    np.testing.assert_allclose(gaps[0] / gaps[1], 10, rtol=1e-3)  # first order in λ


def test_min_norm_solution_interpolates_the_data():
    x, y = problem(WIDE)
    np.testing.assert_allclose(x @ dm.linalg.min_norm(x, y), y, atol=1e-13)


def test_min_norm_solution_lies_in_the_row_space_and_leaves_an_orthogonal_residual():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(12, 3)) @ rng.normal(size=(3, 8))  # rank 3
    y = rng.normal(size=12)
    beta = dm.linalg.min_norm(x, y)
    np.testing.assert_allclose(x.T @ (y - x @ beta), 0, atol=1e-12)
    np.testing.assert_allclose(beta, np.linalg.pinv(x) @ (x @ beta), atol=1e-12)


def test_singular_values_under_rcond_count_as_zero():
    x = np.diag([1.0, 1e-3, 1e-9])
    y = np.ones(3)
    np.testing.assert_allclose(dm.linalg.min_norm(x, y, rcond=1e-2), [1, 0, 0], atol=1e-15)
    np.testing.assert_allclose(dm.linalg.min_norm(x, y, rcond=1e-6), [1, 1e3, 0], rtol=1e-12)
    np.testing.assert_allclose(dm.linalg.min_norm(x, y), [1, 1e3, 1e9], rtol=1e-12)
    np.testing.assert_allclose(dm.linalg.min_norm(1e6 * x, y, rcond=1e-2), [1e-6, 0, 0], atol=1e-15)  # relative


def test_the_default_cut_off_is_that_of_numpy_lstsq():
    x, y = problem(WIDE)
    x[3] = x[1] + x[2]  # rank deficient to rounding
    np.testing.assert_allclose(dm.linalg.min_norm(x, y), np.linalg.lstsq(x, y, rcond=None)[0], atol=1e-12)


@pytest.mark.parametrize("shape", [TALL, SQUARE, WIDE])
def test_derivatives_agree_with_finite_differences(shape):
    x, y = (jnp.asarray(a) for a in problem(shape))
    check_grads(jax.jit(dm.linalg.ridge), (x, y, jnp.array([0.1, 1.0])), order=1, modes=["fwd", "rev"])
    if shape != SQUARE:  # a square Gaussian matrix is too ill-conditioned for finite differences
        check_grads(jax.jit(dm.linalg.min_norm), (x, y), order=1, modes=["fwd", "rev"])


@pytest.mark.parametrize("shape", [(5, 3), (3, 3), (3, 5)])
def test_derivatives_exist_at_repeated_singular_values(shape):
    x, y = jnp.eye(*shape), jnp.arange(1.0, 1 + shape[0])
    check_grads(jax.jit(lambda x, y: dm.linalg.ridge(x, y, 0.2)), (x, y), order=1, modes=["fwd", "rev"])
    check_grads(jax.jit(dm.linalg.min_norm), (x, y), order=1, modes=["fwd", "rev"])


def test_vmap_over_data_sets_equals_a_loop():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(4, 6, 9)), rng.normal(size=(4, 6))
    together = jax.vmap(lambda x, y: dm.linalg.ridge(x, y, 0.1))(x, y)
    apart = jnp.stack([dm.linalg.ridge(*pair, 0.1) for pair in zip(x, y, strict=True)])
    np.testing.assert_allclose(together, apart, rtol=1e-10)
    together = jax.vmap(dm.linalg.min_norm)(x, y)
    apart = jnp.stack([dm.linalg.min_norm(*pair) for pair in zip(x, y, strict=True)])
    np.testing.assert_allclose(together, apart, rtol=1e-10)


def test_a_single_target_is_a_column_and_a_scalar_penalty_a_path_of_one():
    x, y = problem(WIDE)
    np.testing.assert_array_equal(dm.linalg.ridge(x, y[:, 0], 0.1), dm.linalg.ridge(x, y[:, :1], [0.1])[0, :, 0])
    np.testing.assert_allclose(dm.linalg.min_norm(x, y)[:, 0], dm.linalg.min_norm(x, y[:, 0]), rtol=1e-12)


def test_float32_stays_float32_and_agrees_with_float64():
    x, y = problem(WIDE)
    single = dm.linalg.ridge(x.astype(np.float32), y.astype(np.float32), 0.1)
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, dm.linalg.ridge(x, y, 0.1), rtol=1e-4, atol=1e-5)
    assert dm.linalg.min_norm(np.eye(3, dtype=int), np.arange(3)).dtype == jnp.float64


def test_another_penalty_of_the_same_shape_compiles_nothing():
    x, y = problem(TALL)

    @jax.jit
    @chex.assert_max_traces(n=1)
    def fit(x, y, penalty):
        return dm.linalg.ridge(x, y, penalty)

    fit(x, y, 0.1)
    fit(x + 1, y, 0.2)
