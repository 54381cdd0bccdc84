"""Bayesian logistic regression."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jaxtyping import ScalarLike

from dlmath import check
from dlmath.mcmc.targets._target import Target

HIGHEST = jax.lax.Precision.HIGHEST
NUM_NEWTON_STEPS = 50


def logistic_regression(x: Any, y: Any, prior_scale: ScalarLike = 1.0) -> Target:
    """The posterior of β in P(y = 1 | x) = 1/(1 + e^{−x·β}) with the prior β ~ N(0, s² I).

    The log density is that of the joint law of β and y, log-concave: Σ_i log σ((2y_i − 1) x_i·β) + log N(β; 0, s² I).
    There is no intercept: add a column of ones for it. Moments have no closed form; `mcmc.importance` with a Gaussian at
    `initial` gives them with error bars while d is small.

    Args:
        x: inputs, [n, d].
        y: labels 0 or 1, [n].
        prior_scale: s, positive.

    Returns:
        A `Target` with a numpyro model (site beta), without moments or draws. It starts at the mode.

    Raises:
        ValueError: for labels other than 0 and 1, other lengths, or a scale that is not positive.

    >>> target = logistic_regression([[1.0], [1.0], [-1.0]], [1, 0, 0])
    >>> print(f"{target.log_density(jnp.zeros(1)):.4f} {jnp.abs(target.score(target.initial))[0]:.1f}")  # -3 log 2 - ...
    -2.9984 0.0

    Cost: O(n d) a density or score; 50 steps of Newton's method once, O(n d²) each.
    """
    x = check.array("x", x, ndim=2)
    y = check.array("y", y, ndim=1)
    check.same_length("x", x, "y", y)
    prior_scale = check.real("prior_scale", prior_scale, above=0.0)
    if not check.is_traced(y):
        others = sorted({*np.unique(np.asarray(y)).tolist()} - {0, 1})
        if others:
            raise ValueError(
                f"y must hold labels 0 or 1, got {others[0]:g}; (y + 1) / 2 turns labels -1 and 1 into them"
            )
    x, y = jnp.asarray(x, jnp.result_type(float)), jnp.asarray(y, jnp.result_type(float))
    num_dimensions = x.shape[1]

    def log_density(beta: Any) -> Any:
        logits = jnp.dot(x, beta, precision=HIGHEST)
        prior = -0.5 * jnp.sum((beta / prior_scale) ** 2 + jnp.log(2 * jnp.pi * prior_scale**2))
        return jnp.sum(jax.nn.log_sigmoid((2 * y - 1) * logits)) + prior

    def score(beta: Any) -> Any:
        logits = jnp.dot(x, beta, precision=HIGHEST)
        return jnp.dot(y - jax.nn.sigmoid(logits), x, precision=HIGHEST) - beta / prior_scale**2

    def model() -> None:
        beta = numpyro.sample("beta", dist.Normal(0.0, prior_scale).expand([num_dimensions]).to_event(1))
        logits = jnp.dot(x, beta, precision=HIGHEST)
        numpyro.sample("y", dist.Bernoulli(logits=logits).to_event(1), obs=y)

    return Target(
        log_density=log_density,
        score=score,
        initial=_mode(x, score, prior_scale),
        model=model,
        source="none: no closed form",
    )


def _mode(x: Any, score: Any, prior_scale: Any) -> Any:
    """Newton's method, with a step halved as often as makes |gradient| smaller."""

    def step(_: Any, beta: Any) -> Any:
        variance = jax.nn.sigmoid(x @ beta) * jax.nn.sigmoid(-(x @ beta))
        precision = jnp.dot(x.T * variance, x, precision=HIGHEST) + jnp.eye(x.shape[1]) / prior_scale**2
        direction = jnp.linalg.solve(precision, score(beta))
        candidates = beta + 0.5 ** jnp.arange(8.0)[:, None] * direction
        norms = jnp.linalg.norm(jax.vmap(score)(candidates), axis=1)
        best = jnp.argmin(norms)
        return jnp.where(norms[best] < jnp.linalg.norm(score(beta)), candidates[best], beta)

    return jax.lax.fori_loop(0, NUM_NEWTON_STEPS, step, jnp.zeros(x.shape[1], x.dtype))
