"""Normal equations that are accumulated over rows, for more points than fit in memory."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dlmath import check
from dlmath.double_descent._features import FeatureMap
from dlmath.double_descent._gram_solve import solve_shifted
from dlmath.linalg._arrays import columns, floating_dtype, product


class Moments(NamedTuple):
    """Sums over points, which add: `jax.tree.map(jnp.add, first, second)` are those of both sets of points.

    Attributes:
        gram: ZᵀZ, [p, p].
        moment: Zᵀy, [p, o].
        square: Σ‖y‖².
        num_samples: n, as a floating number.
    """

    gram: Float[Array, "p p"]
    moment: Float[Array, "p o"]
    square: Float[Array, ""]
    num_samples: Float[Array, ""]


def moments(features: FeatureMap | None, x: Any, y: Any, *, block_size: int = 1024) -> Moments:
    """ZᵀZ and Zᵀy, accumulated over blocks of points; what ridge regression knows of data with n ≫ p.

    Args:
        features: a `FeatureMap`, or None for x that are the features themselves.
        x: inputs [n, d].
        y: targets, [n] or [n, o].
        block_size: points whose features are held at a time.

    Returns:
        `Moments`. Sum those of parts of the data to have those of all.

    Raises:
        ValueError, TypeError: for shapes that do not fit, or NaN or infinite data.

    >>> found = moments(None, jnp.array([[1.0], [2.0]]), jnp.array([1.0, 2.0]))
    >>> print(found.gram, found.moment, found.num_samples)
    [[5.]] [[5.]] 2.0

    Cost: n p² multiply-adds; memory p² and block_size p.
    """
    if features is not None and not isinstance(features, FeatureMap):
        raise TypeError(f"features must be a FeatureMap or None, got {type(features).__name__}")
    x = check.array("x", x, ndim=2)
    y = check.array("y", y, ndim=(1, 2))
    check.same_length("x", x, "y", y)
    block_size = min(check.positive_int("block_size", block_size), len(x))
    dtype = floating_dtype(x, y)
    return _moments(features, jnp.asarray(x, dtype), columns(jnp.asarray(y, dtype)), block_size)


def ridge_from_moments(found: Moments, penalty: Any, *, capacity: int | None = None) -> Float[Array, "k p o"]:
    """Ridge coefficients along a path of penalties from accumulated moments, (ZᵀZ + nλI)⁻¹ Zᵀy.

    Args:
        found: what `moments` returned, or a sum of such.
        penalty: λ ≥ 0, [k]. At 0 the pseudo-inverse of ZᵀZ, with the cut-off of `ridge_sweep`.
        capacity: use the first so many features only; None for all.

    Returns:
        [k, capacity, o].

    Raises:
        ValueError, TypeError: for negative penalties, or a capacity that is not there.

    >>> found = moments(None, jnp.array([[1.0], [2.0]]), jnp.array([1.0, 2.0]))
    >>> print(ridge_from_moments(found, jnp.array([2.5])).round(4))            # 5 / (5 + 2 * 2.5)
    [[[0.5]]]

    Cost: one reduction of a symmetric p × p matrix, as in `ridge_sweep`.
    """
    if not isinstance(found, Moments):
        raise TypeError(f"found must be Moments, as moments returns, got {type(found).__name__}")
    penalty = check.array("penalty", penalty, ndim=1)
    ridgeless = check.is_traced(penalty) or bool((np.asarray(penalty) == 0).any())
    if not check.is_traced(penalty) and (np.asarray(penalty) < 0).any():
        raise ValueError(f"penalty must be non-negative, got {np.asarray(penalty).min():g}")
    p = (
        len(found.gram)
        if capacity is None
        else check.integer("capacity", capacity, at_least=1, at_most=len(found.gram))
    )
    dtype = found.gram.dtype
    shifts = found.num_samples * jnp.asarray(penalty, dtype)
    threshold = jnp.asarray(p * jnp.finfo(dtype).eps, dtype) if ridgeless else None
    return _solve(found.gram[:p, :p], found.moment[:p], shifts, threshold)


_solve = jax.jit(solve_shifted)


@partial(jax.jit, static_argnums=3)
def _moments(features: FeatureMap | None, x: Any, y: Any, block_size: int) -> Moments:
    def of(x: Any, y: Any) -> tuple[Any, Any]:
        z = x if features is None else features(x)
        return product(z.T, z), product(z.T, y)

    def add(total: Any, rows: Any) -> Any:
        return jax.tree.map(jnp.add, total, of(*rows)), None

    whole = len(x) // block_size * block_size
    blocks = tuple(a[:whole].reshape(-1, block_size, a.shape[1]) for a in (x, y))
    zero = jax.tree.map(lambda like: jnp.zeros(like.shape, like.dtype), jax.eval_shape(of, x[:1], y[:1]))
    total, _ = jax.lax.scan(add, zero, blocks)
    if whole < len(x):
        total, _ = add(total, (x[whole:], y[whole:]))
    return Moments(total[0], total[1], (y**2).sum(), jnp.asarray(len(x), x.dtype))
