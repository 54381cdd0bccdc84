"""Spectra and targets that are power laws: exponents and leading terms of the test error in samples, features and time."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax.scipy.special import gammaln
from jaxtyping import Array, Float

from dlmath import check
from dlmath.double_descent._arguments import floating, in_range


class PowerLaw(NamedTuple):
    """Eigenvalues τᵢ = i^{−a} of a kernel and energies vᵢ² = i^{−b} of a target in its eigenfunctions.

    `random_feature_risk` and `dlmath.ntk.learning_curve` (which takes √energies) are given these; `ridge_risk` and
    `flow_risk` want the coefficients of features, βᵢ² = energies/eigenvalues.
    """

    eigenvalues: Float[Array, " modes"]
    energies: Float[Array, " modes"]


class ScalingExponents(NamedTuple):
    """The test error without noise falls as n^{−samples}, N^{−features} and t^{−time}.

    Attributes:
        samples: min(b − 1, 2a), at infinite N and t: limited by resolution.
        features: the same, at infinite n and t. Beyond the bottleneck, n ≫ N or N ≫ n, what is left of the other
            falls as its inverse: limited by variance.
        time: (b − 1)/a, at infinite n and N.
    """

    samples: Float[Array, "*shape"]
    features: Float[Array, "*shape"]
    time: Float[Array, "*shape"]


def power_law(num_modes: int, exponent: Any, target: Any = None) -> PowerLaw:
    """Eigenvalues i^{−a} and target energies i^{−b}, i = 1 … M.

    Args:
        num_modes: M.
        exponent: a > 0, one number; a = 1 + α in the papers. Finite traces for M → ∞ need a > 1.
        target: b > 0, one number; by default a, a target with coefficients βᵢ² of equal energy.

    Raises:
        ValueError, TypeError: an argument out of its range.

    >>> law = power_law(3, 2.0, target=1.0)
    >>> print(1 / law.eigenvalues, 1 / law.energies)
    [1. 4. 9.] [1. 2. 3.]
    """
    num_modes = check.positive_int("num_modes", num_modes)
    a = in_range("exponent", exponent, above=0)
    a, b = floating(a, a if target is None else in_range("target", target, above=0))
    index = jnp.arange(1, num_modes + 1, dtype=a.dtype)
    return PowerLaw(index**-a, index**-b)


def scaling_exponents(exponent: Any, target: Any = None) -> ScalingExponents:
    """Exponents of the test error for eigenvalues i^{−a} and a target of energies i^{−b}, without noise or ridge.

    Args:
        exponent: a > 1.
        target: b > 1; by default a, for which the exponents are α = a − 1, α and α/(1 + α).

    Raises:
        ValueError: an argument out of its range.

    References:
        Bordelon, Canatar, Pehlevan (2020), 2002.02561, and Spigler, Geiger, Wyart (2020), 1905.10843, for samples; Maloney,
        Roberts, Sully (2022), 2210.16859, and Bahri et al. (2024), 2102.06701, for samples and features; Bordelon, Atanasov,
        Pehlevan (2024), A dynamical model of neural scaling laws, 2402.01092, for all three.

    >>> print(*scaling_exponents(2.0))
    1.0 1.0 0.5
    """
    a = in_range("exponent", exponent, above=1)
    a, b = floating(a, a if target is None else in_range("target", target, above=1))
    size = jnp.minimum(b - 1, 2 * a)
    return ScalingExponents(size, size, (b - 1) / a)


def power_law_risk(num_samples: Any, exponent: Any, target: Any = None, *, noise: Any = 0.0) -> Float[Array, "*shape"]:
    """Leading term for large n of the risk of interpolation, for eigenvalues i^{−a} and a target of energies i^{−b}.

    Sums over modes become integrals: κ = (c/n)^a with c = (π/a)/sin(π/a), Σ Lᵢ² = n(1 − 1/a), hence

        risk = κ^{(b−1)/a} Γ(s) Γ(2 − s) + (a − 1) σ²,      s = 2 − (b − 1)/a > 0.

    The noise is neither averaged out nor amplified without bound: the test error tends to aσ², overfitting is tempered.

    Args:
        num_samples: n > 0.
        exponent: a > 1.
        target: 1 < b < 2a + 1; by default a. Smoother targets are limited by the first mode, with the exponent 2a.
        noise: σ² ≥ 0.

    Returns:
        The risk, noise of new labels left out. For infinitely many modes; M of them must be ≫ n.

    Raises:
        ValueError: an argument out of its range.

    References:
        Mallinar, Simon, Abedsoltan, Pandit, Belkin, Nakkiran (2022), Benign, tempered, or catastrophic, 2207.06569, theorem 3.1 (the
        noise); Maloney, Roberts, Sully (2022), 2210.16859 (κ); the sum of `dlmath.ntk.learning_curve` as an integral.

    >>> print(f"{power_law_risk(100, 2.0, noise=0.3):.4f} {(jnp.pi / 2) ** 2 / 100 + 0.3:.4f}")    # κ = (π/2n)²
    0.3247 0.3247
    """
    a = in_range("exponent", exponent, above=1)
    b = a if target is None else in_range("target", target, above=1)
    n, noise = in_range("num_samples", num_samples, above=0), in_range("noise", noise, at_least=0)
    n, a, b, noise = floating(n, a, b, noise)
    if not check.is_traced(b) and not check.is_traced(a) and bool((b >= 2 * a + 1).any()):
        raise ValueError(f"target must be less than 2 · exponent + 1, got {b} for the exponent {a}")
    share = (b - 1) / a
    log_kappa = a * jnp.log(jnp.pi / a / jnp.sin(jnp.pi / a) / n)
    return jnp.exp(share * log_kappa + gammaln(2 - share) + gammaln(share)) + (a - 1) * noise
