"""Stochastic weight averaging, Gaussian: the moments of the iterates of SGD."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from dlmath import check
from dlmath.bnn._minibatches import Minibatches, checked_batch_size, raveled, stop_if_not_finite
from dlmath.bnn._posterior import Posterior, checked_start
from dlmath.bnn._samples import Samples, keys_for, samples_of
from dlmath.linalg._arrays import product
from dlmath.typing import Key, Params


def swag(
    key: Key,
    posterior: Posterior,
    params: Params,
    *,
    num_draws: int,
    num_steps: int,
    learning_rate: Any,
    momentum: Any = 0.9,
    batch_size: int | None = None,
    every: int | None = None,
    rank: int = 20,
) -> Samples:
    """Draws from the Gaussian with the moments of SGD's iterates, one for each start (several: MultiSWAG).

    SGD at a constant rate runs on U/n; snapshots θ_i are taken every so many steps. With their mean m, their variances s² and
    the deviations D [d, k] of the last k from the running mean,

        θ = m + s z₁/√2 + D z₂/√(2(k − 1)),    z standard normal.

    Not a posterior unless the learning rate makes it one (Mandt et al. 2017): its spread is that of SGD.

    Args:
        key: typed key; start i uses fold_in(key, i).
        posterior: from `posterior`.
        params: starts, trained networks (`ensemble`, `mode`), θ with a leading axis.
        num_draws: draws of each Gaussian.
        num_steps: steps of SGD.
        learning_rate: η > 0, of U/n.
        momentum: in [0, 1).
        batch_size: rows of a minibatch, or None for all.
        every: steps between snapshots; None for an epoch.
        rank: k, snapshots of the low-rank part, at least 2.

    Returns:
        Samples [chain, draw] with stats "mean" [chain, d] (raveled) and "variance" [chain, d], of the snapshots.

    Raises:
        ValueError: for fewer snapshots than the rank, values out of range, a run that diverged, and as `mode` says.

    Cost: num_steps minibatch gradients a start; memory kd.

    References: Maddox et al. (2019), A simple baseline for Bayesian uncertainty in deep learning, eq. 1 and algorithm 1;
        Wilson & Izmailov (2020), Bayesian deep learning and a probabilistic perspective of generalization (MultiSWAG).
    """
    check.key("key", key)
    params = checked_start(posterior, params, axis="starts")
    batch_size = checked_batch_size(posterior, batch_size)
    n = posterior.data[1].shape[0]
    every = check.positive_int("every", every if every is not None else n // batch_size if batch_size else 1)
    num_steps = check.positive_int("num_steps", num_steps)
    rank = check.integer("rank", rank, at_least=2)
    if num_steps // every < rank:
        raise ValueError(
            f"num_steps must be at least rank · every = {rank * every}, so that there are {rank} snapshots, got {num_steps}"
        )
    learning_rate = check.real("learning_rate", learning_rate, above=0.0)
    momentum = check.real("momentum", momentum, at_least=0.0, below=1.0)
    sizes = (num_steps // every, every, rank, check.positive_int("num_draws", num_draws), batch_size)
    keys = keys_for(key, jax.tree.leaves(params)[0].shape[0])
    draws, mean, variance = _swag(keys, posterior, params, learning_rate, momentum, sizes=sizes)
    stop_if_not_finite("learning_rate", mean, "SGD")
    return samples_of(posterior, draws, {"mean": mean, "variance": variance})


@partial(jax.jit, static_argnames="sizes")
def _swag(keys: Any, posterior: Posterior, params: Any, rate: Any, momentum: Any, *, sizes: Any) -> Any:
    num_snapshots, every, rank, num_draws, batch_size = sizes
    n = posterior.data[1].shape[0]

    def one(key: Any, start: Any) -> Any:
        of_batches, of_draws = jax.random.split(key)
        theta, unravel = raveled(start)
        batches = Minibatches(posterior, of_batches, batch_size)

        def step(i: Any, carry: Any) -> Any:
            theta, velocity, table = carry
            potential, table = batches.potential_at(table, i)
            slope = jax.grad(lambda t: potential(unravel(t)) / n)(theta)
            velocity = momentum * velocity - rate * slope
            return theta + velocity, velocity, table

        def snapshot(carry: Any, i: Any) -> Any:
            iterate, mean, squares = carry
            iterate = jax.lax.fori_loop(i * every, (i + 1) * every, step, iterate)
            theta = iterate[0]
            # Welford's recurrence: the difference of E θ² and (E θ)² loses all digits where iterates move little.
            gap = theta - mean
            mean = mean + gap / (i + 1)
            return (iterate, mean, squares + gap * (theta - mean)), theta - mean

        zero = jnp.zeros_like(theta)
        last = num_snapshots - rank
        carry = ((theta, zero, batches.start), zero, zero)
        if last:
            carry = jax.lax.fori_loop(0, last, lambda i, c: snapshot(c, i)[0], carry)
        (_, mean, squares), deviations = jax.lax.scan(snapshot, carry, jnp.arange(last, num_snapshots))
        variance = squares / num_snapshots
        one, two = jax.random.split(of_draws)
        wide = jax.random.normal(one, (num_draws, theta.size), theta.dtype) * jnp.sqrt(variance / 2)
        low = product(jax.random.normal(two, (num_draws, rank), theta.dtype), deviations) / jnp.sqrt(2 * (rank - 1))
        return jax.vmap(unravel)(mean + wide + low), mean, variance

    return jax.vmap(one)(keys, params)
