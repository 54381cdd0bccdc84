import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

import dlmath as dm

X = np.linspace(-5, 5, 101)
A = dm.models.activations

FORMULAS = {
    "relu": lambda x: np.maximum(x, 0),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "elu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "gelu": lambda x: x * scipy.special.ndtr(x),
    "erf": scipy.special.erf,
    "tanh": np.tanh,
    "sigmoid": scipy.special.expit,
    "softplus": lambda x: np.logaddexp(0, x),
    "sin": np.sin,
    "identity": lambda x: x,
}


def test_every_activation_has_a_formula_here():
    assert set(FORMULAS) == set(A.ACTIVATIONS)


@pytest.mark.parametrize("name", FORMULAS)
def test_equals_its_formula(name):
    with jax.enable_x64(True):
        np.testing.assert_allclose(A.get(name)(X), FORMULAS[name](X), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", FORMULAS)
def test_derivatives_are_finite_everywhere_even_far_out_and_at_zero(name):
    x = jnp.array([-1e4, -100.0, -1.0, 0.0, 1.0, 100.0, 1e4])
    assert np.isfinite(jax.jit(jax.vmap(jax.grad(A.get(name))))(x)).all()


def test_relu_is_idempotent():
    np.testing.assert_array_equal(A.relu(A.relu(X)), A.relu(X))


def test_softplus_has_slope_at_most_one():
    slopes = jax.vmap(jax.grad(A.softplus))(jnp.asarray(X))
    np.testing.assert_allclose(slopes, scipy.special.expit(X), rtol=1e-5)
    assert (slopes < 1).all()


def test_leaky_relu_takes_another_slope():
    np.testing.assert_allclose(A.leaky_relu(-2.0, slope=0.3), -0.6, rtol=1e-6)


def test_a_sigmoid_network_is_a_tanh_network_with_other_weights():
    """SNU homework 3: σ(z) = (1 + tanh(z/2))/2, absorbed into the weights of the next layer."""
    with jax.enable_x64(True):
        x = np.random.default_rng(0).normal(size=(7, 3))
        sigmoid, tanh = (dm.models.mlp([5, 4], 2, activation=name, bias_std=0.5) for name in ("sigmoid", "tanh"))
        params = sigmoid.init(jax.random.key(0), x)
        mapped = []
        for index, p in enumerate(params):
            weight, bias = p["weight"], p["bias"]
            if index > 0:
                weight, bias = weight / 2, bias + weight.sum(axis=0) / 2
            if index < 2:
                weight, bias = weight / 2, bias / 2
            mapped.append({"weight": weight, "bias": bias})
        np.testing.assert_allclose(tanh.apply(tuple(mapped), x), sigmoid.apply(params, x), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("name", "dead"), [("relu", True), ("leaky_relu", False)])
def test_a_unit_that_is_off_on_all_data_has_gradient_exactly_zero_only_for_relu(name, dead):
    """SNU homework 3."""
    x = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    model = dm.models.mlp([5], 1, activation=name)
    params = model.init(jax.random.key(0), x)
    params = (params[0] | {"bias": params[0]["bias"].at[2].set(-1e3)}, params[1])
    gradient = jax.grad(lambda p: jnp.sum(model.apply(p, x) ** 2))(params)[0]
    assert (float(abs(gradient["weight"][:, 2]).max()) == 0.0) is dead
    assert (float(gradient["bias"][2]) == 0.0) is dead


def test_any_callable_is_an_activation():
    model = dm.models.mlp([5], 1, activation=jnp.cos, bias_std=None)
    x = np.ones((2, 3), np.float32)
    params = model.init(jax.random.key(0), x)
    expected = jnp.cos(x @ params[0]["weight"]) @ params[1]["weight"]
    np.testing.assert_allclose(model.apply(params, x), expected, rtol=1e-4, atol=1e-5)
