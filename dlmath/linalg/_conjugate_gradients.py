"""The steps of conjugate gradients, between two products with the matrix."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp

from dlmath.linalg._probes import dot


class State(NamedTuple):
    """Of one system, after `num_steps` products."""

    d: Any  # correction of the solution so far
    r: Any  # residual, as the recursion knows it
    p: Any  # search direction, whose product is wanted
    rho: Any  # rᵀP⁻¹r
    norm: Any
    num_steps: Any
    indefinite: Any
    history: Any


def start(residual: Any, norm: Any, num_steps: Any, history: Any, apply: Callable[[Any], Any]) -> State:
    """Before the first product; `apply` is the preconditioner."""
    z = apply(residual)
    rho = dot(residual, z).astype(z.dtype)
    return State(jnp.zeros_like(residual), residual, z, rho, norm, num_steps, rho <= 0, history)


def unfinished(state: State, target: Any, max_steps: int) -> Any:
    """Whether another product is wanted."""
    return (state.norm > target) & (state.num_steps < max_steps) & ~state.indefinite


def advanced(state: State, image: Any, apply: Callable[[Any], Any]) -> State:
    """After the product `image` = Ap."""
    d, r, p, rho, _, num_steps, _, history = state
    curvature = dot(p, image).astype(r.dtype)
    positive = curvature > 0
    alpha = jnp.where(positive, rho / jnp.where(positive, curvature, 1), 0)
    d, r = d + alpha * p, r - alpha * image
    z = apply(r)
    new_rho, norm = dot(r, z).astype(r.dtype), size(r)
    p = z + new_rho / rho * p
    indefinite = ~positive | ((new_rho <= 0) & (norm > 0))
    return State(d, r, p, new_rho, norm, num_steps + 1, indefinite, history.at[num_steps + 1].set(norm))


def size(vector: Any) -> Any:
    """‖v‖."""
    return jnp.sqrt(dot(vector, vector)).astype(vector.dtype)
