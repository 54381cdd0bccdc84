"""Bayesian learning via stochastic gradient Langevin dynamics (Welling & Teh 2011).

Gradient steps on minibatches, plus Gaussian noise of the variance of the steps, become draws from the posterior as the step
falls: θ' = θ + (ε_t/2) ĝ(θ) + √ε_t ξ with ε_t = a(b + t)^−γ, ĝ an estimate of ∇ log posterior. The noise of ĝ, of variance V(θ),
adds (ε_t/2)² V: more than the injected ε_t while ε_t > 4/V, stochastic optimisation, and less and less of it later, sampling. At
a constant step a bias remains. `dm.mcmc.SGLD` writes ε for ε_t/2; settings here are the paper's ε_t.
(International Conference on Machine Learning, 681-688.)
"""

from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from numpyro.infer import MCMC, NUTS
from sklearn import datasets

import dlmath as dm
from dlmath.repro import AtLeast, AtMost, Claim, Curve, Equal, Experiment, Slope, Study


@dataclass(frozen=True)
class Config:
    """Settings."""

    num_points: int = 100
    """Points of the mixture."""
    sweeps: tuple[int, ...] = (10, 100, 500)
    """Sweeps through the points after which the draws are compared; the last is the length of the run."""
    first_step: float = 0.01
    """Step size ε_t at the start of a run on the mixture."""
    last_step: float = 1e-4
    """Step size at its end."""
    decay: float = 0.55
    """Exponent γ of the step size."""
    num_recorded: int = 13
    """Times, at equal ratios of the step size, at which the noise of a step is measured."""
    gaussian_steps: tuple[float, ...] = (0.1, 0.2, 0.5, 1.0, 2.0)
    """Constant step sizes ε_t on a Gaussian posterior, times its precision."""
    gaussian_batch: int = 10
    """Rows of a minibatch there, of 100."""
    num_steps: int = 10_000
    """Steps at each constant step size, after a tenth of them."""
    num_features: int = 4
    """Leading principal components of breast cancer's inputs, beside a constant."""
    logistic_batch: int = 50
    """Rows of a minibatch of logistic regression."""
    logistic_factors: tuple[float, ...] = (0.05, 0.2)
    """Constant step sizes ε_t times the largest curvature of the potential at the mode."""
    reference_draws: int = 4000
    """Draws of the No-U-Turn sampler, the reference, for each twenty runs."""
    num_seeds: int = 20
    """Independent runs."""


SCALES = {
    "smoke": Config(),
    "laptop": Config(
        sweeps=(10, 30, 100, 300, 1000, 3000, 10_000),
        gaussian_steps=(0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 3.0),
        num_steps=200_000,
        logistic_factors=(0.02, 0.05, 0.1, 0.2, 0.5),
        reference_draws=40_000,
        num_seeds=40,
    ),
    "paper": Config(
        sweeps=(10, 30, 100, 300, 1000, 3000, 10_000),
        gaussian_steps=(0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 3.0),
        num_steps=1_000_000,
        num_features=8,
        logistic_factors=(0.02, 0.05, 0.1, 0.2, 0.5),
        reference_draws=100_000,
        num_seeds=100,
    ),
}

DRAW = 3
"""Which draw of the points: one whose posterior has modes at (0, 1) and (1, −1), as in the paper; many have one mode."""
GRID = np.linspace(-2.0, 3.0, 33), np.linspace(-3.2, 3.2, 33)
"""Edges of the cells in θ1 and θ2 on which draws of the mixture's posterior are compared."""
REFINED = 8
"""Points a cell and direction in the exact mass of a cell."""


# The paper's formulas -------------------------------------------------------------------------------------------------


def mixture_points(num_points):
    """The points x ~ ½N(θ1, 2) + ½N(θ1 + θ2, 2) at θ = (0, 1)."""
    rng = np.random.default_rng(DRAW)
    return rng.integers(0, 2, num_points) + np.sqrt(2.0) * rng.normal(size=num_points)


def mixture_potential(num_points, theta, x):
    """−log of the prior N(0, 10) N(0, 1) and of the likelihood, from some of the points."""
    log_density = jnp.logaddexp(-((x - theta[0]) ** 2) / 4, -((x - theta[0] - theta[1]) ** 2) / 4)
    return theta[0] ** 2 / 20 + theta[1] ** 2 / 2 - num_points * jnp.mean(log_density)


@cache
def exact_masses(num_points, weight=lambda first, second: 1.0):
    """Posterior mass of the cells, [θ1, θ2], or with a weight its mean over each cell times that mass."""
    x = mixture_points(num_points)
    first, second = (
        np.concatenate([edge + (np.arange(REFINED) + 0.5) / REFINED * (edges[1] - edges[0]) for edge in edges[:-1]])
        for edges in GRID
    )
    log = -(first[:, None] ** 2) / 20 - second[None, :] ** 2 / 2
    for point in x:
        log = log + np.logaddexp(
            -((point - first[:, None]) ** 2) / 4, -((point - first[:, None] - second[None, :]) ** 2) / 4
        )
    mass = np.exp(log - log.max())
    mass = mass / mass.sum() * weight(first, second)
    return mass.reshape(len(GRID[0]) - 1, REFINED, len(GRID[1]) - 1, REFINED).sum((1, 3))


@cache
def gradient_variance(num_points):
    """Posterior mean of V(θ), the variance of the estimate of the gradient in θ1 from one of the points."""
    x = mixture_points(num_points)

    def variance(first, second):
        offsets = x[:, None, None] - first[None, :, None]
        share = 1 / (1 + np.exp((offsets**2 - (offsets - second) ** 2) / -4))
        return num_points**2 * ((offsets - share * second) / 2).var(axis=0)

    return float(exact_masses(num_points, variance).sum())


def schedule(first, last, decay, num_steps):
    """Numbers a and b such that a(b + t)^−γ falls from the first step to the last in that number of steps."""
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
    x = mixture_points(config.num_points)
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
    distance = 0.5 * abs(masses - exact_masses(config.num_points)).sum((-1, -2)) + 0.5 * (1 - masses.sum((-1, -2)))

    steps = np.geomspace(config.first_step, config.last_step, config.num_recorded)
    when = np.clip(((steps / a) ** (-1 / config.decay) - b).round().astype(int) // thinning, 0, len(taken) - 1)
    gradient, total = step_noise(keys, potential, draws[:, when], jnp.asarray(x), jnp.asarray(steps))
    return {
        "sweeps": ("sweeps", np.array(config.sweeps)),
        "step": ("step", steps),
        "distance": (("seed", "sweeps"), distance),
        "upper": (("seed", "sweeps"), upper),
        "masses": (("seed", "sweeps", "first", "second"), masses),
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
                minibatch_potential=potential,
                batch_size=1,
                step_size=lambda i: step / 2,
                temperature=lambda i: temperature,
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
    return {
        "step": ("step", np.array(config.gaussian_steps)),
        "variance": (("seed", "step"), num * ((scale * draws) ** 2).mean(1)),
    }


def logistic_data(config):
    """Breast cancer: leading principal components of the standardised inputs, each of variance 1, and a constant."""
    bunch: Any = datasets.load_breast_cancer()
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
    """Moments about the mode of SGLD at constant steps, and of a long run of the No-U-Turn sampler."""
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
        NUTS(dm.mcmc.targets.logistic_regression(x, y).model), num_warmup=300, num_samples=config.reference_draws // len(keys),
        num_chains=len(keys), chain_method="vectorized", progress_bar=False,
    )  # fmt: skip
    reference.run(keys)
    exact = reference.get_samples(group_by_chain=True)["beta"]
    return {
        "factor": ("factor", np.array(config.logistic_factors)),
        "mean": (("seed", "factor", "i"), draws.mean(1) - mode),
        "second": (
            ("seed", "factor", "i", "j"),
            jnp.einsum("cnfi,cnfj->cfij", draws - mode, draws - mode) / draws.shape[1],
        ),
        "reference_mean": (("seed", "i"), exact.mean(1) - mode),
        "reference_second": (
            ("seed", "i", "j"),
            jnp.einsum("cni,cnj->cij", exact - mode, exact - mode) / exact.shape[1],
        ),
    }


# What is claimed ------------------------------------------------------------------------------------------------------


def exact_upper(config):
    """Posterior mass of θ2 > 0: of the mode that the points were drawn from. The other is that with the parts exchanged."""
    return float(exact_masses(config.num_points)[:, GRID[1][:-1] > -1e-9].sum())


def _pooled(config, r):
    """Total variation between the posterior and the draws of all runs together, over the cells."""
    masses = r["mixture/masses"].mean("seed", skipna=False).transpose("sweeps", "first", "second").to_numpy()
    distance = 0.5 * (abs(masses - exact_masses(config.num_points)).sum((1, 2)) + 1 - masses.sum((1, 2)))
    return xr.DataArray(distance, dims="sweeps", coords={"sweeps": r["mixture/sweeps"]})


def _crossing(config, r):
    """The step size at which the noise of the gradient is as large as the injected, on their log-log lines."""
    step = np.log(r["mixture/step"])
    parts = (np.log(r[f"mixture/{part}"].mean("seed", skipna=False)) for part in ("gradient", "injected"))
    gradient, injected = parts
    difference, centred = gradient - injected, step - step.mean()
    slope = (centred * difference).sum() / (centred**2).sum()
    return float(np.exp(step.mean() - difference.mean() / slope))


def _logistic_law(config, factor):
    """Mean over coordinates of the variance of SGLD on a Gaussian over that Gaussian's."""
    _, precision, V = logistic_law(config)
    largest = np.linalg.eigvalsh(precision)[-1]
    law = lambda factor: dm.mcmc.stationary_law("sgld", precision, factor / largest / 2, gradient_covariance=V).position
    ratio = lambda factor: np.mean(np.diag(law(factor)) / np.diag(np.linalg.inv(precision)))
    return np.vectorize(ratio)(factor)


def _variances(mean, second):
    """Variances of the coordinates, of the draws of all runs."""
    diagonal = xr.concat([second.isel(i=k, j=k) for k in range(second.sizes["i"])], dim="i")
    return diagonal.mean("seed", skipna=False) - mean.mean("seed", skipna=False) ** 2


def _logistic_ratio(config, r):
    """Mean over coordinates of SGLD's variance over the reference's, [factor]."""
    reference = _variances(r["logistic/reference_mean"], r["logistic/reference_second"])
    return (_variances(r["logistic/mean"], r["logistic/second"]) / reference).mean("i", skipna=False)


def _logistic_offset(config, r):
    """The largest distance between the means of a coordinate, over its standard deviation, at the smallest step."""
    spread = np.sqrt(_variances(r["logistic/reference_mean"], r["logistic/reference_second"]))
    offset = r["logistic/mean"].isel(factor=0) - r["logistic/reference_mean"]
    return abs(offset.mean("seed", skipna=False) / spread).max()


CLAIMS = (
    Claim("gradient-noise",
        "along a run the noise of the minibatch gradient adds a variance of order ε² to a step",
        source="Section 3", expect=Slope(2.0, along="step", atol=0.15),
        statistic=lambda config, r: r["mixture/gradient"].mean("seed", skipna=False)),
    Claim("injected-noise",
        "and the injected noise one of order ε: it prevails in the end",
        source="Section 3", expect=Slope(1.0, along="step", atol=0.1),
        statistic=lambda config, r: r["mixture/injected"].mean("seed", skipna=False)),
    Claim("phases",
        "they are equal at ε = 4/V: the step size there times V/4, V averaged over the exact posterior",
        source="Section 4, transition to sampling", basis="formula", expect=Equal(1.0, rtol=0.25),
        statistic=lambda config, r: _crossing(config, r) * gradient_variance(config.num_points) / 4),
    Claim("posterior",
        "after the paper's 10 000 sweeps the runs together have the exact posterior: total variation on 32 × 32 cells",
        source="Section 5.1, Fig. 1", expect=AtMost(0.1),
        statistic=lambda config, r: _pooled(config, r).sel(sweeps=10_000),
        needs=lambda config: 10_000 in config.sweeps),
    Claim("nearer",
        "the runs come nearer to the exact posterior with every number of sweeps: smallest fall of the total variation",
        source="Section 5.1, Fig. 1", expect=AtLeast(0.0),
        statistic=lambda config, r: -r["mixture/distance"].mean("seed", skipna=False).diff("sweeps").max(),
        needs=lambda config: len(config.sweeps) > 1),
    Claim("modes",
        "they visit both modes as often as the exact posterior has it",
        source="Section 5.1, Fig. 1", basis="independent", expect=Equal(exact_upper, atol=0.2),
        statistic=lambda config, r: r["mixture/upper"].isel(sweeps=-1)),
    Claim("constant-step",
        "at a constant step on a Gaussian posterior the variance is that of `stationary_law`, (1 + εV/4)/(λ − ελ²/4)",
        source="the recursion", basis="formula", expect=Curve(lambda config, step: np.ones(step.shape), rtol=0.1),
        statistic=lambda config, r: r["gaussian/variance"] / xr.DataArray(
            gaussian_variance(config, r["gaussian/step"].to_numpy()), dims="step", coords={"step": r["gaussian/step"]})),
    Claim("logistic-mean",
        "on logistic regression the means are those of a long run of the No-U-Turn sampler, in standard deviations",
        source="Section 5.2", basis="independent", expect=AtMost(0.2),
        statistic=_logistic_offset),
    Claim("logistic-variance",
        "and variances over its are too large by what the Gaussian law gives at the mode",
        source="the recursion near the mode", basis="formula", expect=Curve(_logistic_law, rtol=0.1),
        statistic=_logistic_ratio),
)  # fmt: skip


# What is drawn --------------------------------------------------------------------------------------------------------


@dm.plot.style()
def figures(config, results):
    """The two noises of a step, the exact posterior beside the draws, and the bias of a constant step."""
    noise = dm.plot.figure("column")
    ax = noise.subplots()
    ax.set(xscale="log", yscale="log", xlabel=r"step size $\epsilon_t$", ylabel=r"variance of a step of $\theta_1$")
    steps = results["mixture/step"].to_numpy()
    V = gradient_variance(config.num_points)
    for part, curve in (("gradient", steps**2 * V / 4), ("injected", steps)):
        values = results[f"mixture/{part}"].transpose("seed", "step").to_numpy()
        last = r"$\epsilon^2 V/4$, $\epsilon$" if part == "injected" else None
        dm.plot.curve_with_theory(ax, steps, values, (steps, curve), label=f"{part} noise", theory_label=last)
    ax.axvline(4 / V, color="0.5", linestyle=":", zorder=0)
    ax.invert_xaxis()
    ax.legend()

    posterior = dm.plot.figure("page", height=2.6)
    axes = posterior.subplots(1, 2, sharex=True, sharey=True)
    exact = exact_masses(config.num_points)
    masses = results["mixture/masses"].isel(sweeps=-1).mean("seed").transpose("first", "second").to_numpy()
    for ax, values, title in ((axes[0], exact, "exact"), (axes[1], masses, f"SGLD, {config.sweeps[-1]} sweeps")):
        drawn = ax.pcolormesh(*GRID, values.T / exact.max(), vmin=0.0, vmax=1.0, rasterized=True)
        ax.set(xlabel=r"$\theta_1$", title=title)
    axes[0].set_ylabel(r"$\theta_2$")
    posterior.colorbar(drawn, ax=axes, label="mass of a cell over the largest")

    bias = dm.plot.figure("page", height=2.4)
    ax, other = bias.subplots(1, 2)
    ax.set(xscale="log", yscale="log", xlabel=r"constant step $\epsilon\lambda$", ylabel="variance over the posterior's",
        title="Gaussian")  # fmt: skip
    rates = np.array(config.gaussian_steps)
    values = results["gaussian/variance"].transpose("seed", "step").to_numpy()
    dm.plot.curve_with_theory(ax, rates, values, lambda step: gaussian_variance(config, step), label="SGLD")
    ax.axhline(1.0, color="0.5", linestyle=":", label="posterior", zorder=0)
    ax.legend()
    other.set(xscale="log", xlabel=r"constant step $\epsilon\lambda_{\max}$", title="logistic regression")
    factors = np.array(config.logistic_factors)
    fine = np.geomspace(factors.min(), factors.max(), 41)
    other.plot(factors, _logistic_ratio(config, results).to_numpy(), "o", label="SGLD over NUTS")
    other.plot(fine, _logistic_law(config, fine), label="law at the mode", **dm.plot.THEORY)
    other.axhline(1.0, color="0.5", linestyle=":", zorder=0)
    other.legend()
    return {"noise": noise, "posterior": posterior, "bias": bias}


EXPERIMENT = Experiment(
    Config,
    SCALES,
    studies={
        "mixture": Study(measure_mixture, seeds_per_unit=20),
        "gaussian": Study(measure_gaussian, seeds_per_unit=20),
        "logistic": Study(measure_logistic, seeds_per_unit=20),
    },
    claims=CLAIMS,
    figures=figures,
    deviations=(
        "The hundred points of the mixture are drawn anew, in a draw whose posterior has the two modes of the paper's.",
        "Rows of a minibatch are drawn with replacement.",
        "Logistic regression is on breast cancer, not a9a, with a normal prior and constant steps, whose bias is known.",
        "No independent components analysis.",
        "In the paper's mixture a run is one; here many are averaged.",
    ),
)
