"""Draws [chain, draw, ...] and pytrees of them."""

from typing import Any

import jax
import jax.numpy as jnp

from dlmath import check


def checked_draws(name: str, draws: Any, min_draws: int) -> Any:
    """The pytree of draws as floating arrays; chains and draws are the same in every leaf."""
    leaves = jax.tree.leaves(draws)
    if not leaves:
        raise ValueError(f"{name} must hold at least one array, got {draws!r}")
    shapes = {jnp.shape(leaf)[:2] for leaf in leaves}
    shortest = min(shapes, key=len)
    if len(shortest) < 2:
        raise ValueError(
            f"{name} must be [chain, draw, ...], got shape {shortest}; draws[None] makes one chain of them"
        )
    if len(shapes) > 1:
        raise ValueError(f"{name} must have the same chains and draws in every leaf, got {sorted(shapes)}")
    if shortest[1] < min_draws or shortest[0] < 1:
        raise ValueError(
            f"{name} must have at least {min_draws} draws a chain, got {shortest[1]} in {shortest[0]} chains"
        )
    return jax.tree.map(_floating, jax.tree.map(lambda leaf: check.array(name, leaf, finite=False), draws))


def _floating(leaf: Any) -> Any:
    leaf = jnp.asarray(leaf)
    return leaf if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf.astype(jnp.result_type(float))


def split(draws: Any) -> Any:
    """The halves of every chain as chains of their own; of an odd number of draws the middle one is left out."""
    half = draws.shape[1] // 2
    return jnp.concatenate([draws[:, :half], draws[:, draws.shape[1] - half :]], axis=0)


def pooled(draws: Any) -> Any:
    """[chain · draw, ...]."""
    return draws.reshape(-1, *draws.shape[2:])


def flattened(draws: Any) -> Any:
    """All leaves beside each other: [chain, draw, d]."""
    leaves = jax.tree.leaves(draws)
    return jnp.concatenate([leaf.reshape(*leaf.shape[:2], -1) for leaf in leaves], axis=-1)


def checked_samples(name: str, x: Any) -> Any:
    """Samples [n, d] as a floating array; n ≥ 2."""
    x = check.array(name, x, ndim=2)
    if x.shape[0] < 2:
        raise ValueError(f"{name} must have at least 2 rows, got shape {tuple(x.shape)}")
    return _floating(x)
