"""Least squares by products with X and Xᵀ alone: a Golub-Kahan basis, and what regularisation makes of it.

k steps from y give X V = U B with orthonormal U [n, k+1], V [p, k] and a lower bidiagonal B. In that basis every penalty
is a problem of k unknowns, so that a whole path, and its cross-validation, cost no further product with X:

    β(λ) = V f,    f = argmin ‖B f − ‖y‖ e₁‖² + nλ‖f‖².
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, Bool, Float, Int

from dlmath import check
from dlmath.double_descent._features import FeatureMap
from dlmath.linalg._arrays import floating_dtype, product


class HybridLSQR(NamedTuple):
    """Regularised solutions in Krylov subspaces.

    Attributes:
        coefficients: β(λ) after all steps, [k, p].
        residual_norm: ‖y − Xβ(λ)‖, [k].
        gradient_norm: ‖Xᵀ(y − Xβ) − nλβ‖, from products made at the end, [k]: 0 for the exact solution.
        converged: whether that is at most `tol` ‖Xᵀy‖, [k].
        gcv: generalised cross-validation after every step, [step, k].
        chosen: the coefficients of the step and penalty of smallest `gcv`, [p].
        chosen_penalty: that penalty.
        chosen_step: how many steps they took.
        num_steps: steps made; fewer than asked where the subspace is exhausted.
    """

    coefficients: Float[Array, "k p"]
    residual_norm: Float[Array, " k"]
    gradient_norm: Float[Array, " k"]
    converged: Bool[Array, " k"]
    gcv: Float[Array, "step k"]
    chosen: Float[Array, " p"]
    chosen_penalty: Float[Array, ""]
    chosen_step: Int[Array, ""]
    num_steps: Int[Array, ""]


def hybrid_lsqr(
    design: Any, y: Any, penalty: Any, *, num_steps: int, x: Any = None, block_size: int = 256, tol: float = 1e-6
) -> HybridLSQR:
    """Ridge regression along a path of penalties by products with X and Xᵀ, and its choice by cross-validation.

    The hybrid of early stopping (the number of steps) and a penalty: after k steps, with singular values s_i of B,

        GCV_k(λ) = n ‖y − Xβ‖² / (n − Σ s_i²/(s_i² + nλ))²,

    which is `gcv` of X itself when the subspace is whole. For features that do not fit in memory: a `FeatureMap` is
    evaluated `block_size` features at a time, twice a step, and never held.

    Args:
        design: X as an array [n, p]; or a `FeatureMap`, with its inputs `x`.
        y: targets, [n].
        penalty: λ ≥ 0, [k].
        num_steps: most steps, at most min(n, p); the basis is kept, (n + p) num_steps numbers.
        x: inputs [n, d] of a `FeatureMap`.
        block_size: features of a map made at a time.
        tol: relative tolerance of `converged`, positive.

    Returns:
        A `HybridLSQR`. Nothing is raised for a solution that has not converged.

    Raises:
        ValueError, TypeError: for shapes that do not fit, NaN or infinite data, or numbers out of range.

    >>> found = hybrid_lsqr(jnp.diag(jnp.array([3.0, 1.0])), jnp.array([6.0, 1.0]), jnp.array([0.5]), num_steps=2)
    >>> print(found.coefficients.round(4), found.converged)                    # 3 * 6 / (9 + 1), 1 / (1 + 1)
    [[1.8 0.5]] [ True]

    Cost: num_steps products with X and Xᵀ, and one SVD of a bidiagonal matrix a step. With full reorthogonalisation
    min(n, p) steps give the exact solution; few do where the penalty exceeds most s²/n.

    References:
        Paige, Saunders (1982), LSQR: an algorithm for sparse linear equations and sparse least squares, section 4.
        O'Leary, Simmons (1981), A bidiagonalization-regularization procedure for large scale discretizations of
        ill-posed problems. Chung, Nagy, O'Leary (2008), A weighted-GCV method for Lanczos-hybrid regularization.
    """
    y = check.array("y", y, ndim=1)
    if isinstance(design, FeatureMap):
        if x is None:
            raise TypeError("x must be given with a FeatureMap: its inputs [n, d]")
        x = check.array("x", x, ndim=2)
        check.same_length("x", x, "y", y)
        dtype, num_columns = floating_dtype(x, y), design.num_features
        block_size = min(check.positive_int("block_size", block_size), num_columns)
        operator = Partial(partial(_of_features, num_columns, block_size), design, jnp.asarray(x, dtype))
    else:
        if x is not None:
            raise TypeError("x must be left out with a design that is an array")
        design = check.array("design", design, ndim=2)
        check.same_length("design", design, "y", y)
        dtype, num_columns = floating_dtype(design, y), design.shape[1]
        operator = Partial(_of_array, jnp.asarray(design, dtype))
    penalty = check.array("penalty", penalty, ndim=1)
    if not check.is_traced(penalty) and (np.asarray(penalty) < 0).any():
        raise ValueError(f"penalty must be non-negative, got {np.asarray(penalty).min():g}")
    num_steps = check.integer("num_steps", num_steps, at_least=1, at_most=min(len(y), num_columns))
    tol = check.real("tol", tol, above=0.0)
    return _hybrid(operator, jnp.asarray(y, dtype), jnp.asarray(penalty, dtype), tol, num_columns, num_steps)


def _of_array(design: Any, transpose: bool, v: Any) -> Any:
    return product(design.T if transpose else design, v)


def _of_features(num_columns: int, width: int, features: FeatureMap, x: Any, transpose: bool, v: Any) -> Any:
    """Z v or Zᵀ v; the last block is shifted back so that it ends at the last feature, and its overlap masked."""
    starts = jnp.arange(0, num_columns, width)

    def block(start: Any) -> tuple[Any, Any]:
        first = jnp.minimum(start, num_columns - width)
        return first, jnp.where(first + jnp.arange(width) >= start, features.block(x, first, width), 0)

    def forward(total: Any, start: Any) -> Any:
        first, z = block(start)
        return total + product(z, jax.lax.dynamic_slice_in_dim(v, first, width)), None

    def backward(total: Any, start: Any) -> Any:
        first, z = block(start)
        old = jax.lax.dynamic_slice_in_dim(total, first, width)
        return jax.lax.dynamic_update_slice_in_dim(total, old + product(z.T, v), first, 0), None

    if transpose:
        return jax.lax.scan(backward, jnp.zeros(num_columns, v.dtype), starts)[0]
    return jax.lax.scan(forward, jnp.zeros(len(x), v.dtype), starts)[0]


class _Basis(NamedTuple):
    u: Any
    """[k + 1, n], rows orthonormal."""
    v: Any
    """[k, p]"""
    b: Any
    """[k + 1, k], lower bidiagonal."""
    num_steps: Any


def _golub_kahan(operator: Callable[..., Any], y: Any, num_columns: int, num_steps: int) -> _Basis:
    eps = jnp.finfo(y.dtype).eps
    first = jnp.linalg.norm(y)

    def orthogonal(w: Any, rows: Any) -> Any:
        # Twice is enough (Kahan; Parlett 1998, section 6.9). Rows not yet made are zero.
        for _ in range(2):
            w = w - product(product(rows, w), rows)
        return w

    def unit(w: Any, small: Any) -> tuple[Any, Any]:
        norm = jnp.linalg.norm(w)
        norm = jnp.where(norm > small, norm, 0)
        return jnp.where(norm > 0, w / jnp.where(norm > 0, norm, 1), 0), norm

    def step(i: Any, state: Any) -> Any:
        u, v, b, scale, done = state
        w = operator(True, u[i])
        new, alpha = unit(orthogonal(w, v), 10 * num_steps * eps * scale)
        scale = jnp.maximum(scale, jnp.linalg.norm(w))
        v = v.at[i].set(new)
        w = operator(False, new)
        scale = jnp.maximum(scale, jnp.linalg.norm(w))
        other, beta = unit(orthogonal(w, u), 10 * num_steps * eps * scale)
        u = u.at[i + 1].set(other)
        b = b.at[i, i].set(alpha).at[i + 1, i].set(beta)
        return u, v, b, scale, done + (alpha > 0)

    u = jnp.zeros((num_steps + 1, len(y)), y.dtype).at[0].set(y / jnp.where(first > 0, first, 1))
    v = jnp.zeros((num_steps, num_columns), y.dtype)
    b = jnp.zeros((num_steps + 1, num_steps), y.dtype)
    start = u, v, b, jnp.zeros((), y.dtype), jnp.zeros((), jnp.int32)
    u, v, b, _, done = jax.lax.fori_loop(0, num_steps, step, start)
    return _Basis(u, v, b, done)


@partial(jax.jit, static_argnums=(4, 5))
def _hybrid(operator: Partial, y: Any, penalty: Any, tol: Any, num_columns: int, num_steps: int) -> HybridLSQR:
    n = len(y)
    basis = _golub_kahan(operator, y, num_columns, num_steps)
    target = jnp.zeros(num_steps + 1, y.dtype).at[0].set(jnp.linalg.norm(y))
    rcond = num_steps * jnp.finfo(y.dtype).eps

    def after(size: Any) -> tuple[Any, Any, Any]:
        """(gcv [k], f [k, step], residual norms [k]) in the first `size` dimensions."""
        inside = jnp.arange(num_steps) < size
        left, s, right = jnp.linalg.svd(jnp.where(inside, basis.b, 0), full_matrices=False)
        components = product(left.T, target)
        kept = s > rcond * s[0]
        square = jnp.where(kept, s**2, 1)
        total = square + n * penalty[:, None]
        phi = jnp.where(kept, square / total, 0)
        f = product(jnp.where(kept, phi / jnp.sqrt(square), 0) * components, right)
        outside = target @ target - (components**2).sum()
        residual = ((jnp.where(kept, n * penalty[:, None] / total, 1) * components) ** 2).sum(1)
        residual = residual + jnp.maximum(outside, 0)
        free = n - phi.sum(1)
        safe = jnp.where(free > rcond * n, free, 1)
        return jnp.where(free > rcond * n, n * residual / safe**2, jnp.inf), f, jnp.sqrt(residual)

    gcv, f, residual = jax.lax.map(after, jnp.arange(1, num_steps + 1))
    step, number = jnp.divmod(jnp.argmin(gcv), len(penalty))
    coefficients = product(f[-1], basis.v)
    back = lambda beta: operator(True, y - operator(False, beta))
    gradient = jax.lax.map(back, coefficients) - n * penalty[:, None] * coefficients
    norm = jnp.linalg.norm(gradient, axis=1)
    converged = norm <= tol * jnp.linalg.norm(operator(True, y))
    chosen = product(f[step, number], basis.v)
    return HybridLSQR(
        coefficients, residual[-1], norm, converged, gcv, chosen, penalty[number],
        (step + 1).astype(jnp.int32), basis.num_steps,
    )  # fmt: skip
