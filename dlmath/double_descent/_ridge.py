"""Risk of ridge and ridgeless regression in the limit of many samples and features: isotropic, and of any covariance."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dlmath.double_descent._arguments import floating, in_range, signal_of, spectrum
from dlmath.ntk import learning_curve


class Risk(NamedTuple):
    """What an estimator is expected to do, noise of new labels left out of the risk.

    Attributes:
        risk: E (x·β̂ − f(x))² at a new x; the test error on noisy labels is σ² more.
        bias: its part without noise on the labels, that of what is not explained included.
        variance: its part proportional to σ² (and to what is not explained).
        norm: E ‖β̂‖².
        train_error: E ‖Xβ̂ − y‖²/n.
    """

    risk: Float[Array, "*shape"]
    bias: Float[Array, "*shape"]
    variance: Float[Array, "*shape"]
    norm: Float[Array, "*shape"]
    train_error: Float[Array, "*shape"]


def isotropic_risk(
    aspect_ratio: Any, *, penalty: Any = 0.0, signal: Any = 1.0, noise: Any = 0.0, unexplained: Any = 0.0
) -> Risk:
    """Risk of the ridge estimator for independent features of variance 1, in closed form.

    With κ the positive root of κ² − (λ + γ − 1)κ − λ and D = √((λ + γ − 1)² + 4λ),

        bias = r²κ²/(κ² + λ + D),      variance = σ²γ/(κ² + λ + D).

    At λ = 0, the minimum norm, this is σ²γ/(1 − γ) for γ < 1 and r²(1 − 1/γ) + σ²/(γ − 1) for γ > 1; at γ = 1 the risk is
    infinite.

    Args:
        aspect_ratio: γ = p/n > 0.
        penalty: λ ≥ 0, of ‖y − Xβ‖²/n + λ‖β‖².
        signal: r² = ‖β‖² ≥ 0.
        noise: σ² ≥ 0, the variance of the noise.
        unexplained: m ≥ 0, the variance of the part of f(x) that is independent of the features: of coefficients that
            belong to features left out. It adds to the noise, and to the bias as it is. All arguments broadcast.

    Returns:
        A Risk, differentiable on each side of γ = 1 and everywhere at λ > 0.

    Raises:
        ValueError: an argument out of its range.

    References:
        Hastie, Montanari, Rosset, Tibshirani (2022), Surprises in high-dimensional ridgeless least squares
        interpolation, 1903.08560, sections 3 and 5; Dobriban, Wager (2018), 1507.03003, for λ > 0.

    >>> risks = isotropic_risk(jnp.array([0.5, 1.0, 2.0]), signal=5.0, noise=1.0)
    >>> print(risks.risk, risks.norm)
    [1.  inf 3.5] [6.  inf 3.5]
    """
    gamma = in_range("aspect_ratio", aspect_ratio, above=0)
    others = (penalty, signal, noise, unexplained)
    names = ("penalty", "signal", "noise", "unexplained")
    checked = [in_range(name, value, at_least=0) for name, value in zip(names, others, strict=True)]
    return _isotropic_risk(*jnp.broadcast_arrays(*floating(gamma, *checked)))


@jax.jit
def _isotropic_risk(gamma: Any, penalty: Any, signal: Any, noise: Any, unexplained: Any) -> Risk:
    excess = penalty + gamma - 1
    square = excess**2 + 4 * penalty
    root = jnp.sqrt(jnp.where(square > 0, square, 1)) * (square > 0)
    far = jnp.abs(excess) + root
    ratio = 2 / jnp.where(far > 0, far, 1)
    kappa = jnp.where(excess >= 0, far / 2, penalty * ratio)
    # (1 + κ)² − γ without cancellation; it vanishes at the threshold only.
    surplus = kappa**2 + penalty + root
    regular = surplus > 0
    surplus = jnp.where(regular, surplus, 1)
    noise = noise + unexplained
    bias = jnp.where(regular, signal * kappa**2 / surplus, 0) + unexplained
    variance = _times(noise, jnp.where(regular, gamma / surplus, jnp.inf))
    # κ′(λ)/(1 + κ)² = 1/surplus, and λ/κ = 1 − γ/(1 + κ).
    norm = signal * (1 / (1 + kappa) - jnp.where(regular, penalty / surplus, 0)) + variance
    share = jnp.where(excess >= 0, penalty * ratio, far / 2)
    train = _times(share**2, bias + variance + noise - unexplained)
    return Risk(bias + variance, bias, variance, norm, train)


def _times(factor: Any, value: Any) -> Any:
    # A product in which 0 · ∞ is 0.
    return jnp.where(factor > 0, factor * jnp.where(factor > 0, value, 0), 0)


def ridge_risk(
    eigenvalues: Any, signal: Any, num_samples: Any, *, penalty: Any = 0.0, noise: Any = 0.0, unexplained: Any = 0.0
) -> Risk:
    """Risk of the ridge estimator for features of any covariance Σ, as a deterministic equivalent.

    With κ the solution of κ(1 − (1/n) Σ Lᵢ) = λ, Lᵢ = τᵢ/(τᵢ + κ) and E₀ = n/(n − Σ Lᵢ²),

        bias = E₀ Σ (1 − Lᵢ)² τᵢβᵢ²,      variance = σ² (E₀ − 1),

    where τᵢ are the eigenvalues of Σ and βᵢ the coefficients in its eigenvectors. Exact as n and p grow together; at finite
    size it is off by O(1/n). For equal eigenvalues it is `isotropic_risk` at γ = p/n.

    Args:
        eigenvalues: τᵢ ≥ 0, [p].
        signal: βᵢ² ≥ 0, [p], or their sum, shared equally.
        num_samples: n > 0, whole or not.
        penalty: λ ≥ 0; 0 is the minimum norm, with an infinite risk at n = p.
        noise: σ² ≥ 0.
        unexplained: m ≥ 0, as for `isotropic_risk`; n, λ, σ² and m broadcast.

    Returns:
        A Risk with the shape of n, λ, σ² and m; differentiable in all, at λ = 0 away from n = p.

    Raises:
        ValueError: an argument out of its range.

    Cost: 60 sums over the eigenvalues for each entry.

    References:
        Hastie et al. (2022), 1903.08560, section 4; Dobriban, Wager (2018), 1507.03003, theorem 2.1. κ is that of
        `dlmath.ntk.learning_curve`, the same statement for kernels, for coefficients √τᵢ βᵢ.

    >>> risk = ridge_risk(jnp.ones(200), 5.0, jnp.array([100, 400]), noise=1.0).risk
    >>> print(*(f"{r:.3f}" for r in risk))
    3.500 1.000
    """
    tau = spectrum("eigenvalues", eigenvalues)
    signal = signal_of("signal", signal, tau)
    names = ("num_samples", "penalty", "noise", "unexplained")
    n = in_range(names[0], num_samples, above=0)
    others = zip(names[1:], (penalty, noise, unexplained), strict=True)
    checked = [in_range(name, value, at_least=0) for name, value in others]
    tau, signal, *rest = floating(tau, signal, n, *checked)
    rest = jnp.broadcast_arrays(*rest)
    return _ridge_risk(tau, signal, *rest)


@jax.jit
def _ridge_risk(tau: Any, signal: Any, n: Any, penalty: Any, noise: Any, unexplained: Any) -> Risk:
    def one(n: Any, penalty: Any, noise: Any, unexplained: Any) -> Risk:
        curve = learning_curve(tau, jnp.ones_like(tau), n, ridge=n * penalty)
        learned, kappa = curve.learnabilities, curve.kappa
        regular = jnp.isfinite(curve.overfitting)
        overfitting = jnp.where(regular, curve.overfitting, 1)
        noise = noise + unexplained
        bias = overfitting * ((1 - learned) ** 2 * tau * signal).sum() + unexplained
        variance = _times(noise, jnp.where(regular, overfitting * (learned**2).sum() / n, jnp.inf))
        # τ/(τ + κ)², which is 1/τ at κ = 0, and 0 where the feature vanishes.
        slope = learned / jnp.where(tau > 0, tau + kappa, 1)
        norm = (signal * (learned - jnp.where(regular, penalty * overfitting, 0) * slope)).sum()
        norm = norm + _times(noise, jnp.where(regular, overfitting * slope.sum() / n, jnp.inf))
        share = jnp.where(kappa > 0, penalty / jnp.where(kappa > 0, kappa, 1), 1 - learned.sum() / n)
        train = _times(share**2 * regular, bias + variance + noise - unexplained)
        return Risk(bias + variance, bias, variance, norm, train)

    shape = n.shape
    flat = jax.vmap(one)(n.ravel(), penalty.ravel(), noise.ravel(), unexplained.ravel())
    return jax.tree.map(lambda leaf: leaf.reshape(shape), flat)
