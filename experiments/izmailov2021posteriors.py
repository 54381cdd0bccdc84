"""What are Bayesian neural network posteriors really like? (Izmailov, Vikram, Hoffman & Wilson 2021).

Full-batch Hamiltonian Monte Carlo, with trajectories of length πσ/2 for a prior of scale σ, draws from the posterior itself.
Its chains agree on functions, though not on weights; its predictions are better than those of training and of deep ensembles;
without data augmentation no temperature below 1 is needed; stochastic gradient MCMC comes nearer to it than
mean-field variational inference, in agreement of classes and total variation. The paper ran residual networks on 512 TPUs;
here are small networks, on digits and on regression. (International Conference on Machine Learning; arXiv 2104.14421.)
"""

import functools
import math
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np

import dlmath as dm
from dlmath import bnn
from dlmath.repro import AtLeast, AtMost, Claim, Experiment, Study


@dataclass(frozen=True)
class Config:
    """Settings."""

    num_images: int = 150
    """Training images, of digits."""
    width: int = 10
    """Hidden units of the one tanh layer."""
    prior_std: float = 0.5
    """Scale of the normal prior of every parameter."""
    temperatures: tuple[float, ...] = (0.1, 1.0)
    """Temperatures T of the posterior."""
    num_chains: int = 3
    """Chains of Hamiltonian Monte Carlo."""
    num_draws: int = 60
    """Draws of each chain, after as many transitions of warm-up."""
    num_members: int = 10
    """Members of the ensemble."""
    num_steps: int = 500
    """Steps of training: of the ensemble, of variational inference, and for each draw of stochastic gradient MCMC a part."""
    regression: str = "diabetes"
    """Regression set: one of UCI's, or scikit-learn's "diabetes"."""
    num_splits: int = 10
    """Splits of the regression set."""
    num_seeds: int = 3
    """Independent choices of training images."""


SCALES = {
    "smoke": Config(),
    "laptop": Config(
        num_images=500,
        width=20,
        temperatures=(0.03, 0.1, 0.3, 1.0, 3.0, 10.0),
        num_draws=200,
        num_members=20,
        num_steps=5000,
        num_seeds=5,
    ),
    "paper": Config(
        num_images=1500,
        width=50,
        temperatures=(0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0),
        num_draws=500,
        num_members=50,
        num_steps=20_000,
        num_seeds=10,
    ),
}

METHODS = ("hmc", "sghmc", "ensemble", "mean field", "one network")
NOISE_STD = {"diabetes": 0.7, "concrete": 0.3}
"""Known noise of the standardised targets."""


# The paper's formulas -------------------------------------------------------------------------------------------------


def trajectory_length(config, temperature):
    """πσ/2 turns a draw of the prior, at a temperature of scale σ√T, into an independent one."""
    return math.pi * config.prior_std * temperature**0.5 / 2


# What is measured -----------------------------------------------------------------------------------------------------


def network(width, num_outputs):
    return dm.models.mlp([width], num_outputs, activation="tanh", parameterization="standard")


def sampled(config, key, posterior, params, temperature):
    """Draws by Hamiltonian Monte Carlo, from the prior."""
    cold = replace(posterior, temperature=temperature)
    return bnn.hmc(
        key, cold, bnn.sample_prior(key, cold, params, config.num_chains), num_draws=config.num_draws,
        num_warmup=config.num_draws, trajectory_length=trajectory_length(config, temperature), step_size=0.02,
        target_accept=0.9,
    )  # fmt: skip


def images(config, key):
    """(training data, test data): some of the digits, and all of their test images."""
    data = dm.data.load("digits", flatten=True)
    rows = np.asarray(jax.random.permutation(key, len(data.x)))[: config.num_images]
    scale = np.sqrt(np.mean(data.x**2))
    return (data.x[rows] / scale, data.y[rows]), (data.x_test / scale, data.y_test)


def measure_images(config, keys):
    """R-hat, scores of every method, distances from Hamiltonian Monte Carlo, and scores over temperatures."""
    names = ("function_rhat", "weight_rhat", "log_likelihood", "accuracy", "agreement", "total_variation", "cold")
    rows = {name: [] for name in names}
    for key in keys:
        train, test = images(config, key)
        model = network(config.width, 10)
        posterior = bnn.posterior(
            model.apply, bnn.priors.normal(config.prior_std), bnn.likelihoods.categorical(), train
        )
        params = model.init(key, train[0])
        by_temperature = [sampled(config, key, posterior, params, T) for T in config.temperatures]
        rows["cold"].append([_scores(posterior, samples, test)[0] for samples in by_temperature])
        gold = by_temperature[config.temperatures.index(1.0)]
        predictive = bnn.predict(posterior, gold, *test)
        rows["function_rhat"].append(float(np.median(bnn.metrics.function_space_rhat(predictive.draws))))
        rhats = jax.tree.leaves(bnn.diagnose(gold).rhat)
        rows["weight_rhat"].append(float(np.median(np.concatenate([np.ravel(leaf) for leaf in rhats]))))
        found = {"hmc": gold, **others(config, key, posterior, params)}
        predicted = {name: bnn.predict(posterior, samples, *test).mean for name, samples in found.items()}
        scores = np.array([_scores(posterior, found[name], test) for name in METHODS])
        rows["log_likelihood"].append(scores[:, 0])
        rows["accuracy"].append(scores[:, 1])
        rows["agreement"].append([float(bnn.metrics.agreement(predicted[m], predicted["hmc"])) for m in METHODS])
        rows["total_variation"].append(
            [float(bnn.metrics.total_variation(predicted[m], predicted["hmc"])) for m in METHODS]
        )
    by_method = ("log_likelihood", "accuracy", "agreement", "total_variation")
    return {
        "inference": ("inference", np.array(METHODS)),
        "temperature": ("temperature", np.array(config.temperatures)),
        "cold": (("seed", "temperature"), np.array(rows["cold"])),
        **{name: (("seed", "inference"), np.array(rows[name])) for name in by_method},
        **{name: np.array(rows[name]) for name in ("function_rhat", "weight_rhat")},
    }


def others(config, key, posterior, params):
    """Draws of the methods that are compared with Hamiltonian Monte Carlo."""
    starts = bnn.sample_prior(key, posterior, params, config.num_members)
    members = bnn.ensemble(key, posterior, starts, num_steps=config.num_steps, learning_rate=1e-2)
    chains = jax.tree.map(lambda leaf: leaf[: config.num_chains], starts)
    langevin = bnn.sghmc(
        key, posterior, chains, num_draws=config.num_draws, num_warmup=config.num_steps,
        thinning=max(1, config.num_steps // 20), step_size=0.02, friction=5.0, batch_size=50,
    )  # fmt: skip
    start = jax.tree.map(lambda leaf: leaf[0, 0], members.params)
    fit = bnn.mean_field(
        key, posterior, start, num_draws=200, num_steps=config.num_steps, learning_rate=3e-3, init_std=0.05
    )
    one = members._replace(params=jax.tree.map(lambda leaf: leaf[:1], members.params), log_joint=members.log_joint[:1])
    return {"sghmc": langevin, "ensemble": members, "mean field": fit.samples, "one network": one}


def _scores(posterior, samples, test):
    predictive = bnn.predict(posterior, samples, *test)
    return float(predictive.log_density.mean()), float(bnn.metrics.accuracy(predictive.mean, test[1]))


def table(config, split):
    """(training data, test data) of the regression set, standardised, targets [n, 1]."""
    named = dm.data.diabetes if config.regression == "diabetes" else functools.partial(dm.data.uci, config.regression)
    x, y, x_test, y_test = named(split, dtype="float64")
    of = lambda a, b: (
        jnp.asarray((a - x.mean(0)) / x.std(0), jnp.float32), jnp.asarray((b - y.mean()) / y.std(), jnp.float32)[:, None]
    )  # fmt: skip
    return of(x, y), of(x_test, y_test)


def measure_regression(config, keys, *, seeds):
    """R-hat of predictions and log likelihoods over temperatures."""
    rhats, rows = [], []
    for split, key in zip(seeds, keys, strict=True):
        train, test = table(config, split)
        model = network(config.width, 1)
        posterior = bnn.posterior(
            model.apply, bnn.priors.normal(1.0), bnn.likelihoods.gaussian(NOISE_STD[config.regression]), train
        )
        likelihoods = []
        for temperature in config.temperatures:
            samples = sampled(config, key, posterior, model.init(key, train[0]), temperature)
            predictive = bnn.predict(posterior, samples, *test)
            likelihoods.append(float(predictive.log_density.mean()))
            if temperature == 1:
                rhats.append(float(np.median(bnn.metrics.function_space_rhat(predictive.draws))))
        rows.append(likelihoods)
    return {
        "temperature": ("temperature", np.array(config.temperatures)),
        "cold": (("seed", "temperature"), np.array(rows)),
        "function_rhat": np.array(rhats),
    }


# What is claimed ------------------------------------------------------------------------------------------------------


def _over(r, quantity, method, other):
    """Difference of two methods on the same images."""
    return r[f"images/{quantity}"].sel(inference=method) - r[f"images/{quantity}"].sel(inference=other)


def _warm(r, study):
    """Log likelihood at T = 1 less that of the coldest posterior."""
    values = r[f"{study}/cold"]
    return values.sel(temperature=1.0) - values.isel(temperature=0)


FEW = (
    "a normal prior of one scale leaves too many functions for so few digits, whose labels are curated; a colder posterior"
    " has fewer of them"
)


CLAIMS = (
    Claim("functions-mix",
        "chains agree on predictions: the median R-hat over test images and classes",
        source="Section 5.1, Fig. 2", expect=AtMost(1.1), statistic=lambda config, r: r["images/function_rhat"]),
    Claim("weights-do-not",
        "but not on weights: their median R-hat less that of predictions",
        source="Section 5.1, Fig. 2", expect=AtLeast(0.0),
        statistic=lambda config, r: r["images/weight_rhat"] - r["images/function_rhat"]),
    Claim("beats-one-network",
        "the posterior predicts better than one trained network: difference of test log likelihoods",
        source="Section 6.1", expect=AtLeast(0.0),
        statistic=lambda config, r: _over(r, "log_likelihood", "hmc", "one network"), fails=FEW),
    Claim("beats-ensembles",
        "and better than a deep ensemble",
        source="Section 6.1", expect=AtLeast(0.0),
        statistic=lambda config, r: _over(r, "log_likelihood", "hmc", "ensemble"), fails=FEW),
    Claim("no-cold-effect",
        "without augmentation a cold posterior is no better: log likelihood at T = 1 less that at the lowest temperature",
        source="Section 7, Fig. 5", expect=AtLeast(0.0), statistic=lambda config, r: _warm(r, "images"),
        fails=FEW),
    Claim("no-cold-effect-regression",
        "nor is it in regression",
        source="Section 7", expect=AtLeast(0.0), statistic=lambda config, r: _warm(r, "regression")),
    Claim("regression-mixes",
        "chains agree on predictions of the regression: the median R-hat",
        source="Section 5.1", expect=AtMost(1.1), statistic=lambda config, r: r["regression/function_rhat"]),
    Claim("sgmcmc-nearer-than-vi",
        "stochastic gradient MCMC is nearer to the posterior than mean-field VI: difference of total variations",
        source="Section 9, Table 7", expect=AtLeast(0.0),
        statistic=lambda config, r: _over(r, "total_variation", "mean field", "sghmc")),
    Claim("sgmcmc-nearer-than-ensembles",
        "and nearer than a deep ensemble",
        source="Section 9, Table 7", expect=AtLeast(0.0),
        statistic=lambda config, r: _over(r, "total_variation", "ensemble", "sghmc")),
    Claim("sgmcmc-agrees",
        "it agrees with the posterior on more classes than mean-field VI does",
        source="Section 9, Table 7", expect=AtLeast(0.0),
        statistic=lambda config, r: _over(r, "agreement", "sghmc", "mean field")),
)  # fmt: skip


# What is drawn --------------------------------------------------------------------------------------------------------


@dm.plot.style()
def figures(config, results):
    """Log likelihood over temperatures, and the methods' scores and distances from the posterior."""
    figure = dm.plot.figure("page", height=2.6)
    axes = figure.subplots(1, 3, width_ratios=(1, 1, 1.1))
    temperatures = np.array(config.temperatures)
    for ax, study, title in ((axes[0], "images", "digits"), (axes[1], "regression", config.regression)):
        values = results[f"{study}/cold"].transpose("seed", "temperature").to_numpy()
        dm.plot.curve_with_theory(ax, temperatures, values, label="HMC")
        ax.axvline(1.0, color="0.5", linestyle=":", zorder=0)
        ax.set(xscale="log", xlabel="temperature $T$", ylabel="test log likelihood", title=title)
    places = np.arange(len(METHODS))
    for offset, quantity, color in ((-0.15, "agreement", "C0"), (0.15, "total_variation", "C1")):
        values = results[f"images/{quantity}"].transpose("seed", "inference").to_numpy()
        label = quantity.replace("_", " ")
        axes[2].errorbar(
            values.mean(0), places[::-1] + offset, xerr=values.std(0, ddof=1) / len(values) ** 0.5, fmt="o", color=color,
            label=label,
        )  # fmt: skip
    axes[2].set_yticks(places[::-1], METHODS)
    axes[2].set(xlabel="with HMC", xlim=(-0.03, 1.03), title="digits")
    axes[2].legend(loc="center")
    return {"posterior": figure}


EXPERIMENT = Experiment(
    Config,
    SCALES,
    studies={
        "images": Study(measure_images, seeds_per_unit=1),
        "regression": Study(measure_regression, num_seeds="num_splits"),
    },
    claims=CLAIMS,
    figures=figures,
    deviations=(
        "Networks have one hidden layer, data are digits and a table; the paper's were residual and recurrent networks.",
        "Step sizes and a diagonal mass matrix are adapted in warm-up; the paper set the step size by hand.",
        "Stochastic gradient MCMC is SGHMC with a constant step size, one setting for all.",
    ),
)
