"""The stateful form: batch norm, dropout and augmentation."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import dlmath as dm

KEY = jax.random.key(4)


def test_batch_statistics_follow_their_moving_average():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((20, 3)), np.zeros((20, 1))

    def apply_train(key, params, state, x):
        mean = 0.9 * state["mean"] + 0.1 * x.mean(0)
        return (x - x.mean(0)) @ params, {"mean": mean}

    with jax.enable_x64(True):
        run = dm.train.fit(
            KEY, apply_train, dm.train.losses.mse, np.ones((3, 1)), (x, y), optax.sgd(0.1), num_steps=7, batch_size=4,
            state={"mean": jnp.zeros(3)},
        )  # fmt: skip
    expected = np.zeros(3)
    for step in range(7):
        rows = np.asarray(dm.train.batch_indices(KEY, step, num_examples=20, batch_size=4))
        expected = 0.9 * expected + 0.1 * x[rows].mean(0)
    np.testing.assert_allclose(run.state["mean"], expected, rtol=1e-12)


def test_stateful_probe_sees_the_batch_statistics_of_its_step():
    """The error of a network with batch norm along its training is that of the network frozen at every record."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((12, 4, 4, 1)).astype(np.float32), np.arange(12) % 3
    model = dm.models.pooled_cnn([3], 3)
    params = model.init(KEY, x)
    evaluate, loss = dm.models.frozen_apply(model), dm.train.losses.cross_entropy
    probes = {
        "error": dm.train.error(evaluate, x, y, stateful=True, block_size=5),
        "loss": dm.train.held_out_loss(evaluate, loss, x, y, stateful=True),
    }
    start = model.init_state(x)
    run = dm.train.fit(
        KEY, model.apply_train, loss, params, (x, y), optax.sgd(0.5), num_steps=6, batch_size=4, state=start,
        probes=probes, every=6,
    )  # fmt: skip
    for record, (at, state) in enumerate([(params, start), (run.params, run.state)]):
        outputs = jax.jit(model.freeze(state).apply)(at, x)
        np.testing.assert_allclose(run.probes["loss"][record], loss(outputs, y), rtol=1e-5)
        np.testing.assert_allclose(run.probes["error"][record], (outputs.argmax(1) != y).mean(), rtol=1e-5)
    assert not np.allclose(run.state[0]["mean"], start[0]["mean"])


def test_dropout_draws_anew_at_every_step_and_reproducibly():
    apply_train = lambda key, params, state, x: (params * x * jax.random.bernoulli(key, 0.5, x.shape), state)
    train = lambda seed: dm.train.fit(
        jax.random.key(seed), apply_train, dm.train.losses.mse, jnp.ones(8), (np.ones((1, 8)), np.zeros((1, 8))),
        optax.sgd(0.0), num_steps=30, state=(), step_losses=True,
    ).step_loss  # fmt: skip
    np.testing.assert_array_equal(train(0), train(0))
    assert train(0).tolist() != train(1).tolist()
    # The loss is the number of 8 units that were kept: binomial with mean 4, standard error √2/√30.
    assert len(set(train(0).tolist())) > 3
    assert abs(train(0).mean() - 4) < 4 * np.sqrt(2 / 30)


def test_augmentation_is_applied_to_every_batch_with_its_own_key():
    flip = lambda key, x: x * jax.random.rademacher(key, (x.shape[0], 1), x.dtype)
    run = dm.train.fit(
        KEY, lambda w, x: x @ w, lambda f, y: jnp.sum(f), jnp.zeros(1), (np.ones((6, 1)), np.zeros(6)), optax.sgd(1.0),
        num_steps=50, batch_size=3, augment=flip,
    )  # fmt: skip
    # A walk of 150 signs: within 4 standard deviations of 0, where without flips it were −150.
    assert abs(float(run.params[0])) < 4 * np.sqrt(150)


def test_members_draw_their_own_noise():
    apply_train = lambda key, params, state, x: (params * x * jax.random.bernoulli(key, 0.5, x.shape), state)
    runs = dm.train.fit_ensemble(
        jax.random.split(KEY, 2), apply_train, dm.train.losses.mse, jnp.ones((2, 8)), (np.ones((1, 8)), np.zeros((1, 8))),
        optax.sgd(0.0), num_steps=20, state=(), step_losses=True,
    )  # fmt: skip
    assert runs.step_loss[0].tolist() != runs.step_loss[1].tolist()
