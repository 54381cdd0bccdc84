import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlmath import hessian

KEY = jax.random.key(0)


def quartic(x):
    return jnp.sum(x["a"] ** 4) + jnp.prod(x["b"]) ** 2


POINT = {"a": np.array([0.5, -1.0, 2.0]), "b": np.array([1.5, 0.7])}


def test_right_derivatives_of_a_network_pass(problem):
    p = problem("mlp", "cross_entropy")
    function = lambda params: p.objective(params, p.x, p.y)
    op = hessian.operator(p.objective, p.params, p.x, p.y)
    found = hessian.taylor_test(KEY, function, p.params, gradient=jax.grad(function), hessian=op)
    assert found.passed
    assert found.errors.shape == (3, 20)
    assert found.slopes.shape == (3, 19)


def test_remainders_are_those_of_the_series(float64):
    # Along v = 1, f = x³ at x = 1 has the remainders 3h + 3h² + h³, 3h² + h³, h³.
    found = hessian.taylor_test(KEY, lambda x: x**3, jnp.asarray(1.0), hessian=lambda v: 6 * v, num_steps=8)
    sign = 1 if found.errors[0, 0] > 3 else -1  # (1 − h)³ − 1 is −1 at h = 1, and (1 + h)³ − 1 is 7
    h = sign * found.steps
    np.testing.assert_allclose(found.errors[0], np.abs(3 * h + 3 * h**2 + h**3), rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(found.errors[1], np.abs(3 * h**2 + h**3), rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(found.errors[2], np.abs(h**3), rtol=1e-7, atol=1e-14)


@pytest.mark.parametrize("error", [1e-1, 1e-3])
def test_a_wrong_gradient_leaves_a_remainder_of_first_order(float64, error):
    wrong = lambda x: jax.tree.map(lambda leaf: (1 + error) * leaf, jax.grad(quartic)(x))
    found = hessian.taylor_test(KEY, quartic, POINT, gradient=wrong)
    assert not found.passed
    np.testing.assert_allclose(found.slopes[1][-5:], 1.0, atol=0.1)
    assert hessian.taylor_test(KEY, quartic, POINT, gradient=jax.grad(quartic)).passed


def test_a_wrong_hessian_leaves_a_remainder_of_second_order(float64):
    op = hessian.operator(quartic, POINT)
    wrong = lambda v: jax.tree.map(lambda leaf: 1.01 * leaf, op(v))
    found = hessian.taylor_test(KEY, quartic, POINT, hessian=wrong)
    assert not found.passed
    np.testing.assert_allclose(found.slopes[2][8:13], 2.0, atol=0.1)
    assert hessian.taylor_test(KEY, quartic, POINT, hessian=op).passed


def test_the_gauss_newton_matrix_is_no_hessian(problem):
    p = problem("mlp", "mse")
    function = lambda params: p.objective(params, p.x, p.y)
    ggn = hessian.ggn(p.apply, p.loss, p.params, p.x, p.y)
    assert not hessian.taylor_test(KEY, function, p.params, hessian=ggn).passed


def test_a_wrong_custom_rule_of_a_vector_function_is_found(float64):
    @jax.custom_vjp
    def double(x):
        return 2 * x**2

    double.defvjp(lambda x: (double(x), x), lambda x, g: (3 * x * g,))
    assert not hessian.taylor_test(KEY, double, jnp.arange(1.0, 4.0)).passed
    assert hessian.taylor_test(KEY, lambda x: 2 * x**2, jnp.arange(1.0, 4.0)).passed


def test_polynomials_without_a_remainder_pass(float64):
    assert hessian.taylor_test(KEY, lambda x: jnp.sum(x), jnp.arange(3.0)).passed
    quadratic = lambda x: jnp.sum(x**2)
    assert hessian.taylor_test(KEY, quadratic, jnp.arange(3.0), hessian=lambda v: 2 * v).passed
    assert not hessian.taylor_test(KEY, quadratic, jnp.arange(3.0), hessian=lambda v: 2.1 * v).passed


def test_float32_gradients_can_be_tested_too():
    point = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), POINT)
    assert hessian.taylor_test(KEY, quartic, point).passed
    wrong = lambda x: jax.tree.map(lambda leaf: 1.1 * leaf, jax.grad(quartic)(x))
    assert not hessian.taylor_test(KEY, quartic, point, gradient=wrong).passed


def test_transposed_derivatives_of_a_network_are_adjoint(problem):
    p = problem("cnn", "mse")
    apply = lambda params: p.apply(params, p.x)
    forward = lambda v: jax.jvp(apply, (p.params,), (v,))[1]
    adjoint = lambda g: jax.vjp(apply, p.params)[1](g)[0]
    assert hessian.adjoint_test(KEY, forward, adjoint, p.params) < 1e-12
    assert hessian.adjoint_test(KEY, forward, lambda g: adjoint(1.001 * g), p.params) > 1e-6


def test_curvature_operators_are_symmetric(problem):
    p = problem("mlp", "cross_entropy")
    for op in (
        hessian.operator(p.objective, p.params, p.x, p.y),
        hessian.ggn(p.apply, p.loss, p.params, p.x, p.y),
        hessian.fisher(p.apply, p.loss, p.params, p.x, p.y, kind="empirical"),
    ):
        assert hessian.adjoint_test(KEY, op) < 1e-12
    assert hessian.adjoint_test(KEY, hessian_of_a_rotation(), None) > 0.1


def hessian_of_a_rotation():
    from dlmath import linalg

    return linalg.from_matrix(np.array([[0.0, 1.0], [-1.0, 0.0]]))
