"""Verdicts follow the interval of the statistic."""

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from dlmath.repro import AtLeast, AtMost, Claim, Curve, Equal, Results, Slope, judge


def results(values, **coordinates):
    values = np.asarray(values, float)
    dims = (*coordinates, "seed") if values.ndim == len(coordinates) + 1 else tuple(coordinates)
    shape = [n for d, n in zip(dims, values.shape, strict=True)]
    data = {"x": (dims, values), "status": (dims, np.ones(shape, np.int8))}
    coordinates = {name: list(points) for name, points in coordinates.items()}
    if "seed" in dims:
        coordinates["seed"] = list(range(values.shape[-1]))
    return Results({"study": xr.Dataset(data, coords=coordinates)})


def claim(expect, statistic=lambda config, r: r["study/x"], **options):
    return Claim("c", "a statement", source="Fig. 1", expect=expect, statistic=statistic, **options)


def test_the_interval_over_seeds_is_students():
    values = np.random.default_rng(0).normal(size=12)
    row = judge(claim(Equal(0.0, atol=10.0)), None, results(values))
    reference = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    np.testing.assert_allclose([row.low[0], row.high[0]], [reference.low, reference.high])


@pytest.mark.parametrize(
    ("expect", "verdict"),
    [
        (Equal(1.0, atol=0.5), "reproduced"),
        (Equal(1.0, rtol=0.5), "reproduced"),
        (Equal(1.0, atol=1e-3), "inconclusive"),
        (Equal(3.0, atol=0.5), "not reproduced"),
        (AtLeast(0.5), "reproduced"),
        (AtLeast(1.0), "inconclusive"),
        (AtLeast(2.0), "not reproduced"),
        (AtMost(2.0), "reproduced"),
        (AtMost(0.5), "not reproduced"),
        (Equal(lambda config: config["one"], atol=0.5), "reproduced"),
    ],
)
def test_inside_is_reproduced_outside_is_not_and_across_is_inconclusive(expect, verdict):
    values = 1.0 + 0.01 * np.random.default_rng(1).normal(size=20)
    values -= values.mean() - 1.0
    assert judge(claim(expect), {"one": 1.0}, results(values)).verdict == verdict


def test_a_statistic_that_drops_seeds_is_bootstrapped():
    values = np.random.default_rng(2).normal(size=400)
    row = judge(claim(Equal(0.0, atol=1.0), lambda c, r: float(r["study/x"].median())), None, results(values))
    # The standard error of a median of normals is sqrt(π/2n) [asymptotic]; the interval is ± 1.96 of it.
    width = 2 * 1.96 * np.sqrt(np.pi / 2 / 400)
    assert (row.high[0] - row.low[0]) == pytest.approx(width, rel=0.35)
    assert "bootstrap" in row.note


def test_a_deterministic_statistic_is_a_point():
    row = judge(claim(Equal(783.0), lambda c, r: r["study/x"].sel(n=10)), None, results([783.0, 5.0], n=[10, 20]))
    assert (row.verdict, row.low, row.high, row.ours) == ("reproduced", [783.0], [783.0], "783")


def test_one_seed_proves_nothing():
    assert judge(claim(Equal(1.0, atol=0.5)), None, results([1.0])).verdict == "inconclusive"


def test_the_slope_of_a_power_law_is_its_exponent():
    x = np.array([1.0, 10.0, 100.0])
    values = 3.0 * x[:, None] ** -0.5 * np.ones(4)
    row = judge(claim(Slope(-0.5, along="n", atol=1e-6)), None, results(values, n=x))
    assert row.verdict == "reproduced"
    assert row.value[0] == pytest.approx(-0.5)


def test_a_curve_is_judged_at_every_point():
    x = np.array([1.0, 2.0, 3.0])
    noise = np.random.default_rng(3).normal(size=(3, 50)) * 0.01
    theory = lambda config, n: n**2
    good = judge(claim(Curve(theory, rtol=0.05)), None, results(x[:, None] ** 2 + noise, n=x))
    bad = judge(claim(Curve(theory, rtol=0.05)), None, results(x[:, None] ** 2 + noise + [[0], [0], [2]], n=x))
    assert (good.verdict, bad.verdict) == ("reproduced", "not reproduced")
    assert "2 of 3 points inside" in bad.note


def test_simultaneous_intervals_cover_a_true_curve():
    rng, inside = np.random.default_rng(4), 0
    for _ in range(200):
        values = rng.normal(size=(20, 10))
        row = judge(claim(Curve(lambda c, n: 0.0 * n, atol=1.0)), None, results(values, n=range(20)))
        inside += np.all((np.array(row.low) <= 0) & (np.array(row.high) >= 0))
    assert inside >= 200 * 0.95 - 3 * np.sqrt(200 * 0.95 * 0.05)


def test_a_claim_that_cannot_be_tested_says_so():
    row = judge(claim(Equal(1.0), needs=lambda config: config > 3), 2, results([1.0, 1.0]))
    assert row.verdict == "not testable at this scale"
    assert not row.broken


def test_divergence_is_not_averaged_away():
    row = judge(claim(Equal(1.0, atol=0.5), lambda c, r: r["study/x"]), None, results([1.0, np.nan, 1.0]))
    assert row.verdict == "not reproduced"
    assert "not finite" in row.note


def test_an_exception_in_a_claim_is_a_row():
    row = judge(claim(Equal(1.0), lambda c, r: r["study/y"]), None, results([1.0, 1.0]))
    assert (row.verdict, row.broken) == ("error", True)
    assert "no variable 'y'" in row.note


@pytest.mark.parametrize(("value", "broken"), [(1.0, True), (5.0, False)])
def test_a_known_failure_is_strict(value, broken):
    row = judge(claim(Equal(1.0, atol=0.1), fails="too small a network"), None, results([value] * 5))
    assert row.broken is broken


def test_the_same_results_give_the_same_interval():
    found = results(np.random.default_rng(5).normal(size=30))
    median = claim(Equal(0.0, atol=1.0), lambda c, r: float(r["study/x"].median()))
    assert judge(median, None, found) == judge(median, None, found)
