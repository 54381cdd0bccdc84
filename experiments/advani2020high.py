"""High-dimensional dynamics of generalization error in neural networks (Advani, Saxe & Sompolinsky 2020).

Gradient flow on ‖y − Xβ‖²/2n from β = 0, for y = Xβ* + ε with n samples of p isotropic features, ‖β*‖² = r² and noise of
variance σ². In the limit p/n → γ, with l distributed by the Marchenko-Pastur law, the risk ‖β(t) − β*‖² is

    r² E e^{−2lt} + σ²γ E (1 − e^{−lt})²/l.

The second descent takes time: early on the risk has no peak in γ, later it has one at γ = 1 that grows for ever, since the
eigenvalues near zero are the last to overfit. Stopped at the best time, it has none, and is nearly as good as tuned ridge.
(Neural Networks 132, 428-446; arXiv 1710.03667.)
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

import dlmath as dm
from dlmath.repro import AtLeast, AtMost, Claim, Curve, Equal, Experiment, Study


@dataclass(frozen=True)
class Config:
    """Settings."""

    aspect_ratios: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 4.0)
    """Features per sample, γ = p/n."""
    num_samples: int = 200
    """Training samples n."""
    signal: float = 1.0
    """Squared norm of the coefficients, r²."""
    noise: float = 0.5
    """Variance of the noise, σ²."""
    first_time: float = 0.05
    """The first of the times at which the risk is measured."""
    last_time: float = 200.0
    """The last of them."""
    num_times: int = 37
    """Times, at equal ratios."""
    num_seeds: int = 40
    """Independent draws of X."""
    step_size: float = 0.05
    """Learning rate η of gradient descent, compared with the flow at t = η k."""
    num_steps: int = 400
    """Steps k of gradient descent."""
    num_runs: int = 4
    """Independent draws of (β*, X, ε) for gradient descent."""


SCALES = {
    "smoke": Config(),
    "laptop": Config(
        aspect_ratios=(0.1, 0.2, 0.35, 0.5, 0.7, 0.85, 1.0, 1.2, 1.5, 2.0, 3.0, 5.0),
        num_samples=400,
        num_times=61,
        num_seeds=100,
        step_size=0.02,
        num_steps=2000,
        num_runs=10,
    ),
    "paper": Config(
        aspect_ratios=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 1.75, 2.0, 3.0, 5.0, 10.0),
        num_samples=2000,
        num_times=61,
        num_seeds=100,
        step_size=0.02,
        num_steps=2000,
        num_runs=10,
    ),
}


# The paper's formulas -------------------------------------------------------------------------------------------------


def times(config):
    """The times at which the risk is measured."""
    return np.geomspace(config.first_time, config.last_time, config.num_times)


def flow_risk(config, aspect_ratio, time):
    """The limiting risk at time t."""
    flow = dm.double_descent.isotropic_flow_risk(time, aspect_ratio, signal=config.signal, noise=config.noise)
    return np.asarray(flow.risk)


@np.vectorize(excluded=[0])
def best_risk(config, aspect_ratio):
    """The limiting risk at the best time."""
    found = dm.double_descent.optimal_stopping([1.0], config.signal, 1 / aspect_ratio, noise=config.noise)
    return float(found.risk)


def ridge_risk(config, aspect_ratio):
    """The limiting risk of ridge regression at its best penalty σ²γ/r²."""
    penalty = config.noise * aspect_ratio / config.signal
    found = dm.double_descent.isotropic_risk(aspect_ratio, penalty=penalty, signal=config.signal, noise=config.noise)
    return np.asarray(found.risk)


# What is measured -----------------------------------------------------------------------------------------------------


def measure(config, keys, *, aspect_ratio):
    """Risk of gradient flow given X over time, averaged over noise and over directions of β*."""
    num_features = round(aspect_ratio * config.num_samples)
    risk = flow(
        keys, jnp.array(times(config)), config.signal, config.noise,
        num_samples=config.num_samples, num_features=num_features,
    )  # fmt: skip
    return {"time": ("time", times(config)), "risk": (("seed", "time"), risk)}


@partial(jax.jit, static_argnames=("num_samples", "num_features"))
def flow(keys, times, signal, noise, *, num_samples, num_features):
    """(r²/p) tr e^{−2tS} + (σ²/n) tr (1 − e^{−tS})² S⁺ from the eigenvalues of S = XᵀX/n, [seed, time]."""

    def one(key):
        x = jax.random.normal(key, (num_samples, num_features))
        gram = x.T @ x if num_features < num_samples else x @ x.T
        eigenvalues = jnp.maximum(jnp.linalg.eigvalsh(gram / num_samples), jnp.finfo(x.dtype).eps)
        decay = jnp.exp(-times[:, None] * eigenvalues)
        bias = (decay**2).sum(1) + max(0, num_features - num_samples)
        variance = ((1 - decay) ** 2 / eigenvalues).sum(1)
        return signal * bias / num_features + noise * variance / num_samples

    return jax.lax.map(one, keys)


def measure_descent(config, keys, *, aspect_ratio):
    """Risk of gradient descent with a small step after every step, and of the flow on the same data."""
    num_features = round(aspect_ratio * config.num_samples)
    descent, exact = descend(
        keys, config.step_size, config.signal, config.noise,
        num_samples=config.num_samples, num_features=num_features, num_steps=config.num_steps,
    )  # fmt: skip
    steps = config.step_size * np.arange(config.num_steps + 1)
    return {
        "time": ("time", steps),
        "descent": (("seed", "time"), descent),
        "flow": (("seed", "time"), exact),
    }


@partial(jax.jit, static_argnames=("num_samples", "num_features", "num_steps"))
def descend(keys, step_size, signal, noise, *, num_samples, num_features, num_steps):
    """‖β_k − β*‖² of β_{k+1} = β_k + (η/n) Xᵀ(y − Xβ_k), and of the spectral filter of the flow at t = ηk."""

    def one(key):
        sample = dm.data.linear_gaussian(
            key, num_samples, num_features, signal=jnp.sqrt(signal), noise_std=jnp.sqrt(noise)
        )
        x, y, target = sample

        def step(beta, _):
            after = beta + step_size / num_samples * (x.T @ (y - x @ beta))
            return after, jnp.sum((beta - target) ** 2)

        risk = jax.lax.scan(step, jnp.zeros(num_features), length=num_steps + 1)[1]
        found = dm.double_descent.decompose(x, y)
        filters = dm.double_descent.gradient_flow(found, step_size * jnp.arange(num_steps + 1.0))
        path = dm.double_descent.coefficients(found, filters)
        return risk, jnp.sum((path - target) ** 2, axis=1)

    return jax.lax.map(one, keys)


# What is claimed ------------------------------------------------------------------------------------------------------


def _risk(r):
    return r["flow/risk"]


def _until(array, time):
    return array.sel(time=slice(None, time))


def _stopped(r):
    """The smallest mean risk over time, at each γ."""
    return _risk(r).mean("seed", skipna=False).min("time")


def _peak_at(r, time):
    """The γ of the largest mean risk near a time."""
    return _risk(r).sel(time=time, method="nearest").mean("seed", skipna=False).idxmax("aspect_ratio")


def _away(array):
    """Points at least a factor 1.4 from γ = 1, where n samples are close to the limit at all times."""
    gamma = array["aspect_ratio"]
    return array.sel(aspect_ratio=gamma[abs(np.log(gamma)) > np.log(1.4)])


CLAIMS = (
    Claim("risk",
        "away from γ = 1 the risk is that of the Marchenko-Pastur integral at all times, to 3 %",
        source="Section 2, averaged dynamics; Fig. 3", basis="formula", expect=Curve(flow_risk, rtol=0.03),
        statistic=lambda config, r: _away(_risk(r)),
        needs=lambda config: config.num_samples >= 400),
    Claim("risk-early",
        "at every γ it is until t = 20, to 3 %",
        source="Section 2, averaged dynamics; Fig. 3", basis="formula", expect=Curve(flow_risk, rtol=0.03),
        statistic=lambda config, r: _until(_risk(r), 20.0),
        needs=lambda config: config.num_samples >= 400),
    Claim("risk-roughly",
        "at every γ and time it is up to corrections of finite n",
        source="Section 2, averaged dynamics; Fig. 3", basis="formula", expect=Curve(flow_risk, rtol=0.2),
        statistic=lambda config, r: _risk(r)),
    Claim("descent",
        "gradient descent with a small step follows the flow on the same data: the largest difference in risk, over r² + σ²",
        source="Section 2, small learning rates", basis="formula", expect=AtMost(0.03),
        statistic=lambda config, r: (abs(r["descent/descent"] - r["descent/flow"]).max(("time", "aspect_ratio"))
            / (config.signal + config.noise)).mean("seed")),
    Claim("peak-late",
        "late in training the risk peaks at as many features as samples",
        source="Fig. 4", expect=Equal(1.0, atol=0.01),
        statistic=lambda config, r: _peak_at(r, config.last_time),
        needs=lambda config: 1.0 in config.aspect_ratios[1:-1] and config.last_time >= 100),
    Claim("no-peak-early",
        "early it has none: at t = 0.5 it grows with γ at every step of the grid",
        source="Fig. 4", basis="formula", expect=AtLeast(0.0),
        statistic=lambda config, r: _risk(r).sel(time=0.5, method="nearest").mean("seed", skipna=False).diff(
            "aspect_ratio").min(),
        needs=lambda config: len(config.aspect_ratios) > 1 and config.first_time < 0.5 < config.last_time),
    Claim("peak-grows",
        "at γ = 1 the risk still grows between half the last time and the last",
        source="Section 2, overtraining", basis="formula", expect=AtLeast(0.02),
        statistic=lambda config, r: _risk(r).sel(aspect_ratio=1.0).isel(time=-1)
        - _risk(r).sel(aspect_ratio=1.0).sel(time=config.last_time / 2, method="nearest"),
        needs=lambda config: 1.0 in config.aspect_ratios),
    Claim("stopped",
        "the risk at the best time is that of the theory, at every γ",
        source="Section 2, optimal stopping", basis="formula", expect=Curve(best_risk, rtol=0.03),
        statistic=lambda config, r: _stopped(r)),
    Claim("stopped-no-peak",
        "at the best time the risk has no peak: it grows with γ at every step of the grid",
        source="Fig. 4", expect=AtLeast(0.0),
        statistic=lambda config, r: _stopped(r).diff("aspect_ratio").min(),
        needs=lambda config: len(config.aspect_ratios) > 1),
    Claim("stopping-or-ridge",
        "early stopping costs at most 6 % more than the best ridge penalty, at every γ",
        source="Section 2, comparison with weight decay", basis="formula", expect=AtMost(1.06),
        statistic=lambda config, r: (_stopped(r) / ridge_risk(config, _stopped(r)["aspect_ratio"].to_numpy())).max()),
)  # fmt: skip


# What is drawn --------------------------------------------------------------------------------------------------------


@dm.plot.style()
def figures(config, results):
    """Risk over time at some γ, and over γ at some times."""
    gammas, grid = np.array(config.aspect_ratios), times(config)
    if len(gammas) < 2 or len(grid) < 2:
        return {}
    over_time = dm.plot.figure("column")
    ax = over_time.subplots()
    ax.set(xscale="log", yscale="log", xlabel="time $t$", ylabel=r"risk $E\|\beta(t) - \beta^*\|^2$")
    shown = sorted({gammas[np.argmin(abs(np.log(gammas / target)))] for target in (0.25, 0.5, 1.0, 2.0, 4.0)})
    for gamma in shown:
        values = _risk(results).sel(aspect_ratio=gamma).transpose("seed", "time").to_numpy()
        curve = flow_risk(config, gamma, grid)
        label = "theory" if gamma == shown[-1] else None
        dm.plot.curve_with_theory(
            ax, grid, values, (grid, curve), label=rf"$\gamma = {gamma:g}$", theory_label=label, errors="band"
        )
    ax.legend(loc="upper left")

    over_gamma = dm.plot.figure("column")
    ax = over_gamma.subplots()
    ax.set(xscale="log", yscale="log", xlabel=r"aspect ratio $\gamma = p/n$", ylabel="risk")
    fine = np.geomspace(gammas.min(), gammas.max(), 81)
    for target in (0.5, 2.0, 20.0, 200.0):
        time = float(grid[np.argmin(abs(np.log(grid / target)))])
        values = _risk(results).sel(time=time).transpose("seed", "aspect_ratio").to_numpy()
        curve = (fine, flow_risk(config, fine, time))
        dm.plot.curve_with_theory(ax, gammas, values, curve, label=f"$t = {float(f'{time:.2g}'):g}$", theory_label=None)
    best = np.asarray(_stopped(results))
    ax.plot(gammas, best, "kx", markersize=4, label="best time")
    ax.plot(fine, best_risk(config, fine), label="theory", **dm.plot.THEORY)
    ax.axvline(1.0, color="0.5", linestyle=":", zorder=0)
    ticks = [tick for tick in (0.1, 0.2, 0.5, 1, 2, 5, 10) if gammas.min() <= tick <= gammas.max()]
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.tick_params(axis="x", which="minor", bottom=False, labelbottom=False)
    ax.legend()
    return {"time": over_time, "aspect-ratio": over_gamma}


EXPERIMENT = Experiment(
    Config,
    SCALES,
    studies={
        "flow": Study(measure, over={"aspect_ratio": "aspect_ratios"}, seeds_per_unit=20),
        "descent": Study(
            measure_descent, over={"aspect_ratio": "aspect_ratios"}, seeds_per_unit=10, num_seeds="num_runs"
        ),
    },
    claims=CLAIMS,
    figures=figures,
    precision="float64",
    deviations=(
        "The linear model only: no deep linear and no nonlinear networks.",
        "Coefficients start at zero, and features have variance 1 where the paper's have 1/p.",
        "The risk is averaged over noise and over directions of β* given X, exactly; in gradient descent they are drawn.",
    ),
)
