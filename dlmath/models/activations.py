"""Activation functions φ, applied to each coordinate; networks take them by name or as any callable.

| name | φ(x) |
|---|---|
| relu | max(x, 0) |
| leaky_relu | x for x ≥ 0, slope·x below |
| elu | x for x > 0, scale·(eˣ − 1) below |
| gelu | x Φ(x), Φ the normal distribution function (not its tanh approximation) |
| erf | 2/√π ∫₀ˣ e^{−t²} dt |
| tanh | tanh x |
| sigmoid | 1/(1 + e^{−x}) |
| softplus | log(1 + eˣ) |
| sin | sin x |
| identity | x |
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from dlmath import check

__all__ = [
    "ACTIVATIONS",
    "elu",
    "erf",
    "gelu",
    "get",
    "identity",
    "leaky_relu",
    "relu",
    "sigmoid",
    "sin",
    "softplus",
    "tanh",
]


def relu(x: ArrayLike) -> Float[Array, "..."]:
    """Rectifier max(x, 0), with derivative 0 at 0.

    >>> relu(-2.0).item(), relu(3.0).item()
    (0.0, 3.0)
    """
    return jax.nn.relu(_float(x))


def leaky_relu(x: ArrayLike, slope: float = 0.01) -> Float[Array, "..."]:
    """Leaky rectifier: x for x ≥ 0, slope·x below. Fix another slope with `functools.partial`.

    >>> round(leaky_relu(-2.0).item(), 6)
    -0.02
    """
    return jax.nn.leaky_relu(_float(x), slope)


def elu(x: ArrayLike, scale: float = 1.0) -> Float[Array, "..."]:
    """Exponential linear unit: x for x > 0, scale·(eˣ − 1) below (Clevert et al. 2016, eq. 15).

    >>> round(elu(-1.0).item(), 6)
    -0.632121
    """
    return jax.nn.elu(_float(x), scale)


def gelu(x: ArrayLike) -> Float[Array, "..."]:
    """Gaussian error linear unit x Φ(x), in its exact form (Hendrycks & Gimpel 2016).

    >>> round(gelu(1.0).item(), 6)
    0.841345
    """
    return jax.nn.gelu(_float(x), approximate=False)


def erf(x: ArrayLike) -> Float[Array, "..."]:
    """Error function 2/√π ∫₀ˣ e^{−t²} dt.

    >>> round(erf(1.0).item(), 6)
    0.842701
    """
    return jax.scipy.special.erf(_float(x))


def tanh(x: ArrayLike) -> Float[Array, "..."]:
    """Hyperbolic tangent.

    >>> round(tanh(1.0).item(), 6)
    0.761594
    """
    return jnp.tanh(_float(x))


def sigmoid(x: ArrayLike) -> Float[Array, "..."]:
    """Logistic function 1/(1 + e^{−x}) = (1 + tanh(x/2))/2.

    >>> sigmoid(0.0).item()
    0.5
    """
    return jax.nn.sigmoid(_float(x))


def softplus(x: ArrayLike) -> Float[Array, "..."]:
    """Softplus log(1 + eˣ), without overflow.

    >>> round(softplus(0.0).item(), 6)
    0.693147
    """
    return jax.nn.softplus(_float(x))


def sin(x: ArrayLike) -> Float[Array, "..."]:
    """Sine.

    >>> round(sin(1.0).item(), 6)
    0.841471
    """
    return jnp.sin(_float(x))


def identity(x: ArrayLike) -> Float[Array, "..."]:
    """Identity, for linear networks.

    >>> identity(2.5).item()
    2.5
    """
    return _float(x)


ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "relu": relu,
    "leaky_relu": leaky_relu,
    "elu": elu,
    "gelu": gelu,
    "erf": erf,
    "tanh": tanh,
    "sigmoid": sigmoid,
    "softplus": softplus,
    "sin": sin,
    "identity": identity,
}
"""Activation functions by name."""


def get(activation: str | Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The activation function of a name, or the given callable itself.

    Args:
        activation: a name from the table above, or any function of one array.

    Raises:
        ValueError: an unknown name, with the nearest known one.
        TypeError: neither a name nor callable.

    >>> get("relu") is relu
    True
    """
    if isinstance(activation, str):
        return ACTIVATIONS[check.one_of("activation", activation, tuple(ACTIVATIONS))]
    return check.callable_("activation", activation)


def _float(x: ArrayLike) -> Any:
    x = jnp.asarray(x)
    return x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(float)
