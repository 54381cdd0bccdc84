"""Checks shared by the functions of this subpackage: numbers and arrays in a range, spectra with their signal."""

import numbers
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dlmath import check


def in_range(
    argument: str, value: Any, *, above: float | None = None, at_least: float | None = None, finite: bool = True
) -> Any:
    """Returns `value`, a number or an array of numbers; ValueError unless all are finite and in the range."""
    array = check.array(argument, value, finite=finite)
    if check.is_traced(array):
        return array
    if np.iscomplexobj(array):
        raise TypeError(f"{argument} must be real, got dtype {array.dtype}")
    least = float(np.min(array))
    if np.isnan(least):
        raise ValueError(f"{argument} must be numbers, got NaN")
    if above is not None and not least > above:
        raise ValueError(f"{argument} must be {'positive' if above == 0 else f'greater than {above:g}'}, got {least:g}")
    if at_least is not None and not least >= at_least:
        raise ValueError(
            f"{argument} must be {'non-negative' if at_least == 0 else f'at least {at_least:g}'}, got {least:g}"
        )
    return value if isinstance(value, numbers.Real) else array


def spectrum(argument: str, value: Any, *, may_vanish: bool = False) -> Any:
    """Returns eigenvalues of a covariance, [p], non-negative and not all zero."""
    value = check.array(argument, value, ndim=1)
    if not check.is_traced(value) and (np.min(value) < 0 or (np.max(value) <= 0 and not may_vanish)):
        raise ValueError(
            f"{argument} must be non-negative and not all zero, got them from {float(np.min(value)):.3g} to "
            f"{float(np.max(value)):.3g}; rounding makes small ones negative, which float64 or clipping at 0 mends"
        )
    return value


def signal_of(argument: str, value: Any, eigenvalues: Any) -> Any:
    """Returns the energies of the coefficients in the eigenvectors, [p]; of one number each gets an equal share."""
    value = in_range(argument, value, at_least=0)
    if np.ndim(value) and np.shape(value) != np.shape(eigenvalues):
        raise ValueError(
            f"{argument} must be one number, shared equally, or one for each of the {len(eigenvalues)} eigenvalues, "
            f"got shape {np.shape(value)}"
        )
    return value if np.ndim(value) else jnp.full(np.shape(eigenvalues), value / len(eigenvalues))


def floating(*values: Any) -> tuple[Any, ...]:
    """The values as arrays of one real floating type: the widest that comes with an array, else JAX's default."""
    dtype = floating_dtype(*values)
    return tuple(jnp.asarray(v, dtype) for v in values)


def floating_dtype(*values: Any) -> Any:
    """The widest floating type that comes with an array in the current precision, else JAX's default."""
    found = [v.dtype for v in values if hasattr(v, "dtype") and jnp.issubdtype(v.dtype, jnp.floating)]
    return jnp.result_type(float, *map(jax.dtypes.canonicalize_dtype, found))
