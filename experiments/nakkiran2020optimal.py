"""Optimal regularization can mitigate double descent (Nakkiran, Venkat, Kakade & Ma 2021).

Ridge regression β̂ = (XᵀX + λI)⁻¹Xᵀy on n samples of d isotropic Gaussian features, with noise of variance σ² and
‖β‖² = r². The best λ is dσ²/r² for every n, and the expected test error at it never rises with n: more data cannot hurt,
where at a fixed small λ it peaks at n = d. In the same way it never rises with the size of the model, where d of p
features are seen and the others act as noise. (International Conference on Learning Representations 2021; arXiv 2003.01897.)
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

    num_features: int = 100
    """Features d of the sweep over samples, all features p of the sweep over sizes."""
    samples: tuple[int, ...] = (20, 50, 80, 100, 125, 200, 400)
    """Numbers of samples n."""
    num_samples: int = 50
    """Samples of the sweep over sizes."""
    sizes: tuple[int, ...] = (10, 25, 40, 50, 60, 80, 100)
    """Numbers d of features seen."""
    signal: float = 1.0
    """Squared norm of the coefficients, r²."""
    noise: float = 0.25
    """Variance of the noise, σ²."""
    penalty_factors: tuple[float, ...] = (0.0, 0.01, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0)
    """Penalties in units of the best one; the first is zero."""
    num_seeds: int = 100
    """Independent draws of X."""
    data_set: str = "digits"
    """Images on which random features are fitted."""
    num_images: int = 150
    """Training images."""
    widths: tuple[int, ...] = (15, 40, 75, 110, 150, 200, 300, 600)
    """Numbers of random ReLU features."""
    image_penalties: tuple[float, ...] = (1e-9, 1e-5, 1e-4, 1e-3, 1e-2, 0.1)
    """Penalties λ/N of these, the first nearly zero."""
    num_draws: int = 5
    """Independent draws of training images and features."""


SCALES = {
    "smoke": Config(),
    "laptop": Config(
        num_features=300,
        samples=(50, 100, 150, 200, 240, 270, 300, 330, 370, 450, 600, 800, 1200),
        num_samples=200,
        sizes=(20, 50, 100, 150, 180, 200, 220, 250, 300),
        num_seeds=100,
        data_set="fashion_mnist",
        num_images=500,
        widths=(50, 100, 200, 300, 400, 450, 500, 550, 600, 800, 1200, 2000, 4000),
        num_draws=10,
    ),
    "paper": Config(
        num_features=500,
        samples=(50, 100, 200, 300, 400, 450, 500, 550, 600, 700, 800, 1000, 1500, 2000),
        num_samples=300,
        sizes=(25, 50, 100, 150, 200, 250, 280, 300, 320, 350, 400, 500),
        num_seeds=200,
        data_set="fashion_mnist",
        num_images=500,
        widths=(50, 100, 200, 300, 400, 450, 500, 550, 600, 800, 1200, 2000, 4000, 10_000),
        num_draws=50,
    ),
}


# The paper's formulas -------------------------------------------------------------------------------------------------


def seen(config, size):
    """(signal in d of the p features, noise with what the others contribute)."""
    share = size / config.num_features
    return config.signal * share, config.noise + config.signal * (1 - share)


def best_penalty(num_features, signal, noise):
    """λ* = dσ²/r², of ‖y − Xβ‖² + λ‖β‖²: it does not depend on n."""
    return num_features * noise / signal


def sample_risk(config, num_samples, factor):
    """The limit of the risk E‖β̂ − β‖² for n samples of all features, at λ = factor λ*."""
    return _risk(config.num_features, num_samples, config.signal, config.noise, factor)


def size_risk(config, size, factor):
    """The limit of the risk for d of the features, what is not seen included."""
    signal, noise = seen(config, size)
    return _risk(size, config.num_samples, signal, noise, factor) + noise - config.noise


def _risk(num_features, num_samples, signal, noise, factor):
    penalty = factor * best_penalty(num_features, signal, noise) / num_samples
    found = dm.double_descent.isotropic_risk(num_features / num_samples, penalty=penalty, signal=signal, noise=noise)
    return np.asarray(found.risk)


# What is measured -----------------------------------------------------------------------------------------------------


def measure_samples(config, keys):
    """Risk for the first n of one set of samples, at all n and penalties."""
    sizes = [(n, config.num_features) for n in config.samples]
    risk = risks(keys, sizes, [config.signal] * len(sizes), [config.noise] * len(sizes), config.penalty_factors)
    return _named("num_samples", config.samples, config.penalty_factors, risk)


def measure_sizes(config, keys):
    """Risk for the first d features of one set of samples, at all d and penalties."""
    sizes = [(config.num_samples, d) for d in config.sizes]
    signal, noise = seen(config, np.array(config.sizes))
    risk = risks(keys, sizes, signal, noise, config.penalty_factors) + (noise - config.noise)[:, None]
    return _named("size", config.sizes, config.penalty_factors, risk)


def _named(axis, values, factors, risk):
    return {
        axis: (axis, np.array(values)),
        "factor": ("factor", np.array(factors)),
        "risk": (("seed", axis, "factor"), risk),
    }


def risks(keys, sizes, signal, noise, factors):
    """Risks [seed, size, factor] for leading blocks X of one Gaussian matrix a seed."""
    shape = tuple(np.max(sizes, axis=0))
    columns = [
        expected_risk(keys, jnp.array(factors), s, v, shape=shape, num_samples=n, num_features=d)
        for (n, d), s, v in zip(sizes, signal, noise, strict=True)
    ]
    return np.stack(columns, axis=1)


@partial(jax.jit, static_argnames=("shape", "num_samples", "num_features"))
def expected_risk(keys, factors, signal, noise, *, shape, num_samples, num_features):
    """‖β̂ − β‖² averaged over the noise and the directions of β: sums over the eigenvalues of XᵀX."""
    penalties = factors[:, None] * best_penalty(num_features, signal, noise)

    def one(key):
        x = jax.random.normal(key, shape)[:num_samples, :num_features]
        gram = x.T @ x if num_features < num_samples else x @ x.T
        eigenvalues = jnp.linalg.eigvalsh(gram)
        bias = (penalties / (eigenvalues + penalties)) ** 2
        variance = eigenvalues / (eigenvalues + penalties) ** 2
        left = bias.sum(1) + max(0, num_features - num_samples)
        return signal / num_features * left + noise * variance.sum(1)

    return jax.lax.map(one, keys)


def measure_images(config, keys):
    """Test error of random ReLU features on images, ten indicators as targets, at all widths and penalties."""
    data = dm.data.load(config.data_set, flatten=True, one_hot=True, dtype="float64")
    scale = np.sqrt(np.mean(data.x**2))
    x, y, new, targets = data.x / scale, data.y - 0.1, data.x_test[:1000] / scale, data.y_test[:1000] - 0.1
    path = np.array(config.widths)[:, None] * np.array(config.image_penalties)
    errors = []
    for key in keys:
        of_features, of_images = jax.random.split(key)
        chosen = np.asarray(jax.random.choice(of_images, len(x), (config.num_images,), replace=False))
        features = dm.double_descent.feature_map(of_features, x.shape[1], config.widths[-1], kind="relu")
        found = dm.double_descent.ridge_sweep(
            features, (x[chosen], y[chosen]), config.widths, path, test=(new, targets)
        )
        errors.append(found.test["mse"])
    return {
        "width": ("width", np.array(config.widths)),
        "penalty": ("penalty", np.array(config.image_penalties)),
        "error": (("seed", "width", "penalty"), np.stack(errors)),
    }


# What is claimed ------------------------------------------------------------------------------------------------------


def _tuned(r, study):
    """Risk at the best penalty of the theory."""
    return r[f"{study}/risk"].sel(factor=1.0)


def _largest_rise(risk, axis):
    """The largest step upwards of the mean risk along an axis; at most 0 where it never rises."""
    return risk.mean("seed", skipna=False).diff(axis).max()


def _away(array, axis, threshold):
    """Points at least a factor 1.25 from the interpolation threshold."""
    return array.sel({axis: abs(np.log(array[axis] / threshold)) > np.log(1.25) - 1e-9})


def _has_best(config):
    return 1.0 in config.penalty_factors


def _image_errors(r):
    return r["images/error"].mean("seed", skipna=False)


CLAIMS = (
    Claim("samples-peak",
        "without ridge the risk peaks at as many samples as features",
        source="Fig. 1", expect=Equal(lambda config: config.num_features, atol=0.5),
        statistic=lambda config, r: r["samples/risk"].sel(factor=0.0).median("seed").idxmax("num_samples"),
        needs=lambda config: config.num_features in config.samples[1:-1]),
    Claim("samples-monotone",
        "at the best ridge more samples never hurt: the largest step of the risk along n",
        source="Theorem 1", expect=AtMost(0.0),
        statistic=lambda config, r: _largest_rise(_tuned(r, "samples"), "num_samples"), needs=_has_best),
    Claim("best-penalty",
        "the best ridge is dσ²/r² at every n",
        source="Section 2, optimal penalty", basis="formula",
        expect=Curve(lambda config, num_samples: np.ones(num_samples.shape), rtol=0.3),
        statistic=lambda config, r: r["samples/risk"].mean("seed", skipna=False).idxmin("factor"), needs=_has_best),
    Claim("samples-risk",
        "at the best ridge the risk is that of the limit, to 2.1 %",
        source="Section 2; Fig. 1", basis="formula",
        expect=Curve(lambda config, num_samples: sample_risk(config, num_samples, 1.0), rtol=0.021),
        statistic=lambda config, r: _tuned(r, "samples"), needs=_has_best),
    Claim("samples-ridgeless",
        "and so it is without, away from n = d",
        source="Section 2; Fig. 1", basis="formula",
        expect=Curve(lambda config, num_samples: sample_risk(config, num_samples, 0.0), rtol=0.06),
        statistic=lambda config, r: _away(r["samples/risk"].sel(factor=0.0), "num_samples", config.num_features)),
    Claim("sizes-peak",
        "without ridge the risk peaks at as many features as samples",
        source="Section 3", expect=Equal(lambda config: config.num_samples, atol=0.5),
        statistic=lambda config, r: r["sizes/risk"].sel(factor=0.0).median("seed").idxmax("size"),
        needs=lambda config: config.num_samples in config.sizes[1:-1]),
    Claim("sizes-monotone",
        "at the best ridge more features never hurt: the largest step of the risk along d",
        source="Theorem 2", expect=AtMost(0.0),
        statistic=lambda config, r: _largest_rise(_tuned(r, "sizes"), "size"), needs=_has_best),
    Claim("sizes-risk",
        "at the best ridge the risk is that of the limit, to 2.1 %",
        source="Section 3", basis="formula",
        expect=Curve(lambda config, size: size_risk(config, size, 1.0), rtol=0.021),
        statistic=lambda config, r: _tuned(r, "sizes"), needs=_has_best),
    Claim("images-peak",
        "random features on images with a tiny ridge peak at N = n: the error there over the best one with fewer features",
        source="Section 4, random features on Fashion-MNIST", expect=AtLeast(2.0),
        statistic=lambda config, r: _image_errors(r).isel(penalty=0).sel(width=config.num_images)
            / _image_errors(r).isel(penalty=0).sel(width=slice(None, config.num_images)).min(),
        needs=lambda config: config.num_images in config.widths[1:-1]),
    Claim("images-monotone",
        "and with the best ridge of a grid at each N they do not: the largest relative step upwards",
        source="Section 4, random features on Fashion-MNIST", expect=AtMost(0.01),
        statistic=lambda config, r: np.log(_image_errors(r).min("penalty")).diff("width").max()),
)  # fmt: skip


# What is drawn --------------------------------------------------------------------------------------------------------


@dm.plot.style()
def figures(config, results):
    """Risk over samples and over sizes, and error on images over features, at several penalties."""
    figure = dm.plot.figure("page", height=2.7)
    axes = figure.subplots(1, 3)
    for ax, study, axis, theory, threshold in (
        (axes[0], "samples", "num_samples", sample_risk, config.num_features),
        (axes[1], "sizes", "size", size_risk, config.num_samples),
    ):
        values = results[f"{study}/risk"]
        x = values[axis].to_numpy()
        fine = np.linspace(x.min(), x.max(), 301)
        ax.set(xscale="log", yscale="log", ylabel="risk")
        for factor in (0.0, 0.1, 1.0):
            if factor in config.penalty_factors:
                curve = np.where(abs(fine / threshold - 1) < 0.02, np.nan, theory(config, fine, factor))
                found = values.sel(factor=factor).transpose("seed", axis).to_numpy()
                label = rf"$\lambda = {factor:g}\,\lambda^*$" if factor else r"$\lambda = 0$"
                dm.plot.curve_with_theory(
                    ax, x, found, (fine, curve), label=label, theory_label=None, threshold=threshold
                )
        ax.set_ylim(None, 6 * config.signal)
        ax.legend()
    axes[0].set(xlabel="samples $n$", title=f"$d = {config.num_features}$")
    axes[1].set(xlabel="features $d$", title=f"$n = {config.num_samples}$")
    errors, widths = results["images/error"], np.array(config.widths)
    axes[2].set(xscale="log", yscale="log", xlabel="random features $N$", ylabel="test error", title=config.data_set)
    for penalty in config.image_penalties[::2]:
        found = errors.sel(penalty=penalty).transpose("seed", "width").to_numpy()
        dm.plot.curve_with_theory(axes[2], widths, found, label=rf"$\lambda = {penalty:g}\,N$")
    axes[2].plot(widths, _image_errors(results).min("penalty"), "k--", label="best")
    axes[2].axvline(config.num_images, color="0.5", linestyle=":", zorder=0)
    axes[2].legend()
    for ax, values in zip(axes, (config.samples, config.sizes, config.widths), strict=True):
        ticks = [tick for tick in (10, 20, 50, 100, 200, 500, 1000, 2000, 5000) if min(values) <= tick <= max(values)]
        ax.set_xticks(ticks, [str(tick) for tick in ticks])
        ax.tick_params(axis="x", which="minor", bottom=False, labelbottom=False)
    return {"ridge": figure}


EXPERIMENT = Experiment(
    Config,
    SCALES,
    studies={
        "samples": Study(measure_samples, seeds_per_unit=50),
        "sizes": Study(measure_sizes, seeds_per_unit=50),
        "images": Study(measure_images, seeds_per_unit=5, num_seeds="num_draws"),
    },
    claims=CLAIMS,
    figures=figures,
    precision="float64",
    deviations=(
        "Risks are averaged over the noise and over directions of β given X, exactly; samples and features are nested.",
        "On images the best penalty is that of the mean test error over draws, on the first 1000 test images.",
        "The paper's convolutional networks and its counterexamples are left out.",
    ),
)
