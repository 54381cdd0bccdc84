"""Verdicts: the interval of a statistic against what the paper says."""

import math
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from scipy import stats

from dlmath.repro._expect import Curve, Slope
from dlmath.repro._experiment import Claim
from dlmath.repro._results import Results

REPRODUCED = "reproduced"
"""Verdict of a claim whose interval lies inside the expectation."""
NOT_REPRODUCED = "not reproduced"
"""Verdict of a claim whose interval lies outside the expectation."""
INCONCLUSIVE = "inconclusive"
NOT_TESTABLE = "not testable at this scale"
INCOMPLETE = "incomplete"
ERROR = "error"

CONFIDENCE = 0.95
NUM_RESAMPLES = 200


class Judgement(NamedTuple):
    """A claim with what was found: a point or, for a curve, one entry a point of `value`, `low`, `high`."""

    name: str
    statement: str
    source: str
    basis: str
    expected: str
    ours: str
    verdict: str
    value: list[float]
    low: list[float]
    high: list[float]
    note: str
    fails: str

    @property
    def broken(self) -> bool:
        """Whether this row should fail a run: a claim that does not hold, or a known failure that does."""
        if self.verdict == ERROR:
            return True
        return self.verdict == (REPRODUCED if self.fails else NOT_REPRODUCED)


class _Sample(NamedTuple):
    """A statistic at its points: centre, standard error, interval, and coordinates."""

    value: np.ndarray
    error: np.ndarray
    low: np.ndarray
    high: np.ndarray
    points: dict[str, np.ndarray]
    method: str


def judge(claim: Claim, config: Any, results: Results) -> Judgement:
    """Evaluates a claim on results; an exception in the claim is a verdict, not a crash.

    A statistic that keeps `seed` gets a Student t interval over seeds; any other gets a percentile interval
    from 200 resamples of the seeds (a point where every study it reads is deterministic). The verdict is
    *reproduced* if the 95 % interval lies inside the expectation, *not reproduced* if outside, else *inconclusive*.
    """
    expected = ""
    try:
        expected = claim.expect.describe(config)
        if claim.needs is not None and not claim.needs(config):
            return _row(claim, expected, NOT_TESTABLE, note="the config lacks what the claim needs")
        results.accessed.clear()
        outcome = claim.statistic(config, results)
        unfinished = sorted(s for s in results.accessed if not results.complete(s))
        if unfinished:
            return _row(claim, expected, INCOMPLETE, note=f"units of {', '.join(unfinished)} are missing or failed")
        sample = _sample(claim, config, results, outcome)
    except Exception as error:
        unfinished = sorted(s for s in results.accessed if not results.complete(s))
        if unfinished:
            return _row(claim, expected, INCOMPLETE, note=f"units of {', '.join(unfinished)} are missing or failed")
        return _row(claim, expected, ERROR, note=f"{type(error).__name__}: {error.args[0] if error.args else error}")
    if not np.isfinite(sample.value).all():
        return _row(claim, expected, NOT_REPRODUCED, sample, note="the statistic is not finite")
    if isinstance(claim.expect, Curve):
        return _judge_curve(claim, claim.expect, config, sample, expected)
    return _judge_number(claim, config, sample, expected)


def _sample(claim: Claim, config: Any, results: Results, outcome: Any) -> _Sample:
    expect = claim.expect
    if isinstance(expect, Slope):
        outcome = _log_slope(outcome, expect.along)
    if isinstance(outcome, xr.DataArray) and "seed" in outcome.dims:
        values = outcome.transpose("seed", ...).to_numpy().astype(float)
        return _student(values, _coordinates(outcome.isel(seed=0)))
    value, points = _point(outcome)
    sizes = sorted({n for s in results.accessed if (n := results.num_seeds(s)) is not None})
    if not sizes:
        return _Sample(value, np.zeros_like(value), value, value, points, "exact")
    if max(sizes) < 2:
        wide = np.full_like(value, np.inf)
        return _Sample(value, wide, -wide, wide, points, "one seed")
    rng = np.random.default_rng(0)  # resampling is part of the arithmetic: the same results give the same verdict
    accessed, draws = set(results.accessed), []
    for _ in range(NUM_RESAMPLES):
        again = results.resampled({n: rng.integers(0, n, n) for n in sizes})
        redrawn = claim.statistic(config, again)
        if isinstance(expect, Slope):
            redrawn = _log_slope(redrawn, expect.along)
        draws.append(_point(redrawn)[0])
    results.accessed = accessed
    resampled = np.stack(draws)
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(resampled, [tail, 100 - tail], axis=0)
    return _Sample(value, resampled.std(axis=0, ddof=1), low, high, points, f"bootstrap over {max(sizes)} seeds")


def _student(values: np.ndarray, points: dict[str, np.ndarray]) -> _Sample:
    n = len(values)
    value = values.mean(axis=0)
    if n < 2:
        wide = np.full_like(value, np.inf)
        return _Sample(value, wide, -wide, wide, points, "one seed")
    # A curve is judged at all its points together, so each interval is widened to hold simultaneously.
    error = values.std(axis=0, ddof=1) / math.sqrt(n)
    quantile = stats.t.ppf(1 - (1 - CONFIDENCE) / (2 * max(1, value.size)), n - 1)
    return _Sample(value, error, value - quantile * error, value + quantile * error, points, f"t over {n} seeds")


def _judge_number(claim: Claim, config: Any, sample: _Sample, expected: str) -> Judgement:
    if sample.value.ndim:
        kind, shape = type(claim.expect).__name__, sample.value.shape
        note = f"the statistic must be one number for {kind}, got shape {shape}; use Curve or reduce it"
        return _row(claim, expected, ERROR, sample, note=note)
    low, high = claim.expect.region(config)  # pyright: ignore[reportAttributeAccessIssue]  # Curve went elsewhere
    slack = 1e-12 * max(1.0, *(abs(b) for b in (low, high) if math.isfinite(b)))
    inside = low - slack <= sample.low and sample.high <= high + slack
    outside = sample.high < low - slack or sample.low > high + slack
    verdict = _verdict(bool(inside), bool(outside))
    return _row(claim, expected, verdict, sample, note=sample.method)


def _judge_curve(claim: Claim, expect: Curve, config: Any, sample: _Sample, expected: str) -> Judgement:
    if sample.value.ndim == 0:
        return _row(claim, expected, ERROR, sample, note="the statistic of a Curve must keep its axis, got one number")
    grids = np.meshgrid(*sample.points.values(), indexing="ij")
    theory = np.asarray(expect.theory(config, **dict(zip(sample.points, grids, strict=True))), float)
    if theory.shape != sample.value.shape:
        note = f"the theory must have the statistic's shape {sample.value.shape}, got {theory.shape}"
        return _row(claim, expected, ERROR, sample, note=note)
    low, high = sample.low, sample.high
    if sample.method.startswith("bootstrap"):
        # 200 resamples do not reach the tails of simultaneous intervals: take the normal quantile instead.
        quantile = stats.norm.ppf(1 - (1 - CONFIDENCE) / (2 * theory.size))
        low, high = sample.value - quantile * sample.error, sample.value + quantile * sample.error
    tolerance = expect.atol + expect.rtol * np.abs(theory) + 1e-12 * np.maximum(1.0, np.abs(theory))
    inside = (low >= theory - tolerance) & (high <= theory + tolerance)
    outside = (low > theory + tolerance) | (high < theory - tolerance)
    gap = np.abs(sample.value - theory) / np.where(theory == 0, 1.0, np.abs(theory))
    note = f"{sample.method}; {int(inside.sum())} of {inside.size} points inside"
    if (sample.error > 0).all() and np.isfinite(sample.error).all():
        chi2 = float(np.sum(((sample.value - theory) / sample.error) ** 2))
        note += f"; χ² = {chi2:.3g} on {theory.size}"
    ours = f"within {100 * gap.max():.2g} % at {gap.size} points"
    return _row(claim, expected, _verdict(bool(inside.all()), bool(outside.any())), sample, note=note, ours=ours)


def _verdict(inside: bool, outside: bool) -> str:
    return REPRODUCED if inside else NOT_REPRODUCED if outside else INCONCLUSIVE


def _log_slope(outcome: Any, along: str) -> xr.DataArray:
    if not isinstance(outcome, xr.DataArray) or along not in outcome.dims:
        raise ValueError(f"the statistic of a Slope must be a DataArray with the dimension {along!r}, got {outcome!r}")
    x = xr.ufuncs.log(outcome[along].astype(float))
    y = xr.ufuncs.log(outcome)
    centred = x - x.mean()
    return (centred * y).sum(along, skipna=False) / (centred**2).sum()


def _point(outcome: Any) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    if isinstance(outcome, xr.DataArray):
        return outcome.to_numpy().astype(float), _coordinates(outcome)
    value = np.asarray(outcome, float)
    if value.ndim:
        raise ValueError(f"a statistic must be a number or a DataArray, got an array of shape {value.shape}")
    return value, {}


def _coordinates(array: xr.DataArray) -> dict[str, np.ndarray]:
    return {str(dim): array[dim].to_numpy() for dim in array.dims}


def _row(
    claim: Claim, expected: str, verdict: str, sample: _Sample | None = None, *, note: str = "", ours: str = ""
) -> Judgement:
    value, low, high = ([], [], [])
    if sample is not None:
        value, low, high = (np.atleast_1d(a).ravel().tolist() for a in (sample.value, sample.low, sample.high))
        if not ours and sample.value.ndim == 0:
            ours = format_interval(value[0], low[0], high[0])
    return Judgement(
        claim.name,
        claim.statement,
        claim.source,
        claim.basis,
        expected,
        ours,
        verdict,
        value,
        low,
        high,
        note,
        claim.fails,
    )


def format_interval(value: float, low: float, high: float) -> str:
    """A number with its interval, to the digits that the interval bears.

    >>> format_interval(2.0171, 1.9952, 2.0391)
    '2.017 [1.995, 2.039]'
    >>> format_interval(783.0, 783.0, 783.0)
    '783'
    """
    if not math.isfinite(value):
        return str(value)
    if low == high:
        return f"{value:.6g}"
    if not (math.isfinite(low) and math.isfinite(high)):
        return f"{value:.4g} [no interval]"
    digits = max(0, 1 - math.floor(math.log10(high - low)))
    if max(abs(low), abs(high)) < 1e-4 or max(abs(low), abs(high)) >= 1e6:
        return f"{value:.3g} [{low:.3g}, {high:.3g}]"
    digits = min(digits, 6)
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
