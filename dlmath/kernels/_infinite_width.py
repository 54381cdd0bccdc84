"""Kernels of infinitely wide networks, from a list of layers, through neural-tangents."""

import functools
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dlmath import check, compat

# The activations neural-tangents integrates in closed form, each with its parameter-free layer.
_CLOSED_FORM: dict[str, Callable[[Any], Any]] = {
    "relu": lambda stax: stax.Relu(),
    "leaky_relu": lambda stax: stax.LeakyRelu(0.01),
    "gelu": lambda stax: stax.Gelu(),
    "erf": lambda stax: stax.Erf(),
    "sin": lambda stax: stax.Sin(),
    "identity": lambda stax: stax.Identity(),
}
_QUADRATURE: dict[str, Callable[[Any], Any]] = {
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "softplus": jax.nn.softplus,
    "elu": jax.nn.elu,
}


class Dense(NamedTuple):
    """Fully connected layer of `width` units; bias_std None means no bias."""

    width: int
    weight_std: float = 1.0
    bias_std: float | None = None


class Conv(NamedTuple):
    """Convolution of images [height, width, channels]; padding SAME, VALID or CIRCULAR."""

    channels: int
    kernel_size: tuple[int, int] = (3, 3)
    strides: tuple[int, int] = (1, 1)
    padding: str = "SAME"
    weight_std: float = 1.0
    bias_std: float | None = None


class Activation(NamedTuple):
    """A function of each coordinate, by name or as a callable.

    relu, leaky_relu (`slope`), gelu, erf, sin and identity are integrated in closed form; tanh, sigmoid, softplus, elu
    and callables by quadrature with 2·num_nodes² points for each kernel entry.
    """

    function: str | Callable[[Any], Any] = "relu"
    slope: float = 0.01
    num_nodes: int = 40


class LayerNorm(NamedTuple):
    """(h − mean)/√(variance + epsilon) over the channels of each example and pixel, without trainable gain and shift."""

    epsilon: float = 1e-5


class Flatten(NamedTuple):
    """Pixels and channels become features."""


class GlobalAverage(NamedTuple):
    """Mean over pixels."""


class Residual(NamedTuple):
    """main(x) + shortcut(x), each a tuple of layers; no shortcut layers: + x."""

    main: tuple[Any, ...]
    shortcut: tuple[Any, ...] = ()


_LAYERS = (Dense, Conv, Activation, LayerNorm, Flatten, GlobalAverage, Residual)


def infinite_width(layers: Sequence[Any], *, parameterization: str = "ntk") -> Callable[..., Any]:
    """The kernel of the network `layers` in the limit of infinite width, NNGP or NTK.

    With the activation φ, the layer variances σ_w², σ_b² and (u, v) centred Gaussian with the covariance K_l restricted
    to (x, x'), the fully connected case is

        K_1 = σ_w² x·x'/d + σ_b²,       K_{l+1} = σ_w² E φ(u)φ(v) + σ_b²,
        Θ_1 = K_1,                      Θ_{l+1} = K_{l+1} + σ_w² E φ'(u)φ'(v) Θ_l,

    in the NTK parameterization h = σ_w W x/√n + σ_b b. Under "standard", h = W x + b with W ~ N(0, σ_w²/n) and
    b ~ N(0, σ_b²), K is the same and each layer adds n E φφ (+ 1 with a bias) instead of K to Θ, where n is the number
    of its inputs (kernel area × channels in a convolution): the leading order at the widths given.

    Args:
        layers: `Dense`, `Conv`, `Activation`, `LayerNorm`, `Flatten`, `GlobalAverage` and `Residual` records of this
            module, in the order of the forward pass.
        parameterization: "ntk" or "standard".

    Returns:
        kernel(x1[n1, ...], x2[n2, ...] = None, *, get="ntk" or "nngp") -> [n1, n2], in the precision of JAX's mode;
        inputs are [n, features], or [n, height, width, channels] if the first layer is a `Conv`.

    Raises:
        ValueError, TypeError: an argument out of its range, named in the message.

    Accuracy: closed forms lose half of the digits near the diagonal (1e-8 in float64, 1e-4 in float32). By quadrature (40 nodes, float64) the relative error of one layer is
    below 1e-6 for tanh, sigmoid, softplus and elu at K(x, x) ≤ 10 and 1e-5 at K(x, x) = 50; likewise for a callable that is
    smooth but for a kink or jump at 0. With one elsewhere, expect 1/num_nodes.
    Cost: n1·n2 a fully connected layer, n1·n2·pixels² with global average pooling; times 2·num_nodes² by quadrature.

    Sources: Lee et al. 2018 (1711.00165); Jacot et al. 2018 (1806.07572); Arora et al. 2019 (1904.11955); standard
    parameterization: Sohl-Dickstein et al. 2020 (2001.07301); computed by neural-tangents, Novak et al. 2020
    (1912.02803).

    >>> layers = [Dense(512, 2**0.5), Activation("relu"), Dense(1, 2**0.5)]
    >>> kernel = infinite_width(layers)
    >>> print(f"{kernel(jnp.array([[1.0, 0.0, 0.0]])).item():.4f}")  # (L + 1)·2|x|²/d
    1.3333
    """
    check.one_of("parameterization", parameterization, ("ntk", "standard"))
    checked = _checked_layers("layers", layers)
    if not checked:
        raise ValueError("layers must name at least one layer, got none")
    evaluate = _evaluator(checked, parameterization)
    ndim = 4 if _first_affine(checked) is Conv else 2

    def kernel(x1: Any, x2: Any = None, *, get: str = "ntk") -> Float[Array, "n1 n2"]:
        check.one_of("get", get, ("ntk", "nngp"))
        first = _inputs("x1", x1, ndim)
        second = None if x2 is None else _inputs("x2", x2, ndim)
        if second is not None and first.shape[1:] != second.shape[1:]:
            raise ValueError(
                f"x1 and x2 must have examples of one shape, got shapes {tuple(first.shape)} and {tuple(second.shape)}"
            )
        return evaluate(first, second, get)

    return kernel


def _inputs(argument: str, x: Any, ndim: int) -> Any:
    meaning = "[n, features]" if ndim == 2 else "[n, height, width, channels]"
    x = jnp.asarray(check.array(argument, x))
    if x.ndim != ndim:
        raise ValueError(f"{argument} must have {ndim} dimensions {meaning}, got shape {tuple(x.shape)}")
    return x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(float)


def _checked_layers(argument: str, layers: Any) -> tuple[Any, ...]:
    if isinstance(layers, str) or not hasattr(layers, "__iter__") or type(layers) in _LAYERS:
        raise TypeError(f"{argument} must be a sequence of layers such as [Dense(512)], got {layers!r}")
    return tuple(_checked_layer(f"{argument}[{index}]", layer) for index, layer in enumerate(layers))


def _checked_layer(argument: str, layer: Any) -> Any:
    if type(layer) not in _LAYERS:
        names = ", ".join(kind.__name__ for kind in _LAYERS)
        raise TypeError(f"{argument} must be one of {names}, got {layer!r}")
    if isinstance(layer, Residual):
        main, shortcut = (_checked_layers(f"{argument}.{name}", getattr(layer, name)) for name in layer._fields)
        return Residual(main, shortcut)
    if isinstance(layer, Activation):
        check.integer(f"{argument}.num_nodes", layer.num_nodes, at_least=2, at_most=256)
        check.real(f"{argument}.slope", layer.slope)
        if isinstance(layer.function, str):
            check.one_of(f"{argument}.function", layer.function, (*_CLOSED_FORM, *_QUADRATURE))
        else:
            check.callable_(f"{argument}.function", layer.function)
    if isinstance(layer, LayerNorm):
        check.real(f"{argument}.epsilon", layer.epsilon, at_least=0)
    if isinstance(layer, Dense | Conv):
        check.real(f"{argument}.weight_std", layer.weight_std, at_least=0)
        if layer.bias_std is not None:
            check.real(f"{argument}.bias_std", layer.bias_std, at_least=0)
        check.positive_int(f"{argument}.{layer._fields[0]}", layer[0])
    if isinstance(layer, Conv):
        check.one_of(f"{argument}.padding", layer.padding, ("SAME", "VALID", "CIRCULAR"))
        for name in ("kernel_size", "strides"):
            height, width = getattr(layer, name)
            check.positive_int(f"{argument}.{name}", height)
            check.positive_int(f"{argument}.{name}", width)
        return layer._replace(kernel_size=tuple(layer.kernel_size), strides=tuple(layer.strides))
    return layer


def _first_affine(layers: tuple[Any, ...]) -> type | None:
    for layer in layers:
        if isinstance(layer, Residual):
            return _first_affine(layer.main)
        if isinstance(layer, Dense | Conv):
            return type(layer)
    return None


def _evaluator(layers: tuple[Any, ...], parameterization: str) -> Callable[..., Any]:
    # One compiled program per description, however often a model is asked for its kernel. Traced variances (for a
    # gradient in σ_w) must not outlive their trace, so they are neither cached nor compiled apart.
    step_by_step = _plain_evaluator(layers, parameterization)
    if any(check.is_traced(leaf) for leaf in jax.tree.leaves(layers)):
        return step_by_step
    try:
        compiled = _compiled_evaluator(layers, parameterization)
    except TypeError:  # an unhashable callable
        return step_by_step
    # XLA's CPU compiler in jaxlib 0.10 corrupts memory in the float64 program of a strided convolution after an
    # activation (segmentation fault; right in float32, one operation at a time, and from jaxlib 0.11 on).
    if jax.__version_info__ >= (0, 11) or not _any_strides(layers):
        return compiled
    return lambda x1, x2, get: (step_by_step if x1.dtype == jnp.float64 else compiled)(x1, x2, get)


def _any_strides(layers: tuple[Any, ...]) -> bool:
    return any(
        _any_strides(layer.main + layer.shortcut) if isinstance(layer, Residual) else layer.strides != (1, 1)
        for layer in layers
        if isinstance(layer, Residual | Conv)
    )


@functools.lru_cache(maxsize=64)
def _compiled_evaluator(layers: tuple[Any, ...], parameterization: str) -> Callable[..., Any]:
    return jax.jit(_plain_evaluator(layers, parameterization), static_argnums=2)


def _plain_evaluator(layers: tuple[Any, ...], parameterization: str) -> Callable[..., Any]:
    stax = compat.neural_tangents().stax

    def evaluate(x1: Any, x2: Any, get: str) -> Any:
        with warnings.catch_warnings():
            # neural-tangents warns of what holds here by construction: a branch of a sum has its own weights.
            warnings.simplefilter("ignore")
            return _serial(stax, layers, parameterization)[2](x1, x2, get)

    return evaluate


def _serial(stax: Any, layers: tuple[Any, ...], parameterization: str) -> Any:
    return stax.serial(*[_layer(stax, layer, parameterization) for layer in layers] or [stax.Identity()])


def _layer(stax: Any, layer: Any, parameterization: str) -> Any:
    match layer:
        case Dense(width, weight_std, bias_std):
            return stax.Dense(width, weight_std, bias_std, parameterization=parameterization)
        case Conv(channels, kernel_size, strides, padding, weight_std, bias_std):
            return stax.Conv(
                channels, kernel_size, strides, padding, weight_std, bias_std, parameterization=parameterization
            )
        case Flatten():
            return stax.Flatten()
        case GlobalAverage():
            return stax.GlobalAvgPool()
        case LayerNorm(epsilon):
            return stax.LayerNorm(eps=epsilon)
        case Residual(main, shortcut):
            branches = [_serial(stax, branch, parameterization) for branch in (main, shortcut)]
            return stax.serial(stax.FanOut(2), stax.parallel(*branches), stax.FanInSum())
    return _activation(stax, layer)


def _activation(stax: Any, layer: Activation) -> Any:
    if layer.function == "leaky_relu":
        return stax.LeakyRelu(layer.slope)
    if isinstance(layer.function, str) and layer.function in _CLOSED_FORM:
        return _CLOSED_FORM[layer.function](stax)
    function = _QUADRATURE[layer.function] if isinstance(layer.function, str) else layer.function
    derivative = jnp.vectorize(jax.grad(lambda x: jnp.sum(function(x))))
    return stax.Elementwise(
        lambda x: function(x),
        functools.partial(_gaussian_expectation, function, layer.num_nodes),
        functools.partial(_gaussian_expectation, derivative, layer.num_nodes),
    )


def _gaussian_expectation(
    f: Callable[[Any], Any], num_nodes: int, covariance: Any, variance1: Any, variance2: Any
) -> Any:
    """E f(u) f(v) for centred Gaussian u, v, by Gauss-Legendre quadrature in polar coordinates.

    With u = σ₁ r cos θ, v = σ₂ r cos(θ − α), cos α the correlation, r of density r exp(−r²/2) and θ uniform, the lines
    u = 0 and v = 0 cut the circle into two arcs, of length α and π − α, and their opposites. Inside an arc a function
    with a kink or a jump at 0 is smooth, and a steep one varies near the ends, where the nodes are dense.
    The points are summed one at a time, which keeps memory at that of one kernel matrix.
    """
    (radii, radius_weights), (fractions, angle_weights) = (
        tuple(jnp.asarray(column, covariance.dtype) for column in rule) for rule in _polar_rules(num_nodes)
    )
    scale1, scale2 = _safe_sqrt(variance1), _safe_sqrt(variance2)
    sine = _safe_sqrt(variance1 * variance2 - covariance**2)
    degenerate = (sine == 0) & (covariance == 0)  # u or v vanishes, at any angle to the other
    alpha = jnp.where(degenerate, jnp.pi / 2, jnp.arctan2(jnp.where(degenerate, 1, sine), covariance))

    def add_angle(total: Any, angle: Any) -> tuple[Any, None]:
        fraction, weight = angle
        for start, length in ((-jnp.pi / 2, alpha), (alpha - jnp.pi / 2, jnp.pi - alpha)):
            theta = start + fraction * length
            u1, v1 = scale1 * jnp.cos(theta), scale2 * jnp.cos(theta - alpha)

            def add_radius(partial: Any, radius: Any, u1: Any = u1, v1: Any = v1) -> tuple[Any, None]:
                r, weight = radius
                return partial + weight * (f(r * u1) * f(r * v1) + f(-r * u1) * f(-r * v1)), None

            arc = jax.lax.scan(add_radius, jnp.zeros_like(total), (radii, radius_weights))[0]
            total += weight * length * arc
        return total, None

    return jax.lax.scan(add_angle, jnp.zeros_like(covariance), (fractions, angle_weights))[0]


def _polar_rules(num_nodes: int) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """Nodes and weights of r exp(−r²/2) dr on (0, 9), beyond which lies 3e-18, and of dθ/2π over an arc of length 1."""
    r, r_weights = np.polynomial.legendre.leggauss(num_nodes)
    r = 4.5 * (r + 1)
    r_weights = r_weights * r * np.exp(-(r**2) / 2)
    t, t_weights = np.polynomial.legendre.leggauss(num_nodes // 2)
    return (r, r_weights / r_weights.sum()), ((t + 1) / 2, t_weights / (4 * np.pi))


def _safe_sqrt(value: Any) -> Any:
    # √ of the positive part, with derivative 0 (not infinite) where it vanishes, as on the diagonal of a kernel.
    positive = value > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, value, 1)), 0)
