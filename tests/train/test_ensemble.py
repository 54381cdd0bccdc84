"""Seeds and hyper-parameters side by side: every member is the run it would be alone."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import dlmath as dm
from dlmath.train._groups import default_size

N, D, S = 24, 5, 3


def network(params, x):
    w1, w2 = params
    return jnp.tanh(x @ w1) @ w2


def problem():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((N, D)), rng.standard_normal((N, 1))
    params = 0.5 * rng.standard_normal((S, D, 8)), 0.5 * rng.standard_normal((S, 8, 1))
    return jax.random.split(jax.random.key(1), S), x, y, params


def member(params, i):
    return jax.tree.map(lambda leaf: leaf[i], params)


COMMON = {"num_steps": 31, "every": 10}


@pytest.mark.parametrize("batch_size", [None, 5])
def test_members_of_an_ensemble_equal_the_runs_one_by_one(batch_size):
    keys, x, y, params = problem()
    options = dict(batch_size=batch_size, probes={"norm": dm.train.weight_norm(by_layer=True)}, **COMMON)
    with jax.enable_x64(True):
        optimizer = optax.adam(0.01)
        runs = dm.train.fit_ensemble(keys, network, dm.train.losses.mse, params, (x, y), optimizer, **options)
        mapped = jax.vmap(
            lambda key, params: dm.train.fit(key, network, dm.train.losses.mse, params, (x, y), optimizer, **options)
        )(keys, params)
        assert runs.loss.shape == mapped.loss.shape == (S, 5)
        for i in range(S):
            alone = dm.train.fit(keys[i], network, dm.train.losses.mse, member(params, i), (x, y), optimizer, **options)
            for many in (runs, mapped):
                np.testing.assert_allclose(many.loss[i], alone.loss, rtol=1e-11)
                np.testing.assert_allclose(many.params[0][i], alone.params[0], rtol=1e-10)
                np.testing.assert_allclose(many.probes["norm"][1][i], alone.probes["norm"][1], rtol=1e-11)


def test_a_sweep_over_learning_rate_weight_decay_and_label_noise_is_one_program():
    keys, x, y, params = problem()
    rates, decays, noises = np.array([0.1, 0.05, 0.02]), np.array([0.0, 0.1, 1.0]), np.array([0.0, 0.5, 1.0])

    def train(key, params, rate, decay, noise):
        noisy = y + noise * jax.random.normal(key, y.shape)
        return dm.train.fit(
            key, network, dm.train.losses.mse, params, (x, noisy),
            optax.chain(optax.add_decayed_weights(decay), optax.sgd(rate)), batch_size=5, **COMMON,
        )  # fmt: skip

    with jax.enable_x64(True):
        swept = jax.vmap(train)(keys, params, rates, decays, noises)
        for i in range(S):
            alone = train(keys[i], member(params, i), rates[i], decays[i], noises[i])
            np.testing.assert_allclose(swept.loss[i], alone.loss, rtol=1e-10)


def test_ensemble_hyperparameters_and_member_data_are_the_members_own():
    keys, x, y, params = problem()
    rates = np.array([0.1, 0.05, 0.02])
    ys = np.stack([y, 2 * y, 3 * y])
    with jax.enable_x64(True):
        runs = dm.train.fit_ensemble(
            keys, network, dm.train.losses.mse, params, (x, ys), optax.sgd, member_data=(False, True),
            hyperparameters={"learning_rate": rates, "momentum": 0.5}, **COMMON,
        )  # fmt: skip
        for i in range(S):
            alone = dm.train.fit(
                keys[i], network, dm.train.losses.mse, member(params, i), (x, ys[i]),
                optax.sgd(rates[i], momentum=0.5), **COMMON,
            )  # fmt: skip
            np.testing.assert_allclose(runs.loss[i], alone.loss, rtol=1e-11)


def test_one_member_that_diverges_leaves_the_others_alone():
    keys, x, y, params = problem()
    runs = dm.train.fit_ensemble(
        keys, lambda p, x: x @ p[0] @ p[1], dm.train.losses.mse, params, (x, y), optax.sgd,
        hyperparameters={"learning_rate": jnp.array([0.01, 10.0, 0.01])}, **COMMON,
    )  # fmt: skip
    assert (runs.diverged_at >= 0).tolist() == [False, True, False]
    assert jnp.isfinite(runs.loss).all(1).tolist() == [True, False, True]
    assert jnp.isnan(runs.loss.mean(0)[-1])


def test_equal_keys_give_equal_minibatches():
    keys, x, y, params = problem()
    same = jax.tree.map(lambda leaf: jnp.stack([leaf[0]] * S), params)
    runs = dm.train.fit_ensemble(
        jnp.stack([keys[0]] * S), network, dm.train.losses.mse, same, (x, y), optax.sgd(0.1), batch_size=5, **COMMON
    )
    np.testing.assert_allclose(runs.loss, jnp.broadcast_to(runs.loss[:1], runs.loss.shape), rtol=1e-6)


def test_second_ensemble_of_the_same_shapes_traces_nothing():
    keys, x, y, params = problem()
    traces = []

    def counted(params, x):
        traces.append(1)
        return network(params, x)

    train = lambda keys, rate: dm.train.fit_ensemble(
        keys, counted, dm.train.losses.mse, params, (x, y), optax.sgd, batch_size=4, num_steps=8,
        hyperparameters={"learning_rate": rate},
    )  # fmt: skip
    train(keys, 0.1)
    first = len(traces)
    train(keys[::-1], 0.2)
    assert len(traces) == first


def test_members_that_run_in_groups_equal_those_that_run_together():
    keys, x, y, params = problem()
    many = jax.tree.map(lambda leaf: np.concatenate([leaf, -leaf]), params)
    ys = np.stack([i * y for i in range(6)])
    train = lambda size: dm.train.fit_ensemble(
        jax.random.split(keys[0], 6), network, dm.train.losses.mse, many, (x, ys), optax.sgd, batch_size=5,
        member_data=(False, True), hyperparameters={"learning_rate": np.geomspace(0.001, 0.1, 6), "momentum": 0.5},
        probes={"norm": dm.train.weight_norm()}, group_size=size, **COMMON,
    )  # fmt: skip
    with jax.enable_x64(True):
        together = train(6)
        for size in (1, 2, 3):
            chex.assert_trees_all_close(train(size), together, rtol=1e-10)


def test_threads_change_no_bit(monkeypatch):
    keys, x, y, params = problem()
    many = jax.tree.map(lambda leaf: np.concatenate([leaf, -leaf]), params)
    train = lambda: dm.train.fit_ensemble(
        jax.random.split(keys[0], 6), network, dm.train.losses.mse, many, (x, y), optax.adam(0.01), batch_size=5,
        group_size=2, stop=dm.train.loss_below(0.5), **COMMON,
    )  # fmt: skip
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        monkeypatch.setattr("dlmath.sharding.num_cores", lambda: 1)
        one_by_one = train()
        monkeypatch.setattr("dlmath.sharding.num_cores", lambda: 3)
        at_once = train()
    assert at_once.loss.dtype == jnp.float64
    chex.assert_trees_all_equal(one_by_one, at_once)


@pytest.mark.parametrize(("width", "size"), [(100, 6), (2100, 1)])
def test_on_an_accelerator_large_networks_run_one_by_one(width, size, monkeypatch):
    params = {"weight": jax.ShapeDtypeStruct((6, width, width), jnp.float32)}
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert default_size(params, 6, None) == size
