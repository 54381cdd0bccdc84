"""Benign, tempered, or catastrophic: a taxonomy of overfitting (Mallinar, Simon, Abedsoltan, Pandit, Belkin & Nakkiran 2022).

Kernel regression without ridge interpolates n labels with noise of variance σ². With the eigenvalues λᵢ of the kernel and
Gaussian eigenfunctions the test mean squared error, noise of the new labels included, tends as n → ∞ to

    σ² for λᵢ = i^−1 (log i)^−a, a > 1 (benign),    aσ² for λᵢ = i^−a (tempered),    ∞ for λᵢ = i^−log i (catastrophic).

Any fixed positive ridge makes the tempered spectrum benign.
(Advances in Neural Information Processing Systems 35; arXiv 2207.06569.)
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

    spectra: tuple[str, ...] = ("log", "1.5", "2", "3", "fast")
    """Eigenvalues: an exponent a for i^−a, "log" for i^−1 (1 + log i)^−2, "fast" for i^−log i."""
    sizes: tuple[int, ...] = (25, 50, 100)
    """Numbers of training samples n."""
    num_modes: int = 2000
    """Eigenfunctions M that are drawn; the tail beyond is a ridge."""
    noise: float = 1.0
    """Variance of the noise, σ²."""
    signal: float = 1.0
    """Energy of the target, all in the first eigenfunction."""
    ridges: tuple[float, ...] = (0.0, 0.02)
    """Ridges δ added to the Gram matrix, over n; the first is zero."""
    num_seeds: int = 40
    """Independent draws of X."""


SCALES = {
    "smoke": Config(),
    "laptop": Config(sizes=(25, 50, 100, 200, 400), num_modes=8000, num_seeds=50),
    "paper": Config(sizes=(50, 100, 200, 400, 800, 1600), num_modes=60_000, num_seeds=50),
}


# The paper's formulas -------------------------------------------------------------------------------------------------


def eigenvalues(config, spectrum):
    """The eigenvalues [M] of that name, the first of them 1."""
    index = np.arange(1, config.num_modes + 1.0)
    if spectrum == "log":
        return 1 / (index * (1 + np.log(index)) ** 2)
    return index ** -(np.log(index) if spectrum == "fast" else float(spectrum))


def tail(config, spectrum):
    """Σ_{i>M} λᵢ as an integral, to O(1/M²): eigenfunctions of so small eigenvalues add it to the diagonal of the Gram matrix."""
    start = config.num_modes + 0.5
    if spectrum == "log":
        return 1 / (1 + np.log(start))
    return 0.0 if spectrum == "fast" else start ** (1 - float(spectrum)) / (float(spectrum) - 1)


def limit(spectrum):
    """The limit of the test error over σ²."""
    return {"log": 1.0, "fast": np.inf}.get(spectrum) or float(spectrum)


def expected_error(config, spectrum, size, ridge):
    """The test error of the deterministic equivalent."""

    @partial(np.vectorize, otypes=[float])
    def one(spectrum, size, ridge):
        tau = eigenvalues(config, str(spectrum))
        signal = config.signal * (np.arange(len(tau)) == 0)
        penalty = ridge + tail(config, str(spectrum)) / size
        return dm.double_descent.ridge_risk(tau, signal, size, penalty=penalty, noise=config.noise).risk + config.noise

    return one(spectrum, size, ridge)


# What is measured -----------------------------------------------------------------------------------------------------


def measure(config, keys, *, spectrum, size):
    """Test error given X, averaged over the noise of the labels."""
    tau = jnp.asarray(eigenvalues(config, spectrum))
    ridges = size * jnp.array(config.ridges) + tail(config, spectrum)
    errors = expected_errors(keys, tau, ridges, config.signal, config.noise, size=size)
    return {"ridge": ("ridge", np.array(config.ridges)), "error": (("seed", "ridge"), errors)}


@partial(jax.jit, static_argnames="size")
def expected_errors(keys, tau, ridges, signal, noise, *, size):
    """E (x·β̂ − y)² for β̂ = Xᵀ(XXᵀ + δ)⁻¹y, from a QR decomposition of the features and √δ in one matrix."""

    def one(key):
        x = jax.random.normal(key, (size, len(tau))) * jnp.sqrt(tau)

        def at(ridge):
            rows = jnp.concatenate([x, jnp.sqrt(ridge) * jnp.eye(size)], axis=1)
            q, r = jnp.linalg.qr(rows.T)  # XXᵀ + δ = rᵀr, without squaring the condition number
            inverse = q[: len(tau)] @ jax.scipy.linalg.solve_triangular(r.T, jnp.eye(size), lower=True)
            first = inverse @ x[:, 0]
            bias = signal * jnp.sum(tau * (first - (jnp.arange(len(tau)) == 0)) ** 2)
            return bias + noise * (1 + jnp.sum(tau[:, None] * inverse**2))

        return jnp.stack([at(ridge) for ridge in ridges])

    return jax.lax.map(one, keys)


# What is claimed ------------------------------------------------------------------------------------------------------


def _error(config, r, *spectra):
    """Test errors without ridge, over σ²."""
    found = r["errors/error"].sel(ridge=0.0) / config.noise
    return found.sel(spectrum=list(spectra)) if spectra else found


def _tempered(config):
    return [name for name in config.spectra if name not in ("log", "fast")]


def _others(config):
    return [name for name in config.spectra if name != "fast"]


def _excess(config, r, spectrum, ridge):
    """(E/σ² − 1) at the largest n over that at a quarter of it: how much of the cost of noise remains."""
    found = r["errors/error"].sel(spectrum=spectrum, ridge=ridge) / config.noise - 1
    return found.sel(size=config.sizes[-1]) / found.sel(size=config.sizes[-3])


def _limit_claim(spectrum):
    return Claim(f"tempered-{spectrum}",
        f"for eigenvalues i^−{spectrum} the test error tends to {spectrum} σ²",
        source="Theorem 3.1", expect=Equal(float(spectrum), rtol=0.06),
        statistic=lambda config, r: _error(config, r).sel(spectrum=spectrum, size=config.sizes[-1]),
        needs=lambda config: spectrum in config.spectra and config.sizes[-1] >= 400)  # fmt: skip


CLAIMS = (
    Claim("equivalent",
        "without ridge the test error is that of the deterministic equivalent, benign or tempered, for n ≥ 100, to 6 %",
        source="Section 3.1, eigenframework", basis="formula",
        expect=Curve(lambda config, spectrum, size: expected_error(config, spectrum, size, 0.0) / config.noise, rtol=0.06),
        statistic=lambda config, r: _error(config, r, *_others(config)).sel(size=slice(100, None)),
        needs=lambda config: config.sizes[-1] >= 100 and bool(_others(config))),
    Claim("equivalent-fast",
        "so is that of the catastrophic spectrum, of which few eigenvalues matter, to 15 %",
        source="Section 3.1, eigenframework", basis="formula",
        expect=Curve(lambda config, size: expected_error(config, "fast", size, 0.0) / config.noise, rtol=0.15),
        statistic=lambda config, r: _error(config, r).sel(size=slice(100, None), spectrum="fast"),
        needs=lambda config: config.sizes[-1] >= 100 and "fast" in config.spectra),
    Claim("equivalent-ridge",
        "and with ridge",
        source="Section 3.1, eigenframework", basis="formula",
        expect=Curve(lambda config, **at: expected_error(config, **at, ridge=config.ridges[1]) / config.noise, rtol=0.06),
        statistic=lambda config, r: (r["errors/error"] / config.noise).sel(
            ridge=config.ridges[1], size=slice(100, None), drop=True),
        needs=lambda config: config.sizes[-1] >= 100 and len(config.ridges) > 1),
    *(_limit_claim(name) for name in ("1.5", "2", "3")),
    Claim("order",
        "the slower the decay, the smaller the error: from log to fast, at every n",
        source="Theorem 3.1", expect=AtLeast(0.0),
        statistic=lambda config, r: _error(config, r, *config.spectra).mean("seed", skipna=False).diff("spectrum").min(),
        needs=lambda config: config.spectra == ("log", "1.5", "2", "3", "fast")),
    Claim("tempered",
        "where the spectrum is a power the cost of noise, E/σ² − 1, neither vanishes nor grows as n grows fourfold",
        source="Theorem 3.1", basis="formula",
        expect=Curve(lambda config, spectrum: np.ones(spectrum.shape), rtol=0.2),
        statistic=lambda config, r: _excess(config, r, _tempered(config), 0.0),
        needs=lambda config: len(config.sizes) >= 3 and bool(_tempered(config)) and config.sizes[-1] >= 400),
    Claim("benign",
        "for i^−1 (log i)^−2 it falls",
        source="Theorem 3.1", expect=AtMost(0.95),
        statistic=lambda config, r: _excess(config, r, "log", 0.0),
        needs=lambda config: len(config.sizes) >= 3 and "log" in config.spectra),
    Claim("catastrophic",
        "for i^−log i it grows",
        source="Theorem 3.1", expect=AtLeast(1.1),
        statistic=lambda config, r: _excess(config, r, "fast", 0.0),
        needs=lambda config: len(config.sizes) >= 3 and "fast" in config.spectra),
    Claim("ridge-is-benign",
        "with a fixed ridge it falls for every power",
        source="Theorem 3.1, positive ridge", expect=AtMost(0.8),
        statistic=lambda config, r: _excess(config, r, _tempered(config), config.ridges[1]).mean(
            "seed", skipna=False).max(),
        needs=lambda config: len(config.sizes) >= 3 and len(config.ridges) > 1 and bool(_tempered(config))),
)  # fmt: skip


# What is drawn --------------------------------------------------------------------------------------------------------


@dm.plot.style()
def figures(config, results):
    """Test error over n for each spectrum, without and with ridge, and the limits."""
    if len(config.sizes) < 2:
        return {}
    fine = np.unique(np.geomspace(config.sizes[0], config.sizes[-1], 25).round())
    figure = dm.plot.figure("page", height=2.6)
    for ax, ridge in zip(figure.subplots(1, 2, sharey=True), config.ridges, strict=False):
        ax.set(
            xscale="log",
            yscale="log",
            xlabel="training samples $n$",
            title=rf"$\delta = {ridge:g}\,n$" if ridge else "no ridge",
        )
        for color, name in zip(dm.plot.COLORS, config.spectra, strict=False):
            values = (results["errors/error"].sel(spectrum=name, ridge=ridge) / config.noise).transpose("seed", "size")
            curve = expected_error(config, name, fine, ridge) / config.noise
            dm.plot.curve_with_theory(
                ax, np.array(config.sizes), values.to_numpy(), (fine, curve), color=color,
                label=LABELS.get(name, rf"$i^{{-{name}}}$"), theory_label="theory" if name == config.spectra[-1] else None,
            )  # fmt: skip
            if ridge == 0 and np.isfinite(limit(name)):
                ax.axhline(limit(name), color=color, linewidth=0.6, linestyle=":", zorder=0)
        ax.set_xticks(config.sizes, [str(n) for n in config.sizes])
        ax.set_yticks([1, 2, 3, 5, 10], ["1", "2", "3", "5", "10"])
        ax.minorticks_off()
    figure.axes[0].set_ylabel(r"test error over $\sigma^2$")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=6)
    return {"errors": figure}


LABELS = {"log": r"$i^{-1}(1 + \log i)^{-2}$", "fast": r"$i^{-\log i}$"}


EXPERIMENT = Experiment(
    Config,
    SCALES,
    studies={"errors": Study(measure, over={"spectrum": "spectra", "size": "sizes"}, seeds_per_unit=20)},
    claims=CLAIMS,
    figures=figures,
    precision="float64",
    deviations=(
        "Eigenfunctions are independent Gaussian variables, as in the paper's theory; no kernel on data, no network.",
        "Eigenvalues beyond the M-th act as a ridge, which is their sum; in the equivalent as well.",
        "The error is averaged over the noise given X, and exact over new points.",
    ),
)
