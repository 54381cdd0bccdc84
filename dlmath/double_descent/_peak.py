"""Where a curve peaks and where training data are first interpolated, with the uncertainty of a few seeds.

The height of a peak is no part of it: at the interpolation threshold it is set by rounding and by the luck of few seeds.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from dlmath import check
from dlmath.double_descent._sweep import checked_capacities
from dlmath.typing import Estimate

NUM_RESAMPLES = 1000
CENTRES: dict[str, Callable[..., Any]] = {"mean": np.mean, "median": np.median}


class Peak(NamedTuple):
    """The most prominent interior maximum of a curve.

    Attributes:
        position: its capacity; where there is none, that of the maximum, which is at an edge.
        low: lower end of the central 95 % of the positions in bootstrap samples of the seeds (NaN for one seed).
        high: upper end.
        prominence: how much lower the curve is on both sides, with its standard error over seeds (NaN for one seed);
            0 where there is no peak.
        bracketed: whether the maximum is interior, the curve rising before and falling after it.
        bracketed_fraction: the fraction of bootstrap samples in which it is (NaN for one seed).
    """

    position: float
    low: float
    high: float
    prominence: Estimate
    bracketed: bool
    bracketed_fraction: float


class Threshold(NamedTuple):
    """The smallest capacity from which on the training error stays at or below a tolerance.

    Attributes:
        position: that capacity, for the average over seeds; NaN if the largest capacity does not reach it.
        low: lower end of the central 95 % of the positions in bootstrap samples; NaN where a limit is not reached.
        high: upper end.
        bracketed: whether the sweep has capacities on both sides: one that does not interpolate and one that does.
        seeds: the threshold of every seed, [seed], NaN where it is not reached.
    """

    position: float
    low: float
    high: float
    bracketed: bool
    seeds: np.ndarray


def peak(capacities: Any, curve: Any, *, centre: str = "mean") -> Peak:
    """Position and prominence of the peak of a test-error curve over capacities, over seeds.

    The peak is the interior local maximum of the average curve c of the greatest topographic prominence,

        c(peak) − max(lowest point before it, lowest point after it),

    both sought up to the next higher point or the edge. Choosing the best of noisy points overstates a prominence, so
    that its estimate is cross-fitted: the peak and the lowest points on its sides are chosen on all seeds but one,
    the two differences are read off that one, and averaged over seeds; the smaller is the prominence. It can be negative.

    Args:
        capacities: increasing positive integers, [c].
        curve: [seed, c] or [c], finite.
        centre: "mean" or "median" over seeds, the latter where single seeds are huge.

    Returns:
        A `Peak`. Its numbers are exact functions of the arguments: the bootstrap's draws are fixed.

    Raises:
        ValueError: for a curve that is not finite, or does not fit the capacities, or an unknown centre.

    >>> found = peak([10, 20, 30, 40], [[3.0, 2.0, 5.0, 1.0], [3.0, 2.0, 6.0, 1.0]])
    >>> found.position, found.prominence.value.item(), found.bracketed
    (30.0, 3.5, True)
    >>> peak([10, 20, 30], [[1.0, 2.0, 3.0]]).bracketed
    False
    """
    capacities, curve = _checked_curve(capacities, curve, "curve")
    average = CENTRES[check.one_of("centre", centre, tuple(CENTRES))]
    found = _most_prominent(average(curve, axis=0))
    at = found[1] if found else _highest(average(curve, axis=0))
    if len(curve) == 1:
        value = 0.0 if found is None else curve[0, found[1]] - max(curve[0, found[0]], curve[0, found[2]])
        return Peak(
            float(capacities[at]), np.nan, np.nan, Estimate(np.float64(value), np.float64(np.nan)), bool(found), np.nan
        )
    positions, bracketed = [], []
    for rows in _resamples(len(curve)):
        mean = average(curve[rows], axis=0)
        here = _most_prominent(mean)
        bracketed.append(here is not None)
        positions.append(capacities[here[1] if here else _highest(mean)])
    low, high = np.quantile(positions, [0.025, 0.975], method="inverted_cdf")
    prominence = _cross_fitted(curve, average) if found else Estimate(np.float64(0), np.float64(0))
    return Peak(float(capacities[at]), float(low), float(high), prominence, bool(found), float(np.mean(bracketed)))


def interpolation_threshold(
    capacities: Any, train_error: Any, *, tolerance: float = 0.0, centre: str = "mean"
) -> Threshold:
    """The smallest capacity from which on a model fits its training data, over seeds.

    Args:
        capacities: increasing positive integers, [c].
        train_error: [seed, c] or [c], finite, at least 0.
        tolerance: what counts as zero, ≥ 0, in the units of the error.
        centre: "mean" or "median" over seeds.

    Returns:
        A `Threshold`.

    Raises:
        ValueError: for errors that are negative, not finite, or do not fit the capacities.

    >>> interpolation_threshold([10, 20, 30, 40], [0.5, 0.1, 0.0, 0.0]).position
    30.0
    """
    capacities, errors = _checked_curve(capacities, train_error, "train_error")
    if (errors < 0).any():
        raise ValueError(f"train_error must be non-negative, got {errors.min():g}")
    tolerance = check.real("tolerance", tolerance, at_least=0.0)
    average = CENTRES[check.one_of("centre", centre, tuple(CENTRES))]
    # One more "capacity": not reached. It is infinite, so that quantiles have a meaning.
    places = np.append(capacities, np.inf)
    first = lambda errors: places[_first_below(errors, tolerance)]
    position = first(average(errors, axis=0))
    seeds = np.array([first(row) for row in errors])
    low = high = np.nan
    if len(errors) > 1:
        found = [first(average(errors[rows], axis=0)) for rows in _resamples(len(errors))]
        low, high = np.quantile(found, [0.025, 0.975], method="inverted_cdf")
    bracketed = bool(np.isfinite(position) and position > capacities[0])
    finite = lambda values: np.where(np.isfinite(values), values, np.nan)
    position, low, high = (float(finite(value)) for value in (position, low, high))
    return Threshold(position, low, high, bracketed, finite(seeds))


def _checked_curve(capacities: Any, curve: Any, name: str) -> tuple[np.ndarray, np.ndarray]:
    capacities = np.array(checked_capacities(capacities), float)
    curve = np.atleast_2d(np.asarray(check.array(name, curve, ndim=(1, 2)), float))
    if curve.shape[1] != len(capacities):
        raise ValueError(
            f"{name} must be [seed, capacity] for {len(capacities)} capacities, got shape {tuple(curve.shape)}"
        )
    return capacities, curve


def _resamples(num_seeds: int) -> np.ndarray:
    # Resampling is part of the arithmetic: the same curve has the same interval.
    return np.random.default_rng(0).integers(num_seeds, size=(NUM_RESAMPLES, num_seeds))


def _cross_fitted(curve: np.ndarray, average: Any) -> Estimate:
    rises, falls = [], []
    for seed in range(len(curve)):
        found = _most_prominent(average(np.delete(curve, seed, axis=0), axis=0))
        before, top, after = found or (0, 0, 0)
        rises.append(curve[seed, top] - curve[seed, before])
        falls.append(curve[seed, top] - curve[seed, after])
    smaller = np.array(min((rises, falls), key=average))
    if average is np.mean:
        return Estimate(np.mean(smaller), np.std(smaller, ddof=1) / np.sqrt(len(smaller)))
    resampled = average(smaller[_resamples(len(smaller))], axis=1)
    return Estimate(average(smaller), np.std(resampled, ddof=1))


def _most_prominent(c: np.ndarray) -> tuple[int, int, int] | None:
    """(lowest point before, peak, lowest point after) of the most prominent interior local maximum, if there is one."""
    best, found = 0.0, None
    start = 1
    while start < len(c) - 1:
        # A plateau is one maximum, at its middle.
        end = start
        while end < len(c) - 1 and c[end + 1] == c[start]:
            end += 1
        if end < len(c) - 1 and c[start - 1] < c[start] > c[end + 1]:
            higher = np.flatnonzero(c > c[start])
            left = int(higher[higher < start].max(initial=-1)) + 1
            right = int(higher[higher > end].min(initial=len(c))) - 1
            before = left + int(np.argmin(c[left:start]))
            after = end + 1 + int(np.argmin(c[end + 1 : right + 1]))
            prominence = c[start] - max(c[before], c[after])
            if prominence > best:
                best, found = prominence, (before, (start + end) // 2, after)
        start = end + 1
    return found


def _highest(c: np.ndarray) -> int:
    return int(np.argmax(c))


def _first_below(errors: np.ndarray, tolerance: float) -> int:
    """The first point from which on all are at most the tolerance; len(errors) if the last is not."""
    above = np.flatnonzero(errors > tolerance)
    return int(above[-1]) + 1 if len(above) else 0
