"""Predictions, learning curves and alignments against closed forms, neural-tangents and simulations."""

import math
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from dlmath.ntk import (
    Grams,
    alignment,
    effective_rank,
    gp_posterior,
    gradient_descent,
    learning_curve,
    max_learning_rate,
    ntk_ensemble,
    similarity,
    spectrum,
    task_coefficients,
)

RNG = np.random.default_rng(0)
POINTS = RNG.normal(size=(9, 3))
K = np.exp(-((POINTS[:, None] - POINTS) ** 2).sum(-1) / 4)
THETA = K + POINTS @ POINTS.T / 3
N = 6
NNGP, NTK = (Grams(k[:N, :N], k[N:, :N], k[N:, N:]) for k in (K, THETA))
Y = RNG.normal(size=(N, 2))


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("get", ["nngp", "ntk"])
def test_ensembles_at_a_finite_time_are_those_of_neural_tangents(get):
    """Its loss also divides by the 2 outputs, so that its t = 0.5 is 0.25 here; its diag_reg is relative to tr Θ/n."""
    with np.load(Path(__file__).parent.parent / "data" / "neural_tangents_0.6.5.npz") as stored:
        kernel = lambda name, pair: stored[f"fc_relu_3/{name}/{pair}"]
        train = {name: kernel(name, "x1x1") for name in ("nngp", "ntk")}
        new = {name: kernel(name, "x1x2").T for name in ("nngp", "ntk")}
        y, x_new = stored["y"], stored["xf2"]
        expected = [stored[f"predict_ensemble/{get}/t=0.5/{part}"] for part in ("mean", "cov")]
    from dlmath.kernels import Activation, Dense, infinite_width

    prior = infinite_width([*[Dense(1, 1.5, 0.05), Activation()] * 3, Dense(1)])(x_new, get="nngp")
    moving = train[get] + 1e-3 * np.trace(train[get]) / len(y) * np.eye(len(y))
    start = train["nngp"] if get == "ntk" else moving
    found = ntk_ensemble(Grams(start, new["nngp"], prior), Grams(moving, new[get]), y, time=0.25)
    np.testing.assert_allclose(found.mean, expected[0], rtol=1e-7)
    np.testing.assert_allclose(found.covariance, expected[1], rtol=1e-7)


def test_posterior_is_the_conditional_of_the_joint_gaussian():
    noise = 0.1
    joint = K + noise * np.diag([1.0] * N + [0.0] * 3)
    solved = np.linalg.solve(joint[:N, :N], joint[:N, N:])
    found = gp_posterior(NNGP, Y, noise=noise, jitter=0.0)
    np.testing.assert_allclose(found.mean, solved.T @ Y, rtol=1e-9)
    np.testing.assert_allclose(found.covariance, joint[N:, N:] - joint[N:, :N] @ solved, rtol=1e-8, atol=1e-12)
    variances = gp_posterior(NNGP._replace(prior=np.diag(NNGP.prior)), Y, noise=noise, jitter=0.0).covariance
    np.testing.assert_allclose(variances, np.diag(found.covariance), rtol=1e-8)
    density = scipy.stats.multivariate_normal(cov=joint[:N, :N]).logpdf(Y.T).sum()
    np.testing.assert_allclose(found.log_marginal_likelihood, density, rtol=1e-10)
    assert found.residual < 1e-13


def test_gradient_flow_solves_its_differential_equation():
    start, start_new = RNG.normal(size=(N, 2)), RNG.normal(size=(3, 2))
    f, f_new = gradient_descent(NTK.train, Y, 3.0, theta_new=NTK.new, initial=start, initial_new=start_new)
    whole = np.concatenate([start, start_new]).ravel()
    rate = lambda _, f: (-THETA[:, :N] @ (f.reshape(-1, 2)[:N] - Y) / N).ravel()
    solved = scipy.integrate.solve_ivp(rate, (0, 3.0), whole, rtol=1e-10, atol=1e-12).y[:, -1].reshape(-1, 2)
    np.testing.assert_allclose(np.concatenate([f, f_new]), solved, rtol=1e-7)


def test_steps_of_gradient_descent_are_the_iteration():
    eta, f, f_new = 0.5, np.zeros_like(Y), np.zeros((3, 2))
    for _ in range(7):
        f, f_new = f - eta * NTK.train @ (f - Y) / N, f_new - eta * NTK.new @ (f - Y) / N
    found = gradient_descent(NTK.train, Y, np.array([0, 7]), theta_new=NTK.new, learning_rate=eta)
    np.testing.assert_allclose(found[0][1], f, rtol=1e-10)
    np.testing.assert_allclose(found[1][1], f_new, rtol=1e-10)
    np.testing.assert_allclose(found[0][0], 0, atol=1e-14)


def test_gradient_descent_diverges_just_above_the_largest_learning_rate():
    largest = max_learning_rate(NTK.train)
    gaps = [
        np.abs(gradient_descent(NTK.train, Y, 10_000, learning_rate=factor * largest)[0] - Y).max()
        for factor in (0.99, 1.01)
    ]
    assert gaps[0] < np.abs(Y).max() < 1e6 < gaps[1]


def test_trained_networks_interpolate_and_equal_samples_trained_one_by_one():
    """Mean and covariance over 4000 draws of the initial function, each trained to the end."""
    draws = np.random.default_rng(1).multivariate_normal(np.zeros(9), K, size=4000).T
    targets = np.repeat(Y[:, :1], 4000, axis=1)
    trained, new = gradient_descent(
        NTK.train, targets, np.inf, theta_new=NTK.new, initial=draws[:N], initial_new=draws[N:]
    )
    np.testing.assert_allclose(trained, targets, atol=1e-9)
    found = ntk_ensemble(NNGP, NTK, Y[:, 0])
    error = np.sqrt(np.diag(found.covariance) / 4000)
    assert (np.abs(np.asarray(new).mean(1) - found.mean) < 4 * error).all()
    # A sample covariance of Gaussians has the variance (cᵢᵢ cⱼⱼ + cᵢⱼ²)/draws, at most twice cᵢᵢ cⱼⱼ/draws.
    scale = np.outer(np.diag(found.covariance), np.diag(found.covariance))
    assert (np.abs(np.cov(new) - found.covariance) < 4 * np.sqrt(2 * scale / 4000)).all()


def test_indefinite_matrices_are_named_with_their_smallest_eigenvalue():
    indefinite = np.array([[1.0, 2.0], [2.0, 1.0]])
    for call in (
        lambda: spectrum(indefinite),
        lambda: gradient_descent(indefinite, np.ones(2), 1.0),
        lambda: gp_posterior(Grams(indefinite, np.ones((1, 2))), np.ones(2)),
    ):
        with pytest.raises(ValueError, match=r"smallest eigenvalue -1"):
            call()


# ------------------------------------------------------------------------------------------------ learning curves

LAMBDA = np.arange(1, 401) ** -1.5
COEFFICIENTS = 1.0 / np.arange(1, 401)


@pytest.mark.parametrize(
    ("n", "ridge", "noise", "expected"), [(20, 0.0, 0.0, 0.12684), (60, 0.05, 0.1, 0.05734), (120, 1e-3, 0.3, 0.19673)]
)
def test_predicted_errors_are_those_of_regressions_on_gaussian_features(n, ridge, noise, expected):
    """100 draws within 4 standard errors; beside them the figures of the authors' theory.py."""
    curve = learning_curve(LAMBDA, COEFFICIENTS, n, ridge=ridge, noise=noise**2)
    np.testing.assert_allclose(curve.test_error, expected, rtol=5e-5)
    rng = np.random.default_rng(0)
    errors = []
    for _ in range(100):
        features = rng.normal(size=(n, 400))
        y = features @ COEFFICIENTS + noise * rng.normal(size=n)
        k = (features * LAMBDA) @ features.T + ridge * np.eye(n)
        dual = np.linalg.solve(k, y)
        fitted = LAMBDA * (features.T @ dual)
        errors.append([((fitted - COEFFICIENTS) ** 2).sum() + noise**2, ridge**2 * (dual**2).mean()])
    mean, error = np.mean(errors, 0), np.std(errors, 0) / math.sqrt(100)
    assert abs(mean[0] - curve.test_error) < 4 * error[0]
    assert abs(mean[1] - curve.train_error) < 4 * error[1] + 1e-20


def test_learnabilities_add_up_to_the_number_of_points():
    n = np.array([5, 50, 300])
    curve = learning_curve(LAMBDA, COEFFICIENTS, n)
    np.testing.assert_allclose(curve.learnabilities.sum(-1), n, rtol=1e-12)
    ridged = learning_curve(LAMBDA, COEFFICIENTS, n, ridge=0.3)
    np.testing.assert_allclose(ridged.learnabilities.sum(-1) + 0.3 / ridged.kappa, n, rtol=1e-12)
    np.testing.assert_array_equal(curve.train_error < 1e-24, True)


def test_more_points_than_modes_make_an_ordinary_regression():
    """M = 4 modes and noise: test error σ² n/(n − M), train error σ² (n − M)/n in the mean."""
    curve = learning_curve(np.ones(4), np.ones(4), np.array([8, 40]), noise=0.5)
    np.testing.assert_allclose(curve.test_error, 0.5 * np.array([8 / 4, 40 / 36]), rtol=1e-12)
    np.testing.assert_allclose(curve.train_error, 0.5 * np.array([4 / 8, 36 / 40]), rtol=1e-12)
    assert np.isinf(learning_curve(np.ones(4), np.ones(4), 4, noise=0.5).test_error)


def test_float64_from_numpy_is_taken_without_a_warning_where_jax_has_float32():
    with jax.enable_x64(False), warnings.catch_warnings():
        warnings.simplefilter("error")
        curve = learning_curve(np.ones(10), np.ones(10), np.array([5.0]), ridge=np.float64(0.0))
    assert curve.kappa.dtype == jnp.float32
    np.testing.assert_allclose(curve.kappa, 1, rtol=1e-6)


def test_learning_curves_have_the_derivatives_of_their_differences():
    f = lambda s: learning_curve(s * LAMBDA, COEFFICIENTS, 30, ridge=0.1, noise=0.2).test_error
    np.testing.assert_allclose(jax.grad(f)(1.0), (f(1 + 1e-5) - f(1 - 1e-5)) / 2e-5, rtol=1e-7)


# ------------------------------------------------------------------------------------------------------ spectra


def test_spectrum_and_coefficients_rebuild_matrix_and_targets():
    s = spectrum(K)
    np.testing.assert_allclose((s.eigenvectors * 9 * s.eigenvalues) @ s.eigenvectors.T, K, atol=1e-13)
    y = RNG.normal(size=(9, 2))
    v = task_coefficients(s, y)
    np.testing.assert_allclose(math.sqrt(9) * s.eigenvectors @ v, y, atol=1e-13)
    np.testing.assert_allclose((v**2).sum(0), (y**2).mean(0), rtol=1e-12)


@pytest.mark.parametrize("kind", ["entropy", "participation", "intrinsic"])
def test_a_projection_has_its_rank(kind):
    q = np.linalg.qr(RNG.normal(size=(9, 4)))[0]
    np.testing.assert_allclose(effective_rank(3 * q @ q.T, kind=kind), 4, rtol=1e-10)


def test_centred_alignment_ignores_the_mean_and_equals_its_definition():
    y, h = RNG.normal(size=(9, 2)), np.eye(9) - 1 / 9
    centred, target = h @ K @ h, h @ y @ y.T @ h
    expected = (centred * target).sum() / np.linalg.norm(centred) / np.linalg.norm(target)
    np.testing.assert_allclose(alignment(K, y), expected, rtol=1e-12)
    np.testing.assert_allclose(alignment(K + 5, y + 3), expected, rtol=1e-12)
    np.testing.assert_allclose(similarity(K, y @ y.T), expected, rtol=1e-12)
    plain = (K * (y @ y.T)).sum() / np.linalg.norm(K) / np.linalg.norm(y @ y.T)
    np.testing.assert_allclose(alignment(K, y, centered=False), plain, rtol=1e-12)


def test_everything_lowers_for_cuda_and_tpu():
    def everything(k, y):
        s = spectrum(k)
        curve = learning_curve(s.eigenvalues, task_coefficients(s, y), 5, ridge=0.1)
        grams = Grams(k, k, k)
        outputs = gp_posterior(grams, y), ntk_ensemble(grams, grams, y), gradient_descent(k, y, 1.0)
        return curve, outputs, alignment(k, y), effective_rank(s), max_learning_rate(k)

    jax.jit(everything).trace(jnp.asarray(K), jnp.ones(9)).lower(lowering_platforms=("cuda", "tpu"))
