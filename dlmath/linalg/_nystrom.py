"""A preconditioner for positive definite systems whose spectrum decays, from products with random vectors."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from dlmath import check
from dlmath.linalg._arrays import product
from dlmath.linalg._host import HostOperator
from dlmath.linalg._lanczos import check_operator
from dlmath.linalg._operator import Operator, operator
from dlmath.typing import Key

_TOGETHER = 8
"""Products made at a time."""


def nystrom_preconditioner(key: Key, op: Operator | HostOperator, rank: int, *, shift: Any = 0.0) -> Operator:
    """An operator near (A + μI)⁻¹, up to a factor, from the randomised Nyström approximation A ≈ UΛUᵀ of rank r.

        P⁻¹ = (λ_r + μ) U (Λ + μI)⁻¹ Uᵀ + I − UUᵀ.

    Where λ_r is below μ, or eigenvalues beyond the first r are few or equal, conjugate gradients on A + μI take a few
    steps. To be given to `solve` together with `linalg.shift(op, shift)`.

    Args:
        key: draws the r vectors.
        op: A, symmetric and positive semi-definite, of n entries; of a `HostOperator` in one product with r columns.
        rank: r, between 1 and n.
        shift: μ ≥ 0.

    Returns:
        A positive definite Operator. Directions of A that rounding hides, below n eps λ_1, count as zero.

    Raises:
        TypeError, ValueError: for an operator of another type, or values out of range.

    >>> from dlmath.linalg import from_matrix
    >>> inverse = nystrom_preconditioner(jax.random.key(0), from_matrix(jnp.diag(jnp.array([1.0, 3.0]))), 2, shift=1.0)
    >>> print(inverse(jnp.ones(2)).round(4))                          # (1 + 1) [1/(1 + 1), 1/(3 + 1)]
    [1.  0.5]

    Cost: r products and about 6 n r² operations; memory n r, and r n + r operations a product later.

    References: Frangella, Tropp, Udell (2023), Randomized Nyström preconditioning (2110.02820), algorithm 2.1, eq. 1.3.
    """
    key = check.key("key", key)
    op = op if isinstance(op, HostOperator) else check_operator(op)
    rank = check.integer("rank", rank, at_least=1, at_most=op.size)
    shift = check.real("shift", shift, at_least=0.0)
    if isinstance(op, HostOperator):
        tests = _tests(key, size=op.size, dtype=op.dtype, rank=rank)
        made = _from_images(tests, jnp.asarray(op(tests)), shift)
        return operator(_flat_product, jax.ShapeDtypeStruct((op.size,), op.dtype), *made)
    return Operator(Partial(_product, op, *_made(key, op, shift, rank=rank)), op.structure)


@partial(jax.jit, static_argnames="rank")
def _made(key: Any, op: Operator, shift: Any, *, rank: int) -> tuple[Any, Any]:
    tests = _tests(key, size=op.size, dtype=op.dtype, rank=rank)
    return _from_images(tests, jax.lax.map(op.flat, tests.T, batch_size=min(rank, _TOGETHER)).T, shift)


@partial(jax.jit, static_argnames=("size", "dtype", "rank"))
def _tests(key: Any, *, size: int, dtype: Any, rank: int) -> Any:
    return jnp.linalg.qr(jax.random.normal(key, (size, rank), dtype))[0]


@jax.jit
def _from_images(tests: Any, images: Any, shift: Any) -> tuple[Any, Any]:
    """U [n, r] and the numbers (λ_r + μ)/(λᵢ + μ) − 1."""
    core = product(tests.T, images)
    values, vectors = jnp.linalg.eigh((core + core.T) / 2)
    noise = len(tests) * jnp.finfo(tests.dtype).eps * values[-1]
    # A ≈ BBᵀ with B = AΩ (ΩᵀAΩ)^{-½}, without the directions in which ΩᵀAΩ is rounding.
    roots = jnp.where(values > noise, 1 / jnp.sqrt(jnp.where(values > noise, values, 1)), 0)
    left, singular, _ = jnp.linalg.svd(product(images, vectors * roots), full_matrices=False)
    shifted = jnp.square(singular) + shift
    smallest = jnp.maximum(shifted[-1], noise)
    smallest = jnp.where(smallest > 0, smallest, 1)
    return left, smallest / jnp.maximum(shifted, smallest) - 1


def _product(op: Operator, vectors: Any, weights: Any, vector: Any) -> Any:
    return op.unravel(_flat_product(vectors, weights, op.ravel(vector)))


def _flat_product(vectors: Any, weights: Any, flat: Any) -> Any:
    return flat + product(vectors, weights * product(vectors.T, flat))
