"""Score-based generative modeling through stochastic differential equations (Song, Sohl-Dickstein, Kingma, Kumar, Ermon & Poole 2021).

A diffusion dx = −½b(t) x dt + g(t) dw takes data at t = 0 to noise at t = 1. With the score s(x, t) = ∇ log p_t(x), the equations

    dx = [−½b x − g² s] dt + g dw̄  (backwards in time),        dx/dt = −½b x − ½g² s

have the same marginals p_t: started from noise at t = 1 they end in the data, and the second one, being a flow, has the density

    log p_0(x(0)) = log p_1(x(1)) + ∫₀¹ ∇·(−½b x − ½g² s)(x(t), t) dt.

Here the data are a mixture of two Gaussians far apart, of weights 1/5 and 4/5, whose score is known at every time: what is left
is the error of the samplers, judged against the exact law. Variance preserving: b = g² = β(t); exploding: b = 0, g² = dσ²/dt.
(International Conference on Learning Representations 2021; arXiv 2011.13456.)
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.infer import MCMC, NUTS
from scipy import stats

import dlmath as dm
from dlmath.repro import AtLeast, AtMost, Claim, Curve, Equal, Experiment, Slope, Study


@dataclass(frozen=True)
class Config:
    """Settings."""

    weight: float = 0.8
    """Weight of the mode at (m, m); the other is at (−m, −m)."""
    mean: float = 1.0
    """m."""
    variance: float = 0.04
    """Variance v of both modes along the diagonal, and of the light one across."""
    stretch: float = 3.0
    """Variance of the heavy mode across the diagonal, over v."""
    beta: tuple[float, float] = (0.1, 20.0)
    """β(0) and β(1) of the variance preserving equation, linear in between."""
    sigma: tuple[float, float] = (0.01, 50.0)
    """σ(0) and σ(1) of the variance exploding equation, geometric in between."""
    sdes: tuple[str, ...] = ("vp", "ve")
    """Equations: variance preserving "vp", exploding "ve"."""
    samplers: tuple[str, ...] = ("reverse", "flow", "corrected")
    """Euler-Maruyama on the reverse equation, Heun on the flow, and the first with a step of Langevin after each step."""
    num_samples: int = 500
    """Samples a seed."""
    num_steps: tuple[int, ...] = (16, 32, 256)
    """Steps of the samplers, of equal length in time."""
    snr: float = 0.16
    """The corrector's ratio r of signal to noise: ε = (r‖z‖/‖s‖)²."""
    num_times: int = 4
    """Times at which the forward equation is looked at, equally spaced up to 1."""
    forward_steps: int = 400
    """Its Euler-Maruyama steps."""
    solvers: tuple[str, ...] = ("euler", "heun")
    """Solvers of the flow for likelihoods."""
    likelihood_steps: tuple[int, ...] = (256, 512, 1024)
    """Their steps."""
    num_points: int = 50
    """Points, drawn from the data, whose likelihood is computed, a seed."""
    levels: tuple[float, float, int] = (4.0, 0.05, 12)
    """First and last noise level of annealed Langevin dynamics, and how many, in geometric progression."""
    num_walkers: int = 100
    """Points that it moves, a seed."""
    steps_per_level: int = 120
    """Its steps at each; plain Langevin dynamics takes as many in all."""
    level_step: float = 0.1
    """Its step size over the squared noise level."""
    plain_step: float = 0.004
    """Step size of plain Langevin dynamics."""
    blurs: tuple[float, ...] = (0.1, 1.0)
    """Standard deviations of the noise on the data that NUTS samples from their score."""
    num_chains: int = 8
    """Chains of NUTS a seed."""
    num_draws: int = 90
    """Draws a chain, after half as many that are left out."""
    nuts_step: float = 0.7
    """Step size of NUTS over the standard deviation of a mode along the diagonal."""
    num_seeds: int = 20
    """Repetitions."""


SCALES = {
    "smoke": Config(),
    "laptop": Config(
        num_samples=2000,
        num_steps=(16, 32, 64, 128, 256, 512, 1024),
        num_times=8,
        forward_steps=2000,
        likelihood_steps=(64, 128, 256, 512, 1024, 2048),
        num_points=400,
        num_walkers=1000,
        steps_per_level=300,
        num_chains=16,
        num_draws=300,
    ),
    "paper": Config(
        num_samples=50_000,
        num_steps=(16, 32, 64, 125, 250, 500, 1000, 2000),
        num_times=8,
        forward_steps=4000,
        likelihood_steps=(64, 128, 256, 512, 1024, 2048, 4096),
        num_points=2000,
        num_walkers=20_000,
        steps_per_level=1000,
        num_chains=32,
        num_draws=1000,
        num_seeds=40,
    ),
}


# The paper's formulas -------------------------------------------------------------------------------------------------


class Diffusion(NamedTuple):
    """dx = −½b(t) x dt + g(t) dw for t in [0, 1], from x(0) to x(1)."""

    name: str
    first: float
    last: float

    def contraction(self, t):
        """b(t)."""
        return self.first + t * (self.last - self.first) if self.name == "vp" else jnp.zeros_like(t)

    def spread(self, t):
        """g(t)²."""
        if self.name == "vp":
            return self.contraction(t)
        return 2 * np.log(self.last / self.first) * self._sigma(t) ** 2

    def marginal(self, t):
        """The scale a and the standard deviation s of x(t) | x(0) ~ N(a x(0), s² I)."""
        if self.name == "vp":
            log_scale = -0.25 * t**2 * (self.last - self.first) - 0.5 * t * self.first
            return jnp.exp(log_scale), jnp.sqrt(-jnp.expm1(2 * log_scale))
        return jnp.ones_like(t), jnp.sqrt(self._sigma(t) ** 2 - self.first**2)

    def prior_std(self):
        """The standard deviation of the noise from which samples start."""
        return 1.0 if self.name == "vp" else self.last

    def _sigma(self, t):
        return self.first * (self.last / self.first) ** t


def diffusion(config, sde):
    """The equation of that name."""
    return Diffusion(sde, *(config.beta if sde == "vp" else config.sigma))


def mixture(config):
    """Means [2, 2], covariances [2, 2, 2] and weights [2] of the data; the light mode first."""
    means = config.mean * np.array([[-1.0, -1.0], [1.0, 1.0]])
    across = np.array([[0.5, -0.5], [-0.5, 0.5]])
    stretched = np.eye(2) + (config.stretch - 1) * across
    return means, config.variance * np.stack([np.eye(2), stretched]), np.array([1 - config.weight, config.weight])


def target_of(law) -> Any:
    """The mixture of that law, whose score is known under any noise."""
    return dm.mcmc.targets.mixture(*law)


def moments(config, blur=0.0):
    """Means of x₁, x₂, and the variances and the covariance of both, with noise of standard deviation `blur` added."""
    target = target_of(mixture(config))
    mean, covariance = np.asarray(target.mean.value), np.asarray(target.covariance.value) + blur**2 * np.eye(2)
    return np.array([*mean, covariance[0, 0], covariance[1, 1], covariance[0, 1]])


def heavy(config, blur=0.0):
    """The share of the data, with noise of standard deviation `blur`, on the heavy mode's side of the origin."""
    ratio = np.sqrt(2) * config.mean / np.sqrt(config.variance + blur**2)
    return 1 - config.weight + (2 * config.weight - 1) * stats.norm.cdf(ratio)


MOMENTS = np.array(["mean 1", "mean 2", "variance 1", "variance 2", "covariance"])
KOLMOGOROV = np.sqrt(np.pi / 2) * np.log(2)  # mean of the limit of √n sup |F_n − F|


def annealed_variance(config):
    """Variance along the diagonal within a mode after annealed Langevin dynamics: v' = (1 − ε/(v₀ + σ²))² v + 2ε, step by step."""
    largest, smallest, num_levels = config.levels
    variance = largest**2
    for level in dm.mcmc.noise_levels(largest, smallest, num_levels):
        step = config.level_step * level**2
        for _ in range(config.steps_per_level):
            variance = (1 - step / (config.variance + level**2)) ** 2 * variance + 2 * step
    return variance


def plain_variance(config):
    """That of plain Langevin dynamics, from its stationary law."""
    law = dm.mcmc.stationary_law("ula", np.eye(1) / config.variance, config.plain_step)
    return law.position[0, 0]


# What is measured -----------------------------------------------------------------------------------------------------


def measure_forward(config, keys, *, sde):
    """Euler-Maruyama on the forward equation from data: moments and law at some times, against the exact ones."""
    times = np.arange(1, config.num_times + 1) / config.num_times
    found = diffuse(
        keys, mixture(config), diffusion(config, sde), config.num_samples,
        num_times=config.num_times, num_steps=config.forward_steps // config.num_times,
    )  # fmt: skip
    return {
        "time": ("time", times),
        **{name: (("seed", "time", *more), value) for (name, *more), value in found.items()},
        "moment": ("moment", np.array(["mean", "variance"])),
    }


@partial(jax.jit, static_argnames=("sde", "num_samples", "num_times", "num_steps"))
def diffuse(keys, law, sde, num_samples, *, num_times, num_steps):
    """√n times Kolmogorov's distance along the diagonal, and mean/√variance and variance there over the exact one, [seed, time]."""
    target = target_of(law)
    h = 1 / (num_times * num_steps)

    def one(key):
        key_x, key_steps = jax.random.split(key)

        def step(i, x):
            noise = jax.random.normal(jax.random.fold_in(key_steps, i), x.shape)
            return x - 0.5 * h * sde.contraction(i * h) * x + jnp.sqrt(h * sde.spread(i * h)) * noise

        def until(x, k):
            x = jax.lax.fori_loop(k * num_steps, (k + 1) * num_steps, step, x)
            scale, std = sde.marginal((k + 1) / num_times)
            u = diagonal(x)
            mean = scale * diagonal(target.mean.value)
            variance = scale**2 * jnp.mean(target.covariance.value) * 2 + std**2
            distance = jnp.sqrt(num_samples) * kolmogorov(u, law, scale, std)
            standard = (u - mean) / jnp.sqrt(variance)
            return x, (distance, jnp.stack([jnp.mean(standard), jnp.mean(standard**2)]))

        return jax.lax.scan(until, target.sample(key_x, num_samples), jnp.arange(num_times))[1]

    distance, found = jax.lax.map(one, keys)
    return {("distance",): distance, ("moments", "moment"): found}


def diagonal(x):
    """The coordinate along the diagonal, (x₁ + x₂)/√2."""
    return jnp.sum(x, axis=-1) / jnp.sqrt(2.0)


def kolmogorov(u, law, scale=1.0, std=0.0):
    """Kolmogorov's sup |F_n − F| of coordinates u [n] along the diagonal, F that of scale · data + std · noise."""
    means, covariances, weights = law
    deviations = jnp.sqrt(scale**2 * jnp.sum(covariances, axis=(1, 2)) / 2 + std**2)
    u = jnp.sort(u)
    exact = jax.scipy.stats.norm.cdf((u[:, None] - scale * diagonal(means)) / deviations) @ weights
    steps = jnp.arange(len(u) + 1) / len(u)
    return jnp.maximum(jnp.max(steps[1:] - exact), jnp.max(exact - steps[:-1]))


def measure(config, keys, *, sde, sampler):
    """Samples from noise: weight of the heavy mode, moments, and distances from the data."""
    found = [
        generate(
            keys, mixture(config), diffusion(config, sde), n, config.snr,
            num_samples=config.num_samples, sampler=sampler,
        )
        for n in config.num_steps
    ]  # fmt: skip
    stacked = jax.tree.map(lambda *a: np.stack(a, axis=1), *found)
    return {
        "num_steps": ("num_steps", np.array(config.num_steps)),
        "moment": ("moment", MOMENTS),
        "bin": ("bin", 0.5 * (BINS[1:] + BINS[:-1])),
        "weight": (("seed", "num_steps"), stacked["weight"]),
        "moments": (("seed", "num_steps", "moment"), stacked["moments"]),
        "distance": (("seed", "num_steps"), stacked["distance"]),
        "transport": (("seed", "num_steps"), stacked["transport"]),
        "exact_transport": (("seed", "num_steps"), stacked["exact_transport"]),
        "histogram": (("seed", "num_steps", "bin"), stacked["histogram"]),
    }


BINS = np.linspace(-2.5, 2.5, 101)


@partial(jax.jit, static_argnames=("sde", "num_samples", "sampler"))
def generate(keys, law, sde, num_steps, snr, *, num_samples, sampler):
    """Draws of a sampler after `num_steps` steps from t = 1 to 0, summarised, [seed, ...]."""
    target = target_of(law)
    h = 1 / num_steps

    def score(x, t):
        return jax.vmap(target.diffused_score, (0, None, None))(x, *sde.marginal(t))

    def reverse(key, x, t):
        drift = 0.5 * sde.contraction(t) * x + sde.spread(t) * score(x, t)
        # No noise in the last step: it would be seen in the samples.
        noise = jnp.where(t > 1.5 * h, jnp.sqrt(h * sde.spread(t)), 0.0) * jax.random.normal(key, x.shape)
        return x + h * drift + noise

    def flow(key, x, t):
        slope = lambda x, t: 0.5 * (sde.contraction(t) * x + sde.spread(t) * score(x, t))
        before = slope(x, t)
        return x + 0.5 * h * (before + slope(x + h * before, t - h))

    def corrected(key, x, t):
        key_predictor, key_corrector = jax.random.split(key)
        x = reverse(key_predictor, x, t)
        noise, s = jax.random.normal(key_corrector, x.shape), score(x, t - h)
        norm = lambda a: jnp.mean(jnp.linalg.norm(a, axis=-1))
        step = 2 * (snr * norm(noise) / norm(s)) ** 2
        return x + step * s + jnp.sqrt(2 * step) * noise

    advance = {"reverse": reverse, "flow": flow, "corrected": corrected}[sampler]

    def one(key):
        key_x, key_steps, key_exact, key_other, key_lines = jax.random.split(key, 5)
        x = sde.prior_std() * jax.random.normal(key_x, (num_samples, 2))
        x = jax.lax.fori_loop(
            0, num_steps, lambda i, x: advance(jax.random.fold_in(key_steps, i), x, jnp.maximum(1 - i * h, h)), x
        )
        exact, other = target.sample(key_exact, num_samples), target.sample(key_other, num_samples)
        squared = lambda x: dm.mcmc.diagnostics.sliced_wasserstein(key_lines, x, exact, num_projections=8).value ** 2
        return {
            **summary(x, target),
            "distance": kolmogorov(diagonal(x), law),
            "transport": squared(x),
            "exact_transport": squared(other),
            "histogram": jnp.histogram(diagonal(x), BINS)[0] / (num_samples * (BINS[1] - BINS[0])),
        }

    return jax.lax.map(one, keys)


def summary(x, target, blur=0.0):
    """Share of points [n, 2] in the heavy mode, and moments about the exact mean."""
    offsets = x - target.mean.value
    products = [offsets[:, 0] ** 2, offsets[:, 1] ** 2, offsets[:, 0] * offsets[:, 1]]
    found = jnp.concatenate([jnp.mean(x, axis=0), jnp.stack([jnp.mean(product) for product in products])])
    return {"weight": jnp.mean(diagonal(x) > 0), "moments": found}


def measure_likelihood(config, keys, *, sde, solver):
    """Log likelihoods by the flow, in nats, against the exact density."""
    found = [
        likelihood(
            keys, mixture(config), diffusion(config, sde), n, num_points=config.num_points, solver=solver
        )
        for n in config.likelihood_steps
    ]  # fmt: skip
    stacked = jax.tree.map(lambda *a: np.stack(a, axis=1), *found)
    return {
        "num_steps": ("num_steps", np.array(config.likelihood_steps)),
        **{name: (("seed", "num_steps"), values) for name, values in stacked.items()},
    }


@partial(jax.jit, static_argnames=("sde", "num_points", "solver"))
def likelihood(keys, law, sde, num_steps, *, num_points, solver):
    """Errors of log p over points: root mean square; mean change by one random probe, and by the noise for p_1, [seed]."""
    target = target_of(law)
    h = 1 / num_steps

    def slope(state, t, probe):
        """The flow at x, its divergence, and the divergence as a probe sees it."""
        field = lambda x: -0.5 * (sde.contraction(t) * x + sde.spread(t) * target.diffused_score(x, *sde.marginal(t)))
        value, along = jax.jvp(field, (state[0],), (probe,))
        return value, jnp.trace(jax.jacfwd(field)(state[0])), jnp.dot(probe, along)

    def log_density(x, probe):
        move = lambda state, slope: jax.tree.map(lambda a, b: a + h * b, state, slope)

        def step(i, state):
            before = slope(state, i * h, probe)
            if solver == "euler":
                return move(state, before)
            after = slope(move(state, before), (i + 1) * h, probe)
            return move(state, jax.tree.map(lambda a, b: 0.5 * (a + b), before, after))

        zero = jnp.zeros(())
        end, trace, probed = jax.lax.fori_loop(0, num_steps, step, (x, zero, zero))
        noise = jnp.sum(jax.scipy.stats.norm.logpdf(end, 0.0, sde.prior_std()))
        return target.diffused_log_density(end, *sde.marginal(1.0)) + trace, probed - trace, noise + trace

    def one(key):
        key_x, key_probe = jax.random.split(key)
        x = target.sample(key_x, num_points)
        probes = jax.random.rademacher(key_probe, x.shape, x.dtype)
        found, probed, with_noise = jax.vmap(log_density)(x, probes)
        error = found - jax.vmap(target.log_density)(x)
        return {
            "error": jnp.sqrt(jnp.mean(error**2)),
            "probe": jnp.mean(probed),
            "noise": jnp.mean(with_noise - found),
        }

    return jax.lax.map(one, keys)


def measure_langevin(config, keys):
    """Langevin dynamics from the light mode, plain and annealed: weight of the heavy mode, variance within modes."""
    largest, smallest, num_levels = config.levels
    found = descend(
        keys, mixture(config), num_samples=config.num_walkers, num_levels=num_levels, largest=largest,
        smallest=smallest, steps_per_level=config.steps_per_level, level_step=config.level_step,
        plain_step=config.plain_step,
    )  # fmt: skip
    return {
        "kernel": ("kernel", np.array(["plain", "annealed"])),
        **{name: (("seed", "kernel"), values) for name, values in found.items()},
    }


@partial(jax.jit, static_argnames=("num_samples", "num_levels", "largest", "smallest", "steps_per_level", "level_step", "plain_step"))  # fmt: skip
def descend(keys, law, *, num_samples, num_levels, largest, smallest, steps_per_level, level_step, plain_step):
    """Both kernels, as many steps: a chain for every seed, whose position is `num_samples` independent points."""
    target = target_of(law)
    plain = dm.mcmc.ULA(score=jax.vmap(target.score), step_size=plain_step)
    annealed = dm.mcmc.AnnealedLangevin(
        lambda x, sigma: jax.vmap(target.diffused_score, (0, None, None))(x, 1.0, sigma),
        noise_levels=dm.mcmc.noise_levels(largest, smallest, num_levels),
        steps_per_level=steps_per_level,
        step_size=level_step * smallest**2,
    )
    start = jnp.broadcast_to(law[0][0], (len(keys), num_samples, 2))

    def run(kernel):
        state = kernel.init(keys, 0, start, (), {})
        advance = lambda _, state: kernel.sample(state, (), {})
        return jax.lax.fori_loop(0, num_levels * steps_per_level, advance, state).z

    x = jnp.stack([run(plain), run(annealed)], axis=1)  # [seed, kernel, n, 2]
    u = diagonal(x)
    centre = jnp.where(u > 0, diagonal(law[0][1]), diagonal(law[0][0]))
    return {"weight": jnp.mean(u > 0, axis=-1), "variance": jnp.mean((u - centre) ** 2, axis=-1)}


def measure_nuts(config, keys, *, blur):
    """NUTS from the score of blurred data alone, started in the light mode."""
    means, *_ = law = mixture(config)
    target = target_of(law)
    score = lambda x: target.diffused_score(x, 1.0, blur)
    # Nothing is adapted: the large steps at the beginning of an adaptation can jump from mode to mode.
    kernel = NUTS(
        potential_fn=dm.mcmc.score_potential(score), step_size=config.nuts_step * np.sqrt(config.variance + blur**2),
        adapt_step_size=False, adapt_mass_matrix=False,
    )  # fmt: skip
    num_chains = len(keys) * config.num_chains
    mcmc = MCMC(
        kernel, num_warmup=config.num_draws // 2, num_samples=config.num_draws, num_chains=num_chains,
        chain_method="vectorized", progress_bar=False,
    )  # fmt: skip
    chain_keys = jax.vmap(lambda key: jax.random.split(key, config.num_chains))(keys).reshape(num_chains)
    mcmc.run(chain_keys, init_params=jnp.tile(jnp.asarray(means[0]), (num_chains, 1)))
    x = mcmc.get_samples(group_by_chain=True).reshape(len(keys), -1, 2)
    found = jax.vmap(lambda x: summary(x, target))(x)
    diverging = mcmc.get_extra_fields(group_by_chain=True)["diverging"].reshape(len(keys), -1).mean(1)
    return {
        "moment": ("moment", MOMENTS),
        "weight": found["weight"],
        "moments": (("seed", "moment"), found["moments"]),
        "diverging": diverging,
    }


# What is claimed ------------------------------------------------------------------------------------------------------


def _finest(r, name):
    return r[f"samples/{name}"].isel(num_steps=-1)


def _pooled(array):
    """The mean over everything but seeds."""
    return array.mean([dim for dim in array.dims if dim != "seed"], skipna=False)


def _excess(r):
    """Squared sliced Wasserstein distance from exact draws, less that of exact draws from one another."""
    return r["samples/transport"] - r["samples/exact_transport"]


def _distance(r, sde, sampler, num_steps):
    """Kolmogorov's distance along the diagonal."""
    return r["samples/distance"].sel(sde=sde, sampler=sampler, num_steps=num_steps)


def _has(config, sdes=(), samplers=(), steps=()):
    return {*sdes} <= {*config.sdes} and {*samplers} <= {*config.samplers} and {*steps} <= {*config.num_steps}


def _order_claim(solver, order):
    return Claim(f"likelihood-{solver}",
        f"for both equations the error of the likelihood falls with the step as its power {order}: solver {solver}",
        source="Section 4.3, exact likelihood computation", basis="formula",
        expect=Slope(-float(order), along="num_steps", atol=0.15),
        statistic=lambda config, r: r["likelihood/error"].sel(solver=solver, num_steps=slice(256, None)).mean(
            "sde", skipna=False),
        needs=lambda config: solver in config.solvers and len([n for n in config.likelihood_steps if n >= 256]) >= 3)  # fmt: skip


CLAIMS = (
    Claim("forward-moments",
        "forwards, x(t) has mean and variance of the diffused mixture, on average over times, in units of its deviation",
        source="Section 3.4", basis="formula",
        expect=Curve(lambda config, sde, moment: np.where(moment == "variance", 1.0, 0.0), atol=0.1),
        statistic=lambda config, r: r["forward/moments"].mean("time", skipna=False)),
    Claim("forward-law",
        "and its law: Kolmogorov's distance √n D along the diagonal is on average that of exact draws",
        source="Section 3.4", basis="formula", expect=Equal(KOLMOGOROV, rtol=0.2),
        statistic=lambda config, r: _pooled(r["forward/distance"])),
    Claim("weights",
        "from noise, samplers of the reverse equation and of the flow reach the heavy mode with its weight",
        source="Section 3.2; Section 4.3", basis="formula",
        expect=Curve(lambda config, **at: np.full(at["sde"].shape, heavy(config)), atol=0.03),
        statistic=lambda config, r: _finest(r, "weight")),
    Claim("moments",
        "means, variances and covariance are those of the data",
        source="Section 3.2; Section 4.3", basis="formula",
        expect=Curve(lambda config, moment, **at: moments(config)[np.argmax(moment[..., None] == MOMENTS, axis=-1)],
            atol=0.08),
        statistic=lambda config, r: _finest(r, "moments")),
    Claim("law",
        "along the diagonal the law is that of the data: Kolmogorov's √n D is on average that of exact draws",
        source="Section 3.2; Section 4.3", basis="formula", expect=Equal(KOLMOGOROV, rtol=0.25),
        statistic=lambda config, r: np.sqrt(config.num_samples) * _pooled(_finest(r, "distance"))),
    Claim("transport",
        "the squared sliced Wasserstein distance to the data is that of exact draws, to 0.04",
        source="Section 3.2; Section 4.3", basis="formula", expect=Equal(0.0, atol=0.04),
        statistic=lambda config, r: _pooled(_excess(r).isel(num_steps=-1))),
    Claim("steps",
        "of the reverse equation 16 steps are too few: the squared distance falls with more, for both equations",
        source="Section 4.1", basis="formula", expect=AtLeast(0.02),
        statistic=lambda config, r: (_excess(r).sel(sampler="reverse", num_steps=16)
            - _excess(r).sel(sampler="reverse").isel(num_steps=-1)).mean("seed", skipna=False).min("sde"),
        needs=lambda config: _has(config, samplers=["reverse"], steps=[16]) and config.num_steps[-1] >= 256),
    Claim("flow-needs-fewer",
        "variance preserving, 16 steps of Heun on the flow are closer in law than 32 on the reverse equation, as dear",
        source="Section 4.3, efficient sampling", expect=AtMost(0.0),
        statistic=lambda config, r: _distance(r, "vp", "flow", 16) - _distance(r, "vp", "reverse", 32),
        needs=lambda config: _has(config, ["vp"], ["flow", "reverse"], [16, 32])),
    Claim("corrector",
        "a corrector helps at few steps: of 16 and 32, with it the law is closer than without, for both equations",
        source="Section 4.2; Table 1", expect=AtMost(0.0),
        statistic=lambda config, r: r["samples/distance"].sel(num_steps=[16, 32]).pipe(
            lambda d: d.sel(sampler="corrected") - d.sel(sampler="reverse")).mean(("seed", "num_steps")).max("sde"),
        needs=lambda config: _has(config, samplers=["corrected", "reverse"], steps=[16, 32])),
    Claim("corrector-or-steps",
        "variance exploding, 16 steps with a corrector are better than 32 without, as dear",
        source="Section 4.2; Table 1, PC1000 against P2000", expect=AtMost(0.0),
        statistic=lambda config, r: _distance(r, "ve", "corrected", 16) - _distance(r, "ve", "reverse", 32),
        needs=lambda config: _has(config, ["ve"], ["corrected", "reverse"], [16, 32]),
        fails="With the exact score the predictor's error is that of its steps, in the weights of the modes, which are"
        " settled at noise levels that later corrections do not reach; twice the steps mend it. The paper's scores"
        " are learned."),
    _order_claim("euler", 1),
    _order_claim("heun", 2),
    Claim("likelihood",
        "with the most steps of Heun the likelihood is exact to 0.001 nats, root mean square over points of the data",
        source="Section 4.3, exact likelihood computation", basis="formula", expect=AtMost(1e-3),
        statistic=lambda config, r: r["likelihood/error"].sel(solver="heun").isel(num_steps=-1).max("sde"),
        needs=lambda config: "heun" in config.solvers and config.likelihood_steps[-1] >= 1024),
    Claim("likelihood-probe",
        "with one random probe a point in place of the divergence it is without bias, in nats",
        source="Section 4.3, with the Skilling-Hutchinson estimator", basis="formula", expect=Equal(0.0, atol=0.12),
        statistic=lambda config, r: _pooled(r["likelihood/probe"].isel(num_steps=-1))),
    Claim("likelihood-noise",
        "the noise in place of p₁ lowers it by less than 0.002 nats on average, for both equations",
        source="Section 3.1", basis="formula", expect=AtMost(0.002),
        statistic=lambda config, r: -r["likelihood/noise"].isel(num_steps=-1).mean("seed").min(["sde", "solver"])),
    Claim("plain",
        "plain Langevin dynamics does not leave the mode in which it starts",
        source="Section 2.1; Song & Ermon 2019, Section 3.2.2", basis="formula", expect=AtMost(1e-3),
        statistic=lambda config, r: r["langevin/weight"].sel(kernel="plain")),
    Claim("annealed",
        "annealed, from the same start and with as many steps, it finds the weights of the modes",
        source="Section 2.1; Song & Ermon 2019, Section 4.3", basis="formula", expect=Equal(heavy, atol=0.05),
        statistic=lambda config, r: r["langevin/weight"].sel(kernel="annealed")),
    Claim("langevin-variance",
        "within a mode both have the variance of their linear recursions, discretization included, to 15 %",
        source="Section 2.1", basis="formula",
        expect=Curve(lambda config, kernel: np.where(kernel == "plain", plain_variance(config), annealed_variance(config)),
            rtol=0.15),
        statistic=lambda config, r: r["langevin/variance"]),
    Claim("nuts",
        "NUTS, given the score of data with noise of standard deviation 1, reaches the heavy mode as often as their law says",
        source="Section 2.1; the score as a potential is ours", basis="formula",
        expect=Equal(lambda config: heavy(config, 1.0), atol=0.04),
        statistic=lambda config, r: r["nuts/weight"].sel(blur=1.0),
        needs=lambda config: 1.0 in config.blurs),
    Claim("nuts-moments",
        "and has its moments",
        source="Section 2.1; the score as a potential is ours", basis="formula",
        expect=Curve(lambda config, moment: moments(config, 1.0)[np.argmax(moment[..., None] == MOMENTS, axis=-1)],
            atol=0.25),
        statistic=lambda config, r: r["nuts/moments"].sel(blur=1.0),
        needs=lambda config: 1.0 in config.blurs),
    Claim("nuts-stays",
        "with the score of nearly clean data it stays in a mode, as plain Langevin dynamics does",
        source="Section 2.1; the score as a potential is ours", basis="formula", expect=AtMost(1e-3),
        statistic=lambda config, r: r["nuts/weight"].sel(blur=0.1),
        needs=lambda config: 0.1 in config.blurs),
)  # fmt: skip


# What is drawn --------------------------------------------------------------------------------------------------------


NAMES = {
    "vp": "variance preserving", "ve": "variance exploding", "reverse": "reverse equation", "flow": "flow",
    "corrected": "with corrector", "euler": "Euler", "heun": "Heun",
}  # fmt: skip


@dm.plot.style()
def figures(config, results):
    """The law of samples, its distance from the data over steps, and the error of likelihoods."""
    drawn = {}
    drawn["law"] = figure = dm.plot.figure("page", height=2.4)
    grid = np.linspace(BINS[0], BINS[-1], 501)
    means, covariances, weights = mixture(config)
    deviations = np.sqrt(covariances.sum((1, 2)) / 2)
    exact = stats.norm.pdf(grid[:, None], means.sum(1) / np.sqrt(2), deviations) @ weights
    for ax, sde in zip(np.atleast_1d(figure.subplots(1, len(config.sdes), sharey=True)), config.sdes, strict=True):
        ax.set(xlabel=r"$(x_1 + x_2)/\sqrt{2}$", title=NAMES[sde], yscale="log", ylim=(3e-3, 4))
        for sampler in config.samplers:
            shown = results["samples/histogram"].sel(sde=sde, sampler=sampler).mean("seed")
            ax.stairs(np.asarray(shown.isel(num_steps=-1)), BINS, label=NAMES[sampler])
        few = results["samples/histogram"].sel(sde=sde, sampler=config.samplers[0]).isel(num_steps=0).mean("seed")
        ax.stairs(np.asarray(few), BINS, color="0.6", zorder=0,
            label=f"{NAMES[config.samplers[0]]}, {config.num_steps[0]} steps")  # fmt: skip
        ax.plot(grid, exact, label="data", **dm.plot.THEORY)
    figure.axes[0].set_ylabel(f"density, {config.num_steps[-1]} steps")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=5)

    if len(config.num_steps) > 1:
        drawn["steps"] = figure = dm.plot.figure("page", height=2.4)
        for ax, sde in zip(np.atleast_1d(figure.subplots(1, len(config.sdes), sharey=True)), config.sdes, strict=True):
            ax.set(xscale="log", yscale="log", xlabel="steps", title=NAMES[sde])
            for sampler in config.samplers:
                values = results["samples/distance"].sel(sde=sde, sampler=sampler).transpose("seed", "num_steps")
                dm.plot.curve_with_theory(ax, np.array(config.num_steps), values.to_numpy(), label=NAMES[sampler])
            ax.axhline(KOLMOGOROV / np.sqrt(config.num_samples), label="exact draws", **dm.plot.THEORY)
            ax.set_xticks(config.num_steps, [str(n) for n in config.num_steps])
            ax.minorticks_off()
        figure.axes[0].set_ylabel("distance of laws $D$")
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)

    if len(config.likelihood_steps) > 1:
        drawn["likelihood"] = figure = dm.plot.figure("column")
        ax = figure.subplots()
        ax.set(xscale="log", yscale="log", xlabel="steps", ylabel=r"error of $\log p$ (nats)")
        steps = np.array(config.likelihood_steps)
        for solver, order in (("euler", 1), ("heun", 2)):
            for sde in config.sdes if solver in config.solvers else ():
                values = (
                    results["likelihood/error"].sel(sde=sde, solver=solver).transpose("seed", "num_steps").to_numpy()
                )
                guide = values[:, -1].mean() * (steps[-1] / steps) ** order
                dm.plot.curve_with_theory(
                    ax, steps, values, (steps, guide), label=f"{NAMES[solver]}, {NAMES[sde]}",
                    theory_label="orders 1 and 2" if (solver, sde) == (config.solvers[-1], config.sdes[-1]) else None,
                )  # fmt: skip
        ax.set_xticks(steps, [str(n) for n in steps])
        ax.minorticks_off()
        figure.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return drawn


EXPERIMENT = Experiment(
    Config,
    SCALES,
    studies={
        "forward": Study(measure_forward, over={"sde": "sdes"}, seeds_per_unit=20),
        "samples": Study(measure, over={"sde": "sdes", "sampler": "samplers"}, seeds_per_unit=20),
        "likelihood": Study(measure_likelihood, over={"sde": "sdes", "solver": "solvers"}, seeds_per_unit=20),
        "langevin": Study(measure_langevin, seeds_per_unit=20),
        "nuts": Study(measure_nuts, over={"blur": "blurs"}, seeds_per_unit=20),
    },
    claims=CLAIMS,
    figures=figures,
    precision="float64",
    deviations=(
        "The score is exact: nothing is learned, and there are no images, inception scores or bits per dimension.",
        "Time goes to 0, where the exact score is finite; the paper stops shortly before.",
        "The predictor is Euler-Maruyama, the corrector uses α = 1 and one step, and the last predictor adds no noise.",
        "Likelihoods are computed with steps of fixed length, so that the order of the solver shows.",
        "NUTS, which accepts by the line integral of the score, is not in the paper.",
    ),
)
