"""The multivariate Gaussian."""

from typing import Any

import jax.numpy as jnp

from dlmath import check
from dlmath.mcmc.targets._mixture import mixture
from dlmath.mcmc.targets._target import Target


def gaussian(mean: Any, covariance: Any = 1.0) -> Target:
    """The Gaussian N(μ, Σ), normalised.

    log density −½ (x − μ)ᵀ Σ⁻¹ (x − μ) − ½ log det 2πΣ, score −Σ⁻¹ (x − μ). Diffused: N(aμ, a²Σ + s²I).

    Args:
        mean: μ, [d].
        covariance: Σ, symmetric positive definite [d, d], its diagonal [d], or one number for a multiple of I.

    Returns:
        A `Target` with exact moments, draws and diffused scores.

    Raises:
        ValueError: for shapes that do not fit, or a covariance that is not positive definite.

    >>> target = gaussian([0.0, 0.0], [1.0, 4.0])
    >>> print(f"{target.log_density(jnp.zeros(2)):.5f}", target.score(jnp.array([1.0, 4.0])))  # -log 4π
    -2.53102 [-1. -1.]

    Cost: O(d³) once; O(d²) a density or score.
    """
    mean = check.array("mean", mean, ndim=1)
    num_dimensions = mean.shape[0]
    covariance = check.array("covariance", covariance, ndim=(0, 1, 2))
    if covariance.shape not in ((), (num_dimensions,), (num_dimensions, num_dimensions)):
        raise ValueError(
            f"covariance must be one number, [{num_dimensions}] or [{num_dimensions}, {num_dimensions}] for a mean of"
            f" {num_dimensions} entries, got shape {tuple(covariance.shape)}"
        )
    if covariance.ndim < 2:
        covariance = jnp.diag(jnp.broadcast_to(jnp.asarray(covariance, jnp.result_type(float)), (num_dimensions,)))
    return mixture(mean[None], covariance[None])
