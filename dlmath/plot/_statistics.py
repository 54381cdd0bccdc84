"""What is drawn of an ensemble: its centre, an interval, and how many of its members diverged."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy import special

from dlmath import check

INTERVALS = ("standard_error", "t95", "quartiles")


class Interval(NamedTuple):
    """Centre and interval of an ensemble at each point; NaN wherever a member is not finite."""

    center: Float[np.ndarray, "..."]
    lower: Float[np.ndarray, "..."]
    upper: Float[np.ndarray, "..."]
    num_nonfinite: Int[np.ndarray, "..."]


def interval(samples: Any, *, kind: str = "standard_error", seed_axis: int | str | None = None) -> Interval:
    """Mean (or median) over seeds with its interval: x̄ ± s/√n, x̄ ± t s/√n, or the quartiles.

    A seed that is NaN or infinite is never skipped: it makes the mean there NaN and is counted.
    One seed has no spread; its interval is NaN.

    Args:
        samples: array or xarray DataArray with an axis of seeds.
        kind: "standard_error", "t95" (Student's t, 95 %) or "quartiles" (median, 25 % and 75 %).
        seed_axis: number or name of the axis; by default the dimension called "seed", else the first.

    Returns:
        Interval of arrays without the seed axis.

    >>> interval([[1.0], [3.0]]).center, interval([[1.0], [3.0]]).upper
    (array([2.]), array([3.]))
    """
    check.one_of("kind", kind, INTERVALS)
    values = np.moveaxis(values_of("samples", samples), seed_axis_of("samples", samples, seed_axis), 0)
    num_nonfinite = np.asarray((~np.isfinite(values)).sum(axis=0), np.int64)
    values = np.where(num_nonfinite > 0, np.nan, values)
    count = len(values)
    if kind == "quartiles":
        lower, center, upper = np.quantile(values, [0.25, 0.5, 0.75], axis=0)
    else:
        center = values.mean(axis=0)
        error = values.std(axis=0, ddof=1) / np.sqrt(count) if count > 1 else np.full_like(center, np.nan)
        half = error * (special.stdtrit(count - 1, 0.975) if kind == "t95" else 1.0)
        lower, upper = center - half, center + half
    return Interval(np.asarray(center), np.asarray(lower), np.asarray(upper), num_nonfinite)


def values_of(argument: str, value: Any, *, ndim: int | tuple[int, ...] | None = None, finite: bool = False) -> Any:
    """The numbers of an array, list or DataArray as a float64 NumPy array, checked."""
    value = getattr(value, "values", value) if hasattr(value, "dims") else value
    value = np.asarray(check.array(argument, value, ndim=ndim, finite=finite))
    if np.iscomplexobj(value):
        raise TypeError(f"{argument} must be real, got dtype {value.dtype}; plot its modulus or its parts")
    return value.astype(np.float64)


def seed_axis_of(argument: str, value: Any, seed_axis: int | str | None) -> int:
    """The number of the seed axis."""
    dims = getattr(value, "dims", None)
    if isinstance(seed_axis, str) or (seed_axis is None and dims is not None):
        if dims is None:
            raise TypeError(f"seed_axis must be a number for an array without dimension names, got {seed_axis!r}")
        return dims.index(check.one_of(f"seed_axis of {argument}", seed_axis or "seed", [str(d) for d in dims]))
    ndim = np.ndim(value)
    if ndim == 0:
        raise ValueError(f"{argument} must have an axis of seeds, got a scalar")
    axis = check.integer("seed_axis", 0 if seed_axis is None else seed_axis, at_least=-ndim, at_most=ndim - 1)
    return axis % ndim
