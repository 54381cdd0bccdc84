"""Sums over all pairs of samples, a tile of rows at a time, and the statistics made of them."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from dlmath.typing import Estimate


def over_tiles(block: Callable[[Any], Any], rows: Any, tile: int) -> Any:
    """block(tile of rows) -> [tile, ...], over all rows [n, ...]: [n, ...] in the memory of one tile."""
    num_rows = jax.tree.leaves(rows)[0].shape[0]
    tile = min(tile, num_rows)
    num_tiles = -(-num_rows // tile)
    # Rows that fill up the last tile are copies of the first, and cut off again.
    index = jnp.arange(num_tiles * tile)
    index = jnp.where(index < num_rows, index, 0).reshape(num_tiles, tile)
    found = jax.lax.map(lambda chosen: block(jax.tree.map(lambda leaf: leaf[chosen], rows)), index)
    return jax.tree.map(lambda leaf: leaf.reshape(num_tiles * tile, *leaf.shape[2:])[:num_rows], found)


def u_statistic(sums: Any, squares: Any) -> Estimate:
    """The U-statistic of a symmetric kernel u and its standard error, from Σ_{j≠i} u_ij and Σ_{j≠i} u_ij² of every row.

    By Hoeffding, Var U = 4ζ/n + 2ξ/(n(n − 1)), ζ the variance of E(u | x_i) and ξ that of what u has beyond the sum
    of its two projections. The row means m_i = θ + g_i (n − 2)/(n − 1) + ... have the variance ζ + ξ/(n − 1), to first
    order: four times it over n counts ξ twice. The degenerate case, ζ = 0, is the floor.
    """
    num = sums.shape[0]
    means = sums / (num - 1)
    value = jnp.mean(means)
    spread = jnp.var(means, ddof=1)
    beyond = jnp.maximum(jnp.mean(squares) / (num - 1) - value**2 - 2 * spread, 0.0)
    floor = 2 * beyond / (num * (num - 1))
    return Estimate(value, jnp.sqrt(jnp.maximum(4 * spread / num - floor, floor)))
