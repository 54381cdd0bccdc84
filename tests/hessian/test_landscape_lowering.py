"""Every traced function on landscapes is accepted by the compilers of GPUs and TPUs (no callbacks)."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dlmath import hessian

X, LABELS = np.ones((6, 3), np.float32), np.zeros(6, int)
PARAMS = (jnp.ones((3, 4)), jnp.ones((4, 2)))


def apply(params, x):
    return jax.nn.relu(x @ params[0]) @ params[1]


def loss(outputs, labels):
    return jnp.mean(jax.nn.logsumexp(outputs, axis=-1) - outputs[:, 0])


def objective(params, x):
    return loss(apply(params, x), None)


def probe(optimizer, **options):
    made = hessian.sharpness(objective, X, **options)
    return lambda key, p: made.update(made.init(p), p, optimizer.init(p), jnp.int32(0))


FUNCTIONS = {
    "sharpness": probe(optax.sgd(0.1)),
    "sharpness, adam": probe(optax.adam(0.1), preconditioner="adam"),
    "sharpness, rmsprop": probe(optax.rmsprop(0.1), preconditioner="rmsprop"),
    "sharpness_of": lambda key, p: hessian.sharpness_of(key, objective, p, X),
    "decompose": lambda key, p: [op(p) for op in hessian.decompose(apply, loss, p, X, LABELS)],
    "class_means": lambda key, p: hessian.class_means(apply, p, X, LABELS, 2).within(p),
    "slice_1d": lambda key, p: hessian.slice_1d(objective, p, X, direction=p, steps=np.ones(2, np.float32)),
    "slice_2d": lambda key, p: hessian.slice_2d(objective, p, X, directions=(p, p), steps=np.ones(2, np.float32)),
    "interpolate": lambda key, p: hessian.interpolate(objective, p, p, X),
    "random_direction": lambda key, p: hessian.random_direction(key, p),
    "sam_sharpness": lambda key, p: hessian.sam_sharpness(objective, p, X, rho=0.1, num_steps=2, adaptive=True),
    "dinh_rescaling": lambda key, p: hessian.dinh_rescaling(p, 2.0),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_is_lowered_for_cuda_and_tpu(name):
    traced = jax.jit(FUNCTIONS[name]).trace(jax.random.key(0), PARAMS)
    assert "callback" not in traced.lower(lowering_platforms=("cuda", "tpu")).as_text()
