"""The convolutional network with batch norm and max-pooling, against a forward pass in NumPy and SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.signal import correlate

import dlmath as dm

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 9, 8, 2)).astype(np.float32)


def forward(params, x, pools, statistics=None):
    for index, (p, side) in enumerate(zip(params[:-1], pools, strict=True)):
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        weight = np.asarray(p["weight"])
        x = np.stack([
            np.stack([correlate(image, weight[..., j], mode="valid")[..., 0] for j in range(weight.shape[-1])], -1)
            for image in padded
        ]) + p["bias"]  # fmt: skip
        if statistics is None:
            mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
        else:
            mean, variance = statistics[index]["mean"], statistics[index]["variance"]
        x = np.maximum((x - mean) / np.sqrt(variance + 1e-5) * p["scale"] + p["shift"], 0)
        rows, columns = x.shape[1] // side, x.shape[2] // side
        x = np.stack([
            np.stack([x[:, side * i : side * i + side, side * j : side * j + side].max((1, 2)) for j in range(columns)], 1)
            for i in range(rows)
        ], 1)  # fmt: skip
    return x.reshape(len(x), -1) @ params[-1]["weight"] + params[-1]["bias"]


def test_forward_pass_is_that_of_numpy_in_training_and_frozen():
    pools = (1, 2, 3)
    model = dm.models.pooled_cnn([4, 5, 6], 3, pools=pools, initializer="torch")
    params = jax.tree.map(
        lambda leaf: leaf + 0.1 * RNG.normal(size=leaf.shape).astype(np.float32), jax.jit(model.init)(KEY, X)
    )
    outputs, state = jax.jit(model.apply_train)(KEY, params, model.init_state(X), X)
    np.testing.assert_allclose(outputs, forward(params, X, pools), rtol=1e-4, atol=1e-4)
    frozen = jax.jit(dm.models.freeze(model, state).apply)(params, X)
    np.testing.assert_allclose(frozen, forward(params, X, pools, state), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(jax.jit(dm.models.frozen_apply(model))(params, state, X), frozen, rtol=1e-5)


def test_network_of_nakkiran_has_the_parameters_of_its_pytorch_code():
    """Convolutions with biases and affine batch norms of widths k, 2k, 4k, 8k; a read-out of 8k inputs."""
    for k in (1, 64):
        model = dm.models.pooled_cnn([k, 2 * k, 4 * k, 8 * k], 10, pools=[1, 2, 2, 8], initializer="torch")
        params = jax.eval_shape(model.init, KEY, jnp.ones((1, 32, 32, 3)))
        layers = [(3, k), (k, 2 * k), (2 * k, 4 * k), (4 * k, 8 * k)]
        expected = sum(9 * a * b + 3 * b for a, b in layers) + 80 * k + 10
        assert dm.models.count_parameters(params) == expected


def test_without_a_norm_the_model_is_pure():
    model = dm.models.pooled_cnn([4], 2, norm=None)
    assert jax.eval_shape(lambda: model.apply(model.init(KEY, X), X)).shape == (3, 2)
    assert model.apply_train is None


def test_layers_end_in_the_outputs():
    model = dm.models.pooled_cnn([4, 5], 2)
    frozen = dm.models.freeze(model, model.init_state(X))
    params = jax.eval_shape(frozen.init, KEY, X)
    layers = jax.eval_shape(frozen.layers, params, X)
    assert [layer.name for layer in layers] == ["conv1", "norm1", "conv2", "norm2", "dense"]
    outputs = jax.eval_shape(lambda params: dm.models.preactivations(frozen, params, X), params)
    assert [h.shape for h in outputs] == [(3, 9, 8, 4), (3, 4, 4, 5), (3, 2)]
