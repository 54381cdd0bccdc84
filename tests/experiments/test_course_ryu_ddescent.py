import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np

import dlmath as dm


def test_the_draw_of_the_sheet_is_that_of_its_multivariate_normal(paper):
    (x, _), weights = (paper.course_draw(paper.Config())[0][0], paper.course_draw(paper.Config())[1])
    draws = np.random.RandomState(0)
    draws.randn(35)
    expected = [draws.multivariate_normal(np.zeros(35), np.identity(35)) for _ in range(5)]
    np.testing.assert_allclose(x[:5], expected, atol=1e-14)
    assert [p for p, _ in itertools.islice(weights, 3)] == [1, 11, 21]


def test_the_null_predictor_of_the_sheet_has_the_norm_of_its_test_targets(paper):
    (_, _, (_, y_test)), _ = paper.course_draw(paper.Config())
    assert len(y_test) == 30
    assert abs(np.linalg.norm(y_test) - 7.536) < 0.0005


def test_the_dual_solution_is_the_primal_one(paper):
    draws = np.random.default_rng(0)
    z, y = draws.standard_normal((12, 3)), draws.standard_normal(8)
    with jax.enable_x64(True):
        outputs = paper.dual_ridge(jnp.array([z @ z[:8].T]), jnp.array(y), jnp.array([0.1, 2.0]))
    for index, penalty in enumerate((0.1, 2.0)):
        theta = np.linalg.solve(z[:8].T @ z[:8] + penalty * np.eye(3), z[:8].T @ y)
        np.testing.assert_allclose(outputs[0, index], z[8:] @ theta, rtol=1e-9)


def test_a_penalty_is_chosen_on_the_validation_set(paper):
    validation = np.full((1, 13, 2), 9.0)
    validation[0, 4] = 1.0  # the fourth of the twelve, 2⁻³; the fixed one comes first
    test = np.arange(13.0)[None, :, None] ** 2
    fixed, tuned, chosen = paper.select(validation, test)
    assert (fixed.item(), tuned.item(), chosen.item()) == (0.0, 4.0, 2.0**-3)


def test_the_penalties_are_those_of_the_sheet_on_its_features(paper):
    config = dataclasses.replace(
        paper.Config(), num_features=(5, 30), num_train=20, num_inputs=3, num_validation=6, num_test=4
    )
    key = jax.random.key(1)
    with jax.enable_x64(True):
        found = paper.measure_one(config, key)
        beta_key, train_key, noise_key, held_key, feature_key = jax.random.split(key, 5)
        beta = jax.random.normal(beta_key, (3,))
        beta = np.asarray(beta / jnp.linalg.norm(beta))
        x = np.asarray(jax.random.normal(train_key, (20, 3)))
        y = x @ beta + 0.5 * np.asarray(jax.random.normal(noise_key, (20,)))
        held = np.asarray(jax.random.normal(held_key, (10, 3)))
        features = dm.double_descent.feature_map(feature_key, 3, 30, kind="relu")
        z, z_held = np.asarray(features(x)), np.asarray(features(held))
    for index, p in enumerate((5, 30)):
        scale = np.sqrt(3 / p)  # from max(g·x/√d, 0) to max(w·x, 0) with w of variance 1/p
        a, b = scale * z[:, :p], scale * z_held[:, :p]
        error = lambda penalty, rows: np.sqrt(
            np.mean((b @ np.linalg.solve(a.T @ a + penalty * np.eye(p), a.T @ y) - held @ beta)[rows] ** 2)  # noqa: B023
        )
        np.testing.assert_allclose(found[0][index], error(0.01, slice(6, None)), rtol=1e-8)
        best = min(paper.PENALTIES, key=lambda penalty: error(penalty, slice(6)))
        np.testing.assert_allclose(found[1][index], error(best, slice(6, None)), rtol=1e-8)
        assert found[2][index] == best
