"""Gram matrices, tile by tile."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, Float

from dlmath import check
from dlmath.typing import KernelFn


def gram(kernel: KernelFn, x1: Any, x2: Any = None, *, block_size: int | None = None) -> Float[Array, "n1 n2"]:
    """The Gram matrix K[i, j] = k(x1[i], x2[j]) of a kernel function, computed in tiles.

    Tiles bound the temporaries of `kernel` to `block_size`² entries. With `x2=None` only the tiles on and above
    the diagonal are computed, and those on the diagonal as `kernel(x)` of one argument: the result is as symmetric,
    and its diagonal as exact, as the kernel's own.

    Args:
        kernel: (x1[n1, ...], x2[n2, ...] or None) -> [n1, n2].
        x1: inputs, [n1, ...].
        x2: inputs, [n2, ...]; None means x1 against itself.
        block_size: rows and columns of a tile; None computes the matrix in one call of `kernel`.

    Returns:
        K of shape [n1, n2].

    Raises:
        ValueError: for empty, NaN or infinite inputs, inputs of different features, or a block size below 1.

    >>> linear = lambda x1, x2=None: x1 @ (x1 if x2 is None else x2).T
    >>> print(gram(linear, jnp.array([[1.0], [2.0], [3.0]]), block_size=2)[2])
    [3. 6. 9.]

    Cost: n1 n2 evaluations of the kernel, about half of it with `x2=None` and small tiles. Kernels made by
    `dlmath.kernels` are pytrees, so that changing their parameters compiles nothing anew.
    """
    check.callable_("kernel", kernel)
    x1 = inputs("x1", x1)
    x2 = None if x2 is None else inputs("x2", x2)
    if x2 is not None and x1.shape[1:] != x2.shape[1:]:
        raise ValueError(f"x1 and x2 must have the same features, got shapes {x1.shape} and {x2.shape}")
    if block_size is not None:
        block_size = check.positive_int("block_size", block_size)
    kernel = as_pytree(kernel)
    check_kernel(kernel, x1, x2)
    return tiles(kernel, x1, x2, block_size=block_size)


def as_pytree(kernel: Any) -> Partial:
    """The kernel as a pytree: its parameters are leaves if it is a `jax.tree_util.Partial`, else it has none."""
    return kernel if isinstance(kernel, Partial) else Partial(kernel)


def inputs(argument: str, x: Any) -> Array:
    """Inputs [n, ...], checked, as a JAX array."""
    x = check.array(argument, x)
    if x.ndim == 0:
        raise ValueError(f"{argument} must have a leading batch axis, got shape ()")
    return jnp.asarray(x)


def check_kernel(kernel: Partial, x1: Array, x2: Array | None) -> None:
    """Raises ValueError unless `kernel` returns a matrix of the right shape (found without computing it)."""
    out = jax.eval_shape(kernel, x1, x2)
    wanted = (x1.shape[0], (x1 if x2 is None else x2).shape[0])
    if getattr(out, "shape", None) != wanted:
        raise ValueError(
            f"kernel must take (x1, x2=None), two batches, and return a matrix of shape {wanted} for these inputs,"
            f" got {getattr(out, 'shape', out)}"
        )


@partial(jax.jit, static_argnames="block_size")
def tiles(kernel: Partial, x1: Array, x2: Array | None, *, block_size: int | None) -> Array:
    """`gram` of checked arguments, compiled."""
    rows, columns = x1.shape[0], (x1 if x2 is None else x2).shape[0]
    if block_size is None or block_size >= max(rows, columns):
        return kernel(x1, x2)
    height, width = min(block_size, rows), min(block_size, columns)
    dtype = jax.eval_shape(kernel, x1, x2).dtype
    out = jnp.zeros((rows, columns), dtype)

    def tile(x: Array, start: Any, size: int) -> Array:
        return jax.lax.dynamic_slice_in_dim(x, start, size)

    def off_diagonal(k: Any, out: Array) -> Array:
        i, j = pairs[k]
        block = kernel(tile(x1, i, height), tile(x1 if x2 is None else x2, j, width))
        out = jax.lax.dynamic_update_slice(out, block, (i, j))
        return jax.lax.dynamic_update_slice(out, block.T, (j, i)) if x2 is None else out

    def diagonal(k: Any, out: Array) -> Array:
        i = starts[k]
        return jax.lax.dynamic_update_slice(out, kernel(tile(x1, i, height)), (i, i))

    # The last tile of a row is moved back to fit, and overlaps its neighbour: every tile has one shape. The
    # diagonal is written last, over what overlapping tiles left there.
    if x2 is not None:
        pairs = jnp.asarray([(i, j) for i in _starts(rows, height) for j in _starts(columns, width)])
        return jax.lax.fori_loop(0, len(pairs), off_diagonal, out)
    starts = jnp.asarray(_starts(rows, height))
    pairs = jnp.asarray([(i, j) for i in _starts(rows, height) for j in _starts(rows, height) if i < j])
    out = jax.lax.fori_loop(0, len(pairs), off_diagonal, out)
    return jax.lax.fori_loop(0, len(starts), diagonal, out)


def _starts(length: int, size: int) -> list[int]:
    return [*np.arange(0, length - size, size).tolist(), length - size]
