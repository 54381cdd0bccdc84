"""Bayesian learning via stochastic gradient Langevin dynamics (Welling & Teh 2011).

Gradient steps on minibatches, plus Gaussian noise of the variance of the steps, become draws from the posterior as the step
falls: θ' = θ + (ε_t/2) ĝ(θ) + √ε_t ξ with ε_t = a(b + t)^−γ, ĝ an estimate of ∇ log posterior. The noise of ĝ, of variance V(θ),
adds (ε_t/2)² V: more than the injected ε_t while ε_t > 4/V, stochastic optimisation, and less and less of it later, sampling. At
a constant step a bias remains. `dm.mcmc.SGLD` writes ε for ε_t/2; settings here are the paper's ε_t.
(International Conference on Machine Learning, 681-688.)
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from numpyro.infer import MCMC, NUTS
from sklearn import datasets

import dlmath as dm
from dlmath.repro import AtMost, Claim, Curve, Equal, Experiment, Slope, Study


@dataclass(frozen=True)
class Config:
    """Settings."""

    num_points: int = 100
    """Points of the mixture."""
    sweeps: tuple[int, ...] = (10, 100, 1000)
    """Sweeps through the points after which the draws are compared; the last is the length of the run."""
    first_step: float = 0.01
    """Step size ε_t at the start of a run on the mixture."""
    last_step: float = 1e-4
    """Step size at its end."""
    decay: float = 0.55
    """Exponent γ of the step size."""
    num_recorded: int = 13
    """Times, at equal ratios of the step size, at which the noise of a step is measured."""
    gaussian_steps: tuple[float, ...] = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
    """Constant step sizes ε_t on a Gaussian posterior, times its precision."""
    gaussian_batch: int = 10
    """Rows of a minibatch there, of 100."""
    num_steps: int = 20_000
    """Steps at each constant step size, after a tenth of them."""
    num_features: int = 4
    """Leading principal components of breast cancer's inputs, beside a constant."""
    logistic_batch: int = 50
    """Rows of a minibatch of logistic regression."""
    logistic_factors: tuple[float, ...] = (0.05, 0.2)
    """Constant step sizes ε_t times the largest curvature of the potential at the mode."""
    reference_draws: int = 4000
    """Draws of the No-U-Turn sampler, the reference."""
    num_seeds: int = 20
    """Independent runs."""


SCALES = {
    "smoke": Config(),
    "laptop": Config(
        sweeps=(10, 30, 100, 300, 1000, 3000, 10_000),
        gaussian_steps=(0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 3.0),
        num_steps=200_000,
        logistic_factors=(0.02, 0.05, 0.1, 0.2, 0.5),
        reference_draws=20_000,
        num_seeds=40,
    ),
    "paper": Config(
        sweeps=(10, 30, 100, 300, 1000, 3000, 10_000),
        gaussian_steps=(0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 3.0),
        num_steps=1_000_000,
        num_features=8,
        logistic_factors=(0.02, 0.05, 0.1, 0.2, 0.5),
        reference_draws=50_000,
        num_seeds=100,
    ),
}

GRID = np.linspace(-1.5, 2.5, 65), np.linspace(-3.0, 3.0, 65)
"""Edges of the cells in θ1 and θ2 on which draws of the mixture's posterior are compared."""
REFINED = 8
"""Points a cell and direction in the exact mass of a cell."""


# The paper's formulas -------------------------------------------------------------------------------------------------


def mixture_points(config):
    """x ~ ½N(θ1, 2) + ½N(θ1 + θ2, 2) at θ = (0, 1)."""
    rng = np.random.default_rng(0)
    return rng.integers(0, 2, config.num_points) + np.sqrt(2.0) * rng.normal(size=config.num_points)


def mixture_potential(num_points, theta, x):
    """−log of the prior N(0, 10) N(0, 1) and of the likelihood, from some of the points."""
    log_density = jnp.logaddexp(-((x - theta[0]) ** 2) / 4, -((x - theta[0] - theta[1]) ** 2) / 4)
    return theta[0] ** 2 / 20 + theta[1] ** 2 / 2 - num_points * jnp.mean(log_density)


def exact_masses(config):
    """Posterior mass of the cells, normalised on the grid, [θ1, θ2]."""
    x = mixture_points(config)
    first, second = (
        np.concatenate([edge + (np.arange(REFINED) + 0.5) / REFINED * (edges[1] - edges[0]) for edge in edges[:-1]])
        for edges in GRID
    )
    log = -(first[:, None] ** 2) / 20 - second[None, :] ** 2 / 2
    for point in x:
        log = log + np.logaddexp(
            -((point - first[:, None]) ** 2) / 4, -((point - first[:, None] - second[None, :]) ** 2) / 4
        )
    mass = np.exp(log - log.max()).reshape(len(GRID[0]) - 1, REFINED, len(GRID[1]) - 1, REFINED).sum((1, 3))
    return mass / mass.sum()


def schedule(first, last, decay, num_steps):
    """a and b such that a(b + t)^−γ falls from the first step to the last in that number of steps."""
    ratio = (first / last) ** (1 / decay)
    b = (num_steps - 1) / (ratio - 1)
    return first * b**decay, b


def gaussian_variance(config, step):
    """Variance of SGLD at a constant step ε on Σ(θ − x)²/2 over 100 points of variance 1, over the posterior's."""
    num = 100
    V = np.array([[num**2 / config.gaussian_batch]])
    law = lambda step: dm.mcmc.stationary_law("sgld", [[num]], step / num / 2, gradient_covariance=V).position[0, 0]
    return num * np.vectorize(law)(step)


# What is measured -----------------------------------------------------------------------------------------------------


def run(keys, kernel, data, start, *, num_warmup, num_samples, thinning):
    """Draws [seed, draw, ...], one chain a seed."""
    mcmc = MCMC(
        kernel, num_warmup=num_warmup, num_samples=num_samples, thinning=thinning, num_chains=len(keys),
        chain_method="vectorized", progress_bar=False, jit_model_args=True,
    )  # fmt: skip
    start = jnp.asarray(start)
    mcmc.run(keys, *map(jnp.asarray, data), init_params=jnp.broadcast_to(start, (len(keys), *start.shape)))
    return mcmc.get_samples(group_by_chain=True)


def measure_mixture(config, keys):
    """Distance of the draws from the exact posterior after some sweeps, and the noise of the steps on the way."""
    x = mixture_points(config)
    num_steps = config.sweeps[-1] * config.num_points
    a, b = schedule(config.first_step, config.last_step, config.decay, num_steps)
    step_at = lambda i: a * (b + i) ** -config.decay
    potential = partial(mixture_potential, config.num_points)
    kernel = dm.mcmc.SGLD(minibatch_potential=potential, batch_size=1, step_size=lambda i: step_at(i) / 2)
    thinning = 10
    draws = run(keys, kernel, (x,), np.zeros(2), num_warmup=0, num_samples=num_steps, thinning=thinning)
    taken = np.arange(thinning - 1, num_steps, thinning)
    counts = [sweeps * config.num_points // thinning for sweeps in config.sweeps]
    masses, upper = cell_masses(draws, jnp.asarray(step_at(taken)), tuple(counts))
    distance = 0.5 * abs(masses - exact_masses(config)).sum((-1, -2)) + 0.5 * (1 - masses.sum((-1, -2)))

    steps = np.geomspace(config.first_step, config.last_step, config.num_recorded)
    when = np.clip(((steps / a) ** (-1 / config.decay) - b).round().astype(int) // thinning, 0, len(taken) - 1)
    gradient, total = step_noise(keys, potential, draws[:, when], jnp.asarray(x), jnp.asarray(steps))
    return {
        "sweeps": ("sweeps", np.array(config.sweeps)),
        "step": ("step", steps),
        "distance": (("seed", "sweeps"), distance),
        "upper": (("seed", "sweeps"), upper),
        "masses": (("seed", "first", "second"), masses[:, -1]),
        "gradient": (("seed", "step"), gradient),
        "injected": (("seed", "step"), total - gradient),
    }


@partial(jax.jit, static_argnames="counts")
def cell_masses(draws, weights, counts):
    """Weighted masses of the grid's cells and of θ2 > 0 among the first draws, for some numbers of them."""
    edges = tuple(map(jnp.asarray, GRID))

    def one(theta):
        cut = [jnp.where(jnp.arange(len(weights)) < count, weights, 0.0) for count in counts]
        shares = jnp.stack(cut) / jnp.stack(cut).sum(1, keepdims=True)
        masses = [jnp.histogram2d(theta[:, 0], theta[:, 1], bins=edges, weights=share)[0] for share in shares]
        return jnp.stack(masses), shares @ (theta[:, 1] > 0)

    return jax.lax.map(one, draws)


def step_noise(keys, potential, thetas, x, steps, num_repeats=400):
    """Variance of a step of θ1, [seed, step], by the kernel from the same place: without injected noise, and with it."""

    def variance(temperature):
        def spread(key, theta, step):
            kernel = dm.mcmc.SGLD(
                minibatch_potential=potential, batch_size=1, step_size=lambda i: step / 2, temperature=lambda i: temperature
            )
            start = lambda key: dm.mcmc.SGLDState(jnp.zeros((), jnp.int32), theta, None, key)
            moved = jax.vmap(lambda key: kernel.sample(start(key), (x,), {}).z[0])(jax.random.split(key, num_repeats))
            return moved.var(ddof=1)

        over_steps = lambda key, thetas: jax.vmap(spread)(jax.random.split(key, len(steps)), thetas, steps)
        return jax.vmap(over_steps)(keys, thetas)

    return jax.jit(lambda: (variance(0.0), variance(1.0)))()


def measure_gaussian(config, keys):
    """Variance of SGLD at constant steps on the posterior of a mean of 100 points, over its own."""
    num = 100
    x = jax.scipy.special.ndtri((jnp.arange(num) + 0.5) / num)
    x = x / x.std()
    rates = jnp.array(config.gaussian_steps)
    # All steps at once: φ = θ/√ε has the step 1, and √ε ∂U(√ε φ) for its gradient.
    scale = jnp.sqrt(rates / num)
    potential = lambda phi, x: 0.5 * num * jnp.mean(jnp.sum((scale * phi - x[:, None]) ** 2, axis=1))
    kernel = dm.mcmc.SGLD(minibatch_potential=potential, batch_size=config.gaussian_batch, step_size=0.5)
    draws = run(
        keys, kernel, (x,), jnp.zeros(len(rates)), num_warmup=config.num_steps // 10, num_samples=config.num_steps,
        thinning=5,
    )  # fmt: skip
    return {"step": ("step", np.array(config.gaussian_steps)), "variance": (("seed", "step"), num * ((scale * draws) ** 2).mean(1))}


def logistic_data(config):
    """Breast cancer: leading principal components of the standardised inputs, each of variance 1, and a constant."""
    bunch = datasets.load_breast_cancer()
    x = (bunch.data - bunch.data.mean(0)) / bunch.data.std(0)
    left = np.linalg.svd(x, full_matrices=False)[0][:, : config.num_features] * np.sqrt(len(x))
    return np.concatenate([left, np.ones((len(x), 1))], axis=1), bunch.target.astype(float)


def logistic_potential(num_rows, theta, x, y):
    """−log posterior from some rows, with the prior N(0, 1)."""
    logits = x @ theta
    return num_rows * jnp.mean(jnp.logaddexp(0.0, logits) - y * logits) + 0.5 * jnp.sum(theta**2)


def logistic_law(config):
    """The mode, the precision there and the covariance V of the gradient of a minibatch there."""
    x, y = logistic_data(config)
    mode = np.asarray(dm.mcmc.targets.logistic_regression(x, y).initial, float)
    p = 1 / (1 + np.exp(-x @ mode))
    gradients = (p - y)[:, None] * x
    precision = (x.T * (p * (1 - p))) @ x + np.eye(x.shape[1])
    return mode, precision, len(x) ** 2 / config.logistic_batch * np.cov(gradients.T, bias=True)


def measure_logistic(config, keys):
    """Moments of SGLD at constant steps, beside those of a long run of the No-U-Turn sampler."""
    x, y = logistic_data(config)
    mode, precision, _ = logistic_law(config)
    rates = jnp.array(config.logistic_factors) / np.linalg.eigvalsh(precision)[-1]
    scale = jnp.sqrt(rates)[:, None]
    one = partial(logistic_potential, len(x))
    potential = lambda phi, *rows: jnp.sum(jax.vmap(lambda theta: one(theta, *rows))(scale * phi))
    kernel = dm.mcmc.SGLD(minibatch_potential=potential, batch_size=config.logistic_batch, step_size=0.5)
    draws = scale * run(
        keys, kernel, (x, y), mode / scale, num_warmup=config.num_steps // 10, num_samples=config.num_steps, thinning=5,
    )  # fmt: skip
    reference = MCMC(
        NUTS(dm.mcmc.targets.logistic_regression(x, y).model), num_warmup=500, num_samples=config.reference_draws // len(keys),
        num_chains=len(keys), chain_method="vectorized", progress_bar=False,
    )  # fmt: skip
    reference.run(keys)
    exact = reference.get_samples(group_by_chain=True)["beta"]
    return {
        "factor": ("factor", np.array(config.logistic_factors)),
        "mean": (("seed", "factor", "i"), draws.mean(1)),
        "second": (("seed", "factor", "i", "j"), jnp.einsum("cnfi,cnfj->cfij", draws - mode, draws - mode) / draws.shape[1]),
        "reference_mean": (("seed", "i"), exact.mean(1)),
        "reference_second": (("seed", "i", "j"), jnp.einsum("cni,cnj->cij", exact - mode, exact - mode) / exact.shape[1]),
    }

