"""Squared Euclidean distances without catastrophic cancellation where it matters."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dlmath import check

# Up to this many features, differences are formed before squaring, which is exact to rounding and about as fast
# as a matrix product.
MAX_DIRECT_FEATURES = 16


def squared_distances(x1: Any, x2: Any = None) -> Float[Array, "n1 n2"]:
    """Squared Euclidean distances D[i, j] = ‖x1[i] − x2[j]‖².

    With at most 16 features the differences are squared and summed. With more, D = ‖u‖² + ‖v‖² − 2 u·v after
    both sets are shifted by the mean of x1, at full matrix precision and clipped at 0: the absolute error is a few
    units of machine precision times ‖u‖² + ‖v‖², whatever the offset of the data. With `x2=None` the diagonal is
    exactly 0 and the matrix symmetric.

    Args:
        x1: inputs, [n1, ...]; all axes but the first are flattened. Integers become the default float.
        x2: inputs, [n2, ...] with the same features; None means x1.

    Returns:
        Distances of shape [n1, n2], in the common dtype of the inputs.

    Raises:
        ValueError: for empty, NaN or infinite inputs, or inputs of different features.

    >>> print(squared_distances(jnp.array([[0.0, 0.0], [3.0, 4.0]])))
    [[ 0. 25.]
     [25.  0.]]

    Cost: n1 n2 d multiply-adds, memory n1 n2.
    """
    x1, x2 = kernel_inputs(x1, x2)
    return pairwise(x1, x2)


def kernel_inputs(x1: Any, x2: Any) -> tuple[Array, Array | None]:
    """Inputs of a kernel, checked, flattened to [n, d], in a common floating dtype."""
    x1 = check.array("x1", x1)
    x2 = None if x2 is None else check.array("x2", x2)
    for argument, x in (("x1", x1), ("x2", x2)):
        if x is not None and x.ndim == 0:
            raise ValueError(f"{argument} must have a leading batch axis, got shape ()")
    if x2 is not None and x1.shape[1:] != x2.shape[1:]:
        raise ValueError(f"x1 and x2 must have the same features, got shapes {tuple(x1.shape)} and {tuple(x2.shape)}")
    floating = [x.dtype for x in (x1, x2) if x is not None and jnp.issubdtype(x.dtype, jnp.floating)]
    dtype = jnp.result_type(*floating) if floating else jnp.result_type(float)
    x1 = jnp.asarray(x1, dtype).reshape(x1.shape[0], -1)
    return x1, None if x2 is None else jnp.asarray(x2, dtype).reshape(x2.shape[0], -1)


@jax.jit
def pairwise(x1: Array, x2: Array | None) -> Array:
    """`squared_distances` of inputs [n, d]."""
    other = x1 if x2 is None else x2
    if x1.shape[1] <= MAX_DIRECT_FEATURES:
        return jnp.square(x1[:, None, :] - other[None, :, :]).sum(-1)
    mean = x1.mean(0, keepdims=True)
    u, v = x1 - mean, other - mean
    squares_u, squares_v = jnp.square(u).sum(1), jnp.square(v).sum(1)
    distances = jnp.maximum(squares_u[:, None] + squares_v[None, :] - 2 * inner(u, v), 0)
    return distances if x2 is not None else hollow(0.5 * (distances + distances.T))


def inner(x1: Array, x2: Array) -> Array:
    """Inner products [n1, n2] at full matrix precision."""
    return jnp.matmul(x1, x2.T, precision=jax.lax.Precision.HIGHEST)


def hollow(matrix: Array) -> Array:
    """The matrix with an exactly zero diagonal."""
    return jnp.where(jnp.eye(matrix.shape[0], dtype=bool), 0, matrix)


def safe_sqrt(x: Array) -> Array:
    """The square root of x >= 0, with derivative 0 at 0 instead of infinity."""
    positive = x > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1)), 0)
