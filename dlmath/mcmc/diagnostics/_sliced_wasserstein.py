"""The sliced Wasserstein distance: optimal transport on random lines."""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dlmath import check
from dlmath.mcmc.diagnostics._discrepancy import checked_pair
from dlmath.typing import Estimate


def sliced_wasserstein(
    key: Any, x: Any, y: Any, *, num_projections: int = 100, order: int = 2, block: int = 8
) -> Estimate:
    """The sliced Wasserstein distance between two sets of samples, with the standard error of its random directions.

    SW_p = (E_θ W_p(θ·x, θ·y)^p)^{1/p}, θ uniform on the sphere. On a line the optimal transport is the monotone one:
    W_p^p = ∫₀¹ |F⁻¹(q) − G⁻¹(q)|^p dq, F⁻¹ and G⁻¹ the quantile functions of the two sets, exact also for unequal sizes.

    The error is that of the directions for these samples (by the delta method). The samples' own finite number shifts the
    distance of equal laws from 0 to O(n^{−1/2}): compare with that of two independent sets of the reference.

    Args:
        key: typed key.
        x: [n, d].
        y: [m, d].
        num_projections: number of directions, at least 2; in one dimension each is the same.
        order: p, at least 1.
        block: directions at a time; memory O(block · (n + m)).

    Returns:
        Estimate of scalars.

    Raises:
        ValueError: for samples of different dimensions, or sizes out of range.

    >>> x = jax.random.normal(jax.random.key(0), (50, 1))
    >>> print(f"{sliced_wasserstein(jax.random.key(1), x, x + 3.0, num_projections=2).value:.3f}")
    3.000

    Cost: num_projections sorts, O((n + m)(d + log(n + m))) each.

    References:
        Bonneel, Rabin, Peyré, Pfister (2015), Sliced and Radon Wasserstein barycenters of measures.
    """
    check.key("key", key)
    x, y = checked_pair(x, y)
    num_projections = check.integer("num_projections", num_projections, at_least=2)
    order, block = check.positive_int("order", order), check.positive_int("block", block)
    return _sliced(key, x, y, num_projections, order, block)


@partial(jax.jit, static_argnames=("num_projections", "order", "block"))
def _sliced(key: Any, x: Any, y: Any, num_projections: int, order: int, block: int) -> Estimate:
    # Both quantile functions are constant between neighbouring levels of the union of k/n and l/m, exact as integers.
    num_x, num_y = x.shape[0], y.shape[0]
    levels = np.union1d(np.arange(num_x + 1) * num_y, np.arange(num_y + 1) * num_x)
    of_x, of_y = levels[:-1] // num_y, levels[:-1] // num_x
    weights = jnp.asarray(np.diff(levels) / (num_x * num_y), x.dtype)
    directions = jax.random.normal(key, (num_projections, x.shape[1]), x.dtype)
    directions = directions / jnp.linalg.norm(directions, axis=1, keepdims=True)

    def transport(direction: Any) -> Any:
        project = lambda points: jnp.sort(jnp.dot(points, direction, precision=jax.lax.Precision.HIGHEST))
        return jnp.sum(weights * jnp.abs(project(x)[of_x] - project(y)[of_y]) ** order)

    costs = jax.lax.map(transport, directions, batch_size=block)
    cost, error = jnp.mean(costs), jnp.std(costs, ddof=1) / math.sqrt(num_projections)
    value = cost ** (1 / order)
    return Estimate(value, jnp.where(cost > 0, error * value / (order * cost), 0.0))
