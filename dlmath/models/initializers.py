"""Distributions of the initial weights and biases under the standard parameterization.

A weight initializer is a function (key, shape, dtype) -> weights, the signature of `jax.nn.initializers`. A weight
has shape [..., in, out]: [in, out] for a dense layer, [height, width, in, out] for a convolution, and

    fan_in = (product of all axes but the last),    fan_out = fan_in · out / in.

| name | distribution | variance | |
|---|---|---|---|
| lecun, lecun_normal | normal | 1/fan_in | LeCun et al. 1998, eq. 16 |
| lecun_uniform | uniform | 1/fan_in | |
| xavier, xavier_uniform | uniform | 2/(fan_in + fan_out) | Glorot & Bengio 2010, eq. 16 |
| xavier_normal | normal | 2/(fan_in + fan_out) | |
| he, he_normal | normal | 2/fan_in | He et al. 2015, eq. 10 |
| he_uniform | uniform | 2/fan_in | |
| orthogonal | Haar | 1/max(fan_in, out) | Saxe et al. 2014, sec. 3 |
| torch | uniform, biases too | 1/(3 fan_in) | PyTorch's default of Linear and Conv2d |

Normal distributions are not truncated. A bias initializer is a function (key, shape of the *weight*, dtype) ->
biases [out], as the scale of biases may depend on the fan-in. A network takes `initializer=` a name, a weight
initializer, or a pair (weights, biases), such as `("he", constant_bias(0.1))`.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dlmath import check
from dlmath.typing import Key

__all__ = [
    "INITIALIZERS",
    "constant_bias",
    "fans",
    "get",
    "he_normal",
    "he_uniform",
    "lecun_normal",
    "lecun_uniform",
    "orthogonal",
    "torch_bias",
    "torch_weight",
    "xavier_normal",
    "xavier_uniform",
]

Initializer = Callable[..., Any]


def fans(shape: Sequence[int]) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight of shape [..., in, out]: connections into and out of one unit.

    >>> fans((5, 5, 6, 16))
    (150, 400)
    """
    if len(shape) < 2:
        raise ValueError(f"shape must have at least two axes [..., in, out], got {tuple(shape)}")
    area = math.prod(shape[:-2])
    return area * shape[-2], area * shape[-1]


def lecun_normal(key: Key, shape: Sequence[int], dtype: Any = None) -> Float[Array, "..."]:
    """Normal weights of variance 1/fan_in.

    >>> w = lecun_normal(jax.random.key(0), (400, 100))
    >>> round(float(w.var() * 400), 1)
    1.0
    """
    return _normal(key, shape, dtype, 1 / fans(shape)[0])


def lecun_uniform(key: Key, shape: Sequence[int], dtype: Any = None) -> Float[Array, "..."]:
    """Uniform weights of variance 1/fan_in, on ±√(3/fan_in)."""
    return _uniform(key, shape, dtype, 1 / fans(shape)[0])


def xavier_normal(key: Key, shape: Sequence[int], dtype: Any = None) -> Float[Array, "..."]:
    """Normal weights of variance 2/(fan_in + fan_out)."""
    return _normal(key, shape, dtype, 2 / sum(fans(shape)))


def xavier_uniform(key: Key, shape: Sequence[int], dtype: Any = None) -> Float[Array, "..."]:
    """Uniform weights of variance 2/(fan_in + fan_out), on ±√(6/(fan_in + fan_out))."""
    return _uniform(key, shape, dtype, 2 / sum(fans(shape)))


def he_normal(key: Key, shape: Sequence[int], dtype: Any = None) -> Float[Array, "..."]:
    """Normal weights of variance 2/fan_in."""
    return _normal(key, shape, dtype, 2 / fans(shape)[0])


def he_uniform(key: Key, shape: Sequence[int], dtype: Any = None) -> Float[Array, "..."]:
    """Uniform weights of variance 2/fan_in, on ±√(6/fan_in)."""
    return _uniform(key, shape, dtype, 2 / fans(shape)[0])


def orthogonal(key: Key, shape: Sequence[int], dtype: Any = None) -> Float[Array, "..."]:
    """Weights whose matrix [fan_in, out] has orthonormal columns (or rows, if wide), Haar distributed.

    >>> w = orthogonal(jax.random.key(0), (6, 4))
    >>> bool(jnp.allclose(w.T @ w, jnp.eye(4), atol=1e-6))
    True
    """
    fan_in, out = fans(shape)[0], shape[-1]
    rows, columns = max(fan_in, out), min(fan_in, out)
    q, r = jnp.linalg.qr(jax.random.normal(key, (rows, columns), _dtype(dtype)))
    # QR alone is not Haar: the signs of diag(R) are made positive (Mezzadri 2007, sec. 5).
    q = q * jnp.where(jnp.diagonal(r) < 0, -1, 1).astype(q.dtype)[None, :]
    return (q if fan_in >= out else q.T).reshape(tuple(shape))


def torch_weight(key: Key, shape: Sequence[int], dtype: Any = None) -> Float[Array, "..."]:
    """Uniform weights on ±1/√fan_in, of variance 1/(3 fan_in): PyTorch's default."""
    return _uniform(key, shape, dtype, 1 / (3 * fans(shape)[0]))


def torch_bias(key: Key, shape: Sequence[int], dtype: Any = None) -> Float[Array, "out"]:
    """Uniform biases [out] on ±1/√fan_in for a weight of this shape: PyTorch's default."""
    return _uniform(key, (shape[-1],), dtype, 1 / (3 * fans(shape)[0]))


def constant_bias(value: float) -> Initializer:
    """The bias initializer that sets every bias to `value`.

    >>> constant_bias(0.1)(jax.random.key(0), (3, 2)).tolist() == [jnp.float32(0.1)] * 2
    True
    """
    value = check.real("value", value)

    def bias(key: Key, shape: Sequence[int], dtype: Any = None) -> Float[Array, "out"]:
        del key
        return jnp.full((shape[-1],), value, _dtype(dtype))

    return bias


INITIALIZERS: dict[str, tuple[Initializer, Initializer | None]] = {
    "lecun": (lecun_normal, None),
    "lecun_normal": (lecun_normal, None),
    "lecun_uniform": (lecun_uniform, None),
    "xavier": (xavier_uniform, None),
    "xavier_normal": (xavier_normal, None),
    "xavier_uniform": (xavier_uniform, None),
    "he": (he_normal, None),
    "he_normal": (he_normal, None),
    "he_uniform": (he_uniform, None),
    "orthogonal": (orthogonal, None),
    "torch": (torch_weight, torch_bias),
}
"""Weight initializers by name, each with that of the biases (None: zero)."""


def get(initializer: Any) -> tuple[Initializer, Initializer | None]:
    """The pair (weight initializer, bias initializer or None) of a name, a function or a pair.

    Raises:
        ValueError: an unknown name, with the nearest known one.
        TypeError: none of name, function and pair.

    >>> get("he") == (he_normal, None)
    True
    """
    if isinstance(initializer, str):
        return INITIALIZERS[check.one_of("initializer", initializer, tuple(INITIALIZERS))]
    if isinstance(initializer, tuple) and len(initializer) == 2:
        weight, _ = get(initializer[0])
        return weight, check.callable_("initializer[1]", initializer[1])
    if not callable(initializer):
        raise TypeError(
            "initializer must be a name, a function (key, shape, dtype) -> weights or a pair (weights, biases), "
            f"got {initializer!r} of type {type(initializer).__name__}"
        )
    return initializer, None


def _normal(key: Key, shape: Sequence[int], dtype: Any, variance: float) -> Any:
    return math.sqrt(variance) * jax.random.normal(key, tuple(shape), _dtype(dtype))


def _uniform(key: Key, shape: Sequence[int], dtype: Any, variance: float) -> Any:
    bound = math.sqrt(3 * variance)
    return jax.random.uniform(key, tuple(shape), _dtype(dtype), -bound, bound)


def _dtype(dtype: Any) -> Any:
    return jnp.result_type(float) if dtype is None else dtype
