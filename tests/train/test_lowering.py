"""Every traced function of `train` is accepted by the compilers of GPUs and TPUs (no callbacks)."""

import jax
import jax.numpy as jnp
import optax
import pytest

import dlmath as dm

train, losses = dm.train, dm.train.losses
X, Y, LABELS = jnp.ones((6, 3)), jnp.ones((6, 1)), jnp.zeros(6, int)
PARAMS = jnp.ones((3, 1))


def linear(w, x):
    return x @ w


def fitted(**options):
    return lambda key, w: train.fit(key, linear, losses.mse, w, (X, Y), optax.adam(0.1), num_steps=4, **options)


def probe(made):
    return lambda key, w: made.update(made.init(w), w, None, jnp.int32(0))


def noisy(key, w, state, x):
    return x @ w * jax.random.bernoulli(key, 0.5, (x.shape[0], 1)), state + 1


FUNCTIONS = {
    "fit, full batch": fitted(),
    "fit, minibatches": fitted(batch_size=2, stop=train.loss_below(0.1), probes={"norm": train.weight_norm()}),
    "fit, replacement": fitted(batch_size=2, replacement=True, stop=train.patience("loss", 2)),
    "fit, stateful": lambda key, w: train.fit(
        key, noisy, losses.mse, w, (X, Y), optax.sgd(0.1), num_steps=4, state=jnp.int32(0), augment=lambda key, x: x
    ),
    "fit_ensemble": lambda key, w: train.fit_ensemble(
        jax.random.split(key, 2), linear, losses.mse, jnp.stack([w, w]), (X, Y), optax.sgd(0.1), num_steps=4
    ),
    "gradient_flow": lambda key, w: train.gradient_flow(
        lambda w, x, y: losses.mse(x @ w, y), w, jnp.array([1.0, 2.0]), X, Y
    ),
    "batch_indices": lambda key, w: train.batch_indices(key, 3, num_examples=6, batch_size=2),
    "weight_norm": probe(train.weight_norm(by_layer=True)),
    "distance_from_init": probe(train.distance_from_init(relative=True)),
    "gradient_norm": probe(train.gradient_norm(linear, losses.mse, X, Y)),
    "held_out_loss": probe(train.held_out_loss(linear, losses.mse, X, Y, block_size=4)),
    "accuracy": probe(train.accuracy(linear, X, Y)),
    "error": probe(train.error(linear, X, Y)),
    "margin": probe(train.margin(linear, X, Y, degree=1)),
    "cross_entropy": lambda key, w: losses.cross_entropy(X, LABELS),
    "mse": lambda key, w: losses.mse(X @ w, Y),
    "half_mse": lambda key, w: losses.half_mse(X @ w, Y),
    "logistic": lambda key, w: losses.logistic(X @ w, Y),
    "hinge": lambda key, w: losses.hinge(X @ w, Y),
    "huber": lambda key, w: losses.huber(X @ w, Y),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_is_lowered_for_cuda_and_tpu(name):
    traced = jax.jit(FUNCTIONS[name]).trace(jax.random.key(0), PARAMS)
    text = traced.lower(lowering_platforms=("cuda", "tpu")).as_text()
    assert "callback" not in text
