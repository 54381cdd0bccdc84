"""Whether a vector field is a gradient: the antisymmetric part of its Jacobian."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from dlmath import check
from dlmath.typing import Estimate

MAX_DENSE = 4096


def curl(score: Callable[[Any], Any], x: Any) -> Any:
    """The curl of a score at x, ‖(J − Jᵀ)/2‖_F / ‖J‖_F, J its Jacobian: 0 for a gradient, 1 for a pure rotation.

    Dense: J is formed, [d, d]; `curl_estimate` needs no matrix.

    Args:
        score: x -> tree like x.
        x: any tree of arrays, d entries in all.

    Returns:
        A scalar in [0, 1]; 0 where J = 0.

    Raises:
        ValueError: for more than 4096 entries.

    >>> print(curl(lambda x: jnp.array([-x[0] - x[1], x[0] - x[1]]), jnp.zeros(2)))    # −x and a rotation: 1/√2
    0.70710677

    Cost: d Jacobian-vector products; memory d².
    """
    check.callable_("score", score)
    flat, field = _flattened(score, x)
    if flat.size > MAX_DENSE:
        raise ValueError(f"x must have at most {MAX_DENSE} entries, got {flat.size}; use curl_estimate")
    jacobian = jax.jacfwd(field)(flat)
    return _ratio(jnp.sum(jnp.square(jacobian - jacobian.T)) / 4, jnp.sum(jnp.square(jacobian)))


def curl_estimate(key: Any, score: Callable[[Any], Any], x: Any, *, num_probes: int = 16) -> Estimate:
    """The curl of a score at x from products with J and Jᵀ alone, with its standard error.

    E ‖(J − Jᵀ)z‖²/4 = ‖(J − Jᵀ)/2‖_F² and E ‖Jz‖² = ‖J‖_F² for random signs z (Hutchinson); the error is that of the
    ratio of their means (delta method), and misses the bias of order 1/num_probes of the root near 0.

    Args:
        key: typed key.
        score: x -> tree like x.
        x: any tree of arrays.
        num_probes: number of probes, at least 2.

    Returns:
        `Estimate` of scalars.

    >>> estimate = curl_estimate(jax.random.key(0), lambda x: jnp.array([-x[1], x[0]]), jnp.zeros(2), num_probes=2)
    >>> print(estimate.value, estimate.standard_error)
    1.0 0.0

    Cost: num_probes products with J and with Jᵀ; memory O(num_probes · d).
    """
    check.key("key", key)
    check.callable_("score", score)
    return _estimate(key, score, x, check.integer("num_probes", num_probes, at_least=2))


def check_curl(score: Callable[[Any], Any], x: Any, *, tolerance: float = 1e-3, key: Any = None) -> None:
    """Raises ValueError unless a score is a gradient at x: its `curl` at most `tolerance`.

    Args:
        score: x -> tree like x.
        x: any tree of arrays.
        tolerance: the largest curl accepted, > 0. Rounding alone gives about 1e-7 in float32; learned scores have
            percents, and only an energy has none.
        key: typed key, for `curl_estimate` instead of the dense `curl`.

    >>> check_curl(lambda x: -x, jnp.zeros(3))
    """
    tolerance = check.real("tolerance", tolerance, above=0.0)
    found = curl(score, x) if key is None else _estimate(key, score, x, 16).value
    if check.is_traced(found):
        return
    if not found <= tolerance:
        raise ValueError(
            f"score must be a gradient, got a curl (antisymmetric part of its Jacobian over the whole) of {float(found):.3g}"
            f" > tolerance={tolerance:g}; learn an energy, or use a kernel that asks for none, such as ULA"
        )


def _estimate(key: Any, score: Callable[[Any], Any], x: Any, num_probes: int) -> Estimate:
    flat, field = _flattened(score, x)

    def squares(key: Any) -> Any:
        probe = jax.random.rademacher(key, flat.shape, flat.dtype)
        forward = jax.jvp(field, (flat,), (probe,))[1]
        transposed = jax.vjp(field, flat)[1](probe)[0]
        return jnp.sum(jnp.square(forward - transposed)) / 4, jnp.sum(jnp.square(forward))

    antisymmetric, all_ = jax.vmap(squares)(jax.random.split(key, num_probes))
    value = _ratio(antisymmetric.mean(), all_.mean())
    residual = antisymmetric - value**2 * all_
    scale = jnp.where(value > 0, 2 * value * all_.mean(), jnp.inf)
    return Estimate(value, residual.std(ddof=1) / jnp.sqrt(num_probes) / scale)


def _flattened(score: Callable[[Any], Any], x: Any) -> tuple[Any, Callable[[Any], Any]]:
    flat, unravel = ravel_pytree(x)
    return flat, lambda flat: ravel_pytree(score(unravel(flat)))[0]


def _ratio(part: Any, whole: Any) -> Any:
    return jnp.sqrt(part / jnp.where(whole > 0, whole, 1.0))
