"""On lazy training in differentiable programming (Chizat, Oyallon & Bach 2019).

Any model f becomes lazy when its output is multiplied by a large α. Gradient descent on the loss of αf̄, divided by α²,
with the model centred at its start, f̄(θ) = f(θ) − f(θ₀), moves outputs at a speed that does not depend on α, and fits the
data with parameters that have moved by O(1/α) only. So along the path, with Θ the tangent kernel and a bar for the
linearised model αDf(θ₀)(θ̄ − θ₀),

    ‖θ − θ₀‖ = O(1/α),    ‖ΔΘ‖/‖Θ₀‖ = O(1/α),    ‖θ − θ̄‖ = O(1/α²),    |αf̄(θ, x) − αDf(θ₀, x)(θ̄ − θ₀)| = O(1/α).

Laziness is the work of the scale, not of the width. Lazy networks fit as well, but where a teacher with three units sets the
task, small α, with features that move, generalise better. (NeurIPS 2019, arXiv 1812.07956.)
"""

from dataclasses import dataclass
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

import dlmath as dm
from dlmath.repro import AtMost, Claim, Equal, Experiment, Slope, Study


@dataclass(frozen=True)
class Config:
    """Settings."""

    alphas: tuple[float, ...] = (0.125, 2.0, 8.0, 32.0, 128.0)
    """Scales α of the model."""
    activations: tuple[str, ...] = ("gelu", "relu")
    """Activation functions of the student; the theorems ask for smooth ones, the paper's experiments have ReLU."""
    width: int = 50
    """Hidden units m of the student."""
    num_units: int = 3
    """Hidden units of the teacher."""
    num_features: int = 10
    """Dimension d of the inputs, uniform on the sphere of radius √d."""
    num_train: int = 60
    """Training points."""
    num_test: int = 500
    """Test points."""
    scaled_rate: float = 0.5
    """Step size, in units of the largest one that is stable at the start, times α√m where that is below 1."""
    num_steps: int = 1200
    """Steps of gradient descent, full batch."""
    num_seeds: int = 10
    """Draws of teacher, student and data."""


SCALES = {
    "smoke": Config(),
    "laptop": Config(
        alphas=(0.125, 0.25, 0.5, 1.0, 2.0, 8.0, 32.0, 128.0),
        width=64,
        num_features=20,
        num_train=120,
        num_test=1000,
        num_steps=2500,
        num_seeds=20,
    ),
    "paper": Config(
        alphas=(0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0),
        num_features=100,
        num_train=1000,
        num_test=2000,
        num_steps=100_000,
    ),
}


# What is measured -----------------------------------------------------------------------------------------------------


@cache
def network(width, activation):
    """One hidden layer and a linear read-out, without biases; with ReLU homogeneous of degree 2 in its parameters."""
    return dm.models.mlp([width], 1, activation=activation, parameterization="ntk", weight_std=(2**0.5, 1.0))


def task(config, key):
    """Training and test points, labels of mean square near 1 by a random teacher."""
    input_key, teacher_key = jax.random.split(key)
    num_train, num = config.num_train, config.num_train + config.num_test
    x = dm.data.sphere(input_key, num, config.num_features) * config.num_features**0.5
    weights, signs = jax.random.split(teacher_key)
    directions = dm.data.sphere(weights, config.num_units, config.num_features)
    # √2 relu(w·x) has mean square 1.
    read_out = jax.random.rademacher(signs, (config.num_units,), x.dtype) * (2 / config.num_units) ** 0.5
    y = jax.nn.relu(x @ directions.T) @ read_out[:, None]
    return x[:num_train], y[:num_train], x[num_train:], y[num_train:]


def norm(tree):
    """‖θ‖ of a pytree."""
    return jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(tree)))


def distance(one, other):
    """‖θ₁ − θ₂‖ of two pytrees."""
    return norm(jax.tree.map(jnp.subtract, one, other))


@partial(jax.jit, static_argnames=("model", "num_steps"))
def compare(keys, model, data, alpha, scaled_rate, num_steps):
    """The network at scale α and its linearisation after the same steps from the same starts, one entry a key."""

    def one(key, x, y, x_test, y_test):
        params = model.init(key, x)
        kernel = dm.ntk.empirical(model.apply, params, x, outputs="trace")
        rate = scaled_rate * dm.ntk.max_learning_rate(kernel)

        def train(apply):
            scaled = dm.ntk.lazy(apply, params, alpha)
            run = dm.train.fit(
                key, scaled, dm.ntk.lazy_loss(dm.train.losses.half_mse, alpha), params, (x, y), optax.sgd,
                hyperparameters={"learning_rate": rate}, num_steps=num_steps, every=num_steps,
            )  # fmt: skip
            return run.params, scaled(run.params, x), scaled(run.params, x_test)

        trained, outputs, test_outputs = train(model.apply)
        linear, _, linear_outputs = train(dm.ntk.linearize(model.apply, params))
        changed = dm.ntk.empirical(model.apply, trained, x, outputs="trace")
        power = jnp.mean(y_test**2)
        return {
            "movement": distance(trained, params) / norm(params),
            "kernel_change": dm.ntk.kernel_change(kernel, changed).relative,
            "parameter_gap": distance(trained, linear) / norm(params),
            "output_gap": jnp.sqrt(jnp.mean((test_outputs - linear_outputs) ** 2) / power),
            "train_error": jnp.mean((outputs - y) ** 2) / jnp.mean(y**2),
            "test_error": jnp.mean((test_outputs - y_test) ** 2) / power,
            "linear_test_error": jnp.mean((linear_outputs - y_test) ** 2) / power,
        }

    return jax.vmap(one)(keys, *data)


def measure(config, keys, *, activation, alpha):
    """Networks at one scale; draws of teacher, student and data are the same at all scales."""
    data = jax.vmap(lambda key: task(config, jax.random.fold_in(key, 1)))(keys)
    rate = config.scaled_rate * min(1.0, alpha * config.width**0.5)
    return compare(keys, network(config.width, activation), data, float(alpha), rate, config.num_steps)


# What is claimed ------------------------------------------------------------------------------------------------------


def _lazy(config):
    """The scales at which training is lazy, the slopes are those of large α."""
    return [alpha for alpha in config.alphas if alpha >= 8]


def _slope_claim(name, statement, variable, slope, source, activation="gelu", fails=""):
    return Claim(
        name, statement, source=source, expect=Slope(slope, along="alpha", atol=0.1), fails=fails,
        statistic=lambda config, r: r[f"scales/{variable}"].sel(activation=activation, alpha=_lazy(config)),
        needs=lambda config: len(_lazy(config)) >= 3 and activation in config.activations,
    )  # fmt: skip


def _error(config, r, name, alpha):
    return r[f"scales/{name}"].sel(activation="relu", alpha=alpha)


def _both(config):
    return min(config.alphas) <= 0.25 and max(config.alphas) >= 64 and "relu" in config.activations


CLAIMS = (
    _slope_claim("kernel", "the tangent kernel changes by ‖ΔΘ‖/‖Θ₀‖ ∝ 1/α", "kernel_change", -1.0,
        "Section 1.2, Theorem 2.2"),
    _slope_claim("movement", "the parameters move by ∝ 1/α", "movement", -1.0, "Theorem 2.2"),
    _slope_claim("parameters", "they end at a distance ∝ 1/α² of those of the linearised model", "parameter_gap", -2.0,
        "Theorem 2.2"),
    _slope_claim("outputs", "the outputs at test points differ by ∝ 1/α from those of the linearised model", "output_gap",
        -1.0, "Theorem 2.2"),
    _slope_claim("movement-relu", "with ReLU the parameters move by ∝ 1/α, too", "movement", -1.0, "Theorem 2.2", "relu"),
    _slope_claim("outputs-relu", "and the outputs differ by ∝ 1/α", "output_gap", -1.0, "Theorem 2.2", "relu",
        fails="the theorem needs a Lipschitz derivative; with ReLU the few units that switch decide, a number ∝ 1/α, and "
        "the root of their squares falls more slowly"),
    Claim("fits",
        "with ReLU the training error falls below 1 % at every α: lazy networks fit, too",
        source="Theorem 2.4 and Section 3.1", expect=AtMost(0.01),
        statistic=lambda config, r: r["scales/train_error"].sel(activation="relu").max("alpha"),
        needs=lambda config: "relu" in config.activations),
    Claim("same-error",
        "at the largest α the test error is that of the linearised model, with ReLU",
        source="Theorem 2.2", expect=Equal(1.0, rtol=0.02),
        statistic=lambda config, r: _error(config, r, "test_error", max(config.alphas))
        / _error(config, r, "linear_test_error", max(config.alphas)),
        needs=_both),
    Claim("rich-is-better",
        "networks that move generalise better: with ReLU, the test error at the smallest α is at most half of that at the "
        "largest, a threshold of ours",
        source="Fig. 1c and Fig. 2a", expect=AtMost(0.5),
        statistic=lambda config, r: _error(config, r, "test_error", min(config.alphas)).mean("seed")
        / _error(config, r, "test_error", max(config.alphas)).mean("seed"),
        needs=_both),
)  # fmt: skip


# What is drawn --------------------------------------------------------------------------------------------------------


@dm.plot.style()
def figures(config, results):
    """What changes with α, for each activation function, and the errors at the end."""
    changes = dm.plot.figure("page", height=2.9)
    axes = changes.subplots(1, len(config.activations), sharey=True, squeeze=False)[0]
    for ax, activation in zip(axes, config.activations, strict=True):
        ax.set(xscale="log", yscale="log", xlabel=r"scale $\alpha$", title=activation)
        for name, label, slope in (
            ("kernel_change", "tangent kernel", -1),
            ("movement", "parameters", -1),
            ("output_gap", "outputs, from the linearised model's", -1),
            ("parameter_gap", "parameters, from the linearised model's", -2),
        ):
            values = results[f"scales/{name}"].sel(activation=activation).transpose("seed", "alpha")
            dm.plot.curve_with_theory(ax, values["alpha"].to_numpy(), values.to_numpy(), label=label)
            if _lazy(config):
                lazy = np.array(_lazy(config))
                line = values.sel(alpha=lazy[0]).mean().item() * (lazy / lazy[0]) ** slope
                title = r"$1/\alpha$ and $1/\alpha^2$" if name == "parameter_gap" else None
                ax.plot(lazy, line, label=title, **dm.plot.THEORY)
    axes[0].set_ylabel("relative change")
    changes.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)

    errors = dm.plot.figure("page", height=2.6)
    axes = errors.subplots(1, len(config.activations), sharey=True, squeeze=False)[0]
    for ax, activation in zip(axes, config.activations, strict=True):
        ax.set(xscale="log", xlabel=r"scale $\alpha$", title=activation)
        for name, label in (("test_error", "network"), ("linear_test_error", "linearised network")):
            values = results[f"scales/{name}"].sel(activation=activation).transpose("seed", "alpha")
            dm.plot.curve_with_theory(ax, values["alpha"].to_numpy(), values.to_numpy(), label=label)
    axes[0].set_ylim(0, None)
    axes[0].set_ylabel("test error [of the labels' mean square]")
    errors.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return {"changes": changes, "errors": errors}


EXPERIMENT = Experiment(
    Config,
    SCALES,
    studies={"scales": Study(measure, over={"activation": "activations", "alpha": "alphas"}, seeds_per_unit=10)},
    claims=CLAIMS,
    figures=figures,
    precision="float64",
    deviations=(
        "The scale α stands for the paper's τ, the size of the initial weights: with ReLU f(√α θ) = αf(θ).",
        "GELU students, for the slopes that the theorems state: ReLU has no Lipschitz derivative.",
        "At smoke and laptop scale fewer dimensions and samples; the centred model in place of paired units.",
        "After a fixed number of steps instead of at a training loss of 0.",
        "Convolutional networks on CIFAR-10 (Section 3.2) are left out.",
    ),
)
