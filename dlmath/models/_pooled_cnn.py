"""Convolutional networks with batch norm and max-pooling."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.typing import ArrayLike

from dlmath import check
from dlmath.models import activations
from dlmath.models._layers import batch_shape, conv, dense, expect_layers, init_weights, pairs, widths
from dlmath.models._model import Layer, Model, shared
from dlmath.models._norm import affine_params, apply_affine, batch_norm, initial_statistics
from dlmath.models._parameterization import scalings

IMAGES = "[batch, height, width, channels]"


@shared
def pooled_cnn(
    channels: Sequence[int],
    outputs: int,
    *,
    pools: int | Sequence[int] = 2,
    norm: str | None = "batch",
    activation: str | Callable[[Any], Any] = "relu",
    parameterization: str = "standard",
    weight_std: ArrayLike | Sequence[Any] | None = None,
    bias_std: ArrayLike | Sequence[Any] | None = 0.0,
    initializer: Any = None,
) -> Model:
    """Convolutional network: L times 3×3 convolution, batch norm, φ and max-pooling, then a dense read-out.

    h_l = pool_l(φ(N(W_l ∗ h_{l-1} + b_l))) with padding "SAME" and pooling over squares of pools[l] pixels (1 for none; what
    is left over at the edges is dropped); the read-out takes all that is left, [height · width · channels]. N is the
    batch norm of `resnet`, with trainable γ and β; train it in the stateful form, and `freeze` it before analysis.

    The 5-layer CNN of width k in Nakkiran et al. 2020, for images of 32×32 pixels, is
    `pooled_cnn([k, 2*k, 4*k, 8*k], 10, pools=[1, 2, 2, 8], initializer="torch")`.

    Parameters are a tuple of L dicts {"weight", "bias", "scale", "shift"} and one {"weight", "bias"}.

    Args:
        channels: number of channels of the L ≥ 1 convolutions.
        outputs: number of outputs.
        pools: side of the pooling squares, one integer or one per convolution.
        norm: "batch" or None.
        activation: a name from `models.activations` or any function of an array.
        parameterization: "standard", "ntk" or "mup", see `mlp`.
        weight_std: σ_w ≥ 0, one number or one per layer, read-out included (L + 1); None means √2.
        bias_std: σ_b ≥ 0, likewise; None for layers without bias.
        initializer: as for `mlp`.

    Returns:
        A Model on x[batch, height, width, channels] with outputs [batch, outputs]. It has no kernel: the maximum over pixels
        has no closed-form covariance.

    Raises:
        ValueError, TypeError: an argument out of its range, named in the message; images that pooling leaves no pixel of;
            `apply` of a network with batch norm that is not frozen.

    Nakkiran et al. 2020, Deep double descent (1912.02292), appendix B.

    >>> import jax, jax.numpy as jnp, dlmath as dm
    >>> model = pooled_cnn([64, 128, 256, 512], 10, pools=[1, 2, 2, 8])
    >>> dm.models.count_parameters(jax.eval_shape(model.init, jax.random.key(0), jnp.ones((1, 32, 32, 3))))
    1558026
    """
    channels = widths("channels", channels)
    if not channels:
        raise ValueError("channels must name at least one convolution, got an empty sequence; use mlp for none")
    outputs = check.positive_int("outputs", outputs)
    sides = tuple(side for side, _ in pairs("pools", pools, len(channels)))
    if norm is not None:
        check.one_of("norm", norm, ("batch",))
    phi = activations.get(activation)
    scaling = scalings(len(channels) + 1, parameterization, weight_std, bias_std, initializer)

    def init(key: Any, x: Any) -> Any:
        check.key("key", key)
        _, height, width, features = batch_shape(x, 4, IMAGES)
        keys = jax.random.split(key, len(channels) + 1)
        params = []
        for k, s, out, side in zip(keys[:-1], scaling[:-1], channels, sides, strict=True):
            layer = init_weights(k, s, (3, 3, features, out))
            params.append(layer | affine_params(out) if norm == "batch" else layer)
            height, width, features = height // side, width // side, out
        if height * width == 0:
            raise ValueError(f"pools must leave at least one pixel, got {sides} for images of shape {x.shape[1:3]}")
        params.append(init_weights(keys[-1], scaling[-1], (height * width * features, outputs)))
        return tuple(params)

    def forward(params: Any, state: Any, x: Any, training: bool) -> tuple[tuple[Layer, ...], Any]:
        batch_shape(x, 4, IMAGES)
        expect_layers(params, len(scaling))
        done: list[Layer] = []
        new_state: list[Any] = []
        h = x
        for index, (p, s, side) in enumerate(zip(params[:-1], scaling[:-1], sides, strict=True)):
            h = conv(p, s, h, (1, 1), "SAME")
            done.append(Layer(f"conv{index + 1}", {name: p[name] for name in ("weight", "bias") if name in p}, h))
            if norm == "batch":
                h, running = batch_norm(h, state[index], training)
                h = apply_affine(p, h)
                new_state.append(running)
                done.append(Layer(f"norm{index + 1}", {name: p[name] for name in ("scale", "shift")}, h))
            h = _max_pool(phi(h), side)
        y = dense(params[-1], scaling[-1], h.reshape(h.shape[0], -1))
        return (*done, Layer("dense", params[-1], y)), tuple(new_state)

    def layers_at(state: Any, params: Any, x: Any) -> tuple[Layer, ...]:
        return forward(params, state, x, False)[0]

    def apply_at(state: Any, params: Any, x: Any) -> Any:
        return layers_at(state, params, x)[-1].output

    if norm is None:
        return Model(init, jax.tree_util.Partial(apply_at, ()), None, jax.tree_util.Partial(layers_at, ()))

    def init_state(x: Any) -> Any:
        batch_shape(x, 4, IMAGES)
        return tuple(map(initial_statistics, channels))

    def apply_train(key: Any, params: Any, state: Any, x: Any) -> tuple[Any, Any]:
        del key
        done, state = forward(params, state, x, True)
        return done[-1].output, state

    def freeze(state: Any) -> Model:
        apply, layers = (jax.tree_util.Partial(f, state) for f in (apply_at, layers_at))
        return Model(init, apply, None, layers)

    def not_frozen(params: Any, x: Any) -> Any:
        raise ValueError(
            "params alone do not determine the outputs of a network with batch norm, which needs its statistics too; "
            "use models.freeze(model, state), with the state of training or model.init_state(x), or model.apply_train"
        )

    return Model(init, not_frozen, None, not_frozen, init_state, apply_train, freeze)


def _max_pool(h: Any, side: int) -> Any:
    if side == 1:
        return h
    batch, height, width, channels = h.shape
    rows, columns = height // side, width // side
    h = h[:, : rows * side, : columns * side].reshape(batch, rows, side, columns, side, channels)
    return h.max(axis=(2, 4))
