import jax
import numpy as np
import pytest


@pytest.fixture(scope="module")
def given(paper):
    with jax.enable_x64(True):
        return paper.measure_given(paper.Config(), None)


def test_numpy_finds_the_weights_of_the_assignment(paper):
    x, y = (np.array(part) for part in paper.FIT)
    for degree, expected in paper.WEIGHTS.items():
        np.testing.assert_allclose(np.polynomial.polynomial.polyfit(x, y, degree), expected, atol=2e-8)
    x, y = (np.array(part) for part in paper.RIDGE)
    powers = np.vander(x, 4, increasing=True)
    ridge = np.linalg.solve(powers.T @ powers + 0.1 * np.eye(4), powers.T @ y)
    np.testing.assert_allclose(ridge, paper.RIDGE_WEIGHTS, atol=1e-8)


def test_a_cross_validation_by_hand_finds_that_of_the_assignment(paper, given):
    x, y = (np.array(part) for part in paper.VALIDATION)
    powers = np.vander(x, 9, increasing=True)
    errors = []
    for fold in range(3):
        held = np.arange(15) // 5 == fold
        # As least squares with nine more rows: the normal equations would square a condition of 1e8.
        a = np.concatenate([powers[~held], 0.1**0.5 * np.eye(9)])
        weights = np.linalg.lstsq(a, np.concatenate([y[~held], np.zeros(9)]))[0]
        errors.append(np.mean((powers[held] @ weights - y[held]) ** 2))
    np.testing.assert_allclose(np.mean(errors), paper.VALIDATION_ERROR, atol=1e-6)
    np.testing.assert_allclose(abs(np.mean(errors) - paper.VALIDATION_ERROR), given["cross_validation"], atol=1e-9)


def test_rounding_of_what_is_given_explains_every_deviation_but_one(given):
    relative = {name: value for name, value in given.items() if name.endswith("_relative")}
    assert len(relative) == 6
    assert relative.pop("error_5_relative") > 1000  # the one that the assignment has from other data
    assert max(relative.values()) < 1


def test_half_a_unit_is_that_of_eight_decimals_or_of_the_mantissa(paper):
    np.testing.assert_array_equal(paper.half_unit((0.5, -20.25)), 0.5e-8)
    np.testing.assert_allclose(paper.half_unit((0.002, -20.25)), [0.5e-11, 0.5e-7])
    assert paper.half_unit(0.1172921665191103) == 0


def test_samples_are_a_sine_on_its_first_two_periods(paper):
    x, y = paper.draw(jax.random.key(0), 2000, 0.1)
    assert 0 <= float(x.min()) < float(x.max()) <= 4 * np.pi
    deviation = np.asarray(y - np.sin(x))
    assert abs(deviation.std() - 0.1) < 4 * 0.1 / np.sqrt(2 * 2000)
