"""Locally optimal block preconditioned conjugate gradients, on operators."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental.sparse.linalg import lobpcg_standard

from dlmath.linalg._arrays import product
from dlmath.linalg._lanczos import _lanczos
from dlmath.linalg._operator import Operator
from dlmath.typing import Key

_NORM_STEPS = 10


def lobpcg(key: Key, op: Operator, start: Any, tol: Any, k: int, which: str, max_iterations: int) -> Any:
    """Orthonormal rows [k, n] near the k extreme eigenvectors, ‖A‖, the number of products and the first NaN.

    The routine finds the largest eigenvalues and measures convergence by λ + ‖Av‖, which vanishes for negative λ: it is
    given A + σI or σI − A with σ ≥ ‖A‖, and a tolerance that makes its test, residual < 10n·tol·(λ + ‖Av‖), ours.
    """
    n, dtype = op.size, start.dtype
    key_norm, key_block = jax.random.split(key)
    short = _lanczos(key_norm, op, jnp.zeros(n, dtype), min(_NORM_STEPS, n))
    # ‖T‖ + ‖r‖ bounds ‖A‖ in all but contrived cases (Zhou and Li 2011).
    bound = jnp.max(jnp.abs(jnp.linalg.eigvalsh(short.matrix))) + short.residual_norm
    shift = jnp.where(bound > 0, bound, 1.0)
    block = jax.random.normal(key_block, (k, n), dtype)
    given = jnp.any(start != 0, axis=1, keepdims=True)
    # A small random part keeps rows independent when the given ones are not.
    rows = min(k, start.shape[0])
    lengths = jnp.linalg.norm(start[:rows], axis=1, keepdims=True)
    warm = start[:rows] / jnp.where(lengths > 0, lengths, 1.0) + 1e-3 * block[:rows] / n**0.5
    block = block.at[:rows].set(jnp.where(given[:rows], warm, block[:rows]))

    def columns(sign: float) -> Any:
        def apply(matrix: Any) -> Any:
            images = jax.vmap(op.flat, in_axes=1, out_axes=1)(matrix.astype(op.dtype)).astype(dtype)
            return sign * jnp.where(jnp.isfinite(images), images, 0.0) + shift * matrix

        return apply

    def side(sign: float) -> Any:
        _, vectors, iterations = lobpcg_standard(columns(sign), block.T, max_iterations, tol / (40 * n))
        return vectors.T, iterations

    if which != "magnitude":
        rows, iterations = side(1.0 if which == "largest" else -1.0)
    else:
        (upper, first), (lower, second) = side(1.0), side(-1.0)
        rows, iterations = _largest_in_magnitude(op, jnp.concatenate([upper, lower]), k), first + second
    matvecs = short.diagonal.shape[0] + 4 * k * iterations + k
    matvecs += (2 if which == "magnitude" else 0) * k
    return rows, bound, jnp.asarray(matvecs, jnp.int32), short.first_nan_step


def _largest_in_magnitude(op: Operator, rows: Any, k: int) -> Any:
    """The k Ritz vectors of largest |value| in the span of rows, which may depend on each other."""
    _, singular, basis = jnp.linalg.svd(rows, full_matrices=False)
    images = jax.lax.map(lambda row: op.flat(row.astype(op.dtype)).astype(row.dtype), basis)
    matrix = product(basis, images.T)
    independent = singular > 1e-3
    values, vectors = jnp.linalg.eigh(jnp.where(independent[:, None] & independent, matrix, 0.0))
    # Directions that are left out have zero rows, hence values of zero and the last places.
    order = jax.lax.top_k(jnp.abs(values), k)[1]
    return product(vectors[:, order].T, basis)
