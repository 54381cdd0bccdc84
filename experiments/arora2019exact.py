"""On exact computation with an infinitely wide neural net (Arora, Du, Hu, Li, Salakhutdinov & Wang 2019).

The tangent kernel of an infinitely wide convolutional network (CNTK) can be computed exactly: covariances of all pairs of
pixels pass through the layers one after the other. Regression with it classifies CIFAR-10 with 77.43 % accuracy at depth 11,
if the network ends in global average pooling (GAP), 10 points above the best Gaussian process before and 6 below the finite
network; GAP is worth 8 to 10 points over a network that ends in a flat layer of all pixels (vanilla). Kernels of finite
networks converge to it as their width m grows, with fluctuations of order m^−½.
(NeurIPS 2019, arXiv 1904.11955. All convolutions are 3×3 with zeros around the image, ReLU and σ_w² = 2, without biases;
labels are one-hot minus 0.1; regression is without ridge.)
"""

from dataclasses import dataclass
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np

import dlmath as dm
from dlmath.repro import AtLeast, AtMost, Claim, Equal, Experiment, Slope, Study


@dataclass(frozen=True)
class Config:
    """Settings."""

    data_set: str = "digits"
    """Images: "digits" (embedded), or "cifar10" (training batch 1, tested on batch 5)."""
    average: int = 1
    """Side of the squares of pixels that are averaged into one."""
    depth: int = 2
    """Convolutions."""
    readouts: tuple[str, ...] = ("flatten", "global_average")
    """What follows them: a dense layer of all pixels, or of their mean."""
    num_pool: int = 150
    """Images that training sets are drawn from, the first ones."""
    num_test: int = 100
    """Test images, the first ones."""
    train_sizes: tuple[int, ...] = (25, 50, 100)
    """Training images n."""
    num_seeds: int = 20
    """Training sets."""
    widths: tuple[int, ...] = (16, 48, 144)
    """Channels m of finite networks whose kernels are compared with the limit."""
    num_compared: int = 5
    """Images on which they are."""
    num_networks: int = 100
    """Finite networks of each width."""


SCALES = {
    "smoke": Config(),
    "laptop": Config(
        data_set="cifar10",
        average=4,
        depth=4,
        num_pool=2500,
        num_test=1000,
        train_sizes=(500, 1000, 2000),
        widths=(16, 32, 64, 128),
    ),
    "paper": Config(
        data_set="cifar10",
        depth=11,
        num_pool=4000,
        num_test=2000,
        train_sizes=(250, 500, 1000, 2000),
        widths=(16, 32, 64, 128, 256, 512),
    ),
}

READOUTS = {"flatten": "vanilla", "global_average": "GAP"}
KERNELS = ("ntk", "nngp")


# Data, networks and regression ----------------------------------------------------------------------------------------


def load(config):
    """Images, standardised by channel, and their labels; the pool first."""
    options = {"batches": (1,), "test_batch": 5} if config.data_set == "cifar10" else {}
    data = dm.data.load(config.data_set, num_train=config.num_pool, num_test=config.num_test, **options)
    return dm.data.standardize(dm.data.average_pool(data, config.average), per="channel")


@cache
def network(channels, depth, readout):
    """Convolutions and a linear read-out; the same object for the same numbers, so that nothing compiles twice."""
    return dm.models.cnn([channels] * depth, 1, pool=readout, parameterization="ntk", weight_std=2**0.5, bias_std=None)


def classify(gram, cross, labels):
    """Classes that kernel regression of centred one-hot labels [n] predicts from its rows cross [m, n], [m]."""
    targets = np.eye(10)[labels] - 0.1
    return (cross @ np.linalg.solve(gram, targets)).argmax(-1)


def measure_accuracy(config, keys, *, readout):
    """Accuracies of CNTK and CNN-GP on training sets from a pool, for which each kernel is computed once."""
    data = load(config)
    kernel = network(1, config.depth, readout).kernel
    grams, crosses = {}, {}
    for get in KERNELS:
        # Kernels are in single precision, their systems are solved in double.
        grams[get] = np.asarray(kernel(data.x, get=get), np.float64)
        crosses[get] = np.asarray(kernel(data.x_test, data.x, get=get), np.float64)
    found = np.zeros((len(keys), len(config.train_sizes), len(KERNELS)))
    for seed, key in enumerate(keys):
        order = np.asarray(jax.random.permutation(key, len(data.x)))
        for index, n in enumerate(config.train_sizes):
            chosen = order[:n]
            for place, get in enumerate(KERNELS):
                classes = classify(grams[get][np.ix_(chosen, chosen)], crosses[get][:, chosen], data.y[chosen])
                found[seed, index, place] = np.mean(classes == data.y_test)
    return {
        "num_train": ("num_train", np.array(config.train_sizes)),
        "kernel": ("kernel", np.array(KERNELS)),
        "accuracy": (("seed", "num_train", "kernel"), found),
    }


@partial(jax.jit, static_argnames="model")
def empirical_kernels(keys, model, x):
    """Tangent kernels [seed, n, n] of random finite networks."""
    one = lambda key: dm.ntk.empirical(model.apply, model.init(key, x), x, outputs="trace")
    return jax.lax.map(one, keys)


def measure_width(config, keys, *, width):
    """How far kernels of finite networks are from the limit, ‖Θ_m − Θ‖/‖Θ‖, and so is their mean."""
    x = jnp.asarray(load(config).x[: config.num_compared])
    model = network(width, config.depth, "global_average")
    limit = model.kernel(x)
    gaps = empirical_kernels(keys, model, x) - limit
    size = jnp.linalg.norm(limit)
    return {"gap": jnp.linalg.norm(gaps, axis=(1, 2)) / size, "signed": jnp.sum(gaps * limit, axis=(1, 2)) / size**2}


# What is claimed ------------------------------------------------------------------------------------------------------


def _gain(config, r, one, other):
    """Difference of accuracies at the largest n, for each training set; `one` and `other` name what differs."""
    accuracy = r["accuracy/accuracy"].sel(num_train=max(config.train_sizes))
    return accuracy.sel(one) - accuracy.sel(other)


def _both(config):
    return len(config.readouts) == 2


def _natural(config):
    return config.data_set == "cifar10" and _both(config) and max(config.train_sizes) >= 500


CLAIMS = (
    Claim("pooling",
        "global average pooling raises the accuracy of the CNTK, at the largest n",
        source="Table 1: 8 to 10 points with 50,000 images of CIFAR-10", expect=AtLeast(0.0),
        statistic=lambda config, r: _gain(config, r, {"readout": "global_average", "kernel": "ntk"},
        {"readout": "flatten", "kernel": "ntk"}), needs=_both),
    Claim("beats-gp-pooling",
        "the CNTK classifies better than the Gaussian process of the same network, with pooling",
        source="Section 5, CNTK against CNN-GP", expect=AtLeast(0.0),
        statistic=lambda config, r: _gain(config, r, {"readout": "global_average", "kernel": "ntk"},
        {"readout": "global_average", "kernel": "nngp"}), needs=_natural),
    Claim("beats-gp-vanilla",
        "and without",
        source="Section 5, CNTK against CNN-GP", expect=AtLeast(0.0),
        statistic=lambda config, r: _gain(config, r, {"readout": "flatten", "kernel": "ntk"},
        {"readout": "flatten", "kernel": "nngp"}), needs=_natural),
    Claim("best",
        "the CNTK with pooling reaches 77.43 % with all 50,000 training images at depth 11",
        source="Table 1", expect=Equal(0.7743, atol=0.01),
        statistic=lambda config, r: r["accuracy/accuracy"].sel(
            num_train=50_000, readout="global_average", kernel="ntk"),
        needs=lambda config: _natural(config) and 50_000 in config.train_sizes and config.average == 1),
    Claim("rate",
        "kernels of finite networks fluctuate about the limit by m^−½",
        source="Theorem 3.1 (fully connected), Section 4.3", basis="formula",
        expect=Slope(-0.5, along="width", atol=0.15), statistic=lambda config, r: r["width/gap"].mean("seed"),
        needs=lambda config: len(config.widths) > 2),
    Claim("limit",
        "and their mean is the limit: the difference along it at the largest width, relative to its size",
        source="Section 4.3", basis="formula", expect=Equal(0.0, atol=0.1),
        statistic=lambda config, r: r["width/signed"].sel(width=max(config.widths)),
        needs=lambda config: max(config.widths) >= 100),
    Claim("learns",
        "the CNTK classifies digits: it errs on fewer than one in four from 100 training images, a threshold of ours",
        source="Section 5", expect=AtMost(0.25),
        statistic=lambda config, r: 1 - r["accuracy/accuracy"].sel(num_train=100, kernel="ntk").max("readout"),
        needs=lambda config: config.data_set == "digits" and 100 in config.train_sizes),
)  # fmt: skip


# What is drawn --------------------------------------------------------------------------------------------------------


@dm.plot.style()
def figures(config, results):
    """Accuracy against training images, of each kernel and read-out; distance of finite networks from the limit."""
    accuracies = dm.plot.figure("column")
    ax = accuracies.subplots()
    ax.set(xscale="log", xlabel="training images $n$", ylabel="test accuracy [%]", title=config.data_set)
    for readout in config.readouts:
        for get, name in zip(KERNELS, ("CNTK", "CNN-GP"), strict=True):
            values = 100 * results["accuracy/accuracy"].sel(readout=readout, kernel=get)
            drawn = values.transpose("seed", "num_train").to_numpy()
            label = f"{name}, {READOUTS[readout]}"
            dm.plot.curve_with_theory(ax, np.array(config.train_sizes), drawn, kind="t95", label=label)
    ax.set_xticks(config.train_sizes, [f"{n:,}" for n in config.train_sizes])
    ax.minorticks_off()
    ax.legend()

    widths = dm.plot.figure("column")
    ax = widths.subplots()
    ax.set(xscale="log", yscale="log", xlabel="channels $m$", ylabel=r"$\|\Theta_m - \Theta\| / \|\Theta\|$")
    gap = results["width/gap"].transpose("seed", "width")
    m = gap["width"].to_numpy()
    line = gap.isel(width=-1).mean().item() * (m / m[-1]) ** -0.5
    dm.plot.curve_with_theory(ax, m, gap.to_numpy(), (m, line), label="finite networks", theory_label=r"$m^{-1/2}$")
    ax.set_xticks(m, [f"{n}" for n in m])
    ax.set_xticks([], minor=True)
    ax.yaxis.set_minor_formatter("{x:.2g}")
    ax.legend()
    return {"accuracies": accuracies, "widths": widths}


EXPERIMENT = Experiment(
    Config,
    SCALES,
    studies={
        "accuracy": Study(measure_accuracy, over={"readout": "readouts"}, seeds_per_unit=20),
        "width": Study(measure_width, over={"width": "widths"}, num_seeds="num_networks", seeds_per_unit=100),
    },
    claims=CLAIMS,
    figures=figures,
    deviations=(
        "At most some thousands of training images, on laptops of 8×8 averaged pixels; digits at smoke scale.",
        "Training sets are drawn from a pool of fixed images, so that intervals know nothing of the pool or the test set.",
        "Tested on images of training batch 5. Images are standardised by channel.",
        "All layers train, the first and the last included; finite networks are not trained.",
    ),
)
