"""Grids of steps at which a run is recorded: always increasing, with step 0 and the last step."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from jaxtyping import Int

from dlmath import check


def linear_steps(num_steps: int, every: int) -> Int[np.ndarray, " record"]:
    """The steps 0, `every`, 2·`every`, ..., and `num_steps`.

    Args:
        num_steps: last step, >= 0.
        every: distance between records, >= 1.

    Returns:
        Increasing steps, first 0, last `num_steps`.

    Raises:
        ValueError: for a negative `num_steps` or an `every` below 1.

    >>> linear_steps(10, 4).tolist()
    [0, 4, 8, 10]
    """
    num_steps = check.integer("num_steps", num_steps, at_least=0)
    every = check.positive_int("every", every)
    return np.unique(np.append(np.arange(0, num_steps + 1, every), num_steps))


def log_steps(num_steps: int, num_points: int = 50) -> Int[np.ndarray, " record"]:
    """Step 0 and at most `num_points` steps spread evenly in log(step) from 1 to `num_steps`.

    Rounding to integers merges neighbours among the first steps, so that short grids have fewer points.

    Args:
        num_steps: last step, >= 0.
        num_points: points beside step 0, >= 2.

    Returns:
        Increasing steps, first 0, last `num_steps`.

    Raises:
        ValueError: for a negative `num_steps` or fewer than 2 points.

    >>> log_steps(1000, 4).tolist()
    [0, 1, 10, 100, 1000]
    """
    num_steps = check.integer("num_steps", num_steps, at_least=0)
    num_points = check.integer("num_points", num_points, at_least=2)
    if num_steps == 0:
        return np.zeros(1, int)
    points = np.rint(np.geomspace(1, num_steps, num_points)).astype(int)
    return np.unique(np.concatenate([[0], points, [num_steps]]))


def record_steps(every: Any, num_steps: int, first_step: int = 0) -> Int[np.ndarray, " record"]:
    """The grid meant by the argument `every` of `fit`: None, a distance, "log" or the steps themselves."""
    if every is None:
        every = max(1, -(-(num_steps - first_step) // 100))
    if isinstance(every, str):
        check.one_of("every", every, ("log",))
        steps = log_steps(num_steps)
    elif isinstance(every, Iterable):
        steps = _explicit(every, num_steps)
    else:
        steps = linear_steps(num_steps, every)
    return np.unique(np.concatenate([[first_step], steps[steps >= first_step], [num_steps]])).astype(np.int32)


def _explicit(every: Any, num_steps: int) -> Any:
    steps = np.asarray(every)
    if steps.ndim != 1 or (steps.size and steps.dtype.kind not in "iu"):
        raise TypeError(f"every must be a distance, 'log' or a list of integer steps, got {every!r}")
    outside = steps[(steps < 0) | (steps > num_steps)]
    if outside.size:
        raise ValueError(f"every must hold steps from 0 to num_steps={num_steps}, got {outside[0]}")
    return steps.astype(int)
