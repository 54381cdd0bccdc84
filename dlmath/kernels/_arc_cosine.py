"""Arc-cosine kernels: infinitely wide one-hidden-layer networks with Heaviside, ReLU or squared ReLU units."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import Partial
from jaxtyping import Array

from dlmath import check
from dlmath.kernels._distances import MAX_DIRECT_FEATURES, hollow, inner, kernel_inputs, pairwise, safe_sqrt
from dlmath.typing import KernelFn


def arc_cosine(*, order: int = 1) -> KernelFn:
    """The arc-cosine kernel of order 0, 1 or 2.

    k(x, x′) = 2 E[step(w·x) step(w·x′) (w·x)ⁿ (w·x′)ⁿ] = ‖x‖ⁿ ‖x′‖ⁿ Jₙ(θ) / π,    w ~ N(0, I), θ the angle,

        J₀ = π − θ,    J₁ = sin θ + (π − θ) cos θ,    J₂ = 3 sin θ cos θ + (π − θ)(1 + 2 cos²θ).

    On unit vectors orders 0 and 1 are κ₀ and κ₁ of Bietti and Mairal: 1/2 and 1/π at orthogonal inputs, 1 at equal
    ones. A zero vector counts as orthogonal to everything.

    Args:
        order: n in 0, 1, 2 (Heaviside, ReLU, squared ReLU).

    Returns:
        A kernel function of inputs [n, ...], flattened. At `x2=None` the angles on its diagonal are exactly 0.

    Raises:
        ValueError: for another order.

    >>> kernel = arc_cosine(order=1)
    >>> print(f"{kernel(jnp.eye(2))[0, 1]:.4f}")      # 1 / pi at orthogonal inputs
    0.3183

    Cost: n1 n2 d multiply-adds, n1 n2 arc tangents.

    References:
        Cho, Saul (2009), Kernel methods for deep learning, eqs. 1 to 7.
        Bietti, Mairal (2019), On the inductive bias of neural tangent kernels, section 2.
    """
    order = check.integer("order", order, at_least=0, at_most=2)
    return Partial(_BY_ORDER[order])


def _arc_cosine(order: int, x1: Any, x2: Any = None) -> Array:
    return _arc_cosine_matrix(order, *kernel_inputs(x1, x2))


# One object an order, so that every `arc_cosine(order=n)` is the same function to `jit`.
_BY_ORDER = tuple(partial(_arc_cosine, order) for order in range(3))


@partial(jax.jit, static_argnums=0)
def _arc_cosine_matrix(order: int, x1: Array, x2: Array | None) -> Array:
    norms1, norms2 = _norms(x1), _norms(x1 if x2 is None else x2)
    theta = _angles(x1, x2, norms1, norms2)
    if order == 0:
        j = jnp.pi - theta
    elif order == 1:
        j = jnp.sin(theta) + (jnp.pi - theta) * jnp.cos(theta)
    else:
        j = 3 * jnp.sin(theta) * jnp.cos(theta) + (jnp.pi - theta) * (1 + 2 * jnp.cos(theta) ** 2)
    return (norms1[:, None] * norms2[None, :]) ** order * j / jnp.pi


def _angles(x1: Array, x2: Array | None, norms1: Array, norms2: Array) -> Array:
    # Kahan's formula 2 atan2(‖u − v‖, ‖u + v‖) for unit u, v: the arc cosine of u·v loses half the digits near
    # 0 and π.
    u = x1 / jnp.where(norms1 > 0, norms1, 1)[:, None]
    v = u if x2 is None else x2 / jnp.where(norms2 > 0, norms2, 1)[:, None]
    if x1.shape[1] <= MAX_DIRECT_FEATURES:
        difference, total = pairwise(u, v), pairwise(u, -v)
    else:
        cosine = jnp.clip(inner(u, v), -1, 1)
        difference, total = 2 - 2 * cosine, 2 + 2 * cosine
    theta = 2 * jnp.arctan2(safe_sqrt(difference), safe_sqrt(total))
    theta = theta if x2 is not None else hollow(0.5 * (theta + theta.T))
    return jnp.where((norms1[:, None] > 0) & (norms2[None, :] > 0), theta, jnp.pi / 2)


def _norms(x: Array) -> Array:
    return safe_sqrt(jnp.square(x).sum(1))
