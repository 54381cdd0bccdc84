"""Eight schools: a hierarchical posterior whose moments are one-dimensional integrals."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

from dlmath.mcmc.targets._target import Target, exact
from dlmath.typing import Estimate

EFFECTS = np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
ERRORS = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])

EIGHT_SCHOOLS_GOLD = Estimate(
    np.array(
        [
            6.15050229334425, 4.9395811407422, 3.90590609001582, 4.79601675138494, 3.6144363246799,
            4.0511475789675, 6.31716975886893, 4.88399694353288, 4.41051833695493, 3.60205952364059,
        ]
    ),
    np.array(
        [
            0.0557375282295219, 0.0462293788624847, 0.0542313705632124, 0.0474935816762281, 0.0461450610244603,
            0.0485195392528031, 0.0498766794075794, 0.0542511606560972, 0.0330374705950917, 0.0318615135640706,
        ]
    ),
)  # fmt: skip
"""posteriordb's reference means of θ₁, ..., θ₈, μ, τ, with their Monte Carlo errors (10,000 draws by Stan).

From stan-dev/posteriordb, `summary_statistics/mean/mean/eight_schools-eight_schools_noncentered.json`.
"""

EIGHT_SCHOOLS_GOLD_SQUARES = Estimate(
    np.array([69.36345, 45.9787, 43.13923, 45.76135, 34.35767, 39.4135, 64.93269, 52.12845, 30.40302, 23.20407]),
    np.array(
        [1.1692102, 0.6346494, 0.6539418, 0.6193689, 0.4550489, 0.5390213, 0.9216132, 0.9024748, 0.3351356, 0.4848872]
    ),
)
"""posteriordb's reference means of the squares of θ₁, ..., θ₈, μ, τ, with their Monte Carlo errors.

From stan-dev/posteriordb, `summary_statistics/mean_squared_value`, the file of the centred form: the same posterior.
"""


def eight_schools() -> Target:
    """The posterior of the eight schools, non-centred, with posteriordb's priors.

    y_j ~ N(θ_j, σ_j²), θ_j = μ + τ z_j, z_j ~ N(0, 1), μ ~ N(0, 5²), τ ~ HalfCauchy(5). The position is
    (z₁, ..., z₈, μ, log τ), [10]; the log density is that of the joint law of position and data, so that its normaliser is
    the evidence. `quantities` gives (θ₁, ..., θ₈, μ, τ).

    The moments are exact. Given τ, all else is Gaussian; what is left is an integral over log τ, done by the trapezoidal
    rule, whose error is that of rounding. posteriordb's means, with their errors, are `EIGHT_SCHOOLS_GOLD`.

    Returns:
        A `Target` with a numpyro model of sites z, mu, tau and theta (deterministic), without independent draws.

    >>> mu, tau = eight_schools().mean.value[8:]
    >>> print(f"{mu:.1f} {tau:.1f}")
    4.4 3.6

    Cost: nothing to speak of.

    References:
        Rubin (1981), Estimation in parallel randomized experiments (the data).
        Magnusson et al. (2025), posteriordb: testing, benchmarking and developing Bayesian inference algorithms.
    """
    mean, covariance, log_evidence = _moments()
    return Target(
        log_density=_log_density,
        score=jax.grad(_log_density),
        initial=jnp.zeros(10),
        mean=exact(jnp.asarray(mean)),
        covariance=exact(jnp.asarray(covariance)),
        log_normalizer=jnp.asarray(log_evidence),
        quantities=_quantities,
        model=_model,
        source="quadrature over log τ",
    )


def _quantities(x: Any) -> Any:
    tau = jnp.exp(x[9])
    return jnp.concatenate([x[8] + tau * x[:8], x[8:9], tau[None]])


def _log_density(x: Any) -> Any:
    log_tau = x[9]
    residual = (jnp.asarray(EFFECTS, x.dtype) - _quantities(x)[:8]) / jnp.asarray(ERRORS, x.dtype)
    normals = jnp.sum(x[:8] ** 2) + jnp.sum(residual**2) + (x[8] / 5) ** 2
    constant = np.sum(np.log(ERRORS)) + np.log(5) + 0.5 * 17 * np.log(2 * np.pi)
    # log 2/(5π) − log(1 + (τ/5)²), and log τ for the change of variables
    log_prior_tau = np.log(2 / (5 * np.pi)) - jnp.logaddexp(0.0, 2 * (log_tau - np.log(5)))
    return -0.5 * normals - constant + log_prior_tau + log_tau


def _model() -> None:
    z = numpyro.sample("z", dist.Normal(0.0, 1.0).expand([8]).to_event(1))
    mu = numpyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = numpyro.sample("tau", dist.HalfCauchy(5.0))
    theta = numpyro.deterministic("theta", mu + tau * z)
    numpyro.sample("y", dist.Normal(theta, jnp.asarray(ERRORS)).to_event(1), obs=jnp.asarray(EFFECTS))


def _moments() -> tuple[np.ndarray, np.ndarray, float]:
    """Mean [10] and covariance [10, 10] of (θ, μ, τ), and the log evidence, in float64."""
    log_tau = np.linspace(-30.0, 15.0, 6001)
    tau = np.exp(log_tau)[:, None]
    total = ERRORS**2 + tau**2  # Var(y_j | μ, τ), [grid, 8]
    precision = 1 / 25 + np.sum(1 / total, axis=1)
    centre = np.sum(EFFECTS / total, axis=1) / precision  # E(μ | τ, y)
    log_marginal = -0.5 * (
        np.sum(np.log(2 * np.pi * total) + EFFECTS**2 / total, axis=1) + np.log(25 * precision) - precision * centre**2
    )
    log_prior = np.log(2 / (5 * np.pi)) - np.log1p((tau[:, 0] / 5) ** 2) + log_tau
    log_terms = log_marginal + log_prior + np.log(log_tau[1] - log_tau[0])
    log_evidence = np.logaddexp.reduce(log_terms)
    weights = np.exp(log_terms - log_evidence)
    # θ_j | μ, τ, y has mean intercept + slope μ and variance τ²σ²/(τ² + σ²).
    slope = ERRORS**2 / total
    given = np.hstack([EFFECTS * tau**2 / total + slope * centre[:, None], centre[:, None], tau])
    direction = np.hstack([slope, np.ones_like(tau), np.zeros_like(tau)])
    diagonal = np.hstack([tau**2 * slope, np.zeros_like(tau), np.zeros_like(tau)])
    mean = weights @ given
    within = (direction * (weights / precision)[:, None]).T @ direction + np.diag(weights @ diagonal)
    between = ((given - mean) * weights[:, None]).T @ (given - mean)
    return mean, within + between, float(log_evidence)
