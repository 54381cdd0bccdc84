"""Eigenpairs from an orthonormal basis, with residuals that are measured or confirmed."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from dlmath.linalg._arrays import product
from dlmath.linalg._lanczos import unit, vector_norm
from dlmath.linalg._operator import Operator
from dlmath.typing import Key


class Eigenpairs(NamedTuple):
    """Eigenvalues λᵢ and orthonormal eigenvectors vᵢ of an operator, in the order asked for.

    Attributes:
        values: λ, descending for "largest", ascending for "smallest", by descending |λ| for "magnitude".
        vectors: v, the structure of the operator's vectors with a leading axis k.
        residuals: ‖Avᵢ − λᵢvᵢ‖: an eigenvalue is within this distance of λᵢ. From the recurrence of the last basis, where
            a product with a random combination of all vectors confirms it; else from a product each.
        converged: whether the residual is within the tolerance.
        missed: for each pair, a bound on the probability that a further eigenvector with a value as extreme was missed, from
            the growth of a random vector in the search for copies (`_copies.Certificate`); 1 where nothing was searched.
        num_breakdowns: how often an exhausted Krylov space was continued by a random vector.
        num_matvecs: products spent, those of the residuals included.
        asymmetry: the largest |⟨u, Av⟩ − ⟨Au, v⟩|/‖A‖ met; 0 for "lobpcg" without `check_symmetry`.
        first_nan_step: the first product that was not finite, -1 if there was none.
    """

    values: Float[Array, " k"]
    vectors: Any
    residuals: Float[Array, " k"]
    converged: Bool[Array, " k"]
    missed: Float[Array, " k"]
    num_breakdowns: Int[Array, ""]
    num_matvecs: Int[Array, ""]
    asymmetry: Float[Array, ""]
    first_nan_step: Int[Array, ""]


def verified(
    key: Key,
    op: Operator,
    basis: Float[Array, "k n"],
    values: Any,
    residuals: Any,
    trusted: Any,
    slack: Any,
    wanted: Any,
    which: str,
) -> Eigenpairs:
    """Pairs with the residuals that a recurrence gives, if one product confirms them; else measured, one product each.

    For random signs s, ‖A Σ sᵢvᵢ − Σ sᵢλᵢvᵢ‖² is in the mean the sum of the squared residuals; a pair that is not what
    the recurrence says cannot hide among the others. The pairs are confirmed by a length that the recurrence explains,
    `slack` being what rounding may add, or by one that is small enough for all of them: below half of the least residual
    `wanted`, which is then added to what the recurrence says. `trusted` is False where nothing is known, and None where
    that is known beforehand.
    """
    k, basis = len(basis), jax.vmap(unit)(basis)
    signs = jax.random.rademacher(key, (k,), basis.dtype)
    combined, expected = product(signs, basis), product(signs * values, basis)

    def measure(carry: Any) -> Any:
        i, confirmed, values, residuals = carry
        vector = jnp.where(i == 0, combined, basis[jnp.maximum(i - 1, 0)])
        image = op.flat(vector.astype(op.dtype)).astype(vector.dtype)
        image = jnp.where(jnp.isfinite(image), image, 0.0)
        value = jnp.sum(vector * image)
        residual = vector_norm(image - jnp.where(i == 0, expected, value * vector))
        small = residual <= 0.5 * jnp.min(wanted)
        explained = residual <= jnp.sum(residuals) + jnp.sqrt(k) * slack
        confirmed = (i == 0) & (trusted is not None and trusted) & (small | explained)
        row = jnp.where(i == 0, k, i - 1)  # row k is dropped
        residuals = jnp.where(confirmed & small, jnp.hypot(residuals, residual), residuals)
        return i + 1, confirmed, values.at[row].set(value, mode="drop"), residuals.at[row].set(residual, mode="drop")

    # A single pair is measured at once.
    first = jnp.asarray(int(k == 1 or trusted is None), jnp.int32)
    carry = (first, jnp.zeros((), bool), values, residuals)
    last, _, values, residuals = jax.lax.while_loop(lambda c: ~c[1] & (c[0] <= k), measure, carry)
    return ordered(op, basis, values, residuals, which)._replace(num_matvecs=last - first)


def finish(op: Operator, basis: Float[Array, "k n"], which: str) -> Eigenpairs:
    """Rayleigh quotients and residuals of orthonormal rows, one product each, in order."""
    none = jnp.zeros(len(basis), basis.dtype)
    return verified(jax.random.key(0), op, basis, none, none, None, 0.0, 0.0, which)


def ordered(op: Operator, basis: Float[Array, "k n"], values: Any, residuals: Any, which: str) -> Eigenpairs:
    """Pairs in order, best first."""
    order = jax.lax.top_k(score(values, which), values.shape[0])[1]
    vectors = jax.vmap(op.unravel)(basis[order])
    count = jnp.zeros((), jnp.int32)
    zero = jnp.zeros((), basis.dtype)
    values, residuals = values[order], residuals[order]
    return Eigenpairs(values, vectors, residuals, residuals < 0, jnp.ones_like(values), count, count, zero, count - 1)


def score(values: Float[Array, "..."], which: str) -> Float[Array, "..."]:
    """What the pairs are ordered by, best first."""
    return {"largest": values, "smallest": -values, "magnitude": jnp.abs(values)}[which]
