"""Convolutional networks."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.typing import ArrayLike

from dlmath import check
from dlmath.models import activations
from dlmath.models._layers import (
    PADDINGS,
    batch_shape,
    conv,
    conv_size,
    dense,
    expect_layers,
    init_weights,
    outputs_of,
    pairs,
    to_readout,
    widths,
)
from dlmath.models._model import Layer, Model, shared
from dlmath.models._parameterization import limit, scalings

POOLS = ("global_average", "flatten")
IMAGES = "[batch, height, width, channels]"


@shared
def cnn(
    channels: Sequence[int],
    outputs: int,
    *,
    kernel_size: int | Sequence[Any] = 3,
    strides: int | Sequence[Any] = 1,
    padding: str = "SAME",
    pool: str = "global_average",
    activation: str | Callable[[Any], Any] = "relu",
    parameterization: str = "standard",
    weight_std: ArrayLike | Sequence[Any] | None = None,
    bias_std: ArrayLike | Sequence[Any] | None = 0.0,
    initializer: Any = None,
) -> Model:
    """Convolutional network: L times convolution then φ, a pooling layer, a dense read-out.

    h_l[p, j] = Σ_{q, i} W_l[q, i, j] φ(h_{l-1}[s·p + q, i]) + b_l[j] over pixels p and kernel offsets q, with the
    variances and multipliers of `mlp`, the fan-in being kernel height × width × input channels. Images are
    [batch, height, width, channels]. Parameters are a tuple of L + 1 dicts {"weight": [height, width, in, out],
    "bias": [out]}, the last one [in, out].

    Args:
        channels: number of channels of the L ≥ 1 convolutions.
        outputs: number of outputs.
        kernel_size: side of the kernels; one integer, or one integer or pair (height, width) per convolution.
        strides: likewise.
        padding: "SAME" (zeros; output size ⌈size/stride⌉), "VALID" (none) or "CIRCULAR" (wraps around; the network
            then commutes with cyclic shifts if strides are 1).
        pool: "global_average" (mean over pixels before the read-out) or "flatten" (every pixel has its own weight).
        activation: a name from `models.activations` or any function of an array.
        parameterization: "standard", "ntk" or "mup", see `mlp`.
        weight_std: σ_w ≥ 0, one number or one per layer, read-out included (L + 1); None means √2.
        bias_std: σ_b ≥ 0, likewise; None for layers without bias.
        initializer: as for `mlp`.

    Returns:
        A Model on x[batch, height, width, channels] with outputs [batch, outputs].

    Raises:
        ValueError, TypeError: an argument out of its range, named in the message.

    Cost of `apply`: for each convolution, output pixels × weights multiply-adds an image (see `describe`).

    >>> import jax, jax.numpy as jnp, dlmath as dm
    >>> model = dm.models.cnn([16, 32], 10)
    >>> dm.models.count_parameters(model.init(jax.random.key(0), jnp.ones((1, 8, 8, 3))))
    5418
    """
    channels = widths("channels", channels)
    if not channels:
        raise ValueError("channels must name at least one convolution, got an empty sequence; use mlp for none")
    outputs = check.positive_int("outputs", outputs)
    kernels = pairs("kernel_size", kernel_size, len(channels))
    steps = pairs("strides", strides, len(channels))
    check.one_of("padding", padding, PADDINGS)
    check.one_of("pool", pool, POOLS)
    phi = activations.get(activation)
    scaling = scalings(len(channels) + 1, parameterization, weight_std, bias_std, initializer)

    def init(key: Any, x: Any) -> Any:
        check.key("key", key)
        _, height, width, features = batch_shape(x, 4, IMAGES)
        keys = jax.random.split(key, len(channels) + 1)
        params = []
        for k, s, kernel, step, out in zip(keys[:-1], scaling[:-1], kernels, steps, channels, strict=True):
            params.append(init_weights(k, s, (*kernel, features, out)))
            height = conv_size(height, kernel[0], step[0], padding)
            width = conv_size(width, kernel[1], step[1], padding)
            features = out
        if pool == "flatten":
            features *= height * width
        params.append(init_weights(keys[-1], scaling[-1], (features, outputs)))
        return tuple(params)

    def layers(params: Any, x: Any) -> tuple[Layer, ...]:
        batch_shape(x, 4, IMAGES)
        expect_layers(params, len(scaling))
        done = []
        for index, (p, s, step) in enumerate(zip(params[:-1], scaling[:-1], steps, strict=True)):
            h = conv(p, s, phi(done[-1].output) if done else x, step, padding)
            done.append(Layer(f"conv{index + 1}", p, h))
        features = to_readout(pool, phi(done[-1].output))
        return (*done, Layer("dense", params[-1], dense(params[-1], scaling[-1], features)))

    def build() -> Callable[..., Any]:
        from dlmath.models import _limit

        stds = [s.weight_std for s in scaling], [s.bias_std for s in scaling]
        return _limit.cnn_kernel(channels, activation, parameterization, *stds, kernels, steps, padding, pool)

    return Model(init, outputs_of(layers), limit(build, scaling[0]), layers)
