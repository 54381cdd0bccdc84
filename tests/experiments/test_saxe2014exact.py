import importlib.util
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import xarray as xr

import dlmath as dm


@pytest.fixture(scope="module")
def saxe():
    path = Path(__file__).parents[2] / "experiments" / "saxe2014exact.py"
    spec = importlib.util.spec_from_file_location("saxe2014exact", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("s", [3.0, 2.0, 1.0])
def test_the_closed_form_solves_the_mode_equation(saxe, s):
    h, t = 1e-5, np.linspace(0.0, 6.0, 50)
    a = saxe.strength(t, s, 1e-3)
    derivative = (saxe.strength(t + h, s, 1e-3) - saxe.strength(t - h, s, 1e-3)) / (2 * h)
    np.testing.assert_allclose(derivative, 2 * a * (s - a), atol=1e-8)
    np.testing.assert_allclose([a[0], saxe.strength(1e4, s, 1e-3)], [1e-3, s], rtol=1e-12)


def test_half_rise_times_are_those_of_the_closed_form(saxe):
    s = np.array([3.0, 2.0, 1.0])
    times = saxe.half_rise(s, 1e-3)
    np.testing.assert_allclose(times, [1.334, 1.900, 3.453], atol=5e-4)
    np.testing.assert_allclose(saxe.strength(times, s, 1e-3), s / 2, rtol=1e-12)


def test_every_mode_rises_from_a_tenth_to_nine_tenths_in_the_same_multiple_of_1_over_s(saxe):
    # 1/a is affine in e^{-2st}: at the levels f s, e^{2st} is proportional to f / (1 - f).
    np.testing.assert_allclose(saxe.rise(2.0), (np.log(9) - np.log(1 / 9)) / 4)


def test_crossings_of_a_straight_line_are_exact_and_missing_ones_are_nan(saxe):
    times = np.array([0.0, 1.0, 3.0])
    values = np.stack([times, 2 * times, 0 * times], axis=1)
    np.testing.assert_allclose(saxe.crossing(times, values, np.array([2.5, 2.5, 2.5])), [2.5, 1.25, np.nan])


def test_inputs_are_exactly_white_and_the_correlation_has_its_singular_values(saxe):
    config = saxe.Config()
    with jax.enable_x64(True):
        task = saxe.make_task(config, jax.random.key(0))
        covariance = task.x.T @ task.x / len(task.x)
        correlation = task.y.T @ task.x / len(task.x)
        np.testing.assert_allclose(covariance, np.eye(config.num_inputs), atol=1e-12)
        np.testing.assert_allclose(np.linalg.svd(correlation, compute_uv=False)[:3], [3, 2, 1], rtol=1e-12)


def test_the_aligned_start_is_balanced_and_diagonal(saxe):
    config = saxe.Config()
    with jax.enable_x64(True):
        task = saxe.make_task(config, jax.random.key(0))
        start = saxe.aligned_start(config, jax.random.key(1), task, 1e-3)
        np.testing.assert_allclose(saxe.modes(task.u, task.v, start), 1e-3 * np.eye(3), atol=1e-16)
        np.testing.assert_allclose(saxe.imbalance(start), 0.0, atol=1e-16)


def test_the_gradient_of_the_loss_drives_the_mode_equation(saxe):
    # One small step of gradient descent moves every strength by η · 2a(s − a) + O(η²).
    config = saxe.Config(record_every=1e-4, initial_strength=0.3)
    with jax.enable_x64(True):
        task = saxe.make_task(config, jax.random.key(2))
        start = saxe.aligned_start(config, jax.random.key(3), task, 0.3)
        _, matrices, _ = saxe.descend(config, jax.random.key(4), task, start, 1e-4, 1e-4)
    s = np.array(config.singular_values)
    moved = (saxe.diagonal(matrices)[1] - 0.3) / 1e-4
    np.testing.assert_allclose(moved, 2 * 0.3 * (s - 0.3), rtol=1e-3)


def test_weights_are_scaled_as_asked_at_a_random_start(saxe):
    start = saxe.random_start(saxe.Config(num_inputs=100, num_hidden=100, initial_std=1e-2), jax.random.key(0))
    # 10,000 draws: the standard error of a standard deviation is σ/√(2n).
    assert float(start.first.std()) == pytest.approx(1e-2, rel=4 / np.sqrt(20_000))


def test_step_sizes_of_every_scale_divide_the_recording_interval(saxe):
    for config in saxe.SCALES.values():
        for rate in (*config.learning_rates, config.random_learning_rate):
            for length in (config.record_every, config.end_time):
                ratio = length / rate
                assert ratio == pytest.approx(round(ratio), rel=1e-9)


@pytest.mark.parametrize(("unit", "verdict"), [(1.0, "reproduced"), (1.01, "not reproduced")])
def test_the_half_rise_is_claimed_in_units_of_tau(saxe, unit, verdict):
    config, s = saxe.Config(), np.array([3.0, 2.0, 1.0])
    times = unit * np.stack([saxe.half_rise(s, a) for a in config.initial_strengths])
    coordinates = {"initial_strength": list(config.initial_strengths), "singular_value": s}
    flow = xr.Dataset(
        {
            "half_rise": (("initial_strength", "singular_value"), times),
            "status": ("initial_strength", np.ones(3, np.int8)),
        },
        coordinates,
    )
    claims = [claim for claim in saxe.CLAIMS if claim.name.startswith("half-rise")]
    assert [dm.repro.judge(c, config, dm.repro.Results({"flow": flow})).verdict for c in claims] == [verdict] * 3
