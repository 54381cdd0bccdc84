"""A run that was killed and resumed equals one that was not, bit for bit."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import dlmath as dm
from dlmath.train import _checkpoint


class Killed(Exception):
    pass


@pytest.fixture
def killed_after(monkeypatch):
    """Kills a run right after it has written so many checkpoints."""

    def arrange(num_writes):
        written = []
        save = _checkpoint.save

        def write(*arguments):
            save(*arguments)
            written.append(1)
            if len(written) == num_writes:
                monkeypatch.setattr(_checkpoint, "save", save)
                raise Killed

        monkeypatch.setattr(_checkpoint, "save", write)

    return arrange


def network(params, x):
    return jnp.tanh(x @ params["w"]) @ params["v"]


def noisy_network(key, params, state, x):
    keep = jax.random.bernoulli(key, 0.8, (x.shape[0], 8))
    return (jnp.tanh(x @ params["w"]) * keep) @ params["v"], {"count": state["count"] + 1}


def setting(seed=0):
    rng = np.random.default_rng(seed)
    data = rng.standard_normal((23, 5)), rng.standard_normal((23, 1))
    params = {"w": rng.standard_normal((5, 8)), "v": rng.standard_normal((8, 1))}
    probes = {
        "distance": dm.train.distance_from_init(),
        "gradient": dm.train.gradient_norm(network, dm.train.losses.mse, *data, by_layer=True),
    }
    return data, params, probes


def runs(stateful, replacement=False):
    data, params, probes = setting()

    def train(**options):
        return dm.train.fit(
            jax.random.key(5), noisy_network if stateful else network, dm.train.losses.mse, params, data,
            optax.adam(0.01), num_steps=57, batch_size=4, replacement=replacement, every="log", probes=probes,
            state={"count": jnp.zeros((), jnp.int32)} if stateful else None, step_losses=True, **options,
        )  # fmt: skip

    return train


@pytest.mark.parametrize(("stateful", "replacement"), [(False, False), (True, False), (False, True)])
def test_resumed_run_equals_the_uninterrupted_one_bit_for_bit(tmp_path, killed_after, stateful, replacement):
    train = runs(stateful, replacement)
    whole = train()
    # 13 divides neither the epoch of 5 steps nor the grid: the kill falls inside both.
    killed_after(2)
    with pytest.raises(Killed):
        train(checkpoint=tmp_path / "run", checkpoint_every=13)
    resumed = train(checkpoint=tmp_path / "run", checkpoint_every=13)
    chex.assert_trees_all_equal(whole, resumed)
    if stateful:
        assert resumed.state["count"] == 57


def test_finished_run_is_read_back_without_training(tmp_path, monkeypatch):
    train = runs(False)
    first = train(checkpoint=tmp_path / "run")
    monkeypatch.setattr("dlmath.train._loop.advance", None)
    chex.assert_trees_all_equal(first, train(checkpoint=tmp_path / "run"))


def test_ensembles_resume_bit_for_bit(tmp_path, killed_after):
    data, params, probes = setting()
    many = jax.tree.map(lambda leaf: np.stack([leaf, -leaf, 2 * leaf]), params)
    train = lambda **options: dm.train.fit_ensemble(
        jax.random.split(jax.random.key(0), 3), network, dm.train.losses.mse, many, data, optax.sgd(0.01, momentum=0.9),
        num_steps=40, batch_size=4, every=9, probes=probes, **options,
    )  # fmt: skip
    whole = train()
    killed_after(1)
    with pytest.raises(Killed):
        train(checkpoint=tmp_path / "run", checkpoint_every=11)
    chex.assert_trees_all_equal(whole, train(checkpoint=tmp_path / "run", checkpoint_every=11))


def test_early_stop_survives_a_resume(tmp_path, killed_after):
    data, params, _ = setting()
    train = lambda **options: dm.train.fit(
        jax.random.key(0), network, dm.train.losses.mse, params, data, optax.adam(0.02), num_steps=400, every=5,
        stop=dm.train.patience("loss", 3, min_improvement=0.02), **options,
    )  # fmt: skip
    whole = train()
    assert 0 < whole.stopped_at < 400
    killed_after(1)
    with pytest.raises(Killed):
        train(checkpoint=tmp_path / "run", checkpoint_every=10)
    chex.assert_trees_all_equal(whole, train(checkpoint=tmp_path / "run", checkpoint_every=10))


def test_typed_keys_and_bfloat16_survive_a_checkpoint(tmp_path):
    run = {"key": jax.random.key(3), "half": jnp.arange(3, dtype=jnp.bfloat16), "number": jnp.float32(1.5)}
    _checkpoint.save(tmp_path / "run", 4, run, {})
    step, restored = _checkpoint.load(tmp_path / "run", run, {})
    assert step == 4
    assert jax.random.key_data(restored["key"]).tolist() == jax.random.key_data(run["key"]).tolist()
    chex.assert_trees_all_equal(restored["half"], run["half"])


def test_checkpoint_of_another_run_is_refused_by_name(tmp_path):
    data, params, _ = setting()
    train = lambda key, rate, data: dm.train.fit(
        key, network, dm.train.losses.mse, params, data, optax.sgd, num_steps=4, checkpoint=tmp_path / "run",
        hyperparameters={"learning_rate": rate},
    )  # fmt: skip
    train(jax.random.key(0), 0.1, data)
    with pytest.raises(ValueError, match="different key"):
        train(jax.random.key(1), 0.1, data)
    with pytest.raises(ValueError, match="different hyperparameters"):
        train(jax.random.key(0), 0.2, data)
    with pytest.raises(ValueError, match="different data"):
        train(jax.random.key(0), 0.1, (data[0] + 1, data[1]))


def test_damaged_checkpoint_is_refused(tmp_path):
    train = runs(False)
    train(checkpoint=tmp_path / "run")
    content = (tmp_path / "run").read_bytes()
    (tmp_path / "run").write_bytes(content[:-100])
    with pytest.raises(dm.files.DamagedFileError, match="truncated"):
        train(checkpoint=tmp_path / "run")


def test_checkpoints_are_refused_inside_a_transformation(tmp_path):
    data, params, _ = setting()
    train = lambda key: dm.train.fit(
        key, network, dm.train.losses.mse, params, data, optax.sgd(0.1), num_steps=2, checkpoint=tmp_path / "run"
    )
    with pytest.raises(ValueError, match="checkpoint is not available inside jit or vmap"):
        jax.vmap(lambda key: train(key).loss)(jax.random.split(jax.random.key(0), 2))
