"""Feature learning in infinite-width neural networks (Yang & Hu 2021, Tensor Programs IV).

How far a step of training moves the hidden units of a wide network depends on its parameterization alone: in the limit of
infinite width n, the coordinates of the last hidden layer move by Θ(1) in the maximal update parameterization (muP),
where features are learned; by Θ(n^{−1/2}) in the NTK parameterization, where they are not; and under the standard
parameterization with a learning rate that does not depend on width they move by Θ(n^{1/2}), so that wide networks blow
up. The same check under Adam is the coordinate check of Yang et al. 2022 (Tensor Programs V, app. D.1): with the
multipliers of muP no layer moves more or less in wider networks, whereas the outputs of the standard one do.
(arXiv 2011.14522 and 2203.03466. Slopes are of the root-mean-square change per coordinate against width.)
"""

from dataclasses import dataclass

import jax
import numpy as np
import optax

import dlmath as dm
from dlmath.repro import AtLeast, Claim, Experiment, Slope, Study


@dataclass(frozen=True)
class Config:
    """Settings."""

    widths: tuple[int, ...] = (128, 512, 2048)
    """Widths n of both hidden layers, for one step of gradient descent."""
    adam_widths: tuple[int, ...] = (64, 256, 1024)
    """Widths for a few steps of Adam."""
    parameterizations: tuple[str, ...] = ("mup", "ntk", "standard")
    """Parameterizations trained by gradient descent."""
    adam_parameterizations: tuple[str, ...] = ("mup", "standard")
    """Parameterizations trained by Adam."""
    learning_rate: float = 0.1
    """Step size of gradient descent under muP and in the NTK parameterization."""
    standard_learning_rate: float = 1e-4
    """Step size under the standard parameterization, for both optimisers; the same at every width."""
    adam_learning_rate: float = 3e-3
    """Step size of Adam under muP."""
    adam_steps: int = 5
    """Steps of Adam."""
    readout_std: float = 0.3
    """σ_w of the read-out; small, so that initial outputs are small against the targets."""
    num_inputs: int = 4
    """Dimension of the Gaussian inputs."""
    num_outputs: int = 10
    """Dimension of the Gaussian targets."""
    num_samples: int = 16
    """Training points, the full batch of every step."""
    num_seeds: int = 20
    """Initialisations."""


SCALES = {
    "smoke": Config(),
    "laptop": Config(
        widths=(64, 128, 256, 512, 1024, 2048, 4096),
        adam_widths=(64, 128, 256, 512, 1024, 2048),
        num_seeds=40,
    ),
    "paper": Config(
        widths=(64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384),
        adam_widths=(64, 128, 256, 512, 1024, 2048, 4096, 8192),
        num_seeds=40,
    ),
}

EXPONENTS = {"mup": 0.0, "ntk": -0.5, "standard": 0.5}
NAMES = {"mup": "muP", "ntk": "the NTK parameterization", "standard": "the standard parameterization"}


# What is measured -----------------------------------------------------------------------------------------------------


def check(config, keys, parameterization, width, optimizer, learning_rate, num_steps):
    """Change [seed, layer] of the pre-activations, the same data for every seed."""
    x = jax.random.normal(jax.random.key(1), (config.num_samples, config.num_inputs))
    y = jax.random.normal(jax.random.key(2), (config.num_samples, config.num_outputs))
    model = dm.models.mlp(
        [width, width],
        config.num_outputs,
        parameterization=parameterization,
        weight_std=(2**0.5, 2**0.5, config.readout_std),
    )
    params = jax.eval_shape(model.init, jax.random.key(0), x)
    multipliers = dm.models.learning_rates(parameterization, params, optimizer)
    make = {"sgd": optax.sgd, "adam": optax.adam}[optimizer]
    step = optax.chain(make(learning_rate), dm.models.scale_by_learning_rates(multipliers))
    one = lambda key: dm.models.coordinate_check(
        key, model, dm.train.losses.mse, x, y, step, num_steps=num_steps, num_seeds=1
    )[0]
    changes = jax.jit(lambda keys: jax.lax.map(one, keys))(keys)  # one after the other: the widest fill the memory
    return {"layer": ("layer", np.array(["hidden 1", "hidden 2", "output"])), "change": (("seed", "layer"), changes)}


def measure_sgd(config, keys, *, parameterization, width):
    """One full-batch step of gradient descent under the rates of `learning_rates`."""
    rate = config.standard_learning_rate if parameterization == "standard" else config.learning_rate
    return check(config, keys, parameterization, width, "sgd", rate, 1)


def measure_adam(config, keys, *, parameterization, width):
    """A few full-batch steps of Adam under its own multipliers."""
    rate = config.standard_learning_rate if parameterization == "standard" else config.adam_learning_rate
    return check(config, keys, parameterization, width, "adam", rate, config.adam_steps)


# What is claimed ------------------------------------------------------------------------------------------------------


def _change(study, parameterization, layer):
    return lambda config, r: r[f"{study}/change"].sel(parameterization=parameterization, layer=layer)


CLAIMS = (
    *(
        Claim(
            f"sgd-{name}",
            f"one step of gradient descent moves the last hidden layer by n^{exponent:g} in {NAMES[name]}",
            source="2011.14522, Table 1 and Sec. 3",
            expect=Slope(exponent, along="width", atol=0.1),
            statistic=_change("sgd", name, "hidden 2"),
            needs=lambda config, name=name: name in config.parameterizations and max(config.widths) >= 2048,
        )
        for name, exponent in EXPONENTS.items()
    ),
    *(
        Claim(
            f"adam-{layer.replace(' ', '')}",
            f"five steps of Adam under muP move the {layer} layer by as much at every width",
            source="2203.03466, app. D.1",
            expect=Slope(0.0, along="width", atol=0.05),
            statistic=_change("adam", "mup", layer),
            needs=lambda config: max(config.adam_widths) >= 512,
        )
        for layer in ("hidden 1", "hidden 2", "output")
    ),
    Claim(
        "adam-standard",
        "five steps of Adam in the standard parameterization move the outputs more in wider networks",
        source="2203.03466, Fig. 5 and app. D.1",
        expect=AtLeast(0.5),
        statistic=lambda config, r: _slope(_change("adam", "standard", "output")(config, r)),
        needs=lambda config: "standard" in config.adam_parameterizations and max(config.adam_widths) >= 512,
    ),
)


def _slope(change):
    x = np.log(change["width"])
    return ((x - x.mean()) * np.log(change)).sum("width", skipna=False) / ((x - x.mean()) ** 2).sum()


# What is drawn --------------------------------------------------------------------------------------------------------


@dm.plot.style()
def figures(config, results):
    """Change of each layer against width: gradient descent, then Adam."""
    drawn = {}
    for study, title in (("sgd", "one step of gradient descent"), ("adam", f"{config.adam_steps} steps of Adam")):
        change = results[f"{study}/change"]
        names = [name for name in EXPONENTS if name in change["parameterization"]]
        layer = "hidden 2" if study == "sgd" else "output"
        figure = dm.plot.figure("column")
        ax = figure.subplots()
        ax.set(xscale="log", yscale="log", xlabel=f"width $n$ ({title})", ylabel=f"change of {layer} (rms)")
        for name in names:
            values = change.sel(parameterization=name, layer=layer).transpose("seed", "width").to_numpy()
            widths = change["width"].to_numpy()
            exponent = EXPONENTS[name] if study == "sgd" else 0.0
            line = values.mean(0)[0] * (widths / widths[0]) ** exponent if study == "sgd" or name == "mup" else None
            theory = None if line is None else (widths, line)
            label = "power of the theory" if name == names[0] else None
            dm.plot.curve_with_theory(ax, widths, values, theory, label=name, theory_label=label)
        widths = change["width"].to_numpy()
        shown = widths if len(widths) < 5 else widths[::2]
        ax.set_xticks(shown, [f"{n:,}" for n in shown])
        ax.minorticks_off()
        figure.legend(loc="outside upper center", ncols=2)
        drawn[study] = figure
    return drawn


EXPERIMENT = Experiment(
    Config,
    SCALES,
    studies={
        "sgd": Study(measure_sgd, over={"parameterization": "parameterizations", "width": "widths"}, seeds_per_unit=20),
        "adam": Study(
            measure_adam, over={"parameterization": "adam_parameterizations", "width": "adam_widths"}, seeds_per_unit=20
        ),
    },
    claims=CLAIMS,
    figures=figures,
    deviations=(
        "Gaussian inputs and targets instead of the papers' natural-language and image tasks.",
        "The read-out starts with σ_w = 0.3, so that initial outputs are small against the targets.",
    ),
)
