"""The banana: a Gaussian bent along a parabola."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import ScalarLike

from dlmath import check
from dlmath.mcmc.targets._target import Target, exact

STD = 10.0


def banana(num_dimensions: int = 2, curvature: ScalarLike = 0.03) -> Target:
    """The banana of inference-gym, normalised: x₁ ~ N(0, 10²), x₂ ~ N(b (x₁² − 100), 1), the others standard normal.

    Var x₂ = 1 + 2 b² 10⁴: the standard deviations are 10 and √19 = 4.3589 for b = 0.03. The coordinates are uncorrelated.

    Args:
        num_dimensions: d ≥ 2.
        curvature: b, finite.

    Returns:
        A `Target` with exact moments and draws.

    Raises:
        ValueError: for fewer than two dimensions.

    >>> print(jnp.sqrt(jnp.diag(banana().covariance.value)))
    [10.        4.358899]

    Cost: O(d).

    References:
        Haario, Saksman, Tamminen (1999), Adaptive proposal distribution for random walk Metropolis algorithm.
        inference-gym, `targets/banana.py` (its parameters).
    """
    num_dimensions = check.integer("num_dimensions", num_dimensions, at_least=2)
    bend: Any = check.real("curvature", curvature)
    scales = jnp.ones(num_dimensions).at[0].set(STD)

    def unbend(x: Any) -> Any:
        # A shear: its determinant is 1.
        return x.at[1].add(-bend * (x[0] ** 2 - STD**2))

    def log_density(x: Any) -> Any:
        return -jnp.sum(0.5 * (unbend(x) / scales) ** 2 + jnp.log(scales) + 0.5 * jnp.log(2 * jnp.pi))

    def score(x: Any) -> Any:
        straight = -unbend(x) / scales**2
        return straight.at[0].set(-x[0] / STD**2 - straight[1] * 2 * bend * x[0])

    def sample(key: Any, num_samples: int) -> Any:
        check.key("key", key)
        z = jax.random.normal(key, (check.positive_int("num_samples", num_samples), num_dimensions)) * scales
        return z.at[:, 1].add(bend * (z[:, 0] ** 2 - STD**2))

    return Target(
        log_density=log_density,
        score=score,
        initial=jnp.zeros(num_dimensions),
        sample=sample,
        mean=exact(jnp.zeros(num_dimensions)),
        covariance=exact(jnp.diag(scales**2).at[1, 1].set(1 + 2 * bend**2 * STD**4)),
        log_normalizer=jnp.zeros(()),
    )
