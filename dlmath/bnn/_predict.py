"""What a posterior predicts: its draws averaged, and their variance split."""

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dlmath import check
from dlmath.bnn._posterior import Posterior
from dlmath.bnn._samples import Samples, flat_draws


class Predictive(NamedTuple):
    """The predictive law of targets at n inputs.

    Attributes:
        mean: E[y], like the outputs: [n] or [n, o]; class probabilities under a categorical likelihood.
        epistemic: variance of E[y | θ] over the posterior, what more data would remove.
        aleatoric: mean of Var[y | θ], the noise; of one-hot entries under a categorical likelihood.
        log_density: log p(yᵢ | xᵢ, data), [n]; None without y.
        draws: E[y | θ] of every draw, [chain, draw, n, *o]; None where there are none.
    """

    mean: Any
    epistemic: Any
    aleatoric: Any
    log_density: Any = None
    draws: Any = None

    @property
    def variance(self) -> Any:
        """Var[y] = epistemic + aleatoric."""
        return self.epistemic + self.aleatoric


def predict(
    posterior: Posterior, samples: Samples, x: Any, y: Any = None, *, batch_size: int | None = None
) -> Predictive:
    """The predictive law p(y | x, data) = ∫ p(y | f_θ(x)) p(θ | data) dθ, an average over draws of θ.

    Args:
        posterior: whose network and likelihood.
        samples: draws of θ, from any inference.
        x: n inputs.
        y: targets at which the density is wanted, or None. The density of the mixture, log (1/S) Σ_s p(yᵢ | xᵢ, θ_s), point
            by point; not the mean of the log densities.
        batch_size: draws pushed through the network at a time, default 16.

    Raises:
        TypeError: for arguments of other types.
        ValueError: for targets that are out of range or of another shape, or a tree that `apply` does not take.

    >>> from dlmath.bnn import Samples, likelihoods, posterior, priors
    >>> p = posterior(lambda w, x: w * x, priors.normal(1.0), likelihoods.gaussian(2.0), (jnp.ones(1), jnp.ones(1)))
    >>> found = predict(p, Samples(jnp.array([[0.0, 2.0]]), jnp.zeros((1, 2)), {}), jnp.ones(1))
    >>> [float(v[0]) for v in (found.mean, found.epistemic, found.aleatoric)]
    [1.0, 1.0, 4.0]

    Cost: a forward pass a draw; memory chain · draw · n · o.
    """
    if not isinstance(posterior, Posterior):
        raise TypeError(f"posterior must be made by bnn.posterior, got {type(posterior).__name__}")
    if not isinstance(samples, Samples):
        raise TypeError(f"samples must be Samples, from an inference of bnn, got {type(samples).__name__}")
    x, y = checked_points(posterior, jax.tree.map(lambda leaf: leaf[0, 0], samples.params), x, y)
    batch = 16 if batch_size is None else check.positive_int("batch_size", batch_size)
    return _predict(posterior, samples, x, y, batch_size=min(batch, samples.log_joint.size))


def checked_points(posterior: Posterior, params: Any, x: Any, y: Any) -> tuple[Any, Any]:
    """Inputs and targets as arrays; ValueError unless `apply` takes them."""
    x = jax.tree.map(jnp.asarray, check.array("x", x) if not isinstance(x, dict | tuple) else x)
    try:
        outputs = jax.eval_shape(posterior.outputs, params, x)
    except Exception as error:
        raise ValueError(f"samples and x must be what apply takes, got x of shape {jnp.shape(x)}: {error}") from error
    if y is not None:
        y = posterior.likelihood.check_targets(y)
        posterior.likelihood.check_outputs(outputs, y)
    return x, y


@partial(jax.jit, static_argnames="batch_size")
def _predict(posterior: Posterior, samples: Samples, x: Any, y: Any, *, batch_size: int) -> Predictive:
    likelihood = posterior.likelihood

    def one(params: Any) -> Any:
        outputs, log_noise = posterior.outputs(params, x), posterior.log_noise(params)
        density = None if y is None else likelihood.log_density(outputs, y, log_noise)
        return likelihood.mean(outputs), likelihood.variance(outputs, log_noise), density

    means, variances, densities = jax.lax.map(one, flat_draws(samples), batch_size=batch_size)
    return mixture(means, variances, densities)._replace(
        draws=means.reshape(*samples.log_joint.shape, *means.shape[1:])
    )


def mixture(means: Any, variances: Any, log_densities: Any = None) -> Predictive:
    """The predictive of an equal mixture, components along the leading axis."""
    if log_densities is not None:
        log_densities = jax.nn.logsumexp(log_densities, axis=0) - jnp.log(len(means))
    return Predictive(means.mean(0), means.var(0), variances.mean(0), log_densities)


def gaussian_predictive(mean: Any, spread: Any, noise_std: Any, y: Any) -> Predictive:
    """The predictive N(mean, spread + σ²), outputs independent."""
    noise = jnp.full_like(mean, jnp.square(noise_std))
    density = None
    if y is not None:
        y = jnp.asarray(check.array("y", y), mean.dtype)
        if y.shape != mean.shape:
            raise ValueError(f"y must have the shape of the predictions, {mean.shape}, got {y.shape}")
        variance = spread + noise
        terms = -0.5 * ((y - mean) ** 2 / variance + jnp.log(2 * math.pi * variance))
        density = terms.sum(tuple(range(1, terms.ndim)))
    return Predictive(mean, spread, noise, density)
