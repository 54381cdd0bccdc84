"""Stieltjes transforms of sample covariances of any population spectrum, for real and for complex arguments."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact

from dlmath import check
from dlmath.double_descent._arguments import floating, in_range, spectrum
from dlmath.ntk import learning_curve

_NUM_STEPS = 64  # of the continuation from far above the spectrum


def stieltjes(z: Any, aspect_ratio: Any, eigenvalues: Any = (1.0,)) -> Inexact[Array, "*z"]:
    """Stieltjes transform m(z) = lim tr((XᵀX/n − z)⁻¹)/p of the spectrum of a sample covariance.

    With κ(z) the solution of κ(1 − γ ∫ τ/(τ + κ) dH(τ)) = −z, H the law of the population eigenvalues τ,

        m(z) = (−κ/z) ∫ dH(τ)/(τ + κ),

    which for H = 1 solves γzm² − (1 − γ − z)m + 1 = 0. The density of the bulk at x is lim Im m(x + i0)/π.

    Args:
        z: off the spectrum: negative if real, with an imaginary part other than 0 if complex.
        aspect_ratio: γ = p/n > 0, one number.
        eigenvalues: τ ≥ 0 of the covariance of the features, [k], each for a share 1/k of them.

    Returns:
        m(z), complex for complex z; differentiable in γ and the eigenvalues, and in z.

    Raises:
        ValueError, TypeError: an argument out of its range.

    Cost: 60 sums over the eigenvalues for a real z, 130 for a complex one.

    References:
        Silverstein, Bai (1995), On the empirical distribution of eigenvalues of a class of large dimensional random
        matrices, equation (1.4); Dobriban, Wager (2018), High-dimensional asymptotics of prediction, section 2.

    >>> print(f"{stieltjes(-1.0, 1.0):.5f} {(5**0.5 - 1) / 2:.5f}")               # m² + m = 1
    0.61803 0.61803
    """
    z, tau, kappa = _solve(z, aspect_ratio, eigenvalues)
    return -kappa / z * (1 / (tau + kappa[..., None])).mean(-1)


def companion_stieltjes(z: Any, aspect_ratio: Any, eigenvalues: Any = (1.0,)) -> Inexact[Array, "*z"]:
    """Companion transform v(z) = lim tr((XXᵀ/n − z)⁻¹)/n, of the spectrum of the Gram matrix.

    v = γm − (1 − γ)/z solves z = −1/v + γ ∫ τ/(1 + τv) dH(τ), and κ = 1/v is the penalty that acts on the population:
    (XᵀX/n + λ)⁻¹ behaves like (κ/λ)(Σ + κ)⁻¹. Arguments, errors, cost and references as for `stieltjes`.

    >>> print(f"{companion_stieltjes(-1.0, 2.0, [1.0, 1.0]):.5f} {2**0.5 - 1:.5f}")           # v² + 2v = 1
    0.41421 0.41421
    """
    return 1 / _solve(z, aspect_ratio, eigenvalues)[2]


def _solve(z: Any, aspect_ratio: Any, eigenvalues: Any) -> tuple[Any, Any, Any]:
    z = check.array("z", z)
    gamma = in_range("aspect_ratio", aspect_ratio, above=0)
    if np.ndim(gamma):
        raise ValueError(f"aspect_ratio must be one number, got shape {np.shape(gamma)}; vmap over it")
    tau = spectrum("eigenvalues", eigenvalues)
    is_complex = jnp.issubdtype(z.dtype, jnp.complexfloating)
    if not check.is_traced(z):
        if is_complex and (np.imag(z) == 0).any():
            raise ValueError("z must have an imaginary part other than 0 where it is complex; give a real z as a real")
        if not is_complex and np.max(z) >= 0:
            raise ValueError(f"z must be negative where it is real, off the spectrum, got {float(np.max(z)):g}")
    real, imag, gamma, tau = floating(z.real, z.imag if is_complex else 0.0, gamma, tau)
    n = len(tau) / gamma
    if is_complex:
        z = jax.lax.complex(real, imag)
        return z, tau, complex_kappa(-z, tau, n)
    kappa = lambda penalty: learning_curve(tau, jnp.ones_like(tau), n, ridge=n * penalty).kappa
    return real, tau, jax.vmap(kappa)(-real.ravel()).reshape(real.shape)


def complex_kappa(penalty: Any, eigenvalues: Any, num_samples: Any) -> Any:
    """κ with κ(1 − (1/n) Σ τ/(τ + κ)) = λ, in the half-plane of λ, for complex λ [...] off the real line.

    Newton's method along the vertical line from far away, where κ ≈ λ + Σ τ/n, in steps of equal ratio; a step that
    would leave the half-plane is one of the map κ ← λ + (κ/n) Σ τ/(τ + κ), which never does.
    """
    tau, n = eigenvalues, num_samples
    trace = tau.sum() / n
    height = 8 * (jnp.abs(penalty) + trace + tau.max())
    ratio = height / jnp.abs(penalty.imag)

    def freedom(kappa: Any) -> tuple[Any, Any]:
        learned = tau / (tau + kappa[..., None])
        return learned.sum(-1) / n, (learned**2).sum(-1) / n

    def newton(kappa: Any, penalty: Any) -> Any:
        first, second = freedom(kappa)
        found = kappa - (kappa * (1 - first) - penalty) / (1 - second)
        inside = jnp.isfinite(found) & (found.imag * penalty.imag > 0)
        return jnp.where(inside, found, penalty + kappa * first)

    def lower(step: Any, kappa: Any) -> Any:
        # Two steps at each height, and two more at the last.
        at = penalty.imag * ratio ** jnp.maximum(1 - (step // 2 + 1) / _NUM_STEPS, 0)
        return newton(kappa, jax.lax.complex(penalty.real, at))

    start = jax.lax.complex(penalty.real, penalty.imag * ratio) + trace
    kappa = jax.lax.stop_gradient(jax.lax.fori_loop(0, 2 * _NUM_STEPS + 2, lower, start))
    # One more step, with the derivatives of the implicit function.
    first, second = freedom(kappa)
    return kappa - (kappa * (1 - first) - penalty) / jax.lax.stop_gradient(1 - second)
