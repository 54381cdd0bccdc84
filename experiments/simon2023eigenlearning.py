"""The eigenlearning framework: a conservation law perspective on kernel regression and wide neural networks (Simon et al. 2023).

A kernel with eigenvalues λᵢ and orthonormal eigenfunctions φᵢ, fitted to n points with ridge δ, learns of each
eigenfunction the share Lᵢ (its learnability), and what it learns in one direction it cannot learn in another:

    Σᵢ Lᵢ = n − δ/κ,    E[Lᵢ] = λᵢ/(λᵢ + κ),    with κ the solution of Σᵢ λᵢ/(λᵢ + κ) + δ/κ = n;

without ridge Σᵢ Lᵢ = n for every set of n points. For a target Σ vᵢφᵢ with noise of variance σ² the errors follow,

    test = E₀ (Σ (1 − Lᵢ)² vᵢ² + σ²),    E₀ = n/(n − Σ Lᵢ²),    train = (δ/(nκ))² test,

so that a mode of small eigenvalue is learned worse than chance from few points. Here the points are drawn from finite
domains, on which eigenvalues and eigenfunctions are those of a matrix: the discretised circle, the hypercube, and images.
(TMLR 2023, arXiv 2110.03922. Errors are mean squares; eigenvalues are those of the kernel matrix of the domain over its size.)
"""

from dataclasses import dataclass
from functools import cache
from itertools import product

import jax
import numpy as np

import dlmath as dm
from dlmath.repro import AtLeast, AtMost, Claim, Curve, Experiment, Study


@dataclass(frozen=True)
class Config:
    """Settings."""

    domains: tuple[str, ...] = ("circle", "hypercube")
    """Domains of known eigenfunctions, both of 256 points: the circle, and the corners of the cube {−1, 1}⁸."""
    sizes: tuple[int, ...] = (4, 8, 16, 32, 64, 128)
    """Training points n on them, drawn without replacement."""
    ridges: tuple[float, ...] = (0.0, 0.1)
    """Ridges δ, in units of the kernel's mean diagonal; the same for images."""
    noise: float = 0.1
    """Standard deviation σ of the noise on the labels of images."""
    data_set: str = "digits"
    """Images: "digits" (embedded), "mnist" or "cifar10"."""
    num_images: int = 500
    """Images that make the domain, the first ones of the set."""
    image_sizes: tuple[int, ...] = (8, 16, 32, 64, 125)
    """Training images n, at most a quarter of the domain: the noise on its own labels is part of what it is tested on."""
    depth: int = 2
    """Hidden layers of the infinitely wide ReLU network whose tangent kernel is used."""
    num_seeds: int = 100
    """Training sets."""


SCALES = {
    "smoke": Config(),
    "laptop": Config(
        sizes=(2, 4, 8, 16, 32, 64, 128, 192, 240),
        ridges=(0.0, 0.01, 0.1, 1.0),
        data_set="mnist",
        num_images=2000,
        image_sizes=(16, 32, 64, 128, 256, 500),
    ),
    "paper": Config(
        sizes=(2, 4, 8, 16, 32, 64, 128, 192, 240),
        ridges=(0.0, 0.01, 0.1, 1.0),
        data_set="cifar10",
        num_images=10_000,
        image_sizes=(16, 32, 64, 128, 256, 512, 1024, 2048),
        depth=4,
    ),
}

NUM_POINTS = 256
TARGETS = {"low": 1, "middle": 2, "high": 4}
"""Frequencies on the circle, degrees on the hypercube, of the three eigenfunctions that are learned."""


# Domains, kernels and targets -----------------------------------------------------------------------------------------


def points(domain):
    """The points [256, d] of a domain, of squared norm d."""
    if domain == "circle":
        angles = 2 * np.pi * np.arange(NUM_POINTS) / NUM_POINTS
        return np.sqrt(2) * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return np.array(list(product((-1.0, 1.0), repeat=8)))


def eigenfunctions(domain, x):
    """The three targets [256, 3], of mean square 1."""
    if domain == "circle":
        angles = np.arctan2(x[:, 1], x[:, 0])
        return np.stack([np.sqrt(2) * np.cos(k * angles) for k in TARGETS.values()], axis=1)
    return np.stack([x[:, :k].prod(1) for k in TARGETS.values()], axis=1)


@cache
def network(depth):
    """A ReLU network with biases, of which only the kernel of infinite width is used."""
    return dm.models.mlp([1] * depth, 1, parameterization="ntk", bias_std=0.5)


def gram(depth, x):
    """The tangent kernel of the points of a domain, of mean diagonal 1."""
    k = np.asarray(network(depth).kernel(x))
    return k / np.trace(k) * len(k)


def theory(eigenvalues, coefficients, sizes, ridges, noise=0.0):
    """The `LearningCurve` at all sizes n and ridges δ, a list of one a ridge."""
    return [dm.ntk.learning_curve(eigenvalues, coefficients, sizes, ridge=delta, noise=noise**2) for delta in ridges]


# Kernel regression on subsets -----------------------------------------------------------------------------------------


def subsets(keys, num_points):
    """An order of the points of the domain for each key, [seed, point]: training sets are its first n."""
    return np.asarray(jax.vmap(lambda key: jax.random.permutation(key, num_points))(keys))


def regress(k, chosen, y, ridge):
    """Kernel ridge regression of labels y [n, ...] at the chosen points, at all points of the domain [point, ...]."""
    train = k[np.ix_(chosen, chosen)] + ridge * np.eye(len(chosen))
    return k[:, chosen] @ np.linalg.solve(train, y)


def measure_modes(config, keys, *, domain):
    """Learnabilities of all eigenfunctions of a domain, and errors of three of them as targets."""
    x = points(domain)
    k = gram(config.depth, x)
    spectrum = dm.ntk.spectrum(k)
    modes = np.sqrt(NUM_POINTS) * np.asarray(spectrum.eigenvectors)
    targets = eigenfunctions(domain, x)
    functions = np.concatenate([modes, targets], axis=1)
    learned, errors, train = [], [], []
    for order in subsets(keys, NUM_POINTS):
        for n, ridge in product(config.sizes, config.ridges):
            fit = regress(k, order[:n], functions[order[:n]], ridge)
            learned.append((modes * fit[:, :NUM_POINTS]).mean(0))
            gap = (fit[:, NUM_POINTS:] - targets) ** 2
            errors.append(gap.mean(0))
            train.append(gap[order[:n]].mean(0))
    shape = (len(keys), len(config.sizes), len(config.ridges))
    learned, errors, train = (np.reshape(a, (*shape, -1)) for a in (learned, errors, train))
    curves = theory(spectrum.eigenvalues, np.zeros(NUM_POINTS), config.sizes, config.ridges)
    powers = np.asarray(dm.ntk.task_coefficients(spectrum, targets))
    curves_of = [theory(spectrum.eigenvalues, v, config.sizes, config.ridges) for v in powers.T]
    grid = ("num_train", "ridge")
    return {
        "num_train": ("num_train", np.array(config.sizes)),
        "ridge": ("ridge", np.array(config.ridges)),
        "mode": ("mode", np.arange(NUM_POINTS)),
        "target": ("target", np.array(list(TARGETS))),
        "learnability": (("seed", *grid, "mode"), learned),
        "expected_learnability": ((*grid, "mode"), np.stack([c.learnabilities for c in curves], axis=1)),
        "kappa": (grid, np.stack([c.kappa for c in curves], axis=1)),
        "test": (("seed", *grid, "target"), errors),
        "train": (("seed", *grid, "target"), train),
        "expected_test": ((*grid, "target"), _stacked(curves_of, "test_error")),
        "expected_train": ((*grid, "target"), _stacked(curves_of, "train_error")),
    }


def _stacked(curves_of, name):
    """One field of the curves [target][ridge] as an array [num_train, ridge, target]."""
    values = np.array([[getattr(c, name) for c in curves] for curves in curves_of])
    return np.moveaxis(values, (0, 1, 2), (2, 1, 0))


def measure_images(config, keys):
    """Errors on images, ten indicators as targets, with noise on the labels."""
    data = dm.data.load(config.data_set, num_train=config.num_images, flatten=True, one_hot=True, dtype="float64")
    x = data.x / np.sqrt(np.mean(data.x**2))
    k, y = gram(config.depth, x), data.y - 0.1
    spectrum = dm.ntk.spectrum(k)
    coefficients = dm.ntk.task_coefficients(spectrum, y)
    num, outputs = y.shape
    noises = np.asarray(jax.vmap(lambda key: jax.random.normal(jax.random.fold_in(key, 1), y.shape))(keys))
    errors, train = [], []
    for order, noise in zip(subsets(keys, num), config.noise * noises, strict=True):
        for n, ridge in product(config.image_sizes, config.ridges):
            labels = (y + noise)[order[:n]]
            fit = regress(k, order[:n], labels, ridge)
            errors.append(((fit - y) ** 2).sum(1).mean() + config.noise**2 * outputs)
            train.append(((fit[order[:n]] - labels) ** 2).sum(1).mean())
    shape = (len(keys), len(config.image_sizes), len(config.ridges))
    curves = theory(spectrum.eigenvalues, coefficients, config.image_sizes, config.ridges, config.noise * outputs**0.5)
    grid = ("num_train", "ridge")
    return {
        "num_train": ("num_train", np.array(config.image_sizes)),
        "ridge": ("ridge", np.array(config.ridges)),
        "test": (("seed", *grid), np.reshape(errors, shape)),
        "train": (("seed", *grid), np.reshape(train, shape)),
        "expected_test": (grid, np.stack([c.test_error for c in curves], axis=1)),
        "expected_train": (grid, np.stack([c.train_error for c in curves], axis=1)),
    }


# What is claimed ------------------------------------------------------------------------------------------------------


def _ratio(r, study, name, ridges):
    """Measured over expected errors of a study, at some ridges."""
    return (r[f"{study}/{name}"] / r[f"{study}/expected_{name}"]).sel(ridge=ridges)


def _positive(config):
    return [ridge for ridge in config.ridges if ridge > 0]


def _excess(config, r):
    """The largest |Σ Lᵢ − (n − δ/κ)|, relative to n, of the learnabilities that the theory expects."""
    total, kappa = r["modes/expected_learnability"].sum("mode"), r["modes/kappa"]
    return (abs(total - (kappa["num_train"] - kappa["ridge"] / kappa)) / kappa["num_train"]).max()


def _conserved(config, r):
    """The largest |Σ Lᵢ − n|, relative to n, of measured learnabilities without ridge, for each training set."""
    total = r["modes/learnability"].sel(ridge=0.0).sum("mode")
    return (abs(total - total["num_train"]) / total["num_train"]).max(("num_train", "domain"))


ONE_DIMENSIONAL = (
    "the theory takes eigenfunctions for independent Gaussian variables; on the circle the widest of the random gaps between "
    "neighbours decide"
)


def _ones(config, **axes):
    return np.ones(next(iter(axes.values())).shape)


def _total(config, learnability):
    """Σ Lᵢ on the hypercube with a ridge, from 8 points to an eighth of the domain."""
    chosen = {"domain": "hypercube", "ridge": _positive(config), "num_train": slice(8, NUM_POINTS // 8)}
    return learnability.sel(chosen).sum("mode")


def _error_claim(study, name, statement, ridges, source, domain=None, fails=""):
    """Measured errors over expected ones are 1 at every n from 8 on, to an eighth of a domain, give or take 20 %."""

    def statistic(config, r):
        size = config.num_images if study == "images" else NUM_POINTS
        ratio = _ratio(r, study, name, ridges(config)).sel(num_train=slice(8, size // 8))
        return ratio if domain is None else ratio.sel(domain=domain)

    return Claim(
        f"{study}-{name}" + (f"-{domain}" if domain else ""), statement, source=source, basis="formula",
        expect=Curve(_ones, rtol=0.2), statistic=statistic, fails=fails,
        needs=lambda config: bool(ridges(config)) and (domain is None or domain in config.domains),
    )  # fmt: skip


CLAIMS = (
    Claim("sum-expected",
        "the expected learnabilities add up to n − δ/κ, which is n without ridge, at every size and ridge",
        source="Section 4.1, eqs. (5) and (6)", basis="formula", expect=AtMost(1e-10), statistic=_excess),
    Claim("sum-measured",
        "without ridge the measured ones add up to n, for every single training set (conservation law)",
        source="Theorem 3.2", basis="formula", expect=AtMost(1e-8), statistic=_conserved,
        needs=lambda config: 0.0 in config.ridges),
    Claim("sum-ridge",
        "with a ridge the measured ones add up to n − δ/κ on average, on the hypercube",
        source="Section 4.1", basis="formula", expect=Curve(_ones, rtol=0.03),
        statistic=lambda config, r: _total(config, r["modes/learnability"])
        / _total(config, r["modes/expected_learnability"]),
        needs=lambda config: bool(_positive(config)) and "hypercube" in config.domains),
    Claim("learnabilities",
        "every learnability is that of the theory: the root of the mean squared difference over modes and sizes",
        source="Fig. 2", basis="formula", expect=AtMost(0.03),
        statistic=lambda config, r: np.sqrt(((r["modes/learnability"].mean("seed")
        - r["modes/expected_learnability"]).sel(num_train=slice(8, NUM_POINTS // 8)) ** 2).mean())),
    _error_claim("modes", "test",
        "test errors of single eigenfunctions are those expected, at all ridges, on the hypercube",
        lambda config: list(config.ridges), "Section 4.2", "hypercube"),
    _error_claim("modes", "test", "and on the circle", lambda config: list(config.ridges), "Section 4.2", "circle",
        fails=ONE_DIMENSIONAL),
    _error_claim("modes", "train", "so are their training errors with a ridge, on the hypercube", _positive,
        "Section 4.2", "hypercube"),
    Claim("worse-than-chance",
        "without ridge few points teach worse than none: the error of the highest eigenfunction exceeds its mean square",
        source="Section 4.3", expect=AtLeast(1.0),
        statistic=lambda config, r: r["modes/test"].sel(ridge=0.0, target="high").max("num_train").min("domain"),
        needs=lambda config: 0.0 in config.ridges),
    _error_claim("images", "test", "test errors on images are those expected from the spectrum of the whole set",
        lambda config: list(config.ridges), "Section 4.2"),
    _error_claim("images", "train", "and so are training errors with a ridge", _positive, "Section 4.2"),
)  # fmt: skip


# What is drawn --------------------------------------------------------------------------------------------------------


@dm.plot.style()
def figures(config, results):
    """Learnabilities against eigenvalues; errors on the domains and on images against the training size."""
    shares = dm.plot.figure("page", height=2.6)
    ridge = config.ridges[0]
    for ax, domain in zip(shares.subplots(1, len(config.domains), squeeze=False)[0], config.domains, strict=True):
        found = results["modes/learnability"].sel(domain=domain, ridge=ridge)
        expected = results["modes/expected_learnability"].sel(domain=domain, ridge=ridge)
        mode = found["mode"].to_numpy() + 1
        for color, n in zip(dm.plot.COLORS * 2, config.sizes, strict=False):
            values = found.sel(num_train=n).transpose("seed", "mode").to_numpy()
            ax.plot(mode, values.mean(0), "o", markersize=1.5, color=color, label=f"$n = {n}$")
            label = "expected" if n == config.sizes[-1] else None
            ax.plot(mode, expected.sel(num_train=n), label=label, **dm.plot.THEORY)
        ax.set(xscale="log", xlabel="mode $i$, by falling eigenvalue", ylabel="learnability $L_i$", title=domain)
    shares.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=8)

    modes = dm.plot.figure("page", height=2.6)
    for ax, domain in zip(modes.subplots(1, len(config.domains), squeeze=False)[0], config.domains, strict=True):
        _errors(ax, results, "modes", {"domain": domain, "ridge": ridge}, "target", list(TARGETS), "{} mode")
        ax.set_title(rf"{domain}, $\delta = {ridge:g}$")
    modes.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=4)

    images = dm.plot.figure("column")
    ax = images.subplots()
    _errors(ax, results, "images", {}, "ridge", list(config.ridges), r"$\delta = {:g}$")
    ax.set_title(f"{config.num_images:,} images of {config.data_set}")
    ax.legend()
    return {"learnabilities": shares, "modes": modes, "images": images}


def _errors(ax, results, study, where, axis, values, label):
    """Measured and expected test errors over n, one curve a value of `axis`."""
    ax.set(xscale="log", yscale="log", xlabel="training points $n$", ylabel="test error")
    for index, value in enumerate(values):
        found = results[f"{study}/test"].sel({**where, axis: value})
        expected = results[f"{study}/expected_test"].sel({**where, axis: value})
        theory_label = "expected" if index == len(values) - 1 else None
        dm.plot.curve_with_theory(
            ax, found["num_train"].to_numpy(), found.transpose("seed", "num_train").to_numpy(), expected.to_numpy(),
            label=label.format(value), theory_label=theory_label,
        )  # fmt: skip


EXPERIMENT = Experiment(
    Config,
    SCALES,
    studies={
        "modes": Study(measure_modes, over={"domain": "domains"}, seeds_per_unit=50),
        "images": Study(measure_images, seeds_per_unit=50),
    },
    claims=CLAIMS,
    figures=figures,
    precision="float64",
    deviations=(
        "Kernels are tangent kernels of infinitely wide networks; finite networks are not trained.",
        "Training points are drawn without replacement from a finite domain, over all of which test errors are means.",
        "Compared from n = 8 to an eighth of the domain; above, errors with a ridge fall below the theory.",
        "The hypersphere, infinite domains and the paper's further corollaries are left out.",
    ),
)
