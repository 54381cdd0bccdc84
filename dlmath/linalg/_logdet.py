"""The log-determinant of a positive definite operator."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from dlmath import check
from dlmath.linalg._lanczos import check_operator, raise_on_nan
from dlmath.linalg._operator import Operator
from dlmath.linalg._probes import PROBES, checked_block, mean_and_error
from dlmath.linalg._quadrature import gauss, tridiagonals
from dlmath.typing import Estimate


def logdet(
    key: Any, op: Operator, *, num_probes: int, num_steps: int, probes: str = "rademacher", block: int = 1
) -> Estimate:
    """The log-determinant log det A = tr log A of a positive definite operator, with its standard error.

    Mean over probes of n Σⱼ τⱼ log θⱼ, the Gauss quadrature (nodes θ, weights τ) of `num_steps` Lanczos steps. The standard
    error is that of the probes; the error of the quadrature comes on top, and falls like ((√κ − 1)/(√κ + 1))^{2 num_steps}
    with the condition number κ: more steps show it.

    Args:
        key: typed key.
        op: A, symmetric, positive definite to working precision; add a multiple of the identity where it is not.
        num_probes: number of probes, at least 2; `interval` has num_probes − 1 degrees of freedom.
        num_steps: Lanczos steps a probe, cut to n.
        probes: "rademacher" (±1) or "gaussian" (scaled to length √n).
        block: probes computed at a time.

    Returns:
        Estimate of scalars; NaN if an eigenvalue of some T is within 8 roundings of ‖A‖ of zero, or below.

    Raises:
        TypeError: for an operator or a key of another type.
        ValueError: outside `jit`, for an operator that is not positive definite, or products that are not finite.

    >>> from dlmath.linalg import from_matrix
    >>> found = logdet(jax.random.key(0), from_matrix(2 * jnp.eye(4)), num_probes=2, num_steps=4)
    >>> print(found.value.round(4))                              # 4 log 2
    2.7726

    Cost: num_probes · num_steps products; memory O(n · num_steps · block).

    References:
        Ubaru, Chen, Saad (2017), Fast estimation of tr(f(A)) via stochastic Lanczos quadrature, algorithm 1, theorem 4.1.
    """
    check.key("key", key)
    check_operator(op)
    check.one_of("probes", probes, PROBES)
    num_probes = check.integer("num_probes", num_probes, at_least=2)
    num_steps = check.positive_int("num_steps", num_steps)
    found, lowest, first_nan_step = _logdet(
        key, op, num_probes=num_probes, num_steps=num_steps, probes=probes, block=checked_block(block)
    )
    raise_on_nan(first_nan_step)
    if not check.is_traced(found.value) and bool(jnp.isnan(found.value)):
        raise ValueError(
            f"op must be positive definite, but a Lanczos step met the eigenvalue {float(lowest):.3g} of a section of it;"
            " add a multiple of the identity, or compute in float64 if it is only badly conditioned"
        )
    return found


@partial(jax.jit, static_argnames=("num_probes", "num_steps", "probes", "block"))
def _logdet(
    key: Any, op: Operator, *, num_probes: int, num_steps: int, probes: str, block: int
) -> tuple[Estimate, Any, Any]:
    runs = tridiagonals(key, op, num_probes, num_steps, probes, block)
    nodes, weights = gauss(runs.diagonal, runs.off_diagonal)
    lowest = nodes.min()
    positive = (lowest > 8 * jnp.finfo(nodes.dtype).eps * nodes.max()) & (runs.first_nan_step.max() < 0)
    found = mean_and_error(op.size * jnp.sum(weights * jnp.log(jnp.where(nodes > 0, nodes, 1)), axis=1))
    found = Estimate(*(jnp.where(positive, value, jnp.nan) for value in found))
    return found, lowest, runs.first_nan_step
