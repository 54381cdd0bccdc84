"""What every inference returns: draws of the parameters, and how far they can be trusted."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dlmath.bnn._posterior import Posterior
from dlmath.bnn.priors import leaf_paths
from dlmath.typing import Key, Params


class Samples(NamedTuple):
    """Draws of θ, by chain.

    Attributes:
        params: θ, every leaf with leading axes [chain, draw]. What are no chains are as many draws of one chain, or, where
            independent runs make one draw each (an ensemble), as many chains of one draw.
        log_joint: log p(θ) + log p(y | x, θ)/T_l of each draw, [chain, draw].
        stats: name -> array [chain, draw, ...] or [chain, ...]; what there is depends on the inference.
    """

    params: Params
    log_joint: Float[Array, "chain draw"]
    stats: dict[str, Any]


class Diagnostics(NamedTuple):
    """Convergence of each entry of θ over chains, as trees like one draw.

    Attributes:
        rhat: split R-hat, which is 1 at convergence.
        ess: effective number of draws.
        mcse: standard error of the posterior mean, sd/√ess.
    """

    rhat: Params
    ess: Params
    mcse: Params


def diagnose(samples: Samples) -> Diagnostics:
    """Split R-hat, effective sample size and Monte Carlo standard error of every parameter.

    Symmetries of a network (permuted or reflected units) make chains disagree here whose functions agree: judge networks
    by `metrics.function_space_rhat` on predictions, and linear models by this.

    Args:
        samples: with at least 4 draws a chain.

    Raises:
        ValueError: for fewer draws.

    References: Gelman et al. (2013), Bayesian Data Analysis, section 11.4 (numpyro.diagnostics).
    """
    from numpyro.diagnostics import effective_sample_size, split_gelman_rubin

    num_draws = samples.log_joint.shape[1]
    if num_draws < 4:
        raise ValueError(f"samples must have at least 4 draws a chain, got {num_draws}")
    host = jax.tree.map(np.asarray, samples.params)
    ess = jax.tree.map(effective_sample_size, host)
    spread = jax.tree.map(lambda leaf: leaf.std((0, 1), ddof=1), host)
    mcse = jax.tree.map(lambda sd, number: sd / np.sqrt(number), spread, ess)
    return Diagnostics(jax.tree.map(split_gelman_rubin, host), ess, mcse)


def flat_draws(samples: Samples) -> Params:
    """θ with one leading axis, chain after chain."""
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), samples.params)


def samples_of(posterior: Posterior, params: Params, stats: dict[str, Any] | None = None) -> Samples:
    """Samples from θ with leading axes [chain, draw], their log joint densities computed."""
    return Samples(params, _log_joints(posterior, params), stats or {})


@jax.jit
def _log_joints(posterior: Posterior, params: Params) -> Any:
    # Chain by chain, so that memory is that of the draws of one.
    return jax.lax.map(lambda draws: jax.lax.map(posterior.log_joint, draws, batch_size=16), params)


def concatenate(samples: Samples, other: Samples) -> Samples:
    """The chains of both, those of `other` after those of `samples`; stats that both have are kept.

    Raises:
        ValueError: for trees of other structures or shapes.
    """
    one, two = (dict(zip(leaf_paths(s.params), (x.shape[1:] for x in jax.tree.leaves(s.params)), strict=True))
                for s in (samples, other))  # fmt: skip
    if one != two:
        raise ValueError(f"other must have draws like samples, {one}, got {two}")
    join = lambda a, b: jnp.concatenate([a, b])
    stats = {name: join(value, other.stats[name]) for name, value in samples.stats.items() if name in other.stats}
    return Samples(jax.tree.map(join, samples.params, other.params), join(samples.log_joint, other.log_joint), stats)


def keys_for(key: Key, number: int) -> Any:
    """A key for each chain, member or particle; that of one does not depend on their number."""
    return jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(number))
