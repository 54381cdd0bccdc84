"""Ridge regression along a path of penalties, and its ridgeless limit, from one singular value decomposition.

Both are spectral filters. With X = U diag(s) Vᵀ (thin),

    β = V diag(g) Uᵀ y,        ridge: g = s / (s² + nλ),        minimum norm: g = 1/s above the cut-off, else 0.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dlmath import check
from dlmath.linalg._arrays import columns, product, regression_data


def ridge(x: Any, y: Any, penalty: Any) -> Float[Array, "..."]:
    """Ridge regression coefficients, for one penalty or along a whole path of them.

    β(λ) = argmin ‖y − Xβ‖²/n + λ‖β‖² = (XᵀX + nλI)⁻¹ Xᵀy,

    with n the number of rows: the convention of Hastie et al. The path costs one decomposition.

    Args:
        x: design X, [n, p], with n smaller or larger than p; no column of ones is added.
        y: targets, [n] or [n, o].
        penalty: λ > 0, a scalar or [k]. For λ → 0 use `min_norm`.

    Returns:
        Coefficients β of shape [p] or [p, o]; with k penalties [k, p] or [k, p, o].

    Raises:
        ValueError: for shapes that do not fit, NaN or infinite data, or a penalty that is not positive.

    >>> x, y = jnp.array([[1.0], [2.0]]), jnp.array([1.0, 2.0])
    >>> print(ridge(x, y, penalty=2.5).round(4))                   # 5 / (5 + 2 * 2.5)
    [0.5]
    >>> print(ridge(x, y, penalty=[2.5, 7.5])[:, 0].round(4))
    [0.5  0.25]

    Differentiable in all arguments, also at repeated singular values. Cost: one SVD, O(np min(n, p)), and
    O(p min(n, p) o) a penalty.

    References:
        Hastie, Montanari, Rosset, Tibshirani (2022), Surprises in high-dimensional ridgeless least squares
        interpolation, section 2.
    """
    x, y = regression_data(x, y, ndim=2)
    penalty = check.array("penalty", penalty, ndim=(0, 1))
    if not check.is_traced(penalty) and not (np.asarray(penalty) > 0).all():
        raise ValueError(f"penalty must be positive, got {penalty}; use min_norm for the ridgeless solution")
    penalty = jnp.asarray(penalty, x.dtype)
    path = _ridge_path(x, columns(y), jnp.atleast_1d(penalty))
    path = path if y.ndim == 2 else path[..., 0]
    return path if penalty.ndim == 1 else path[0]


def min_norm(x: Any, y: Any, *, rcond: float | None = None) -> Float[Array, "..."]:
    """Least-squares coefficients of minimum norm: the ridgeless limit λ → 0 of `ridge`.

    β = X⁺y = argmin {‖β‖ : β minimises ‖y − Xβ‖}.

    Args:
        x: design X, [n, p], with n smaller or larger than p, of any rank.
        y: targets, [n] or [n, o].
        rcond: singular values of at most `rcond` times the largest count as zero, in [0, 1); by default
            max(n, p) times the machine precision of the dtype (NumPy's and LAPACK's convention). The result jumps
            where a singular value crosses the cut-off.

    Returns:
        Coefficients β of shape [p] or [p, o].

    Raises:
        ValueError: for shapes that do not fit, NaN or infinite data, or `rcond` out of range.

    >>> print(min_norm(jnp.array([[1.0, 1.0]]), jnp.array([2.0])).round(4))     # of all b with b1 + b2 = 2
    [1. 1.]

    Differentiable where the rank is locally constant (Golub and Pereyra 1973), also at repeated singular values.
    Cost: one SVD, O(np min(n, p)).

    References:
        Hastie, Montanari, Rosset, Tibshirani (2022), section 2.
        Golub, Pereyra (1973), The differentiation of pseudo-inverses, eq. 4.12.
    """
    x, y = regression_data(x, y, ndim=2)
    if rcond is not None:
        rcond = check.real("rcond", rcond, at_least=0.0, below=1.0)
    else:
        rcond = max(x.shape) * float(jnp.finfo(x.dtype).eps)
    coefficients = _min_norm(x, columns(y), jnp.asarray(rcond, x.dtype))
    return coefficients if y.ndim == 2 else coefficients[:, 0]


class _Filter(NamedTuple):
    """Filters of the singular values: `g` as in the module docstring, and `h` = g/s continued to s = 0."""

    g: Float[Array, "... r"]
    h: Float[Array, "... r"]


def _ridge_filter(s: Any, num_samples: int, penalty: Any) -> _Filter:
    h = 1 / (s**2 + num_samples * penalty)
    return _Filter(s * h, h)


def _min_norm_filter(s: Any, rcond: Any) -> _Filter:
    kept = s > rcond * s[..., :1]
    inverse = jnp.where(kept, 1 / jnp.where(kept, s, 1), 0)
    return _Filter(inverse, inverse**2)


@jax.custom_jvp
@jax.jit
def _ridge_path(x: Any, y: Any, penalties: Any) -> Any:
    u, s, vt = _svd(x)
    g = _ridge_filter(s[None, :], x.shape[0], penalties[:, None]).g  # [k, r]
    return product(vt.T, g[:, :, None] * product(u.T, y)[None])


@_ridge_path.defjvp
@jax.jit
def _ridge_path_jvp(primals: Any, tangents: Any) -> Any:
    x, y, penalties = primals
    dx, dy, dpenalties = tangents
    u, s, vt = _svd(x)

    def one(penalty: Any, dpenalty: Any) -> Any:
        g, h = _ridge_filter(s, x.shape[0], penalty)
        beta, dbeta = _filtered(u, g, h, vt, x, y, dx, dy)
        # ∂g/∂λ = −n g h
        return beta, dbeta - x.shape[0] * dpenalty * product(vt.T, (g * h)[:, None] * product(u.T, y))

    return jax.vmap(one)(penalties, dpenalties)


@jax.custom_jvp
@jax.jit
def _min_norm(x: Any, y: Any, rcond: Any) -> Any:
    u, s, vt = _svd(x)
    return product(vt.T, _min_norm_filter(s, rcond).g[:, None] * product(u.T, y))


@_min_norm.defjvp
@jax.jit
def _min_norm_jvp(primals: Any, tangents: Any) -> Any:
    x, y, rcond = primals
    dx, dy, _ = tangents
    u, s, vt = _svd(x)
    g, h = _min_norm_filter(s, rcond)
    kept = (g > 0)[:, None]
    return _filtered(u, g, h, vt * kept, x, y, dx, dy)


def _filtered(u: Any, g: Any, h: Any, vt: Any, x: Any, y: Any, dx: Any, dy: Any) -> tuple[Any, Any]:
    """β = V g Uᵀy and its derivative, without differentiating the decomposition (which fails at repeated s).

    dβ = V g Uᵀ(dy − dX β) + V h Vᵀ dXᵀ(y − Xβ) + (I − VVᵀ) dXᵀ U h Uᵀ y.

    The last term is (XᵀX + nλ)⁻¹ dXᵀ(y − Xβ) outside the row space of X, with the 1/(nλ) cancelled; it vanishes
    when n ≥ p at full rank. For the minimum norm the same line is Golub and Pereyra's.
    """
    uty = product(u.T, y)
    beta = product(vt.T, g[:, None] * uty)
    back = product(dx.T, y - product(x, beta))
    outside = product(dx.T, product(u, h[:, None] * uty))
    tangent = product(vt.T, g[:, None] * product(u.T, dy - product(dx, beta)) + h[:, None] * product(vt, back))
    return beta, tangent + outside - product(vt.T, product(vt, outside))


def _svd(x: Any) -> Any:
    return jnp.linalg.svd(x, full_matrices=False)
