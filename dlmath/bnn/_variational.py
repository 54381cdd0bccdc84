"""Gaussian variational inference: mean field and low rank."""

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from dlmath import check
from dlmath.bnn._minibatches import Minibatches, checked_batch_size, raveled, stop_if_not_finite
from dlmath.bnn._posterior import Posterior, checked_start
from dlmath.bnn._samples import Samples, samples_of
from dlmath.linalg._arrays import product
from dlmath.typing import Estimate, Key, Params


class Variational(NamedTuple):
    """A Gaussian N(m, diag s² + BBᵀ) over raveled parameters, and draws of it.

    Attributes:
        samples: draws of one chain.
        mean: m, a tree like θ.
        std: s, a tree like θ.
        factor: B [d, rank]; rank 0 for mean field.
        elbo: lower bound on log ∫ e^{−U}, at T = T_l = 1 on the log evidence, as an Estimate over the draws.
        losses: −ELBO of each step, noisy, [step].
    """

    samples: Samples
    mean: Params
    std: Params
    factor: Float[Array, "d rank"]
    elbo: Estimate
    losses: Float[Array, " step"]


def mean_field(
    key: Key,
    posterior: Posterior,
    params: Params,
    *,
    num_draws: int,
    num_steps: int,
    learning_rate: Any = 1e-2,
    init_std: Any = 1e-2,
    rank: int = 0,
    num_particles: int = 8,
    batch_size: int | None = None,
) -> Variational:
    """The Gaussian with independent entries (or of low rank beside) nearest to e^{−U} in KL(q ‖ p).

    Maximises ELBO = −E_q U + H(q) by Adam on reparameterised gradients, θ = m + s z₁ + B z₂, the entropy in closed form and
    the learning rate falling to zero along a cosine. For a Gaussian posterior of precision Λ and rank 0 the maximum is its mean
    with the variances 1/Λ_ii, which are smaller than (Λ⁻¹)_ii.

    Args:
        key: typed key.
        posterior: from `posterior`.
        params: start θ of the mean (`mode`, or a draw of the prior).
        num_draws: draws of the result.
        num_steps: updates.
        learning_rate: of Adam, at the start.
        init_std: s at the start, in the units of θ.
        rank: columns of B; 0 for mean field.
        num_particles: draws a step.
        batch_size: rows of a minibatch, or None for all.

    Returns:
        A Variational; `samples` is what `predict` takes.

    Raises:
        ValueError: for values out of range, a run that diverged, and as `mode` says.

    Cost: num_steps · num_particles gradients; d · rank² a step.

    References: Graves (2011), Practical variational inference; Blundell et al. (2015), Weight uncertainty in neural networks;
        Ong et al. (2018), Gaussian variational approximation with a factor covariance structure (low rank).
    """
    check.key("key", key)
    params = checked_start(posterior, params)
    sizes = (
        check.positive_int("num_steps", num_steps),
        check.positive_int("num_particles", num_particles),
        check.positive_int("num_draws", num_draws),
        check.integer("rank", rank, at_least=0),
        checked_batch_size(posterior, batch_size),
    )
    learning_rate = check.real("learning_rate", learning_rate, above=0.0)
    init_std = check.real("init_std", init_std, above=0.0)
    draws, mean, std, factor, elbo, losses = _fit(key, posterior, params, learning_rate, init_std, sizes=sizes)
    stop_if_not_finite("learning_rate", losses[-1], "the ELBO")
    samples = samples_of(posterior, jax.tree.map(lambda leaf: leaf[None], draws))
    return Variational(samples, mean, std, factor, elbo, losses)


@partial(jax.jit, static_argnames="sizes")
def _fit(key: Any, posterior: Posterior, params: Any, rate: Any, init_std: Any, *, sizes: Any) -> Any:
    num_steps, num_particles, num_draws, rank, batch_size = sizes
    center, unravel = raveled(params)
    of_start, of_steps, of_batches, of_draws = jax.random.split(key, 4)
    factor = 0.1 * init_std * jax.random.normal(of_start, (center.size, rank), center.dtype)
    # s = softplus(ρ): positive, and linear where it is large.
    q = {"mean": center, "rho": jnp.full_like(center, jnp.log(jnp.expm1(init_std))), "factor": factor}

    def particles(q: Any, key: Any, number: int) -> Any:
        one, two = jax.random.split(key)
        noise = jax.random.normal(one, (number, center.size), center.dtype) * jax.nn.softplus(q["rho"])
        return q["mean"] + noise + product(jax.random.normal(two, (number, rank), center.dtype), q["factor"].T)

    def entropy(q: Any) -> Any:
        s = jax.nn.softplus(q["rho"])
        scaled = q["factor"] / s[:, None]
        # det(diag s² + BBᵀ) = Π s² det(I + (B/s)ᵀ(B/s))
        low = jnp.linalg.slogdet(jnp.eye(rank, dtype=s.dtype) + product(scaled.T, scaled))[1] if rank else 0.0
        return jnp.log(s).sum() + 0.5 * low + 0.5 * center.size * (1 + math.log(2 * math.pi))

    def negative_elbo(q: Any, step: Any, potential: Any) -> Any:
        draws = particles(q, jax.random.fold_in(of_steps, step), num_particles)
        return jax.vmap(lambda theta: potential(unravel(theta)))(draws).mean() - entropy(q)

    adam = optax.scale_by_adam()
    batches = Minibatches(posterior, of_batches, batch_size)

    def step(carry: Any, i: Any) -> Any:
        q, state, table = carry
        potential, table = batches.potential_at(table, i)
        loss, slope = jax.value_and_grad(negative_elbo)(q, i, potential)
        moves, state = adam.update(slope, state)
        now = rate * 0.5 * (1 + jnp.cos(jnp.pi * i / num_steps))
        return (jax.tree.map(lambda a, b: (a - now * b).astype(a.dtype), q, moves), state, table), loss

    (q, _, _), losses = jax.lax.scan(step, (q, adam.init(q), batches.start), jnp.arange(num_steps))
    draws = particles(q, of_draws, num_draws)
    potentials = jax.lax.map(lambda theta: posterior.potential(unravel(theta)), draws, batch_size=16)
    spread = potentials.std(ddof=1) / num_draws**0.5 if num_draws > 1 else jnp.full_like(losses[0], jnp.nan)
    elbo = Estimate(entropy(q) - potentials.mean(), spread)
    std = unravel(jax.nn.softplus(q["rho"]))
    return jax.vmap(unravel)(draws), unravel(q["mean"]), std, q["factor"], elbo, losses
