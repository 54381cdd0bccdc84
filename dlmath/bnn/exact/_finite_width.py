"""The exact posterior of a one-hidden-layer network of finite width, by importance sampling."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_solve, solve_triangular
from jaxtyping import Array, Float

from dlmath import check
from dlmath.linalg._arrays import product, regression_data
from dlmath.models import activations
from dlmath.typing import Estimate, Key


class FiniteWidth(NamedTuple):
    """Moments of the posterior of a network of finite width at new inputs, with their errors.

    Attributes:
        mean: E[f(x) | data], Estimate of [m] or [m, o].
        variance: Var[f(x) | data] of the function, noise not included, like the mean.
        log_evidence: log p(y | x), Estimate of a scalar (delta method).
        ess: (Σw)²/Σw², the effective number of draws of the first layer: the errors mean something only if it is large.
    """

    mean: Estimate
    variance: Any
    log_evidence: Estimate
    ess: Float[Array, ""]


def finite_width(
    key: Key,
    data: Any,
    x: Any,
    *,
    width: int,
    noise_std: Any,
    weight_std: Any = 2**0.5,
    bias_std: Any = 0.0,
    activation: str | Any = "relu",
    num_samples: int = 10_000,
    batch_size: int = 100,
) -> FiniteWidth:
    """The posterior of f(x) = σ_w/√H Σ_h v_h φ(σ_w/√d w_h·x + σ_b b_h) + σ_b c with standard normal w, b, v, c.

    The first layer is drawn from the prior; given it, f is a Gaussian process of covariance K = σ_w²/H ΦΦᵀ + σ_b², so that the
    last layer is integrated exactly, and the draw weighs p(y | K) = N(y; 0, K + σ²I). As H → ∞ all draws have the same K,
    that of the NNGP. No Markov chain; the price is an effective number of draws that falls with the number of data.

    The prior is that of `models.mlp([H], o, parameterization="ntk", weight_std=..., bias_std=...)` with
    `priors.normal("ntk")`, and the limit its `kernel(get="nngp")`.

    Args:
        key: typed key.
        data: (x[n, d], y[n] or [n, o]).
        x: new inputs [m, d].
        width: H.
        noise_std: σ > 0.
        weight_std: σ_w > 0.
        bias_std: σ_b ≥ 0.
        activation: φ, a name of `models.activations` or a function.
        num_samples: draws of the first layer.
        batch_size: draws at a time, a matter of memory.

    Returns:
        FiniteWidth, standard errors those of self-normalised importance sampling.

    Raises:
        ValueError: for data that do not fit each other, or values out of range.

    Cost: num_samples × (H (n + m)(d + n) + n³).

    References: Neal (1996), Bayesian learning for neural networks, chapter 2; Owen (2013), Monte Carlo theory, section 9.2.
    """
    check.key("key", key)
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise TypeError(f"data must be a pair (x, y), got {type(data).__name__}")
    train, targets = regression_data(*data, ndim=2)
    new = jnp.asarray(check.array("x", x, ndim=2), train.dtype)
    if new.shape[1] != train.shape[1]:
        raise ValueError(f"x must have {train.shape[1]} features as the data, got {new.shape[1]}")
    scales = (
        check.real("weight_std", weight_std, above=0.0),
        check.real("bias_std", bias_std, at_least=0.0),
        check.real("noise_std", noise_std, above=0.0),
    )
    sizes = (check.positive_int("width", width), check.integer("num_samples", num_samples, at_least=2))
    batch_size = min(check.positive_int("batch_size", batch_size), sizes[1])
    phi = activations.get(activation)
    found = _finite_width(key, train, targets, new, scales, phi=phi, sizes=sizes, batch_size=batch_size)
    return (
        found
        if targets.ndim == 2
        else found._replace(mean=Estimate(*(value[:, 0] for value in found.mean)), variance=found.variance[:, 0])
    )


@partial(jax.jit, static_argnames=("phi", "sizes", "batch_size"))
def _finite_width(
    key: Any, x: Any, y: Any, new: Any, scales: Any, *, phi: Any, sizes: tuple[int, int], batch_size: int
) -> FiniteWidth:
    (weight_std, bias_std, noise_std), (width, num_samples) = scales, sizes
    y = y.reshape(len(y), -1)
    n, d = x.shape
    both = jnp.concatenate([x, new])

    def draw(key: Any) -> Any:
        one, two = jax.random.split(key)
        weights = jax.random.normal(one, (d, width), x.dtype)
        biases = jax.random.normal(two, (width,), x.dtype)
        features = phi(weight_std / d**0.5 * product(both, weights) + bias_std * biases)
        left, right = features[:n], features[n:]
        gram = lambda a, b: weight_std**2 / width * product(a, b.T) + bias_std**2
        factor = jnp.linalg.cholesky(gram(left, left) + noise_std**2 * jnp.eye(n, dtype=x.dtype))
        crossed = gram(left, right)
        alpha = cho_solve((factor, True), y)
        half = solve_triangular(factor, crossed, lower=True)
        prior = weight_std**2 / width * jnp.sum(right**2, 1) + bias_std**2
        log_det = 2 * jnp.log(jnp.diagonal(factor)).sum()
        density = -0.5 * (jnp.sum(y * alpha) + y.shape[1] * (log_det + n * jnp.log(2 * jnp.pi)))
        return density, product(crossed.T, alpha), prior - jnp.sum(half**2, 0)

    densities, means, variances = jax.lax.map(draw, jax.random.split(key, num_samples), batch_size=batch_size)
    weights = jax.nn.softmax(densities)
    ess = 1 / jnp.sum(weights**2)
    mean = jnp.einsum("s,smo->mo", weights, means, precision=jax.lax.Precision.HIGHEST)
    gaps = means - mean
    error = jnp.sqrt(jnp.einsum("s,smo->mo", weights**2, gaps**2))
    spread = jnp.einsum("s,smo->mo", weights, gaps**2) + (weights @ variances)[:, None]
    evidence = jax.nn.logsumexp(densities) - jnp.log(num_samples)
    relative = jnp.sqrt(jnp.maximum(1 / ess - 1 / num_samples, 0))
    return FiniteWidth(Estimate(mean, error), spread, Estimate(evidence, relative), ess)
