"""Risk of random features σ(⟨θ, x⟩/√d) on a sphere, for any activation."""

from typing import Any

from dlmath.double_descent._arguments import floating, in_range
from dlmath.double_descent._hermite import HermiteWeights, hermite_weights
from dlmath.double_descent._random_features import (
    VarianceComponents,
    random_feature_components,
    random_feature_risk,
)
from dlmath.double_descent._ridge import Risk


def mei_montanari_risk(
    features_per_dimension: Any,
    samples_per_dimension: Any,
    penalty: Any,
    *,
    activation: Any = "relu",
    signal: Any = 1.0,
    nonlinear: Any = 0.0,
    noise: Any = 0.0,
) -> Risk:
    """Risk of ridge regression on N random features σ(⟨θ_j, x⟩/√d) from n samples, N, n, d → ∞ at fixed ratios.

    x and θ_j are uniform on spheres of radius √d, the target is linear with the energy F₁² plus a random function of
    higher degree with the energy F⋆², and ‖y − Σ aⱼσⱼ‖² + (nNλ/d)‖a‖² is minimal. With σ = μ₀ + μ₁z + μ⋆(…),

        risk = F₁² 𝓑 + (τ² + F⋆²) 𝓥 + F⋆²,

    which is `random_feature_risk` for one eigenvalue μ₁², a tail μ⋆², and sizes per dimension (n/d, N/d): the
    nonlinear part of the features acts as independent noise. The paper's polynomials in χ = ν₁ν₂, evaluated at
    χ = −μ⋆²/κ, are the same function (see the tests).

    Args:
        features_per_dimension: ψ₁ = N/d > 0, or inf.
        samples_per_dimension: ψ₂ = n/d > 0.
        penalty: λ ≥ 0; at 0 the risk is infinite at ψ₁ = ψ₂.
        activation: a name or function, see `hermite_weights`, or HermiteWeights.
        signal: F₁² ≥ 0, one number.
        nonlinear: F⋆² ≥ 0.
        noise: τ² ≥ 0, the variance of the noise. ψ₁, ψ₂, λ, F⋆² and τ² broadcast.

    Returns:
        A Risk; its bias is F₁²𝓑 + F⋆², its variance (τ² + F⋆²)𝓥, its norm ψ₁ E ‖a‖². At finite d the constant costs
        O(1/n) and degree 2 has only d²/2 modes, O(n/d²); `random_feature_risk` with one eigenvalue μ₀², d of μ₁²/d,
        (d + 2)(d − 1)/2 equal ones for degree 2 and the rest of μ⋆² as the tail accounts for both.

    Raises:
        ValueError, TypeError: an argument out of its range.

    References:
        Mei, Montanari (2022), The generalization error of random features regression, 1908.05355, definition 1 and
        theorem 2.

    >>> risk = mei_montanari_risk([2, 3, 5, 10, 20], 3, 1e-3, noise=0.5).risk               # n = 3d, ReLU
    >>> print(*(f"{r:.3f}" for r in risk))
    1.417 2.054 0.942 0.439 0.295
    """
    tau, n, features, rest = _arguments(features_per_dimension, samples_per_dimension, activation, nonlinear)
    return random_feature_risk(tau, signal, n, features, penalty=penalty, noise=noise, **rest)


def mei_montanari_components(
    features_per_dimension: Any,
    samples_per_dimension: Any,
    penalty: Any,
    *,
    activation: Any = "relu",
    signal: Any = 1.0,
    nonlinear: Any = 0.0,
    noise: Any = 0.0,
) -> VarianceComponents:
    """The risk of `mei_montanari_risk` over its sources: samples, initialisation of the features, label noise.

    The part F⋆² of the target is in `bias` as what cannot be learned, and acts as noise besides, which is counted in
    the components of the samples. Arguments, errors and reference as for `mei_montanari_risk`; see
    `random_feature_components`.

    >>> parts = mei_montanari_components(3, 3, 1e-5, noise=0.5)                 # the peak is an interaction
    >>> print(f"{parts.samples_init + parts.samples_init_noise:.1f} of {sum(parts):.1f}")
    20.6 of 20.9
    """
    tau, n, features, rest = _arguments(features_per_dimension, samples_per_dimension, activation, nonlinear)
    return random_feature_components(tau, signal, n, features, penalty=penalty, noise=noise, **rest)


def _arguments(psi1: Any, psi2: Any, activation: Any, nonlinear: Any) -> tuple[Any, Any, Any, dict[str, Any]]:
    # eigenvalues, num_samples, num_features; tail and unexplained
    psi1 = in_range("features_per_dimension", psi1, above=0, finite=False)
    psi2 = in_range("samples_per_dimension", psi2, above=0)
    unexplained = in_range("nonlinear", nonlinear, at_least=0)
    weights = activation if isinstance(activation, HermiteWeights) else hermite_weights(activation)
    _, linear, rest = floating(*weights)
    return (linear**2)[None], psi2, psi1, {"tail": rest**2, "unexplained": unexplained}
