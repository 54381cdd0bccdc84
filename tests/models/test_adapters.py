"""One network written five ways: every adapter gives the same function."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.example_libraries import stax

import dlmath as dm

eqx = pytest.importorskip("equinox")

SIZES = ((4, 7), (7, 5), (5, 2))


def relu(x):
    return jnp.maximum(x, 0.0)


def nnx_model(rngs):
    first, *rest = [nnx.Linear(*size, rngs=rngs) for size in SIZES]
    return nnx.Sequential(first, *[layer for linear in rest for layer in (relu, linear)])


@pytest.fixture(scope="module")
def x():
    return jnp.asarray(np.random.default_rng(0).normal(size=(6, 4)), jnp.float32)


@pytest.fixture(scope="module")
def weights():
    rng = np.random.default_rng(1)
    return [(rng.normal(size=size).astype("f4"), rng.normal(size=size[1]).astype("f4")) for size in SIZES]


class Stack(eqx.Module):
    layers: tuple

    def __init__(self, key):
        keys = jax.random.split(key, 3)
        self.layers = tuple(eqx.nn.Linear(*size, key=k) for size, k in zip(SIZES, keys, strict=True))

    def __call__(self, x):
        for layer in self.layers[:-1]:
            x = relu(layer(x))
        return self.layers[-1](x)


def networks(weights):
    """Each framework's model with the same weights, and a function that brings its gradients to [(W, b), ...]."""
    yield (
        "mlp",
        dm.models.mlp([7, 5], 2, activation="relu"),
        tuple({"weight": w, "bias": b} for w, b in weights),
        lambda g: [(layer["weight"], layer["bias"]) for layer in g],
    )
    yield (
        "linen",
        dm.models.from_linen(nn.Sequential([nn.Dense(7), relu, nn.Dense(5), relu, nn.Dense(2)])),
        {f"layers_{2 * i}": {"kernel": w, "bias": b} for i, (w, b) in enumerate(weights)},
        lambda g: [(g[f"layers_{i}"]["kernel"], g[f"layers_{i}"]["bias"]) for i in (0, 2, 4)],
    )
    yield (
        "nnx",
        dm.models.from_nnx(nnx_model),
        {"layers": {2 * i: {"kernel": w, "bias": b} for i, (w, b) in enumerate(weights)}},
        lambda g: [(g["layers"][i]["kernel"], g["layers"][i]["bias"]) for i in (0, 2, 4)],
    )
    yield (
        "equinox",
        dm.models.from_equinox(Stack),
        {f".layers[{i}].{n}": v for i, (w, b) in enumerate(weights) for n, v in (("weight", w.T), ("bias", b))},
        lambda g: [(g[f".layers[{i}].weight"].T, g[f".layers[{i}].bias"]) for i in range(3)],
    )
    yield (
        "stax",
        dm.models.from_stax(stax.serial(stax.Dense(7), stax.Relu, stax.Dense(5), stax.Relu, stax.Dense(2))),
        [weights[0], (), weights[1], (), weights[2]],
        lambda g: [g[0], g[2], g[4]],
    )


NAMES = ("mlp", "linen", "nnx", "equinox", "stax")


def network(name, weights):
    return next(entry[1:] for entry in networks(weights) if entry[0] == name)


@pytest.mark.parametrize("name", NAMES)
def test_copied_weights_give_the_output_of_the_matrix_formula(name, x, weights):
    model, params, _ = network(name, weights)
    h = np.asarray(x, float)
    for w, b in weights[:-1]:
        h = np.maximum(h @ w + b, 0)
    expected = h @ weights[-1][0] + weights[-1][1]
    np.testing.assert_allclose(model.apply(params, x), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(jax.jit(model.apply)(params, x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NAMES[1:])
def test_copied_weights_give_the_gradients_of_the_mlp(name, x, weights):
    def gradients(name):
        model, params, to_pairs = network(name, weights)
        gradient = jax.grad(lambda params: jnp.sum(model.apply(params, x) ** 2))(params)
        return to_pairs(gradient)

    for ours, theirs in zip(gradients("mlp"), gradients(name), strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_freshly_drawn_parameters_have_the_shapes_of_the_copied_ones(name, x, weights):
    model, params, _ = network(name, weights)
    drawn = model.init(jax.random.key(0), x)
    assert dm.models.count_parameters(drawn) == 4 * 7 + 7 + 7 * 5 + 5 + 5 * 2 + 2
    assert jax.tree.map(jnp.shape, drawn) == jax.tree.map(jnp.shape, params)
    assert {leaf.dtype for leaf in jax.tree.leaves(drawn)} == {jnp.dtype("float32")}


@pytest.mark.parametrize("name", NAMES)
def test_init_depends_on_the_key_but_not_on_the_values_of_x(name, x, weights):
    model = network(name, weights)[0]
    first, again, other = (
        jax.tree.leaves(model.init(jax.random.key(seed), value)) for seed, value in ((0, x), (0, 2 * x), (1, x))
    )
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert any((a != b).any() for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_init_takes_shapes_and_can_be_mapped_over_keys(name, x, weights):
    model = network(name, weights)[0]
    structure = jax.ShapeDtypeStruct(x.shape, x.dtype)
    ensemble = jax.vmap(lambda key: model.init(key, structure))(jax.random.split(jax.random.key(0), 3))
    outputs = jax.vmap(model.apply, in_axes=(0, None))(ensemble, x)
    assert outputs.shape == (3, 6, 2)
    assert (outputs[0] != outputs[1]).all()


def batch_norms():
    """Networks whose statistics are mean 3 and variance 4, none of them those of the batch."""
    linen = nn.BatchNorm(use_running_average=True, epsilon=0.0)
    variables = {
        "params": {"scale": jnp.ones(4), "bias": jnp.zeros(4)},
        "batch_stats": {"mean": jnp.full(4, 3.0), "var": jnp.full(4, 4.0)},
    }
    yield dm.models.from_linen(linen, variables=variables)

    module = nnx.BatchNorm(4, epsilon=0.0, rngs=nnx.Rngs(0))
    module.mean[...], module.var[...] = jnp.full(4, 3.0), jnp.full(4, 4.0)
    yield dm.models.from_nnx(module)

    module, state = eqx.nn.make_with_state(eqx.nn.BatchNorm)(4, "batch", eps=0.0, mode="ema")
    state = state.set(module.ema_state_index, (jnp.full(4, 3.0, "f4"), jnp.full(4, 4.0, "f4")))
    state = state.set(module.ema_first_time_index, jnp.array(False))
    yield dm.models.from_equinox(module, state=state)


def test_statistics_of_batch_norm_stay_at_their_frozen_values(x):
    for model in batch_norms():
        params = model.init(jax.random.key(0), x)
        for _ in range(2):  # a second call sees what the first one left behind
            np.testing.assert_allclose(model.apply(params, x), (x - 3.0) / 2.0, rtol=1e-4, atol=1e-5)
        assert dm.models.count_parameters(params) == 8


def test_a_linen_batch_norm_without_statistics_asks_to_be_frozen(x):
    model = dm.models.from_linen(nn.BatchNorm(), use_running_average=True)
    params = model.init(jax.random.key(0), x)
    with pytest.raises(ValueError, match=r"variables must hold.*freeze"):
        model.apply(params, x)
    frozen = dm.models.freeze(model, model.init_state(x))  # mean 0, variance 1
    np.testing.assert_allclose(frozen.apply(params, x), x, rtol=1e-4)


def test_dropout_is_off_in_adapted_networks(x):
    for model in (
        dm.models.from_nnx(lambda rngs: nnx.Sequential(nnx.Linear(4, 4, rngs=rngs), nnx.Dropout(0.5, rngs=rngs))),
        dm.models.from_equinox(lambda key: eqx.nn.Sequential([eqx.nn.Linear(4, 4, key=key), eqx.nn.Dropout(0.5)])),
        dm.models.from_linen(nn.Sequential([nn.Dense(4), nn.Dropout(0.5, deterministic=True)])),
    ):
        params = model.init(jax.random.key(0), x)
        assert (model.apply(params, x) == model.apply(params, x)).all()
        assert (model.apply(params, x) != 0).all()


def test_an_instance_keeps_its_weights(x):
    module = nnx.Linear(4, 3, rngs=nnx.Rngs(7))
    model = dm.models.from_nnx(module)
    np.testing.assert_array_equal(model.apply(model.init(jax.random.key(0), x), x), module(x))
    module = eqx.nn.Linear(4, 3, key=jax.random.key(7))
    model = dm.models.from_equinox(module)
    np.testing.assert_allclose(model.apply(model.init(jax.random.key(0), x), x), jax.vmap(module)(x), rtol=1e-6)


def test_an_equinox_module_on_batches_is_not_mapped(x):
    model = dm.models.from_equinox(eqx.nn.Lambda(lambda x: x - x.mean(0)), batched=True)
    np.testing.assert_allclose(model.apply(model.init(jax.random.key(0), x), x).mean(0), 0, atol=1e-6)


def test_a_neural_tangents_layer_keeps_its_kernel(x):
    s = dm.compat.neural_tangents().stax
    model = dm.models.from_stax(s.serial(s.Dense(1, 1.5, 0.1), s.Relu(), s.Dense(1)))
    ours = dm.models.mlp([9], 1, parameterization="ntk", weight_std=[1.5, 1.0], bias_std=[0.1, None])
    with jax.enable_x64(True):
        x = x.astype(jnp.float64)
        for get in ("ntk", "nngp"):
            np.testing.assert_allclose(model.kernel(x, get=get), ours.kernel(x, get=get), rtol=1e-7)
    assert dm.models.from_stax(stax.Dense(3)).kernel is None


@pytest.mark.parametrize("name", NAMES[1:])
def test_adapted_networks_lower_for_cuda_and_tpu(name, x, weights):
    model, params, _ = network(name, weights)
    jax.jit(model.apply).trace(params, x).lower(lowering_platforms=("cuda", "tpu"))
