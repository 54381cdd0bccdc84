import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlmath as dm

X = np.random.default_rng(0).normal(size=(6, 3))


def start(model, x, seed=0):
    return jax.jit(model.init)(jax.random.key(seed), x)


def test_forward_pass_is_alternating_affine_maps_and_activations():
    with jax.enable_x64(True):
        model = dm.models.mlp([5, 4], 2, activation="tanh", weight_std=1.3, bias_std=0.2)
        params = start(model, X)
        h = X
        for p in params[:-1]:
            h = np.tanh(h @ np.asarray(p["weight"]) + np.asarray(p["bias"]))
        expected = h @ np.asarray(params[-1]["weight"]) + np.asarray(params[-1]["bias"])
        np.testing.assert_allclose(model.apply(params, X), expected, rtol=1e-12)


def test_ntk_forward_pass_divides_by_the_root_of_the_fan_in():
    with jax.enable_x64(True):
        stds, biases = [1.5, 0.7, 1.1], [0.3, 0.0, 0.2]
        model = dm.models.mlp([5, 4], 2, activation="sin", parameterization="ntk", weight_std=stds, bias_std=biases)
        params = start(model, X)
        assert [sorted(p) for p in params] == [["bias", "weight"], ["weight"], ["bias", "weight"]]
        h = X
        for layer, (p, s, b) in enumerate(zip(params, stds, biases, strict=True)):
            h = np.sin(h) if layer else h
            h = s / h.shape[1] ** 0.5 * h @ np.asarray(p["weight"]) + b * np.asarray(p.get("bias", 0.0))
        np.testing.assert_allclose(model.apply(params, X), h, rtol=1e-12)


def test_mup_forward_pass_divides_the_read_out_by_its_fan_in():
    with jax.enable_x64(True):
        model = dm.models.mlp([5, 4], 2, parameterization="mup", bias_std=0.3)
        (a, b, c) = params = start(model, X)
        h = np.maximum(X @ a["weight"] + a["bias"], 0)
        h = np.maximum(h @ b["weight"] + b["bias"], 0)
        np.testing.assert_allclose(model.apply(params, X), h @ c["weight"] / 4 + c["bias"], rtol=1e-12)


@pytest.mark.parametrize(
    ("parameterization", "variances"),
    [("standard", (2.25 / 300, 2.25 / 200, 2.25 / 250)), ("ntk", (1, 1, 1)), ("mup", (2.25 / 300, 2.25 / 200, 2.25))],
)
def test_initial_variances_are_those_of_the_parameterization(parameterization, variances):
    model = dm.models.mlp([200, 250], 100, parameterization=parameterization, weight_std=1.5, bias_std=0.5)
    params = start(model, jnp.ones((1, 300)))
    for p, variance in zip(params, variances, strict=True):
        weight = np.asarray(p["weight"], np.float64)
        # The relative standard error of a normal sample's variance is √(2/N).
        assert abs(np.mean(weight**2) / variance - 1) < 4 * (2 / weight.size) ** 0.5
        bias = np.asarray(p["bias"], np.float64)
        expected = 1.0 if parameterization == "ntk" else 0.25
        assert abs(np.mean(bias**2) / expected - 1) < 4 * (2 / bias.size) ** 0.5


def test_standard_and_ntk_are_the_same_random_function_at_the_start():
    x = jnp.ones((1, 10))

    def output(parameterization, key):
        model = dm.models.mlp([40], 1, parameterization=parameterization, weight_std=1.2, bias_std=0.4)
        return model.apply(model.init(key, x), x)[0, 0]

    keys = jax.random.split(jax.random.key(1), 4000)
    standard, ntk = (np.asarray(jax.jit(jax.vmap(lambda k, p=p: output(p, k)))(keys)) for p in ("standard", "ntk"))
    # The same key draws the same normal numbers, so the two functions agree one by one.
    np.testing.assert_allclose(standard, ntk, rtol=1e-4, atol=1e-5)
    # Var y = σ_w²/2·(σ_w² + σ_b²) + σ_b² for ReLU and |x|²/d = 1.
    variance = 1.44 / 2 * (1.44 + 0.16) + 0.16
    assert abs(standard.var() / variance - 1) < 4 * (2.5 / len(standard)) ** 0.5


def test_he_initialisation_keeps_the_second_moment_of_a_relu_network():
    x = jax.random.normal(jax.random.key(0), (1, 64))
    model = dm.models.mlp([64] * 10, 1)

    def second_moment(key):
        return jnp.mean(dm.models.preactivations(model, model.init(key, x), x)[9] ** 2)

    sample = np.asarray(jax.jit(jax.vmap(second_moment))(jax.random.split(jax.random.key(1), 300)))
    expected = 2 * float(jnp.mean(x**2))
    assert abs(sample.mean() - expected) < 4 * sample.std() / len(sample) ** 0.5


def test_without_hidden_layers_it_is_linear_regression():
    model = dm.models.mlp((), 2, bias_std=None)
    params = start(model, X)
    np.testing.assert_allclose(model.apply(params, X), X @ params[0]["weight"], rtol=1e-5)


def test_gradient_vanishes_with_depth_for_sigmoid_units():
    model = dm.models.mlp([20] * 8, 1, activation="sigmoid", weight_std=1.0)
    params = start(model, X)
    gradient = jax.jit(jax.grad(lambda p: jnp.sum(model.apply(p, X) ** 2)))(params)
    norms = np.array([np.linalg.norm(g["weight"]) for g in gradient[1:8]])
    # Each layer multiplies by σ' ≤ 1/4 and a matrix of norm ≤ 2σ_w.
    assert (norms[:-1] < 0.5 * norms[1:]).all()


def test_training_by_vmap_compiles_once_and_equals_the_sequential_loop():
    model = dm.models.mlp([16], 1)
    x, y = jnp.asarray(X, jnp.float32), jnp.ones((6, 1))
    keys = jax.random.split(jax.random.key(0), 4)

    @chex.assert_max_traces(n=1)
    def step(params):
        gradient = jax.grad(lambda p: jnp.mean((model.apply(p, x) - y) ** 2))(params)
        return jax.tree.map(lambda p, g: p - 0.1 * g, params, gradient)

    params = jax.vmap(model.init, (0, None))(keys, x)
    compiled = jax.jit(jax.vmap(step))
    ensemble = compiled(compiled(params))
    chex.clear_trace_counter()
    alone = model.init(keys[2], x)
    for _ in range(2):
        gradient = jax.grad(lambda p: jnp.mean((model.apply(p, x) - y) ** 2))(alone)
        alone = jax.tree.map(lambda p, g: p - 0.1 * g, alone, gradient)
    chex.assert_trees_all_close(jax.tree.map(lambda leaf: leaf[2], ensemble), alone, rtol=1e-4, atol=1e-6)


def test_weight_std_may_be_traced():
    x = jnp.ones((1, 4))

    def output(std):
        model = dm.models.mlp([8], 1, weight_std=std, bias_std=None)
        return model.apply(start(model, x), x)[0, 0]

    one, three = jax.vmap(output)(jnp.array([1.0, 3.0]))
    np.testing.assert_allclose(three, 9 * one, rtol=1e-5)  # homogeneous of degree L + 1 = 2
