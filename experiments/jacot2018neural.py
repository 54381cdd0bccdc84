"""Neural tangent kernel: convergence and generalization in neural networks (Jacot, Gabriel & Hongler 2018).

Under gradient descent a network f_θ of depth L moves in function space along its neural tangent kernel
Θ_θ(x, x') = ∇_θ f_θ(x) · ∇_θ f_θ(x'). In the parameterization with 1/√n in the forward pass and biases times β, Θ_θ tends
to a deterministic Θ_∞ as the width n grows, and stays there during training. With the loss (1/2N) Σ (f(x_i) − y_i)² a
wide network is then a Gaussian process at all times t,

    f_t(x) = f_0(x) + Θ_∞(x, X) Θ_∞(X, X)⁻¹ (1 − e^{−Θ_∞(X, X) t/N}) (y − f_0(X)),

where f_0 is a Gaussian process of covariance Σ. As in the paper L = 4 (three hidden layers of ReLUs), β = 0.1, weights are
N(0, 1) without a factor √2, inputs lie on the unit circle, and the target is x₁x₂. (NeurIPS 2018, arXiv 1806.07572.)
"""

import functools
import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax

import dlmath as dm
from dlmath.repro import AtLeast, AtMost, Claim, Equal, Experiment, Slope, Study


@dataclass(frozen=True)
class Config:
    """Settings."""

    num_layers: int = 4
    """Layers of weights L; hidden ones are L − 1."""
    beta: float = 0.1
    """Factor β of the biases, which are N(0, 1)."""
    num_angles: int = 60
    """Points of the circle at which kernels and outputs are compared, equidistant."""
    initial_widths: tuple[int, ...] = (64, 128, 256)
    """Widths n at which kernels are drawn."""
    num_seeds: int = 400
    """Draws of the kernel at each width."""
    training_widths: tuple[int, ...] = (64, 128, 256)
    """Widths at which the kernel is followed through training."""
    num_inputs: int = 20
    """Gaussian inputs of that training, the same for every network."""
    training_steps: int = 200
    """Steps of gradient descent through which the kernel is followed."""
    num_trained: int = 20
    """Networks of each width whose kernel is followed."""
    angles: tuple[float, ...] = (-2.0, -1.2, -0.4, 0.5, 1.5)
    """Angles of the training points of the regression."""
    regression_widths: tuple[int, ...] = (50, 200)
    """Widths of the networks of the regression."""
    regression_steps: int = 400
    """Steps of gradient descent of the regression."""
    num_networks: int = 80
    """Networks of each width of the regression."""
    learning_rate: float = 1.0
    """Step size, on half of the mean squared error."""


SCALES = {
    "smoke": Config(),
    "laptop": Config(
        num_angles=200,
        initial_widths=(64, 128, 256, 512, 1024),
        training_widths=(64, 128, 256, 500, 1000),
        regression_widths=(50, 1000),
        regression_steps=1000,
        num_networks=40,
    ),
    "paper": Config(
        num_angles=200,
        initial_widths=(500, 1000, 2000, 5000, 10_000),
        training_widths=(500, 1000, 2000, 5000, 10_000),
        regression_widths=(50, 1000),
        regression_steps=1000,
        num_networks=200,
    ),
}

BAND = 1.96
"""Standard deviations on either side of the mean that hold 95 % of a Gaussian."""
DECILE = 1.2816
"""Standard deviations from its mean to its 90th percentile."""


# The paper's formulas -------------------------------------------------------------------------------------------------


def theory(num_layers, beta, cosine):
    """Σ and Θ_∞ of depth L between points of the unit circle with x·x' = `cosine` (Proposition 1 and Theorem 1).

    Σ⁽¹⁾ = x·x'/2 + β², Σ⁽ˡ⁺¹⁾ = E φφ + β², Θ⁽ˡ⁺¹⁾ = Θ⁽ˡ⁾ E φ'φ' + Σ⁽ˡ⁺¹⁾, with the expectations of Cho & Saul (2009) for ReLU.
    """
    variance, sigma = 0.5 + beta**2, np.asarray(cosine) / 2 + beta**2
    theta = sigma
    for _ in range(num_layers - 1):
        angle = np.arccos(np.clip(sigma / variance, -1, 1))
        derivative = (math.pi - angle) / (2 * math.pi)
        sigma = variance * np.sin(angle) / (2 * math.pi) + sigma * derivative + beta**2
        theta, variance = theta * derivative + sigma, variance / 2 + beta**2
    return sigma, theta


# What is measured -----------------------------------------------------------------------------------------------------


@functools.cache
def network(width, num_layers, beta):
    """The network in the paper's parameterization."""
    return dm.models.mlp(
        [width] * (num_layers - 1), 1, activation="relu", parameterization="ntk", weight_std=1.0, bias_std=beta
    )


def circle(angles):
    return jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=-1)


def target(x):
    """The function x₁x₂ that is learned, [n, 1]."""
    return x[:, :1] * x[:, 1:]


def grid(config):
    """Angles at which kernels and outputs are compared."""
    return np.linspace(-np.pi, np.pi, config.num_angles, endpoint=False)


def single(tree):
    """Networks are drawn, trained and differentiated in single precision."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), tree)


def starts(model, keys, x):
    return single(jax.vmap(model.init, (0, None))(keys, x))


@functools.partial(jax.jit, static_argnames="model")
def kernels(model, params, angles):
    """Θ_θ(x₀, x) for x₀ = (1, 0) and x on the circle, [seed, angle]."""

    def one(params):
        return dm.ntk.empirical(
            model.apply, params, circle(jnp.zeros(1, angles.dtype)), circle(angles), outputs="trace"
        )[0]

    return jax.lax.map(one, params)


@functools.partial(jax.jit, static_argnames="model")
def first_kernels(model, keys, angles):
    """Kernels of random networks, drawn one after the other, as the widest fill the memory."""

    def one(key):
        return kernels(model, jax.tree.map(lambda leaf: leaf[None], single(model.init(key, circle(angles)))), angles)[0]

    return jax.lax.map(one, keys)


def trained(config, model, keys, x, num_steps):
    """Parameters [seed] before and after full-batch gradient descent on x₁x₂, and the last losses [seed]."""
    params = starts(model, keys, x)
    runs = dm.train.fit_ensemble(
        keys, model.apply, dm.train.losses.half_mse, params, (x, target(x)), optax.sgd(config.learning_rate),
        num_steps=num_steps, every=num_steps,
    )  # fmt: skip
    return params, runs.params, runs.loss[:, -1]


def measure_limit(config, keys):
    """Kernels of infinite width, and the Gaussian process of the regression at its last step."""
    model, angles = network(1, config.num_layers, config.beta), grid(config)
    x, new = circle(jnp.array(config.angles)), circle(jnp.array(angles))
    sigma, theta = (
        dm.ntk.Grams(model.kernel(x, get=name), model.kernel(new, x, get=name), model.kernel(new, get=name))
        for name in ("nngp", "ntk")
    )
    time = config.learning_rate * config.regression_steps
    process = dm.ntk.ntk_ensemble(sigma, theta, target(x), time=time)
    row = model.kernel(circle(jnp.zeros(1)), new)[0]
    expected = theory(config.num_layers, config.beta, np.cos(np.subtract.outer(angles, angles)))
    gap = max(np.abs(a.prior - b).max() for a, b in zip((sigma, theta), expected, strict=True))
    return {
        "angle": ("angle", angles),
        "point": ("point", np.array(config.angles)),
        "kernel": ("angle", row),
        "gram": (("point", "other"), theta.train),
        "gap": gap,
        "mean": ("angle", process.mean[:, 0]),
        "deviation": ("angle", jnp.sqrt(jnp.maximum(jnp.diagonal(process.covariance), 0))),
    }


def measure_initial(config, keys, *, initial_width):
    """Kernels of random networks."""
    angles = grid(config)
    model = network(initial_width, config.num_layers, config.beta)
    found = np.asarray(first_kernels(model, keys, jnp.array(angles, jnp.float32)), float)
    limit = theory(config.num_layers, config.beta, np.cos(angles))[1]
    return {
        "ratio": found.mean(1) / limit.mean(),
        "distance": np.linalg.norm(found - limit, axis=1) / np.linalg.norm(limit),
    }


def measure_training(config, keys, *, training_width):
    """Kernels before and after training on Gaussian inputs."""
    angles = grid(config)
    model = network(training_width, config.num_layers, config.beta)
    x = jax.random.normal(jax.random.key(1), (config.num_inputs, 2), jnp.float32)
    before, after, loss = trained(config, model, keys, x, config.training_steps)
    at = jnp.array(angles, jnp.float32)
    first, last = (np.asarray(kernels(model, params, at), float) for params in (before, after))
    return {
        "angle": ("angle", angles),
        "first": (("seed", "angle"), first),
        "last": (("seed", "angle"), last),
        "growth": last.mean(1) / first.mean(1),
        "change": np.linalg.norm(last - first, axis=1) / np.linalg.norm(first, axis=1),
        "loss": loss,
    }


@functools.partial(jax.jit, static_argnames="model")
def outputs(model, params, x):
    return jax.vmap(model.apply, (0, None))(params, x)[..., 0]


def measure_regression(config, keys, *, regression_width):
    """Trained networks on the circle."""
    angles = grid(config)
    model = network(regression_width, config.num_layers, config.beta)
    x = single(circle(jnp.array(config.angles)))
    _, params, loss = trained(config, model, keys, x, config.regression_steps)
    found = np.asarray(outputs(model, params, single(circle(jnp.array(angles)))), float)
    return {"angle": ("angle", angles), "output": (("seed", "angle"), found), "loss": loss}


# What is claimed ------------------------------------------------------------------------------------------------------


def _gram(i, j):
    return lambda config, r: r["limit/gram"].isel(point=i, other=j)


def _away(r, width):
    """Outputs less the mean of the Gaussian process, in its standard deviations at the angle."""
    return (r["regression/output"].sel(regression_width=width) - r["limit/mean"]) / r["limit/deviation"]


def _inside(config, r):
    return (abs(_away(r, max(config.regression_widths))) <= BAND).mean("angle")


def _below(r, deviations):
    """The share of outputs of networks of width 50 below the limit's mean plus so many standard deviations."""
    return (_away(r, 50) < deviations).mean("angle")


def _paper_setting(config):
    return config.num_layers == 4 and config.beta == 0.1 and config.angles == Config.angles


def _limit_claim(name, statement, value, i, j):
    return Claim(
        name, statement, source="Theorem 1, by hand", basis="independent", expect=Equal(value, atol=1e-6),
        statistic=_gram(i, j), needs=_paper_setting,
    )  # fmt: skip


def _widths(name, count):
    return lambda config: len(getattr(config, name)) >= count


CLAIMS = (
    _limit_claim("diagonal", "on the circle the limiting kernel is Θ_∞(x, x) = 0.2825", 0.2825, 2, 2),
    _limit_claim("neighbours", "between the points at −2 and −1.2 it is 0.168017", 0.168017, 0, 1),
    _limit_claim("rotation", "and the same between those at −1.2 and −0.4, as it depends on the angle alone", 0.168017, 1, 2),
    Claim("recursion",
        "the kernels of infinite width are those of the recursions for Σ and Θ_∞ in closed form",
        source="Proposition 1 and Theorem 1", basis="formula", expect=AtMost(1e-7),
        statistic=lambda config, r: r["limit/gap"]),
    Claim("mean",
        "the expectation of the kernel is close to its limit at every width, taken here as 10 %",
        source="Section 6.1, Fig. 1", expect=Equal(1.0, atol=0.1),
        statistic=lambda config, r: r["initial/ratio"].sel(initial_width=min(config.initial_widths))),
    Claim("convergence",
        "the kernel at the start approaches the limit: its root mean square distance falls as n^−1/2, that of a mean over units",
        source="Theorem 1; the rate is the central limit theorem's", basis="formula",
        expect=Slope(-0.5, along="initial_width", atol=0.1),
        statistic=lambda config, r: (r["initial/distance"] ** 2).mean("seed") ** 0.5,
        needs=_widths("initial_widths", 3)),
    Claim("inflates",
        "training inflates the kernel of the narrowest network: its mean over the circle grows",
        source="Section 6.1, Fig. 1", expect=AtLeast(1.0),
        statistic=lambda config, r: r["training/growth"].sel(training_width=min(config.training_widths))),
    Claim("wider-changes-less",
        "the wider the network the less training changes its kernel: by a power of n of −1/2 or faster",
        source="Section 6.1, Fig. 1; the power is ours", expect=AtMost(-0.5),
        statistic=lambda config, r: _slope(r["training/change"], "training_width"), needs=_widths("training_widths", 3)),
    Claim("constant",
        "at width 1000 or more the kernel stays almost fixed: 200 steps change it by 10 % or less, a threshold of ours",
        source="Theorem 2; Section 6.1, Fig. 1", expect=AtMost(0.1),
        statistic=lambda config, r: r["training/change"].sel(training_width=max(config.training_widths)),
        needs=lambda config: max(config.training_widths) >= 1000),
    Claim("fits",
        "networks of every width fit the training points",
        source="Section 6.2, Fig. 2; the threshold is ours", expect=AtMost(1e-3),
        statistic=lambda config, r: r["regression/loss"].max("regression_width")),
    Claim("inside",
        "at least 85 % of the outputs of trained networks, over seeds and the circle, lie in the limit's pointwise 95 % band",
        source="Section 6.2, Fig. 2; the threshold is ours", expect=AtLeast(0.85), statistic=_inside),
    Claim("median",
        "already at width 50 half of the outputs lie below the limit's 50th percentile, give or take a tenth",
        source="Section 6.2, Fig. 2; the tolerance is ours", expect=Equal(0.5, atol=0.1),
        statistic=lambda config, r: _below(r, 0.0), needs=lambda config: 50 in config.regression_widths),
    Claim("percentiles",
        "and 80 % of them between its 10th and its 90th, give or take 15",
        source="Section 6.2, Fig. 2; the tolerance is ours", expect=Equal(0.8, atol=0.15),
        statistic=lambda config, r: _below(r, DECILE) - _below(r, -DECILE),
        needs=lambda config: 50 in config.regression_widths),
)  # fmt: skip


def _slope(found, along):
    x = np.log(found[along])
    return ((x - x.mean()) * np.log(found)).sum(along, skipna=False) / ((x - x.mean()) ** 2).sum()


# What is drawn --------------------------------------------------------------------------------------------------------

TICKS = ([-np.pi, -np.pi / 2, 0, np.pi / 2, np.pi], [r"$-\pi$", r"$-\pi/2$", "0", r"$\pi/2$", r"$\pi$"])


@dm.plot.style()
def figures(config, results):
    """The kernel on the circle before and after training; its convergence; the regression with the limit's band."""
    narrow, wide = min(config.training_widths), max(config.training_widths)
    kernel = dm.plot.figure("page", height=2.6)
    axes = kernel.subplots(1, 2, sharey=True)
    for ax, name, title in zip(
        axes, ("first", "last"), ("at the start", f"after {config.training_steps} steps"), strict=True
    ):
        for width, color in ((narrow, dm.plot.COLORS[4]), (wide, dm.plot.COLORS[0])):
            values = results[f"training/{name}"].sel(training_width=width).transpose("angle", "seed")[:, :10]
            lines = ax.plot(values["angle"], values, color=color, linewidth=0.6, alpha=0.7)
            lines[0].set_label(f"$n = {width}$, {values.sizes['seed']} networks")
        ax.plot(results["limit/kernel"]["angle"], results["limit/kernel"], label=r"$\Theta_\infty$", **dm.plot.THEORY)
        ax.set(xlabel=r"angle $\gamma$ of $x$ [rad]", title=title)
        ax.set_xticks(*TICKS)
    axes[0].set(ylabel=r"$\Theta(x_0, x)$, $x_0 = (1, 0)$", ylim=(0, None))
    kernel.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)

    convergence = dm.plot.figure("column")
    ax = convergence.subplots()
    ax.set(xscale="log", yscale="log", xlabel="width $n$", ylabel=r"relative distance of kernels")
    distance, change = results["initial/distance"], results["training/change"]
    for values, label, power, text in (
        (distance, r"start to $\Theta_\infty$", -0.5, r"$n^{-1/2}$"),
        (change, "start to end of training", -1.0, "$n^{-1}$"),
    ):
        along = next(name for name in values.dims if name != "seed")
        widths = values[along].to_numpy()
        line = float(values.sel({along: widths[0]}).mean()) * (widths / widths[0]) ** power
        drawn = values.transpose("seed", along).to_numpy()
        dm.plot.curve_with_theory(ax, widths, drawn, (widths, line), label=label, theory_label=None)
        ax.annotate(text, (widths[1], line[1]), xytext=(6, 3), textcoords="offset points", fontsize=7)
    ticks = sorted(config.initial_widths)
    ax.set_xticks(ticks, [f"{n:,}" for n in ticks])
    ax.set_xticks([], minor=True)
    convergence.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=2)

    regression = dm.plot.figure("page", height=2.6)
    angle, mean, deviation = (results[f"limit/{name}"] for name in ("angle", "mean", "deviation"))
    widths = sorted({min(config.regression_widths), max(config.regression_widths)})
    axes = np.atleast_1d(regression.subplots(1, len(widths), sharey=True))
    for ax, width in zip(axes, widths, strict=True):
        values = results["regression/output"].sel(regression_width=width).transpose("angle", "seed")[:, :10]
        ax.fill_between(
            angle, mean - BAND * deviation, mean + BAND * deviation, color="0.85", label="95 % of the limit"
        )
        lines = ax.plot(angle, values, color=dm.plot.COLORS[0], linewidth=0.6, alpha=0.7)
        lines[0].set_label("trained networks")
        ax.plot(angle, mean, label="mean of the limit", **dm.plot.THEORY)
        points = np.array(config.angles)
        ax.plot(points, np.cos(points) * np.sin(points), "o", color="black", zorder=4, label="training points")
        ax.set(xlabel=r"angle $\gamma$ of $x$ [rad]", title=f"$n = {width}$, {values.sizes['seed']} networks")
        ax.set_xticks(*TICKS)
    axes[0].set(ylabel="output")
    regression.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return {"kernel": kernel, "convergence": convergence, "regression": regression}


EXPERIMENT = Experiment(
    Config,
    SCALES,
    studies={
        "limit": Study(measure_limit, num_seeds=None),
        "initial": Study(measure_initial, over={"initial_width": "initial_widths"}, seeds_per_unit=400),
        "training": Study(
            measure_training, over={"training_width": "training_widths"}, num_seeds="num_trained", seeds_per_unit=20
        ),
        "regression": Study(
            measure_regression,
            over={"regression_width": "regression_widths"},
            num_seeds="num_networks",
            seeds_per_unit=20,
        ),
    },
    claims=CLAIMS,
    figures=figures,
    precision="float64",
    deviations=(
        "The regression has five training points on the circle, those of a course's exercise, where the paper has four.",
        "The limit is computed in closed form, at the time at which training stops, not from one network of width 10,000.",
        "The number of Gaussian inputs on which the kernel is followed is ours.",
        "The paper's experiment on MNIST, convergence along a principal component, is left out.",
    ),
)
