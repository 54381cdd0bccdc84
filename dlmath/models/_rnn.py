"""Recurrent networks: plain, LSTM, GRU."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from dlmath import check
from dlmath.models import activations
from dlmath.models._layers import batch_shape, dense, expect_layers, init_weights, precision
from dlmath.models._model import Model, shared
from dlmath.models._parameterization import Scaling

SEQUENCES = "[batch, time, features]"
GATES = {"plain": 1, "lstm": 4, "gru": 3}


@shared
def rnn(
    hidden: int | Sequence[int],
    outputs: int,
    *,
    cell: str = "plain",
    activation: str | Callable[[Any], Any] = "tanh",
    every_step: bool = False,
    weight_std: float = 1.0,
    recurrent_std: float = 1.0,
    bias_std: float | None = 0.0,
    forget_bias: float = 1.0,
) -> Model:
    """Recurrent network: layers of cells h_t = cell(h_{t-1}, x_t) from h_0 = 0, then a linear read-out of h.

    With U the input weights, V the recurrent weights and s the logistic function, the cells are

    - "plain" (Elman 1990): h' = φ(U x + V h + b);
    - "lstm" (Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000): (i, f, g, o) = U x + V h + b,
      c' = s(f) c + s(i) tanh g, h' = s(o) tanh c';
    - "gru" (Cho et al. 2014): r, z = s(U x + V h + b), n = tanh(Uₙ x + bₙ + r ∘ (Vₙ h + aₙ)), h' = (1 − z) n + z h.

    U ~ N(0, weight_std²/inputs), V ~ N(0, recurrent_std²/hidden): a plain linear network then has its eigenvalues in
    the disc of radius recurrent_std, so signals and gradients scale with recurrent_std^t. Parameters are a tuple of one
    {"input": [in, gates·hidden], "recurrent": [hidden, gates·hidden], "bias": [gates·hidden]} per layer, gates in the
    order above (with "recurrent_bias" [hidden], aₙ, for "gru"), and the read-out {"weight", "bias"}.

    Args:
        hidden: number of units, or one number per stacked layer.
        outputs: number of outputs.
        cell: "plain", "lstm" or "gru".
        activation: φ of the plain cell, a name from `models.activations` or any function.
        every_step: whether to read out at every step rather than at the last one.
        weight_std: standard deviation of input and read-out weights, times √fan_in.
        recurrent_std: that of recurrent weights, times √hidden.
        bias_std: standard deviation of biases; None for a network without.
        forget_bias: added to the initial bias of the forget gate (Jozefowicz et al. 2015 recommend 1).

    Returns:
        A Model on x[batch, time, features] with outputs [batch, outputs], or [batch, time, outputs].

    Raises:
        ValueError, TypeError: an argument out of its range, named in the message.

    Cost of `apply`: per layer, step and example gates·hidden·(in + hidden) multiply-adds; steps run one after another.

    >>> import jax, jax.numpy as jnp, dlmath as dm
    >>> model = dm.models.rnn(8, 2, cell="lstm")
    >>> dm.models.count_parameters(model.init(jax.random.key(0), jnp.ones((1, 5, 3))))  # 4·8·(3 + 8 + 1) + 9·2
    402
    """
    sizes = hidden if isinstance(hidden, Sequence) and not isinstance(hidden, str) else (hidden,)
    sizes = tuple(check.positive_int("hidden", size) for size in sizes)
    if not sizes:
        raise ValueError("hidden must name at least one layer, got an empty sequence")
    outputs = check.positive_int("outputs", outputs)
    check.one_of("cell", cell, tuple(GATES))
    phi = activations.get(activation)
    weight_std = check.real("weight_std", weight_std, at_least=0)
    recurrent_std = check.real("recurrent_std", recurrent_std, at_least=0)
    forget_bias = check.real("forget_bias", forget_bias)
    if bias_std is not None:
        bias_std = check.real("bias_std", bias_std, at_least=0)
    read_out = Scaling("output", "standard", weight_std, bias_std)
    step = {"plain": _plain_step(phi), "lstm": _lstm_step, "gru": _gru_step}[cell]

    def init(key: Any, x: Any) -> Any:
        check.key("key", key)
        features = batch_shape(x, 3, SEQUENCES)[2]
        keys = jax.random.split(key, len(sizes) + 1)
        params = []
        for k, size in zip(keys[:-1], sizes, strict=True):
            params.append(init_layer(k, features, size))
            features = size
        return (*params, init_weights(keys[-1], read_out, (features, outputs)))

    def init_layer(key: Any, features: int, size: int) -> dict[str, Any]:
        dtype = jnp.result_type(float)
        input_key, recurrent_key, bias_key, recurrent_bias_key = jax.random.split(key, 4)
        width = GATES[cell] * size
        layer = {
            "input": weight_std * features**-0.5 * jax.random.normal(input_key, (features, width), dtype),
            "recurrent": recurrent_std * size**-0.5 * jax.random.normal(recurrent_key, (size, width), dtype),
        }
        if bias_std is not None:
            layer["bias"] = bias_std * jax.random.normal(bias_key, (width,), dtype)
            if cell == "lstm":
                layer["bias"] = layer["bias"].at[size : 2 * size].add(forget_bias)
            if cell == "gru":
                layer["recurrent_bias"] = bias_std * jax.random.normal(recurrent_bias_key, (size,), dtype)
        return layer

    def apply(params: Any, x: Any) -> Any:
        batch_shape(x, 3, SEQUENCES)
        expect_layers(params, len(sizes) + 1)
        h = jnp.asarray(x)
        for layer in params[:-1]:
            h = _run(step, layer, h)
        return dense(params[-1], read_out, h if every_step else h[:, -1])

    return Model(init, apply)


def _run(step: Callable[..., Any], layer: Any, x: Any) -> Any:
    """States h[batch, time, hidden] of one layer. The input's share U x + b is one product over all steps."""
    weight = jnp.asarray(layer["input"])
    if x.shape[-1] != weight.shape[0]:
        raise ValueError(
            f"x must have {weight.shape[0]} features, as the parameters were made for, got shape {tuple(x.shape)}"
        )
    dtype = jnp.promote_types(x.dtype, weight.dtype) if jnp.issubdtype(x.dtype, jnp.floating) else weight.dtype
    drive = jnp.matmul(x.astype(dtype), weight.astype(dtype), precision=precision())
    if "bias" in layer:
        drive = drive + layer["bias"].reshape(1, 1, -1)
    zero = jnp.zeros((x.shape[0], layer["recurrent"].shape[0]), drive.dtype)

    def scanned(carry: Any, drive: Any) -> tuple[Any, Any]:
        carry = step(layer, carry, drive)
        return carry, carry[0]

    states = jax.lax.scan(scanned, (zero, zero), jnp.moveaxis(drive, 1, 0))[1]
    return jnp.moveaxis(states, 0, 1)


def _plain_step(phi: Callable[[Any], Any]) -> Callable[..., Any]:
    def step(layer: Any, carry: Any, drive: Any) -> Any:
        h, unused = carry
        return phi(drive + _recur(h, layer["recurrent"])).astype(h.dtype), unused

    return step


def _lstm_step(layer: Any, carry: Any, drive: Any) -> Any:
    h, c = carry
    i, f, g, o = jnp.split(drive + _recur(h, layer["recurrent"]), 4, axis=-1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


def _gru_step(layer: Any, carry: Any, drive: Any) -> Any:
    h, unused = carry
    size = h.shape[-1]
    recurrent = _recur(h, layer["recurrent"])
    r, z = jnp.split(jax.nn.sigmoid(drive[:, : 2 * size] + recurrent[:, : 2 * size]), 2, axis=-1)
    candidate = recurrent[:, 2 * size :]
    if "recurrent_bias" in layer:
        candidate = candidate + layer["recurrent_bias"].reshape(1, -1)
    n = jnp.tanh(drive[:, 2 * size :] + r * candidate)
    return (1 - z) * n + z * h, unused


def _recur(h: Any, weight: Any) -> Any:
    return jnp.matmul(h, weight.astype(h.dtype), precision=precision())
