"""Pareto smoothing of importance weights."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dlmath import check


class Smoothed(NamedTuple):
    """Importance weights with their tail smoothed.

    Attributes:
        log_weights: [n], normalised: their exponentials sum to 1.
        pareto_k: the shape of the tail of the raw weights: they have moments of order below 1/k. −inf for equal weights.
        reliable: whether k < min(1 − 1/log₁₀ n, 0.7), below which smoothed estimates and their errors can be trusted.
    """

    log_weights: Any
    pareto_k: Any
    reliable: Any


def pareto_smooth(log_weights: Any) -> Smoothed:
    """Importance weights whose largest are replaced by the quantiles of a generalised Pareto law fitted to them.

    The M = min(n/5, 3√n) largest weights exceed the next one by amounts whose law is fitted,
    F(x) = 1 − (1 + k x/σ)^{−1/k}, by Zhang and Stephens's posterior mean with k drawn towards ½ with the weight of ten
    observations. The j-th smallest of them becomes F⁻¹((j − ½)/M) beyond the threshold, at most the largest raw weight.

    Args:
        log_weights: log of the weights up to a constant, [n], n ≥ 25; −inf is a weight of 0.

    Returns:
        `Smoothed`.

    Raises:
        ValueError: for fewer than 25 weights, or NaN.

    >>> found = pareto_smooth(0.5 * jax.random.exponential(jax.random.key(0), (10000,)))       # Pareto weights of shape ½
    >>> print(f"{found.pareto_k:.1f} {found.reliable}")
    0.5 True

    Cost: O(n log n).

    References:
        Vehtari, Simpson, Gelman, Yao, Gabry (2024), Pareto smoothed importance sampling.
        Zhang, Stephens (2009), A new and efficient estimation method for the generalized Pareto distribution.
    """
    log_weights = check.array("log_weights", log_weights, ndim=1, finite=False)
    num = log_weights.shape[0]
    if num < 25:
        raise ValueError(f"log_weights must be at least 25 for a tail to be fitted, got {num}")
    if not check.is_traced(log_weights) and bool(jnp.any(jnp.isnan(log_weights) | (log_weights == jnp.inf))):
        raise ValueError("log_weights must be finite or -inf, got NaN or infinity; look at the log densities")
    return _smoothed(jnp.asarray(log_weights, jnp.result_type(float)))


@jax.jit
def _smoothed(log_weights: Any) -> Smoothed:
    num = log_weights.shape[0]
    num_tail = math.ceil(min(num / 5, 3 * math.sqrt(num)))
    log_weights = log_weights - jnp.max(log_weights)
    order = jnp.argsort(log_weights)
    threshold = jnp.exp(log_weights[order[-num_tail - 1]])
    excess = jnp.exp(log_weights[order[-num_tail:]]) - threshold
    k, sigma = _generalised_pareto(excess)
    equal = excess[-1] <= 0
    quantiles = threshold + _quantile((jnp.arange(num_tail) + 0.5) / num_tail, k, sigma)
    smoothed = log_weights.at[order[-num_tail:]].set(jnp.minimum(jnp.log(quantiles), 0.0))
    smoothed = jnp.where(equal, log_weights, smoothed)
    k = jnp.where(equal, -jnp.inf, k)
    return Smoothed(smoothed - jax.nn.logsumexp(smoothed), k, k < min(1 - 1 / math.log10(num), 0.7))


def _generalised_pareto(excess: Any) -> tuple[Any, Any]:
    """Shape k and scale σ of the law of increasing positive numbers [n], Zhang and Stephens's estimate."""
    num = excess.shape[0]
    tiny = jnp.finfo(excess.dtype).tiny
    num_grid = 30 + math.isqrt(num)
    quartile = jnp.maximum(excess[int(num / 4 + 0.5) - 1], tiny)
    largest = jnp.maximum(excess[-1], tiny)
    theta = 1 / largest + (1 - jnp.sqrt(num_grid / (jnp.arange(num_grid) + 0.5))) / (3 * quartile)
    shape = lambda t: jnp.mean(jnp.log1p(-t * excess))
    shapes = jax.vmap(shape)(theta)
    log_likelihood = num * (jnp.log(-theta / shapes) - shapes - 1)
    theta = jnp.sum(theta * jax.nn.softmax(log_likelihood))
    k = shape(theta)
    # Vehtari et al.: a prior of weight ten on k = 1/2.
    return (num * k + 10 * 0.5) / (num + 10), -k / theta


def _quantile(probability: Any, k: Any, sigma: Any) -> Any:
    log_beyond = -jnp.log1p(-probability)
    safe = jnp.where(jnp.abs(k) < 1e-6, 1.0, k)
    return sigma * jnp.where(jnp.abs(k) < 1e-6, log_beyond, jnp.expm1(safe * log_beyond) / safe)
