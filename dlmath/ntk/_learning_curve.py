"""Learning curves of kernel regression from the spectrum of the kernel and the coefficients of the task."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dlmath import check

_NUM_BISECTIONS = 60  # of log κ; one Newton step then gives the remaining digits, and the derivatives


class LearningCurve(NamedTuple):
    """What kernel ridge regression on num_train random points is expected to do, with the axes of num_train first.

    Attributes:
        test_error: E (f(x) − y(x))² at a new point, noise on its label included.
        train_error: the same over the points of the training set, with their noise.
        learnabilities: Lᵢ = λᵢ/(λᵢ + κ), the share of the coefficient of eigenfunction i that is learned.
        kappa: κ ≥ 0, the effective regularisation: modes with λᵢ > κ are learned.
        overfitting: E₀ = n/(n − Σ Lᵢ²), by which the error exceeds that of n → ∞ at the same κ; infinite where the
            regression interpolates with exactly as many modes as points.
    """

    test_error: Float[Array, "*num_train"]
    train_error: Float[Array, "*num_train"]
    learnabilities: Float[Array, "*num_train modes"]
    kappa: Float[Array, "*num_train"]
    overfitting: Float[Array, "*num_train"]


def learning_curve(
    eigenvalues: Any, coefficients: Any, num_train: Any, *, ridge: Any = 0.0, noise: Any = 0.0
) -> LearningCurve:
    """Errors of kernel ridge regression f = k(·, X)(K + δI)⁻¹ y, expected over training sets of n points.

    For a kernel k(x, x′) = Σ λᵢ φᵢ(x) φᵢ(x′) with orthonormal φᵢ, a target Σ vᵢ φᵢ and labels with noise of variance
    σ², κ solves Σ λᵢ/(λᵢ + κ) + δ/κ = n, and with Lᵢ = λᵢ/(λᵢ + κ)

        E₀ = n/(n − Σ Lᵢ²),   test = E₀ (Σ (1 − Lᵢ)² vᵢ² + σ²),   train = (δ/(nκ))² test.

    Exact for n → ∞ and φᵢ that behave like independent Gaussian variables, and close for most others. At ridge 0,
    Σ Lᵢ = n as long as there are more modes than points; with fewer, κ = 0 and the regression is an ordinary one.

    Args:
        eigenvalues: λᵢ ≥ 0 [modes], not all 0; of a Gram matrix, those of K/n at the n of the matrix (`spectrum`).
        coefficients: vᵢ [modes], or [modes, outputs], over which the errors are summed.
        num_train: n > 0, a number or an array of them.
        ridge: δ ≥ 0, in the units of K; `linalg.kernel_ridge` has the penalty δ/n.
        noise: σ² ≥ 0, the variance of the noise, summed over outputs.

    Returns:
        A LearningCurve; differentiable in everything but num_train at ridge 0 with as many modes as points.

    Raises:
        ValueError, TypeError: an argument out of its range, named in the message.

    Cost: 60 sums over the modes for each n.

    References:
        Simon, Dickens, Karkada, DeWeese (2023), The eigenlearning framework, 2110.03922, section 4; Canatar, Bordelon,
        Pehlevan (2021), Spectral bias and task-model alignment, 2006.13198.

    >>> curve = learning_curve(jnp.ones(10), jnp.ones(10), 5)         # ten equal modes: half of each is learned
    >>> print(curve.learnabilities[0], curve.kappa)
    0.5 1.0
    """
    lam = check.array("eigenvalues", eigenvalues, ndim=1)
    v = check.array("coefficients", coefficients, ndim=(1, 2))
    check.same_length("eigenvalues", lam, "coefficients", v)
    n = check.array("num_train", num_train)
    if not check.is_traced(lam) and (np.min(lam) < 0 or np.max(lam) <= 0):
        raise ValueError(
            f"eigenvalues must be non-negative and not all zero, got them from {float(np.min(lam)):.3g} to "
            f"{float(np.max(lam)):.3g}; rounding makes small ones negative, which float64 or clipping at 0 mends"
        )
    if not check.is_traced(n) and np.min(n) <= 0:
        raise ValueError(f"num_train must be positive, got {float(np.min(n)):g}")
    ridge, noise = check.real("ridge", ridge, at_least=0), check.real("noise", noise, at_least=0)
    lam, v = jnp.asarray(lam), jnp.asarray(v)
    dtype = jnp.result_type(float, *(a.dtype for a in (lam, v) if jnp.issubdtype(a.dtype, jnp.floating)))
    lam, v, n, ridge, noise = (jnp.asarray(a, dtype) for a in (lam, v, n, ridge, noise))
    power = (v**2).reshape(len(lam), -1).sum(1)
    return _learning_curve(lam, power, n, ridge, noise)


@jax.jit
def _learning_curve(lam: Any, power: Any, n: Any, ridge: Any, noise: Any) -> LearningCurve:
    kappa = _kappa(lam, n, ridge)
    # A mode of eigenvalue 0 is never learned, one of a positive eigenvalue fully at κ = 0.
    learned = jnp.where(lam > 0, lam / jnp.where(lam > 0, lam + kappa[..., None], 1), 0)
    surplus = n - (learned**2).sum(-1)
    overfitting = jnp.where(surplus > 0, n / jnp.where(surplus > 0, surplus, 1), jnp.inf)
    bias = ((1 - learned) ** 2 * power).sum(-1)
    test = overfitting * (bias + noise)
    # δ/(nκ) = 1 − Σ Lᵢ/n, which is also right at δ = κ = 0.
    train = jnp.where(surplus > 0, (1 - learned.sum(-1) / n) ** 2 * jnp.where(surplus > 0, test, 0), 0)
    return LearningCurve(test, train, learned, kappa, overfitting)


def _kappa(lam: Any, n: Any, ridge: Any) -> Any:
    # The excess Σ λᵢ/(λᵢ + κ) + δ/κ − n falls with κ, is at most (Σλᵢ + δ)/κ − n, and at least δ/κ − n and
    # M λ_min/(λ_min + κ) − n for the M positive eigenvalues: bounds of the root.
    positive = lam > 0
    num_modes = positive.sum()
    smallest = jnp.min(jnp.where(positive, lam, jnp.inf))
    low = jnp.maximum(ridge / n, smallest * (num_modes / n - 1))
    interpolates = low > 0
    low = jnp.where(interpolates, low, 1)
    high = jnp.maximum((lam.sum() + ridge) / n, low)

    def excess(kappa: Any) -> Any:
        return (lam / (lam + kappa[..., None])).sum(-1) + ridge / kappa - n

    def halve(_: Any, bounds: Any) -> Any:
        middle = (bounds[0] + bounds[1]) / 2
        right = excess(jnp.exp(middle)) > 0
        return jnp.where(right, middle, bounds[0]), jnp.where(right, bounds[1], middle)

    bounds = jax.lax.stop_gradient((jnp.log(low), jnp.log(high)))
    bounds = jax.lax.stop_gradient(jax.lax.fori_loop(0, _NUM_BISECTIONS, halve, bounds))
    root = jnp.exp((bounds[0] + bounds[1]) / 2)
    slope = (lam / (lam + root[..., None]) ** 2).sum(-1) + ridge / root**2
    root = root + excess(root) / jax.lax.stop_gradient(slope)
    return jnp.where(interpolates, root, 0)
