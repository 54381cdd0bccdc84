"""The largest rise of an objective in a ball."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from dlmath import check
from dlmath.hessian._slices import checked_like, checked_objective
from dlmath.typing import ObjectiveFn, Params


class SamSharpness(NamedTuple):
    """The rise of an objective in a ball, found by ascent: a lower bound."""

    value: Float[Array, ""]
    """The largest rise found, at least 0 (the centre is in the ball)."""
    values: Float[Array, " num_steps"]
    """[num_steps], f(θ + ε_k) − f(θ) after each step of ascent."""
    perturbation: Params
    """ε where `value` is attained, like the parameters."""


def sam_sharpness(
    objective: ObjectiveFn | Any,
    params: Params,
    *data: Any,
    rho: ArrayLike,
    num_steps: int = 1,
    adaptive: bool = False,
    start: Params | None = None,
) -> SamSharpness:
    """The rise max_{‖ε‖ ≤ ρ} f(θ + ε) − f(θ), from below, by ascent on the sphere.

    From ε₀ = 0 each step goes to the point of the sphere to which the gradient points,

        ε_{k+1} = ρ·g_k/‖g_k‖,   g_k = ∇f(θ + ε_k);

    one step is the perturbation of sharpness-aware minimisation. Where f is convex on the ball the values never
    fall, and on a quadratic at its minimum this is the power method, with limit ½ρ²λmax. At a stationary point
    g₀ = 0: give a `start` there, such as an eigenvector or a `random_direction`, or the value is 0.

    Args:
        objective: f, (params, *data) -> scalar.
        params: θ, any pytree of floating arrays.
        data: what the objective takes beside the parameters.
        rho: ρ ≥ 0, radius of the ball.
        num_steps: steps of ascent, at least 1.
        adaptive: measure ε by ‖ε/|θ|‖ instead, entry by entry (a parameter that is 0 does not move); the value is
            then the same for rescaled ReLU layers. The step is ε = ρ·θ²g/‖|θ|g‖.
        start: direction of ε₀, like `params`, brought to length ρ; None for ε₀ = 0.

    Returns:
        A `SamSharpness`. Cost: num_steps gradients and as many evaluations.

    Raises:
        ValueError, TypeError: for a start unlike the parameters, an objective that is no scalar, a negative ρ.

    Source: Foret et al. 2021 (2010.01412), section 2; Kwon et al. 2021 (2102.11600) for the adaptive ball.

    >>> rise = sam_sharpness(lambda w: jnp.sum(w), jnp.zeros(4), rho=0.5)
    >>> rise.value.item()
    1.0
    """
    rho = check.real("rho", rho, at_least=0.0)
    num_steps = check.positive_int("num_steps", num_steps)
    if not isinstance(adaptive, bool):
        raise TypeError(f"adaptive must be True or False, got {adaptive!r} of type {type(adaptive).__name__}")
    objective, params, data = checked_objective(objective, params, data)
    if start is not None:
        start = checked_like("start", start, params)
    return _ascend(objective, params, data, rho, start, num_steps, adaptive)


@partial(jax.jit, static_argnums=(5, 6))
def _ascend(
    objective: Any, params: Any, data: Any, rho: Any, start: Any, num_steps: int, adaptive: bool
) -> SamSharpness:
    function = lambda params: objective(params, *data)
    scale = jax.tree.map(lambda leaf: jnp.abs(leaf) if adaptive else jnp.ones_like(leaf), params)
    bottom = function(params)

    def on_sphere(direction: Any, otherwise: Any) -> Any:
        """ε = ρ T d/‖d‖ for the direction d in the coordinates ε/T."""
        length = jnp.sqrt(sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(direction)))
        factor = rho / jnp.where(length > 0, length, 1)
        return jax.tree.map(
            lambda t, d, old: jnp.where(length > 0, factor.astype(d.dtype) * t * d, old), scale, direction, otherwise
        )

    def step(carry: Any, _: Any) -> tuple[Any, Any]:
        epsilon, best, value = carry
        gradient = jax.grad(function)(jax.tree.map(jnp.add, params, epsilon))
        epsilon = on_sphere(jax.tree.map(jnp.multiply, scale, gradient), epsilon)
        rise = function(jax.tree.map(jnp.add, params, epsilon)) - bottom
        best = jax.tree.map(lambda new, old: jnp.where(rise > value, new, old), epsilon, best)
        return (epsilon, best, jnp.maximum(value, rise)), rise

    zero = jax.tree.map(jnp.zeros_like, params)
    first = zero
    if start is not None:
        first = on_sphere(jax.tree.map(lambda d, t: d / jnp.where(t > 0, t, jnp.inf), start, scale), zero)
    (_, best, value), values = jax.lax.scan(step, (first, zero, jnp.zeros_like(bottom)), None, length=num_steps)
    return SamSharpness(value, values, best)
