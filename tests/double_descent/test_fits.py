"""Polynomial and trigonometric fits; the numbers of a course's sheet come with its tests.

Chalmers MMA440, assignment B (github.com/JanEGerken/ms-in-dnns, MIT licence): 15 points of a sine with noise 0.1,
and the weights, errors and cross-validation that a right solution has. Points and weights are printed to 8 decimals:
how much that may matter is computed, by the derivatives of what is compared.
"""

from functools import partial

import jax
import numpy as np
import pytest

from dlmath.double_descent import (
    cross_validation,
    polynomial_features,
    polynomial_fit,
    trigonometric_features,
    trigonometric_fit,
)

RNG = np.random.default_rng(0)

FIT = np.array([
    [0.1377927, 3.18282121, 3.94871818, 0.21755552, 2.83184582, 5.25984922, 1.54905588, 1.28398704,
     3.74585624, 2.63571538, 5.42734153, 5.5301249, 0.84069897, 4.64928294, 4.85561834],
    [0.19470327, 0.07359496, -0.5820897, 0.22862199, 0.26879298, -0.90162581, 0.87317454, 0.89257967,
     -0.47023807, 0.57128352, -0.9386577, -0.64580977, 0.73815349, -1.02463808, -0.87399658],
])  # fmt: skip
RIDGE = np.array([
    [0.97979506, 5.16416351, 1.98674194, 6.09261727, 0.03439108, 5.03558881, 2.64555768, 3.23996878,
     2.40172317, 4.36415694, 4.3372846, 1.32138691, 0.8314573, 5.44518683, 0.71934886],
    [1.00648233, -0.88302325, 0.98724393, -0.13357347, -0.01338053, -0.90958631, 0.42022606, -0.15369557,
     0.5871545, -0.808337, -1.07670964, 1.02988653, 0.72597847, -1.01115495, 0.73044141],
])  # fmt: skip
FOLDS = np.array([
    [2.10440002, 6.27682366, 2.25247212, 0.37991638, 4.10771361, 5.61249705, 2.19598422, 2.75318597,
     4.13390109, 4.7471436, 4.2115332, 2.48888977, 2.53762697, 4.32005136, 2.37425901],
    [0.75402805, 0.0267855, 0.79573682, 0.33973729, -0.79424256, -0.55980208, 0.88203352, 0.43723684,
     -0.70578681, -0.8574338, -0.87851318, 0.5905476, 0.68014176, -1.00464002, 0.70858535],
])  # fmt: skip
MSE = np.array([
    [6.16064329, 3.2552061, 2.03385056, 4.99551614, 5.30981947, 1.91732393, 5.4212663, 6.04051106,
     5.7842464, 0.63584688, 2.93676169, 4.57334735, 1.31680844, 5.10532143, 6.03536477],
    [-0.09549347, 0.06507871, 0.8829749, -1.07034546, -0.84969727, 0.94412178, -0.62025838, -0.05889668,
     -0.52770285, 0.40337707, 0.22557007, -1.12680628, 1.07127133, -0.91808987, -0.07212472],
])  # fmt: skip


def rounding(function, *numbers, digits=8):
    """The most that rounding of the numbers to so many decimals changes the function, to first order."""
    jacobians = jax.jacobian(function, argnums=tuple(range(len(numbers))))(*numbers)
    value = function(*numbers)
    return sum(abs(j).reshape(*value.shape, -1).sum(-1) for j in jacobians) * 0.5 * 10.0**-digits + 0.5e-8


@pytest.mark.parametrize(
    "weights",
    [
        [-0.08964077, 1.6546026, -0.76734292, 0.08054144],
        [0.05245757, 0.93515607, -0.05160028, -0.17991612, 0.03895283, -0.00200736],
    ],
)
def test_polynomials_have_the_weights_of_the_sheet(weights):
    fit = partial(polynomial_fit, degree=len(weights) - 1)
    assert (abs(fit(*FIT) - np.array(weights)) < rounding(fit, *FIT)).all()


def test_ridge_polynomial_has_the_weights_of_the_sheet():
    """Its penalty is that of ‖y − Xw‖² + λ‖w‖²."""
    weights = [0.03617548, 1.57560011, -0.76768321, 0.08239452]
    np.testing.assert_allclose(polynomial_fit(*RIDGE, 3, penalty=0.1 / 15), weights, rtol=0, atol=1e-8)


@pytest.mark.parametrize(
    ("weights", "error"),
    [
        ([0.0376539, 0.76123999, 0.25481408, -0.33637375, 0.07039374, -0.00419169], 0.010232666137252305),
        ([-1.11677360e00, 1.26444746e01, -4.08671231e01, 6.88376527e01, -6.61923177e01, 3.90664243e01, -1.46520766e01,
          3.49536281e00, -5.12385788e-01, 4.19911708e-02, -1.47031706e-03], 10.127925633650154),
    ],
)  # fmt: skip
def test_errors_of_given_polynomials_pass_the_test_of_the_sheet(weights, error):
    """Its tolerance: the points and weights it prints do not give its errors more closely (0.0121 and 10.136)."""
    x, y = MSE
    found = ((polynomial_features(x, len(weights) - 1) @ np.array(weights) - y) ** 2).mean()
    assert (found - error) ** 2 < 1e-4


def test_cross_validation_has_the_value_of_the_sheet():
    error = lambda x, y: cross_validation(polynomial_features(x, 8), y, 0.1 / 10, num_folds=3).value
    assert abs(error(*FOLDS) - 0.1172921665191103) < rounding(error, *FOLDS)
    assert abs(error(*FOLDS) - 0.1172921665191103) < 1e-6


def test_a_polynomial_through_its_own_values_is_recovered():
    w = RNG.normal(size=(6, 2))
    x = RNG.uniform(-1, 1, 12)
    np.testing.assert_allclose(polynomial_fit(x, np.polynomial.polynomial.polyval(x, w).T, 5), w, rtol=1e-9)


def test_trigonometric_fit_on_a_grid_is_the_discrete_fourier_transform():
    y = RNG.normal(size=9)
    x = np.arange(9) * 0.7
    waves = np.fft.rfft(y) / 9
    expected = [waves[0].real]
    for wave in waves[1:]:
        expected += [2 * wave.real, -2 * wave.imag]
    np.testing.assert_allclose(trigonometric_fit(x, y, 4, period=9 * 0.7), expected, rtol=1e-9)


def test_more_waves_than_points_interpolate_with_the_minimum_norm():
    x, y = np.sort(RNG.uniform(0, 1, 5)), RNG.normal(size=5)
    z = trigonometric_features(x, 6, period=1.0)
    w = trigonometric_fit(x, y, 6, period=1.0)
    np.testing.assert_allclose(z @ w, y, rtol=1e-9)
    np.testing.assert_allclose(w, np.linalg.pinv(z) @ y, rtol=1e-8)


def test_path_of_penalties_is_the_fits_one_by_one():
    path = np.array([0.01, 0.1])
    together = trigonometric_fit(*RIDGE, 3, period=7.0, penalty=path)
    for row, penalty in zip(together, path, strict=True):
        np.testing.assert_allclose(row, trigonometric_fit(*RIDGE, 3, period=7.0, penalty=penalty), rtol=1e-12)
