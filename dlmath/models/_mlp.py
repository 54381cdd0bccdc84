"""Multilayer perceptrons."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.typing import ArrayLike

from dlmath import check
from dlmath.models import activations
from dlmath.models._layers import batch_shape, dense, expect_layers, init_weights, outputs_of, widths
from dlmath.models._model import Layer, Model, shared
from dlmath.models._parameterization import limit, scalings


@shared
def mlp(
    hidden: Sequence[int],
    outputs: int,
    *,
    activation: str | Callable[[Any], Any] = "relu",
    parameterization: str = "standard",
    weight_std: ArrayLike | Sequence[Any] | None = None,
    bias_std: ArrayLike | Sequence[Any] | None = 0.0,
    initializer: Any = None,
) -> Model:
    """Multilayer perceptron y = W_{L+1} φ(W_L … φ(W_1 x + b_1) … + b_L) + b_{L+1}.

    With n_in the fan-in of a layer, its affine map is, in the parameterization

    - "standard": h = W x + b,  W ~ N(0, σ_w²/n_in),  b ~ N(0, σ_b²);
    - "ntk": h = σ_w/√n_in · W x + σ_b b,  W, b ~ N(0, 1);
    - "mup": as "standard", but for the read-out h = W x/n_in + b with W ~ N(0, σ_w²).

    Under muP train with the rates of `learning_rates`. Parameters are a tuple of L + 1 dicts
    {"weight": [in, out], "bias": [out]}, in the default float type of the mode JAX is in.

    Args:
        hidden: widths of the L hidden layers; empty for a linear model.
        outputs: number of outputs.
        activation: a name from `models.activations` or any function of an array.
        parameterization: "standard", "ntk" or "mup".
        weight_std: σ_w ≥ 0, one number for every layer, read-out included, or one per layer. None means √2,
            which keeps the second moment of a ReLU network from layer to layer (He et al. 2015); for tanh,
            erf or linear networks 1 does.
        bias_std: σ_b ≥ 0, likewise; None for layers without bias. At 0 biases start at zero and are trained, except
            in the NTK parameterization, where a layer with σ_b = 0 has no bias.
        initializer: a distribution from `models.initializers` in place of the normal one with variance σ_w²/n_in,
            under the standard parameterization only; weight_std must then be None.

    Returns:
        A Model on x[batch, features] with outputs [batch, outputs]. `kernel` is its limit of infinite width; under the
        standard parameterization, the NTK grows with width and the kernel is the one at these widths.

    Raises:
        ValueError, TypeError: an argument out of its range, named in the message.

    Cost of `apply`: one matrix product a layer, batch · P multiply-adds. Parameterizations: Jacot et al. 2018
    (1806.07572), sec. 3; Sohl-Dickstein et al. 2020 (2001.07301); Yang et al. 2022 (2203.03466), Table 8.

    >>> import jax, jax.numpy as jnp, dlmath as dm
    >>> model = dm.models.mlp([64, 64], 1, activation="sigmoid")
    >>> dm.models.count_parameters(model.init(jax.random.key(0), jnp.ones((5, 1))))
    4353
    """
    sizes = (*widths("hidden", hidden), check.positive_int("outputs", outputs))
    phi = activations.get(activation)
    scaling = scalings(len(sizes), parameterization, weight_std, bias_std, initializer)

    def init(key: Any, x: Any) -> Any:
        check.key("key", key)
        features = batch_shape(x, 2, "[batch, features] (flatten images with x.reshape(len(x), -1))")[1]
        keys = jax.random.split(key, len(sizes))
        shapes = zip((features, *sizes[:-1]), sizes, strict=True)
        return tuple(init_weights(k, s, shape) for k, s, shape in zip(keys, scaling, shapes, strict=True))

    def layers(params: Any, x: Any) -> tuple[Layer, ...]:
        batch_shape(x, 2, "[batch, features] (flatten images with x.reshape(len(x), -1))")
        expect_layers(params, len(sizes))
        done = []
        for index, (p, s) in enumerate(zip(params, scaling, strict=True)):
            h = dense(p, s, phi(done[-1].output) if done else x)
            done.append(Layer(f"dense{index + 1}", p, h))
        return tuple(done)

    def build() -> Callable[..., Any]:
        from dlmath.models import _limit

        stds = [s.weight_std for s in scaling], [s.bias_std for s in scaling]
        return _limit.mlp_kernel(sizes[:-1], activation, parameterization, *stds)

    return Model(init, outputs_of(layers), limit(build, scaling[0]), layers)
