"""Benign overfitting in linear regression (Bartlett, Long, Lugosi & Tsigler 2020).

The minimum-norm estimator interpolates n noisy labels of p > n Gaussian features with the covariance eigenvalues λ₁ ≥ λ₂ ≥ ….
With the effective ranks of tails r_k = Σ_{i>k} λᵢ/λ_{k+1}, R_k = (Σ_{i>k} λᵢ)²/Σ_{i>k} λᵢ² and k* the first k with r_k ≥ bn,
the noise costs a risk in excess between c and C times

    σ² (k*/n + n/R_k*):

it vanishes, overfitting is benign, if few directions carry the spectrum and the tail is long and flat compared with n.
(Proceedings of the National Academy of Sciences 117, 30063-30070; arXiv 1906.11300.)
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

import dlmath as dm
from dlmath.repro import AtLeast, AtMost, Claim, Curve, Experiment, Slope, Study


@dataclass(frozen=True)
class Config:
    """Settings."""

    spectra: tuple[str, ...] = ("spikes", "exponential", "power", "flat")
    """Spectra, see `eigenvalues`."""
    sizes: tuple[int, ...] = (50, 100, 200)
    """Numbers of training samples n; the spectra depend on n."""
    growth: float = 1.5
    """The benign spectra have n^growth features."""
    num_spikes: int = 5
    """Eigenvalues 1 before the tail of "spikes", and the scale of decay of "exponential"."""
    noise: float = 1.0
    """Variance of the noise, σ²."""
    signal: float = 1.0
    """Energy of the target, all in the first direction."""
    num_seeds: int = 20
    """Independent draws of X."""


SCALES = {
    "smoke": Config(),
    "laptop": Config(sizes=(50, 100, 200, 400, 600), num_seeds=40),
    "paper": Config(sizes=(100, 200, 400, 800, 1600, 3200), num_seeds=40),
}


# The paper's formulas -------------------------------------------------------------------------------------------------


def eigenvalues(config, spectrum, size):
    """The eigenvalues for n samples, descending.

    "spikes": k ones, then n^g of size n^−g, which sum to 1; "exponential": e^{−i/k} and the same tail added (Theorem 6);
    "power": i^−2, 20n of them; "flat": 3n ones.
    """
    p = round(size**config.growth)
    index = np.arange(1, p + 1.0)
    if spectrum == "spikes":
        return np.where(index <= config.num_spikes, 1.0, 1 / p)
    if spectrum == "exponential":
        return np.exp(-index / config.num_spikes) + 1 / p
    if spectrum == "power":
        return np.arange(1, 20 * size + 1.0) ** -2
    return np.ones(3 * size)


@partial(np.vectorize, excluded=[0], otypes=[float])
def rate(config, spectrum, size):
    """k*/n + n/R_k* with b = 1."""
    return dm.double_descent.benign_bound(eigenvalues(config, str(spectrum), size), size).rate


@partial(np.vectorize, excluded=[0], otypes=[float])
def variance(config, spectrum, size):
    """The cost of noise of the deterministic equivalent, over σ²."""
    return dm.double_descent.ridge_risk(eigenvalues(config, str(spectrum), size), 0.0, size, noise=1.0).variance


# What is measured -----------------------------------------------------------------------------------------------------


def measure(config, keys, *, spectrum, size):
    """Bias and variance of the minimum norm given X, exact over noise and new points."""
    tau = eigenvalues(config, spectrum, size)
    bias, cost = expected_risk(keys, jnp.asarray(tau), config.signal, config.noise, size=size)
    return {"bias": bias, "variance": cost}


@partial(jax.jit, static_argnames="size")
def expected_risk(keys, tau, signal, noise, *, size):
    """‖Σ^½(X⁺X − I)β‖² and σ² tr ΣX⁺X⁺ᵀ, with λ₁β₁² = signal."""

    def one(key):
        x = jax.random.normal(key, (size, len(tau))) * jnp.sqrt(tau)
        factor = jnp.linalg.cholesky(x @ x.T)
        inverse = jax.scipy.linalg.cho_solve((factor, True), x)  # X⁺ᵀ
        gap = inverse.T @ x[:, 0] - (jnp.arange(len(tau)) == 0)
        return signal / tau[0] * jnp.sum(tau * gap**2), noise * jnp.sum(tau * inverse**2)

    return jax.lax.map(one, keys)


# What is claimed ------------------------------------------------------------------------------------------------------


def _variance(config, r, *spectra):
    found = r["risk/variance"] / config.noise
    return found.sel(spectrum=list(spectra)) if spectra else found


def _over_rate(config, r):
    """The cost of noise over k*/n + n/R_k*."""
    found = _variance(config, r)
    names, sizes = np.meshgrid(found["spectrum"], found["size"], indexing="ij")
    return found.transpose("seed", "spectrum", "size") / rate(config, names, sizes)


def _slope_of(theory, spectrum):
    """The slope of log theory against log n over the grid."""
    return lambda config: np.polyfit(np.log(config.sizes), np.log(theory(config, spectrum, np.array(config.sizes))), 1)[
        0
    ]


def _has(*spectra):
    return lambda config: set(spectra) <= set(config.spectra) and len(config.sizes) > 2


CLAIMS = (
    Claim("equivalent",
        "for every spectrum and n ≥ 100 the cost of noise is that of the deterministic equivalent, to 6 %",
        source="Theorem 4", basis="formula", expect=Curve(variance, rtol=0.06),
        statistic=lambda config, r: _variance(config, r).sel(size=slice(100, None)),
        needs=lambda config: config.sizes[-1] >= 100),
    Claim("upper",
        "for every spectrum and n it is at most C = 4 times k*/n + n/R_k* at b = 1",
        source="Theorem 4", basis="formula", expect=AtMost(4.0),
        statistic=lambda config, r: _over_rate(config, r).mean("seed", skipna=False).max()),
    Claim("lower",
        "and at least c = 1/4 of it: the rate is the right one up to constants, which the theorem does not name",
        source="Theorem 4", basis="formula", expect=AtLeast(0.25),
        statistic=lambda config, r: _over_rate(config, r).mean("seed", skipna=False).min()),
    *(Claim(f"benign-{name}",
        statement, source="Theorem 6", basis="formula", expect=Slope(_slope_of(rate, name), along="size", atol=0.1),
        statistic=lambda config, r, name=name: _variance(config, r).sel(spectrum=name), needs=_has(name))
      for name, statement in (
        ("spikes", "with few spikes before a long flat tail it falls with the power of n that the rate has"),
        ("exponential", "so it does for an exponential decay before the tail"))),
    *(Claim(f"not-benign-{name}",
        statement, source=source, basis="formula", expect=Slope(0.0, along="size", atol=0.05),
        statistic=lambda config, r, name=name: _variance(config, r).sel(spectrum=name), needs=_has(name))
      for name, source, statement in (
        ("power", "Theorem 6", "for λᵢ = i^−2 it does not fall"),
        ("flat", "Theorem 4", "nor for a flat spectrum of 3n features"))),
    Claim("signal",
        "in the benign spectra the excess risk of the whole, bias included, falls as well",
        source="Theorem 4", expect=AtMost(0.8),
        statistic=lambda config, r: _fall(config, r),
        needs=_has("spikes", "exponential")),
)  # fmt: skip


def _fall(config, r):
    """The excess risk at the largest n over that at the smallest, the larger of the benign spectra."""
    risk = (r["risk/bias"] + r["risk/variance"]).mean("seed", skipna=False).sel(spectrum=["spikes", "exponential"])
    return (risk.isel(size=-1) / risk.isel(size=0)).max()


# What is drawn --------------------------------------------------------------------------------------------------------


@dm.plot.style()
def figures(config, results):
    """The cost of noise over n, with the equivalents and the rates."""
    if len(config.sizes) < 2:
        return {}
    figure = dm.plot.figure("column", height=3.2)
    ax = figure.subplots()
    ax.set(xscale="log", yscale="log", xlabel="samples $n$", ylabel=r"excess risk from noise, over $\sigma^2$")
    sizes = np.array(config.sizes)
    for color, name in zip(dm.plot.COLORS, config.spectra, strict=False):
        values = _variance(config, results).sel(spectrum=name).transpose("seed", "size").to_numpy()
        last = name == config.spectra[-1]
        dm.plot.curve_with_theory(
            ax, sizes, values, (sizes, variance(config, name, sizes)), color=color, label=name,
            theory_label="equivalent" if last else None,
        )  # fmt: skip
        ax.plot(sizes, rate(config, name, sizes), ":", color=color, label=r"$k^*/n + n/R_{k^*}$" if last else None)
    ax.set_xticks(sizes, [str(n) for n in sizes])
    ax.tick_params(axis="x", which="minor", bottom=False, labelbottom=False)
    figure.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return {"variance": figure}


EXPERIMENT = Experiment(
    Config,
    SCALES,
    studies={"risk": Study(measure, over={"spectrum": "spectra", "size": "sizes"}, seeds_per_unit=20)},
    claims=CLAIMS,
    figures=figures,
    precision="float64",
    deviations=(
        "Features are Gaussian; the theorem is for sub-Gaussian ones.",
        "The constants b = 1, c = 1/4 and C = 4 are ours: the theorem only says that there are some.",
        "The risk is averaged over the noise given X, and exact over new points.",
    ),
)
