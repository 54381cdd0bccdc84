"""What the solvers share: data as JAX arrays of one floating dtype, and products at full precision."""

from typing import Any

import jax
import jax.numpy as jnp

from dlmath import check


def regression_data(x: Any, y: Any, *, ndim: int | None = None) -> tuple[Any, Any]:
    """Inputs and targets, checked, in a common floating dtype (at least float32; integers become the default)."""
    x = check.array("x", x, ndim=ndim)
    y = check.array("y", y, ndim=(1, 2))
    if x.ndim == 0:
        raise ValueError("x must have a leading batch axis, got shape ()")
    check.same_length("x", x, "y", y)
    dtype = floating_dtype(x, y)
    return jnp.asarray(x, dtype), jnp.asarray(y, dtype)


def floating_dtype(*arrays: Any) -> Any:
    """The common floating dtype of `arrays`: float32 or float64."""
    floating = [array.dtype for array in arrays if jnp.issubdtype(array.dtype, jnp.floating)]
    return jnp.result_type(jnp.float32, *floating) if floating else jnp.result_type(float)


def columns(y: Any) -> Any:
    """Targets as [n, o], with o = 1 for a vector."""
    return y if y.ndim == 2 else y[:, None]


def product(a: Any, b: Any) -> Any:
    """Matrix product at the full precision of the dtype, on every accelerator."""
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)
