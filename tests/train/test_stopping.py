"""Early stopping inside the compiled loop."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import dlmath as dm

KEY = jax.random.key(0)
DATA = (jnp.ones(1), jnp.zeros(1))


def decay(rate, **options):
    """θ_t = (1 − η)^t on the loss ½θ²."""
    return dm.train.fit(
        KEY, lambda w, x: w * x, dm.train.losses.half_mse, jnp.ones(()), DATA, optax.sgd,
        hyperparameters={"learning_rate": rate}, num_steps=200, **options,
    )  # fmt: skip


def test_run_stops_at_the_first_record_below_the_threshold():
    # ½·0.25^t <= 1e-3 first at t = 5 (½·4^-5 = 4.9e-4).
    run = decay(0.5, every=1, stop=dm.train.loss_below(1e-3))
    assert run.stopped_at == 5
    np.testing.assert_allclose(run.params, 0.5**5)
    coarse = decay(0.5, every=4, stop=dm.train.loss_below(1e-3))
    assert coarse.stopped_at == 8


def test_records_after_a_stop_repeat_the_one_made_there():
    run = decay(0.5, every=1, stop=dm.train.loss_below(1e-3), probes={"norm": dm.train.weight_norm()}, step_losses=True)
    assert run.loss.shape == (201,)
    np.testing.assert_array_equal(run.loss[5:], np.full(196, 0.5 * 0.25**5, np.float32))
    np.testing.assert_array_equal(run.probes["norm"][5:], np.full(196, 0.5**5, np.float32))
    np.testing.assert_array_equal(run.step_loss[4:], np.full(196, 0.5 * 0.25**4, np.float32))


def test_rule_that_never_fires_changes_nothing():
    plain, ruled = decay(0.01), decay(0.01, stop=dm.train.loss_below(0.0))
    np.testing.assert_array_equal(plain.loss, ruled.loss)
    assert ruled.stopped_at == -1


def test_start_below_the_threshold_makes_no_step():
    run = decay(0.5, stop=dm.train.loss_below(1.0))
    assert run.stopped_at == 0
    assert run.params == 1.0


def test_members_of_an_ensemble_stop_separately():
    rates = jnp.array([0.5, 0.1, 0.0])
    stop = dm.train.loss_below(1e-3)
    runs = jax.vmap(lambda rate: decay(rate, every=1, stop=stop))(rates)
    # ½(1−η)^2t <= 1e-3: t >= log(500)/(−2 log(1−η)) = 4.48, 29.5, never.
    assert runs.stopped_at.tolist() == [5, 30, -1]
    for i, rate in enumerate(rates):
        alone = decay(rate, every=1, stop=stop)
        np.testing.assert_allclose(runs.params[i], alone.params, rtol=1e-6)
        np.testing.assert_allclose(runs.loss[i], alone.loss, rtol=1e-6)
    together = dm.train.fit_ensemble(
        jax.random.split(KEY, 3), lambda w, x: w * x, dm.train.losses.half_mse, jnp.ones(3), DATA, optax.sgd,
        hyperparameters={"learning_rate": rates}, num_steps=200, every=1, stop=stop,
    )  # fmt: skip
    assert together.stopped_at.tolist() == [5, 30, -1]
    np.testing.assert_allclose(together.params, runs.params, rtol=1e-6)  # another program: alone, without vmap


@pytest.mark.parametrize("mode", ["min", "max"])
def test_patience_waits_for_so_many_records_without_improvement(mode):
    # The probe improves up to step 30 and is flat from then on: 4 records later, at step 70, the run ends.
    sign = -1 if mode == "min" else 1
    probe = dm.typing.Probe(lambda p: (), lambda state, p, o, step: (state, sign * jnp.minimum(step, 30)))
    run = decay(0.01, every=10, probes={"watched": probe}, stop=dm.train.patience("watched", 4, mode=mode))
    assert run.stopped_at == 70


def test_patience_counts_an_improvement_only_beyond_the_minimum():
    run = decay(0.01, every=10, stop=dm.train.patience("loss", 1, min_improvement=10.0))
    assert run.stopped_at == 10


def test_diverged_training_counts_as_no_improvement():
    run = decay(30.0, every=10, stop=dm.train.patience("loss", 2))
    assert run.diverged_at > 0
    assert 0 < run.stopped_at < 200


def test_own_rules_are_pairs_of_functions():
    rule = dm.train.StoppingRule(lambda: jnp.int32(0), lambda count, loss, values: (count + 1, count == 3))
    assert decay(0.1, every=10, stop=rule).stopped_at == 30
