"""Rescaled ReLU networks: the same function with another curvature."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import dlmath as dm
from dlmath import hessian

X = np.random.default_rng(0).standard_normal((12, 3))
Y = np.random.default_rng(1).standard_normal((12, 2))


def parameters(activation="relu"):
    model = dm.models.mlp([5], 2, activation=activation, bias_std=0.5)
    return model, model.init(jax.random.key(0), X)


def objective(apply):
    return lambda params: dm.train.losses.mse(apply(params, X), Y)


def dense_hessian(apply, params):
    flat, unravel = ravel_pytree(params)
    return jax.hessian(lambda w: objective(apply)(unravel(w)))(flat)


@pytest.mark.parametrize("alpha", [0.25, 3.0, 1024.0])
def test_rescaling_leaves_the_function_of_a_relu_network(alpha):
    with jax.enable_x64(True):
        model, params = parameters()
        moved = hessian.dinh_rescaling(params, alpha)
        np.testing.assert_allclose(model.apply(moved, X), model.apply(params, X), rtol=1e-12)


def test_rescaling_by_a_power_of_two_changes_no_bit_of_the_outputs():
    model, params = parameters()
    np.testing.assert_array_equal(model.apply(hessian.dinh_rescaling(params, 2.0**20), X), model.apply(params, X))


def test_rescaling_changes_the_function_of_a_tanh_network():
    model, params = parameters("tanh")
    assert np.abs(model.apply(hessian.dinh_rescaling(params, 3.0), X) - model.apply(params, X)).max() > 1e-2


def test_blocks_of_the_hessian_move_by_alpha_squared_and_its_inverse():
    alpha = 7.0
    with jax.enable_x64(True):
        model, params = parameters()
        before = dense_hessian(model.apply, params)
        after = dense_hessian(model.apply, hessian.dinh_rescaling(params, alpha))
        mark = jax.tree.map(jnp.zeros_like, params)
        first = mark[0] | {name: leaf + 1 for name, leaf in mark[0].items()}
        second = mark[1] | {"weight": mark[1]["weight"] + 1}
        in_first = ravel_pytree((first, mark[1]))[0] == 1
        in_second = ravel_pytree((mark[0], second))[0] == 1
        spectrum = lambda matrix, rows: np.linalg.eigvalsh(np.asarray(matrix)[np.ix_(rows, rows)])
        H22 = spectrum(before, in_second)
        np.testing.assert_allclose(spectrum(after, in_second), alpha**2 * H22, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(
            spectrum(after, in_first), alpha**-2 * spectrum(before, in_first), rtol=1e-9, atol=1e-12
        )
        assert np.linalg.eigvalsh(after)[-1] >= alpha**2 * H22[-1] * (1 - 1e-12)


def test_rescaling_and_its_inverse_cancel():
    _, params = parameters()
    back = hessian.dinh_rescaling(hessian.dinh_rescaling(params, 4.0), 0.25)
    jax.tree.map(np.testing.assert_array_equal, back, params)


def test_layers_are_named_in_dicts_and_tuples_keep_their_type():
    params = {"in": {"kernel": jnp.ones((2, 3))}, "norm": jnp.ones(3), "out": (jnp.ones((3, 1)), jnp.ones(1))}
    moved = hessian.dinh_rescaling(params, 2.0, layers=("in", "out"))
    assert moved["in"]["kernel"][0, 0] == 2
    assert moved["norm"][0] == 1
    assert moved["out"][0][0, 0] == 0.5
    assert moved["out"][1][0] == 1
