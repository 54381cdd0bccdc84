"""Constant, linear and nonlinear part of an activation on a Gaussian input."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dlmath.kernels import Activation, Dense, infinite_width


class HermiteWeights(NamedTuple):
    """φ(z) = μ₀ + μ₁z + μ⋆·(a part of variance 1 that is uncorrelated with 1 and z), z a standard normal.

    Attributes:
        constant: |μ₀|, μ₀ = E φ(z).
        linear: |μ₁|, μ₁ = E zφ(z).
        nonlinear: μ⋆ = √(E φ(z)² − μ₀² − μ₁²).
    """

    constant: Float[Array, ""]
    linear: Float[Array, ""]
    nonlinear: Float[Array, ""]


def hermite_weights(activation: str | Callable[[Any], Any] | Activation = "relu") -> HermiteWeights:
    """Weights (|μ₀|, |μ₁|, μ⋆) of an activation in the Hermite expansion, all that random features know of it.

    From the kernel C(ρ) = E φ(u)φ(v) of `dlmath.kernels.infinite_width`, u and v of correlation ρ: C(0) = μ₀²,
    C′(0) = μ₁², C(1) = E φ².

    Args:
        activation: a name or a function, as for `dlmath.kernels.Activation`, or an Activation with its corners.

    Returns:
        HermiteWeights; the precision is that of the kernel.

    Raises:
        ValueError, TypeError: an activation that `dlmath.kernels` does not know.

    References:
        Mei, Montanari (2022), The generalization error of random features regression, 1908.05355, assumption 1.

    >>> weights = hermite_weights("relu")                   # 1/√(2π), 1/2, √(1/4 − 1/(2π))
    >>> print(f"{weights.constant:.4f} {weights.linear:.4f} {weights.nonlinear:.4f}")
    0.3989 0.5000 0.3014
    """
    layer = activation if isinstance(activation, Activation) else Activation(activation)
    kernel = infinite_width([Dense(1), layer, Dense(1)])

    def covariance(correlation: Any) -> Any:
        # Inputs of norm √2 in two dimensions: x·x′/d is their correlation.
        one, other = jnp.array([1.0, 0.0]), jnp.stack([correlation, jnp.sqrt(1 - correlation**2)])
        return kernel(2**0.5 * one[None], 2**0.5 * other[None], get="nngp")[0, 0]

    constant, linear = jax.jvp(covariance, (jnp.zeros(()),), (jnp.ones(()),))
    moment = kernel(jnp.array([[2**0.5, 0.0]]), get="nngp")[0, 0]
    rest = jnp.maximum(moment - constant - linear, 0)
    eps = 8 * jnp.finfo(rest.dtype).eps
    return HermiteWeights(*(jnp.sqrt(jnp.where(part > eps * moment, part, 0)) for part in (constant, linear, rest)))
