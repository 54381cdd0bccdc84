"""Minibatches as functions of (key, step), and grids of steps."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import dlmath as dm


def epoch(key, number, n, b):
    steps = range(number * (n // b), (number + 1) * (n // b))
    return np.concatenate([dm.train.batch_indices(key, t, num_examples=n, batch_size=b) for t in steps])


def test_shuffled_epochs_visit_every_example_once():
    for number in range(3):
        assert sorted(epoch(jax.random.key(3), number, 12, 4)) == list(range(12))


def test_epochs_are_shuffled_anew():
    assert epoch(jax.random.key(3), 0, 12, 4).tolist() != epoch(jax.random.key(3), 1, 12, 4).tolist()


def test_last_partial_batch_is_left_out_and_no_example_twice():
    rows = epoch(jax.random.key(0), 0, 13, 4)
    assert len(rows) == len(set(rows.tolist())) == 12


def test_sgd_without_replacement_sees_every_example_once_an_epoch():
    # With loss Σ x·w the gradient is the sum of the inputs seen: unit vectors count the visits.
    n, b, epochs = 12, 4, 3
    run = dm.train.fit(
        jax.random.key(1), lambda w, x: x @ w, lambda f, y: jnp.sum(f), jnp.zeros(n), (np.eye(n), np.zeros(n)),
        optax.sgd(1.0), num_steps=epochs * n // b, batch_size=b,
    )  # fmt: skip
    np.testing.assert_array_equal(-run.params, np.full(n, epochs))


def test_draws_with_replacement_are_uniform():
    n, b, steps = 10, 50, 400
    run = dm.train.fit(
        jax.random.key(1), lambda w, x: x @ w, lambda f, y: jnp.sum(f), jnp.zeros(n),
        (np.tile(np.eye(n), (5, 1)), np.zeros(5 * n)), optax.sgd(1.0), num_steps=steps, batch_size=b, replacement=True,
    )  # fmt: skip
    expected = steps * b / n
    chi2 = np.square(-run.params - expected).sum() / expected
    assert chi2 < 27.9  # 99.9 % quantile of χ² with 9 degrees of freedom
    assert chi2 > 1.15  # 0.1 %: draws without replacement would be far more even


def test_full_batch_runs_do_not_read_the_key():
    train = lambda seed: dm.train.fit(
        jax.random.key(seed), lambda w, x: x @ w, dm.train.losses.mse, jnp.ones(2), (np.eye(2), np.zeros(2)),
        optax.sgd(0.1), num_steps=3,
    ).params  # fmt: skip
    np.testing.assert_array_equal(train(0), train(1))


@pytest.mark.parametrize("num_steps", [0, 1, 7, 1000])
@pytest.mark.parametrize("num_points", [2, 5, 200])
def test_log_steps_increase_from_zero_to_the_last(num_steps, num_points):
    steps = dm.train.log_steps(num_steps, num_points)
    assert steps[0] == 0
    assert steps[-1] == num_steps
    assert (np.diff(steps) > 0).all()
    assert len(steps) <= num_points + 1


@pytest.mark.parametrize(
    ("every", "expected"),
    [(4, [0, 4, 8, 10]), (100, [0, 10]), ([3, 5], [0, 3, 5, 10]), ([], [0, 10]), (None, list(range(11)))],
)
def test_first_and_last_step_are_always_recorded(every, expected):
    run = dm.train.fit(
        jax.random.key(0), lambda w, x: x @ w, dm.train.losses.mse, jnp.ones(2), (np.eye(2), np.zeros(2)),
        optax.sgd(0.1), num_steps=10, every=every, probes={"norm": dm.train.weight_norm()},
    )  # fmt: skip
    assert run.step.tolist() == expected
    np.testing.assert_allclose(run.probes["norm"], np.sqrt(2) * 0.9**run.step, rtol=1e-5)
    # mse of two examples has the Hessian 2·I/2: every step contracts by 0.9.


def test_no_steps_record_the_start_alone():
    run = dm.train.fit(
        jax.random.key(0), lambda w, x: x @ w, dm.train.losses.mse, jnp.ones(2), (np.eye(2), np.zeros(2)),
        optax.sgd(0.1), num_steps=0,
    )  # fmt: skip
    assert run.step.tolist() == [0]
    assert run.loss.tolist() == [1.0]
