"""The law of Marchenko and Pastur: eigenvalues of XᵀX/n for n samples of p = γn independent features."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dlmath import check
from dlmath.double_descent._arguments import floating, in_range

_NUM_STEPS = 24  # of Newton's method, monotone from the right; quadratic after about six


class SpectralRule(NamedTuple):
    """Nodes and weights with ∫ f dF ≈ atom · f(0) + Σⱼ weightsⱼ f(nodesⱼ), exact for polynomials of degree 2k − 1.

    Attributes:
        nodes: in the bulk, ascending, [*aspect_ratio, k].
        weights: positive, with the sum 1 − atom.
        atom: the mass at 0, (1 − 1/γ)₊.
    """

    nodes: Float[Array, "*aspect_ratio k"]
    weights: Float[Array, "*aspect_ratio k"]
    atom: Float[Array, "*aspect_ratio"]


def marchenko_pastur_support(aspect_ratio: Any) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    """Edges ((1 − √γ)², (1 + √γ)²) of the bulk of the Marchenko-Pastur law.

    Args:
        aspect_ratio: γ = p/n > 0, features per sample.

    Returns:
        The lower and the upper edge; for γ > 1 there is an atom of mass 1 − 1/γ at 0 besides.

    Raises:
        ValueError: unless γ is positive.

    References:
        Marchenko, Pastur (1967), Distribution of eigenvalues for some sets of random matrices; Bai, Silverstein (2010),
        Spectral analysis of large dimensional random matrices, section 3.1.

    >>> print(*marchenko_pastur_support(0.25))
    0.25 2.25
    """
    (gamma,) = floating(in_range("aspect_ratio", aspect_ratio, above=0))
    return (1 - jnp.sqrt(gamma)) ** 2, (1 + jnp.sqrt(gamma)) ** 2


def marchenko_pastur_density(x: Any, aspect_ratio: Any) -> Float[Array, "*shape"]:
    """Density √((b − x)(x − a))/(2πγx) of the bulk of the Marchenko-Pastur law, 0 outside (a, b).

    Args:
        x: where; broadcast against the aspect ratio.
        aspect_ratio: γ = p/n > 0; beyond 1 the density has mass 1/γ, and an atom at 0 the rest.

    Raises:
        ValueError: unless γ is positive and x finite.

    References:
        As for `marchenko_pastur_support`.

    >>> print(f"{marchenko_pastur_density(1.0, 1.0):.4f} {3**0.5 / (2 * np.pi):.4f}")
    0.2757 0.2757
    """
    gamma = in_range("aspect_ratio", aspect_ratio, above=0)
    x, gamma = floating(in_range("x", x), gamma)
    a, b = marchenko_pastur_support(gamma)
    inside = (b - x) * (x - a)
    positive = (inside > 0) & (x > 0)
    root = jnp.sqrt(jnp.where(positive, inside, 1))
    return jnp.where(positive, root / (2 * jnp.pi * gamma * jnp.where(positive, x, 1)), 0)


def marchenko_pastur_rule(aspect_ratio: Any, num_nodes: int = 128) -> SpectralRule:
    """Gauss quadrature for the Marchenko-Pastur law, in closed form up to one angle a node.

    For γ ≤ 1 the orthonormal polynomials are Uⱼ(t) + √γ Uⱼ₋₁(t) with l = 1 + γ + 2√γ t, so that the nodes are at the
    angles t = cos θ with

        (k + 1)θ − arg(1 + √γ e^{iθ}) = jπ,   j = 1 … k,      lⱼ = |1 + √γ e^{iθ}|²,
        wⱼ = 2 sin²θ / ((k + 1) lⱼ − √γ(cos θ + √γ));

    the bulk for γ > 1 is that for 1/γ, scaled. Moments up to order 2k − 1 are exact, at γ = 1 too; an integrand
    with a pole at −λ is exact up to ρ^{2k}, ρ < 1 the distance to the pole; e^{−lt} needs k ≈ 6√t at γ = 1.

    Args:
        aspect_ratio: γ = p/n > 0.
        num_nodes: k.

    Returns:
        A SpectralRule; differentiable in γ on each side of 1.

    Raises:
        ValueError, TypeError: an argument out of its range.

    Cost: 24 Newton steps for k angles.

    References:
        The recurrence aⱼ = 1 + γ, bⱼ² = γ after a₀ = 1 of the free Poisson law (Haagerup, Thorbjørnsen 2003, section 6);
        Gauss weights from it by Christoffel and Darboux (Szegő, Orthogonal polynomials, section 3.4).

    >>> rule = marchenko_pastur_rule(0.5, 3)                      # moments 1, 1, 1 + γ, 1 + 3γ + γ²
    >>> print([f"{(rule.weights * rule.nodes**k).sum():.2f}" for k in range(4)])
    ['1.00', '1.00', '1.50', '2.75']
    """
    (gamma,) = floating(in_range("aspect_ratio", aspect_ratio, above=0))
    return _rule(gamma, num_nodes=check.positive_int("num_nodes", num_nodes))


@partial(jax.jit, static_argnames="num_nodes")
def _rule(gamma: Any, *, num_nodes: int) -> SpectralRule:
    wide = gamma > 1
    square = jnp.where(wide, 1 / gamma, gamma)[..., None]
    s = jnp.sqrt(square)
    target = np.pi * jnp.arange(1, num_nodes + 1, dtype=gamma.dtype)

    # F(θ) = (k + 1)θ − arg(1 + s e^{iθ}) is convex and increasing, and at least (k + ½)θ: from there Newton descends.
    def newton(theta: Any) -> Any:
        value = (num_nodes + 1) * theta - jnp.arctan2(s * jnp.sin(theta), 1 + s * jnp.cos(theta)) - target
        return theta - value / jax.lax.stop_gradient(slope(theta) / node(theta))

    def node(theta: Any) -> Any:
        return (1 - s) ** 2 + 4 * s * jnp.cos(theta / 2) ** 2  # |1 + s e^{iθ}|², without cancellation

    def slope(theta: Any) -> Any:
        return (num_nodes + 1) * node(theta) - s * (jnp.cos(theta) + s)  # l F′(θ)

    start = jnp.broadcast_to(target / (num_nodes + 0.5), jnp.broadcast_shapes(s.shape, target.shape))
    theta = jax.lax.stop_gradient(jax.lax.fori_loop(0, _NUM_STEPS, lambda _, theta: newton(theta), start))
    theta = newton(theta)[..., ::-1]
    scale = jnp.where(wide, gamma, 1)[..., None]
    return SpectralRule(
        nodes=scale * node(theta),
        weights=2 * jnp.sin(theta) ** 2 / slope(theta) / scale,
        atom=jnp.where(wide, 1 - 1 / gamma, 0),
    )
