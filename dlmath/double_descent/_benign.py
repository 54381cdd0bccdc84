"""Effective ranks of a covariance, and what they say about interpolation of noisy labels."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from dlmath import check
from dlmath.double_descent._arguments import floating, in_range, spectrum


class EffectiveRanks(NamedTuple):
    """r_k and R_k of the tails λ_{k+1} ≥ λ_{k+2} ≥ … of a spectrum, k = 0 … p − 1; 1 ≤ r_k ≤ R_k ≤ r_k² and R_k ≤ p − k.

    Attributes:
        r: Σ_{i>k} λᵢ / λ_{k+1}.
        R: (Σ_{i>k} λᵢ)² / Σ_{i>k} λᵢ².
    """

    r: Float[Array, " p"]
    R: Float[Array, " p"]


class BenignBound(NamedTuple):
    """Where a spectrum splits for n samples, and the rate at which noise is paid for.

    Attributes:
        split: k*, the first k with r_k ≥ bn; p if there is none.
        learned: k*/n, the noise fitted by the leading directions.
        hidden: n/R_k*, the noise that is spread over the tail; infinite if there is no k*.
        rate: their sum.
    """

    split: Int[Array, "*num_samples"]
    learned: Float[Array, "*num_samples"]
    hidden: Float[Array, "*num_samples"]
    rate: Float[Array, "*num_samples"]


def effective_ranks(eigenvalues: Any) -> EffectiveRanks:
    """Effective ranks r_k = Σ_{i>k} λᵢ/λ_{k+1} and R_k = (Σ_{i>k} λᵢ)²/Σ_{i>k} λᵢ² of a covariance.

    Args:
        eigenvalues: λᵢ ≥ 0, [p], in descending order.

    Returns:
        EffectiveRanks; 0 for a tail of zeros.

    Raises:
        ValueError: eigenvalues that are negative, all zero or not in descending order.

    References:
        Bartlett, Long, Lugosi, Tsigler (2020), Benign overfitting in linear regression, 1906.11300, definition 3.

    >>> ranks = effective_ranks(jnp.array([4.0, 1.0, 1.0]))
    >>> print(ranks.r, ranks.R)                                   # 6/4, 2, 1 and 36/18, 2, 1
    [1.5 2.  1. ] [2. 2. 1.]
    """
    (lam,) = floating(_descending(eigenvalues))
    return _effective_ranks(lam)


@jax.jit
def _effective_ranks(lam: Any) -> EffectiveRanks:
    tail = lambda values: jnp.cumsum(values[::-1])[::-1]
    positive = lam > 0
    safe, scaled = jnp.where(positive, lam, 1), lam / lam[0]  # scaled: squares must not underflow
    squares = tail(scaled**2)
    ratio = tail(scaled) ** 2 / jnp.where(squares > 0, squares, 1)
    return EffectiveRanks(jnp.where(positive, tail(lam) / safe, 0), jnp.where(positive & (squares > 0), ratio, 0))


def benign_bound(eigenvalues: Any, num_samples: Any, *, threshold: Any = 1.0) -> BenignBound:
    """The rate k*/n + n/R_k* of the excess risk that interpolated noise costs the minimum-norm estimator.

    With k* = min{k : r_k ≥ bn}, the risk in excess is between c σ² times this rate and C σ² times it plus a term in β,
    as long as k* < n/C, with constants c, C and b that the theorem does not name: it says how the risk scales, not how large
    it is. `ridge_risk(...).variance` at λ = 0 is the value itself, up to O(1/n).

    Args:
        eigenvalues: λᵢ ≥ 0, [p], in descending order.
        num_samples: n > 0.
        threshold: b > 0.

    Returns:
        BenignBound. Overfitting is benign along a sequence of spectra if its rate tends to 0.

    Raises:
        ValueError: an argument out of its range.

    References:
        Bartlett, Long, Lugosi, Tsigler (2020), 1906.11300, theorem 4; Tsigler, Bartlett (2023), Benign overfitting in
        ridge regression, 2009.14286.

    >>> bound = benign_bound(jnp.concatenate([jnp.ones(5) * 100, jnp.ones(1000)]), 50)       # 5 spikes, a flat tail
    >>> print(f"{bound.split} {bound.learned:.2f} {bound.hidden:.2f}")
    5 0.10 0.05
    """
    lam = _descending(eigenvalues)
    n, b = in_range("num_samples", num_samples, above=0), in_range("threshold", threshold, above=0)
    lam, n, b = floating(lam, n, b)
    if b.ndim:
        raise ValueError(f"threshold must be one number, got shape {b.shape}; vmap over it")
    ranks = _effective_ranks(lam)
    enough = ranks.r >= b * n[..., None]
    exists = enough.any(-1)
    first = jnp.argmax(enough, -1)
    split = jnp.where(exists, first, len(lam))
    hidden = jnp.where(exists, n / jnp.where(exists, ranks.R[first], 1), jnp.inf)
    return BenignBound(split, split / n, hidden, split / n + hidden)


def _descending(eigenvalues: Any) -> Any:
    lam = spectrum("eigenvalues", eigenvalues)
    if not check.is_traced(lam) and np.max(np.diff(lam), initial=0) > 0:
        raise ValueError("eigenvalues must be in descending order, which jnp.sort(eigenvalues)[::-1] gives")
    return lam
