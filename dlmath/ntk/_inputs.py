"""Checks of what kernels are asked for."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dlmath import check
from dlmath.linalg._arguments import checked_params, static
from dlmath.ntk._passes import Network
from dlmath.ntk._routes import Sizes

OUTPUTS = ("full", "trace", "diagonal")
METHODS = ("auto", "structured", "jacobian", "vector_products")


def checked(apply: Any, params: Any, x1: Any, x2: Any) -> tuple[Any, Any, Any, Any]:
    """`apply` as a pytree, parameters and inputs as JAX arrays."""
    apply, params = static("apply", apply), checked_params(params)
    return apply, params, *checked_pair(apply, params, x1, x2)


def checked_pair(apply: Any, params: Any, x1: Any, x2: Any) -> tuple[Any, Any]:
    """Inputs as JAX arrays that go together, and with `apply`."""
    x1 = rows("x1", x1)
    check_outputs("apply", apply, params, x1)
    if x2 is None:
        return x1, None
    x2 = rows("x2", x2)
    check_same_features(x1, x2)
    promote = lambda a, b: jax.tree.map(lambda p, q: p.astype(jnp.promote_types(p.dtype, q.dtype)), a, b)
    return promote(x1, x2), promote(x2, x1)


def options(outputs: str, method: str, batch_size: int | None) -> dict[str, Any]:
    """Checked options."""
    check.one_of("outputs", outputs, OUTPUTS)
    check.one_of("method", method, METHODS)
    if batch_size is not None:
        batch_size = check.positive_int("batch_size", batch_size)
    return {"outputs": outputs, "method": method, "batch_size": batch_size}


def rows(argument: str, x: Any) -> Any:
    """Inputs [n, ...] as JAX arrays, checked."""
    return jax.tree.map(jnp.asarray, leading(argument, x))


def leading(argument: str, x: Any) -> Any:
    """Inputs [n, ...] where they are, checked."""
    leaves, treedef = jax.tree.flatten(x)
    leaves = [check.array(argument, leaf) for leaf in leaves]
    shapes = [tuple(np.shape(leaf)) for leaf in leaves]
    if not leaves or () in shapes or len({shape[0] for shape in shapes}) > 1:
        raise ValueError(
            f"{argument} must have a leading batch axis, the same for all its arrays, got "
            f"{', '.join(map(str, shapes)) or 'no arrays'}"
        )
    return jax.tree.unflatten(treedef, leaves)


def check_same_features(x1: Any, x2: Any) -> None:
    """ValueError unless examples of two sets have the same structure and shapes."""
    if _features(x1) != _features(x2):
        raise ValueError(f"x1 and x2 must have the same features, got {_words(x1)} and {_words(x2)}")


def check_outputs(argument: str, apply: Any, params: Any, x: Any) -> Any:
    """The abstract outputs; ValueError unless they are one floating array with a row for each example."""
    found = jax.eval_shape(apply, params, x)
    num_rows = jax.tree.leaves(x)[0].shape[0]
    shape, dtype = getattr(found, "shape", None), getattr(found, "dtype", None)
    if shape is None or dtype is None or not jnp.issubdtype(dtype, jnp.floating) or shape[:1] != (num_rows,):
        raise ValueError(
            f"{argument} must return one floating array with a row for each of the {num_rows} examples, got {_words(found)}"
        )
    if not math.prod(shape[1:]):
        raise ValueError(f"{argument} must return at least one output for each example, got {_words(found)}")
    return found


def sizes(net: Network, x1: Any, x2: Any, outputs: str) -> Sizes:
    """Sizes of the kernel between two sets of examples."""
    n1 = jax.tree.leaves(x1)[0].shape[0]
    n2 = n1 if x2 is None else jax.tree.leaves(x2)[0].shape[0]
    itemsize = max(leaf.dtype.itemsize for leaf in net.params)
    return Sizes(n1, n2, net.num_outputs, outputs, itemsize, x2 is None)


def _features(x: Any) -> Any:
    return jax.tree.structure(x), [leaf.shape[1:] for leaf in jax.tree.leaves(x)]


def _words(tree: Any) -> str:
    return str(jax.tree.map(lambda leaf: f"{getattr(leaf, 'dtype', type(leaf).__name__)}{list(jnp.shape(leaf))}", tree))
