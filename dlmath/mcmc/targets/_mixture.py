"""Mixtures of Gaussians, and their scores at every level of noise."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dlmath import check
from dlmath.mcmc.targets._target import Target, exact

HIGHEST = jax.lax.Precision.HIGHEST


def mixture(means: Any, covariances: Any = 1.0, weights: Any = None) -> Target:
    """The mixture of Gaussians Σ_k w_k N(μ_k, Σ_k), normalised, with its scores at every level of noise.

    The score is Σ_k r_k(x) Σ_k⁻¹ (μ_k − x), with r_k(x) = w_k N(x; μ_k, Σ_k) / Σ_l w_l N(x; μ_l, Σ_l). With a scale a and
    noise of standard deviation s, a X + s ε has the law Σ_k w_k N(a μ_k, a² Σ_k + s² I), so that log density and score of
    any diffusion with affine drift are exact: exploding variance a = 1, s = σ; preserving variance a² + s² = 1.

    Args:
        means: μ, [k, d].
        covariances: symmetric positive definite Σ_k [k, d, d]; variances [k] of multiples of I; or one number.
        weights: w, [k], positive, normalised here; None means equal.

    Returns:
        A `Target` with exact moments and draws. It starts at the mean of the heaviest component.

    Raises:
        ValueError: for shapes that do not fit, weights that are not positive, covariances that are not positive definite.

    >>> target = mixture([[-2.0], [2.0]])
    >>> print(target.mean.value, target.covariance.value, target.score(jnp.array([0.0])))
    [0.] [[5.]] [0.]
    >>> print(target.diffused_score(jnp.array([4.0]), 0.0, 2.0))                 # nothing but noise: -4/2²
    [-1.]

    Cost: O(k d³) once; O(k d²) a density or score.
    """
    means = check.array("means", means, ndim=2)
    covariances = _checked_covariances(covariances, *means.shape)
    weights = _checked_weights(weights, means.shape[0])
    dtype = jnp.result_type(float)
    means, weights = jnp.asarray(means, dtype), jnp.asarray(weights, dtype)
    covariances = jnp.asarray(covariances, dtype)
    weights = weights / weights.sum()
    # Σ_k = V diag(λ) Vᵀ once; then a² Σ_k + s² I = V diag(a² λ + s²) Vᵀ for every scale and noise.
    eigenvalues, vectors = jnp.linalg.eigh(covariances)
    _refuse_indefinite(eigenvalues)
    log_weights = jnp.log(weights)

    def components(x: Any, scale: Any, std: Any) -> tuple[Any, Any]:
        """The logs of w_k N(x; ...), [k], and the components' scores [k, d]."""
        variances = scale**2 * eigenvalues + std**2
        rotated = jnp.einsum("kde,kd->ke", vectors, x - scale * means, precision=HIGHEST)
        log_densities = log_weights - 0.5 * jnp.sum(rotated**2 / variances + jnp.log(2 * jnp.pi * variances), axis=-1)
        return log_densities, -jnp.einsum("kde,ke->kd", vectors, rotated / variances, precision=HIGHEST)

    def diffused_log_density(x: Any, scale: Any, std: Any) -> Any:
        return jax.nn.logsumexp(components(x, scale, std)[0])

    def diffused_score(x: Any, scale: Any, std: Any) -> Any:
        log_densities, scores = components(x, scale, std)
        return jnp.einsum("k,kd->d", jax.nn.softmax(log_densities), scores, precision=HIGHEST)

    def sample(key: Any, num_samples: int) -> Any:
        key_component, key_noise = jax.random.split(check.key("key", key))
        num_samples = check.positive_int("num_samples", num_samples)
        component = jax.random.categorical(key_component, log_weights, shape=(num_samples,))
        noise = jax.random.normal(key_noise, (num_samples, means.shape[1]), dtype)
        noise = noise * jnp.sqrt(eigenvalues)[component]
        return means[component] + jnp.einsum("nde,ne->nd", vectors[component], noise, precision=HIGHEST)

    mean = jnp.einsum("k,kd->d", weights, means, precision=HIGHEST)
    offsets = means - mean
    between = jnp.einsum("k,kd,ke->de", weights, offsets, offsets, precision=HIGHEST)
    within = jnp.einsum("k,kde->de", weights, covariances, precision=HIGHEST)
    return Target(
        log_density=lambda x: diffused_log_density(x, 1.0, 0.0),
        score=lambda x: diffused_score(x, 1.0, 0.0),
        initial=means[jnp.argmax(weights)],
        sample=sample,
        mean=exact(mean),
        covariance=exact(within + between),
        log_normalizer=jnp.zeros((), dtype),
        diffused_log_density=diffused_log_density,
        diffused_score=diffused_score,
    )


def _checked_covariances(covariances: Any, num_components: int, num_dimensions: int) -> Any:
    """[k, d, d] from one of the forms."""
    covariances = check.array("covariances", covariances, ndim=(0, 1, 3))
    k, d = num_components, num_dimensions
    if covariances.shape not in ((), (k,), (k, d, d)):
        raise ValueError(
            f"covariances must be one number, [{k}] or [{k}, {d}, {d}] for means of shape ({k}, {d}), got shape"
            f" {tuple(covariances.shape)}"
        )
    if covariances.ndim < 3:
        return jnp.broadcast_to(covariances, (k,))[:, None, None] * jnp.eye(d)
    if not check.is_traced(covariances):
        asymmetry = np.abs(np.asarray(covariances) - np.swapaxes(np.asarray(covariances), 1, 2)).max()
        if asymmetry > 1e-5 * np.abs(np.asarray(covariances)).max():
            raise ValueError(f"covariance must be symmetric, got entries that differ by {asymmetry:g} from their twins")
    return covariances


def _checked_weights(weights: Any, num_components: int) -> Any:
    weights = np.ones(num_components) if weights is None else check.array("weights", weights, ndim=1)
    if weights.shape != (num_components,):
        raise ValueError(f"weights must be one per component ({num_components}), got shape {tuple(weights.shape)}")
    if not check.is_traced(weights) and not np.all(np.asarray(weights) > 0):
        raise ValueError(f"weights must be positive, got {weights}; leave out components of weight 0")
    return weights


def _refuse_indefinite(eigenvalues: Any) -> None:
    if not check.is_traced(eigenvalues) and not np.all(np.asarray(eigenvalues) > 0):
        raise ValueError(
            f"covariance must be positive definite, got the eigenvalue {float(np.asarray(eigenvalues).min()):g}"
        )
