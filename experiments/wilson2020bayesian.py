"""Bayesian deep learning and a probabilistic perspective of generalization (Wilson & Izmailov 2020).

What sets Bayesian networks apart is marginalisation, not the prior: deep ensembles are a better approximation of the
predictive distribution than methods that stay in one basin, and MultiSWAG, a Gaussian about each member, is no worse. The average
over several basins also takes away double descent. On one input the predictive is measured against Hamiltonian Monte Carlo;
on noisy labels test errors are followed over widths. (Neural Information Processing Systems; arXiv 2002.08791.)
"""

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

    width: int = 20
    """Hidden units of each of two tanh layers on one input."""
    num_points: int = 40
    """Points of three clusters in [−1, 1]."""
    num_draws: int = 150
    """Draws of each of four chains of Hamiltonian Monte Carlo, after as many transitions of warm-up."""
    num_leapfrog: int = 80
    """Leapfrog steps a transition."""
    num_members: int = 10
    """Basins: members of ensembles."""
    num_steps: int = 1000
    """Steps of training."""
    num_seeds: int = 3
    """Independent data sets."""
    widths: tuple[int, ...] = (4, 8, 32)
    """Hidden units of the networks on noisy labels."""
    num_images: int = 200
    """Training images, of digits."""
    label_noise: float = 0.2
    """Share of wrong labels."""
    image_steps: int = 1000
    """Steps of training there."""


SCALES = {
    "smoke": Config(),
    "laptop": Config(
        width=50,
        num_draws=500,
        num_leapfrog=150,
        num_members=20,
        num_steps=5000,
        num_seeds=10,
        widths=(2, 3, 4, 6, 8, 12, 16, 32, 64, 128),
        num_images=500,
        image_steps=5000,
    ),
    "paper": Config(
        width=50,
        num_draws=1000,
        num_leapfrog=300,
        num_members=50,
        num_steps=20_000,
        num_seeds=20,
        widths=(2, 3, 4, 6, 8, 12, 16, 32, 64, 128, 512),
        num_images=1000,
        image_steps=20_000,
    ),
}

NOISE_STD, PRIOR_STD = 0.2, 1.0
GRID = np.linspace(-1.5, 1.5, 61)[:, None].astype("float32")
METHODS = ("ensemble", "multi-SWAG", "SWAG", "mean field")


# The paper's formulas -------------------------------------------------------------------------------------------------


def wasserstein(draws, gold):
    """1-Wasserstein distance between two samples, averaged over inputs: the mean gap of their quantiles. [draw, input]."""
    levels = (np.arange(200) + 0.5) / 200
    return float(np.mean(np.abs(np.quantile(draws, levels, axis=0) - np.quantile(gold, levels, axis=0))))


# What is measured -----------------------------------------------------------------------------------------------------


def network(widths, num_outputs, activation):
    return dm.models.mlp(list(widths), num_outputs, activation=activation, parameterization="standard")


def one_input(config, key):
    """(inputs, targets) of a smooth function in three clusters, as in the paper's Fig. 3."""
    of_places, of_noise = jax.random.split(key)
    centers = jnp.array([-0.8, 0.0, 0.7])[jnp.arange(config.num_points) % 3]
    x = centers + 0.1 * jax.random.normal(of_places, (config.num_points,))
    y = jnp.sin(4 * x) + 0.5 * x + NOISE_STD * jax.random.normal(of_noise, (config.num_points,))
    return x[:, None], y[:, None]


def measure_regression(config, keys):
    """Distances of predictive distributions of the function from that of Hamiltonian Monte Carlo, and its R-hat."""
    model = network((config.width, config.width), 1, "tanh")
    distances, rhats = [], []
    for key in keys:
        train = one_input(config, key)
        posterior = bnn.posterior(model.apply, bnn.priors.normal(PRIOR_STD), bnn.likelihoods.gaussian(NOISE_STD), train)
        params = model.init(key, train[0])
        gold = bnn.hmc(
            key, posterior, bnn.sample_prior(key, posterior, params, 4), num_draws=config.num_draws,
            num_warmup=config.num_draws, num_steps=config.num_leapfrog, step_size=0.01,
        )  # fmt: skip
        found = bnn.predict(posterior, gold, GRID).draws
        rhats.append(float(np.median(bnn.metrics.function_space_rhat(found))))
        flat = lambda draws: np.asarray(draws)[..., 0].reshape(-1, len(GRID))
        approximations = basins(config, key, posterior, params)
        outputs = {name: flat(bnn.predict(posterior, samples, GRID).draws) for name, samples in approximations.items()}
        distances.append([wasserstein(outputs[method], flat(found)) for method in METHODS])
    return {
        "inference": ("inference", np.array(METHODS)),
        "distance": (("seed", "inference"), np.array(distances)),
        "rhat": np.array(rhats),
    }


def basins(config, key, posterior, params):
    """Draws of ensembles, of a Gaussian about each member or about one, and of mean-field variational inference."""
    starts = bnn.sample_prior(key, posterior, params, config.num_members)
    members = bnn.ensemble(key, posterior, starts, num_steps=config.num_steps, learning_rate=1e-2)
    modes = jax.tree.map(lambda leaf: leaf[:, 0], members.params)
    gaussians = swag(config.num_steps, key, posterior, modes)
    one = gaussians._replace(
        params=jax.tree.map(lambda leaf: leaf[:1], gaussians.params), log_joint=gaussians.log_joint[:1]
    )
    start = jax.tree.map(lambda leaf: leaf[0], modes)
    fit = bnn.mean_field(
        key, posterior, start, num_draws=200, num_steps=config.num_steps, learning_rate=3e-3, init_std=0.02
    )
    return {"ensemble": members, "multi-SWAG": gaussians, "SWAG": one, "mean field": fit.samples}


def swag(num_steps, key, posterior, modes):
    return bnn.swag(
        key, posterior, modes, num_draws=20, num_steps=num_steps, learning_rate=3e-3 * NOISE_STD**2, batch_size=10,
        every=max(1, num_steps // 50),
    )  # fmt: skip


def measure_widths(config, keys):
    """Test error of one network, of an ensemble and of MultiSWAG at every width, trained on partly wrong labels."""
    data = dm.data.load("digits", flatten=True)
    scale = np.sqrt(np.mean(data.x**2))
    test = data.x_test / scale, data.y_test
    rows = []
    for key in keys:
        of_rows, of_noise, of_labels, of_training = jax.random.split(key, 4)
        chosen = np.asarray(jax.random.permutation(of_rows, len(data.x)))[: config.num_images]
        wrong = np.asarray(jax.random.bernoulli(of_noise, config.label_noise, (config.num_images,)))
        moved = np.asarray(jax.random.randint(of_labels, (config.num_images,), 1, 10))
        labels = np.where(wrong, (data.y[chosen] + moved) % 10, data.y[chosen])
        train = jnp.asarray(data.x[chosen] / scale), jnp.asarray(labels)
        rows.append([_errors(config, of_training, width, train, test) for width in config.widths])
    single, ensemble, gaussians = np.moveaxis(np.array(rows), -1, 0)
    return {
        "width": ("width", np.array(config.widths)),
        "one_network": (("seed", "width"), single),
        "ensemble": (("seed", "width"), ensemble),
        "multi_swag": (("seed", "width"), gaussians),
    }


def _errors(config, key, width, train, test):
    model = network((width,), 10, "relu")
    # A wide prior: training to the end of the noise, as in the paper.
    posterior = bnn.posterior(model.apply, bnn.priors.normal(10.0), bnn.likelihoods.categorical(), train)
    starts = jax.vmap(model.init, (0, None))(jax.random.split(key, config.num_members), train[0])
    members = bnn.ensemble(key, posterior, starts, num_steps=config.image_steps, learning_rate=1e-2)
    modes = jax.tree.map(lambda leaf: leaf[:, 0], members.params)
    gaussians = bnn.swag(
        key, posterior, modes, num_draws=10, num_steps=500, learning_rate=1e-2, batch_size=50, every=10
    )
    error = lambda mean: 1 - float(bnn.metrics.accuracy(mean, test[1]))
    averaged = bnn.predict(posterior, members, *test)
    one = np.mean([error(draw) for draw in averaged.draws[:, 0]])
    return one, error(averaged.mean), error(bnn.predict(posterior, gaussians, *test).mean)


# What is claimed ------------------------------------------------------------------------------------------------------


def _closer(method, other):
    return lambda config, r: (
        r["regression/distance"].sel(inference=other) - r["regression/distance"].sel(inference=method)
    )


def _rise(r, name):
    """The largest rise of the mean error above a smaller width's."""
    error = r[f"widths/{name}"].mean("seed", skipna=False)
    lowest = np.minimum.accumulate(error.to_numpy())
    return float(np.max(error.to_numpy() - lowest))


CLAIMS = (
    Claim("ensembles-over-variational",
        "deep ensembles are nearer to the predictive distribution than mean-field variational inference",
        source="Section 3.2, Fig. 3", expect=AtLeast(0.0), statistic=_closer("ensemble", "mean field")),
    Claim("many-basins-over-one",
        "and MultiSWAG is nearer than SWAG in one basin",
        source="Section 4, Fig. 4", expect=AtLeast(0.0), statistic=_closer("multi-SWAG", "SWAG")),
    Claim("multiswag-over-ensembles",
        "MultiSWAG is no farther than the ensemble of its centres: the difference of distances",
        source="Section 4, Fig. 4", expect=AtLeast(-0.01), statistic=_closer("multi-SWAG", "ensemble")),
    Claim("gold-converged",
        "the reference has converged: the median R-hat of its predictions",
        source="not in the paper", basis="independent", expect=AtMost(1.1),
        statistic=lambda config, r: r["regression/rhat"]),
    Claim("no-double-descent",
        "with wrong labels the error of an ensemble never rises with the width by more than 1 %",
        source="Section 7, Fig. 8", expect=AtMost(0.01), statistic=lambda config, r: _rise(r, "ensemble")),
    Claim("no-double-descent-multiswag",
        "nor does that of MultiSWAG",
        source="Section 7, Fig. 8", expect=AtMost(0.01), statistic=lambda config, r: _rise(r, "multi_swag")),
    Claim("marginalisation-helps",
        "at every width MultiSWAG errs less than one network: the smallest gain",
        source="Section 7, Fig. 8", expect=AtLeast(0.0),
        statistic=lambda config, r: (r["widths/one_network"] - r["widths/multi_swag"]).mean("seed", skipna=False).min()),
)  # fmt: skip


# What is drawn --------------------------------------------------------------------------------------------------------


@dm.plot.style()
def figures(config, results):
    """Distances from Hamiltonian Monte Carlo, and test error over widths."""
    figure = dm.plot.figure("page", height=2.5)
    axes = figure.subplots(1, 2)
    values = results["regression/distance"].transpose("seed", "inference").to_numpy()
    places = np.arange(len(METHODS))[::-1]
    axes[0].errorbar(values.mean(0), places, xerr=values.std(0, ddof=1) / len(values) ** 0.5, fmt="o")
    axes[0].set_yticks(places, METHODS)
    axes[0].set(xlabel="Wasserstein distance to HMC", xlim=(0, None), ylim=(-0.5, len(METHODS) - 0.5))
    for name, label in (("one_network", "one network"), ("ensemble", "ensemble"), ("multi_swag", "MultiSWAG")):
        error = results[f"widths/{name}"].transpose("seed", "width").to_numpy()
        dm.plot.curve_with_theory(axes[1], np.array(config.widths), error, label=label)
    axes[1].set(
        xscale="log", xlabel="hidden units", ylabel="test error", title=f"{config.label_noise:.0%} wrong labels"
    )
    axes[1].legend()
    return {"basins": figure}


EXPERIMENT = Experiment(
    Config,
    SCALES,
    studies={
        "regression": Study(measure_regression, seeds_per_unit=1),
        "widths": Study(measure_widths, seeds_per_unit=1),
    },
    claims=CLAIMS,
    figures=figures,
    deviations=(
        "The network on one input is smaller than the paper's; its reference is Hamiltonian Monte Carlo as there.",
        "Double descent is looked for over widths of a one-layer network on digits, not of ResNet-18 on CIFAR-100.",
        "SWAG's noise comes from minibatches at one learning rate.",
    ),
)
