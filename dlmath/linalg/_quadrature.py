"""Gauss quadrature of spectral measures by Lanczos steps from random vectors."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from dlmath.linalg._lanczos import _lanczos, work_dtype
from dlmath.linalg._operator import Operator
from dlmath.linalg._probes import blocks, draw, keys_of

# Rows of a basis kept together: steps before the last part is begun do not read it. More parts read less and take
# longer to compile.
_PART = 24


class Tridiagonals(NamedTuple):
    """The tridiagonal matrices of Lanczos runs from independent probes, and what happened on the way."""

    diagonal: Float[Array, "m k"]
    off_diagonal: Float[Array, "m k-1"]
    num_breakdowns: Int[Array, " m"]
    first_nan_step: Int[Array, " m"]


def tridiagonals(key: Any, op: Operator, num_probes: int, num_steps: int, probes: str, block: int) -> Tridiagonals:
    """Lanczos from `num_probes` random vectors; of the bases, only a block is in memory."""

    def one(key: Any) -> Tridiagonals:
        probe_key, restart_key = jax.random.split(key)
        start = draw(probe_key, op, probes).astype(work_dtype(op))
        run = _lanczos(restart_key, op, start, min(num_steps, op.size), _PART)
        return Tridiagonals(run.diagonal, run.off_diagonal, run.num_breakdowns, run.first_nan_step)

    return blocks(one, keys_of(key, num_probes), block)


def gauss(diagonal: Float[Array, "m k"], off_diagonal: Float[Array, "m k-1"]) -> tuple[Any, Any]:
    """Nodes θ and weights τ [m, k] of the Gauss quadrature of a tridiagonal matrix T (Golub and Welsch 1969).

    θ are the eigenvalues of T, τ the squared first components of its eigenvectors: Σ τⱼ p(θⱼ) = e₁ᵀ p(T) e₁. Blocks after
    a breakdown share no component with e₁, so their weights vanish.
    """

    def one(diagonal: Any, off_diagonal: Any) -> tuple[Any, Any]:
        matrix = jnp.diag(diagonal) + jnp.diag(off_diagonal, 1) + jnp.diag(off_diagonal, -1)
        nodes, vectors = jnp.linalg.eigh(matrix)
        return nodes, vectors[0] ** 2

    return jax.vmap(one)(diagonal, off_diagonal)
