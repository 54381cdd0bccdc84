"""Sweeps over capacities against one decomposition for each capacity, in NumPy and scikit-learn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import Ridge

from dlmath.double_descent import feature_map, ridge_sweep
from dlmath.linalg import ridge

RNG = np.random.default_rng(0)
N, D, M = 12, 4, 7
X, X_TEST = RNG.normal(size=(N, D)), RNG.normal(size=(M, D))
Y, Y_TEST = RNG.normal(size=(N, 2)), RNG.normal(size=(M, 2))
CAPACITIES = [1, 2, 3, 5, 8, 11, 12, 13, 20, 50]


@pytest.fixture
def features():
    return feature_map(jax.random.key(0), D, CAPACITIES[-1], kind="relu")


def test_ridge_at_every_capacity_is_that_of_scikit_learn(features):
    penalties = np.array([1e-3, 0.1, 2.0])
    sweep = ridge_sweep(features, (X, Y), CAPACITIES, penalties, test=(X_TEST, Y_TEST))
    z, z_test = np.asarray(features(X)), np.asarray(features(X_TEST))
    for row, p in enumerate(CAPACITIES):
        for column, penalty in enumerate(penalties):
            fit = Ridge(alpha=N * penalty, fit_intercept=False).fit(z[:, :p], Y)
            expected = [
                ((f - y) ** 2).sum(1).mean()
                for f, y in ((fit.predict(z[:, :p]), Y), (fit.predict(z_test[:, :p]), Y_TEST))
            ]
            found = sweep.train["mse"][row, column], sweep.test["mse"][row, column]
            np.testing.assert_allclose(found, expected, rtol=1e-9)
            np.testing.assert_allclose(sweep.norm[row, column], np.linalg.norm(fit.coef_), rtol=1e-9)


def test_minimum_norm_at_every_capacity_is_that_of_the_pseudo_inverse(features):
    sweep = ridge_sweep(features, (X, Y), CAPACITIES, [0.0], test=(X_TEST, Y_TEST))
    z, z_test = np.asarray(features(X)), np.asarray(features(X_TEST))
    for row, p in enumerate(CAPACITIES):
        beta = np.linalg.pinv(z[:, :p]) @ Y
        np.testing.assert_allclose(sweep.norm[row, 0], np.linalg.norm(beta), rtol=1e-7)
        expected = ((z_test[:, :p] @ beta - Y_TEST) ** 2).sum(1).mean()
        np.testing.assert_allclose(sweep.test["mse"][row, 0], expected, rtol=1e-7)
        train = ((z[:, :p] @ beta - Y) ** 2).sum(1).mean()
        np.testing.assert_allclose(sweep.train["mse"][row, 0], train, rtol=1e-7, atol=1e-12)


def test_minimum_norm_of_rank_deficient_features_is_that_of_the_pseudo_inverse():
    """Half of the features are constant zero, and the others come twice."""
    z = np.zeros((N, 40))
    z[:, 0:20:2] = RNG.normal(size=(N, 10))
    z[:, 20::2] = z[:, 0:20:2]
    sweep = ridge_sweep(None, (z, Y), [4, 10, 20, 30, 40], [0.0, 0.5])
    for row, p in enumerate([4, 10, 20, 30, 40]):
        beta = np.linalg.pinv(z[:, :p]) @ Y
        np.testing.assert_allclose(sweep.norm[row, 0], np.linalg.norm(beta), rtol=1e-9)
        np.testing.assert_allclose(sweep.norm[row, 1], np.linalg.norm(ridge(z[:, :p], Y, 0.5)), rtol=1e-9)


def test_features_made_in_blocks_of_any_size_give_the_same_sweep(features):
    whole = ridge_sweep(None, (features(X), Y), CAPACITIES, [0.1])
    for block_size in (1, 7, 50):
        parts = ridge_sweep(features, (X, Y), CAPACITIES, [0.1], block_size=block_size)
        np.testing.assert_allclose(parts.train["mse"], whole.train["mse"], rtol=1e-10)
        np.testing.assert_allclose(parts.norm, whole.norm, rtol=1e-10)


def test_a_penalty_for_each_capacity_is_ridge_on_scaled_features(features):
    """Features divided by √p have the coefficients √p β, so that λ' ‖β'‖² = λ' p ‖β‖²."""
    p = np.array(CAPACITIES)
    own = ridge_sweep(features, (X, Y), CAPACITIES, 0.1 * p[:, None])
    z = features(X)
    for row, size in enumerate(CAPACITIES):
        scaled = ridge(z[:, :size] / np.sqrt(size), Y, 0.1)
        np.testing.assert_allclose(own.norm[row, 0] * np.sqrt(size), np.linalg.norm(scaled), rtol=1e-9)


@pytest.mark.parametrize("penalties", [[0.1, 1.0], [0.0]])
def test_seeds_side_by_side_are_the_seeds_one_by_one(penalties):
    def one(key):
        made = feature_map(key, D, 30, kind="tanh")
        return ridge_sweep(made, (X, Y), [3, 12, 30], penalties, test=(X_TEST, Y_TEST))

    keys = jax.random.split(jax.random.key(1), 3)
    together = jax.vmap(one)(keys)
    for seed in range(3):
        np.testing.assert_allclose(together.test["mse"][seed], one(keys[seed]).test["mse"], rtol=1e-8)


def test_any_score_is_evaluated_at_every_point(features):
    sweep = ridge_sweep(
        features, (X, Y[:, 0]), CAPACITIES, [0.1], test=(X_TEST, Y_TEST[:, 0]),
        scores={"worst": lambda f, y: jnp.max(abs(f - y))},
    )  # fmt: skip
    beta = ridge(features(X)[:, :20], Y[:, 0], 0.1)
    expected = abs(features(X_TEST)[:, :20] @ beta - Y_TEST[:, 0]).max()
    np.testing.assert_allclose(sweep.test["worst"][8, 0], expected, rtol=1e-9)
