"""Linear models with a known spectrum, signal and unexplained part, to be given to `ridge_risk`."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dlmath import check
from dlmath.double_descent._arguments import floating, in_range


class LinearModel(NamedTuple):
    """A Gaussian linear model as the arguments of `ridge_risk`.

    Attributes:
        eigenvalues: of the covariance of the features, [p], descending.
        signal: energy of the coefficients in each eigenvector, [p].
        unexplained: variance of the part of the target that is independent of the features.
    """

    eigenvalues: Float[Array, " p"]
    signal: Float[Array, " p"]
    unexplained: Float[Array, ""]


def missing_share(aspect_ratio: Any, exponent: Any) -> Float[Array, "*shape"]:
    """Share (1 + γ)^{−a} of the signal that γn features miss, where the approximation error decays as a power.

    Given to `isotropic_risk` as unexplained = r²(1 + γ)^{−a} beside signal = r²(1 − (1 + γ)^{−a}), it makes the risk fall
    with γ on both sides of the peak, lower beyond it for a small exponent and little noise.

    Args:
        aspect_ratio: γ = p/n > 0.
        exponent: a > 0.

    Raises:
        ValueError: an argument out of its range.

    References:
        Hastie et al. (2022), 1903.08560, section 5 (misspecified model, polynomial approximation bias).

    >>> print(missing_share(1.0, 2.0))
    0.25
    """
    gamma, exponent = in_range("aspect_ratio", aspect_ratio, above=0), in_range("exponent", exponent, above=0)
    gamma, exponent = floating(gamma, exponent)
    return (1 + gamma) ** -exponent


def latent_space(num_features: int, num_latent: int, *, strength: Any = 1.0, signal: Any = 1.0) -> LinearModel:
    """Features x = Wz + u that see d latent variables z, on which the target ⟨θ, z⟩ depends, through p noisy channels.

    With WᵀW = μ(p/d) I the covariance I + WWᵀ has d eigenvalues 1 + μp/d and p − d ones, the coefficients lie in the
    large ones, and what the features leave unexplained falls with p:

        ‖β‖² = ‖θ‖² (μp/d)/(1 + μp/d)²,      m = ‖θ‖²/(1 + μp/d).

    The minimum-norm risk is smallest for p → ∞, without any penalty.

    Args:
        num_features: p ≥ d.
        num_latent: d ≥ 1.
        strength: μ > 0, the energy of W per feature and latent variable.
        signal: ‖θ‖² ≥ 0.

    Raises:
        ValueError, TypeError: an argument out of its range.

    References:
        Hastie et al. (2022), 1903.08560, section 5 (latent space model).

    >>> model = latent_space(6, 2)                                 # μp/d = 3
    >>> print(model.eigenvalues[:3], model.signal.sum(), model.unexplained)
    [4. 4. 1.] 0.1875 0.25
    """
    d = check.positive_int("num_latent", num_latent)
    p = check.integer("num_features", num_features, at_least=d)
    mu, energy = floating(in_range("strength", strength, above=0), in_range("signal", signal, at_least=0))
    return _latent_space(mu, energy, p=p, d=d)


@partial(jax.jit, static_argnames=("p", "d"))
def _latent_space(mu: Any, energy: Any, *, p: int, d: int) -> LinearModel:
    gain = mu * p / d
    top = jnp.arange(p) < d
    return LinearModel(
        eigenvalues=jnp.where(top, 1 + gain, 1),
        signal=jnp.where(top, energy * gain / (1 + gain) ** 2 / d, 0),
        unexplained=energy / (1 + gain),
    )
