"""Residual networks with pre-activation blocks."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
from jax.typing import ArrayLike

from dlmath import check
from dlmath.models import activations
from dlmath.models._layers import batch_shape, conv, dense, expect_layers, init_weights, to_readout, widths
from dlmath.models._model import Layer, Model, shared
from dlmath.models._norm import EPSILON, affine_params, apply_affine, batch_norm, initial_statistics, layer_norm
from dlmath.models._parameterization import limit, scalings

NORMS = ("batch", "layer")


class Block(NamedTuple):
    """One residual block: its name, channels in and out, stride, and whether its shortcut is a convolution."""

    name: str
    features: int
    channels: int
    stride: int
    shortcut: bool


@shared
def resnet(
    depth: int,
    width: int,
    outputs: int,
    *,
    norm: str | None = "batch",
    affine: bool = True,
    final_norm: bool = True,
    stages: Sequence[int] = (1, 2, 4, 8),
    activation: str | Callable[[Any], Any] = "relu",
    parameterization: str = "standard",
    weight_std: ArrayLike | Sequence[Any] | None = None,
    bias_std: ArrayLike | Sequence[Any] | None = 0.0,
    initializer: Any = None,
) -> Model:
    """Residual network with pre-activation blocks (He et al. 2016b), for sweeps over depth and width.

    A 3×3 convolution to `width` channels; for each entry m of `stages`, (depth − 2)/(2·len(stages)) blocks with
    m·width channels, the first block of every stage but the first halving the image; norm and φ; mean over pixels;
    a dense read-out. A block maps h to

        z = φ(N₁ h),    s + C₂ φ(N₂ C₁ z),    s = S z if the stride or the channels change, else s = h,

    with 3×3 convolutions C₁ (strided) and C₂, a 1×1 convolution S (strided), padding "SAME", and normalisations N.
    So `depth` counts the layers with weights on the longest path: 18 with stages (1, 2, 4, 8) is ResNet18, 20, 32, 44
    and 56 with stages (1, 2, 4) are those for CIFAR-10. The ResNet18 of width k in Nakkiran et al. 2020 (app. B) is
    `resnet(18, k, outputs, final_norm=False)`, as in the code they used nothing stands between the last block and
    the mean over pixels.

    Batch norm: N h = γ (h − mean)/√(variance + 1e-5) + β over the batch and pixels, and over running averages
    (0.9 old + 0.1 new, biased variance) once frozen. Train it with `apply_train(key, params, state, x)` from
    `init_state(x)`, and `freeze` it before analysis. Layer norm: the same over the channels of each pixel.

    Parameters are the tuple (first convolution, *blocks, final norm if any, read-out); a block is a dict of "norm1",
    "conv1", "norm2", "conv2" and perhaps "shortcut", a norm {"scale": γ, "shift": β}, the rest as for `cnn`.

    Args:
        depth: 2 + 2·len(stages)·(blocks per stage).
        width: channels of the first stage.
        outputs: number of outputs.
        norm: "batch", "layer" or None.
        affine: whether norms have the trainable γ and β.
        final_norm: whether norm and φ follow the last block.
        stages: for each stage, its channels as a multiple of `width`.
        activation: a name from `models.activations` or any function of an array.
        parameterization: "standard", "ntk" or "mup", see `mlp`.
        weight_std: σ_w ≥ 0, one number or one per layer with weights (first convolution; C₁, C₂ and, where it is, S of
            each block; read-out); None means √2.
        bias_std: σ_b ≥ 0. With a norm, which takes their place, convolutions have no biases, and the number is that
            of the read-out; without, one number or one per layer. None for no bias.
        initializer: as for `mlp`.

    Returns:
        A Model on x[batch, height, width, channels] with outputs [batch, outputs]. Its `kernel` exists without
        batch norm and trainable γ, β.

    Raises:
        ValueError, TypeError: an argument out of its range, named in the message; `apply` of a network with batch
            norm that is not frozen.

    He et al. 2016, Identity mappings in deep residual networks (1603.05027); Nakkiran et al. 2020 (1912.02292).

    >>> import jax, jax.numpy as jnp, dlmath as dm
    >>> model = dm.models.resnet(18, 64, 10, final_norm=False)
    >>> params = jax.eval_shape(model.init, jax.random.key(0), jnp.ones((1, 32, 32, 3)))
    >>> dm.models.count_parameters(params)
    11171146
    """
    blocks = _blocks(depth, width, stages)
    outputs = check.positive_int("outputs", outputs)
    if norm is not None:
        check.one_of("norm", norm, NORMS)
    phi = activations.get(activation)
    num_layers = 2 + sum(3 if block.shortcut else 2 for block in blocks)
    if norm is not None:
        if bias_std is not None:
            bias_std = check.real("bias_std", bias_std, at_least=0)
        bias_std = (None,) * (num_layers - 1) + (bias_std,)
    scaling = scalings(num_layers, parameterization, weight_std, bias_std, initializer)
    num_entries = len(blocks) + 2 + (final_norm and norm is not None and affine)

    def init(key: Any, x: Any) -> Any:
        check.key("key", key)
        features = batch_shape(x, 4, "[batch, height, width, channels]")[3]
        draws = iter(zip(jax.random.split(key, num_layers), scaling, strict=True))
        params: list[Any] = [init_weights(*next(draws), (3, 3, features, width))]
        for block in blocks:
            entry: dict[str, Any] = {
                "conv1": init_weights(*next(draws), (3, 3, block.features, block.channels)),
                "conv2": init_weights(*next(draws), (3, 3, block.channels, block.channels)),
            }
            if block.shortcut:
                entry["shortcut"] = init_weights(*next(draws), (1, 1, block.features, block.channels))
            if norm is not None and affine:
                entry |= {"norm1": affine_params(block.features), "norm2": affine_params(block.channels)}
            params.append(entry)
        if num_entries == len(blocks) + 3:
            params.append(affine_params(blocks[-1].channels))
        params.append(init_weights(*next(draws), (blocks[-1].channels, outputs)))
        return tuple(params)

    def forward(params: Any, state: Any, x: Any, training: bool) -> tuple[tuple[Layer, ...], Any]:
        batch_shape(x, 4, "[batch, height, width, channels]")
        expect_layers(params, num_entries)
        done: list[Layer] = []
        new_state: list[Any] = []
        scales = iter(scaling)
        states = iter(state)

        def convolve(name: str, p: Any, h: Any, stride: int = 1) -> Any:
            done.append(Layer(name, p, conv(p, next(scales), h, (stride, stride), "SAME")))
            return done[-1].output

        def normalise(name: str, p: Any, h: Any) -> Any:
            if norm == "layer":
                h = layer_norm(h)
            elif norm == "batch":
                h, running = batch_norm(h, next(states), training)
                new_state.append(running)
            if p is not None:
                h = apply_affine(p, h)
                done.append(Layer(name, p, h))
            return h

        h = convolve("conv", params[0], x)
        for block, p in zip(blocks, params[1:], strict=False):
            z = phi(normalise(f"{block.name}/norm1", p.get("norm1"), h))
            branch = convolve(f"{block.name}/conv1", p["conv1"], z, block.stride)
            branch = phi(normalise(f"{block.name}/norm2", p.get("norm2"), branch))
            branch = convolve(f"{block.name}/conv2", p["conv2"], branch)
            if block.shortcut:
                h = convolve(f"{block.name}/shortcut", p["shortcut"], z, block.stride)
            h = h + branch
        if final_norm:
            h = phi(normalise("norm", params[-2] if norm is not None and affine else None, h))
        y = dense(params[-1], next(scales), to_readout("global_average", h))
        return (*done, Layer("dense", params[-1], y)), tuple(new_state)

    def layers_at(state: Any, params: Any, x: Any) -> tuple[Layer, ...]:
        return forward(params, state, x, False)[0]

    def apply_at(state: Any, params: Any, x: Any) -> Any:
        return layers_at(state, params, x)[-1].output

    def build() -> Callable[..., Any]:
        from dlmath.models import _limit

        _check_limit(norm, affine)
        return _limit.resnet_kernel(
            width,
            blocks,
            activation=activation,
            parameterization=parameterization,
            weight_std=[s.weight_std for s in scaling],
            bias_std=[s.bias_std for s in scaling],
            layer_norm=norm == "layer",
            epsilon=EPSILON,
            final_activation=final_norm,
        )

    kernel = limit(build, scaling[0])
    if norm != "batch":
        return Model(init, jax.tree_util.Partial(apply_at, ()), kernel, jax.tree_util.Partial(layers_at, ()))

    def init_state(x: Any) -> Any:
        batch_shape(x, 4, "[batch, height, width, channels]")
        sizes = [size for block in blocks for size in (block.features, block.channels)]
        if final_norm:
            sizes.append(blocks[-1].channels)
        return tuple(map(initial_statistics, sizes))

    def apply_train(key: Any, params: Any, state: Any, x: Any) -> tuple[Any, Any]:
        del key
        done, state = forward(params, state, x, True)
        return done[-1].output, state

    def freeze(state: Any) -> Model:
        apply, layers = (jax.tree_util.Partial(f, state) for f in (apply_at, layers_at))
        return Model(init, apply, kernel, layers)

    def not_frozen(params: Any, x: Any) -> Any:
        raise ValueError(
            "params alone do not determine the outputs of a network with batch norm, which needs its statistics too; "
            "use models.freeze(model, state), with the state of training or model.init_state(x), or model.apply_train"
        )

    return Model(init, not_frozen, kernel, not_frozen, init_state, apply_train, freeze)


def _blocks(depth: int, width: int, stages: Sequence[int]) -> tuple[Block, ...]:
    depth = check.positive_int("depth", depth)
    width = check.positive_int("width", width)
    stages = widths("stages", stages)
    if not stages:
        raise ValueError("stages must name at least one stage, got an empty sequence")
    per_stage, remainder = divmod(depth - 2, 2 * len(stages))
    if remainder or per_stage < 1:
        raise ValueError(
            f"depth must be 2 + {2 * len(stages)}·(blocks per stage) for {len(stages)} stages, such as "
            f"{2 + 2 * len(stages)} or {2 + 4 * len(stages)}, got {depth}"
        )
    blocks, features = [], width
    for s, multiple in enumerate(stages):
        for b in range(per_stage):
            stride = 2 if s > 0 and b == 0 else 1
            channels = multiple * width
            shortcut = stride != 1 or features != channels
            blocks.append(Block(f"stage{s + 1}/block{b + 1}", features, channels, stride, shortcut))
            features = channels
    return tuple(blocks)


def _check_limit(norm: str | None, affine: bool) -> None:
    if norm == "batch":
        raise ValueError("norm must be None or 'layer' for a kernel, got 'batch', which couples the inputs of a batch")
    if norm == "layer" and affine:
        raise ValueError("affine must be False for a kernel with norm='layer': it has none for trainable γ and β")
