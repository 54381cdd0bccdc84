"""Random vectors with identity covariance, averages over them, and Student's t intervals."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from scipy.special import stdtrit

from dlmath import check
from dlmath.linalg._operator import Operator
from dlmath.typing import Estimate

PROBES = ("rademacher", "gaussian")


def interval(estimate: Estimate, degrees_of_freedom: int, *, level: float = 0.95) -> tuple[Any, Any]:
    """Student's t interval of an estimate, entry by entry.

    value ± t_{ν, (1 + level)/2} · standard error, with ν degrees of freedom.

    Args:
        estimate: value and standard error, arrays or pytrees of equal structure.
        degrees_of_freedom: ν ≥ 1; the number of independent probes behind the standard error, less one.
        level: probability that the interval covers the truth, in (0, 1), exact for normal samples.

    Returns:
        (low, high), each of the structure of `estimate.value`.

    Raises:
        ValueError: for fewer than one degree of freedom, or a level out of range.

    >>> low, high = interval(Estimate(jnp.array(1.0), jnp.array(0.1)), 4)
    >>> print(f"{low:.4f} {high:.4f}")                                # 1 ± 2.7764 * 0.1
    0.7224 1.2776

    Cost: none.

    References:
        Student (1908), The probable error of a mean.
    """
    if not isinstance(estimate, tuple) or not hasattr(estimate, "standard_error"):
        raise TypeError(f"estimate must be an Estimate(value, standard_error), got {type(estimate).__name__}")
    degrees_of_freedom = check.positive_int("degrees_of_freedom", degrees_of_freedom)
    width = t_quantile(degrees_of_freedom, check.real("level", level, above=0.0, below=1.0))
    low = jax.tree.map(lambda v, s: v - width * s, estimate.value, estimate.standard_error)
    high = jax.tree.map(lambda v, s: v + width * s, estimate.value, estimate.standard_error)
    return low, high


def t_quantile(degrees_of_freedom: int, level: float) -> float:
    """The half-width of a two-sided t interval, in standard errors."""
    return float(stdtrit(degrees_of_freedom, (1 + level) / 2))


def draw(key: Any, op: Operator, probes: str) -> Float[Array, " n"]:
    """One raveled probe z with E zzᵀ = I."""
    if probes == "rademacher":
        return jax.random.rademacher(key, (op.size,), op.dtype)
    return jax.random.normal(key, (op.size,), op.dtype)


def keys_of(key: Any, num_probes: int) -> Any:
    """One key a probe; the first ones stay the same when there are more."""
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(num_probes))


def blocks(f: Callable[[Any], Any], xs: Any, block: int) -> Any:
    """Values of f over the leading axis, `block` entries at a time: the memory of a block."""
    return jax.lax.map(f, xs) if block == 1 else jax.lax.map(f, xs, batch_size=block)


def mean_and_error(samples: Float[Array, "m ..."]) -> Estimate:
    """Mean over the leading axis and its standard error."""
    return Estimate(samples.mean(0), samples.std(0, ddof=1) / math.sqrt(samples.shape[0]))


def dot(a: Any, b: Any) -> Any:
    """⟨a, b⟩ at full precision, accumulated in float32 at least."""
    wide = jnp.promote_types(a.dtype, jnp.float32)
    return jnp.vdot(a.astype(wide), b.astype(wide), precision=jax.lax.Precision.HIGHEST)


def checked_block(block: Any) -> int:
    """The number of probes at a time."""
    return check.positive_int("block", block)


def refuse_nan(found: Any, what: str = "products with op") -> None:
    """Raises ValueError if a concrete result is not finite; traced results keep their NaN."""
    leaves = jax.tree.leaves(found)
    if any(check.is_traced(leaf) for leaf in leaves):
        return
    if not all(bool(jnp.isfinite(leaf).all()) for leaf in leaves):
        raise ValueError(
            f"op must have finite products with vectors, but {what} gave NaN or infinity; look at its arrays"
            " (parameters that diverged, data with NaN), or compute in float64"
        )
