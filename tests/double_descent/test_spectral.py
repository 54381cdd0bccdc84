"""Filters against the linear systems and differential equations that define them; criteria against refits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import sklearn.linear_model
from sklearn.model_selection import KFold, cross_val_score

from dlmath.double_descent import (
    coefficients,
    cross_validation,
    decompose,
    degrees_of_freedom,
    fitted,
    gcv,
    gradient_flow,
    l_curve,
    leave_one_out,
    picard,
    tikhonov,
    truncated,
)
from dlmath.linalg import min_norm, ridge

RNG = np.random.default_rng(0)
SHAPES = [(9, 4), (6, 6), (5, 11)]
PENALTIES = np.array([1e-3, 0.2, 3.0])


def problem(n, p, outputs=2):
    return RNG.normal(size=(n, p)), RNG.normal(size=(n, outputs))


@pytest.mark.parametrize("shape", SHAPES)
def test_tikhonov_filter_is_ridge_regression(shape):
    x, y = problem(*shape)
    found = decompose(x, y)
    np.testing.assert_allclose(coefficients(found, tikhonov(found, PENALTIES)), ridge(x, y, PENALTIES), rtol=1e-10)
    np.testing.assert_allclose(
        fitted(found, tikhonov(found, 0.2)), x @ ridge(x, y, 0.2), rtol=1e-9, atol=1e-12
    )  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_gradient_flow_filter_solves_its_differential_equation(shape):
    """β' = −(Aβ − b) has the solution (I − e^{−tA}) A⁺ b, the last block of the exponential of [[−A, b], [0, 0]]."""
    x, y = problem(*shape, outputs=1)
    n, p = shape
    found = decompose(x, y[:, 0])
    for time in (0.1, 2.0):
        generator = np.zeros((p + 1, p + 1))
        generator[:p, :p], generator[:p, p:] = -x.T @ x / n, x.T @ y / n
        expected = scipy.linalg.expm(time * generator)[:p, p]
        np.testing.assert_allclose(coefficients(found, gradient_flow(found, time)), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_filters_meet_the_minimum_norm_solution_in_their_limits(shape):
    x, y = problem(*shape)
    found = decompose(x, y)
    expected = min_norm(x, y)
    for limit in (tikhonov(found, 0.0), gradient_flow(found, 1e9), truncated(found, min(shape))):
        np.testing.assert_allclose(coefficients(found, limit), expected, rtol=1e-8)
        np.testing.assert_allclose(limit.kept + limit.left, 1, rtol=1e-12)


def test_truncated_filter_is_the_best_approximation_of_lower_rank():
    x, y = problem(9, 4)
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    low = (u[:, :2] * s[:2]) @ vt[:2]
    found = decompose(x, y)
    np.testing.assert_allclose(
        coefficients(found, truncated(found, 2)), np.linalg.pinv(low, rcond=1e-12) @ y, rtol=1e-9
    )


def test_degrees_of_freedom_are_the_trace_of_the_hat_matrix():
    x, y = problem(9, 4)
    found = decompose(x, y)
    hat = x @ np.linalg.solve(x.T @ x + 9 * 0.2 * np.eye(4), x.T)
    np.testing.assert_allclose(degrees_of_freedom(tikhonov(found, 0.2)), np.trace(hat), rtol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_leave_one_out_is_that_of_refits_without_each_point(shape):
    x, y = problem(*shape)
    n, p = shape
    found = decompose(x, y)
    for penalty in PENALTIES:
        errors = []
        for i in range(n):
            rest = np.delete(np.arange(n), i)
            beta = np.linalg.solve(x[rest].T @ x[rest] + n * penalty * np.eye(p), x[rest].T @ y[rest])
            errors.append(((x[i] @ beta - y[i]) ** 2).sum())
        np.testing.assert_allclose(leave_one_out(found, tikhonov(found, penalty)), np.mean(errors), rtol=1e-9)


def test_leave_one_out_of_an_interpolating_solution_is_its_limit():
    x, y = problem(5, 11)
    found = decompose(x, y)
    refits = [((x[i] @ np.linalg.pinv(np.delete(x, i, 0)) @ np.delete(y, i, 0) - y[i]) ** 2).sum() for i in range(5)]
    for penalty in (1e-13, 1e-30):
        np.testing.assert_allclose(leave_one_out(found, tikhonov(found, penalty)), np.mean(refits), rtol=1e-8)
    # A filter that leaves exactly nothing says nothing.
    assert leave_one_out(found, truncated(found, 5)) == gcv(found, truncated(found, 5)) == np.inf


def test_gcv_is_that_of_scikit_learn():
    """Its cross-validation with the leverages replaced by their mean: leave-one-out of the data rotated by a DFT."""
    x, y = problem(9, 4)
    found = decompose(x, y)
    hat = x @ np.linalg.solve(x.T @ x + 9 * 0.2 * np.eye(4), x.T)
    residual = y - hat @ y
    expected = (residual**2).sum() / 9 / (np.trace(np.eye(9) - hat) / 9) ** 2
    np.testing.assert_allclose(gcv(found, tikhonov(found, 0.2)), expected, rtol=1e-12)
    # Golub, Heath and Wahba's theorem: after U ↦ F Uᵀ with the unitary Fourier matrix all leverages are equal.
    u, s, vt = np.linalg.svd(x)
    sigma = np.zeros((9, 4))
    sigma[:4] = np.diag(s)
    rotation = np.fft.fft(np.eye(9)) / 3 @ u.T
    x_rotated, y_rotated = rotation @ x @ vt.T, rotation @ y
    hat_rotated = x_rotated @ np.linalg.solve(x_rotated.conj().T @ x_rotated + 9 * 0.2 * np.eye(4), x_rotated.conj().T)
    errors = (y_rotated - hat_rotated @ y_rotated) / (1 - np.diag(hat_rotated))[:, None]
    np.testing.assert_allclose(gcv(found, tikhonov(found, 0.2)), (abs(errors) ** 2).sum() / 9, rtol=1e-10)


@pytest.mark.parametrize("num_folds", [2, 4, 12])
def test_cross_validation_is_that_of_scikit_learn(num_folds):
    x, y = problem(12, 5, outputs=1)
    found = cross_validation(x, y[:, 0], PENALTIES, num_folds=num_folds)
    for index, penalty in enumerate(PENALTIES):
        model = sklearn.linear_model.Ridge(alpha=penalty * (12 - 12 // num_folds), fit_intercept=False)
        scores = -cross_val_score(model, x, y[:, 0], cv=KFold(num_folds), scoring="neg_mean_squared_error")
        np.testing.assert_allclose(found.value[index], scores.mean(), rtol=1e-9)
        np.testing.assert_allclose(found.standard_error[index], scores.std(ddof=1) / num_folds**0.5, rtol=1e-8)


def test_cross_validation_without_a_penalty_uses_the_minimum_norm_solution():
    x, y = problem(6, 20)
    found = cross_validation(x, y, 0.0, num_folds=3)
    errors = []
    for fold in range(3):
        held = np.arange(2 * fold, 2 * fold + 2)
        rest = np.delete(np.arange(6), held)
        errors.append(((x[held] @ np.linalg.pinv(x[rest]) @ y[rest] - y[held]) ** 2).sum(1).mean())
    np.testing.assert_allclose(found.value, np.mean(errors), rtol=1e-9)


def test_shuffled_cross_validation_is_that_of_the_points_in_another_order():
    x, y = problem(12, 3)
    key = jax.random.key(3)
    order = jax.random.permutation(key, 12)
    shuffled = cross_validation(x, y, 0.1, num_folds=3, key=key)
    np.testing.assert_allclose(shuffled.value, cross_validation(x[order], y[order], 0.1, num_folds=3).value, rtol=1e-10)


def test_curvature_of_the_l_curve_is_its_closed_form():
    """From dρ/dμ = −μ² dη/dμ for η = ‖β‖², ρ = ‖residual‖² and μ² = nλ (Hansen & O'Leary 1993)."""
    x, y = problem(9, 4, outputs=1)
    n = len(x)
    found = l_curve(decompose(x, y), PENALTIES)
    u, s, _ = np.linalg.svd(x, full_matrices=False)
    beta = (u.T @ y)[:, 0]
    outside = (y**2).sum() - (beta**2).sum()
    for index, penalty in enumerate(PENALTIES):
        lam = np.sqrt(n * penalty)
        f = s**2 / (s**2 + lam**2)
        eta = ((f * beta / s) ** 2).sum()
        rho = (((1 - f) * beta) ** 2).sum() + outside
        slope = (-4 / lam) * ((1 - f) * f**2 * beta**2 / s**2).sum()
        bend = lam**2 * slope * rho + 2 * lam * eta * rho + lam**4 * eta * slope
        expected = 2 * eta * rho / abs(slope) * bend / (lam**4 * eta**2 + rho**2) ** 1.5
        np.testing.assert_allclose(found.curvature[index], expected, rtol=1e-8)
        np.testing.assert_allclose(found.norm[index] ** 2, eta, rtol=1e-10)
        np.testing.assert_allclose(found.residual_norm[index] ** 2, rho, rtol=1e-10)


def test_corner_of_the_l_curve_regularises_an_ill_posed_problem():
    """Hilbert matrix, noise 1e-4: the corner's relative error is below 10 %, and a hundredth of the smallest penalty's."""
    x = scipy.linalg.hilbert(20)
    truth = np.ones(20)
    y = x @ truth + 1e-4 * RNG.normal(size=20)
    path = np.geomspace(1e-14, 1e-2, 60)
    found = decompose(x, y)
    curve = l_curve(found, path)
    assert curve.bracketed
    errors = jnp.linalg.norm(coefficients(found, tikhonov(found, path)) - truth, axis=1)
    assert errors[curve.corner] < 0.1 * np.linalg.norm(truth)
    assert errors[curve.corner] < 0.01 * errors[0]


def test_picard_ratios_are_the_coordinates_of_the_least_squares_solution():
    x, y = problem(9, 4)
    found = picard(decompose(x, y))
    _, _, vt = np.linalg.svd(x, full_matrices=False)
    np.testing.assert_allclose(found.coefficients, np.linalg.norm(vt @ np.linalg.pinv(x) @ y, axis=1), rtol=1e-9)
