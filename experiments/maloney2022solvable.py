"""A solvable model of neural scaling laws (Maloney, Roberts & Sully 2022).

Latent variables of variances λᵢ = i^−(1+α), i ≤ M, a target linear in them with coefficients of equal energy, and the
minimum-norm regression on N random linear features from T samples. With Δ the solution of Σ λᵢ/(λᵢ + Δ) = min(N, T) the
test error falls as T^−α where features abound and as N^−α where samples do, and N and T play the same part: the error is
the larger by the factor 1/(1 − N/T) or 1/(1 − T/N) than with either of them infinite, and peaks at N = T.
(arXiv 2210.16859.)
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

import dlmath as dm
from dlmath.repro import AtLeast, Claim, Curve, Experiment, Slope, Study


@dataclass(frozen=True)
class Config:
    """Settings."""

    exponents: tuple[float, ...] = (0.5, 1.0)
    """The powers α of the spectrum."""
    num_latent: int = 2000
    """Latent variables M."""
    sizes: tuple[int, ...] = (20, 40, 80, 160)
    """Numbers N of features and T of samples; all pairs are measured."""
    num_seeds: int = 60
    """Independent draws of (features, samples)."""


SCALES = {
    "smoke": Config(),
    "laptop": Config(num_latent=8000, sizes=(25, 50, 100, 200, 400), num_seeds=60),
    "paper": Config(
        exponents=(0.25, 0.5, 1.0, 2.0), num_latent=60_000, sizes=(50, 100, 200, 400, 800, 1600), num_seeds=60
    ),
}


# The paper's formulas -------------------------------------------------------------------------------------------------


def variances(config, exponent):
    """λᵢ = i^−(1+α)."""
    return np.arange(1, config.num_latent + 1.0) ** -(1 + exponent)


@partial(np.vectorize, excluded=[0], otypes=[float])
def expected_error(config, exponent, num_features, num_samples):
    """The test error of the deterministic equivalent; infinite at N = T."""
    tau = variances(config, exponent)
    return dm.double_descent.random_feature_risk(tau, tau, num_samples, num_features).risk


# What is measured -----------------------------------------------------------------------------------------------------


def measure(config, keys, *, exponent):
    """Test error of all pairs of N and T: leading blocks of one draw of features and samples a seed."""
    error = errors(keys, jnp.asarray(variances(config, exponent)), sizes=config.sizes)
    sizes = np.array(config.sizes)
    return {
        "num_features": ("num_features", sizes),
        "num_samples": ("num_samples", sizes),
        "error": (("seed", "num_features", "num_samples"), error),
    }


@partial(jax.jit, static_argnames="sizes")
def errors(keys, tau, *, sizes):
    """Σ λᵢ Σ_k over targets of unit energy in each direction: ‖Λ^½(U(XU)⁺X − I)‖²_F, [seed, N, T]."""
    shape = (len(tau), sizes[-1])

    def one(key):
        of_features, of_x = jax.random.split(key)
        u = jax.random.normal(of_features, shape)
        x = jax.random.normal(of_x, shape).T * jnp.sqrt(tau)
        scaled = jnp.sqrt(tau)[:, None] * u
        cross, features, samples, weighted = x @ u, scaled.T @ scaled, x @ x.T, x @ (tau[:, None] * u)

        def pair(num_features, num_samples):
            # ‖Λ^½(UAX − I)‖² = tr(UᵀΛU A XXᵀ Aᵀ) − 2 tr(A XΛU) + tr Λ, with A = (XU)⁺
            a = pseudo_inverse(cross[:num_samples, :num_features])
            square = features[:num_features, :num_features] @ a @ samples[:num_samples, :num_samples]
            mixed = jnp.sum(a * weighted[:num_samples, :num_features].T)
            return jnp.sum(square * a) - 2 * mixed + tau.sum()

        return jnp.stack([jnp.stack([pair(n, t) for t in sizes]) for n in sizes])

    return jax.lax.map(one, keys)


def pseudo_inverse(matrix):
    """(XU)⁺ for a matrix of full rank, from a QR decomposition."""
    wide = matrix.shape[1] > matrix.shape[0]
    q, r = jnp.linalg.qr(matrix.T if wide else matrix)
    inverse = jax.scipy.linalg.solve_triangular(r, q.T)
    return inverse.T if wide else inverse


# What is claimed ------------------------------------------------------------------------------------------------------


def _apart(array, factor):
    """Pairs (N, T) as one dimension, those of at least 40 each that differ by at least a factor."""
    pairs = array.stack(pair=("num_features", "num_samples"))
    ratio = np.log(pairs["num_features"] / pairs["num_samples"])
    large = np.minimum(pairs["num_features"], pairs["num_samples"]) >= 40
    chosen = pairs.isel(pair=np.flatnonzero((abs(ratio) >= np.log(factor) - 1e-9) & large))
    return chosen.drop_vars(["pair", "num_features", "num_samples"]).assign_coords(pair=np.arange(chosen.sizes["pair"]))


def _over_theory(config, r, exponent):
    """Measured over expected errors, [seed, num_features, num_samples]."""
    found = r["errors/error"].sel(exponent=exponent)
    n, t = np.meshgrid(config.sizes, config.sizes, indexing="ij")
    return found.transpose("seed", "num_features", "num_samples") / expected_error(config, exponent, n, t)


def _edge(config, r, exponent, axis):
    """The error along N or T with the largest of the other, times 1 − N/T: its factor for the finite other."""
    other = "num_samples" if axis == "num_features" else "num_features"
    found = r["errors/error"].sel({"exponent": exponent, other: config.sizes[-1]})
    found = found.sel({axis: slice(None, config.sizes[-1] // 2)})
    return found * (1 - found[axis] / config.sizes[-1])


def _claims_of(alpha):
    has = lambda config: alpha in config.exponents
    return (
        Claim(f"error-{alpha:g}",
            f"for α = {alpha:g} the error is that of the equivalent for all N, T ≥ 40 a factor 2 or more apart, to 6 %",
            source="large-N and large-T solution", basis="formula",
            expect=Curve(lambda config, pair: np.ones(pair.shape), rtol=0.06),
            statistic=lambda config, r: _apart(_over_theory(config, r, alpha), 2.0), needs=has),
        *(Claim(f"{name}-{alpha:g}",
            f"with many more {more} it falls as the power −{alpha:g} of the number of {less}",
            source="scaling laws of the model", basis="formula", expect=Slope(-alpha, along=axis, atol=0.1),
            statistic=lambda config, r, axis=axis: _edge(config, r, alpha, axis),
            needs=lambda config: has(config) and config.num_latent >= 8000)
          for name, axis, more, less in (
            ("samples", "num_samples", "features", "samples"), ("features", "num_features", "samples", "features"))),
        Claim(f"duality-{alpha:g}",
            "N and T may be exchanged: the ratio of the errors is 1 for the same pairs",
            source="duality of features and samples", basis="formula",
            expect=Curve(lambda config, pair: np.ones(pair.shape), rtol=0.06),
            statistic=lambda config, r: _apart(_dual_ratio(r, alpha), 2.0), needs=has),
        Claim(f"peak-{alpha:g}",
            "as many features as samples are worse than half as many: the least ratio of median errors",
            source="double descent of the model", basis="formula", expect=AtLeast(1.5),
            statistic=lambda config, r: min(_at_peak(config, r, alpha)), needs=has),
    )  # fmt: skip


def _dual_ratio(r, alpha):
    found = r["errors/error"].sel(exponent=alpha).mean("seed", skipna=False)
    return found.transpose("num_features", "num_samples") / found.transpose("num_samples", "num_features").to_numpy()


def _at_peak(config, r, alpha):
    found = r["errors/error"].sel(exponent=alpha).median("seed")
    for less, size in zip(config.sizes, config.sizes[1:], strict=False):
        column = found.sel(num_samples=size)
        yield column.sel(num_features=size) / column.sel(num_features=less)


CLAIMS = (*_claims_of(0.5), *_claims_of(1.0))


# What is drawn --------------------------------------------------------------------------------------------------------


@dm.plot.style()
def figures(config, results):
    """Test error over the number of features, for each number of samples."""
    sizes = np.array(config.sizes)
    if len(sizes) < 2:
        return {}
    fine = np.geomspace(sizes[0], sizes[-1], 121).round()
    figure = dm.plot.figure("page", height=2.8)
    shown = figure.subplots(1, len(config.exponents), squeeze=False)[0]
    for ax, alpha in zip(shown, config.exponents, strict=True):
        ax.set(xscale="log", yscale="log", xlabel="features $N$", title=rf"$\alpha = {alpha:g}$")
        for color, t in zip(dm.plot.COLORS, sizes, strict=False):
            found = results["errors/error"].sel(exponent=alpha, num_samples=t)
            found = found.sel(num_features=sizes != t).transpose("seed", "num_features")
            curve = np.where(abs(np.log(fine / t)) < 0.05, np.nan, expected_error(config, alpha, fine, t))
            dm.plot.curve_with_theory(
                ax, sizes[sizes != t], found.to_numpy(), (fine, curve), color=color, label=f"$T = {t}$",
                theory_label="theory" if t == sizes[-1] else None,
            )  # fmt: skip
        ax.set_xticks(sizes, [str(size) for size in sizes])
        ax.tick_params(axis="x", which="minor", bottom=False, labelbottom=False)
    shown[0].set_ylabel("test error")
    figure.legend(*shown[0].get_legend_handles_labels(), loc="outside upper center", ncols=6)
    return {"errors": figure}


EXPERIMENT = Experiment(
    Config,
    SCALES,
    studies={"errors": Study(measure, over={"exponent": "exponents"}, seeds_per_unit=20)},
    claims=CLAIMS,
    figures=figures,
    precision="float64",
    deviations=(
        "Without noise and without ridge; the theory is that of `dlmath.double_descent.random_feature_risk`.",
        "Errors are averaged over the target's coefficients exactly, and exact over new points.",
        "The points N = T, where the mean is infinite, are left out of the comparison and of the figure.",
    ),
)
