"""Means, standard deviations and quantiles of correlated draws, with their Monte Carlo standard errors."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import ScalarLike

from dlmath import check
from dlmath.mcmc.diagnostics._arrays import checked_draws, pooled, split
from dlmath.mcmc.diagnostics._convergence import effective, ess_of_quantile
from dlmath.typing import Estimate

NUM_BISECTIONS = 40


def mean(draws: Any) -> Estimate:
    """The mean of every quantity and its Monte Carlo standard error, sd/√S_eff, with S_eff of `ess`.

    Args:
        draws: [chain, draw, ...] or a pytree of such arrays; at least 8 draws a chain.

    Returns:
        Estimate of [...], or of pytrees of them.

    Raises:
        ValueError: for draws of other shapes, or too few.

    >>> found = mean(jax.random.normal(jax.random.key(0), (4, 2500)))
    >>> print(f"{found.standard_error:.2f}")                                              # 1/√10000
    0.01

    Cost: O(S log S) a quantity, S draws in all.
    """
    return _estimate(_mean, draws)


def standard_deviation(draws: Any) -> Estimate:
    """The standard deviation of every quantity and its Monte Carlo standard error.

    sd = √m₂, m₂ the mean of the squares of x − x̄; their standard error, over the effective sample size of the
    squares, is divided by 2 sd (delta method). Infinite fourth moments make it meaningless.

    Args:
        draws: [chain, draw, ...] or a pytree of such arrays; at least 8 draws a chain.

    Returns:
        Estimate of [...], or of pytrees of them.

    Raises:
        ValueError: for draws of other shapes, or too few.

    >>> found = standard_deviation(jax.random.normal(jax.random.key(0), (4, 2500)))
    >>> print(f"{found.standard_error:.3f}")                                              # 1/√20000
    0.007

    Cost: O(S log S) a quantity.
    """
    return _estimate(_standard_deviation, draws)


def quantile(draws: Any, probability: ScalarLike) -> Estimate:
    """A quantile of every quantity and its Monte Carlo standard error.

    The effective sample size S_eff of the indicators x ≤ q gives the law Beta(S_eff p + 1, S_eff (1 − p) + 1) of
    the probability below the estimate. Its quantiles at Φ(−1) and Φ(1) pick two order statistics of the draws: half their
    distance is the standard error. No density is estimated.

    Args:
        draws: [chain, draw, ...] or a pytree of such arrays; at least 8 draws a chain.
        probability: p, in (0, 1).

    Returns:
        Estimate of [...], or of pytrees of them.

    Raises:
        ValueError: for a probability outside (0, 1), draws of other shapes, or too few.

    >>> found = quantile(jax.random.uniform(jax.random.key(0), (4, 2500)), 0.5)
    >>> print(0.003 < found.standard_error < 0.007)                                       # ½/√10000 = 0.005
    True

    Cost: O(S log S) a quantity.

    References:
        Vehtari, Gelman, Simpson, Carpenter, Bürkner (2021), Rank-normalization, folding, and localization: an improved
        R̂ for assessing convergence of MCMC.
    """
    probability = check.real("probability", probability, above=0.0, below=1.0)
    return _estimate(lambda leaf: _quantile(leaf, probability), draws)


def _estimate(function: Any, draws: Any) -> Estimate:
    draws = checked_draws("draws", draws, 8)
    leaves, tree = jax.tree.flatten(draws)
    values, errors = zip(*(function(leaf) for leaf in leaves), strict=True)
    return Estimate(jax.tree.unflatten(tree, values), jax.tree.unflatten(tree, errors))


@jax.jit
def _mean(draws: Any) -> tuple[Any, Any]:
    flat = pooled(draws)
    return jnp.mean(flat, axis=0), jnp.std(flat, axis=0, ddof=1) / jnp.sqrt(effective(split(draws)))


@jax.jit
def _standard_deviation(draws: Any) -> tuple[Any, Any]:
    squares = (draws - jnp.mean(pooled(draws), axis=0)) ** 2
    variance, error = _mean(squares)
    return jnp.sqrt(variance), error / (2 * jnp.sqrt(variance))


@jax.jit
def _quantile(draws: Any, probability: Any) -> tuple[Any, Any]:
    flat = pooled(draws)
    size = ess_of_quantile(draws, probability)
    ordered = jnp.sort(flat, axis=0)
    a, b = size * probability + 1, size * (1 - probability) + 1
    low, high = (_beta_quantile(a, b, jax.scipy.special.ndtr(side)) for side in (-1.0, 1.0))
    rank = lambda value: jnp.clip(value, 1, flat.shape[0]).astype(jnp.int32)[None] - 1
    at = lambda index: jnp.take_along_axis(ordered, index, axis=0)[0]
    lower, upper = at(rank(jnp.floor(low * flat.shape[0]))), at(rank(jnp.ceil(high * flat.shape[0])))
    error = jnp.where(jnp.isnan(size), jnp.nan, 0.5 * (upper - lower))
    return jnp.quantile(flat, probability, axis=0), error


def _beta_quantile(a: Any, b: Any, probability: Any) -> Any:
    """The quantile of Beta(a, b), by bisection."""

    def halve(_: Any, bracket: tuple[Any, Any]) -> tuple[Any, Any]:
        low, high = bracket
        middle = 0.5 * (low + high)
        below = jax.scipy.special.betainc(a, b, middle) < probability
        return jnp.where(below, middle, low), jnp.where(below, high, middle)

    low, high = jax.lax.fori_loop(0, NUM_BISECTIONS, halve, (jnp.zeros_like(a), jnp.ones_like(a)))
    return 0.5 * (low + high)
