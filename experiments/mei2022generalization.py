"""The generalization error of random features regression: precise asymptotics and the double descent curve (Mei & Montanari 2022).

N features σ(⟨θ_j, x⟩/√d) with θ_j and x uniform on the sphere of radius √d, n samples of y = ⟨β, x⟩ + ε with ‖β‖² = F₁² and
noise of variance τ², and the coefficients a that minimise ‖y − Σ a_jσ_j‖²/n + (Nλ/d)‖a‖². As N, n, d → ∞ with N/d → ψ₁
and n/d → ψ₂ the risk E (f̂(x) − ⟨β, x⟩)² tends to F₁² 𝓑 + τ² 𝓥, rational functions of the solution χ of two coupled
equations. For small λ it peaks at ψ₁ = ψ₂, and is smallest for ψ₁ → ∞; at the best λ it has no peak.
(Communications on Pure and Applied Mathematics 75, 667-766; arXiv 1908.05355.)
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

    dimension: int = 100
    """Dimension d of the inputs."""
    features_per_dimension: tuple[float, ...] = (1.0, 2.0, 3.0, 5.0, 10.0, 20.0)
    """Features, ψ₁ = N/d, increasing."""
    samples_per_dimension: float = 3.0
    """Training samples, ψ₂ = n/d."""
    penalties: tuple[float, ...] = (0.001, 0.1, 0.2, 0.4, 0.8)
    """Penalties λ, the small one of the curves first."""
    signal: float = 1.0
    """Squared norm of the target, F₁²."""
    noise: float = 0.5
    """Variance of the noise, τ²."""
    activation: str = "relu"
    """The function σ."""
    num_test: int = 1000
    """New points on which the risk is measured."""
    num_seeds: int = 10
    """Independent draws of (θ, β, X, ε)."""


SCALES = {
    "smoke": Config(),
    "laptop": Config(
        dimension=300,
        features_per_dimension=(0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 7.0, 10.0, 20.0),
        num_test=3000,
        num_seeds=40,
    ),
    "paper": Config(
        dimension=1000,
        features_per_dimension=(
            0.25, 0.5, 1.0, 1.5, 2.0, 2.25, 2.5, 2.75, 3.0, 3.25, 3.5, 4.0, 5.0, 7.0, 10.0, 20.0, 40.0,
        ),
        num_test=5000,
        num_seeds=50,
    ),
}  # fmt: skip


# The paper's formulas -------------------------------------------------------------------------------------------------


def theory(config, features_per_dimension, penalty):
    """The limiting `Risk`, of which `bias` is F₁² 𝓑 and `variance` is τ² 𝓥."""
    return dm.double_descent.mei_montanari_risk(
        features_per_dimension, config.samples_per_dimension, penalty,
        activation=config.activation, signal=config.signal, noise=config.noise,
    )  # fmt: skip


# What is measured -----------------------------------------------------------------------------------------------------


def measure(config, keys):
    """Risk, and its parts without the noise and from the noise alone, at all numbers of features and penalties."""
    d = config.dimension
    capacities = tuple(round(psi * d) for psi in config.features_per_dimension)
    found = sweep(
        keys, jnp.array(config.penalties), config.signal, config.noise, dimension=d, capacities=capacities,
        num_samples=round(config.samples_per_dimension * d), num_test=config.num_test, activation=config.activation,
    )  # fmt: skip
    dims = ("seed", "features_per_dimension", "penalty")
    return {
        "features_per_dimension": ("features_per_dimension", np.array(config.features_per_dimension)),
        "penalty": ("penalty", np.array(config.penalties)),
        **{name: (dims, values) for name, values in found.items()},
    }


def bias(outputs, targets):
    """Squared error of the fit to labels without noise; `outputs` are fits to ⟨β, x⟩ and to ε."""
    return jnp.mean((outputs[:, 0] - targets[:, 0]) ** 2)


def variance(outputs, targets):
    """Mean square of the fit to the noise alone."""
    return jnp.mean(outputs[:, 1] ** 2)


@partial(jax.jit, static_argnames=("dimension", "capacities", "num_samples", "num_test", "activation"))
def sweep(keys, penalties, signal, noise, *, dimension, capacities, num_samples, num_test, activation):
    """The two parts of the risk [seed, capacity, penalty], one draw after the other."""

    def one(key):
        of_features, of_beta, of_x, of_noise = jax.random.split(key, 4)
        features = dm.double_descent.feature_map(
            of_features, dimension, capacities[-1], kind=activation, weights="spherical"
        )
        x = dm.data.sphere(of_x, num_samples + num_test, dimension, radius=dimension**0.5)
        clean = x @ dm.data.sphere(of_beta, 1, dimension)[0] * jnp.sqrt(signal)
        error = jnp.sqrt(noise) * jax.random.normal(of_noise, (num_samples,))
        y = jnp.stack([clean[:num_samples], error], axis=1)
        test = jnp.stack([clean[num_samples:], jnp.zeros(num_test)], axis=1)
        path = jnp.array(capacities)[:, None] / dimension * penalties
        found = dm.double_descent.ridge_sweep(
            features, (x[:num_samples], y), capacities, path, test=(x[num_samples:], test),
            scores={"bias": bias, "variance": variance},
        )  # fmt: skip
        return found.test

    return jax.lax.map(one, keys)


# What is claimed ------------------------------------------------------------------------------------------------------

PRINTED = {2.0: 1.417, 3.0: 2.054, 5.0: 0.942, 10.0: 0.440, 20.0: 0.295}
"""The paper's formula at ψ₂ = 3, λ = 1e-3, F₁² = 1, τ² = 0.5 for ReLU, evaluated independently of dlmath."""


def _risk(r):
    """The risk averaged over ε and −ε: the mixed term is gone."""
    return r["risk/bias"] + r["risk/variance"]


def _small(config, array):
    return array.sel(penalty=config.penalties[0])


def _standard(config):
    return (config.samples_per_dimension, config.penalties[0], config.signal, config.noise, config.activation) == (
        3.0, 0.001, 1.0, 0.5, "relu",
    )  # fmt: skip


def _tuned(r):
    """The smallest mean risk over penalties, at each ψ₁."""
    return _risk(r).mean("seed", skipna=False).min("penalty")


def _peaked(config):
    inside = config.features_per_dimension
    return config.samples_per_dimension in inside[1:-1]


def _component(name):
    return lambda config, features_per_dimension: getattr(
        theory(config, features_per_dimension, config.penalties[0]), name
    )


def _point_claim(psi, value):
    return Claim(
        f"risk-{psi:g}",
        f"with n = 3d, λ = 0.001, τ² = 0.5 and N = {psi:g}d ReLU features the risk is {value:g}",
        source="Theorem 2, formulas of Definition 1",
        basis="independent",
        expect=Equal(value, rtol=0.051),
        statistic=lambda config, r: _small(config, _risk(r)).sel(features_per_dimension=psi),
        needs=lambda config: _standard(config) and psi in config.features_per_dimension and config.dimension >= 300,
    )


CLAIMS = (
    *(_point_claim(psi, value) for psi, value in PRINTED.items()),
    Claim(
        "risk",
        "at small λ the risk is F₁² 𝓑 + τ² 𝓥 at every ψ₁, to 5.1 % (three standard errors of 1.7 %)",
        source="Theorem 2; Fig. 1 and 2",
        basis="formula",
        expect=Curve(_component("risk"), rtol=0.051),
        statistic=lambda config, r: _small(config, _risk(r)),
        needs=lambda config: config.dimension >= 300,
    ),
    Claim(
        "risk-roughly",
        "and up to corrections of order 1/d at d = 100",
        source="Theorem 2",
        basis="formula",
        expect=Curve(_component("risk"), rtol=0.25),
        statistic=lambda config, r: _small(config, _risk(r)),
    ),
    Claim(
        "bias",
        "without noise the risk is F₁² 𝓑, which itself peaks",
        source="Theorem 2",
        basis="formula",
        expect=Curve(_component("bias"), rtol=0.1),
        statistic=lambda config, r: _small(config, r["risk/bias"]),
        needs=lambda config: config.dimension >= 300,
    ),
    Claim(
        "variance",
        "the noise adds τ² 𝓥",
        source="Theorem 2",
        basis="formula",
        expect=Curve(_component("variance"), rtol=0.1),
        statistic=lambda config, r: _small(config, r["risk/variance"]),
        needs=lambda config: config.dimension >= 300,
    ),
    Claim(
        "risk-at-every-penalty",
        "the formula holds at every λ and ψ₁ of the grid",
        source="Theorem 2; Fig. 4",
        basis="formula",
        expect=Curve(lambda config, **at: theory(config, **at).risk, rtol=0.1),
        statistic=lambda config, r: _risk(r),
        needs=lambda config: config.dimension >= 300,
    ),
    Claim(
        "peak",
        "at small λ the risk peaks at as many features as samples, ψ₁ = ψ₂",
        source="Fig. 1",
        expect=Equal(lambda config: config.samples_per_dimension, atol=0.01),
        statistic=lambda config, r: (
            _small(config, _risk(r)).mean("seed", skipna=False).idxmax("features_per_dimension")
        ),
        needs=_peaked,
    ),
    Claim(
        "many-features-are-best",
        "the risk is smaller with the most features than with any number below that of samples",
        source="Section 1.2, Fig. 1",
        expect=AtLeast(0.0),
        statistic=lambda config, r: _lead(config, _small(config, _risk(r)).mean("seed", skipna=False)),
        needs=lambda config: _peaked(config) and config.features_per_dimension[-1] >= 5 * config.samples_per_dimension,
    ),
    Claim(
        "no-peak-when-tuned",
        "at the best λ of the grid for each ψ₁ the risk falls with every step of ψ₁",
        source="Section 1.2, Fig. 4",
        expect=AtMost(0.0),
        statistic=lambda config, r: _tuned(r).diff("features_per_dimension").max(),
        needs=lambda config: len(config.penalties) > 1,
    ),
)


def _lead(config, risk):
    psi = risk["features_per_dimension"]
    return risk.sel(features_per_dimension=psi[psi < config.samples_per_dimension]).min() - risk.isel(
        features_per_dimension=-1
    )


# What is drawn --------------------------------------------------------------------------------------------------------


@dm.plot.style()
def figures(config, results):
    """Risk with its parts at the small penalty, and at all penalties, over the number of features."""
    psi = np.array(config.features_per_dimension)
    if len(psi) < 2:
        return {}
    fine = np.geomspace(psi[0], psi[-1], 401)
    parts = {"risk": _risk(results), "without noise": results["risk/bias"], "from noise": results["risk/variance"]}

    risk = dm.plot.figure("column")
    ax = risk.subplots()
    ax.set(xscale="log", yscale="log")
    curves = theory(config, fine, config.penalties[0])
    for index, (label, values) in enumerate(parts.items()):
        _draw(ax, psi, _small(config, values), fine, curves[index], label, index == 2)
    ax.axvline(config.samples_per_dimension, color="0.5", linestyle=":", zorder=0)
    ax.set(
        ylabel=r"risk $E(\hat f(x) - f(x))^2$", title=rf"$d = {config.dimension}$, $\lambda = {config.penalties[0]:g}$"
    )
    _finish(ax, psi)

    ridge = dm.plot.figure("column")
    ax = ridge.subplots()
    ax.set(xscale="log", yscale="log")
    for index, penalty in enumerate(config.penalties):
        values = _risk(results).sel(penalty=penalty)
        last = index == len(config.penalties) - 1
        _draw(ax, psi, values, fine, theory(config, fine, penalty).risk, rf"$\lambda = {penalty:g}$", last)
    ax.set(ylabel=r"risk $E(\hat f(x) - f(x))^2$")
    _finish(ax, psi)
    return {"risk": risk, "penalties": ridge}


def _draw(ax, psi, values, fine, curve, label, last):
    values = values.transpose("seed", "features_per_dimension").to_numpy()
    dm.plot.curve_with_theory(
        ax, psi, values, (fine, np.asarray(curve)), label=label, theory_label="theory" if last else None
    )


def _finish(ax, psi):
    ticks = [tick for tick in (0.5, 1, 2, 5, 10, 20, 40) if psi.min() <= tick <= psi.max()]
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.tick_params(axis="x", which="minor", bottom=False, labelbottom=False)
    ax.set(xlabel=r"features per dimension $\psi_1 = N/d$")
    ax.legend()


EXPERIMENT = Experiment(
    Config,
    SCALES,
    studies={"risk": Study(measure, seeds_per_unit=5)},
    claims=CLAIMS,
    figures=figures,
    precision="float64",
    deviations=(
        "The target is linear: no part of higher degree, F⋆² = 0.",
        "Predictors are linear in the labels: the risk is averaged over ε and −ε, without the mixed term of mean zero.",
        "The limit takes the constant part of ReLU for fitted, which costs O(1/d) at finite d.",
    ),
)
