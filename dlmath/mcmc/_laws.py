"""What the kernels sample from on a Gaussian: their stationary covariances in closed form."""

from typing import Any, NamedTuple

import numpy as np

from dlmath import check

OVERDAMPED = ("ula", "sgld")
KERNELS = (*OVERDAMPED, "mala", "underdamped", "sghmc")


class StationaryLaw(NamedTuple):
    """Covariances of a kernel's stationary law.

    Attributes:
        position: that of the draws, [d, d].
        velocity: that of the velocities, [d, d]; None for a kernel without.
    """

    position: np.ndarray
    velocity: np.ndarray | None


def stationary_law(
    kernel: str,
    precision: Any,
    step_size: float,
    *,
    temperature: float = 1.0,
    gradient_covariance: Any = None,
    friction: float | None = None,
    mass: float = 1.0,
    noise_estimate: float = 0.0,
) -> StationaryLaw:
    """The law N(mean, Σ) that a kernel leaves invariant on a Gaussian target of precision P.

    "ula", "sgld": Σ = (I − εP) Σ (I − εP) + 2εT I + ε²V. In an eigenbasis of P, Σᵢⱼ = (2T δᵢⱼ + εVᵢⱼ)/(λᵢ + λⱼ − ελᵢλⱼ):
        T(P − εP²/2)⁻¹ for V = 0.
    "mala": T P⁻¹ for every ε.
    "underdamped" (BAOAB): positions T P⁻¹, velocities (T/m)(I − h²P/(4m)), for every friction.
    "sghmc": the fixed point of S = A S Aᵀ + Q for (x, v), solved in pairs of eigendirections of P.

    A linear map of a Gaussian plus Gaussian noise is Gaussian; gradient noise that is not Gaussian leaves the covariance
    as it is. The noise of the gradient is supposed not to depend on x: so for minibatches of Σ(x − yᵢ)²/2.

    Args:
        kernel: "ula", "sgld", "mala", "underdamped" or "sghmc".
        precision: P, [d, d] symmetric positive definite.
        step_size: ε of "ula", "sgld" and "mala", h of the others, small enough that the kernel is stable.
        temperature: T > 0.
        gradient_covariance: V, [d, d], the covariance of the noise of the gradient ("sgld", "sghmc"); 0 by default.
        friction: γ of "sghmc".
        mass: m of "underdamped".
        noise_estimate: V̂ of "sghmc".

    Returns:
        `StationaryLaw`, in float64.

    Raises:
        ValueError: for a precision that is not symmetric positive definite, or a step too large to have a law.

    >>> print(stationary_law("ula", [[1.0, 0.0], [0.0, 2.0]], 0.5).position)     # 1/(1 − 1/4), 1/(2 − 1)
    [[1.33333333 0.        ]
     [0.         1.        ]]

    Cost: O(d³), for SGHMC d² systems of four equations.

    References:
        Mandt, Hoffman, Blei (2017), Stochastic gradient descent as approximate Bayesian inference.
        Leimkuhler, Matthews (2013), Rational construction of stochastic numerical methods for molecular sampling.
    """
    check.one_of("kernel", kernel, KERNELS)
    P = np.asarray(check.array("precision", precision, ndim=2), np.float64)
    if P.shape[0] != P.shape[1] or not np.allclose(P, P.T):
        raise ValueError(f"precision must be a symmetric matrix, got shape {P.shape}")
    eigenvalues, basis = np.linalg.eigh(P)
    if eigenvalues[0] <= 0:
        raise ValueError(f"precision must be positive definite, got the eigenvalue {eigenvalues[0]:g}")
    step_size = check.real("step_size", step_size, above=0.0)
    T = check.real("temperature", temperature, above=0.0)
    V = np.zeros_like(P) if gradient_covariance is None else gradient_covariance
    V = np.asarray(check.array("gradient_covariance", V, ndim=2), np.float64)
    if V.shape != P.shape:
        raise ValueError(f"gradient_covariance must be like precision, {P.shape}, got shape {V.shape}")
    if gradient_covariance is not None and kernel not in ("sgld", "sghmc"):
        raise ValueError(f"gradient_covariance must be None for {kernel!r}, which has exact gradients")
    rotated = lambda diagonal: (basis * diagonal) @ basis.T
    if kernel == "mala":
        return StationaryLaw(rotated(T / eigenvalues), None)
    V = basis.T @ V @ basis
    if kernel in OVERDAMPED:
        _stable(step_size, 2 / eigenvalues[-1])
        return StationaryLaw(basis @ _overdamped(eigenvalues, V, step_size, T) @ basis.T, None)
    if kernel == "underdamped":
        m = check.real("mass", mass, above=0.0)
        _stable(step_size, 2 * np.sqrt(m / eigenvalues[-1]))
        return StationaryLaw(rotated(T / eigenvalues), rotated(T / m * (1 - step_size**2 * eigenvalues / (4 * m))))
    a = step_size * check.real("friction", friction, above=0.0, below=2 / step_size)
    _stable(step_size, np.sqrt((4 - 2 * a) / eigenvalues[-1]))
    noise = 2 * a * T - step_size**2 * check.real("noise_estimate", noise_estimate, at_least=0.0)
    position, velocity = _sghmc(eigenvalues, max(noise, 0.0) * np.eye(len(P)) + step_size**2 * V, step_size, a)
    return StationaryLaw(basis @ position @ basis.T, basis @ velocity @ basis.T)


def _overdamped(eigenvalues: np.ndarray, V: np.ndarray, step_size: float, T: float) -> np.ndarray:
    rows, columns = eigenvalues[:, None], eigenvalues[None, :]
    return (2 * T * np.eye(len(V)) + step_size * V) / (rows + columns - step_size * rows * columns)


def _sghmc(eigenvalues: np.ndarray, noise: np.ndarray, h: float, a: float) -> tuple[np.ndarray, np.ndarray]:
    """Covariances of x and v, where v' = (1 − a)v − hλx + η and x' = x + hv', η of covariance `noise`."""
    A = np.array([[[1 - h * h * p, h * (1 - a)], [-h * p, 1 - a]] for p in eigenvalues])
    position, velocity = np.empty_like(noise), np.empty_like(noise)
    for i, j in np.ndindex(noise.shape):
        # vec(A S Bᵀ) = (A ⊗ B) vec(S), rows first.
        Q = noise[i, j] * np.array([[h * h, h], [h, 1.0]])
        S = np.linalg.solve(np.eye(4) - np.kron(A[i], A[j]), Q.ravel()).reshape(2, 2)
        position[i, j], velocity[i, j] = S[0, 0], S[1, 1]
    return position, velocity


def _stable(step_size: float, limit: float) -> None:
    if step_size >= limit:
        raise ValueError(f"step_size must be below {limit:g} for a law to exist, got {step_size:g}")
