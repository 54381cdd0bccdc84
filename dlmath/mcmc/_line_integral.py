"""From a score to a potential: line integrals of s = −∇U."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dlmath import check
from dlmath.mcmc._curl import check_curl
from dlmath.mcmc._tree import combine, dot


def score_potential(
    score: Callable[[Any], Any],
    *,
    order: int = 16,
    origin: Any = None,
    check_at: Any = None,
    tolerance: float = 1e-3,
) -> Callable[[Any], Any]:
    """The potential U of a score s = −∇U, as a function numpyro's HMC and NUTS take: their `potential_fn`.

    U(x) = −∫₀¹ s(x₀ + t(x − x₀))·(x − x₀) dt by Gauss-Legendre quadrature, so that U(x₀) = 0; its gradient is −s(x), exactly, by
    a rule of its own: the quadrature is not differentiated. Trajectories follow the score; the potential enters only
    whether they are accepted.

    Args:
        score: x -> tree like x. It must be a gradient: where its Jacobian is not symmetric the integral depends on the
            path, and nothing samples from "its" density; see `curl`.
        order: nodes of the quadrature, at least 1; exact where s is a polynomial of degree 2·order − 2 along the line.
        origin: x₀, like x; zero by default. Choose a point where a learned score is good, near the data.
        check_at: a point at which to check once that the score is a gradient.
        tolerance: the largest `curl` accepted there.

    Returns:
        U: x -> scalar, differentiable in reverse mode once.

    Raises:
        ValueError: for a score whose curl at `check_at` exceeds the tolerance.

    >>> potential = score_potential(lambda x: -x)
    >>> print(potential(jnp.array([3.0, 4.0])), jax.grad(potential)(jnp.array([3.0, 4.0])))
    12.5 [3. 4.]

    Cost: `order` evaluations of the score side by side for a value, one for a gradient.
    """
    check.callable_("score", score)
    order = check.positive_int("order", order)
    if check_at is not None:
        check_curl(score, check_at, tolerance=tolerance)

    @jax.custom_vjp
    def potential(x: Any) -> Any:
        start = jax.tree.map(jnp.zeros_like, x) if origin is None else origin
        return potential_rise(score, start, x, order=order)

    def forward(x: Any) -> tuple[Any, Any]:
        return potential(x), score(x)

    def backward(s: Any, cotangent: Any) -> tuple[Any]:
        return (combine(lambda s: -cotangent * s, s),)

    potential.defvjp(forward, backward)
    return potential


def potential_rise(score: Callable[[Any], Any], x: Any, y: Any, *, order: int = 16) -> Any:
    """U(y) − U(x) = −∫₀¹ s(x + t(y − x))·(y − x) dt, the rise of the potential of a score from x to y.

    Args:
        score: s = −∇U, x -> tree like x.
        x: where the line begins, any tree of arrays.
        y: where it ends.
        order: nodes of the Gauss-Legendre quadrature.

    >>> print(potential_rise(lambda x: -x, jnp.array([3.0]), jnp.array([5.0])))
    8.0

    Cost: `order` evaluations of the score side by side.
    """
    nodes, weights = np.polynomial.legendre.leggauss(order)
    along = jax.tree.map(jnp.subtract, y, x)
    slope = lambda t: dot(score(combine(lambda x, a: x + t * a, x, along)), along)
    slopes = jax.vmap(slope)(jnp.asarray((1 + nodes) / 2, jnp.result_type(*jax.tree.leaves(x), jnp.float32)))
    return -jnp.sum(jnp.asarray(weights / 2, slopes.dtype) * slopes)
