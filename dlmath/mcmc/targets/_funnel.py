"""Neal's funnel."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import ScalarLike

from dlmath import check
from dlmath.mcmc.targets._target import Target, exact


def funnel(num_dimensions: int = 10, std: ScalarLike = 3.0) -> Target:
    """Neal's funnel, normalised: v ~ N(0, std²) and, given v, x₁, ..., x_{d−1} ~ N(0, eᵛ) independently.

    The position is (v, x₁, ..., x_{d−1}). The scale of the x is e^{v/2}: it varies by orders of magnitude, and
    the mouth at small v is where step sizes fail. Var x = E eᵛ = e^{std²/2}, so that sd x = e^{2.25} = 9.4877 for std = 3.

    Args:
        num_dimensions: d ≥ 2; Neal has 10.
        std: standard deviation of v, positive; Neal has 3.

    Returns:
        A `Target` with exact moments and draws. The fourth moment of x is 3 e^{2 std²}: the variance of draws says little.

    Raises:
        ValueError: for fewer than two dimensions, or a standard deviation that is not positive.

    >>> target = funnel()
    >>> print(jnp.sqrt(jnp.diag(target.covariance.value))[:2])
    [3.       9.487736]

    Cost: O(d).

    References:
        Neal (2003), Slice sampling, section 8.
    """
    num_dimensions = check.integer("num_dimensions", num_dimensions, at_least=2)
    std = check.real("std", std, above=0.0)

    def log_density(x: Any) -> Any:
        v, rest = x[0], x[1:]
        log_v = -0.5 * (v / std) ** 2 - jnp.log(std) - 0.5 * jnp.log(2 * jnp.pi)
        return log_v - 0.5 * jnp.sum(rest**2 * jnp.exp(-v) + v + jnp.log(2 * jnp.pi))

    def score(x: Any) -> Any:
        v, rest = x[0], x[1:]
        of_v = -v / std**2 + 0.5 * jnp.sum(rest**2 * jnp.exp(-v) - 1.0)
        return jnp.concatenate([of_v[None], -rest * jnp.exp(-v)])

    def sample(key: Any, num_samples: int) -> Any:
        check.key("key", key)
        z = jax.random.normal(key, (check.positive_int("num_samples", num_samples), num_dimensions))
        v = std * z[:, :1]
        return jnp.concatenate([v, jnp.exp(v / 2) * z[:, 1:]], axis=1)

    variances = jnp.full(num_dimensions, jnp.exp(std**2 / 2)).at[0].set(std**2)
    return Target(
        log_density=log_density,
        score=score,
        initial=jnp.zeros(num_dimensions),
        sample=sample,
        mean=exact(jnp.zeros(num_dimensions)),
        covariance=exact(jnp.diag(variances)),
        log_normalizer=jnp.zeros(()),
    )
