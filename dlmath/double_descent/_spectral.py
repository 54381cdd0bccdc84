"""Spectral filters of least squares: one singular value decomposition, any number of regularised solutions.

With X = U diag(s) Vᵀ (thin, r = min(n, p)) a filter keeps the share φ_i of every component:

    β = Σ_i φ_i (u_i·y)/s_i v_i,    ŷ = Σ_i φ_i (u_i·y) u_i.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dlmath import check
from dlmath.linalg._arrays import columns, product, regression_data


class Decomposition(NamedTuple):
    """The singular value decomposition of a design, and the targets in its coordinates.

    Attributes:
        u: left singular vectors, [n, r].
        s: singular values, decreasing, [r].
        vt: right singular vectors, [r, p].
        components: Uᵀy, [r] or [r, o].
        outside: y − UUᵀy, the part of the targets that no β reaches, [n] or [n, o].
    """

    u: Float[Array, "n r"]
    s: Float[Array, " r"]
    vt: Float[Array, "r p"]
    components: Float[Array, "r *o"]
    outside: Float[Array, "n *o"]


class Filter(NamedTuple):
    """What a regularisation keeps of each component and what it leaves, [..., r]; they add to 1.

    Both are stored, since 1 − φ cancels where φ is nearly 1. A leading axis is a path of regularisations.
    """

    kept: Float[Array, "... r"]
    left: Float[Array, "... r"]


class Picard(NamedTuple):
    """What decides how much regularisation data need, component by component.

    Attributes:
        singular_values: s_i, [r].
        components: |u_i·y| (norm over outputs), [r].
        coefficients: |u_i·y|/s_i, [r]; infinite where s_i = 0.
    """

    singular_values: Float[Array, " r"]
    components: Float[Array, " r"]
    coefficients: Float[Array, " r"]


class LCurve(NamedTuple):
    """Residual and solution norm along a path of ridge penalties, and the corner between them.

    Attributes:
        penalty: λ, [k].
        residual_norm: ‖y − Xβ(λ)‖, [k].
        norm: ‖β(λ)‖, [k].
        curvature: of the curve (log residual norm, log norm), positive at its corner, [k].
        corner: number of the penalty of largest curvature.
        bracketed: whether that is not the first or last of the path.
    """

    penalty: Float[Array, " k"]
    residual_norm: Float[Array, " k"]
    norm: Float[Array, " k"]
    curvature: Float[Array, " k"]
    corner: Array
    bracketed: Array


def decompose(x: Any, y: Any) -> Decomposition:
    """The singular value decomposition of X, with y in its coordinates: what all filters and criteria here take.

    Args:
        x: design, [n, p].
        y: targets, [n] or [n, o].

    Returns:
        A `Decomposition`.

    Raises:
        ValueError: for shapes that do not fit, or NaN or infinite data.

    >>> found = decompose(jnp.diag(jnp.array([3.0, 1.0])), jnp.array([6.0, 1.0]))
    >>> print(found.s, abs(found.components))
    [3. 1.] [6. 1.]

    Cost: one SVD, O(np min(n, p)).
    """
    x, y = regression_data(x, y, ndim=2)
    u, s, vt = jnp.linalg.svd(x, full_matrices=False)
    components = product(u.T, y)
    return Decomposition(u, s, vt, components, y - product(u, components))


def tikhonov(decomposition: Decomposition, penalty: Any) -> Filter:
    """The filter of ridge regression, φ = s²/(s² + nλ), of ‖y − Xβ‖²/n + λ‖β‖².

    Args:
        decomposition: what `decompose` returned.
        penalty: λ ≥ 0, a scalar or [k]; at 0 components of s = 0 are dropped.

    Returns:
        A `Filter` of shape [r] or [k, r].

    Raises:
        ValueError: for negative penalties.

    >>> found = decompose(jnp.diag(jnp.array([3.0, 1.0])), jnp.array([6.0, 1.0]))
    >>> print(tikhonov(found, 0.5).kept)                                       # 9 / (9 + 1), 1 / (1 + 1)
    [0.9 0.5]

    References:
        Hansen (1998), Rank-deficient and discrete ill-posed problems, section 4.2.
    """
    square = _checked(decomposition).s ** 2
    shift = len(decomposition.u) * _parameter("penalty", penalty, decomposition)
    total = square + shift
    safe = jnp.where(total > 0, total, 1)
    return Filter(jnp.where(total > 0, square / safe, 0), jnp.where(total > 0, shift / safe, 1))


def gradient_flow(decomposition: Decomposition, time: Any) -> Filter:
    """The filter of gradient flow from zero, φ = 1 − exp(−s² t/n), on the objective ‖y − Xβ‖²/(2n).

    Args:
        decomposition: what `decompose` returned.
        time: t ≥ 0, a scalar or [k]; t = learning rate × step for small learning rates.

    Returns:
        A `Filter` of shape [r] or [k, r].

    Raises:
        ValueError: for negative times.

    >>> found = decompose(jnp.diag(jnp.array([3.0, 1.0])), jnp.array([6.0, 1.0]))
    >>> print(gradient_flow(found, 2 * jnp.log(2.0)).left.round(4))            # 2 ** -9, 1 / 2
    [0.002 0.5  ]

    References:
        Ali, Kolter, Tibshirani (2019), A continuous-time view of early stopping for least squares, section 2.
    """
    exponent = -(_checked(decomposition).s ** 2) * _parameter("time", time, decomposition) / len(decomposition.u)
    return Filter(-jnp.expm1(exponent), jnp.exp(exponent))


def truncated(decomposition: Decomposition, rank: Any) -> Filter:
    """The filter of truncated singular values: φ = 1 for the first `rank` components, 0 for the others.

    Args:
        decomposition: what `decompose` returned.
        rank: number of components kept, an integer ≥ 0, or [k] of them.

    Returns:
        A `Filter` of shape [r] or [k, r].

    Raises:
        ValueError: for negative ranks.

    >>> found = decompose(jnp.diag(jnp.array([3.0, 1.0])), jnp.array([6.0, 1.0]))
    >>> print(truncated(found, 1).kept)
    [1. 0.]
    """
    first = jnp.arange(len(_checked(decomposition).s)) < _parameter("rank", rank, decomposition)
    return Filter(first.astype(decomposition.s.dtype), (~first).astype(decomposition.s.dtype))


def coefficients(decomposition: Decomposition, filter: Filter) -> Float[Array, "..."]:
    """β = Σ φ_i (u_i·y)/s_i v_i.

    Args:
        decomposition: what `decompose` returned.
        filter: one or a path of k.

    Returns:
        [p] or [p, o], with a path [k, p] or [k, p, o]. Components of s = 0 are dropped.

    >>> found = decompose(jnp.diag(jnp.array([3.0, 1.0])), jnp.array([6.0, 1.0]))
    >>> print(coefficients(found, tikhonov(found, 0.5)))                       # 0.9 * 6 / 3, 0.5 * 1 / 1
    [1.8 0.5]
    """
    scaled = _over_s(decomposition, filter)[..., None] * columns(decomposition.components)
    return _outputs(product(decomposition.vt.T, scaled), decomposition)


def fitted(decomposition: Decomposition, filter: Filter) -> Float[Array, "..."]:
    """ŷ = Σ φ_i (u_i·y) u_i, the values at the training inputs; shapes as of `coefficients`, n in the place of p."""
    return _outputs(product(decomposition.u, filter.kept[..., None] * columns(decomposition.components)), decomposition)


def degrees_of_freedom(filter: Filter) -> Float[Array, "..."]:
    """Σ φ_i, the trace of the map from y to ŷ: the effective number of parameters, [] or [k].

    >>> found = decompose(jnp.diag(jnp.array([3.0, 1.0])), jnp.array([6.0, 1.0]))
    >>> print(degrees_of_freedom(tikhonov(found, 0.5)).round(4))
    1.4

    References:
        Hastie, Tibshirani, Friedman (2009), The elements of statistical learning, eq. 3.50.
    """
    return filter.kept.sum(-1)


def picard(decomposition: Decomposition) -> Picard:
    """Singular values, components |u_i·y| and their ratios: the three curves of a Picard plot.

    A solution of small norm exists where the components fall faster than the singular values; where they level off, at the
    noise, ratios grow, and a filter has to cut.

    >>> found = picard(decompose(jnp.diag(jnp.array([3.0, 1.0])), jnp.array([6.0, 1.0])))
    >>> print(found.coefficients.round(4))
    [2. 1.]

    References:
        Hansen (1990), The discrete Picard condition for discrete ill-posed problems.
    """
    size = jnp.linalg.norm(columns(decomposition.components), axis=1)
    return Picard(decomposition.s, size, size / decomposition.s)


def l_curve(decomposition: Decomposition, penalty: Any) -> LCurve:
    """The curve of ‖y − Xβ(λ)‖ against ‖β(λ)‖, both logarithmic, and its corner.

    Args:
        decomposition: what `decompose` returned.
        penalty: λ > 0, [k], increasing; the path on which the corner is sought.

    Returns:
        An `LCurve`. Its curvature is exact, by automatic differentiation in log λ.

    Raises:
        ValueError: for penalties that are not positive and increasing.

    >>> found = l_curve(decompose(jnp.eye(2), jnp.array([3.0, 4.0])), jnp.array([0.5]))
    >>> print(found.norm.round(4), found.residual_norm.round(4))                # φ = 1 / (1 + 2 * 0.5)
    [2.5] [2.5]

    References:
        Hansen, O'Leary (1993), The use of the L-curve in the regularization of discrete ill-posed problems.
    """
    penalty = check.array("penalty", penalty, ndim=1)
    if not check.is_traced(penalty):
        values = np.asarray(penalty)
        if not (values > 0).all() or not (np.diff(values) > 0).all():
            raise ValueError(f"penalty must be positive and increasing, got {values.tolist()}")
    return _l_curve(decomposition, jnp.asarray(penalty, decomposition.s.dtype))


@jax.jit
def _l_curve(decomposition: Decomposition, penalty: Any) -> LCurve:
    square = columns(decomposition.components**2).sum(1)
    outside = (decomposition.outside**2).sum()

    def point(log_penalty: Any) -> Any:
        ridge = tikhonov(decomposition, jnp.exp(log_penalty))
        residual = (ridge.left**2 * square).sum() + outside
        norm = (_over_s(decomposition, ridge) ** 2 * square).sum()
        return jnp.stack([jnp.log(residual), jnp.log(norm)]) / 2

    def bend(log_penalty: Any) -> Any:
        velocity = jax.jacfwd(point)
        (dx, dy), (ddx, ddy) = velocity(log_penalty), jax.jacfwd(velocity)(log_penalty)
        return (dx * ddy - ddx * dy) / (dx**2 + dy**2) ** 1.5

    log_penalty = jnp.log(penalty)
    logs = jax.vmap(point)(log_penalty)
    curvature = jax.vmap(bend)(log_penalty)
    corner = jnp.argmax(curvature)
    bracketed = (corner > 0) & (corner < len(curvature) - 1)
    return LCurve(penalty, jnp.exp(logs[:, 0]), jnp.exp(logs[:, 1]), curvature, corner, bracketed)


def _checked(decomposition: Any) -> Decomposition:
    if not isinstance(decomposition, Decomposition):
        raise TypeError(f"decomposition must be what decompose returned, got {type(decomposition).__name__}")
    return decomposition


def _parameter(name: str, value: Any, decomposition: Decomposition) -> Any:
    """A regularisation parameter [k] as [k, 1], to go with singular values [r]; a scalar as it is."""
    value = check.array(name, value, ndim=(0, 1))
    if not check.is_traced(value) and (np.asarray(value) < 0).any():
        raise ValueError(f"{name} must be non-negative, got {np.asarray(value).min():g}")
    value = jnp.asarray(value, decomposition.s.dtype)
    return value[:, None] if value.ndim else value


def _over_s(decomposition: Decomposition, filter: Filter) -> Any:
    s = decomposition.s
    return jnp.where(s > 0, filter.kept / jnp.where(s > 0, s, 1), 0)


def _outputs(values: Any, decomposition: Decomposition) -> Any:
    return values if decomposition.components.ndim == 2 else values[..., 0]
