"""Minibatches of training loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlmath import bnn
from dlmath.bnn._minibatches import Minibatches
from dlmath.train import batch_indices


def test_a_loop_meets_the_minibatches_of_batch_indices(conjugate):
    posterior, key = conjugate().posterior, jax.random.key(3)
    batches = Minibatches(posterior, key, 5)  # two of 5 in 12 rows: the third epoch is entered

    def step(table, i):
        (_, y), table = batches.batch_at(table, i)
        return table, y

    _, found = jax.lax.scan(step, batches.start, jnp.arange(5))
    expected = [batch_indices(key, i, num_examples=12, batch_size=5) for i in range(5)]
    np.testing.assert_array_equal(found, np.asarray(posterior.data[1])[np.stack(expected)])


@pytest.mark.parametrize(("batch_size", "ratio"), [(None, 0.8), (6, 1.0)])  # minibatches have noise of their own
def test_dropout_with_a_mask_a_row_has_less_noise_and_the_same_mean(conjugate, batch_size, ratio):
    problem, rows = conjugate(), batch_size or 12
    spread, mean = {}, {}
    for num_masks in (1, rows):
        # A learning rate of nearly zero: losses of the same parameters, with other masks and minibatches.
        samples = bnn.mc_dropout(
            jax.random.key(0), problem.posterior, {"weight": jnp.ones((1, 5, 1))}, num_draws=1, num_steps=4000, rate=0.25,
            learning_rate=1e-12, batch_size=batch_size, num_masks=num_masks,
        )  # fmt: skip
        losses = np.asarray(samples.stats["loss"])[0]
        spread[num_masks], mean[num_masks] = losses.std(), losses.mean()
    assert spread[rows] < ratio * spread[1]
    assert abs(mean[rows] - mean[1]) < 4 * np.hypot(*spread.values()) / 4000**0.5
