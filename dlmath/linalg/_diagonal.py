"""The diagonal of an operator, from products with random signs."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from dlmath import check
from dlmath.linalg._lanczos import check_operator
from dlmath.linalg._operator import Operator
from dlmath.linalg._probes import checked_block, draw, keys_of, refuse_nan
from dlmath.typing import Estimate


def diagonal(key: Any, op: Operator, *, num_probes: int, block: int = 1) -> Estimate:
    """The diagonal (aᵢᵢ) of an operator, unbiased, with its standard error entry by entry.

    Mean of z ∘ Az over vectors z of random signs; the variance of entry i is Σ_{j≠i} aᵢⱼ² / num_probes.

    Args:
        key: typed key.
        op: A, symmetric.
        num_probes: number of probes, at least 2; `interval` has num_probes − 1 degrees of freedom.
        block: products computed at a time.

    Returns:
        Estimate of vectors, with the structure of op's.

    Raises:
        TypeError: for an operator or a key of another type.
        ValueError: for fewer than two probes, or products that are not finite (outside `jit`).

    >>> from dlmath.linalg import from_matrix
    >>> print(diagonal(jax.random.key(0), from_matrix(jnp.diag(jnp.array([3.0, 4.0]))), num_probes=2).value)
    [3. 4.]

    Cost: num_probes products, memory O(n · block).

    References:
        Bekas, Kokiopoulou, Saad (2007), An estimator for the diagonal of a matrix, eq. 2.
    """
    check.key("key", key)
    check_operator(op)
    num_probes = check.integer("num_probes", num_probes, at_least=2)
    found = _diagonal(key, op, num_probes=num_probes, block=min(checked_block(block), num_probes))
    refuse_nan(found)
    return found


@partial(jax.jit, static_argnames=("num_probes", "block"))
def _diagonal(key: Any, op: Operator, *, num_probes: int, block: int) -> Estimate:
    keys = keys_of(key, num_probes)
    whole = num_probes // block * block
    wide = jnp.promote_types(op.dtype, jnp.float32)

    def one(key: Any) -> Any:
        z = draw(key, op, "rademacher")
        return (z * op.flat(z)).astype(wide)

    def add(total: Any, keys: Any) -> tuple[Any, None]:
        return _merged(total, _moments(jax.vmap(one)(keys))), None

    # The first block is the start, so that means and squares never begin from a guess.
    total = _moments(jax.vmap(one)(keys[:block]))
    total, _ = jax.lax.scan(add, total, keys[block:whole].reshape(-1, block))
    if whole < num_probes:
        total = _merged(total, _moments(jax.vmap(one)(keys[whole:])))
    _, mean, squares = total
    error = jnp.sqrt(squares / (num_probes * (num_probes - 1)))
    return Estimate(op.unravel(mean), op.unravel(error))


def _moments(samples: Any) -> tuple[Any, Any, Any]:
    mean = samples.mean(0)
    return jnp.asarray(samples.shape[0], mean.dtype), mean, jnp.sum((samples - mean[None]) ** 2, axis=0)


def _merged(first: Any, second: Any) -> tuple[Any, Any, Any]:
    """Counts, means and centred squares of two samples together (Chan, Golub, LeVeque 1983, eq. 2.1)."""
    (count1, mean1, squares1), (count2, mean2, squares2) = first, second
    count, step = count1 + count2, mean2 - mean1
    return count, mean1 + step * (count2 / count), squares1 + squares2 + step**2 * (count1 * count2 / count)
