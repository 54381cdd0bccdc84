import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlmath as dm
from dlmath import hessian


def example_gradients(p, y):
    """Gradients of the loss of each example alone, [n, P]."""
    one = jax.grad(lambda params, x, y: p.loss(p.apply(params, x[None]), y[None]))
    rows = [jax.tree.leaves(one(p.params, x, label)) for x, label in zip(p.x, y, strict=True)]
    return np.stack([np.concatenate([np.ravel(leaf) for leaf in row]) for row in rows])


@pytest.mark.parametrize("loss", ["cross_entropy", "cross_entropy sum", "mse", "half_mse sum", "logistic", "huber"])
def test_empirical_is_the_second_moment_of_gradients(problem, matrix, loss):
    p = problem("mlp", loss)
    g = example_gradients(p, p.y)
    expected = g.T @ g / (1 if "sum" in loss else len(g))
    found = matrix(hessian.fisher(p.apply, p.loss, p.params, p.x, p.y, kind="empirical"))
    np.testing.assert_allclose(found, expected, atol=1e-13 * np.abs(expected).max())


@pytest.mark.parametrize("loss", ["cross_entropy", "cross_entropy sum"])
def test_expected_is_the_mean_over_the_labels_of_the_model(problem, matrix, loss):
    p = problem("mlp", loss, num_rows=6)
    probabilities = np.asarray(jax.nn.softmax(p.apply(p.params, p.x)))
    expected = 0
    for label in range(3):
        g = example_gradients(p, jnp.full(6, label))
        expected = expected + g.T @ (probabilities[:, label, None] * g)
    expected = expected / (1 if "sum" in loss else 6)
    for arguments in ({"y": p.y}, {"likelihood": "categorical"}):
        found = matrix(hessian.fisher(p.apply, p.loss, p.params, p.x, **arguments))
        np.testing.assert_allclose(found, expected, atol=1e-13 * np.abs(expected).max())


def test_expected_is_the_mean_over_signs_for_the_logistic_loss(problem, matrix):
    p = problem("mlp", "logistic", num_rows=6, outputs=1)
    up = np.asarray(jax.nn.sigmoid(p.apply(p.params, p.x)))[:, 0]
    expected = 0
    for sign, probability in ((1.0, up), (-1.0, 1 - up)):
        g = example_gradients(p, jnp.full((6, 1), sign))
        expected = expected + g.T @ (probability[:, None] * g) / 6
    found = matrix(hessian.fisher(p.apply, p.loss, p.params, p.x, likelihood="bernoulli"))
    np.testing.assert_allclose(found, expected, atol=1e-13 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("loss", "likelihood"),
    [
        ("cross_entropy", "categorical"),
        ("cross_entropy sum", "categorical"),
        ("mse", "gaussian"),
        ("half_mse", "gaussian"),
        ("half_mse sum", "gaussian"),
        ("logistic", "bernoulli"),
    ],
)
def test_sampled_is_unbiased(problem, loss, likelihood):
    p = problem("mlp", loss, num_rows=6)
    vector = jax.tree.map(lambda leaf: jnp.cos(jnp.arange(leaf.size * 1.0)).reshape(leaf.shape), p.params)
    flat = lambda op: op.ravel(op(vector))

    @jax.jit
    def draw(key):
        sampled = hessian.fisher_sampled(key, p.apply, p.loss, p.params, p.x, likelihood=likelihood, num_samples=2)
        return flat(sampled)

    draws = np.asarray(jax.vmap(draw)(jax.random.split(jax.random.key(0), 2000)))
    expected = np.asarray(flat(hessian.fisher(p.apply, p.loss, p.params, p.x, likelihood=likelihood)))
    error = draws.mean(0) - expected
    scores = error / (draws.std(0, ddof=1) / np.sqrt(len(draws)))
    # P normal scores: the largest of 250 exceeds 4.5 in one of 600 cases; a wrong factor gives tens.
    assert np.abs(scores).max() < 4.5
    assert draws.std() > 0


def test_sampled_has_rank_at_most_samples_times_points(problem, matrix):
    p = problem("mlp", "cross_entropy", num_rows=6)
    key = jax.random.key(1)
    for samples in (1, 2):
        op = hessian.fisher_sampled(key, p.apply, p.loss, p.params, p.x, likelihood="categorical", num_samples=samples)
        values = np.linalg.eigvalsh(matrix(op))
        assert values[0] > -1e-13 * values[-1]
        assert (values > 1e-12 * values[-1]).sum() <= 6 * samples


def test_empirical_equals_expected_only_where_labels_follow_the_model(problem, matrix):
    p = problem("mlp", "cross_entropy")
    empirical = matrix(hessian.fisher(p.apply, p.loss, p.params, p.x, p.y, kind="empirical"))
    expected = matrix(hessian.fisher(p.apply, p.loss, p.params, p.x, p.y))
    assert np.abs(empirical - expected).max() > 0.1 * np.abs(expected).max()


def test_an_example_with_several_positions_counts_each_of_them(float64, matrix):
    rng = np.random.default_rng(3)
    w, x = jnp.asarray(rng.normal(size=(4, 3))), jnp.asarray(rng.normal(size=(5, 2, 4)))
    y = jnp.asarray(rng.integers(0, 3, (5, 2)))
    op = hessian.fisher(lambda w, x: x @ w, dm.train.losses.cross_entropy, w, x, y, kind="empirical")
    flat = hessian.fisher(
        lambda w, x: x @ w, dm.train.losses.cross_entropy, w, x.reshape(10, 4), y.reshape(10), kind="empirical"
    )
    np.testing.assert_allclose(matrix(op), matrix(flat), atol=1e-15)


def test_one_output_without_an_axis_is_one_number_for_each_example(float64, matrix):
    rng = np.random.default_rng(4)
    w, x, y = (jnp.asarray(rng.normal(size=shape)) for shape in ((3,), (5, 3), (5,)))
    op = hessian.fisher(lambda w, x: x @ w, dm.train.losses.half_mse, w, x, y, kind="empirical")
    g = np.asarray((x @ w - y)[:, None] * x)
    np.testing.assert_allclose(matrix(op), g.T @ g / 5, atol=1e-14)
