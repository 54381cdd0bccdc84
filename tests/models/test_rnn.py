"""Recurrent networks: flax's cells, causality, gradients through time."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlmath as dm

CELLS = ("plain", "lstm", "gru")


@pytest.fixture(scope="module")
def x():
    return jnp.asarray(np.random.default_rng(0).normal(size=(3, 5, 4)), jnp.float32)


def flax_states(cell, layer, x):
    """The states [batch, time, hidden] of flax linen's cell with the weights of `layer`, step by step."""
    size = layer["recurrent"].shape[0]
    gates = {"plain": "i", "lstm": "ifgo", "gru": "rzn"}[cell]
    parts = {name: jnp.split(value, len(gates), -1) for name, value in layer.items() if name != "recurrent_bias"}
    if cell == "plain":
        module = nn.SimpleCell(size)
        params = {"i": {"kernel": layer["input"], "bias": layer["bias"]}, "h": {"kernel": layer["recurrent"]}}
    elif cell == "lstm":
        module = nn.OptimizedLSTMCell(size)
        params = {"i" + g: {"kernel": w} for g, w in zip(gates, parts["input"], strict=True)}
        params |= {
            "h" + g: {"kernel": w, "bias": b} for g, w, b in zip(gates, parts["recurrent"], parts["bias"], strict=True)
        }
    else:
        module = nn.GRUCell(size)
        params = {
            "i" + g: {"kernel": w, "bias": b} for g, w, b in zip(gates, parts["input"], parts["bias"], strict=True)
        }
        params |= {"h" + g: {"kernel": w} for g, w in zip(gates, parts["recurrent"], strict=True)}
        params["hn"]["bias"] = layer["recurrent_bias"]
    zero = jnp.zeros((x.shape[0], size))
    carry = (zero, zero) if cell == "lstm" else zero
    states = []
    for t in range(x.shape[1]):
        carry, h = module.apply({"params": params}, carry, x[:, t])
        states.append(h)
    return jnp.stack(states, 1)


@pytest.mark.parametrize("cell", CELLS)
def test_two_stacked_layers_equal_flax_cells_with_the_same_weights(cell, x):
    model = dm.models.rnn([6, 5], 2, cell=cell, every_step=True, bias_std=0.5)
    params = model.init(jax.random.key(0), x)
    h = flax_states(cell, params[1], flax_states(cell, params[0], x))
    expected = h @ params[2]["weight"] + params[2]["bias"]
    np.testing.assert_allclose(model.apply(params, x), expected, atol=1e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_the_last_step_is_the_default_output(cell, x):
    model, every = (dm.models.rnn(6, 2, cell=cell, every_step=step) for step in (False, True))
    params = model.init(jax.random.key(0), x)
    np.testing.assert_allclose(model.apply(params, x), every.apply(params, x)[:, -1], rtol=1e-6)


@pytest.mark.parametrize("cell", CELLS)
def test_outputs_before_a_change_of_the_input_do_not_change(cell, x):
    model = dm.models.rnn(6, 2, cell=cell, every_step=True)
    params = model.init(jax.random.key(0), x)
    before, after = model.apply(params, x), model.apply(params, x.at[:, 3].add(1.0))
    np.testing.assert_array_equal(before[:, :3], after[:, :3])
    assert (before[:, 3:] != after[:, 3:]).all()


@pytest.mark.parametrize("radius", [0.5, 0.9, 1.1])
def test_gradients_of_a_linear_network_decay_like_the_spectral_radius_to_the_time(radius):
    """Symmetric V: dy_T/dx_{T-t} = U V^t A, dominated by the top eigenvector, so ratios over a step tend to ρ."""
    with jax.enable_x64(True):
        model = dm.models.rnn(8, 1, activation="identity", bias_std=None)
        x = jnp.ones((1, 40, 2))
        params = model.init(jax.random.key(0), x)
        symmetric = params[0]["recurrent"] + params[0]["recurrent"].T
        symmetric = symmetric @ symmetric  # positive, so that its top eigenvalue stands alone
        params[0]["recurrent"] = radius * symmetric / jnp.linalg.norm(symmetric, 2)
        gradient = jax.grad(lambda x: model.apply(params, x)[0, 0])(x)[0]
        norms = jnp.linalg.norm(gradient, axis=1)[::-1]
        np.testing.assert_allclose(norms[-1] / norms[-2], radius, rtol=1e-3)
        slope = np.polyfit(np.arange(20, 40), np.log(norms[20:]), 1)[0]
        np.testing.assert_allclose(slope, np.log(radius), atol=0.02)


def test_random_recurrent_weights_fill_the_disc_of_the_given_radius():
    """Circular law: the spectral radius of N(0, σ²/n) entries is σ (1 + O(n^-1/2))."""
    model = dm.models.rnn(400, 1, recurrent_std=0.7)
    params = model.init(jax.random.key(0), jnp.ones((1, 1, 1)))
    radius = np.abs(np.linalg.eigvals(np.asarray(params[0]["recurrent"]))).max()
    np.testing.assert_allclose(radius, 0.7, rtol=0.1)


@pytest.mark.parametrize(("cell", "expected"), [("plain", 6 * 10 + 6), ("lstm", 24 * 11), ("gru", 18 * 11 + 6)])
def test_number_of_parameters_of_a_cell(cell, expected, x):
    params = dm.models.rnn(6, 2, cell=cell).init(jax.random.key(0), x)
    assert dm.models.count_parameters(params[0]) == expected


def test_the_forget_gate_of_an_lstm_starts_open(x):
    params = dm.models.rnn(6, 2, cell="lstm").init(jax.random.key(0), x)
    np.testing.assert_array_equal(params[0]["bias"], np.repeat([0, 1, 0, 0], 6))


@pytest.mark.parametrize("cell", CELLS)
def test_double_precision_in_double_precision_out(cell, x):
    with jax.enable_x64(True):
        model = dm.models.rnn(6, 2, cell=cell)
        x = x.astype(jnp.float64)
        assert model.apply(model.init(jax.random.key(0), x), x).dtype == jnp.float64


@pytest.mark.parametrize("cell", CELLS)
def test_gradient_lowers_for_cuda_and_tpu(cell, x):
    model = dm.models.rnn(6, 2, cell=cell)
    params = model.init(jax.random.key(0), x)
    gradient = jax.jit(jax.grad(lambda params, x: model.apply(params, x).sum()))
    gradient.trace(params, x).lower(lowering_platforms=("cuda", "tpu"))
