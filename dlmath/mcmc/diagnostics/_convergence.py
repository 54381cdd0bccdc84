"""R-hat and effective sample sizes by ranks."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from dlmath.mcmc.diagnostics._arrays import checked_draws, pooled, split


def rhat(draws: Any) -> Any:
    """The rank-normalised split R̂ of every quantity: the larger of that of location and that of scale.

    R̂ = √(((N − 1)/N W + B/N) / W), W the mean variance within and B/N the variance between the means of half chains of N
    draws. Location: of the normal scores of x; scale: of those of |x − median x|. It works without moments, and
    sees chains that differ in spread alone. Above 1.01 chains have not mixed, says the paper.

    Args:
        draws: [chain, draw, ...] or a pytree of such arrays; at least 4 draws a chain.

    Returns:
        [...] for every leaf; NaN where draws are constant or not finite.

    Raises:
        ValueError: for draws of other shapes, or too few.

    >>> draws = jax.random.normal(jax.random.key(0), (4, 1000))
    >>> print(rhat(draws) < 1.01, rhat(draws.at[0].multiply(3.0)) > 1.01)        # the second: a chain of another spread
    True True

    Cost: O(S log S) a quantity, S draws in all.

    References:
        Vehtari, Gelman, Simpson, Carpenter, Bürkner (2021), Rank-normalization, folding, and localization: an improved
        R̂ for assessing convergence of MCMC.
    """
    return jax.tree.map(_rhat, checked_draws("draws", draws, 4))


def ess(draws: Any) -> Any:
    """The effective sample size for the mean of every quantity: S over the integrated autocorrelation time.

    S_eff = S / τ, τ = 1 + 2 Σ_t ρ_t over half chains, ρ_t from the autocovariances within and the variance between chains;
    the sum is cut by Geyer's initial positive and monotone sequence. At most S log₁₀ S.

    Args:
        draws: [chain, draw, ...] or a pytree of such arrays; at least 8 draws a chain.

    Returns:
        [...] for every leaf; NaN where draws are constant or not finite.

    Raises:
        ValueError: for draws of other shapes, or too few.

    >>> print(f"{ess(jax.random.normal(jax.random.key(0), (4, 1000))) / 4000:.1f}")
    1.0

    Cost: O(S log S) a quantity.

    References:
        Vehtari, Gelman, Simpson, Carpenter, Bürkner (2021), Rank-normalization, folding, and localization: an improved
        R̂ for assessing convergence of MCMC.
        Geyer (1992), Practical Markov chain Monte Carlo.
    """
    return jax.tree.map(_ess, checked_draws("draws", draws, 8))


def bulk_ess(draws: Any) -> Any:
    """The effective sample size of the normal scores of every quantity, for the middle of its distribution.

    It is defined where the mean is not, and does not change with monotone maps of x.

    Args:
        draws: [chain, draw, ...] or a pytree of such arrays; at least 8 draws a chain.

    Returns:
        [...] for every leaf; NaN where draws are constant or not finite.

    Raises:
        ValueError: for draws of other shapes, or too few.

    >>> draws = jax.random.normal(jax.random.key(0), (4, 100))
    >>> bool(jnp.isclose(bulk_ess(draws), bulk_ess(jnp.exp(draws)), rtol=1e-3))
    True

    Cost: O(S log S) a quantity.

    References:
        Vehtari, Gelman, Simpson, Carpenter, Bürkner (2021), Rank-normalization, folding, and localization: an improved
        R̂ for assessing convergence of MCMC.
    """
    return jax.tree.map(_bulk_ess, checked_draws("draws", draws, 8))


def tail_ess(draws: Any) -> Any:
    """The smaller effective sample size of the indicators x ≤ q, q the quantiles of 5 % and 95 % of every quantity.

    Args:
        draws: [chain, draw, ...] or a pytree of such arrays; at least 8 draws a chain.

    Returns:
        [...] for every leaf; NaN where draws are constant or not finite.

    Raises:
        ValueError: for draws of other shapes, or too few.

    >>> print(f"{tail_ess(jax.random.normal(jax.random.key(0), (4, 1000))) > 3000}")
    True

    Cost: O(S log S) a quantity.

    References:
        Vehtari, Gelman, Simpson, Carpenter, Bürkner (2021), Rank-normalization, folding, and localization: an improved
        R̂ for assessing convergence of MCMC.
    """
    return jax.tree.map(_tail_ess, checked_draws("draws", draws, 8))


def rank_normalise(draws: Any) -> Any:
    """The normal scores z = Φ⁻¹((r − 3/8)/(S + 1/4)) of every quantity, r its ranks among all S draws, ties averaged.

    Args:
        draws: [chain, draw, ...] or a pytree of such arrays.

    Returns:
        The same shapes; NaN for NaN.

    Raises:
        ValueError: for draws of other shapes.

    >>> print(rank_normalise(jnp.array([[10.0, 1000.0, 100.0]])).round(3))
    [[-0.869  0.869  0.   ]]

    References:
        Blom (1958), Statistical estimates and transformed beta-variables.
    """
    return jax.tree.map(_normal_scores, checked_draws("draws", draws, 1))


@jax.jit
def _normal_scores(draws: Any) -> Any:
    flat = pooled(draws).reshape(draws.shape[0] * draws.shape[1], -1)

    def ranks(column: Any) -> Any:
        ordered = jnp.sort(column)
        below = jnp.searchsorted(ordered, column, side="left")
        upto = jnp.searchsorted(ordered, column, side="right")
        return jnp.where(jnp.isnan(column), jnp.nan, 0.5 * (below + upto + 1))

    scores = jax.scipy.special.ndtri((jax.vmap(ranks, 1, 1)(flat) - 0.375) / (flat.shape[0] + 0.25))
    return scores.reshape(draws.shape).astype(draws.dtype)


@jax.jit
def _rhat(draws: Any) -> Any:
    folded = jnp.abs(draws - jnp.median(pooled(draws), axis=0))
    # Of two equally far values |x − median| is constant, and says nothing.
    return jnp.fmax(_plain_rhat(split(_normal_scores(draws))), _plain_rhat(split(_normal_scores(folded))))


def _plain_rhat(chains: Any) -> Any:
    num_draws = chains.shape[1]
    within = jnp.mean(jnp.var(chains, axis=1, ddof=1), axis=0)
    between = jnp.var(jnp.mean(chains, axis=1), axis=0, ddof=1)
    return jnp.where(_vary(chains), jnp.sqrt((num_draws - 1) / num_draws + between / within), jnp.nan)


def _vary(chains: Any) -> Any:
    """Whether draws differ: by rounding, variances of constants are not 0."""
    return jnp.max(chains, axis=(0, 1)) > jnp.min(chains, axis=(0, 1))


@jax.jit
def _ess(draws: Any) -> Any:
    return effective(split(draws))


@jax.jit
def _bulk_ess(draws: Any) -> Any:
    return effective(split(_normal_scores(draws)))


@jax.jit
def _tail_ess(draws: Any) -> Any:
    return jnp.minimum(ess_of_quantile(draws, 0.05), ess_of_quantile(draws, 0.95))


def effective(chains: Any) -> Any:
    """The effective sample size for the mean of chains that are already split."""
    num_chains, num_draws = chains.shape[:2]
    within, var_plus = _variances(chains)
    covariance = jnp.mean(_autocovariance(chains), axis=0)  # [lag, ...]
    correlation = 1 - (within - covariance) / var_plus
    correlation = correlation.at[0].set(1.0)
    num_pairs = max((num_draws - 4) // 2, 1)  # the last lags are noise
    pairs = correlation[: 2 * num_pairs : 2] + correlation[1 : 2 * num_pairs : 2]
    # Initial positive sequence: up to the first pair that is not positive; then made monotone.
    positive = jnp.cumprod(pairs > 0, axis=0).astype(bool)
    monotone = jax.lax.cummin(jnp.where(positive, pairs, 0.0), axis=0)
    length = jnp.sum(positive, axis=0)
    # The first even lag that was cut off still counts once if it is positive: it lowers the variance for antithetic chains.
    leftover = jnp.take_along_axis(correlation[: 2 * num_pairs + 1 : 2], length[None], axis=0)[0]
    time = -1 + 2 * jnp.sum(monotone, axis=0) + jnp.maximum(leftover, 0.0)
    total = num_chains * num_draws
    time = jnp.maximum(time, 1 / math.log10(total))
    return jnp.where(_vary(chains), total / time, jnp.nan)


def ess_of_quantile(draws: Any, probability: Any) -> Any:
    below = draws <= jnp.quantile(pooled(draws), probability, axis=0)
    return effective(split(below.astype(draws.dtype)))


def _variances(chains: Any) -> tuple[Any, Any]:
    """W and var⁺ = (N − 1)/N W + B/N."""
    num_chains, num_draws = chains.shape[:2]
    within = jnp.mean(jnp.var(chains, axis=1, ddof=1), axis=0)
    var_plus = within * (num_draws - 1) / num_draws
    if num_chains > 1:
        var_plus = var_plus + jnp.var(jnp.mean(chains, axis=1), axis=0, ddof=1)
    return within, var_plus


def _autocovariance(chains: Any) -> Any:
    """Σ_n (x_n − x̄)(x_{n+t} − x̄) / N of every chain, [chain, lag, ...]."""
    num_draws = chains.shape[1]
    length = 2 ** math.ceil(math.log2(2 * num_draws))  # zeros keep the ends from meeting
    centred = chains - jnp.mean(chains, axis=1, keepdims=True)
    spectrum = jnp.fft.rfft(centred, n=length, axis=1)
    power = jnp.real(spectrum * jnp.conj(spectrum))
    return jnp.fft.irfft(power, n=length, axis=1)[:, :num_draws] / num_draws
