"""What a run will cost, before it is started."""

from typing import Any, Literal, NamedTuple

import jax.numpy as jnp

from dlmath import check
from dlmath.linalg._lanczos import check_operator, work_dtype
from dlmath.linalg._operator import Operator

_METHODS = ("lanczos", "eigenpairs", "spectral_density")


class Plan(NamedTuple):
    """Memory and products of a run; printed as a sentence.

    Attributes:
        method: what is planned.
        size: n, entries of a vector.
        bytes: peak memory of the linear algebra, basis_bytes and work_bytes together; the operator's own arrays and what
            a product needs on top (activations) are not in it.
        basis_bytes: the orthonormal basis.
        work_bytes: copies and vectors beside it.
        num_matvecs: products; the expected number where it depends on convergence.
        exact: whether num_matvecs is exact.
    """

    method: str
    size: int
    bytes: int
    basis_bytes: int
    work_bytes: int
    num_matvecs: int
    exact: bool

    def __str__(self) -> str:
        about = "" if self.exact else "about "
        return (
            f"{self.method} on {self.size:,} entries: {_readable(self.bytes)} ({_readable(self.basis_bytes)} of basis,"
            f" {_readable(self.work_bytes)} of work), {about}{self.num_matvecs:,} products"
        )


def plan(
    op: Operator,
    method: Literal["lanczos", "eigenpairs", "spectral_density"] = "lanczos",
    *,
    num_steps: int = 40,
    num_probes: int = 1,
    k: int = 1,
    basis_size: int | None = None,
) -> Plan:
    """Bytes and products of a run on an operator, without running anything.

    A basis of m vectors is mn numbers; k eigenpairs need a second copy of it at a restart. Probes of a density run
    one at a time, so its memory is that of one.

    Args:
        op: an operator on n entries.
        method: what to plan.
        num_steps: Lanczos steps, for "lanczos" and "spectral_density" (a probe).
        num_probes: for "spectral_density".
        k: pairs, for "eigenpairs".
        basis_size: for "eigenpairs", as there.

    Returns:
        A `Plan`; `print` it.

    Raises:
        ValueError: for an unknown method, or k > n.

    >>> from dlmath.linalg import operator
    >>> print(plan(operator(lambda v: v, jnp.zeros(1_000_000)), num_steps=40))
    lanczos on 1,000,000 entries: 184.0 MB (160.0 MB of basis, 24.0 MB of work), 40 products
    """
    op = check_operator(op)
    check.one_of("method", method, _METHODS)
    num_steps = min(check.positive_int("num_steps", num_steps), op.size)
    num_probes = check.positive_int("num_probes", num_probes)
    k = check.integer("k", k, at_least=1, at_most=op.size)
    row = op.size * jnp.dtype(work_dtype(op)).itemsize
    if method == "eigenpairs":
        rows = min(op.size, 2 * k + 20 if basis_size is None else check.positive_int("basis_size", basis_size))
        basis, work, products = rows * row, (rows + 2 * k + _VECTORS) * row, 5 * k + 30
    else:
        probes = num_probes if method == "spectral_density" else 1
        basis, work, products = num_steps * row, _VECTORS * row, probes * num_steps
    return Plan(method, op.size, basis + work, basis, work, products, method != "eigenpairs")


# The present vector, its image, what is left of it after each pass, a random one.
_VECTORS = 6


def _readable(count: Any) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.1f} {unit}" if unit != "bytes" else f"{count} bytes"
        count /= 1000
    return f"{count:.1f} TB"
