"""Importance sampling with error bars and a diagnosis of its weights."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dlmath import check
from dlmath.mcmc._pareto import pareto_smooth
from dlmath.typing import Estimate


class Importance(NamedTuple):
    """What importance sampling found.

    Attributes:
        mean: Estimate of the target's mean of the quantities, self-normalised.
        log_normalizer: Estimate of log ∫ exp(log_target).
        effective_sample_size: 1/Σ w̄², w̄ the normalised weights.
        pareto_k: the shape of the tail of the raw weights, see `pareto_smooth`.
        reliable: whether it is small enough for estimates and errors to be trusted.
        samples: from the proposal, [n, ...].
        log_weights: log w̄, [n].
    """

    mean: Estimate
    log_normalizer: Estimate
    effective_sample_size: Any
    pareto_k: Any
    reliable: Any
    samples: Any
    log_weights: Any


def importance(
    key: Any,
    log_target: Callable[[Any], Any],
    proposal: Any,
    *,
    num_samples: int,
    quantities: Callable[[Any], Any] = lambda x: x,
    smooth: bool = False,
) -> Importance:
    """Means under a density known up to its normaliser, from weighted draws of another: w = exp(log_target) / q.

    Mean Σ w̄_i f(x_i), w̄ = w/Σw, with the error (Σ w̄_i² (f(x_i) − mean)²)^½ (delta method). The normaliser is the mean of w;
    the error of its logarithm is sd(w)/(mean(w) √n). Errors are right only if the weights have a variance: `pareto_k` < ½,
    or, smoothed, `reliable`.

    Args:
        key: typed key.
        log_target: x -> log of the target's density up to a constant.
        proposal: what has `sample(key, n)` and `log_density(x)`, normalised: a `targets.Target`, for example.
        num_samples: n, at least 25.
        quantities: f: x -> array; the position itself unless given.
        smooth: whether the largest weights are smoothed by `pareto_smooth`: less variance, a little bias.

    Returns:
        `Importance`.

    Raises:
        TypeError: for a proposal that cannot be drawn from.
        ValueError: for too few samples, or log densities that are NaN (outside `jit`).

    >>> from dlmath.mcmc import targets
    >>> wide, narrow = targets.gaussian([0.0], 4.0), targets.gaussian([1.0], 1.0)
    >>> found = importance(jax.random.key(0), lambda x: narrow.log_density(x) + 3.0, wide, num_samples=10000)
    >>> print(found.mean.value.round(1), found.log_normalizer.value.round(1), found.reliable)
    [1.] 3.0 True

    Cost: n evaluations of both densities, O(n log n) for the weights.

    References:
        Owen (2013), Monte Carlo theory, methods and examples, chapter 9.
    """
    check.key("key", key)
    check.callable_("log_target", log_target)
    check.callable_("quantities", quantities)
    num_samples = check.integer("num_samples", num_samples, at_least=25)
    for part in ("sample", "log_density"):
        if not callable(getattr(proposal, part, None)):
            raise TypeError(
                f"proposal must have the functions sample(key, n) and log_density(x), got {type(proposal).__name__}"
                f" without {part}; targets.gaussian makes one"
            )
    samples = proposal.sample(key, num_samples)
    log_ratios = jax.vmap(log_target)(samples) - jax.vmap(proposal.log_density)(samples)
    if not check.is_traced(log_ratios) and not bool(jnp.all(log_ratios < jnp.inf)):
        raise ValueError("log_target must be less than inf and not NaN, got other values at draws of proposal")
    smoothed = pareto_smooth(log_ratios)
    total = jax.nn.logsumexp(log_ratios)
    log_weights = smoothed.log_weights if smooth else log_ratios - total
    weights = jnp.exp(log_weights)
    values = jax.vmap(quantities)(samples)
    mean = jnp.tensordot(weights, values, axes=1, precision=jax.lax.Precision.HIGHEST)
    squares = jnp.tensordot(weights**2, (values - mean) ** 2, axes=1, precision=jax.lax.Precision.HIGHEST)
    # Smoothing scales the sum of the weights; the normaliser keeps their raw, unbiased mean.
    relative = jnp.std(jnp.exp(log_ratios - total), ddof=1) * math.sqrt(num_samples)
    return Importance(
        mean=Estimate(mean, jnp.sqrt(squares)),
        log_normalizer=Estimate(total - math.log(num_samples), relative),
        effective_sample_size=1 / jnp.sum(weights**2),
        pareto_k=smoothed.pareto_k,
        reliable=smoothed.reliable,
        samples=samples,
        log_weights=log_weights,
    )
