"""The mode of a posterior."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from dlmath import check
from dlmath.bnn._posterior import Posterior, checked_start
from dlmath.typing import Params


class Mode(NamedTuple):
    """A local minimum of the potential.

    Attributes:
        params: θ*.
        potential: U(θ*).
        gradient_norm: ‖∇U(θ*)‖.
        num_steps: steps taken.
    """

    params: Params
    potential: Float[Array, ""]
    gradient_norm: Float[Array, ""]
    num_steps: Int[Array, ""]


def mode(posterior: Posterior, params: Params, *, num_steps: int = 1000, tol: Any = None) -> Mode:
    """The maximum a posteriori parameters near a start: a minimum of U by L-BFGS on all data.

    A learned noise scale is maximised over as log σ, in which its prior is a density.

    Args:
        posterior: from `posterior`.
        params: start θ.
        num_steps: at most so many.
        tol: ends when ‖∇U‖ ≤ tol · max(1, |U|); by default √eps in float32 and 1e-10 in float64.

    Raises:
        TypeError: for a posterior of another type, or parameters that are not floating.
        ValueError: for a tree that `apply` does not take or the prior does not know, labels beyond the outputs, or a potential
            or gradient that is not finite at the start, which names the parameter.

    >>> from dlmath.bnn import likelihoods, posterior, priors
    >>> data = jnp.ones((1, 1)), 2 * jnp.ones((1, 1))
    >>> p = posterior(lambda w, x: x @ w, priors.normal(1.0), likelihoods.gaussian(1.0), data)
    >>> print(mode(p, jnp.zeros((1, 1))).params.round(4))
    [[1.]]

    Cost: about two gradients a step.

    References: Liu & Nocedal (1989), On the limited memory BFGS method (optax.lbfgs).
    """
    params = checked_start(posterior, params)
    eps = float(jnp.finfo(jnp.result_type(*jax.tree.leaves(params))).eps)
    default = 1e-10 if eps < 1e-10 else eps**0.5
    tol = default if tol is None else check.real("tol", tol, above=0.0)
    return _mode(posterior, params, tol, num_steps=check.positive_int("num_steps", num_steps))


@partial(jax.jit, static_argnames="num_steps")
def _mode(posterior: Posterior, params: Params, tol: Any, *, num_steps: int) -> Mode:
    solver = optax.lbfgs()
    value_and_grad = optax.value_and_grad_from_state(posterior.potential)

    def unfinished(carry: Any) -> Any:
        _, _, step, value, size = carry
        return (step < num_steps) & (size > tol * jnp.maximum(1, jnp.abs(value)))

    def step(carry: Any) -> Any:
        params, state, count, _, _ = carry
        value, gradient = value_and_grad(params, state=state)
        updates, state = solver.update(
            gradient, state, params, value=value, grad=gradient, value_fn=posterior.potential
        )
        value = optax.tree.get(state, "value")
        size = _norm(optax.tree.get(state, "grad"))
        return optax.apply_updates(params, updates), state, count + 1, value, size

    dtype = jnp.result_type(*jax.tree.leaves(params))
    start = (params, solver.init(params), jnp.zeros((), jnp.int32), jnp.zeros((), dtype), jnp.full((), jnp.inf, dtype))
    params, _, count, _, _ = jax.lax.while_loop(unfinished, step, start)
    value, gradient = jax.value_and_grad(posterior.potential)(params)
    return Mode(params, value, _norm(gradient), count)


def _norm(tree: Any) -> Any:
    return jnp.sqrt(jax.tree.reduce(jnp.add, [jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(tree)]))
