"""Rises in a ball, in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlmath as dm
from dlmath import hessian

RHO = 0.3


def spectrum_quadratic(w, matrix):
    return 0.5 * w @ matrix @ w


def matrix_of(eigenvalues):
    rotation, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((len(eigenvalues),) * 2))
    return jnp.asarray(rotation * np.asarray(eigenvalues) @ rotation.T), jnp.asarray(rotation)


def test_one_step_on_a_quadratic_has_the_closed_form():
    with jax.enable_x64(True):
        matrix, _ = matrix_of([5.0, 2.0, 1.0, 0.1])
        w = jnp.array([1.0, -2.0, 0.5, 3.0])
        rise = hessian.sam_sharpness(spectrum_quadratic, w, matrix, rho=RHO)
        g = matrix @ w
        expected = RHO * jnp.linalg.norm(g) + 0.5 * RHO**2 * g @ matrix @ g / (g @ g)
        np.testing.assert_allclose(rise.value, expected, rtol=1e-12)
        np.testing.assert_allclose(rise.perturbation, RHO * g / jnp.linalg.norm(g), rtol=1e-12)


def test_at_a_minimum_the_rise_is_half_rho_squared_times_the_largest_eigenvalue():
    with jax.enable_x64(True):
        matrix, _ = matrix_of([5.0, 2.0, 1.0, 0.1])
        rise = hessian.sam_sharpness(
            spectrum_quadratic, jnp.zeros(4), matrix, rho=RHO, num_steps=40, start=jnp.array([1.0, 0, 0, 0])
        )
        np.testing.assert_allclose(rise.value, 0.5 * RHO**2 * 5, rtol=1e-12)
        assert (np.diff(rise.values) >= -1e-15).all()


def test_the_rise_of_a_stationary_point_without_start_is_zero():
    matrix, _ = matrix_of([5.0, 2.0])
    rise = hessian.sam_sharpness(spectrum_quadratic, jnp.zeros(2), jnp.float32(matrix), rho=RHO, num_steps=3)
    assert rise.value == 0
    assert not rise.perturbation.any()


def test_more_steps_reach_the_maximum_over_the_ball_of_a_convex_function():
    with jax.enable_x64(True):
        matrix, _ = matrix_of([5.0, 1.0])
        w = jnp.array([0.05, 0.02])
        found = hessian.sam_sharpness(spectrum_quadratic, w, matrix, rho=RHO, num_steps=100)
        angle = np.linspace(0, 2 * np.pi, 200_001)
        circle = w + RHO * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        exact = 0.5 * np.einsum("ai,ij,aj->a", circle, matrix, circle).max() - spectrum_quadratic(w, matrix)
        np.testing.assert_allclose(found.value, exact, rtol=1e-8)


@pytest.mark.parametrize("adaptive", [False, True])
def test_perturbations_lie_on_the_sphere_of_their_ball(adaptive):
    with jax.enable_x64(True):
        params = {"w": jnp.array([1.0, -2.0]), "b": jnp.array(0.5)}
        objective = lambda p: jnp.sum(p["w"] ** 4) + p["b"] * p["w"][0]
        rise = hessian.sam_sharpness(objective, params, rho=RHO, num_steps=2, adaptive=adaptive)
        parts = [
            np.ravel(e / abs(w) if adaptive else e)
            for e, w in zip(jax.tree.leaves(rise.perturbation), jax.tree.leaves(params), strict=True)
        ]
        np.testing.assert_allclose(np.linalg.norm(np.concatenate(parts)), RHO, rtol=1e-12)


def test_the_adaptive_rise_does_not_change_when_relu_layers_are_rescaled():
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((9, 3)), rng.standard_normal((9, 1))
    model = dm.models.mlp([4], 1, bias_std=0.5)
    objective = lambda params: dm.train.losses.mse(model.apply(params, x), y)
    with jax.enable_x64(True):
        params = model.init(jax.random.key(0), x)
        moved = hessian.dinh_rescaling(params, 6.0)
        rise = lambda p, adaptive: hessian.sam_sharpness(objective, p, rho=0.1, num_steps=3, adaptive=adaptive).value
        np.testing.assert_allclose(rise(moved, True), rise(params, True), rtol=1e-10)
        assert abs(rise(moved, False) / rise(params, False) - 1) > 0.5


def test_single_precision_agrees_with_double():
    matrix, _ = matrix_of([5.0, 2.0, 1.0])
    w = np.array([1.0, -2.0, 0.5])
    with jax.enable_x64(True):
        double = hessian.sam_sharpness(spectrum_quadratic, w, jnp.asarray(matrix, float), rho=RHO, num_steps=3).value
    single = hessian.sam_sharpness(
        spectrum_quadratic, w.astype(np.float32), jnp.float32(matrix), rho=RHO, num_steps=3
    ).value
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, double, rtol=1e-4)
