"""Priors for infinite networks (Neal 1996), and deep neural networks as Gaussian processes (Lee et al. 2018).

The outputs of a network with independent Gaussian weights become a Gaussian process as its layers grow: the prior of one
ReLU layer of n units has the excess kurtosis 15/n, and the posterior given data approaches that of the process (NNGP), whose
mean is one linear solve. Deep networks have a kernel in closed form, layer by layer. On images the Gaussian process predicts
about as well as trained networks of the same depth, which come nearer to it as they grow. (Bayesian learning for neural
networks, chapter 2; International Conference on Learning Representations 2018, arXiv 1711.00165.)
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax

import dlmath as dm
from dlmath import bnn
from dlmath.repro import AtLeast, AtMost, Claim, Curve, Experiment, Slope, Study


@dataclass(frozen=True)
class Config:
    """Settings."""

    prior_widths: tuple[int, ...] = (5, 20, 80)
    """Units n of the ReLU layer whose prior is drawn."""
    prior_draws: int = 20_000
    """Draws of that layer a seed."""
    widths: tuple[int, ...] = (32, 128, 512)
    """Units of the layer whose posterior is compared with the limit."""
    num_points: int = 5
    """Noisy values of a sine, the data of that posterior."""
    posterior_draws: int = 2000
    """Draws of the layer by importance sampling."""
    num_seeds: int = 10
    """Independent draws; of the posterior each has data of its own."""
    data_set: str = "digits"
    """Images that are classified."""
    train_sizes: tuple[int, ...] = (100, 400)
    """Training images."""
    network_widths: tuple[int, ...] = (8, 64)
    """Units of each of the trained networks' layers."""
    depth: int = 2
    """Hidden layers of the networks, and of the Gaussian process."""
    train_steps: int = 200
    """Steps of Adam."""
    num_networks: int = 3
    """Draws of training images, and networks of each width."""


SCALES = {
    "smoke": Config(),
    "laptop": Config(
        prior_widths=(5, 10, 20, 40, 80, 160),
        prior_draws=200_000,
        widths=(8, 16, 32, 64, 128, 256, 512),
        posterior_draws=20_000,
        num_seeds=20,
        data_set="mnist",
        train_sizes=(100, 300, 1000, 3000),
        network_widths=(8, 32, 128, 512),
        train_steps=2000,
        num_networks=10,
    ),
    "paper": Config(
        prior_widths=(5, 10, 20, 40, 80, 160),
        prior_draws=1_000_000,
        widths=(8, 16, 32, 64, 128, 256, 512, 1024),
        posterior_draws=100_000,
        num_seeds=50,
        data_set="mnist",
        train_sizes=(100, 1000, 10_000),
        network_widths=(50, 200, 1000, 2000),
        depth=3,
        train_steps=10_000,
        num_networks=10,
    ),
}

NOISE_STD, WEIGHT_STD, BIAS_STD = 0.4, 1.5, 0.5
TARGET_NOISE = 0.1


# The paper's formulas -------------------------------------------------------------------------------------------------


def kurtosis(config, width):
    """Excess kurtosis 15/n of the outputs: given the layer they are Gaussian, of a variance s with Var(s)/E[s]² = 5/n."""
    return 15 / np.asarray(width)


def one_layer():
    return dm.models.mlp([64], 1, activation="relu", parameterization="ntk", weight_std=WEIGHT_STD, bias_std=BIAS_STD)


# What is measured -----------------------------------------------------------------------------------------------------


def measure_prior(config, keys):
    """Excess kurtosis of the output at a unit input, for every width."""

    def one(key, width):
        units = jnp.maximum(jax.random.normal(key, (config.prior_draws, width)), 0)
        variance = jnp.mean(units**2, axis=1)
        return 3 * jnp.var(variance) / jnp.mean(variance) ** 2

    found = [jax.jit(jax.vmap(lambda key, width=width: one(key, width)))(keys) for width in config.prior_widths]
    return {"width": ("width", np.array(config.prior_widths)), "kurtosis": (("seed", "width"), np.stack(found, 1))}


def measure_posterior(config, keys):
    """Root mean square distance of posterior means from the limit, in its standard deviations, at every width."""
    x, new = np.linspace(-2, 2, config.num_points)[:, None], np.array([[-1.3], [-0.4], [0.6], [2.5]])
    rows, effective = [], []
    for key in keys:
        of_data, of_layer = jax.random.split(key)
        y = 1.5 * np.sin(2 * x[:, 0]) + NOISE_STD * np.asarray(jax.random.normal(of_data, (config.num_points,)))
        limit = bnn.nngp(one_layer().kernel, (x, y), new, noise_std=NOISE_STD)
        std = np.sqrt(np.asarray(limit.epistemic))
        gaps = []
        for width in config.widths:
            found = bnn.exact.finite_width(
                of_layer, (x, y), new, width=width, noise_std=NOISE_STD, weight_std=WEIGHT_STD, bias_std=BIAS_STD,
                num_samples=config.posterior_draws,
            )  # fmt: skip
            gap = (np.asarray(found.mean.value) - np.asarray(limit.mean)) / std
            error = np.asarray(found.mean.standard_error) / std
            gaps.append(np.mean(gap**2 - error**2))  # without what Monte Carlo adds
            effective.append(float(found.ess))
        rows.append(gaps)
    return {
        "width": ("width", np.array(config.widths)),
        "square_gap": (("seed", "width"), np.array(rows)),
        "effective": (("seed", "width"), np.reshape(effective, (len(rows), -1))),
    }


def measure_images(config, keys):
    """Test accuracy of the Gaussian process and of trained networks."""
    data = dm.data.load(config.data_set, flatten=True, dtype="float64")
    scale = np.sqrt(np.mean(data.x**2))
    x, x_test = data.x / scale, data.x_test[:1000] / scale
    y, y_test = np.eye(10)[data.y] - 0.1, data.y_test[:1000]
    infinite = network(config.depth, 64, "ntk")
    names = {"process": [], "networks": []}
    for key in keys:
        rows = np.asarray(jax.random.permutation(key, len(x)))
        process, networks = [], []
        for n in config.train_sizes:
            train = x[rows[:n]], y[rows[:n]]
            found = bnn.nngp(infinite.kernel, train, x_test, noise_std=TARGET_NOISE)
            process.append(np.mean(np.argmax(found.mean, 1) == y_test))
            networks.append([accuracy(config, key, width, train, x_test, y_test) for width in config.network_widths])
        names["process"].append(process)
        names["networks"].append(networks)
    return {
        "train_size": ("train_size", np.array(config.train_sizes)),
        "width": ("width", np.array(config.network_widths)),
        "process": (("seed", "train_size"), np.array(names["process"])),
        "networks": (("seed", "train_size", "width"), np.array(names["networks"])),
    }


def network(depth, width, parameterization):
    return dm.models.mlp(
        [width] * depth, 10, activation="relu", parameterization=parameterization, weight_std=2**0.5, bias_std=0.1
    )


def accuracy(config, key, width, train, x_test, y_test):
    """Test accuracy of a network trained on the squared error by Adam, on all images at every step."""
    model = network(config.depth, width, "standard")
    params = model.init(key, train[0])
    fit = dm.train.fit(
        key, model.apply, dm.train.losses.mse, params, train, optax.adam(1e-2), num_steps=config.train_steps,
        every=config.train_steps,
    )  # fmt: skip
    return float(np.mean(np.argmax(model.apply(fit.params, x_test), 1) == y_test))


# What is claimed ------------------------------------------------------------------------------------------------------


def _gap(r):
    """Root mean square gap in standard deviations of the limit, over data sets."""
    return np.sqrt(r["posterior/square_gap"].mean("seed", skipna=False))


def _local_slopes(gap):
    """Slopes from each width to the next, on logarithmic scales."""
    return np.log(gap).diff("width") / np.diff(np.log(gap["width"]))


CLAIMS = (
    Claim("kurtosis",
        "the output of one ReLU layer of n units has the excess kurtosis 15/n, up to what a sample of the draws misses",
        source="Neal 1996, section 2.1.1", basis="formula", expect=Curve(kurtosis, rtol=0.03),
        statistic=lambda config, r: r["prior/kurtosis"]),
    Claim("posterior-rate",
        "posterior means approach those of the Gaussian process about as 1/n, data sets of a noisy sine",
        source="Neal 1996, section 2.1; Matthews et al. 2018", basis="independent", expect=Slope(-0.9, along="width", atol=0.2),
        statistic=lambda config, r: _gap(r).sel(width=slice(32, None))),
    Claim("posterior-steepens",
        "and the faster the wider they are: the last of the local slopes less the first",
        source="Neal 1996, section 2.1", basis="independent", expect=AtMost(0.0),
        statistic=lambda config, r: _local_slopes(_gap(r)).isel(width=-1) - _local_slopes(_gap(r)).isel(width=0)),
    Claim("posterior-known",
        "importance sampling has enough effective draws to say so: the fewest",
        source="Owen 2013, section 9.2", basis="independent", expect=AtLeast(100.0),
        statistic=lambda config, r: r["posterior/effective"].min()),
    Claim("process-accuracy",
        "the Gaussian process classifies as well as the trained networks do: its accuracy less that of the widest",
        source="Lee et al. 2018, Fig. 1 and Table 1", expect=AtLeast(-0.01),
        statistic=lambda config, r: (r["images/process"] - r["images/networks"].isel(width=-1)).mean("train_size")),
    Claim("networks-approach",
        "and wide networks do better than narrow ones: the widest less the narrowest",
        source="Lee et al. 2018, Fig. 1", expect=AtLeast(0.0),
        statistic=lambda config, r: (r["images/networks"].isel(width=-1) - r["images/networks"].isel(width=0)).mean("train_size")),
)  # fmt: skip


# What is drawn --------------------------------------------------------------------------------------------------------


@dm.plot.style()
def figures(config, results):
    """Kurtosis and distance to the limit over width, and accuracies over the number of training images."""
    figure = dm.plot.figure("page", height=2.5)
    axes = figure.subplots(1, 3)
    fine = np.geomspace(min(config.prior_widths), max(config.prior_widths), 100)
    dm.plot.curve_with_theory(
        axes[0], np.array(config.prior_widths), results["prior/kurtosis"].to_numpy(), (fine, kurtosis(config, fine)),
        label="networks", theory_label="$15/n$",
    )  # fmt: skip
    axes[0].set(xscale="log", yscale="log", xlabel="units $n$", ylabel="excess kurtosis", title="prior")
    gap, widths = _gap(results).to_numpy(), np.array(config.widths)
    axes[1].plot(widths, gap, "o-", label="posterior mean")
    axes[1].plot(widths, gap[-1] * widths[-1] / widths, "k--", label="$1/n$")
    axes[1].set(xscale="log", yscale="log", xlabel="units $n$", ylabel="gap to the process (sd)", title="posterior")
    sizes = np.array(config.train_sizes)
    dm.plot.curve_with_theory(axes[2], sizes, results["images/process"].to_numpy(), label="Gaussian process")
    for width in config.network_widths:
        found = results["images/networks"].sel(width=width).transpose("seed", "train_size").to_numpy()
        dm.plot.curve_with_theory(axes[2], sizes, found, label=f"networks of width {width}")
    axes[2].set(xscale="log", xlabel="training images", ylabel="test accuracy", title=config.data_set)
    for ax in axes:
        ax.legend()
    return {"limit": figure}


EXPERIMENT = Experiment(
    Config,
    SCALES,
    studies={
        "prior": Study(measure_prior, seeds_per_unit=10),
        "posterior": Study(measure_posterior, seeds_per_unit=5),
        "images": Study(measure_images, num_seeds="num_networks"),
    },
    claims=CLAIMS,
    figures=figures,
    precision="float64",
    deviations=(
        "Kurtosis is that of the variance given the layer, which has the same expectation and less noise.",
        "The posterior of a finite layer comes from importance sampling with the last layer integrated, without Markov chains.",
        "Networks, in the standard parameterization, are trained by Adam at one learning rate; the paper searched its settings.",
        "The noise of the targets of the Gaussian process is fixed, not chosen on a validation set.",
    ),
)
