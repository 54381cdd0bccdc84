"""Reconciling modern machine-learning practice and the classical bias-variance trade-off (Belkin, Hsu, Ma & Mandal 2019).

Least squares on N random Fourier features of n images, and the interpolant of minimum norm where N > n. The classical
U-shaped curve of the test error ends in a peak at the interpolation threshold N = n. Beyond it the error falls again,
below the best of the classical regime: of all the functions that fit the data, a larger N offers smoother ones. The
norm of the coefficients peaks and falls with the error, and both tend to those of the kernel machine, the interpolant
of minimum norm in the Hilbert space of the kernel exp(−‖x − x′‖²/(2σ²)), which is the limit N → ∞.
(PNAS 116, 15849-15854; arXiv 1812.11118. N counts real features, a cosine and its sine as two.)
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

import dlmath as dm
from dlmath.repro import AtLeast, AtMost, Claim, Equal, Experiment, Study


@dataclass(frozen=True)
class Config:
    """Settings."""

    data_set: str = "digits"
    """Images: "digits", "mnist" or "fashion_mnist"."""
    num_train: int = 200
    """Training images n, drawn anew in every seed."""
    num_test: int = 500
    """Test images, the first ones."""
    bandwidth: float = 1.5
    """σ of the Fourier features, in units of the pixels, which are in [0, 1]."""
    ratios: tuple[float, ...] = (0.1, 0.25, 0.5, 0.75, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 4.0, 8.0, 16.0)
    """Features per training image, N/n."""
    num_seeds: int = 10
    """Draws of features and training images."""


SCALES = {
    "smoke": Config(),
    "laptop": Config(data_set="mnist", num_train=1000, num_test=2000, bandwidth=5.0, num_seeds=6),
    "paper": Config(
        data_set="mnist", num_train=10_000, num_test=10_000, bandwidth=5.0,
        ratios=(0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95, 1.0, 1.05, 1.1, 1.25, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0,
                12.0, 16.0),
        num_seeds=5,
    ),
}  # fmt: skip


# What is measured -----------------------------------------------------------------------------------------------------


def capacities(config):
    """Numbers of features N, even: a cosine and its sine each time."""
    return [2 * round(ratio * config.num_train / 2) for ratio in config.ratios]


def zero_one(outputs, targets):
    """Fraction of images whose largest output is not at the class."""
    return jnp.mean((outputs.argmax(-1) != targets.argmax(-1)).astype(outputs.dtype))


def square(outputs, targets):
    """Mean square error, summed over classes."""
    return dm.double_descent.mean_square(outputs, targets)


def measure(config, keys):
    """Errors and norms of the least-squares solution of minimum norm at every N, and of the kernel machine."""
    found = [measure_one(config, key) for key in keys]
    columns = {name: np.stack([one[name] for one in found]) for name in found[0]}
    over_ratio = {name: (("seed", "ratio"), values) if values.ndim == 2 else values for name, values in columns.items()}
    return {"ratio": ("ratio", np.array(config.ratios)), **over_ratio}


def measure_one(config, key):
    """The same for one seed: arrays [ratio], and numbers of the kernel machine."""
    data_key, feature_key = jax.random.split(key)
    data = dm.data.load(config.data_set, flatten=True, one_hot=True, dtype="float64")
    data = dm.data.random_subset(data_key, dm.data.subset(data, num_test=config.num_test), config.num_train)
    numbers = capacities(config)
    features = dm.double_descent.feature_map(
        feature_key, data.x.shape[1], numbers[-1], kind="fourier", bandwidth=config.bandwidth
    )
    sweep = dm.double_descent.ridge_sweep(
        features, (data.x, data.y), numbers, [0.0], test=(data.x_test, data.y_test),
        scores={"zero_one": zero_one, "square": square},
    )  # fmt: skip
    kernel = dm.kernels.gaussian(rate=1 / (2 * config.bandwidth**2))
    machine = dm.linalg.interpolate(kernel, data.x, data.y)
    outputs = dm.linalg.predict(machine, data.x_test)
    return {
        "test_error": sweep.test["zero_one"][:, 0],
        "test_square": sweep.test["square"][:, 0],
        "train_error": sweep.train["zero_one"][:, 0],
        "train_square": sweep.train["square"][:, 0],
        # With φ_j = √2 cos, the functions of norm √N ‖β‖ are the unit of the feature's own Hilbert space.
        "norm": np.sqrt(numbers) * sweep.norm[:, 0],
        "kernel_error": zero_one(outputs, jnp.asarray(data.y_test)),
        "kernel_norm": np.sqrt(np.sum(data.y * np.asarray(machine.coefficients))),
    }


# What is claimed ------------------------------------------------------------------------------------------------------


def below(array):
    """The classical regime N < n."""
    return array.sel(ratio=array["ratio"][array["ratio"] < 1])


def _brackets(config):
    return 1.0 in config.ratios and min(config.ratios) < 1 < max(config.ratios)


CLAIMS = (
    Claim(
        "peak",
        "the test error peaks at the interpolation threshold, N = n",
        source="Fig. 2",
        expect=Equal(1.0, atol=0.01),
        statistic=lambda config, r: r["features/test_error"].mean("seed", skipna=False).idxmax("ratio"),
        needs=_brackets,
    ),
    Claim(
        "second-descent",
        "with 16 n features the test error is below that of the best N < n",
        source="Fig. 2; the factor 16 is ours",
        expect=AtLeast(0.0),
        statistic=lambda config, r: (
            below(r["features/test_error"]).min("ratio") - r["features/test_error"].sel(ratio=16.0)
        ),
        needs=lambda config: _brackets(config) and 16.0 in config.ratios,
    ),
    Claim(
        "norm-peak",
        "the norm of the coefficients peaks there too",
        source="Fig. 2",
        expect=Equal(1.0, atol=0.01),
        statistic=lambda config, r: np.log(r["features/norm"]).mean("seed", skipna=False).idxmax("ratio"),
        needs=_brackets,
    ),
    Claim(
        "norm-falls",
        "beyond it the norm falls with N, at every step of the grid",
        source="Fig. 2",
        expect=AtMost(0.0),
        statistic=lambda config, r: _beyond(np.log(r["features/norm"])).mean("seed", skipna=False).diff("ratio").max(),
        needs=lambda config: sum(ratio >= 1 for ratio in config.ratios) >= 3,
    ),
    Claim(
        "interpolates",
        "from N = n on no training image is misclassified",
        source="Fig. 2",
        expect=Equal(0.0),
        statistic=lambda config, r: _beyond(r["features/train_error"]).max("ratio"),
        needs=_brackets,
    ),
    Claim(
        "kernel-norm",
        "the norm comes down to that of the kernel machine: with 16 n features it is larger by at most a tenth",
        source="Fig. 2, h_{n,∞}; a tenth is ours",
        expect=Equal(1.05, atol=0.05),
        statistic=lambda config, r: r["features/norm"].sel(ratio=16.0) / r["features/kernel_norm"],
        needs=lambda config: 16.0 in config.ratios,
    ),
    Claim(
        "kernel-error",
        "and the error to that of the kernel machine: with 16 n features they differ by at most 1.5 points",
        source="Fig. 2, h_{n,∞}; 1.5 points are ours",
        expect=Equal(0.0, atol=0.015),
        statistic=lambda config, r: r["features/test_error"].sel(ratio=16.0) - r["features/kernel_error"],
        needs=lambda config: 16.0 in config.ratios,
    ),
)


def _beyond(array):
    return array.sel(ratio=array["ratio"][array["ratio"] >= 1])


# What is drawn --------------------------------------------------------------------------------------------------------


@dm.plot.style()
def figures(config, results):
    """Test error, squared loss and norm over N/n, beside the kernel machine."""
    ratio = results["features/test_error"]["ratio"].to_numpy()
    if len(ratio) < 2:
        return {}
    values = lambda name: results[f"features/{name}"].transpose("seed", "ratio").to_numpy()
    limit = lambda name: float(results[f"features/{name}"].mean("seed", skipna=False))

    error_figure = dm.plot.figure("column")
    ax = error_figure.subplots()
    ax.set_xscale("log")
    dm.plot.curve_with_theory(
        ax, ratio, 100 * values("test_error"), label="test", threshold=1.0, threshold_label="$N = n$"
    )
    dm.plot.curve_with_theory(ax, ratio, 100 * values("train_error"), label="training")
    ax.axhline(100 * limit("kernel_error"), color="0.3", linestyle="--", linewidth=0.8, label="kernel machine")
    ax.set(xlabel="features per image $N/n$", ylabel="misclassified [%]", ylim=(0, None))
    _plain_ticks(ax, ratio)
    ax.legend()

    norm_figure = dm.plot.figure("column")
    ax = norm_figure.subplots()
    ax.set(xscale="log", yscale="log")
    dm.plot.curve_with_theory(
        ax, ratio, values("norm"), label="random features", threshold=1.0, threshold_label="$N = n$",
        kind="quartiles",
    )  # fmt: skip
    ax.axhline(limit("kernel_norm"), color="0.3", linestyle="--", linewidth=0.8, label="kernel machine")
    ax.set(xlabel="features per image $N/n$", ylabel=r"norm $\sqrt{N}\,\|\beta\|$")
    _plain_ticks(ax, ratio)
    ax.legend()
    return {"error": error_figure, "norm": norm_figure}


def _plain_ticks(ax, ratio):
    ticks = [tick for tick in (0.1, 0.25, 0.5, 1, 2, 4, 8, 16) if ratio.min() <= tick <= ratio.max()]
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.xaxis.minorticks_off()


EXPERIMENT = Experiment(
    Config,
    SCALES,
    studies={"features": Study(measure, seeds_per_unit=2)},
    claims=CLAIMS,
    figures=figures,
    precision="float64",
    deviations=(
        "Digits at smoke scale and 1,000 images of MNIST at laptop scale instead of 10,000; the bandwidths are ours.",
        "The height of the peak is set by rounding and by the luck of few seeds, and is not claimed.",
        "Fourier features only; the paper's neural networks and random forests are not here.",
    ),
)
