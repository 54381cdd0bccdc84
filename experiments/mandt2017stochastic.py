"""Stochastic gradient descent as approximate Bayesian inference (Mandt, Hoffman & Blei 2017).

θ ← θ − ηH ĝ_S(θ), with the gradient of the mean loss from S of N rows, does not converge: it samples. Near a minimum with
Hessian A, where the gradient of a row has covariance C = BBᵀ, the paper's Ornstein-Uhlenbeck process has the covariance Σ of

    HAΣ + ΣAH = (η/S) HCH,    in one dimension ησ²/2λ with σ² = C/S,

the limit ηλ → 0 of the exact ησ²/(λ(2 − ηλ)). Of all rates η* = 2SD/(N tr C) brings it closest to the posterior N(θ*, (NA)⁻¹) in
Kullback-Leibler divergence, and the preconditioner ηH = (2S/N) C⁻¹ onto it.
(Journal of Machine Learning Research 18(134), 1-35; arXiv 1704.04289.)
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from numpyro.infer import MCMC
from scipy import linalg, optimize, special
from sklearn import datasets

import dlmath as dm
from dlmath.repro import AtLeast, AtMost, Claim, Curve, Equal, Experiment, Study


@dataclass(frozen=True)
class Config:
    """Settings."""

    rates: tuple[float, ...] = (0.05, 0.1, 0.2, 0.5, 1.0, 1.5)
    """Learning rates over the curvature's inverse, ηλ; in several dimensions that of the largest λ."""
    eigenvalues: tuple[float, ...] = (1.0, 0.7, 0.5)
    """Eigenvalues λ of the Hessian of the quadratic in several dimensions, the first the largest."""
    num_points: int = 50
    """Points whose minibatches make the noise of a quadratic's gradient."""
    quadratic_batch: int = 5
    """Rows of a minibatch there."""
    quadratic_steps: int = 40_000
    """Steps of each run on a quadratic, after a tenth of them."""
    models: tuple[str, ...] = ("linear", "logistic")
    """Regressions: "linear" on scikit-learn's diabetes, "logistic" on its breast cancer."""
    num_features: int = 4
    """Leading principal components D of the standardised inputs."""
    prior_std: float = 1.0
    """Standard deviation of the coefficients' prior."""
    batch_size: int = 10
    """Rows S of a minibatch of a regression."""
    factors: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 4.0)
    """Learning rates over that of the theorem."""
    num_steps: int = 12_000
    """Steps of each run on a regression, after a tenth of them."""
    num_seeds: int = 20
    """Independent runs."""


SCALES = {
    "smoke": Config(),
    "laptop": Config(
        rates=(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 1.5, 1.8),
        quadratic_steps=400_000,
        factors=(0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0),
        num_steps=600_000,
        num_seeds=40,
    ),
    "paper": Config(
        rates=(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 1.5, 1.8),
        quadratic_steps=1_000_000,
        factors=(0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0),
        num_features=8,
        num_steps=1_000_000,
        num_seeds=100,
    ),
}

PRECONDITIONERS = ("none", "diagonal", "full")


# The paper's formulas -------------------------------------------------------------------------------------------------


def continuous_covariance(A, C, H):
    """Σ of the Ornstein-Uhlenbeck process: HAΣ + ΣAH = HCH, with η in H and 1/S in C."""
    return linalg.solve_continuous_lyapunov(H @ A, H @ C @ H.T)


def discrete_covariance(A, C, H):
    """Σ of the recursion itself, (I − HA) Σ (I − HA)ᵀ + HCH = Σ: HAΣ + ΣAH − HAΣAH = HCH."""
    return linalg.solve_discrete_lyapunov(np.eye(len(A)) - H @ A, H @ C @ H.T)


def divergence(A, covariance, num_rows, offset=0.0):
    """KL(N(θ* + offset, Σ) ‖ N(θ*, (NA)⁻¹))."""
    precision, offset = num_rows * A, np.broadcast_to(offset, len(A))
    spread = np.trace(precision @ covariance) + offset @ precision @ offset
    return float(0.5 * (spread - len(A) - np.linalg.slogdet(precision @ covariance)[1]))


def best_preconditioner(problem, batch_size, kind):
    """ηH of the theorems: (2SD/N tr C) I, (2S/N) diag(C)⁻¹, (2S/N) C⁻¹."""
    scale, C = 2 * batch_size / len(problem.y), problem.noise
    if kind == "none":
        return scale * len(C) / np.trace(C) * np.eye(len(C))
    return scale * (np.diag(1 / np.diag(C)) if kind == "diagonal" else np.linalg.inv(C))


def linear_covariance(problem, batch_size, H):
    """Σ of SGD on linear regression, whose noise grows with the distance from the minimum: exact.

    The gradient of a row at θ* + δ has the covariance C + E[h δδᵀ h] − Aδδᵀ A over rows, h = xxᵀ/s² + prior; the terms in
    between have mean zero, as δ has. So Σ = E(I − Hh)Σ(I − hH) over single rows up to weights 1/S: a linear system.
    """
    x, A, S, D = problem.x, problem.hessian, batch_size, problem.x.shape[1]
    h = x[:, :, None] * x[:, None, :] / problem.scale**2 + problem.prior_precision * np.eye(D)
    rows = np.einsum("nij,nkl->ikjl", h, h).reshape(D * D, D * D) / len(x)  # E h ⊗ h on vec Σ
    step = np.kron(np.eye(D) - H @ A, np.eye(D) - H @ A) + np.kron(H, H) @ (rows - np.kron(A, A)) / S
    noise = (H @ problem.noise @ H.T / S).ravel()
    return np.linalg.solve(np.eye(D * D) - step, noise).reshape(D, D)


# The problems ---------------------------------------------------------------------------------------------------------


class Regression(NamedTuple):
    """A regression: rows, the mean loss (θ, *rows) -> scalar, its minimum θ*, A and C there."""

    x: np.ndarray
    y: np.ndarray
    loss: Callable
    mode: np.ndarray
    hessian: np.ndarray
    noise: np.ndarray
    scale: float
    prior_precision: float


def regression(config, model):
    """The regression of that name."""
    return load(model, config.num_features, config.prior_std)


@cache
def load(model, num_features, prior_std):
    """A regression whose mean loss is −log posterior over N; the prior, the same for all rows, adds nothing to C."""
    bunch: Any = datasets.load_diabetes() if model == "linear" else datasets.load_breast_cancer()
    x = (bunch.data - bunch.data.mean(0)) / bunch.data.std(0)
    x = x @ np.linalg.svd(x, full_matrices=False)[2][:num_features].T
    y = (bunch.target - bunch.target.mean()) / bunch.target.std() if model == "linear" else bunch.target.astype(float)
    n, D = x.shape
    prior_precision = 1 / (n * prior_std**2)
    residual = y - x @ np.linalg.lstsq(x, y)[0]
    scale = float(np.sqrt(residual @ residual / (n - D))) if model == "linear" else 1.0
    loss = partial(linear_loss if model == "linear" else logistic_loss, scale, prior_precision)
    if model == "linear":
        gradient = lambda theta: (x @ theta - y)[:, None] * x / scale**2
        weights = lambda theta: np.full(n, scale**-2)
    else:
        gradient = lambda theta: (special.expit(x @ theta) - y)[:, None] * x
        weights = lambda theta: special.expit(x @ theta) * special.expit(-x @ theta)
    hessian = lambda theta: (x.T * weights(theta)) @ x / n + prior_precision * np.eye(D)
    mean = lambda theta: gradient(theta).mean(0) + prior_precision * theta
    mode = optimize.root(mean, np.zeros(D), jac=hessian, tol=1e-12).x
    noise = np.cov(gradient(mode).T, bias=True)
    return Regression(x, y, loss, mode, hessian(mode), noise, scale, prior_precision)


def linear_loss(scale, prior_precision, theta, x, y):
    return 0.5 * (jnp.mean((x @ theta - y) ** 2) / scale**2 + prior_precision * theta @ theta)


def logistic_loss(scale, prior_precision, theta, x, y):
    logits = x @ theta
    return jnp.mean(jnp.logaddexp(0.0, logits) - y * logits) + 0.5 * prior_precision * theta @ theta


def quadratic(config):
    """A, C and points with mean zero such that the gradient A(θ − y) of a row has exactly the covariance C."""
    rng = np.random.default_rng(0)
    D = len(config.eigenvalues)
    basis, other = (np.linalg.qr(rng.normal(size=(D, D)))[0] for _ in range(2))
    A = (basis * config.eigenvalues) @ basis.T
    C = (other * np.geomspace(1.0, 0.1, D)) @ other.T
    y = rng.normal(size=(config.num_points, D))
    white = np.linalg.qr(y - y.mean(0))[0] * np.sqrt(config.num_points)
    return A, C, white @ linalg.cholesky(C) @ np.linalg.inv(A)


# What is measured -----------------------------------------------------------------------------------------------------


def descend(keys, loss, data, start, maps, *, batch_size, num_steps):
    """Moments [seed, setting, ...] of θ − start in SGD θ ← θ − MMᵀ∇ for every map M [setting, d, d], on the same minibatches.

    With θ = start + Mφ it is SGD of rate 1 in φ: `SGLD` at temperature 0, one chain a seed.
    """
    maps, start = jnp.asarray(maps), jnp.asarray(start)
    move = lambda phi: jnp.einsum("sij,sj->si", maps, phi)
    total = lambda phi, *rows: jnp.sum(jax.vmap(lambda theta: loss(theta, *rows))(start + move(phi)))
    kernel = dm.mcmc.SGLD(minibatch_potential=total, batch_size=batch_size, step_size=1.0, temperature=lambda step: 0.0)
    mcmc = MCMC(
        kernel, num_warmup=num_steps // 10, num_samples=num_steps, thinning=10, num_chains=len(keys),
        chain_method="vectorized", progress_bar=False, jit_model_args=True,
    )  # fmt: skip
    mcmc.run(keys, *map(jnp.asarray, data), init_params=jnp.zeros((len(keys), *maps.shape[:2])))
    return moments(mcmc.get_samples(group_by_chain=True), maps)


@jax.jit
def moments(phi, maps):
    """Mean and second moments over draws."""
    theta = jnp.einsum("sij,cnsj->cnsi", maps, phi)
    return theta.mean(1), jnp.einsum("cnsi,cnsj->csij", theta, theta) / theta.shape[1]


def measure_scalar(config, keys):
    """Variance of SGD on E ½(θ − y)², λ = 1, where σ² = Var(y)/S whatever θ."""
    y = special.ndtri((np.arange(config.num_points) + 0.5) / config.num_points)
    maps = np.sqrt(config.rates)[:, None, None]
    second = descend(
        keys, lambda theta, y: 0.5 * jnp.mean((theta - y) ** 2), ((y / y.std())[:, None],), np.zeros(1), maps,
        batch_size=config.quadratic_batch, num_steps=config.quadratic_steps,
    )[1]  # fmt: skip
    return {"rate": ("rate", np.array(config.rates)), "variance": (("seed", "rate"), second[:, :, 0, 0])}


def measure_quadratic(config, keys):
    """Covariance of SGD on E ½(θ − y)ᵀA(θ − y)."""
    A, _, points = quadratic(config)
    hessian = jnp.asarray(A)
    maps = np.sqrt(np.array(config.rates) / config.eigenvalues[0])[:, None, None] * np.eye(len(A))
    second = descend(
        keys, lambda theta, y: 0.5 * jnp.mean(jnp.einsum("ni,ij,nj->n", theta - y, hessian, theta - y)), (points,),
        np.zeros(len(A)), maps, batch_size=config.quadratic_batch, num_steps=config.quadratic_steps,
    )[1]  # fmt: skip
    return {"rate": ("rate", np.array(config.rates)), "covariance": (("seed", "rate", "i", "j"), second)}


def measure_regression(config, keys, *, model):
    """Mean and second moment of SGD about the posterior's mode, for every preconditioner and rate."""
    problem = regression(config, model)
    best = [np.real(linalg.sqrtm(best_preconditioner(problem, config.batch_size, kind))) for kind in PRECONDITIONERS]
    maps = np.sqrt(config.factors)[:, None, None] * np.array(best)[:, None]
    mean, second = descend(
        keys, problem.loss, (problem.x, problem.y), problem.mode, maps.reshape(-1, *maps.shape[2:]),
        batch_size=config.batch_size, num_steps=config.num_steps,
    )  # fmt: skip
    grid = (len(keys), *maps.shape[:2])
    axes = ("seed", "preconditioner", "factor")
    return {
        "preconditioner": ("preconditioner", np.array(PRECONDITIONERS)),
        "factor": ("factor", np.array(config.factors)),
        "mean": ((*axes, "i"), mean.reshape(*grid, -1)),
        "second": ((*axes, "i", "j"), second.reshape(*grid, *second.shape[2:])),
    }


# What is claimed ------------------------------------------------------------------------------------------------------


def _variance(config, r):
    """Variances over ησ²/2λ, the Ornstein-Uhlenbeck limit."""
    return r["scalar/variance"] / (r["scalar/rate"] / (2 * config.quadratic_batch))


def _scaled(config, covariance_of, rate, i, j):
    """Σ_ij/√(Σ_ii Σ_jj) of the exact recursion times that of `covariance_of` over it."""
    A, C, _ = quadratic(config)
    values = {}
    for one in np.unique(rate):
        H = one / config.eigenvalues[0] * np.eye(len(A))
        spread = np.sqrt(np.diag(discrete_covariance(A, C / config.quadratic_batch, H)))
        values[one] = covariance_of(A, C / config.quadratic_batch, H) / np.outer(spread, spread)
    return np.vectorize(lambda rate, i, j: values[rate][int(i), int(j)])(rate, i, j)


def _correlations(config, r):
    """Measured covariances over the standard deviations of the exact recursion."""
    found = r["quadratic/covariance"]
    A, C, _ = quadratic(config)
    spread = np.array([
        np.sqrt(np.diag(discrete_covariance(
            A, C / config.quadratic_batch, rate / config.eigenvalues[0] * np.eye(len(A)))))
        for rate in found["rate"].to_numpy()
    ])  # fmt: skip
    scale = xr.DataArray(spread[:, :, None] * spread[:, None, :], dims=("rate", "i", "j"))
    return found / scale.assign_coords(rate=found["rate"])


def _optimum(config, model, kind):
    """The minimum over rates of the Ornstein-Uhlenbeck process's divergence, over the theorem's rate."""
    problem = regression(config, model)
    H = best_preconditioner(problem, config.batch_size, kind)
    cost = lambda log_factor: divergence(
        problem.hessian,
        continuous_covariance(problem.hessian, problem.noise / config.batch_size, np.exp(log_factor) * H),
        len(problem.y),
    )
    return float(np.exp(optimize.minimize_scalar(cost, bounds=(-3.0, 3.0), options={"xatol": 1e-9}).x))


def _worst(values):
    return max(values, key=lambda value: abs(np.log(value)))


def theory(config, model, kind, factor, law):
    """The divergence of a law of the covariance at a rate."""
    problem = regression(config, model)
    H = factor * best_preconditioner(problem, config.batch_size, kind)
    covariance = law(problem, config.batch_size, H)
    return divergence(problem.hessian, covariance, len(problem.y))


def continuous(problem, batch_size, H):
    return continuous_covariance(problem.hessian, problem.noise / batch_size, H)


def discrete(problem, batch_size, H):
    return discrete_covariance(problem.hessian, problem.noise / batch_size, H)


def _divergences(config, r, model):
    """KL(SGD ‖ posterior) from the moments of all seeds, [preconditioner, factor]."""
    found = r["regression/second"].sel(model=model).mean("seed", skipna=False)
    mean = r["regression/mean"].sel(model=model).mean("seed", skipna=False)
    problem = regression(config, model)
    covariance = found.transpose(..., "i", "j").to_numpy()
    offset = mean.transpose(..., "i").to_numpy()
    covariance = covariance - offset[..., :, None] * offset[..., None, :]
    values = [
        [
            divergence(problem.hessian, covariance[k, f], len(problem.y), offset[k, f])
            for f in range(len(config.factors))
        ]
        for k in range(covariance.shape[0])
    ]
    return xr.DataArray(values, dims=("preconditioner", "factor"), coords={
        "preconditioner": found["preconditioner"], "factor": found["factor"]})  # fmt: skip


def _whitened(config, r, model, law):
    """The trace of Σ_law⁻¹ Σ̂ / D, [seed, preconditioner, factor]: 1 where the covariance is that of the law."""
    problem = regression(config, model)
    found = r["regression/second"].sel(model=model)
    inverse = [
        [
            np.linalg.inv(law(problem, config.batch_size, factor * best_preconditioner(problem, config.batch_size, str(kind))))
            for factor in found["factor"].to_numpy()
        ]
        for kind in found["preconditioner"].to_numpy()
    ]  # fmt: skip
    weights = xr.DataArray(inverse, dims=("preconditioner", "factor", "i", "j"))
    weights = weights.assign_coords(preconditioner=found["preconditioner"], factor=found["factor"])
    return (found * weights).sum(("i", "j"), skipna=False) / len(problem.mode)


CLAIMS = (
    Claim("discrete",
        "on a quadratic the variance is ησ²/(λ(2 − ηλ)) at every stable learning rate: over ησ²/2λ it is 1/(1 − ηλ/2)",
        source="the recursion θ ← (1 − ηλ)θ + ησξ", basis="formula",
        expect=Curve(lambda config, rate: 1 / (1 - rate / 2), rtol=0.06),
        statistic=_variance),
    Claim("continuous",
        "at ηλ = 0.05 it is ησ²/2λ, that of the Ornstein-Uhlenbeck process",
        source="Ornstein-Uhlenbeck process", expect=Equal(1.0, rtol=0.06),
        statistic=lambda config, r: _variance(config, r).sel(rate=0.05),
        needs=lambda config: 0.05 in config.rates),
    Claim("continuous-breaks",
        "at ηλ = 1, where a step goes to the minimum of its minibatch, the process has half of the variance",
        source="the recursion", basis="formula", expect=Equal(2.0, rtol=0.03),
        statistic=lambda config, r: _variance(config, r).sel(rate=1.0),
        needs=lambda config: 1.0 in config.rates),
    Claim("lyapunov",
        "in several dimensions, A and C not commuting, it solves AΣ + ΣA − ηAΣA = (η/S)C: covariances over √(Σ_ii Σ_jj)",
        source="the recursion", basis="formula",
        expect=Curve(partial(_scaled, covariance_of=discrete_covariance), atol=0.08),
        statistic=_correlations),
    Claim("lyapunov-continuous",
        "and at small rates, up to ηλ = 0.05, the paper's AΣ + ΣA = (η/S)C",
        source="Ornstein-Uhlenbeck process", basis="formula",
        expect=Curve(partial(_scaled, covariance_of=continuous_covariance), atol=0.12),
        statistic=lambda config, r: _correlations(config, r).sel(rate=slice(None, 0.05)),
        needs=lambda config: min(config.rates) <= 0.05),
    Claim("best-rate",
        "of the process, 2SD/(N tr C) minimises the divergence, and so do the theorem's diagonal and full preconditioners:"
        " the numerical minimum over it",
        source="Theorems 1 and 2", expect=Equal(1.0, rtol=1e-5),
        statistic=lambda config, r: _worst(
            [_optimum(config, model, kind) for model in config.models for kind in PRECONDITIONERS])),
    *(Claim(f"best-rate-{model}",
        f"of SGD on {model} regression as well, up to a factor of 2: the rate of least divergence over it",
        source="Theorem 1", expect=Equal(1.0, atol=0.51),
        statistic=lambda config, r, model=model: _divergences(config, r, model).sel(
            preconditioner="none").idxmin("factor"),
        needs=lambda config, model=model: model in config.models and {0.5, 1.0, 2.0} <= set(config.factors))
        for model in ("linear", "logistic")),
    Claim("linear",
        "on linear regression the covariance is that of the recursion with noise that grows away from the minimum",
        source="second moments of the recursion", basis="formula",
        expect=Curve(lambda config, preconditioner, factor: np.ones(factor.shape), rtol=0.08),
        statistic=lambda config, r: _whitened(config, r, "linear", linear_covariance),
        needs=lambda config: "linear" in config.models),
    Claim("constant-noise-linear",
        "with noise as at the minimum it is the same to 5 % at the theorem's rate: measured over that",
        source="constant noise near the minimum", expect=Equal(1.0, rtol=0.05),
        statistic=lambda config, r: _whitened(config, r, "linear", discrete).sel(preconditioner="none", factor=1.0),
        needs=lambda config: "linear" in config.models and 1.0 in config.factors),
    Claim("constant-noise-logistic",
        "on logistic regression, second moments about the mode are the same to 10 % at a quarter of the theorem's rate",
        source="constant noise near the minimum", expect=Equal(1.0, rtol=0.1),
        statistic=lambda config, r: _whitened(config, r, "logistic", discrete).sel(preconditioner="none", factor=0.25),
        needs=lambda config: "logistic" in config.models and 0.25 in config.factors),
    Claim("constant-noise-far",
        "and so they are at four times the theorem's rate",
        source="constant noise near the minimum", expect=Equal(1.0, rtol=0.25),
        statistic=lambda config, r: _whitened(config, r, "logistic", discrete).sel(preconditioner="none", factor=4.0),
        needs=lambda config: "logistic" in config.models and 4.0 in config.factors,
        fails="the draws lie where the loss is no quadratic: its flatter side draws their mean away from the minimum"),
    Claim("full-linear",
        "with the preconditioner (2S/N) C⁻¹ SGD samples the posterior: its divergence on linear regression",
        source="Theorem 2", expect=AtMost(0.02),
        statistic=lambda config, r: _divergences(config, r, "linear").sel(preconditioner="full", factor=1.0),
        needs=lambda config: "linear" in config.models and 1.0 in config.factors),
    Claim("full-logistic",
        "and on logistic regression, roughly: the mean is off by parts of a standard deviation",
        source="Theorem 2", expect=AtMost(0.25),
        statistic=lambda config, r: _divergences(config, r, "logistic").sel(preconditioner="full", factor=1.0),
        needs=lambda config: "logistic" in config.models and 1.0 in config.factors),
    Claim("order",
        "a full preconditioner is closer to the posterior than a diagonal one, and that closer than none: the smallest gap",
        source="Theorems 1 and 2", expect=AtLeast(0.0),
        statistic=lambda config, r: min(
            float(-_divergences(config, r, model).sel(factor=1.0).diff("preconditioner").max()) for model in config.models),
        needs=lambda config: bool(config.models) and 1.0 in config.factors),
)  # fmt: skip


# What is drawn --------------------------------------------------------------------------------------------------------


@dm.plot.style()
def figures(config, results):
    """Variance over the learning rate, and divergence from the posterior over it."""
    rates = np.array(config.rates)
    scalar = dm.plot.figure("column")
    ax = scalar.subplots()
    ax.set(
        xscale="log",
        yscale="log",
        xlabel=r"learning rate $\eta\lambda$",
        ylabel=r"variance over $\eta\sigma^2/2\lambda$",
    )
    values = _variance(config, results).transpose("seed", "rate").to_numpy()
    dm.plot.curve_with_theory(
        ax, rates, values, lambda rate: 1 / (1 - rate / 2), label="SGD", theory_label=r"$1/(1 - \eta\lambda/2)$"
    )
    ax.axhline(1.0, color="0.5", linestyle=":", label="Ornstein-Uhlenbeck")
    ax.set_yticks([1, 2, 5, 10], ["1", "2", "5", "10"])
    ax.minorticks_off()
    ax.legend()

    drawn = {"variance": scalar}
    if len(config.factors) > 1:
        page = dm.plot.figure("page", height=2.6)
        fine = np.geomspace(min(config.factors), max(config.factors), 41)
        for ax, model in zip(np.atleast_1d(page.subplots(1, len(config.models))), config.models, strict=True):
            ax.set(xscale="log", yscale="log", xlabel="learning rate over the theorem's", title=f"{model} regression")
            found = _divergences(config, results, model)
            for color, kind in zip(dm.plot.COLORS, PRECONDITIONERS, strict=False):
                label = f"SGD, {kind} preconditioner" if kind != "none" else "SGD"
                ax.plot(config.factors, found.sel(preconditioner=kind), "o", color=color, label=label)
                last = kind == PRECONDITIONERS[-1]
                for law, line in (
                    (continuous, {"linestyle": ":", "linewidth": 0.8, "color": color}),
                    (discrete, dm.plot.THEORY),
                ):
                    name = "process" if law is continuous else "recursion, constant noise"
                    values = [theory(config, model, kind, factor, law) for factor in fine]
                    ax.plot(fine, values, label=name if last else None, **line)
            # The process reaches the posterior of a quadratic exactly: down there is rounding.
            ax.set_ylim(bottom=1e-4)
            ax.set_xticks([0.25, 0.5, 1, 2, 4], ["1/4", "1/2", "1", "2", "4"])
            ax.minorticks_off()
        page.axes[0].set_ylabel("KL(SGD | posterior) [nat]")
        page.legend(*page.axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=5)
        drawn["divergence"] = page
    return drawn


EXPERIMENT = Experiment(
    Config,
    SCALES,
    studies={
        "scalar": Study(measure_scalar, seeds_per_unit=20),
        "quadratic": Study(measure_quadratic, seeds_per_unit=20),
        "regression": Study(measure_regression, over={"model": "models"}, seeds_per_unit=20),
    },
    claims=CLAIMS,
    figures=figures,
    precision="float64",
    deviations=(
        "Other data: scikit-learn's diabetes and breast cancer, their leading principal components.",
        "Rows of a minibatch are drawn with replacement.",
        "No momentum, no iterate averaging, no optimisation of hyperparameters.",
    ),
)
