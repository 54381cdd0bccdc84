"""How good is the Bayes posterior in deep neural networks really? (Wenzel et al. 2020).

Posteriors of deep networks, raised to the power 1/T, predict best at temperatures well below 1: a cold posterior. The paper's
networks were trained with data augmentation. Here the likelihood is stated: augmented data that count once have the geometric
mean of the likelihoods of the copies, which is no density, and cold posteriors make up for it; without augmentation, or with
an average of the copies' probabilities, which is one, there is less to make up for. The posterior at every temperature is
sampled by Hamiltonian Monte Carlo. (International Conference on Machine Learning; arXiv 2002.02405. On the likelihood: Nabarro
et al. 2022, arXiv 2106.05586; Izmailov et al. 2021.)
"""

import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

import dlmath as dm
from dlmath import bnn
from dlmath.repro import AtLeast, AtMost, Claim, Experiment, Study


@dataclass(frozen=True)
class Config:
    """Settings."""

    num_images: int = 60
    """Training images, of digits."""
    width: int = 10
    """Hidden units of the one tanh layer."""
    prior_std: float = 0.5
    """Scale of the normal prior of every parameter."""
    temperatures: tuple[float, ...] = (0.1, 0.3, 1.0)
    """Temperatures T."""
    shift: int = 1
    """Pixels by which copies are shifted in each of four directions."""
    num_draws: int = 40
    """Draws of each of two chains, after as many transitions of warm-up."""
    num_leapfrog: int = 20
    """Leapfrog steps a transition."""
    num_seeds: int = 4
    """Independent choices of training images."""


SCALES = {
    "smoke": Config(),
    "laptop": Config(
        num_images=200,
        width=20,
        temperatures=(0.01, 0.03, 0.1, 0.3, 1.0, 3.0),
        num_draws=150,
        num_leapfrog=60,
        num_seeds=10,
    ),
    "paper": Config(
        num_images=1000,
        width=50,
        temperatures=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0),
        num_draws=500,
        num_leapfrog=100,
        num_seeds=10,
    ),
}

LIKELIHOODS = ("plain", "augmented", "averaged")


# The paper's formulas -------------------------------------------------------------------------------------------------


@functools.cache
def shifts(step):
    """The identity and shifts of 8 x 8 images in four directions, what leaves the image is lost."""

    def moved(down, right):
        def transform(x):
            images = jnp.pad(x.reshape(-1, 8, 8), ((0, 0), (step, step), (step, step)))
            window = images[:, step - down : step - down + 8, step - right : step - right + 8]
            return window.reshape(x.shape)

        return transform

    return tuple(moved(down * step, right * step) for down, right in ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)))


# What is measured -----------------------------------------------------------------------------------------------------


def network(width):
    return dm.models.mlp([width], 10, activation="tanh", parameterization="standard")


def measure(config, keys):
    """Log likelihood and accuracy on test images for every likelihood and temperature."""
    data, copies = dm.data.load("digits", flatten=True), shifts(config.shift)
    scale = np.sqrt(np.mean(data.x**2))
    x_test, y_test = data.x_test / scale, data.y_test
    model = network(config.width)
    averaged = bnn.invariant(model.apply, copies, average="probabilities")
    rows = []
    for key in keys:
        chosen = np.asarray(jax.random.permutation(key, len(data.x)))[: config.num_images]
        train = jnp.asarray(data.x[chosen] / scale), jnp.asarray(data.y[chosen])
        params = model.init(key, train[0])
        rows.append([
            [
                scores(config, key, posterior_of(config, likelihood, model, averaged, copies, train, temperature), params,
                       (x_test, y_test))
                for temperature in config.temperatures
            ]
            for likelihood in LIKELIHOODS
        ])  # fmt: skip
    values = np.array(rows)
    return {
        "likelihood": ("likelihood", np.array(LIKELIHOODS)),
        "temperature": ("temperature", np.array(config.temperatures)),
        "log_likelihood": (("seed", "likelihood", "temperature"), values[..., 0]),
        "accuracy": (("seed", "likelihood", "temperature"), values[..., 1]),
    }


def posterior_of(config, likelihood, model, averaged, copies, train, temperature):
    apply = averaged if likelihood == "averaged" else model.apply
    found = bnn.posterior(
        apply, bnn.priors.normal(config.prior_std), bnn.likelihoods.categorical(), train, temperature=temperature
    )
    return bnn.augment(found, copies) if likelihood == "augmented" else found


def scores(config, key, posterior, params, test):
    """Test log likelihood and accuracy of the posterior's predictions."""
    starts = bnn.sample_prior(key, posterior, params, 2)
    samples = bnn.hmc(
        key, posterior, starts, num_draws=config.num_draws, num_warmup=config.num_draws, num_steps=config.num_leapfrog,
        step_size=0.02,
    )  # fmt: skip
    predictive = bnn.predict(posterior, samples, *test)
    return float(predictive.log_density.mean()), float(bnn.metrics.accuracy(predictive.mean, test[1]))


# What is claimed ------------------------------------------------------------------------------------------------------


def _gain(r, likelihood):
    """Log likelihood of the best cold posterior less that at T = 1, on the same images; [seed].

    The best temperature is that of the mean, so that it is not chosen seed by seed.
    """
    values = r["temperature/log_likelihood"].sel(likelihood=likelihood)
    cold = values.sel(temperature=values["temperature"] < 1)
    best = cold.mean("seed", skipna=False).idxmax("temperature")
    return cold.sel(temperature=best) - values.sel(temperature=1.0)


def _best(r, likelihood):
    """Log likelihood at the temperature that is best in the mean; [seed]."""
    values = r["temperature/log_likelihood"].sel(likelihood=likelihood)
    return values.sel(temperature=values.mean("seed", skipna=False).idxmax("temperature"))


CLAIMS = (
    Claim("cold-effect",
        "with augmented data that count once a cold posterior predicts better than T = 1: the gain in test log likelihood",
        source="Section 1, Fig. 1", expect=AtLeast(0.0), statistic=lambda config, r: _gain(r, "augmented")),
    Claim("none-without",
        "without augmentation the gain is smaller than with it: the difference",
        source="Izmailov et al. 2021, section 7", expect=AtMost(0.0),
        statistic=lambda config, r: _gain(r, "plain") - _gain(r, "augmented")),
    Claim("likelihood-matters",
        "so it is where the copies' probabilities are averaged, which is a likelihood: the difference",
        source="Nabarro et al. 2022", expect=AtMost(0.0),
        statistic=lambda config, r: _gain(r, "averaged") - _gain(r, "augmented")),
    Claim("augmentation-helps",
        "augmented data that count once predict better than none, each at its best temperature: the difference",
        source="not in the paper", basis="independent", expect=AtLeast(0.0),
        statistic=lambda config, r: _best(r, "augmented") - _best(r, "plain"),
        fails="a shift by a pixel takes an eighth of these small images away"),
)  # fmt: skip


# What is drawn --------------------------------------------------------------------------------------------------------


@dm.plot.style()
def figures(config, results):
    """Test log likelihood and accuracy over temperatures, for each likelihood."""
    figure = dm.plot.figure("page", height=2.6)
    axes = figure.subplots(1, 2)
    labels = {"plain": "no augmentation", "augmented": "copies count once", "averaged": "probabilities averaged"}
    for ax, quantity in zip(axes, ("log_likelihood", "accuracy"), strict=True):
        for likelihood in LIKELIHOODS:
            values = results[f"temperature/{quantity}"].sel(likelihood=likelihood)
            values = values.transpose("seed", "temperature").to_numpy()
            dm.plot.curve_with_theory(ax, np.array(config.temperatures), values, label=labels[likelihood])
        ax.axvline(1.0, color="0.5", linestyle=":", zorder=0)
        ax.set(xscale="log", xlabel="temperature $T$", ylabel=f"test {quantity.replace('_', ' ')}")
    axes[0].legend()
    return {"temperature": figure}


EXPERIMENT = Experiment(
    Config,
    SCALES,
    studies={"temperature": Study(measure, seeds_per_unit=1)},
    claims=CLAIMS,
    figures=figures,
    deviations=(
        "Networks have one hidden layer and data are digits; the paper's were residual networks on CIFAR-10.",
        "Hamiltonian Monte Carlo in the place of stochastic gradient MCMC; augmentation is a likelihood of five shifts.",
        "The prior is tempered as the likelihood is, as in the paper.",
    ),
)
