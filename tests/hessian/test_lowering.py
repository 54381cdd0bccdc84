import jax
import jax.numpy as jnp
import pytest

import dlmath as dm
from dlmath import hessian

MODEL = dm.models.mlp([5], 3, activation="tanh")
LOSS = dm.train.losses.cross_entropy
X, Y = jnp.ones([6, 4]), jnp.zeros(6, jnp.int32)


def objective(params, x, y):
    return LOSS(MODEL.apply(params, x), y)


def make(params, x, y):
    return hessian.operator(objective, params, x, y)


FUNCTIONS = {
    "operator": lambda p, x, y: make(p, x, y)(p),
    "linearized": lambda p, x, y: hessian.linearized(make(p, x, y))(p),
    "ggn": lambda p, x, y: hessian.ggn(MODEL.apply, LOSS, p, x, y)(p),
    "fisher": lambda p, x, y: hessian.fisher(MODEL.apply, LOSS, p, x, y, kind="empirical")(p),
    "fisher_sampled": lambda p, x, y: hessian.fisher_sampled(
        jax.random.key(0), MODEL.apply, LOSS, p, x, likelihood="categorical"
    )(p),
    "fisher_sampled, gaussian": lambda p, x, y: hessian.fisher_sampled(
        jax.random.key(0), MODEL.apply, dm.train.losses.mse, p, x, likelihood="gaussian"
    )(p),
    "over_batches": lambda p, x, y: hessian.over_batches(make, p, x, y, batch_size=4)(p),
    "gradient_noise_scale": lambda p, x, y: hessian.gradient_noise_scale(objective, p, x, y, batch_size=4),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_lowers_for_cuda_and_tpu(name):
    params = MODEL.init(jax.random.key(0), X)
    jax.jit(FUNCTIONS[name]).trace(params, X, Y).lower(lowering_platforms=("cuda", "tpu"))
