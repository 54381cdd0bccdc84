"""Stochastic gradient Langevin dynamics and Hamiltonian Monte Carlo, chains side by side in one compiled program."""

import os
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dlmath import check
from dlmath.bnn._chains import checked_saving, in_blocks, transitions
from dlmath.bnn._minibatches import checked_batch_size, stop_if_not_finite
from dlmath.bnn._posterior import Posterior, checked_start
from dlmath.bnn._samples import Samples, keys_for, samples_of
from dlmath.mcmc import SGHMC, SGLD, Cyclical, PreconditionedSGLD
from dlmath.typing import Key, Params


class _Options(NamedTuple):
    """What is part of the program."""

    kernel: type
    batch_size: int | None
    schedule: Any


def sgld(
    key: Key,
    posterior: Posterior,
    params: Params,
    *,
    num_draws: int,
    num_warmup: int,
    step_size: Any,
    thinning: int = 1,
    batch_size: int | None = None,
    control: Params | None = None,
    preconditioned: bool = False,
    decay: Any = 0.99,
    damping: Any = 1e-5,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int | None = None,
) -> Samples:
    """Draws by θ ← θ − ε∇Û(θ) + √(2ε) ξ, one chain for each start; Û is U on a minibatch.

    U sums over the data, so that ε is of the order of 1/(n · curvature). There is no Metropolis test: the law of the draws
    has a bias of order ε, known on a Gaussian (`mcmc.stationary_law`), and minibatches add to it. The temperature is that of
    `posterior`, whose U this is.

    Args:
        key: typed key; chain i draws from fold_in(key, i), whatever their number.
        posterior: from `posterior`.
        params: starts, θ with a leading axis of chains.
        num_draws: kept draws of each chain.
        num_warmup: steps before them.
        step_size: ε > 0, in the units of θ²; or an `mcmc.cyclical` schedule, of which only the sampling parts are kept.
        thinning: steps a kept draw.
        batch_size: rows of a minibatch, drawn with replacement; None for all data.
        control: θ*, a centre (`mode`) about which minibatch gradients are taken: ∇U(θ*) + ∇Û(θ) − ∇Û(θ*), whose noise
            vanishes there. With minibatches only.
        preconditioned: in RMSprop's metric, as `mcmc.PreconditionedSGLD` without Γ; ε is then a distance, about what Adam's rate would be.
        decay: of RMSprop, in [0, 1).
        damping: of RMSprop, positive.
        checkpoint: as in `nuts`.
        checkpoint_every: as in `nuts`.

    Returns:
        Samples.

    Raises:
        TypeError: for arguments of other types.
        ValueError: as `mode` says, for values out of range, a chain that diverged, or a checkpoint of another run.

    Cost: a minibatch gradient a step and chain, and a pass over the data a draw for its `log_joint`.

    References: Welling & Teh (2011), Bayesian learning via stochastic gradient Langevin dynamics (whose ε is twice ours);
        Li et al. (2016), Preconditioned stochastic gradient Langevin dynamics; Zhang et al. (2020), Cyclical stochastic
        gradient MCMC; Baker et al. (2019), Control variates for stochastic gradient MCMC.
    """
    settings = {}
    if preconditioned:
        settings["decay"] = check.real("decay", decay, at_least=0.0, below=1.0)
        settings["damping"] = check.real("damping", damping, above=0.0)
    kernel = PreconditionedSGLD if preconditioned else SGLD
    grid = num_draws, num_warmup, thinning
    return _sample(key, posterior, params, kernel, grid, step_size, settings, batch_size, control, checkpoint, checkpoint_every)  # fmt: skip


def sghmc(
    key: Key,
    posterior: Posterior,
    params: Params,
    *,
    num_draws: int,
    num_warmup: int,
    step_size: Any,
    friction: Any,
    noise_estimate: Any = 0.0,
    thinning: int = 1,
    batch_size: int | None = None,
    control: Params | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int | None = None,
) -> Samples:
    """Draws by v ← (1 − hγ)v − h∇Û(θ) + √(2hγ − h²V̂) ξ, θ ← θ + hv, one chain for each start; Û is U on a minibatch.

    SGD with momentum 1 − hγ and learning rate h² (on U), and the noise that makes it draw from e^{−U}; h is the root of the
    ε of `sgld`, times √2. Its law on a Gaussian is known (`mcmc.stationary_law`).

    Args:
        key: as in `sgld`.
        posterior: as in `sgld`.
        params: as in `sgld`.
        num_draws: as in `sgld`.
        num_warmup: as in `sgld`.
        step_size: h > 0, in the units of θ; or an `mcmc.cyclical` schedule.
        friction: γ > 0, with hγ < 2.
        noise_estimate: V̂ ≥ 0, the variance of an entry of the minibatch gradient, whose heating is then taken out.
        thinning: as in `sgld`.
        batch_size: as in `sgld`.
        control: as in `sgld`.
        checkpoint: as in `nuts`.
        checkpoint_every: as in `nuts`.

    Returns:
        Samples with stats "kinetic_temperature" [chain, draw], the mean of v², which is 1 at equilibrium as h → 0.

    Raises:
        TypeError: for arguments of other types.
        ValueError: as `sgld`, and unless 0 < hγ < 2.

    Cost: as `sgld`.

    References: Chen et al. (2014), Stochastic gradient Hamiltonian Monte Carlo; Wenzel et al. (2020), How good is the Bayes
        posterior in deep neural networks really? (kinetic temperature).
    """
    friction = check.real("friction", friction, above=0.0)
    largest = step_size.step_size if isinstance(step_size, Cyclical) else step_size
    largest = check.real("step_size", largest, above=0.0)
    if not check.is_traced(largest) and not check.is_traced(friction) and friction * largest >= 2:
        raise ValueError(f"friction must be below 2/step_size = {2 / largest:g}, got {friction:g}")
    settings = {"friction": friction, "noise_estimate": check.real("noise_estimate", noise_estimate, at_least=0.0)}
    grid = num_draws, num_warmup, thinning
    return _sample(key, posterior, params, SGHMC, grid, step_size, settings, batch_size, control, checkpoint, checkpoint_every)  # fmt: skip


def _sample(
    key: Any,
    posterior: Any,
    params: Any,
    kernel: type,
    grid: Any,
    step_size: Any,
    settings: dict[str, Any],
    batch_size: Any,
    control: Any,
    checkpoint: Any,
    checkpoint_every: Any,
) -> Samples:
    check.key("key", key)
    params = checked_start(posterior, params, axis="chains")
    num_draws, thinning = check.positive_int("num_draws", grid[0]), check.positive_int("thinning", grid[2])
    num_warmup = check.integer("num_warmup", grid[1], at_least=0)
    batch_size = checked_batch_size(posterior, batch_size)
    if control is not None:
        if batch_size is None:
            raise ValueError("control must be None where gradients are of all data, got a tree; give batch_size")
        control = checked_start(posterior, control)
    schedule = step_size if isinstance(step_size, Cyclical) else None
    if schedule is None:
        settings["step_size"] = check.real("step_size", step_size, above=0.0)
        counts = transitions(num_draws, num_warmup, thinning)
    else:
        counts = _sampling_steps(schedule, num_draws, num_warmup, thinning)
    options = _Options(kernel, batch_size, schedule)
    keys = keys_for(key, jax.tree.leaves(params)[0].shape[0])
    begin = lambda: _begin(keys, posterior, params, control, settings, options=options)
    advance = lambda states, counts: _advance(posterior, control, settings, states, counts, options=options)
    inputs = {
        "key": key, "params": params, "posterior": posterior, "control": control, "settings": (settings, counts),
        "options": str(options),
    }  # fmt: skip
    draws, stats = in_blocks(begin, advance, counts, checked_saving(checkpoint, checkpoint_every, num_draws), inputs)
    for leaf in jax.tree.leaves(draws):
        stop_if_not_finite("step_size", leaf, "every chain")
    return samples_of(posterior, draws, stats)


def _sampling_steps(schedule: Cyclical, num_draws: int, num_warmup: int, thinning: int) -> np.ndarray:
    """Steps before each kept draw, the kept ones being every so many of the sampling parts of the cycles."""
    cycle = np.flatnonzero(schedule.keep(np.arange(1, schedule.period + 1))) + 1
    if not cycle.size:
        raise ValueError(
            f"step_size must be a schedule that samples, got exploration {schedule.exploration:g} of a cycle"
        )
    cycles = -(-(num_warmup + thinning * num_draws) // cycle.size) + num_warmup // schedule.period + 1
    steps = (schedule.period * np.arange(cycles)[:, None] + cycle).ravel()
    kept = steps[steps > num_warmup][thinning - 1 :: thinning][:num_draws]
    return np.diff(kept, prepend=0)


def _kernel(posterior: Posterior, control: Any, settings: dict[str, Any], options: _Options) -> Any:
    given = dict(settings)
    if options.schedule is not None:
        given |= {"step_size": options.schedule, "temperature": options.schedule.temperature}
    if options.batch_size is None:
        given["potential_fn"] = lambda params, x, y: posterior.potential(params)
    else:
        n = posterior.data[1].shape[0]
        given |= {
            "minibatch_potential": lambda params, x, y: posterior.minibatch_potential(params, (x, y), n),
            "batch_size": options.batch_size,
            "control": control,
        }
    return options.kernel(**given)


@partial(jax.jit, static_argnames="options")
def _begin(
    keys: Any, posterior: Posterior, params: Any, control: Any, settings: dict[str, Any], *, options: _Options
) -> Any:
    kernel = _kernel(posterior, control, settings, options)
    return jax.vmap(lambda key, start: kernel.init(key, 0, start, posterior.data, {}))(keys, params)


@partial(jax.jit, static_argnames="options")
def _advance(
    posterior: Posterior, control: Any, settings: dict[str, Any], states: Any, counts: Any, *, options: _Options
) -> Any:
    """(the states of all chains, their draws), after so many steps each."""
    kernel = _kernel(posterior, control, settings, options)

    def draw(state: Any, count: Any) -> Any:
        state = jax.lax.fori_loop(0, count, lambda _, state: kernel.sample(state, posterior.data, {}), state)
        stats = {"kinetic_temperature": _mean_square(state.velocity)} if options.kernel is SGHMC else {}
        return state, (state.z, stats)

    return jax.vmap(lambda state: jax.lax.scan(draw, state, counts))(states)


def _mean_square(tree: Any) -> Any:
    leaves = jax.tree.leaves(tree)
    return sum(jnp.square(leaf).sum() for leaf in leaves) / sum(leaf.size for leaf in leaves)
