"""Drawings put ours where it lies in relation to what is accepted."""

import math
import re

import numpy as np
import pytest

from dlmath.report._intervals import WIDTH, curve_plot, interval_plot
from dlmath.report._regions import regions


def numbers(svg, cls, *names):
    """Attributes of the elements of a class, in order."""
    tags = re.findall(rf'<\w+ class="{cls}"[^>]*>', svg)
    return np.array([[float(re.search(rf' {name}="([-\d.]+)"', tag).group(1)) for name in names] for tag in tags])


def test_positions_are_an_affine_map_of_the_values():
    svg = interval_plot(2.0, 1.5, 3.0, (1.0, 4.0))
    (value,) = numbers(svg, "dot", "cx")
    low, high = numbers(svg, "edge", "x1")
    ends = numbers(svg, "whisker", "x1", "x2")[0]
    np.testing.assert_allclose((value - low) / (high - low), 1 / 3, atol=2e-3)
    np.testing.assert_allclose((ends - low) / (high - low), [0.5 / 3, 2 / 3], atol=2e-3)


@pytest.mark.parametrize("value", [1e-300, 1e12, -3.0])
def test_a_value_far_outside_is_drawn_outside_of_the_region(value):
    svg = interval_plot(value, value, value, (1.0, 2.0))
    ((x, width),) = numbers(svg, "region", "x", "width")
    ((at,),) = numbers(svg, "dot", "cx")
    assert at < x or at > x + width
    assert 0 <= at <= WIDTH


def test_a_one_sided_region_reaches_the_edge_of_the_drawing():
    ((x, width),) = numbers(interval_plot(3.0, 2.5, 3.5, (2.0, math.inf)), "region", "x", "width")
    assert x + width > WIDTH - 10
    ((x, _),) = numbers(interval_plot(3.0, 2.5, 3.5, (-math.inf, 4.0)), "region", "x", "width")
    assert x < 10


def test_one_seed_has_a_dot_and_no_interval():
    svg = interval_plot(1.0, -math.inf, math.inf, (0.0, 2.0))
    assert "no interval" in svg
    assert "unknown" in svg
    assert "nan" not in svg
    assert "inf" not in svg


def test_there_is_no_drawing_of_a_value_that_is_not_finite():
    assert interval_plot(math.nan, math.nan, math.nan, (0.0, 1.0)) == ""


def test_a_curve_is_drawn_in_units_of_its_tolerance():
    theory, tolerance = np.array([1.0, 10.0, 100.0]), np.array([0.1, 1.0, 10.0])
    value = theory + tolerance * [0.0, 1.0, -1.0]
    svg = curve_plot(value, value, value, theory - tolerance, theory + tolerance)
    top, bottom = sorted(numbers(svg, "edge", "y1").ravel())
    np.testing.assert_allclose(numbers(svg, "dot", "cy").ravel(), [(top + bottom) / 2, top, bottom], atol=0.2)
    assert "3 of 3 points inside" in svg


def test_many_points_are_drawn_as_the_range_of_their_neighbours():
    value = np.zeros(10_000)
    value[1234] = 1.5
    svg = curve_plot(value, value, value, value * 0 - 1, value * 0 + 1, num_columns=60)
    spans = numbers(svg, "whisker", "y1", "y2")
    assert len(spans) == 60
    assert len(svg) < 20_000
    outside = spans[:, 1] < numbers(svg, "edge", "y1").min()
    assert np.flatnonzero(outside).tolist() == [1234 * 60 // 10_000]
    assert "9999 of 10000 points inside" in svg


def test_the_region_of_a_curve_is_the_theory_at_its_points(ran):
    from dlmath import repro

    run, paper = repro.latest_run(ran / "results", "toy", "smoke"), repro.load(ran / "experiments" / "toy.py")
    found = regions(run, paper)
    np.testing.assert_allclose(found["variance"], ([-0.5, -0.125], [1.0, 0.25]))  # 1/n ± 300 % at n = 4, 16
    np.testing.assert_allclose(found["nine"], ([8.5], [9.5]))
    np.testing.assert_allclose(found["markup"], ([-np.inf], [42.0]))


def test_a_region_that_was_edited_since_is_not_drawn(workspace):
    from dlmath import repro

    run, path = repro.latest_run(workspace / "results", "toy", "smoke"), workspace / "experiments" / "toy.py"
    path.write_text(path.read_text().replace("Equal(9.0, atol=0.5)", "Equal(8.0, atol=0.5)"))
    found = regions(run, repro.load(path))
    assert "nine" not in found
    assert "centred" in found
