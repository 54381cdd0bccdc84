"""Posteriors by conjugate gradients, for Gram matrices too large to be factorised, or that are never formed."""

from typing import Any

import jax
import jax.numpy as jnp

from dlmath import check, linalg
from dlmath.linalg._arrays import product

_RANK = 100
"""Of the preconditioner, at most."""


def posterior_parts(grams: Any, targets: Any, noise: Any, jitter: Any, tol: Any) -> tuple[Any, Any, Any, Any, Any]:
    """(mean [m, o], covariance or None, jitter, residual, whether A = K + (σ² + jitter) I showed no curvature ≤ 0).

    One system for each output and, where the covariance is wanted, for each new input; all of them share products.
    """
    train, new, prior = grams
    matrix_free = isinstance(train, linalg.Operator | linalg.HostOperator)
    op: Any = train if matrix_free else linalg.from_matrix(train)
    dtype = op.dtype
    if jitter is None:
        jitter = 0.0 if matrix_free else default_jitter(jnp.diagonal(train))
    else:
        jitter = check.real("jitter", jitter, at_least=0)
    jitter = jnp.asarray(jitter, dtype)
    tol = float(jnp.finfo(dtype).eps) ** 0.5 if tol is None else check.real("tol", tol, above=0.0, below=1.0)
    amount = jnp.asarray(noise, dtype) + jitter
    shifted = linalg.shift(op, amount)
    # A fixed key: two calls agree to the last bit, and what it draws only changes the number of steps.
    inverse = linalg.nystrom_preconditioner(jax.random.key(0), op, min(_RANK, op.size), shift=amount)
    right = targets if prior is None else jnp.concatenate([targets, new.T], 1)
    if isinstance(op, linalg.HostOperator):
        solved = linalg.solve(shifted, right, preconditioner=inverse, tol=tol)
        alpha = solved.x
    else:
        solve = lambda b: linalg.solve(shifted, shifted.unravel(b), preconditioner=inverse, tol=tol)
        solved = jax.vmap(solve, 1)(right)
        alpha = jax.vmap(shifted.ravel)(solved.x).T
    outputs = targets.shape[1]
    sizes = jnp.linalg.norm(right, axis=0)
    residual = jnp.max(solved.residual_norm / jnp.where(sizes > 0, sizes, 1))
    positive = ~solved.indefinite.any()
    _check(positive, solved, residual, tol)
    covariance = prior
    if prior is not None:
        known = alpha[:, outputs:]
        covariance = prior - (product(new, known) if prior.ndim == 2 else (new * known.T).sum(1))
        covariance = (covariance + covariance.T) / 2 if prior.ndim == 2 else covariance
    return product(new, alpha[:, :outputs]), covariance, jitter, residual, positive


def default_jitter(diagonal: Any) -> Any:
    """The number n · eps · mean |K[i, i]|."""
    return len(diagonal) * jnp.finfo(diagonal.dtype).eps * jnp.abs(diagonal).mean()


def _check(positive: Any, solved: Any, residual: Any, tol: Any) -> None:
    if check.is_traced(positive):
        return
    if not bool(positive):
        raise ValueError(
            "grams.train is not positive definite with noise and jitter: a direction of curvature ≤ 0 came up; raise noise"
            " or jitter, drop repeated inputs, or use float64"
        )
    if not bool(solved.converged.all()):
        raise ValueError(
            f"tol={tol:.1e} was not reached in {int(solved.num_steps.max())} steps, the residual is {float(residual):.1e}:"
            " raise noise or tol, use float64, or method='cholesky'"
        )
