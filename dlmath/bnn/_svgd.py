"""Stein variational gradient descent."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from dlmath import check
from dlmath.bnn._minibatches import Minibatches, checked_batch_size, raveled, stop_if_not_finite
from dlmath.bnn._posterior import Posterior, checked_start
from dlmath.bnn._samples import Samples, samples_of
from dlmath.linalg._arrays import product
from dlmath.typing import Key, Params


def svgd(
    key: Key,
    posterior: Posterior,
    params: Params,
    *,
    num_steps: int,
    learning_rate: Any = 1e-2,
    bandwidth: Any = None,
    batch_size: int | None = None,
) -> Samples:
    """Particles moved together towards e^{−U} by Stein variational gradient descent.

    θ_i moves along (1/m) Σ_j [−k(θ_j, θ_i) ∇U(θ_j) + ∇_{θ_j} k(θ_j, θ_i)] with k(θ, θ′) = e^{−‖θ − θ′‖²/h} (by Adam): gradients of
    the others attract, the kernel repels. h = median ‖θ_i − θ_j‖²/log(m + 1) at each step unless given.

    In more dimensions than particles it underestimates the variance (Ba et al. 2022).

    Args:
        key: typed key, of minibatches.
        posterior: from `posterior`.
        params: starts of m ≥ 2 particles, different ones (`sample_prior`), θ with a leading axis.
        num_steps: updates.
        learning_rate: of Adam.
        bandwidth: h > 0, in the units of θ squared; None for the median.
        batch_size: rows of a minibatch, or None for all.

    Returns:
        Samples of one chain whose draws are the particles; stats "bandwidth" [chain], the last.

    Raises:
        ValueError: for fewer than two particles, values out of range, a run that diverged, and as `mode` says.

    Cost: m gradients and m²d a step.

    References: Liu & Wang (2016), Stein variational gradient descent, eq. 8 and section 5 (median).
    """
    check.key("key", key)
    params = checked_start(posterior, params, axis="particles")
    if jax.tree.leaves(params)[0].shape[0] < 2:
        raise ValueError("params must hold at least 2 particles, got 1")
    batch_size = checked_batch_size(posterior, batch_size)
    num_steps = check.positive_int("num_steps", num_steps)
    learning_rate = check.real("learning_rate", learning_rate, above=0.0)
    if bandwidth is not None:
        bandwidth = check.real("bandwidth", bandwidth, above=0.0)
    found, h = _svgd(key, posterior, params, learning_rate, bandwidth, num_steps=num_steps, batch_size=batch_size)
    stop_if_not_finite("learning_rate", h, "particles")
    return samples_of(posterior, jax.tree.map(lambda leaf: leaf[None], found), {"bandwidth": h[None]})


@partial(jax.jit, static_argnames=("num_steps", "batch_size"))
def _svgd(
    key: Any, posterior: Posterior, params: Any, rate: Any, bandwidth: Any, *, num_steps: int, batch_size: int | None
) -> Any:
    unravel = raveled(jax.tree.map(lambda leaf: leaf[0], params))[1]
    start = jax.vmap(lambda tree: raveled(tree)[0])(params)
    m = len(start)

    def width_of(squares: Any) -> Any:
        if bandwidth is not None:
            return jnp.asarray(bandwidth, squares.dtype)
        median = jnp.median(squares[jnp.triu_indices(m, 1)])
        return jnp.maximum(median, jnp.finfo(squares.dtype).tiny) / jnp.log(m + 1.0).astype(squares.dtype)

    def distances(theta: Any) -> Any:
        centered = theta - theta.mean(0)
        sizes = jnp.sum(centered**2, 1)
        return jnp.maximum(sizes[:, None] + sizes - 2 * product(centered, centered.T), 0)

    def direction(theta: Any, potential: Any) -> Any:
        slopes = jax.vmap(jax.grad(lambda t: potential(unravel(t))))(theta)
        squares = distances(theta)
        h = width_of(squares)
        k = jnp.exp(-squares / h)
        # Σ_j ∇_{θ_j} k(θ_j, θ_i) = (2/h) Σ_j k_ij (θ_i − θ_j)
        repulsion = 2 / h * (k.sum(1)[:, None] * theta - product(k, theta))
        return (-product(k, slopes) + repulsion) / m

    adam, batches = optax.adam(rate), Minibatches(posterior, key, batch_size)

    def step(i: Any, carry: Any) -> Any:
        theta, state, table = carry
        potential, table = batches.potential_at(table, i)
        moves, state = adam.update(-direction(theta, potential), state)
        return optax.apply_updates(theta, moves), state, table

    theta, *_ = jax.lax.fori_loop(0, num_steps, step, (start, adam.init(start), batches.start))
    return jax.vmap(unravel)(theta), width_of(distances(theta)) + 0 * theta.sum()
