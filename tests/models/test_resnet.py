import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlmath as dm

X = np.random.default_rng(0).normal(size=(3, 8, 8, 3)).astype(np.float32)


def start(model, x, seed=0):
    return jax.jit(model.init)(jax.random.key(seed), x)


class Block(nn.Module):
    """The pre-activation block of He et al. 2016 (1603.05027), Fig. 1b."""

    channels: int
    stride: int
    norm: str | None
    training: bool

    @nn.compact
    def __call__(self, x):
        def norm(name):
            if self.norm == "batch":
                return nn.BatchNorm(not self.training, momentum=0.9, epsilon=1e-5, name=name)
            return nn.LayerNorm(epsilon=1e-5, name=name) if self.norm == "layer" else lambda h: h

        def conv(size, stride, name):
            return nn.Conv(self.channels, (size, size), stride, use_bias=False, name=name)

        z = nn.relu(norm("norm1")(x))
        if self.stride != 1 or x.shape[-1] != self.channels:
            x = conv(1, self.stride, "shortcut")(z)
        h = conv(3, self.stride, "conv1")(z)
        return x + conv(3, 1, "conv2")(nn.relu(norm("norm2")(h)))


class LinenResNet(nn.Module):
    norm: str | None
    training: bool = False

    @nn.compact
    def __call__(self, x):
        h = nn.Conv(4, (3, 3), use_bias=False, name="conv")(x)
        for index, (channels, stride) in enumerate([(4, 1), (8, 2)]):
            h = Block(channels, stride, self.norm, self.training, name=f"block{index}")(h)
        if self.norm == "batch":
            h = nn.BatchNorm(not self.training, momentum=0.9, epsilon=1e-5, name="norm")(h)
        elif self.norm == "layer":
            h = nn.LayerNorm(epsilon=1e-5, name="norm")(h)
        return nn.Dense(2, name="dense")(nn.relu(h).mean((1, 2)))


def to_linen(params, norm):
    def leaf(p):
        if "scale" in p:
            return {"scale": p["scale"], "bias": p["shift"]}
        return {"kernel": p["weight"]} | ({"bias": p["bias"]} if "bias" in p else {})

    copied = {"conv": leaf(params[0]), "dense": leaf(params[-1])}
    for index in range(2):
        copied[f"block{index}"] = {name: leaf(p) for name, p in params[1 + index].items()}
    if norm:
        copied["norm"] = leaf(params[3])
    return copied


def to_linen_state(state):
    pairs = [{"mean": s["mean"], "var": s["variance"]} for s in state]
    blocks = {f"block{i}": {"norm1": pairs[2 * i], "norm2": pairs[2 * i + 1]} for i in range(2)}
    return blocks | {"norm": pairs[4]}


def network(norm):
    # Without a norm the convolutions could have biases; the reference has none.
    bias_std = (None,) * 6 + (0.2,) if norm is None else 0.2
    model = dm.models.resnet(6, 4, 2, stages=(1, 2), norm=norm, bias_std=bias_std)
    params = start(model, X)
    if norm:  # norms that do something
        leaves, structure = jax.tree.flatten(params)
        keys = jax.random.split(jax.random.key(1), len(leaves))
        params = structure.unflatten(
            [p + 0.2 * jax.random.normal(k, p.shape) for p, k in zip(leaves, keys, strict=True)]
        )
    return model, params


@pytest.mark.parametrize("norm", [None, "layer"])
def test_equals_the_same_network_in_flax(norm):
    model, params = network(norm)
    expected = jax.jit(LinenResNet(norm).apply)({"params": to_linen(params, norm)}, X)
    np.testing.assert_allclose(jax.jit(model.apply)(params, X), expected, rtol=1e-3, atol=1e-4)


def test_training_with_batch_norm_equals_flax_in_outputs_and_statistics():
    model, params = network("batch")
    state = model.init_state(X)
    variables = {"params": to_linen(params, "batch"), "batch_stats": to_linen_state(state)}
    reference = LinenResNet("batch", training=True)
    expected, updated = jax.jit(lambda v, x: reference.apply(v, x, mutable=["batch_stats"]))(variables, X)
    outputs, state = jax.jit(model.apply_train)(jax.random.key(0), params, state, X)
    np.testing.assert_allclose(outputs, expected, rtol=1e-3, atol=1e-4)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5),
        to_linen_state(state),
        updated["batch_stats"],
    )
    frozen = dm.models.freeze(model, state)
    variables["batch_stats"] = updated["batch_stats"]
    expected = jax.jit(LinenResNet("batch").apply)(variables, X)
    np.testing.assert_allclose(jax.jit(frozen.apply)(params, X), expected, rtol=1e-3, atol=1e-4)


def test_running_statistics_converge_to_those_of_the_batch():
    model, params = network("batch")
    step = jax.jit(lambda s: model.apply_train(jax.random.key(0), params, s, X)[1])
    state = model.init_state(X)
    for _ in range(100):  # 0.9^100 = 2.7e-5
        state = step(state)
    trained, _ = jax.jit(model.apply_train)(jax.random.key(0), params, state, X)
    frozen = jax.jit(dm.models.freeze(model, state).apply)(params, X)
    np.testing.assert_allclose(frozen, trained, rtol=5e-3, atol=1e-3)


def test_outputs_in_training_do_not_change_with_the_scale_of_a_convolution_before_batch_norm():
    model, params = network("batch")
    state = model.init_state(X)
    scaled = (params[0], params[1] | {"conv1": {"weight": 3 * params[1]["conv1"]["weight"]}}, *params[2:])
    run = jax.jit(model.apply_train)
    first, second = (run(jax.random.key(0), p, state, X)[0] for p in (params, scaled))
    np.testing.assert_allclose(first, second, rtol=1e-3, atol=1e-3)


def test_batch_norm_that_is_not_frozen_is_refused():
    model, params = network("batch")
    with pytest.raises(ValueError, match="freeze"):
        model.apply(params, X)


def test_resnet18_of_nakkiran_has_the_published_number_of_parameters():
    """11,171,146 of kuangliu/pytorch-cifar's PreActResNet18; k = 64, ten classes, closed form below."""
    model = dm.models.resnet(18, 64, 10, final_norm=False)
    params = jax.eval_shape(model.init, jax.random.key(0), jnp.ones((1, 32, 32, 3)))
    k = np.array([64, 128, 256, 512])
    entering = np.array([64, 64, 128, 256])
    convolutions = 27 * 64 + np.sum(9 * entering * k + 27 * k * k) + np.sum((entering * k)[1:])
    norms = np.sum(2 * (entering + k) + 4 * k)
    expected = convolutions + norms + 512 * 10 + 10
    assert dm.models.count_parameters(params) == expected == 11_171_146


@pytest.mark.parametrize(("depth", "thousands"), [(20, 270), (32, 460), (44, 660), (56, 850)])
def test_cifar_resnets_have_the_published_numbers_of_parameters(depth, thousands):
    """He et al. 2015 (1512.03385), Table 6: .27M, .46M, .66M, .85M."""
    model = dm.models.resnet(depth, 16, 10, stages=(1, 2, 4))
    params = jax.eval_shape(model.init, jax.random.key(0), jnp.ones((1, 32, 32, 3)))
    # The paper's shortcuts have no weights, ours are two 1×1 convolutions of 2,560 in all.
    assert abs(dm.models.count_parameters(params) / 1000 - 2.56 - thousands) < 6


def test_depth_counts_the_layers_with_weights_on_the_longest_path():
    model = dm.models.resnet(18, 2, 3)
    frozen = dm.models.freeze(model, model.init_state(jnp.ones((1, 8, 8, 3))))
    params = jax.eval_shape(model.init, jax.random.key(0), jnp.ones((1, 8, 8, 3)))
    layers = jax.eval_shape(frozen.layers, params, jnp.ones((1, 8, 8, 3)))
    assert sum("weight" in layer.params and "shortcut" not in layer.name for layer in layers) == 18


def test_gradients_do_not_vanish_with_depth_in_a_residual_network():
    model = dm.models.resnet(10, 4, 1, stages=(1,), norm="layer")
    params = start(model, X)
    gradient = jax.jit(jax.grad(lambda p: jnp.sum(model.apply(p, X) ** 2)))(params)
    norms = np.array([np.linalg.norm(g["conv1"]["weight"]) for g in gradient[1:5]])
    assert norms[0] > 0.3 * norms[-1]


def test_an_initializer_of_biases_sets_those_that_are_there_and_no_others():
    model = dm.models.resnet(10, 2, 3, initializer="torch")
    params = jax.eval_shape(model.init, jax.random.key(0), X)
    with_bias = [set(layer) for layer in (params[0], params[1]["conv1"], params[-1])]
    assert with_bias == [{"weight"}, {"weight"}, {"weight", "bias"}]
