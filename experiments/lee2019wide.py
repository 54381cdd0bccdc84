"""Wide neural networks of any depth evolve as linear models under gradient descent (Lee, Xiao et al. 2019).

The first-order Taylor expansion f_lin(θ, x) = f(θ₀, x) + J(x)(θ − θ₀) of a network of width n about its start is linear in θ.
Gradient descent of it on (1/2N) Σ (f − y)² with step η is solved by its constant tangent kernel Θ₀,

    f_lin,t(X) = y + (1 − η Θ₀/N)^t (f₀(X) − y),

and in the NTK parameterization, below a critical step, the network stays close to it at all times: outputs, and the kernel,
differ by O(n^−1/2). That is a bound: measured, kernels change by about n^−1, as does each hidden weight matrix, relative to
its norm; first and last weights, one of whose sides does not grow, move by n^−1/2. Outputs of smooth networks differ by about
n^−1, too. The critical step is 2N/λ_max(Θ), which the kernel of infinite width predicts. (NeurIPS 2019, arXiv 1902.06720.)
"""

import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax

import dlmath as dm
from dlmath.repro import AtMost, Claim, Equal, Experiment, Slope, Study


@dataclass(frozen=True)
class Config:
    """Settings."""

    activations: tuple[str, ...] = ("erf",)
    """Activation functions."""
    widths: tuple[int, ...] = (64, 128, 256, 512)
    """Widths n of all hidden layers."""
    num_hidden: int = 2
    """Hidden layers."""
    data_set: str = "digits"
    """Images of zeros and ones with the targets −1 and 1: "digits" (embedded) or "mnist"."""
    num_train: int = 32
    """Training images, the first ones of these classes."""
    num_test: int = 32
    """Test images, on which outputs are compared."""
    rate_fraction: float = 0.5
    """Step size η over the largest stable one of the kernel of infinite width."""
    num_steps: int = 256
    """Steps of gradient descent, full batch."""
    num_seeds: int = 40
    """Initialisations of each width."""
    rate_width: int = 512
    """Width at which the largest stable step is sought."""
    scaled_rates: tuple[float, ...] = (0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3)
    """Step sizes tried there, over the largest stable one of the kernel of infinite width."""
    rate_steps: int = 30
    """Steps in which the loss must not exceed its first value."""
    num_rate_seeds: int = 20
    """Initialisations on which they are tried."""


SCALES = {
    "smoke": Config(),
    "laptop": Config(
        activations=("erf", "relu"),
        widths=(64, 128, 256, 512, 1024),
        data_set="mnist",
        num_steps=512,
        num_seeds=20,
        rate_width=1024,
    ),
    "paper": Config(
        activations=("erf", "relu"),
        widths=(64, 128, 256, 512, 1024, 2048, 4096, 8192),
        num_hidden=3,
        data_set="mnist",
        num_train=128,
        num_test=128,
        num_steps=131_072,
        rate_width=4096,
    ),
}

VARIANCE = {"erf": 1.5, "relu": 2.0}
"""σ_w² of each activation function."""
BIAS_VARIANCE = 0.05
"""σ_b² of every layer."""


# The paper's formulas -------------------------------------------------------------------------------------------------


@jax.jit
def linearized(kernel, new, y, start, start_new, rate, time):
    """Outputs f_lin,t of the linearised network at new points, for one network (Section 2.2, in steps)."""
    return dm.ntk.gradient_descent(
        kernel, y, time, theta_new=new, initial=start, initial_new=start_new, learning_rate=rate
    )[1]


# What is measured -----------------------------------------------------------------------------------------------------


@functools.cache
def network(activation, width, num_hidden):
    """The network in the NTK parameterization."""
    return dm.models.mlp(
        [width] * num_hidden, 1, activation=activation, parameterization="ntk",
        weight_std=VARIANCE[activation] ** 0.5, bias_std=BIAS_VARIANCE**0.5,
    )  # fmt: skip


def task(config):
    """Training images, targets and test images, [n, pixels] of mean square 1 and [n, 1]."""
    data = dm.data.load(
        config.data_set,
        classes=(0, 1),
        labels=(-1, 1),
        num_train=config.num_train,
        num_test=config.num_test,
        flatten=True,
    )
    scale = np.sqrt(np.mean(data.x**2))
    x, y, x_test = (jnp.asarray(a, jnp.float32) for a in (data.x / scale, data.y[:, None], data.x_test / scale))
    return x, y, x_test


def starts(model, keys, x):
    """Initial parameters [seed], in single precision."""
    return jax.tree.map(lambda leaf: leaf.astype(x.dtype), jax.vmap(model.init, (0, None))(keys, x))


def critical_rate(model, x):
    """The largest stable step of the kernel of infinite width."""
    return float(dm.ntk.max_learning_rate(model.kernel(jnp.asarray(x, float))))


@functools.partial(jax.jit, static_argnames="model")
def at(model, params, x, x_test):
    """Kernels [seed, n, n] and [seed, m, n], outputs [seed, n, 1] and [seed, m, 1], network by network."""

    def one(params):
        both = jnp.concatenate([x, x_test])
        theta, f = dm.ntk.empirical(model.apply, params, both, x, outputs="trace"), model.apply(params, both)
        train = theta[: len(x)]
        return (train + train.T) / 2, theta[len(x) :], f[: len(x)], f[len(x) :]

    return jax.lax.map(one, params)


def moved(before, after):
    """‖W_t − W_0‖/‖W_0‖ of the weights of each layer, [seed, layer]."""
    norm = lambda a: np.sqrt(np.square(np.asarray(a, float)).sum((1, 2)))
    pairs = zip(before, after, strict=True)
    return np.stack([norm(b["weight"] - a["weight"]) / norm(a["weight"]) for a, b in pairs], axis=1)


def measure_training(config, keys, *, activation, width):
    """How far networks are from their linearisations, their kernels and weights from the start, at the last step."""
    x, y, x_test = task(config)
    model = network(activation, width, config.num_hidden)
    rate = config.rate_fraction * critical_rate(model, x)
    params = starts(model, keys, x)
    runs = dm.train.fit_ensemble(
        keys, model.apply, dm.train.losses.half_mse, params, (x, y), optax.sgd, num_steps=config.num_steps,
        every=config.num_steps, hyperparameters={"learning_rate": rate},
    )  # fmt: skip
    first, new, f, f_new = at(model, params, x, x_test)
    last, _, _, found = at(model, runs.params, x, x_test)
    # The kernel's spectrum spans many decades: the closed form is evaluated in double precision.
    double = [np.asarray(a, float) for a in (first, new, f, f_new)]
    linear = np.stack(
        [linearized(k, k_new, y, s, s_new, rate, config.num_steps) for k, k_new, s, s_new in zip(*double, strict=True)]
    )
    first, last, found = (np.asarray(a, float) for a in (first, last, found))
    norm = lambda k: np.sqrt((k**2).sum((1, 2)))
    layers = ["first", *(f"hidden {number}" for number in range(2, config.num_hidden + 1)), "last"]
    return {
        "layer": ("layer", np.array(layers)),
        "output": np.sqrt(((found - linear) ** 2).mean((1, 2))),
        "kernel": norm(last - first) / norm(first),
        "weights": (("seed", "layer"), moved(params, runs.params)),
        "loss": runs.loss[:, -1],
    }


def measure_rates(config, keys, *, activation):
    """The largest loss within a few steps at step sizes around the critical one, over the first."""
    x, y, _ = task(config)
    model = network(activation, config.rate_width, config.num_hidden)
    rates = jnp.asarray(np.array(config.scaled_rates) * critical_rate(model, x), x.dtype)

    def one(key, params, rate):
        return dm.train.fit(
            key, model.apply, dm.train.losses.half_mse, params, (x, y), optax.sgd, num_steps=config.rate_steps, every=1,
            hyperparameters={"learning_rate": rate},
        ).loss  # fmt: skip

    loss = jax.jit(jax.vmap(jax.vmap(one, (None, None, 0)), (0, 0, None)))(keys, starts(model, keys, x), rates)
    rise = np.asarray(loss.max(-1) / loss[..., 0], float)
    return {
        "scaled_rate": ("scaled_rate", np.array(config.scaled_rates)),
        "rise": (("seed", "scaled_rate"), np.where(np.isfinite(rise), rise, np.finfo(np.float32).max)),
    }


# What is claimed ------------------------------------------------------------------------------------------------------


def slope(found):
    """Power of the width, in each seed."""
    x = np.log(found["width"])
    return ((x - x.mean()) * np.log(found)).sum("width", skipna=False) / ((x - x.mean()) ** 2).sum()


def largest_stable(rise):
    """The largest scaled step up to which, at all that were tried, the loss stays at or below its first value."""
    stable = (rise <= 1).cumprod("scaled_rate")
    return rise["scaled_rate"].where(stable > 0).max("scaled_rate")


def _found(r, name, activation):
    return r[f"training/{name}"].sel(activation=activation)


def _needs(activation):
    return lambda config: activation in config.activations and len(config.widths) >= 3


def _bound(name, what, activation):
    return Claim(
        f"{name}-bound-{activation}",
        f"{what} falls with the width at least as fast as the proven bound n^−1/2 ({activation})",
        source="Theorem 2.1", expect=AtMost(-0.5),
        statistic=lambda config, r: slope(_found(r, name, activation)), needs=_needs(activation),
    )  # fmt: skip


def _measured(name, what, activation):
    return Claim(
        f"{name}-{activation}",
        f"{what} falls rather as n^−1 than as n^−1/2: the power is below their mean ({activation})",
        source="Fig. 1: the kernel is closer to O(1/n); the threshold, and the same of outputs, are ours",
        expect=AtMost(-0.75), statistic=lambda config, r: slope(_found(r, name, activation)), needs=_needs(activation),
        fails=KINKS if (name, activation) == ("output", "relu") else "",
    )  # fmt: skip


def _weights(name, layer, exponent):
    return Claim(
        f"{name}-weights", f"the relative movement of the {layer} weights falls as n^{exponent:g}",
        source="Fig. 1", expect=Slope(exponent, along="width", atol=0.1),
        statistic=lambda config, r: _found(r, "weights", config.activations[0]).sel(layer=layer),
        needs=_needs("erf"),
    )  # fmt: skip


KINKS = "where the kink of a ReLU moves past an input, its linearisation is off by as much as the unit moved, n^−1/2"
OUTPUT = "the distance of trained networks from their linearisations on test images"
KERNEL = "the relative change of the tangent kernel in training"

CLAIMS = (
    *(
        make(name, what, activation)
        for activation in ("erf", "relu")
        for name, what in (("output", OUTPUT), ("kernel", KERNEL))
        for make in (_bound, _measured)
    ),
    _weights("first", "first", -0.5),
    _weights("hidden", "hidden 2", -1.0),
    _weights("last", "last", -0.5),
    Claim(
        "critical-rate",
        "gradient descent is stable up to the critical step of the kernel of infinite width, up to a tenth",
        source="Section 2.1, η_critical; the tolerance is ours",
        expect=Equal(1.0, atol=0.1),
        statistic=lambda config, r: largest_stable(r["rates/rise"].sel(activation="erf")),
        needs=lambda config: "erf" in config.activations and config.rate_width >= 512
        and {0.9, 1.0, 1.1} <= {*config.scaled_rates},
    ),
)  # fmt: skip


# What is drawn --------------------------------------------------------------------------------------------------------


@dm.plot.style()
def figures(config, results):
    """Distances of outputs, kernels and weights against width; the rise of the loss around the critical step."""
    training = dm.plot.figure("page", height=2.7)
    axes = training.subplots(1, 3)
    for ax, name, label, powers in (
        (axes[0], "output", "rms distance of outputs from linear", (-0.5, -1.0)),
        (axes[1], "kernel", "relative change of the kernel", (-0.5, -1.0)),
        (axes[2], "weights", "relative change of weights", (-0.5, -1.0)),
    ):
        ax.set(xscale="log", yscale="log", xlabel="width $n$", ylabel=label)
        found = results[f"training/{name}"]
        if name == "weights":
            found = found.sel(activation=config.activations[0])
            curves = {str(layer): found.sel(layer=layer) for layer in found["layer"].to_numpy()}
        else:
            curves = {activation: found.sel(activation=activation) for activation in config.activations}
        for text, values in curves.items():
            dm.plot.curve_with_theory(ax, "width", values, label=text)
        widths = found["width"].to_numpy()
        top = max(float(values.sel(width=widths[0]).mean()) for values in curves.values()) * 1.4
        for power, style in zip(powers, (":", (0, (4, 2))), strict=True):
            line = top * (widths / widths[0]) ** power
            ax.plot(widths, line, **{**dm.plot.THEORY, "linestyle": style})
            ax.annotate(
                f"$n^{{{power:g}}}$",
                (widths[-1], line[-1]),
                xytext=(2, 0),
                textcoords="offset points",
                va="center",
                fontsize=7,
            )
        shown = widths if len(widths) < 5 else widths[::2]
        ax.set_xticks(shown, [f"{n}" for n in shown])
        ax.set_xticks([], minor=True)
        ax.legend(loc="lower left")

    rates = dm.plot.figure("column")
    ax = rates.subplots()
    ax.set(yscale="log", xlabel=r"step size $\eta/\eta_\mathrm{critical}$ of infinite width",
           ylabel=f"largest loss in {config.rate_steps} steps / first")  # fmt: skip
    for activation in config.activations:
        rise = results["rates/rise"].sel(activation=activation)
        dm.plot.curve_with_theory(
            ax, "scaled_rate", rise, kind="quartiles", label=f"{activation}, median and quartiles"
        )
    ax.axvline(1.0, color="0.5", linestyle=":")
    ax.legend()
    return {"training": training, "rates": rates}


EXPERIMENT = Experiment(
    Config,
    SCALES,
    studies={
        "training": Study(measure_training, over={"activation": "activations", "width": "widths"}, seeds_per_unit=20),
        "rates": Study(
            measure_rates, over={"activation": "activations"}, num_seeds="num_rate_seeds", seeds_per_unit=20
        ),
    },
    claims=CLAIMS,
    figures=figures,
    precision="float64",
    deviations=(
        "Zeros and ones with one output, so that the closed form of the linearised network is exact; full batches only.",
        "Distances are those at the last step of training, not the largest of all times.",
        "Below paper scale the networks have two hidden layers and train for fewer steps.",
        "Convolutional and residual networks, momentum and cross entropy are left out.",
    ),
)
