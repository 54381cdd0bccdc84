"""Checks of arguments at public boundaries: every error says what was expected, what came and what to do.

Each function returns the checked value, so that a boundary reads as
`width = check.positive_int("width", width)`. Values inside a JAX transformation (tracers) are
checked for shape only.
"""

import difflib
import math
import numbers
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np


def did_you_mean(name: object, options: Collection[str]) -> str:
    """`"; did you mean 'relu'?"` when an option is close to `name`, else the empty string.

    >>> did_you_mean("rellu", ["relu", "tanh"])
    "; did you mean 'relu'?"
    """
    close = difflib.get_close_matches(str(name), list(options), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def one_of(argument: str, value: Any, options: Collection[str]) -> str:
    """Returns `value` if it is one of the strings `options`; else raises ValueError with the nearest one.

    >>> one_of("activation", "relu", ["relu", "tanh"])
    'relu'
    """
    if isinstance(value, str) and value in options:
        return value
    listed = ", ".join(repr(option) for option in options)
    raise ValueError(f"{argument} must be one of {listed}, got {value!r}{did_you_mean(value, options)}")


def integer(argument: str, value: Any, *, at_least: int | None = None, at_most: int | None = None) -> int:
    """Returns `value` as an int; TypeError unless it is an integer, ValueError outside the range.

    >>> integer("num_steps", 3, at_least=1)
    3
    """
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{argument} must be an integer, got {value!r} of type {type(value).__name__}")
    value = int(value)
    if at_least is not None and value < at_least:
        raise ValueError(f"{argument} must be {_least(at_least)}, got {value}")
    if at_most is not None and value > at_most:
        raise ValueError(f"{argument} must be at most {at_most}, got {value}")
    return value


def positive_int(argument: str, value: Any) -> int:
    """Returns `value` as an int of at least 1."""
    return integer(argument, value, at_least=1)


def real(
    argument: str,
    value: Any,
    *,
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
    at_most: float | None = None,
) -> Any:
    """Returns a finite real number as a float; TypeError for another type, ValueError outside the range.

    A traced scalar is returned as it is.

    >>> real("weight_std", 1.5, at_least=0.0)
    1.5
    """
    if is_traced(value):
        return value
    if hasattr(value, "shape") and np.shape(value) == ():
        value = np.asarray(value).item()
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{argument} must be a real number, got {value!r} of type {type(value).__name__}")
    value = float(value)
    if not math.isfinite(value):
        raise ValueError(f"{argument} must be finite, got {value}")
    if above is not None and not value > above:
        raise ValueError(f"{argument} must be {'positive' if above == 0 else f'greater than {above:g}'}, got {value:g}")
    if at_least is not None and not value >= at_least:
        raise ValueError(f"{argument} must be {_least(at_least)}, got {value:g}")
    if below is not None and not value < below:
        raise ValueError(f"{argument} must be less than {below:g}, got {value:g}")
    if at_most is not None and not value <= at_most:
        raise ValueError(f"{argument} must be at most {at_most:g}, got {value:g}")
    return value


def callable_(argument: str, value: Any) -> Any:
    """Returns `value` if it can be called; else raises TypeError."""
    if not callable(value):
        raise TypeError(f"{argument} must be a function, got {value!r} of type {type(value).__name__}")
    return value


def array(
    argument: str,
    value: Any,
    *,
    ndim: int | Sequence[int] | None = None,
    finite: bool = True,
    nonempty: bool = True,
) -> Any:
    """Returns `value` if it is a numeric array of the wanted rank, without NaN or infinity.

    Lists of numbers are converted to NumPy arrays; arrays are returned untouched. Costs one pass over
    the data when `finite`; traced arrays are checked for shape only.
    """
    if not hasattr(value, "shape") or not hasattr(value, "dtype"):
        try:
            value = np.asarray(value)
        except ValueError as error:
            raise ValueError(f"{argument} must be an array, got rows of unequal lengths") from error
    if value.dtype == object or value.dtype.kind in "USMm" or value.dtype.names:
        raise TypeError(f"{argument} must be an array of numbers, got dtype {value.dtype}")
    if ndim is not None and value.ndim not in ((ndim,) if isinstance(ndim, int) else ndim):
        wanted = ndim if isinstance(ndim, int) else " or ".join(map(str, ndim))
        raise ValueError(f"{argument} must have {wanted} dimensions, got shape {tuple(value.shape)}")
    if nonempty and math.prod(value.shape) == 0:
        raise ValueError(f"{argument} must not be empty, got shape {tuple(value.shape)}")
    # ml_dtypes' bfloat16 has the kind of a void, "V".
    if finite and not is_traced(value) and value.dtype.kind in "fcV" and not np.isfinite(np.asarray(value)).all():
        count = int((~np.isfinite(np.asarray(value))).sum())
        raise ValueError(
            f"{argument} must be finite, got {count} NaN or infinite of {math.prod(value.shape)} entries;"
            " drop or impute them"
        )
    return value


def same_length(first: str, first_value: Any, second: str, second_value: Any) -> None:
    """Raises ValueError unless both arrays have the same number of rows."""
    if first_value.shape[:1] != second_value.shape[:1]:
        raise ValueError(
            f"{first} and {second} must have the same number of rows, got shapes "
            f"{tuple(first_value.shape)} and {tuple(second_value.shape)}"
        )


def key(argument: str, value: Any) -> Any:
    """Returns `value` if it is a single typed JAX key; else raises TypeError that shows how to make one."""
    import jax

    if not hasattr(value, "dtype") or not jax.numpy.issubdtype(value.dtype, jax.dtypes.prng_key):
        raise TypeError(f"{argument} must be a typed key such as jax.random.key(0), got {_briefly(value)}")
    if value.shape != ():
        raise ValueError(
            f"{argument} must be one key, got an array of keys of shape {tuple(value.shape)}; vmap over it"
        )
    return value


def is_traced(value: Any) -> bool:
    """Whether `value` is an abstract value inside a JAX transformation."""
    import sys

    jax = sys.modules.get("jax")
    return jax is not None and isinstance(value, jax.core.Tracer)


def _least(bound: float) -> str:
    if bound == 0:
        return "non-negative"
    return "positive" if bound == 1 and isinstance(bound, int) else f"at least {bound:g}"


def _briefly(value: Any) -> str:
    if hasattr(value, "shape"):
        return f"an array of shape {tuple(value.shape)} and dtype {value.dtype}"
    return f"{value!r} of type {type(value).__name__}"
