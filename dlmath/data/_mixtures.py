"""Mixtures of isotropic Gaussians, with their exact density."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dlmath import check
from dlmath.data._sample import Sample, check_draw
from dlmath.typing import Key


class GaussianMixture(NamedTuple):
    """The mixture Σ_k w_k N(μ_k, s_k² I).

    Attributes:
        means: μ, [k, d].
        std: s, one number or [k].
        weights: w, [k], proportional to the probabilities; None means equal.
    """

    means: Any
    std: Any = 1.0
    weights: Any = None


MIXTURE_1D = GaussianMixture(means=((-1.0,), (0.2,), (1.5,)), std=0.25, weights=(1.0, 1.0, 2.0))
"""The one-dimensional example of Seoul National University's course on normalizing flows: three bumps, weights 1:1:2.

Its entropy is 1.05195 nats, the least negative log-likelihood that a density model can reach."""


def gaussian_mixture(key: Key, num_samples: int, means: Any, std: Any = 1.0, weights: Any = None) -> Sample:
    """Independent draws from Σ_k w_k N(μ_k, s_k² I), labelled by component.

    Args:
        key: typed key.
        num_samples: n.
        means: μ of shape [k, d].
        std: s, non-negative: one number, or one per component.
        weights: w of shape [k], non-negative, normalised here; None means equal.

    Returns:
        Sample with x of shape [n, d] and int32 components y; `gaussian_mixture(key, n, *MIXTURE_1D)`.

    >>> gaussian_mixture(jax.random.key(0), 100, *MIXTURE_1D).x.shape
    (100, 1)
    """
    key, num_samples = check_draw(key, num_samples)
    means, std, log_weights = _parameters(means, std, weights)
    key_component, key_noise = jax.random.split(key)
    component = jax.random.categorical(key_component, log_weights, shape=(num_samples,)).astype(jnp.int32)
    noise = jax.random.normal(key_noise, (num_samples, means.shape[1]), means.dtype)
    return Sample(means[component] + std[component, None] * noise, component)


def gaussian_mixture_log_density(
    x: Float[Array | np.ndarray, "n d"], means: Any, std: Any = 1.0, weights: Any = None
) -> Float[Array, " n"]:
    """The log density log Σ_k w_k N(x; μ_k, s_k² I), in nats.

    Args:
        x: points, [n, d].
        means: μ of shape [k, d].
        std: s, positive: one number, or one per component.
        weights: w of shape [k], non-negative, normalised here; None means equal.

    Returns:
        [n]. Time O(n k d), by log-sum-exp.

    >>> round(float(gaussian_mixture_log_density(jnp.zeros((1, 2)), means=[[0.0, 0.0]])[0]), 5)  # -log 2π
    -1.83788
    """
    x = check.array("x", x, ndim=2)
    means, std, log_weights = _parameters(means, std, weights)
    if x.shape[1] != means.shape[1]:
        raise ValueError(f"x must have as many columns as means, got shapes {x.shape} and {means.shape}")
    x = jnp.asarray(x, means.dtype)
    squared = jnp.sum(((x[:, None, :] - means[None, :, :]) / std[None, :, None]) ** 2, axis=-1)
    normalizer = means.shape[1] * (jnp.log(std) + 0.5 * jnp.log(2 * jnp.pi))
    return jax.nn.logsumexp((log_weights - normalizer)[None, :] - 0.5 * squared, axis=-1)


def _parameters(means: Any, std: Any, weights: Any) -> tuple[Array, Array, Array]:
    """Means [k, d], standard deviations [k], log probabilities [k]."""
    means = jnp.asarray(check.array("means", means, ndim=2), jnp.result_type(float))
    num_components = means.shape[0]
    std = check.array("std", std, ndim=(0, 1))
    if std.ndim == 1 and std.shape != (num_components,):
        raise ValueError(f"std must be one number or one per component ({num_components}), got shape {std.shape}")
    if not check.is_traced(std) and not np.all(np.asarray(std) >= 0):
        raise ValueError(f"std must be non-negative, got {std}")
    weights = np.ones(num_components) if weights is None else check.array("weights", weights, ndim=1)
    if weights.shape != (num_components,):
        raise ValueError(f"weights must be one per component ({num_components}), got shape {weights.shape}")
    if not check.is_traced(weights):
        concrete = np.asarray(weights)
        if not (np.all(concrete >= 0) and concrete.sum() > 0):
            raise ValueError(f"weights must be non-negative and not all zero, got {weights}")
    weights = jnp.asarray(weights, means.dtype)
    std = jnp.broadcast_to(jnp.asarray(std, means.dtype), (num_components,))
    return means, std, jnp.log(weights / jnp.sum(weights))
