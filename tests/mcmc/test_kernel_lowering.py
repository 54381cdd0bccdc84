"""Steps of the kernels, and potentials of scores, are lowered for CUDA and TPU without callbacks."""

import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from numpyro.infer import NUTS

import dlmath as dm

_spec = importlib.util.spec_from_file_location("mcmc_kernels", Path(__file__).parent / "kernels.py")
kernels = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(kernels)
PLATFORMS = ("cuda", "tpu")


@pytest.mark.parametrize("name", kernels.KERNELS)
def test_a_step_lowers_for_cuda_and_tpu(name):
    kernel, data = kernels.KERNELS[name](), kernels.data_of(name)
    state = kernel.init(jax.random.key(0), 5, kernels.PARAMS, data, {})
    step = jax.jit(lambda state, *data: kernel.sample(state, data, {}))
    assert "callback" not in step.trace(state, *data).lower(lowering_platforms=PLATFORMS).as_text()


def score(x):
    return -x - jnp.sin(x)


FUNCTIONS = {
    "score_potential": jax.value_and_grad(dm.mcmc.score_potential(score)),
    "potential_rise": lambda x: dm.mcmc.potential_rise(score, x, 2 * x),
    "curl": lambda x: dm.mcmc.curl(score, x),
    "curl_estimate": lambda x: dm.mcmc.curl_estimate(jax.random.key(0), score, x),
    "check_curl": lambda x: dm.mcmc.check_curl(score, x),
    "cyclical": lambda x: dm.mcmc.cyclical(0.1, period=5)(x),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_lowers_for_cuda_and_tpu(name):
    lowered = jax.jit(FUNCTIONS[name]).trace(jnp.ones(3)).lower(lowering_platforms=PLATFORMS)
    assert "callback" not in lowered.as_text()


def test_a_step_of_nuts_on_a_score_lowers_for_cuda_and_tpu():
    kernel = NUTS(potential_fn=dm.mcmc.score_potential(score))
    state = kernel.init(jax.random.key(0), 5, jnp.ones(3), (), {})
    lowered = jax.jit(lambda state: kernel.sample(state, (), {})).trace(state).lower(lowering_platforms=PLATFORMS)
    assert "callback" not in lowered.as_text()
