"""The kernels as a user makes them, and their runs by numpyro: name -> a function that makes one."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.infer import MCMC

import dlmath as dm

DATA = jnp.asarray(np.random.default_rng(0).normal(size=(20, 2)), jnp.float32)
PARAMS = {"a": jnp.array([0.5, -0.2]), "b": jnp.array(0.1)}


def potential(params, *data):
    return jnp.sum(params["a"] ** 2) + 0.5 * jnp.square(params["b"] - params["a"][0])


def minibatch(params, rows):
    return 0.5 * jnp.sum(jnp.square(rows - params["a"])) * len(DATA) / len(rows) + jnp.square(params["b"])


def score(params):
    return jax.tree.map(jnp.negative, jax.grad(potential)(params))


class DriftState(NamedTuple):
    position: Any
    count: Any


class DriftInfo(NamedTuple):
    acceptance_rate: Any


class Drift:
    """An algorithm with the interface of blackjax, an autoregression."""

    @staticmethod
    def init(position, key):
        return DriftState(position, jnp.array(0))

    @staticmethod
    def step(key, state):
        moved = jax.tree.map(lambda x: 0.9 * x + 0.1 * jax.random.normal(key, x.shape), state.position)
        return DriftState(moved, state.count + 1), DriftInfo(jnp.array(0.5))


KERNELS = {
    "ULA": lambda: dm.mcmc.ULA(potential_fn=potential, step_size=0.1),
    "MALA": lambda: dm.mcmc.MALA(potential_fn=potential, step_size=0.1),
    "MALA, score": lambda: dm.mcmc.MALA(score=score, step_size=0.1),
    "underdamped": lambda: dm.mcmc.UnderdampedLangevin(score=score, step_size=0.3),
    "SGLD": lambda: dm.mcmc.SGLD(
        minibatch_potential=minibatch, batch_size=4, control=PARAMS, step_size=dm.mcmc.cyclical(0.01, period=7)
    ),
    "PSGLD": lambda: dm.mcmc.PreconditionedSGLD(minibatch_potential=minibatch, batch_size=4, step_size=0.01, gamma=True),
    "SGHMC": lambda: dm.mcmc.SGHMC(minibatch_potential=minibatch, batch_size=4, step_size=0.05, friction=1.0),
    "SGNHT": lambda: dm.mcmc.SGNHT(minibatch_potential=minibatch, batch_size=4, step_size=0.05),
    "annealed": lambda: dm.mcmc.AnnealedLangevin(
        lambda params, sigma: jax.tree.map(lambda x: -x / (1 + sigma**2), params),
        noise_levels=[2.0, 1.0, 0.5], steps_per_level=5, step_size=0.05,
    ),
    "blackjax": lambda: dm.mcmc.FromBlackjax(Drift),
}  # fmt: skip


def data_of(name):
    return (DATA,) if name in ("SGLD", "PSGLD", "SGHMC", "SGNHT") else ()


def run(name, num_samples, *, num_chains=2, chain_method="vectorized", state=None, key=None, num_warmup=10, **options):
    mcmc = MCMC(
        KERNELS[name](), num_warmup=num_warmup, num_samples=num_samples, num_chains=num_chains,
        chain_method=chain_method, progress_bar=False, **options,
    )  # fmt: skip
    key = jax.random.key(3) if key is None else key
    if state is not None:
        mcmc.post_warmup_state, key = state, state.rng_key
    start = PARAMS if num_chains == 1 else jax.tree.map(lambda a: jnp.stack([a] * num_chains), PARAMS)
    mcmc.run(key, *data_of(name), init_params=None if state is not None else start, extra_fields=("i",))
    return mcmc


def draws(mcmc):
    return jax.tree.map(np.asarray, mcmc.get_samples(group_by_chain=True))
