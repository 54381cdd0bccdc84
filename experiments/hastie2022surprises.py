"""Surprises in high-dimensional ridgeless least squares interpolation (Hastie, Montanari, Rosset & Tibshirani 2022).

The linear model y = xᵀβ + ε with isotropic x in p dimensions, ‖β‖² = r², noise of variance σ², and n samples, in the
limit p/n → γ. The least-squares estimator of minimum norm has the risk E‖β̂ − β‖²

    σ²γ/(1 − γ)  for γ < 1,        r²(1 − 1/γ) + σ²/(γ − 1)  for γ > 1:

it peaks at the interpolation threshold γ = 1 and falls again beyond, though every training point is interpolated. Its
norm has the same peak. Ridge regression at the penalty λ* = σ²γ/r² has no peak, and is better everywhere.
(Annals of Statistics 50, 949-986; arXiv 1903.08560. Test error is risk + σ²: for isotropic x it is exact given β̂.)
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

import dlmath as dm
from dlmath.repro import AtLeast, Claim, Curve, Equal, Experiment, Study


@dataclass(frozen=True)
class Config:
    """Settings."""

    aspect_ratios: tuple[float, ...] = (0.5, 0.8, 1.0, 1.25, 2.0)
    """Features per sample, γ = p/n."""
    num_samples: int = 200
    """Training samples n."""
    signal: float = 5.0
    """Squared norm of the coefficients, r²."""
    noise: float = 1.0
    """Variance of the noise, σ²."""
    penalty_factors: tuple[float, ...] = (0.1, 0.3, 1.0, 3.0, 10.0)
    """Penalties of the ridge path, in units of the optimal one, λ* = σ²γ/r²."""
    num_seeds: int = 200
    """Independent draws of (β, X, ε)."""


SCALES = {
    "smoke": Config(),
    "laptop": Config(
        aspect_ratios=(0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0, 1.05, 1.1, 1.2, 1.3, 1.4, 1.6, 1.8, 2.0,
                       2.25, 2.5, 3.0, 4.0, 5.0),
        num_samples=300,
        penalty_factors=(0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0),
    ),
    "paper": Config(
        aspect_ratios=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 1.0, 1.05, 1.1, 1.15, 1.2, 1.3, 1.4,
                       1.6, 1.8, 2.0, 2.25, 2.5, 3.0, 4.0, 5.0, 7.0, 10.0),
        num_samples=1000,
        penalty_factors=(0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0),
    ),
}  # fmt: skip


# The paper's formulas -------------------------------------------------------------------------------------------------


def ridgeless_risk(config, aspect_ratio):
    """Limit of E‖β̂ − β‖² of the minimum-norm estimator; infinite at γ = 1."""
    below, above = _sides(aspect_ratio)
    return np.where(
        np.asarray(aspect_ratio) < 1,
        config.noise * below / (1 - below),
        config.signal * (1 - 1 / above) + config.noise / (above - 1),
    )


def ridgeless_norm(config, aspect_ratio):
    """Limit of E‖β̂‖² of the minimum-norm estimator; infinite at γ = 1."""
    below, above = _sides(aspect_ratio)
    return np.where(
        np.asarray(aspect_ratio) < 1,
        config.signal + config.noise * below / (1 - below),
        config.signal / above + config.noise / (above - 1),
    )


def optimal_penalty(config, aspect_ratio):
    """λ* = σ²γ/r², which minimises the risk of ridge regression."""
    return config.noise * aspect_ratio / config.signal


def ridge_risk(config, aspect_ratio):
    """Limit of E‖β̂ − β‖² of ridge regression at λ*: σ²γ m(−λ*), m the Stieltjes transform of XᵀX/n."""
    gamma = np.asarray(aspect_ratio, float)
    penalty = optimal_penalty(config, gamma)
    b = 1 - gamma + penalty
    m = (-b + np.sqrt(b**2 + 4 * gamma * penalty)) / (2 * gamma * penalty)
    return config.noise * gamma * m


def best_aspect_ratio(config):
    """Where the ridgeless risk above the threshold is smallest, for a signal r² > σ²: √SNR/(√SNR − 1)."""
    root = np.sqrt(config.signal / config.noise)
    return root / (root - 1)


def _sides(aspect_ratio):
    """The ratio below 1 and the one above; at 1 itself the limits are infinite from both sides."""
    gamma = np.asarray(aspect_ratio, float)
    with np.errstate(divide="ignore"):
        return np.where(gamma < 1, gamma, 0.0), np.where(gamma > 1, gamma, np.nextafter(1, 2))


# What is measured -----------------------------------------------------------------------------------------------------


def measure(config, keys, *, aspect_ratio):
    """Risk and squared norm of the ridgeless and of the ridge estimator, over draws of (β, X, ε)."""
    num_features = round(aspect_ratio * config.num_samples)
    penalties = jnp.array(config.penalty_factors) * optimal_penalty(config, num_features / config.num_samples)
    risk, norm, path_risk = estimate(
        keys, penalties, config.signal, config.noise, num_samples=config.num_samples, num_features=num_features
    )
    return {
        "penalty_factor": ("penalty_factor", np.array(config.penalty_factors)),
        "ridgeless_risk": risk,
        "ridgeless_norm": norm,
        "path_risk": (("seed", "penalty_factor"), path_risk),
    }


@partial(jax.jit, static_argnames=("num_samples", "num_features"))
def estimate(keys, penalties, signal, noise, *, num_samples, num_features):
    """‖β̂ − β‖² and ‖β̂‖² of the minimum norm, ‖β̂(λ) − β‖² along the path; compiled once a shape."""

    @jax.vmap
    def one(key):
        sample = dm.data.linear_gaussian(
            key, num_samples, num_features, signal=jnp.sqrt(signal), noise_std=jnp.sqrt(noise)
        )
        ridgeless = dm.linalg.min_norm(sample.x, sample.y)
        path = dm.linalg.ridge(sample.x, sample.y, penalties)
        risk = jnp.sum((ridgeless - sample.coefficients) ** 2)
        return risk, jnp.sum(ridgeless**2), jnp.sum((path - sample.coefficients) ** 2, axis=-1)

    return one(keys)


# What is claimed ------------------------------------------------------------------------------------------------------


def _away(config, array):
    """Points at least a factor 1.5 from the threshold, where 200 samples are close to the limit."""
    gamma = array["aspect_ratio"]
    return array.sel(aspect_ratio=gamma[(gamma <= 1 / 1.5) | (gamma >= 1.5)])


def _near(config, array):
    """Points closer than that, without the 7 % on both sides of the threshold where moments are infinite."""
    gamma = array["aspect_ratio"]
    inside = (gamma > 1 / 1.5) & (gamma < 1.5) & (abs(np.log(gamma)) > 0.07)
    return array.sel(aspect_ratio=gamma[inside])


def _optimal_risk(r):
    return r["risk/path_risk"].sel(penalty_factor=1.0)


def _point_claim(name, what, gamma, value, statistic):
    return Claim(
        name,
        f"with r² = 5, σ² = 1 the minimum-norm estimator at γ = {gamma:g} has {what} {value:g}",
        source="isotropic features, Fig. 2" if "error" in what else "isotropic features, norm of the solution",
        basis="formula",
        expect=Equal(value, rtol=0.03),
        statistic=lambda config, r: statistic(config, r).sel(aspect_ratio=gamma),
        needs=lambda config: gamma in config.aspect_ratios and (config.signal, config.noise) == (5.0, 1.0),
    )


def _test_error(config, r):
    return r["risk/ridgeless_risk"] + config.noise


def _norm(config, r):
    return r["risk/ridgeless_norm"]


CLAIMS = (
    _point_claim("error-below", "test error", 0.5, 2.0, _test_error),
    _point_claim("norm-below", "squared norm", 0.5, 6.0, _norm),
    _point_claim("error-above", "test error", 2.0, 4.5, _test_error),
    _point_claim("norm-above", "squared norm", 2.0, 3.5, _norm),
    Claim(
        "ridgeless-risk",
        "away from the threshold the ridgeless risk is σ²γ/(1 − γ), then r²(1 − 1/γ) + σ²/(γ − 1)",
        source="isotropic features, Fig. 2",
        basis="formula",
        expect=Curve(ridgeless_risk, rtol=0.06),
        statistic=lambda config, r: _away(config, r["risk/ridgeless_risk"]),
        needs=lambda config: any(g <= 1 / 1.5 or g >= 1.5 for g in config.aspect_ratios),
    ),
    Claim(
        "ridgeless-risk-near",
        "the same formula holds near the threshold, up to corrections of finite n",
        source="isotropic features, Fig. 2",
        basis="formula",
        expect=Curve(ridgeless_risk, rtol=0.3),
        statistic=lambda config, r: _near(config, r["risk/ridgeless_risk"]),
        needs=lambda config: any(1 / 1.5 < g < 1.5 and abs(np.log(g)) > 0.07 for g in config.aspect_ratios),
    ),
    Claim(
        "peak",
        "the ridgeless risk peaks where the data are first interpolated, at p/n = 1",
        source="Fig. 2",
        expect=Equal(1.0, atol=0.01),
        statistic=lambda config, r: r["risk/ridgeless_risk"].median("seed").idxmax("aspect_ratio"),
        needs=lambda config: {0.8, 1.0} <= set(config.aspect_ratios) and max(config.aspect_ratios) > 1,
    ),
    Claim(
        "norm",
        "away from the threshold E‖β̂‖² is r² + σ²γ/(1 − γ), then r²/γ + σ²/(γ − 1)",
        source="isotropic features, norm of the solution",
        basis="formula",
        expect=Curve(ridgeless_norm, rtol=0.05),
        statistic=lambda config, r: _away(config, r["risk/ridgeless_norm"]),
        needs=lambda config: any(g <= 1 / 1.5 or g >= 1.5 for g in config.aspect_ratios),
    ),
    Claim(
        "second-descent",
        "for SNR > 1 the risk above the threshold has its minimum at γ = √SNR/(√SNR − 1)",
        source="isotropic features, after the limiting risk",
        basis="formula",
        expect=Equal(best_aspect_ratio, atol=0.35),
        statistic=lambda config, r: _minimum_above(r["risk/ridgeless_risk"].mean("seed", skipna=False)),
        needs=lambda config: sum(1.3 <= g <= 3 for g in config.aspect_ratios) >= 6 and config.signal > config.noise,
    ),
    Claim(
        "ridge-risk",
        "at λ* = σ²γ/r² the ridge risk is σ²γ m(−λ*), at every γ",
        source="ridge regression, isotropic features",
        basis="formula",
        expect=Curve(ridge_risk, rtol=0.06),
        statistic=lambda config, r: _optimal_risk(r),
        needs=lambda config: 1.0 in config.penalty_factors,
    ),
    Claim(
        "optimal-penalty",
        "λ* minimises the risk: the best penalty of the path is 1 λ*, at every γ",
        source="ridge regression, isotropic features",
        basis="formula",
        expect=Curve(lambda config, aspect_ratio: np.ones_like(aspect_ratio), rtol=0.5),
        statistic=lambda config, r: r["risk/path_risk"].mean("seed", skipna=False).idxmin("penalty_factor"),
        needs=lambda config: 1.0 in config.penalty_factors,
    ),
    Claim(
        "no-peak",
        "optimally tuned ridge regression has no peak: its risk grows with γ at every step of the grid",
        source="ridge regression, isotropic features",
        basis="formula",
        expect=AtLeast(0.0),
        statistic=lambda config, r: _optimal_risk(r).mean("seed", skipna=False).diff("aspect_ratio").min(),
        needs=lambda config: 1.0 in config.penalty_factors and len(config.aspect_ratios) > 1,
    ),
    Claim(
        "ridge-wins",
        "optimally tuned ridge regression has a smaller risk than the ridgeless estimator, at every γ",
        source="ridge regression, isotropic features",
        basis="formula",
        expect=AtLeast(0.0),
        statistic=lambda config, r: (r["risk/ridgeless_risk"] - _optimal_risk(r)).mean("seed", skipna=False).min(),
        needs=lambda config: 1.0 in config.penalty_factors,
    ),
)


def _minimum_above(risk):
    return risk.sel(aspect_ratio=risk["aspect_ratio"][risk["aspect_ratio"] > 1.1]).idxmin("aspect_ratio")


# What is drawn --------------------------------------------------------------------------------------------------------


@dm.plot.style()
def figures(config, results):
    """Risk of both estimators, norm of the ridgeless one, and risk along the ridge path, over γ."""
    gamma = results["risk/ridgeless_risk"]["aspect_ratio"].to_numpy()
    if len(gamma) < 2:
        return {}
    fine = np.geomspace(gamma.min(), gamma.max(), 801)
    ridgeless = np.where(abs(np.log(fine)) < 0.01, np.nan, ridgeless_risk(config, fine))
    norm = np.where(abs(np.log(fine)) < 0.01, np.nan, ridgeless_norm(config, fine))
    ceiling = 4 * config.signal

    risk_figure = dm.plot.figure("column")
    ax = risk_figure.subplots()
    ax.set_xscale("log")
    dm.plot.curve_with_theory(
        ax, gamma, results["risk/ridgeless_risk"].to_numpy().T, (fine, ridgeless), label="ridgeless",
        threshold=1.0, threshold_label="$p = n$",
    )  # fmt: skip
    if 1.0 in config.penalty_factors:
        dm.plot.curve_with_theory(
            ax, gamma, _optimal_risk(results).to_numpy().T, (fine, ridge_risk(config, fine)),
            label="ridge at $\\lambda^*$", theory_label=None,
        )  # fmt: skip
    ax.axhline(config.signal, color="0.7", linewidth=0.6, zorder=0, label=r"$\hat\beta = 0$")
    ax.set(xlabel=r"aspect ratio $\gamma = p/n$", ylabel=r"risk $E\|\hat\beta - \beta\|^2$", ylim=(0, ceiling))
    _plain_ticks(ax, gamma)
    ax.legend()

    norm_figure = dm.plot.figure("column")
    ax = norm_figure.subplots()
    ax.set_xscale("log")
    dm.plot.curve_with_theory(
        ax, gamma, results["risk/ridgeless_norm"].to_numpy().T, (fine, norm), label="ridgeless",
        threshold=1.0, threshold_label="$p = n$",
    )  # fmt: skip
    ax.set(xlabel=r"aspect ratio $\gamma = p/n$", ylabel=r"squared norm $E\|\hat\beta\|^2$", ylim=(0, ceiling))
    _plain_ticks(ax, gamma)
    ax.legend()
    return {"risk": risk_figure, "norm": norm_figure}


def _plain_ticks(ax, gamma):
    ticks = [tick for tick in (0.1, 0.2, 0.5, 1, 2, 5, 10) if gamma.min() <= tick <= gamma.max()]
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()


EXPERIMENT = Experiment(
    Config,
    SCALES,
    studies={"risk": Study(measure, over={"aspect_ratio": "aspect_ratios"}, seeds_per_unit=50)},
    claims=CLAIMS,
    figures=figures,
    precision="float64",
    deviations=(
        "The coefficients are drawn anew in every seed, uniform on the sphere of radius r: only their norm matters.",
        "Sizes and aspect ratios are ours, and one signal-to-noise ratio stands for the several of Fig. 2.",
        "The test error is ‖β̂ − β‖² + σ² of each draw, exact for isotropic features, without a test set.",
    ),
)
