"""Training against closed forms: what gradient descent does on a quadratic is known exactly."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import dlmath as dm

KEY = jax.random.key(0)


def linear(w, x):
    return x @ w


def least_squares(n=12, d=4, seed=0):
    rng = np.random.default_rng(seed)
    x, y, w = rng.standard_normal((n, d)), rng.standard_normal(n), rng.standard_normal(d)
    return x, y, w, x.T @ x / n, np.linalg.lstsq(x, y, rcond=None)[0]


def test_full_batch_gradient_descent_on_a_quadratic_is_the_closed_form():
    x, y, w0, hessian, minimum = least_squares()
    with jax.enable_x64(True):
        run = dm.train.fit(KEY, linear, dm.train.losses.half_mse, w0, (x, y), optax.sgd(0.1), num_steps=50, every=10)
        expected = minimum + np.linalg.matrix_power(np.eye(4) - 0.1 * hessian, 50) @ (w0 - minimum)
        np.testing.assert_allclose(run.params, expected, rtol=1e-12)


def test_recorded_loss_of_a_full_batch_is_the_loss_at_the_recorded_step():
    x, y, w0, hessian, minimum = least_squares()
    with jax.enable_x64(True):
        run = dm.train.fit(
            KEY, linear, dm.train.losses.half_mse, w0, (x, y), optax.sgd(0.1), num_steps=20, every=7, step_losses=True
        )
        assert run.step.tolist() == [0, 7, 14, 20]
        for step, loss in zip(run.step, run.loss, strict=True):
            w = minimum + np.linalg.matrix_power(np.eye(4) - 0.1 * hessian, int(step)) @ (w0 - minimum)
            np.testing.assert_allclose(loss, np.square(x @ w - y).mean() / 2, rtol=1e-12)
        np.testing.assert_allclose(run.step_loss[run.step[:-1]], run.loss[:-1], rtol=1e-12)


def test_two_forms_of_momentum_agree_over_a_thousand_steps():
    # I: m ← μm + g, θ ← θ − ηm (optax.sgd). II: θ_{t+1} = θ_t − ηg + μ(θ_t − θ_{t−1}) (Polyak 1964).
    x, y, w0, hessian, minimum = least_squares()
    rate, momentum = 0.05, 0.9
    previous = current = w0
    for _ in range(1000):
        gradient = hessian @ (current - minimum)
        previous, current = current, current - rate * gradient + momentum * (current - previous)
    with jax.enable_x64(True):
        run = dm.train.fit(
            KEY, linear, dm.train.losses.half_mse, w0, (x, y), optax.sgd(rate, momentum=momentum), num_steps=1000
        )
    np.testing.assert_allclose(run.params, current, rtol=1e-12, atol=1e-12)


def test_adam_equals_a_loop_written_by_hand():
    x, y, w, hessian, minimum = least_squares()
    first, second = np.zeros(4), np.zeros(4)
    w0 = w
    for t in range(1, 201):
        gradient = hessian @ (w - minimum)
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        w = w - 0.01 * (first / (1 - 0.9**t)) / (np.sqrt(second / (1 - 0.999**t)) + 1e-8)
    with jax.enable_x64(True):
        run = dm.train.fit(KEY, linear, dm.train.losses.half_mse, w0, (x, y), optax.adam(0.01), num_steps=200)
    np.testing.assert_allclose(run.params, w, rtol=1e-9)


@pytest.mark.parametrize(("factor", "diverges"), [(0.99, False), (1.01, True)])
def test_gradient_descent_diverges_exactly_beyond_two_over_the_sharpness(factor, diverges):
    x, y, w0, hessian, _ = least_squares()
    rate = factor * 2 / np.linalg.eigvalsh(hessian)[-1]
    with jax.enable_x64(True):
        run = dm.train.fit(
            KEY, linear, dm.train.losses.half_mse, w0, (x, y), optax.sgd, hyperparameters={"learning_rate": rate},
            num_steps=3000,
        )  # fmt: skip
    assert (float(run.loss[-1]) > 1e3 * float(run.loss[0])) == diverges


def test_divergence_is_flagged_with_the_first_step_whose_loss_is_not_finite():
    # θ ← −9θ from 1: the loss ½·81^t exceeds the largest float32, 3.4e38, first at t = 21.
    run = dm.train.fit(
        KEY, lambda w, x: w * x, dm.train.losses.half_mse, jnp.ones(()), (jnp.ones(1), jnp.zeros(1)), optax.sgd(10.0),
        num_steps=50, every=50,
    )  # fmt: skip
    assert run.diverged_at == 21
    assert not jnp.isfinite(run.loss[-1])


def test_parameters_that_overflow_behind_a_finite_loss_are_flagged_at_the_record():
    # The loss sees tanh(θ), which stays finite while θ grows past every bound.
    def grow(updates, state, params):
        return jax.tree.map(lambda w: 1e30 * jnp.abs(w), params), state

    optimizer = optax.GradientTransformation(lambda params: (), grow)
    run = dm.train.fit(
        KEY, lambda w, x: jnp.tanh(w) * x, dm.train.losses.mse, jnp.ones(()), (jnp.ones(1), jnp.zeros(1)), optimizer,
        num_steps=9, every=1,
    )  # fmt: skip
    assert jnp.isfinite(run.loss).all()
    assert run.diverged_at == 2


def test_a_stable_run_is_not_flagged():
    run = dm.train.fit(
        KEY, linear, dm.train.losses.mse, jnp.zeros(4), least_squares()[:2], optax.sgd(0.01), num_steps=5
    )
    assert run.diverged_at == -1
    assert run.stopped_at == -1


def test_minibatch_record_is_the_mean_of_the_losses_since_the_last_record():
    x, y, w0, _, _ = least_squares()
    with jax.enable_x64(True):
        run = dm.train.fit(
            KEY, linear, dm.train.losses.mse, w0, (x, y), optax.sgd(0.05), num_steps=17, batch_size=5, every=6,
            step_losses=True,
        )  # fmt: skip
    losses = np.asarray(run.step_loss)
    expected = [losses[0], losses[0:6].mean(), losses[6:12].mean(), losses[12:17].mean()]
    np.testing.assert_allclose(run.loss, expected, rtol=1e-12)


def test_full_loss_of_a_minibatch_run_is_the_loss_on_all_data():
    x, y, w0, _, _ = least_squares()
    with jax.enable_x64(True):
        run = dm.train.fit(
            KEY, linear, dm.train.losses.mse, w0, (x, y), optax.sgd(0.05), num_steps=17, batch_size=5, full_loss=True
        )
        np.testing.assert_allclose(run.loss[0], np.square(x @ w0 - y).mean(), rtol=1e-12)
        np.testing.assert_allclose(run.loss[-1], np.square(x @ run.params - y).mean(), rtol=1e-12)


@pytest.mark.parametrize("replacement", [False, True])
def test_minibatch_descent_equals_a_loop_over_the_documented_batches(replacement):
    x, y, w, _, _ = least_squares()
    with jax.enable_x64(True):
        run = dm.train.fit(
            KEY, linear, dm.train.losses.half_mse, w, (x, y), optax.sgd(0.05), num_steps=9, batch_size=5,
            replacement=replacement,
        )  # fmt: skip
    for step in range(9):
        rows = dm.train.batch_indices(KEY, step, num_examples=12, batch_size=5, replacement=replacement)
        xb, yb = x[np.asarray(rows)], y[np.asarray(rows)]
        w = w - 0.05 * xb.T @ (xb @ w - yb) / 5
    np.testing.assert_allclose(run.params, w, rtol=1e-12)


@pytest.mark.parametrize("batch_size", [None, 5])
def test_a_continued_run_equals_one_in_one_piece(batch_size):
    x, y, w0, _, _ = least_squares()
    common = {
        "loss": dm.train.losses.mse,
        "data": (x, y),
        "optimizer": optax.adam(0.01),
        "batch_size": batch_size,
        "every": 1,
    }
    whole = dm.train.fit(KEY, linear, params=w0, num_steps=20, **common)
    half = dm.train.fit(KEY, linear, params=w0, num_steps=9, **common)
    rest = dm.train.fit(KEY, linear, params=half.params, opt_state=half.opt_state, first_step=9, num_steps=20, **common)
    assert rest.step.tolist() == list(range(9, 21))
    np.testing.assert_allclose(rest.params, whole.params, rtol=1e-6)
    np.testing.assert_allclose(rest.loss[1:], whole.loss[10:], rtol=1e-6)


def test_second_call_of_the_same_shapes_traces_nothing():
    x, y, w0, _, _ = least_squares()
    traces = []

    def counted(w, x):
        traces.append(1)
        return x @ w

    def train(rate, data, seed):
        # Fresh probes and other values, but the same functions, shapes and number of records.
        probes = {"error": dm.train.held_out_loss(counted, dm.train.losses.mse, *data)}
        return dm.train.fit(
            jax.random.key(seed), counted, dm.train.losses.mse, w0, data, optax.adam, batch_size=4, probes=probes,
            num_steps=20, every=5, hyperparameters={"learning_rate": rate},
        )  # fmt: skip

    train(0.1, (x, y), 0)
    first = len(traces)
    train(0.2, (x + 1, y), 1)
    assert len(traces) == first


def test_whole_run_is_traced_once_by_an_outer_jit():
    x, y, w0, _, _ = least_squares()

    @jax.jit
    @chex.assert_max_traces(n=1)
    def train(rate):
        return dm.train.fit(
            KEY, linear, dm.train.losses.mse, w0, (x, y), optax.sgd(rate), batch_size=4, num_steps=8
        ).params

    assert train(0.1).shape == train(0.2).shape == (4,)


def test_inject_hyperparams_gives_the_same_run_as_a_factory():
    x, y, w0, _, _ = least_squares()
    injected = optax.inject_hyperparams(optax.sgd)(learning_rate=0.1)
    one = dm.train.fit(KEY, linear, dm.train.losses.mse, w0, (x, y), injected, num_steps=10)
    two = dm.train.fit(
        KEY, linear, dm.train.losses.mse, w0, (x, y), optax.sgd, num_steps=10, hyperparameters={"learning_rate": 0.1}
    )
    np.testing.assert_allclose(one.params, two.params, rtol=1e-6)


def test_line_search_optimizer_solves_least_squares():
    # L-BFGS needs the loss and its value elsewhere, which `fit` passes on.
    x, y, w0, _, minimum = least_squares()
    with jax.enable_x64(True):
        run = dm.train.fit(KEY, linear, dm.train.losses.half_mse, w0, (x, y), optax.lbfgs(), num_steps=15)
    np.testing.assert_allclose(run.params, minimum, atol=1e-6)


def test_datasets_with_attributes_train_like_pairs():
    from types import SimpleNamespace

    x, y, w0, _, _ = least_squares()
    pair = dm.train.fit(KEY, linear, dm.train.losses.mse, w0, (x, y), optax.sgd(0.1), num_steps=3)
    named = dm.train.fit(KEY, linear, dm.train.losses.mse, w0, SimpleNamespace(x=x, y=y), optax.sgd(0.1), num_steps=3)
    np.testing.assert_array_equal(pair.params, named.params)


def test_float32_parameters_stay_float32_under_x64_with_a_tuned_adam():
    x, y, w0, _, _ = least_squares()
    with jax.enable_x64(True):
        run = dm.train.fit(
            KEY, linear, dm.train.losses.mse, w0.astype(np.float32), (x.astype(np.float32), y.astype(np.float32)),
            optax.adamw, num_steps=3, hyperparameters={"learning_rate": np.float64(0.1), "weight_decay": 0.01},
        )  # fmt: skip
    assert run.params.dtype == run.loss.dtype == jnp.float32


def test_progress_bar_changes_nothing(capsys):
    x, y, w0, _, _ = least_squares()
    train = lambda **options: dm.train.fit(
        KEY, linear, dm.train.losses.mse, w0, (x, y), optax.adam(0.1), num_steps=130, batch_size=5, every=7, **options
    )
    silent, shown = train(), train(progress=True)
    chex.assert_trees_all_equal(silent, shown)
    assert "fit" in capsys.readouterr().err


def test_training_promotes_no_ranks():
    x, _y, _, _, _ = least_squares()
    labels = np.arange(12) % 3
    params = np.ones((4, 3))
    probes = {
        "accuracy": dm.train.accuracy(linear, x, labels),
        "margin": dm.train.margin(linear, x, labels),
        "norm": dm.train.weight_norm(),
    }
    with jax.numpy_rank_promotion("raise"):
        run = dm.train.fit(
            KEY, linear, dm.train.losses.cross_entropy, params, (x, labels), optax.adam(0.1), num_steps=3, batch_size=4,
            probes=probes, stop=dm.train.loss_below(0.0),
        )  # fmt: skip
    assert jnp.isfinite(run.loss).all()
