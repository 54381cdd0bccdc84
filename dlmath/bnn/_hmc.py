"""Hamiltonian Monte Carlo by numpyro, in a compiled program of one chain or of all of them."""

import os
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from numpyro.infer.hmc import hmc as numpyro_hmc

from dlmath import check
from dlmath.bnn._chains import Saving, checked_saving, in_blocks, on_cores, transitions
from dlmath.bnn._posterior import Posterior, checked_start
from dlmath.bnn._samples import Samples, keys_for
from dlmath.typing import Key, Params


class _Options(NamedTuple):
    """What is part of the program."""

    algorithm: str
    num_warmup: int
    num_steps: int | None
    max_tree_depth: int
    adapt_step_size: bool
    adapt_mass_matrix: bool
    dense_mass: bool


def nuts(
    key: Key,
    posterior: Posterior,
    params: Params,
    *,
    num_draws: int,
    num_warmup: int,
    thinning: int = 1,
    step_size: Any = 0.1,
    target_accept: Any = 0.8,
    max_tree_depth: int = 10,
    adapt_step_size: bool = True,
    adapt_mass_matrix: bool = True,
    dense_mass: bool = False,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int | None = None,
) -> Samples:
    """Draws from e^{−U} by the No-U-Turn sampler, one chain for each start.

    The kernel is numpyro's. On a CPU every core runs a chain at a time; elsewhere all chains are one `vmap`, in which a
    transition takes as many leapfrog steps as the longest tree needs. Posterior, starts and step sizes are arguments of the program, so that other data of the same shape compile nothing.
    Starts that are spread over devices (`sharding.shard(params)`) run there.

    Args:
        key: typed key; chain i draws from fold_in(key, i), whatever their number.
        posterior: from `posterior`.
        params: starts, θ with a leading axis of chains (`sample_prior`, or `jax.vmap(model.init, (0, None))(keys, x)`).
        num_draws: kept draws of each chain.
        num_warmup: transitions before them, in which step size and mass matrix are adapted.
        thinning: transitions a kept draw.
        step_size: ε > 0, where adaptation begins.
        target_accept: in (0, 1), mean acceptance probability that the step size is adapted to.
        max_tree_depth: trees have at most 2^depth − 1 leapfrog steps.
        adapt_step_size: False to keep `step_size`.
        adapt_mass_matrix: False to keep the identity.
        dense_mass: a full mass matrix (P² memory, P³ arithmetic a window) instead of a diagonal one.
        checkpoint: file to resume from if it exists, and to write; a killed run goes on with the same bits. It knows the
            key, starts, posterior and settings by their bytes, not the functions.
        checkpoint_every: draws between checkpoints; None for one at the end.

    Returns:
        Samples with stats "accept_prob", "num_steps", "diverging" [chain, draw] (of a draw's transitions: the last, the
        last, any) and "step_size" [chain].

    Raises:
        TypeError: for parameters that are not of the default float type (float32 ones under `jax.enable_x64`).
        ValueError: as `mode` says (the parameter that makes the potential infinite is named), for values out of
            range, a step size none of whose proposals was accepted, or a checkpoint of another run.

    Cost: a gradient a leapfrog step and chain.

    References: Hoffman & Gelman (2014), The No-U-Turn sampler; Phan et al. (2019), numpyro (1912.11554).
    """
    options = _options("NUTS", num_warmup, None, max_tree_depth, adapt_step_size, adapt_mass_matrix, dense_mass)
    grid = _grid(num_draws, num_warmup, thinning, checkpoint, checkpoint_every)
    return _sample(key, posterior, params, step_size, None, target_accept, options, *grid)


def hmc(
    key: Key,
    posterior: Posterior,
    params: Params,
    *,
    num_draws: int,
    num_warmup: int,
    num_steps: int | None = None,
    trajectory_length: Any = None,
    thinning: int = 1,
    step_size: Any = 0.1,
    target_accept: Any = 0.8,
    adapt_step_size: bool = True,
    adapt_mass_matrix: bool = True,
    dense_mass: bool = False,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int | None = None,
) -> Samples:
    """Draws from e^{−U} by Hamiltonian Monte Carlo with trajectories of fixed length, one chain for each start.

    Args:
        key: as in `nuts`.
        posterior: as in `nuts`.
        params: as in `nuts`.
        num_draws: as in `nuts`.
        num_warmup: as in `nuts`.
        num_steps: leapfrog steps of a trajectory; or
        trajectory_length: its length, in ⌈length/ε⌉ steps. Exactly one of them.
        thinning: as in `nuts`.
        step_size: as in `nuts`.
        target_accept: as in `nuts`.
        adapt_step_size: as in `nuts`.
        adapt_mass_matrix: as in `nuts`.
        dense_mass: as in `nuts`.
        checkpoint: as in `nuts`.
        checkpoint_every: as in `nuts`.

    Returns:
        Samples as `nuts`.

    Raises:
        ValueError: as `nuts`, or unless one of num_steps and trajectory_length is given.

    References: Neal (2011), MCMC using Hamiltonian dynamics; Izmailov et al. (2021), What are Bayesian neural network
        posteriors really like? (trajectories of length π σ_prior/2 there).
    """
    if (num_steps is None) == (trajectory_length is None):
        raise ValueError(
            f"num_steps or trajectory_length must be given, exactly one, got num_steps={num_steps} and"
            f" trajectory_length={trajectory_length}"
        )
    if num_steps is not None:
        num_steps = check.positive_int("num_steps", num_steps)
    else:
        trajectory_length = check.real("trajectory_length", trajectory_length, above=0.0)
    options = _options("HMC", num_warmup, num_steps, 10, adapt_step_size, adapt_mass_matrix, dense_mass)
    grid = _grid(num_draws, num_warmup, thinning, checkpoint, checkpoint_every)
    return _sample(key, posterior, params, step_size, trajectory_length, target_accept, options, *grid)


def _options(algorithm: str, num_warmup: Any, num_steps: Any, max_tree_depth: Any, *flags: Any) -> _Options:
    num_warmup = check.integer("num_warmup", num_warmup, at_least=0)
    return _Options(
        algorithm, num_warmup, num_steps, check.positive_int("max_tree_depth", max_tree_depth), *map(bool, flags)
    )


def _grid(num_draws: Any, num_warmup: Any, thinning: Any, checkpoint: Any, every: Any) -> tuple[Any, Saving | None]:
    num_draws, thinning = check.positive_int("num_draws", num_draws), check.positive_int("thinning", thinning)
    return transitions(num_draws, num_warmup, thinning), checked_saving(checkpoint, every, num_draws)


def _sample(
    key: Any,
    posterior: Any,
    params: Any,
    step_size: Any,
    length: Any,
    target_accept: Any,
    options: _Options,
    counts: Any,
    saving: Saving | None,
) -> Samples:
    check.key("key", key)
    params = checked_start(posterior, params, axis="chains")
    for leaf in jax.tree.leaves(params):
        if leaf.dtype != jnp.result_type(float):
            # numpyro's step sizes are of the default type, and would change that of the parameters from step to step.
            raise TypeError(
                f"params must be of the default float type, {jnp.result_type(float)}, got {leaf.dtype}; cast them with"
                " jax.tree.map(lambda leaf: leaf.astype(float), params)"
            )
    step_size = check.real("step_size", step_size, above=0.0)
    target_accept = check.real("target_accept", target_accept, above=0.0, below=1.0)
    keys = keys_for(key, jax.tree.leaves(params)[0].shape[0])
    shared = posterior, step_size, length, target_accept
    traced = any(map(check.is_traced, jax.tree.leaves(shared)))
    begin = lambda: _begin(keys, params, *shared, options=options)
    compiled = lambda keys, params, states, counts: _advance(keys, params, states, counts, *shared, options=options)
    advance = lambda states, counts: on_cores(compiled, (keys, params, states), counts, traced=traced)
    inputs = {
        "key": key, "params": params, "posterior": posterior, "settings": (step_size, length, target_accept, counts),
        "options": str(options),
    }  # fmt: skip
    z, potential, stats = in_blocks(begin, advance, counts, saving, inputs)
    accepted = stats["accept_prob"]
    if not check.is_traced(accepted) and not np.asarray(accepted).max() > 0:
        used = np.asarray(stats["step_size"])
        raise ValueError(
            f"step_size must be small enough for proposals to be accepted, got none accepted after warm-up with step sizes"
            f" from {used.min():.3g} to {used.max():.3g} (step_size={step_size:g}); start smaller, or warm up longer"
        )
    stats["step_size"] = stats["step_size"][:, -1]
    return Samples(z, -potential * posterior.temperature, stats)


def _kernel(
    key: Any, start: Any, posterior: Any, step_size: Any, length: Any, target_accept: Any, *, options: Any
) -> Any:
    """(the state at the start, state -> next state) of one chain; numpyro's transition is made by its start.

    The sampler moves one vector: between gradients it has as many small operations for every array that it is given.
    """
    flat, unravel = ravel_pytree(start)
    init, transition = numpyro_hmc(potential_fn=lambda z: posterior.potential(unravel(z)), algo=options.algorithm)
    state = init(
        flat,
        num_warmup=options.num_warmup,
        step_size=step_size,
        adapt_step_size=options.adapt_step_size,
        adapt_mass_matrix=options.adapt_mass_matrix,
        dense_mass=options.dense_mass,
        target_accept_prob=target_accept,
        num_steps=options.num_steps,
        trajectory_length=length,
        max_tree_depth=options.max_tree_depth,
        rng_key=key,
    )
    return state, transition


@partial(jax.jit, static_argnames="options")
def _begin(keys: Any, params: Any, *shared: Any, options: _Options) -> Any:
    return jax.vmap(lambda key, start: _kernel(key, start, *shared, options=options)[0])(keys, params)


@partial(jax.jit, static_argnames="options")
def _advance(keys: Any, params: Any, states: Any, counts: Any, *shared: Any, options: _Options) -> Any:
    """(the states of all chains, their draws), after so many transitions each."""

    def chain(key: Any, start: Any, state: Any) -> Any:
        unravel = ravel_pytree(start)[1]
        transition = _kernel(key, start, *shared, options=options)[1]

        def draw(state: Any, count: Any) -> Any:
            def one(_: Any, carry: Any) -> Any:
                state, diverging = carry
                state = transition(state)
                return state, diverging | (state.diverging & (state.i > options.num_warmup))

            # The first draw runs through the warm-up, whose divergences do not count: so the transition is compiled once.
            state, diverging = jax.lax.fori_loop(0, count, one, (state, jnp.zeros((), bool)))
            stats = {
                "accept_prob": state.accept_prob,
                "num_steps": state.num_steps,
                "diverging": diverging,
                "step_size": state.adapt_state.step_size,
            }
            return state, (unravel(state.z), state.potential_energy, stats)

        return jax.lax.scan(draw, state, counts)

    return jax.vmap(chain)(keys, params, states)
