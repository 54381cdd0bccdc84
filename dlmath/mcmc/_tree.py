"""Arithmetic on pytrees of parameters, leaf by leaf and in each leaf's own dtype."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def normal_like(key: Any, tree: Any) -> Any:
    """Independent standard normal numbers, a tree of the same shapes and dtypes."""
    leaves, structure = jax.tree.flatten(tree)
    keys = jax.random.split(key, len(leaves))
    return jax.tree.unflatten(
        structure, [jax.random.normal(k, leaf.shape, leaf.dtype) for k, leaf in zip(keys, leaves, strict=True)]
    )


def combine(function: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """`function` of the leaves of several trees, in the dtypes of the first one's."""
    return jax.tree.map(lambda x, *rest: jnp.asarray(function(x, *rest), x.dtype), tree, *others)


def dot(a: Any, b: Any) -> Any:
    """Σ aᵢbᵢ over all entries, in float32 at least."""
    products = jax.tree.map(
        lambda x, y: jnp.sum(x * y, dtype=jnp.promote_types(jnp.result_type(x, y), jnp.float32)), a, b
    )
    return sum(jax.tree.leaves(products))


def select(condition: Any, a: Any, b: Any) -> Any:
    """`a` where a scalar condition holds, else `b`."""
    return jax.tree.map(lambda x, y: jnp.where(condition, x, y), a, b)


def size(tree: Any) -> int:
    """Number of entries."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def names(tree: Any) -> list[str]:
    """What to call the leaves in a message: their paths, such as "layers.0.weight"."""
    paths = [path for path, _ in jax.tree_util.tree_flatten_with_path(tree)[0]]
    return [jax.tree_util.keystr(path, simple=True, separator=".") for path in paths]
