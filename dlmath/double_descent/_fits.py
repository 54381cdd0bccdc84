"""Least-squares fits of functions of one variable: powers, and sines with cosines."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from dlmath import check
from dlmath.linalg import min_norm, ridge
from dlmath.linalg._arrays import floating_dtype


def polynomial_features(x: Any, degree: int) -> Float[Array, "n p"]:
    """The powers 1, x, …, x^degree, [n, degree + 1].

    Args:
        x: points, [n].
        degree: k ≥ 0.

    Raises:
        ValueError: for points that are not a finite vector, or a negative degree.

    >>> print(polynomial_features(jnp.array([2.0, 3.0]), 2))
    [[1. 2. 4.]
     [1. 3. 9.]]
    """
    x = _points(x)
    degree = check.integer("degree", degree, at_least=0)
    return jnp.stack([x**k for k in range(degree + 1)], axis=1)


def trigonometric_features(x: Any, degree: int, *, period: float) -> Float[Array, "n p"]:
    """The functions 1, cos ωx, sin ωx, …, cos kωx, sin kωx with ω = 2π/period and k = degree, [n, 2 degree + 1].

    Args:
        x: points, [n].
        degree: k ≥ 0.
        period: positive, in the units of x.

    Raises:
        ValueError: for points that are not a finite vector, a negative degree, or a period that is not positive.

    >>> print(trigonometric_features(jnp.array([0.0, 0.25]), 1, period=1.0).round(4) + 0.0)
    [[1. 1. 0.]
     [1. 0. 1.]]
    """
    x = _points(x)
    degree = check.integer("degree", degree, at_least=0)
    angle = x[:, None] * (2 * jnp.pi / check.real("period", period, above=0.0) * jnp.arange(1, degree + 1))
    waves = jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=-1).reshape(len(x), -1)
    return jnp.concatenate([jnp.ones_like(x)[:, None], waves.astype(x.dtype)], axis=1)


def polynomial_fit(x: Any, y: Any, degree: int, *, penalty: Any = 0.0) -> Float[Array, "..."]:
    """Coefficients w_0, …, w_k of the polynomial that minimises Σ(y − Σ w_j x^j)²/n + λ‖w‖².

    At λ = 0 it is the least-squares polynomial, of minimum norm if k ≥ n. The values are `polynomial_features(x, k) @ w`.
    All coefficients are penalised, w_0 too.

    Args:
        x: points, [n].
        y: targets, [n] or [n, o].
        degree: k ≥ 0.
        penalty: λ ≥ 0, or a path of positive ones.

    Returns:
        [k + 1] or [k + 1, o]; with a path one more leading axis.

    Raises:
        ValueError: for malformed points, or negative degrees and penalties.

    >>> print(polynomial_fit(jnp.array([0.0, 1.0, 2.0]), jnp.array([1.0, 2.0, 5.0]), 2).round(3))       # 1 + x²
    [1. 0. 1.]

    Powers are nearly dependent at high degree: in float64 up to about degree 15 on an interval like [0, 2π].
    """
    return _fit(polynomial_features(x, degree), y, penalty)


def trigonometric_fit(x: Any, y: Any, degree: int, *, period: float, penalty: Any = 0.0) -> Float[Array, "..."]:
    """Coefficients of `trigonometric_features` that minimise Σ(y − f(x))²/n + λ‖w‖².

    Args:
        x: points, [n].
        y: targets, [n] or [n, o].
        degree: k ≥ 0.
        period: positive, in the units of x.
        penalty: λ ≥ 0, or a path of positive ones; at 0 the solution of minimum norm.

    Returns:
        [2k + 1] or [2k + 1, o]; with a path one more leading axis.

    Raises:
        ValueError: for malformed points, negative degrees and penalties, or a period that is not positive.

    >>> x = jnp.arange(4.0)
    >>> print(trigonometric_fit(x, 1 + 3 * jnp.cos(jnp.pi * x / 2), 1, period=4.0).round(4) + 0.0)
    [1. 3. 0.]
    """
    return _fit(trigonometric_features(x, degree, period=period), y, penalty)


def _fit(z: Any, y: Any, penalty: Any) -> Any:
    if not check.is_traced(penalty) and jnp.ndim(penalty) == 0 and check.real("penalty", penalty, at_least=0.0) == 0:
        return min_norm(z, y)
    return ridge(z, y, penalty)


def _points(x: Any) -> Any:
    x = check.array("x", x, ndim=1)
    return jnp.asarray(x, floating_dtype(x))
