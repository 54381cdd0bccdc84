"""LeNet-5, as it is drawn today and as it was."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from dlmath import check
from dlmath.models import activations
from dlmath.models._layers import average_pool, batch_shape, conv, dense, expect_layers, init_weights, outputs_of
from dlmath.models._model import Layer, Model, shared
from dlmath.models._parameterization import Scaling, limit, scalings

# LeCun et al. 1998, Table I: the maps of S2 that each of the 16 maps of C3 sees. Six see three neighbours, six see
# four neighbours, three see two pairs, the last sees all: 60 kernels instead of 96.
C3_INPUTS = (
    *[tuple((j + k) % 6 for k in range(3)) for j in range(6)],
    *[tuple((j + k) % 6 for k in range(4)) for j in range(6)],
    *[(j, j + 1, (j + 3) % 6, (j + 4) % 6) for j in range(3)],
    tuple(range(6)),
)


@shared
def lenet5(
    original: bool = False,
    outputs: int = 10,
    *,
    activation: str | Callable[[Any], Any] = "tanh",
    parameterization: str = "standard",
    weight_std: ArrayLike | Sequence[Any] | None = 1.0,
    bias_std: ArrayLike | Sequence[Any] | None = 0.0,
    initializer: Any = None,
) -> Model:
    """LeNet-5: C1 6@5×5, S2, C3 16@5×5, S4, C5 120, F6 84, read-out, φ after each of C1, C3, C5 and F6.

    Convolutions are "VALID", S2 and S4 are means over disjoint 2×2 squares, applied after φ. Inputs are grey images
    [batch, 32, 32, 1], or [batch, 28, 28, 1] (MNIST), which are padded with two zeros on each side. 61,706 parameters.

    With `original`, each map of C3 sees the three to six maps of S2 of Table I in LeCun et al. 1998, and its weights
    are wider by √(6/number of maps), as its fan-in is smaller: 60,806 parameters. The kernels of C3 are then stored
    as [5, 5, 1, 60], map by map. What the paper has beyond that (trained coefficients of S2 and S4, a scaled tanh,
    radial basis functions as outputs) is left out.

    Parameters are a tuple of five dicts {"weight", "bias"}: C1, C3, C5, F6, read-out.

    Args:
        original: whether C3 has the partial connections of the paper.
        outputs: number of outputs.
        activation: a name from `models.activations` or any function of an array.
        parameterization: "standard", "ntk" or "mup", see `mlp`.
        weight_std: σ_w ≥ 0, one number or one for each of the 5 layers.
        bias_std: σ_b ≥ 0, likewise; None for layers without bias.
        initializer: as for `mlp`; weight_std must then be None.

    Returns:
        A Model on x[batch, 28 or 32, 28 or 32, 1] with outputs [batch, outputs]. `kernel` is its limit of infinite width
        (with `original` there is none, and asking says so).

    Raises:
        ValueError, TypeError: an argument out of its range, named in the message.

    LeCun, Bottou, Bengio & Haffner 1998, Gradient-based learning applied to document recognition, sec. II.B.

    >>> import jax, jax.numpy as jnp, dlmath as dm
    >>> x = jnp.ones((1, 28, 28, 1))
    >>> [dm.models.count_parameters(m.init(jax.random.key(0), x)) for m in (lenet5(), lenet5(original=True))]
    [61706, 60806]
    """
    outputs = check.positive_int("outputs", outputs)
    if not isinstance(original, bool):
        raise TypeError(f"original must be True or False, got {original!r}")
    phi = activations.get(activation)
    if initializer is not None and weight_std == 1.0:
        weight_std = None  # its default, which the initializer replaces
    scaling = scalings(5, parameterization, weight_std, bias_std, initializer)
    shapes = ((5, 5, 1, 6), (5, 5, 6, 16), (400, 120), (120, 84), (84, outputs))

    def init(key: Any, x: Any) -> Any:
        check.key("key", key)
        _images(x)
        keys = jax.random.split(key, 5)
        params = [init_weights(k, s, shape) for k, s, shape in zip(keys, scaling, shapes, strict=True)]
        if original:
            params[1] = _partial_weights(scaling[1], params[1])
        return tuple(params)

    def layers(params: Any, x: Any) -> tuple[Layer, ...]:
        x = _images(x)
        expect_layers(params, 5)
        c1 = conv(params[0], scaling[0], x, (1, 1), "VALID")
        s2 = average_pool(phi(c1), 2)
        c3 = (_partial_conv if original else conv)(params[1], scaling[1], s2, (1, 1), "VALID")
        s4 = average_pool(phi(c3), 2)
        c5 = dense(params[2], scaling[2], s4.reshape(s4.shape[0], -1))
        f6 = dense(params[3], scaling[3], phi(c5))
        y = dense(params[4], scaling[4], phi(f6))
        names = ("C1", "C3", "C5", "F6", "dense")
        return tuple(Layer(*layer) for layer in zip(names, params, (c1, c3, c5, f6, y), strict=True))

    def build() -> Callable[..., Any]:
        from dlmath.models import _limit

        if original:
            raise ValueError(
                "original must be False for a kernel: the partial connections of C3 are to 6 maps, not many"
            )
        stds = [s.weight_std for s in scaling], [s.bias_std for s in scaling]
        kernel = _limit.lenet_kernel((6, 16), (120, 84, outputs), activation, parameterization, *stds)
        return lambda x1, x2=None, *, get: kernel(_images(x1), None if x2 is None else _images(x2), get=get)

    return Model(init, outputs_of(layers), limit(build, scaling[0]), layers)


def _images(x: Any) -> Any:
    shape = batch_shape(x, 4, "[batch, 28 or 32, 28 or 32, 1]")
    if shape[1:] not in ((28, 28, 1), (32, 32, 1)):
        raise ValueError(f"x must have shape [batch, 28, 28, 1] or [batch, 32, 32, 1], got {shape}")
    if shape[1] == 32 or isinstance(x, jax.ShapeDtypeStruct):
        return x
    return jnp.pad(jnp.asarray(x), ((0, 0), (2, 2), (2, 2), (0, 0)))


def _partial_weights(scaling: Scaling, params: Any) -> dict[str, Any]:
    inputs, outputs, gain = _connections()
    kernels = params["weight"][:, :, inputs, outputs][:, :, None, :]
    # Drawn for a map that sees all six; NTK multipliers stay out of the parameters.
    return params | {"weight": kernels if scaling.parameterization == "ntk" else kernels * gain.astype(kernels.dtype)}


def _partial_conv(params: Any, scaling: Scaling, x: Any, strides: tuple[int, int], padding: str) -> Any:
    inputs, outputs, gain = _connections()
    kernels = jnp.asarray(params["weight"])[:, :, 0, :]
    if scaling.parameterization == "ntk":
        kernels = kernels * gain.astype(kernels.dtype).reshape(1, 1, -1)
    full = jnp.zeros((5, 5, 6, 16), kernels.dtype).at[:, :, inputs, outputs].set(kernels)
    return conv(params | {"weight": full}, scaling, x, strides, padding)


def _connections() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    # For each of the 60 kernels: its map of S2, its map of C3, and √(6/number of maps that one sees).
    pairs = np.array([(i, j) for j, maps in enumerate(C3_INPUTS) for i in maps])
    counts = np.array([len(maps) for maps in C3_INPUTS])
    return pairs[:, 0], pairs[:, 1], np.sqrt(6 / counts[pairs[:, 1]]).reshape(1, 1, 1, -1)
