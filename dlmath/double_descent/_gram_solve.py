"""(S + μI)⁻¹ b for one symmetric S and many μ, from one reduction of S.

For μ > 0 the reduction to tridiagonal form T = QᵀSQ is enough, 4/3 q³ multiply-adds, without the eigenvectors, which
cost several times that:

    (S + μI)⁻¹ b = Q (T + μI)⁻¹ Qᵀb.

At μ = 0 the pseudo-inverse is meant, which takes eigenvectors.
"""

from typing import Any

import jax
import jax.numpy as jnp

from dlmath.linalg._arrays import product


def solve_shifted(s: Any, b: Any, shifts: Any, rcond: Any) -> Any:
    """[k, q, o]: for each shift μ ≥ 0 of [k] the solution for b [q, o]; the pseudo-inverse where μ = 0.

    `rcond` None says that all shifts are positive.
    """
    if rcond is not None:
        return _eigh_solve(s, b, shifts, rcond)
    if s.shape[0] < 3:
        return _eigh_solve(s, b, shifts, jnp.zeros((), s.dtype))
    return _positive_solve(s, b, shifts)


# Batches go one after the other: a batched call of LAPACK occupies all threads of XLA's pool, and is slower than a loop.
@jax.custom_batching.sequential_vmap
def _positive_solve(s: Any, b: Any, shifts: Any) -> Any:
    # LAPACK and cuSOLVER reduce to tridiagonal form; XLA has no such routine for TPUs.
    by_eigenvectors = lambda s, b, shifts: _by_eigenvectors(s, b, shifts, jnp.zeros((), s.dtype))
    return jax.lax.platform_dependent(s, b, shifts, tpu=by_eigenvectors, default=_tridiagonal_solve)


@jax.custom_batching.sequential_vmap
def _eigh_solve(s: Any, b: Any, shifts: Any, rcond: Any) -> Any:
    return _by_eigenvectors(s, b, shifts, rcond)


def _by_eigenvectors(s: Any, b: Any, shifts: Any, rcond: Any) -> Any:
    vectors, values = jax.lax.linalg.eigh(s, symmetrize_input=False)
    # s is positive semidefinite: below zero there is rounding only.
    values = jnp.maximum(values, 0)
    kept = values > rcond * values[-1]
    pseudo = jnp.where(kept, 1 / jnp.where(kept, values, 1), 0)
    shifted = jnp.where(shifts[:, None] > 0, values, 1) + shifts[:, None]
    g = jnp.where(shifts[:, None] > 0, 1 / shifted, pseudo)
    return product(vectors, g[:, :, None] * product(vectors.T, b))


def _tridiagonal_solve(s: Any, b: Any, shifts: Any) -> Any:
    size, num_outputs, num_shifts = s.shape[0], b.shape[1], shifts.shape[0]
    packed, diagonal, beside, taus = jax.lax.linalg.tridiagonal(s, lower=True)
    reflectors = packed[1:, :-1]
    # Q acts on all coordinates but the first.
    rotate = lambda v, transpose: jnp.concatenate(
        [v[:1], jax.lax.linalg.ormqr(reflectors, taus, v[1:], left=True, transpose=transpose)]
    )
    zero = jnp.zeros(1, s.dtype)
    bands = jnp.concatenate([zero, beside]), diagonal + shifts[:, None], jnp.concatenate([beside, zero])
    lower, upper = (jnp.broadcast_to(band, (num_shifts, size)) for band in (bands[0], bands[2]))
    rotated = jnp.broadcast_to(rotate(b, True), (num_shifts, size, num_outputs))
    solution = jax.lax.linalg.tridiagonal_solve(lower, bands[1], upper, rotated)
    solution = jnp.moveaxis(solution, 0, 1).reshape(size, num_shifts * num_outputs)
    return jnp.moveaxis(rotate(solution, False).reshape(size, num_shifts, num_outputs), 1, 0)
