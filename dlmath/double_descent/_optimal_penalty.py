"""The ridge penalty of smallest risk, for isotropic features and for any covariance."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dlmath.double_descent._arguments import floating, in_range, signal_of, spectrum
from dlmath.ntk import learning_curve

_GRID, _RANGE, _NUM_BISECTIONS = 97, 1e12, 60


def isotropic_optimal_penalty(
    aspect_ratio: Any, *, signal: Any, noise: Any, unexplained: Any = 0.0
) -> Float[Array, "*shape"]:
    """The penalty λ* = (σ² + m)γ/r² of smallest risk for isotropic features; at it the risk has no peak.

    Args:
        aspect_ratio: γ = p/n > 0.
        signal: r² = ‖β‖² ≥ 0; without any, λ* is infinite.
        noise: σ² ≥ 0.
        unexplained: m ≥ 0, see `isotropic_risk`.

    Raises:
        ValueError: an argument out of its range.

    References:
        Dobriban, Wager (2018), 1507.03003, theorem 2.1; Hastie et al. (2022), 1903.08560, section 6; that the risk at λ* falls
        with n: Nakkiran, Venkat, Kakade, Ma (2021), Optimal regularization can mitigate double descent, 2003.01897.

    >>> print(isotropic_optimal_penalty(2.0, signal=4.0, noise=1.0))
    0.5
    """
    gamma = in_range("aspect_ratio", aspect_ratio, above=0)
    names, values = ("signal", "noise", "unexplained"), (signal, noise, unexplained)
    checked = [in_range(name, value, at_least=0) for name, value in zip(names, values, strict=True)]
    gamma, signal, noise, unexplained = floating(gamma, *checked)
    total = (noise + unexplained) * gamma
    return jnp.where(total > 0, total / signal, 0)


def optimal_penalty(
    eigenvalues: Any, signal: Any, num_samples: Any, *, noise: Any, unexplained: Any = 0.0
) -> Float[Array, "*num_samples"]:
    """The penalty λ* ≥ 0 of smallest risk for any covariance and signal.

    With the symbols of `ridge_risk` the risk is a function of κ alone,

        (κ² Σ τᵢβᵢ²/(τᵢ + κ)² + σ² Σ Lᵢ²/n)/(1 − Σ Lᵢ²/n),      κ ≥ κ(λ = 0),

    of which the smallest value of a grid over 12 decades is refined by bisection of the derivative, and λ* = κ(1 − Σ Lᵢ/n).

    Args:
        eigenvalues: τᵢ ≥ 0, [p].
        signal: βᵢ² ≥ 0, [p], or their sum, shared equally.
        num_samples: n > 0, one number or an array.
        noise: σ² ≥ 0, one number.
        unexplained: m ≥ 0, one number, see `isotropic_risk`.

    Returns:
        λ*; 0 where the minimum norm is best among penalties that are not negative (signal along the largest eigenvalues,
        or no noise), infinite without signal. Differentiable where it is neither.

    Raises:
        ValueError: an argument out of its range.

    Cost: 97 + 2·60 sums over the eigenvalues for each n.

    References:
        Kobak, Lomond, Sanchez (2020), The optimal ridge penalty for real-world high-dimensional data can be zero or
        negative due to the implicit ridge regularization; Hastie et al. (2022), 1903.08560, section 6.

    >>> print(optimal_penalty(jnp.ones(200), 4.0, 100, noise=1.0).round(4))
    0.5
    """
    tau = spectrum("eigenvalues", eigenvalues)
    signal = signal_of("signal", signal, tau)
    n = in_range("num_samples", num_samples, above=0)
    noise, unexplained = (
        in_range(name, value, at_least=0) for name, value in (("noise", noise), ("unexplained", unexplained))
    )
    tau, signal, n, noise, unexplained = floating(tau, signal, n, noise, unexplained)
    if noise.ndim or unexplained.ndim:
        raise ValueError(
            f"noise and unexplained must be single numbers, got shapes {noise.shape} and {unexplained.shape}; vmap over them"
        )
    found = _optimal_penalty(tau, signal, n.ravel(), noise + unexplained)
    return found.reshape(n.shape)


@jax.jit
def _optimal_penalty(tau: Any, signal: Any, n: Any, noise: Any) -> Any:
    scale = tau.max()

    def log_risk(position: Any, n: Any, least: Any, tau: Any, signal: Any, noise: Any) -> Any:
        kappa = least + scale * jnp.exp(position)
        learned = tau / (tau + kappa)
        second = (learned**2).sum() / n
        return jnp.log(((1 - learned) ** 2 * tau * signal).sum() + noise * second) - jnp.log1p(-second)

    slope = jax.grad(log_risk)
    edge = 0.5 * np.log(_RANGE)
    grid = jnp.linspace(-edge, edge, _GRID, dtype=tau.dtype)

    def one(n: Any) -> Any:
        least = learning_curve(tau, jnp.ones_like(tau), n).kappa
        fixed = jax.lax.stop_gradient((n, least, tau, signal, noise))
        best = jnp.argmin(jax.vmap(lambda position: log_risk(position, *fixed))(grid))
        bounds = grid[jnp.maximum(best - 1, 0)], grid[jnp.minimum(best + 1, _GRID - 1)]

        def halve(_: Any, bounds: Any) -> Any:
            middle = (bounds[0] + bounds[1]) / 2
            falls = slope(middle, *fixed) < 0
            return jnp.where(falls, middle, bounds[0]), jnp.where(falls, bounds[1], middle)

        bounds = jax.lax.fori_loop(0, _NUM_BISECTIONS, halve, bounds)
        position = jax.lax.stop_gradient((bounds[0] + bounds[1]) / 2)
        # One Newton step, for the derivatives of the implicit function; the curvature is positive at a minimum.
        curvature = jax.lax.stop_gradient(jax.grad(slope)(position, *fixed))
        change = slope(position, n, least, tau, signal, noise) / jnp.where(curvature > 0, curvature, 1)
        kappa = least + scale * jnp.exp(position - jnp.where(curvature > 0, change, 0))
        found = kappa * (1 - (tau / (tau + kappa)).sum() / n)
        return jnp.where(best == 0, 0, jnp.where(best == _GRID - 1, jnp.inf, found))

    return jax.lax.map(one, n)
