"""Deep double descent: where bigger models and more data hurt (Nakkiran, Kaplun, Bansal, Yang, Barak & Sutskever 2021).

The effective model complexity of a training procedure is the largest number of samples on which it still reaches a
training error of about zero. Where it is comparable to the number n of samples at hand, larger complexity may hurt; below
and beyond it helps. So the test error of a network with noisy labels has a peak as a function of its width, where the
training set is first fitted (model-wise double descent); a network that is wide enough has the peak in training time
(epoch-wise); and since n moves the peak, there are widths at which more samples do not help (sample-wise).
(ICLR 2020, arXiv 1912.02292; J. Stat. Mech. 2021, 124003. The MLP on MNIST-1D is that of Greydanus & Kobak 2024.)
"""

import functools
import time
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

import dlmath as dm
from dlmath.repro import AtLeast, AtMost, Claim, Equal, Experiment, Study


@dataclass(frozen=True)
class Config:
    """Settings."""

    architectures: tuple[str, ...] = ("mlp",)
    """Networks of width w: "mlp" (two hidden layers w), "cnn" (channels w, 2w, 4w, 8w) or "resnet18" (w, 2w, 4w, 8w)."""
    widths: tuple[int, ...] = (4, 16, 64)
    """Widths w."""
    train_sizes: tuple[int, ...] = (100, 400)
    """Training samples n, the first ones of the set."""
    data_set: str = "mnist1d"
    """Data: "mnist1d" for the MLP, "cifar10" for the others."""
    train_batches: tuple[int, ...] = (1, 2, 3, 4, 5)
    """Which of CIFAR-10's five training batches of 10,000 images are trained on."""
    test_batch: str = "test"
    """CIFAR-10's images to test on: "test" or "test_lossless_1017", the first 1,017 of them."""
    label_noise: float = 0.15
    """Fraction of training labels replaced by another class, drawn anew in every seed."""
    num_epochs: int = 300
    """Epochs of the MLP and of the ResNet."""
    cnn_epochs: int = 1280
    """Epochs of the CNN: 500,000 steps at 50,000 samples."""
    batch_size: int = 50
    """Samples of a minibatch."""
    augment: bool = False
    """Whether images are shifted by up to 4 pixels and mirrored, at random."""
    num_records: int = 15
    """Epochs at which the test error is recorded, evenly spaced in their logarithm."""
    num_seeds: int = 6
    """Draws of noise, initial weights and minibatches."""
    speed_widths: tuple[int, ...] = (16,)
    """Widths at which the speed of training is measured."""
    speed_steps: int = 50
    """Steps whose time is taken, after compilation; more if they are too few to tell."""
    checkpoints: str = ""
    """Folder for the state of runs under way, from which they go on after an interruption; empty for none."""


SCALES = {
    "smoke": Config(),
    "laptop": Config(
        widths=(9, 16, 27, 47, 61, 104, 300), train_sizes=(1000, 2000, 4000), num_epochs=500, batch_size=100,
        num_records=40, speed_widths=(9, 47, 300),
    ),
    "paper": Config(
        architectures=("cnn", "resnet18"),
        widths=(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 16, 18, 20, 24, 28, 32, 40, 48, 56, 64),
        train_sizes=(50_000,), data_set="cifar10", num_epochs=4000, batch_size=128, augment=True, num_records=60,
        num_seeds=6, speed_widths=(1, 2, 4, 8, 16, 32, 64), speed_steps=100, checkpoints="checkpoints",
    ),
}  # fmt: skip


# The networks ---------------------------------------------------------------------------------------------------------


@functools.cache
def network(architecture, width):
    """The network of a width, with PyTorch's default initialisation."""
    if architecture == "mlp":
        return dm.models.mlp([width, width], 10, initializer="torch")
    if architecture == "cnn":
        return dm.models.pooled_cnn(
            [width, 2 * width, 4 * width, 8 * width], 10, pools=[1, 2, 2, 8], initializer="torch"
        )
    return dm.models.resnet(18, width, 10, final_norm=False, initializer="torch")


def optimizer(architecture):
    """SGD with momentum for the MLP, with rate 0.1/√(1 + ⌊t/512⌋) for the CNN; Adam for the ResNet."""
    if architecture == "mlp":
        return optax.sgd(0.01, momentum=0.9)
    if architecture == "cnn":
        return optax.sgd(lambda step: 0.1 / jnp.sqrt(1 + step // 512))  # pyright: ignore[reportOperatorIssue]
    return optax.adam(1e-4)


def num_epochs(config, architecture):
    """Epochs of training."""
    return config.cnn_epochs if architecture == "cnn" else config.num_epochs


def record_epochs(config, architecture):
    """0, 1, …, the last, evenly spaced in the logarithm."""
    return np.unique([0, *np.geomspace(1, num_epochs(config, architecture), config.num_records).round()]).astype(int)


def load(config):
    """Training and test set, images standardised by channel; labels without noise."""
    return _load(config.data_set, config.train_batches, config.test_batch)


@functools.cache
def _load(data_set, train_batches, test_batch):
    if data_set != "cifar10":
        return dm.data.load(data_set)
    return dm.data.load(data_set, batches=train_batches, test_batch=test_batch, standardize="channel")


def noisy(keys, data, num_train, label_noise):
    """Training labels [seed, n]."""
    labels = [dm.data.with_label_noise(key, data, label_noise).y[:num_train] for key in keys]
    return jnp.array(np.stack(labels))


# What is measured -----------------------------------------------------------------------------------------------------


def fit(config, keys, architecture, width, num_train, num_steps, **options):
    """Networks of all seeds trained side by side, their labels and the function that evaluates them."""
    data, model = load(config), network(architecture, width)
    x = jnp.array(data.x[:num_train])
    label_keys, init_keys, fit_keys = jnp.moveaxis(jax.vmap(lambda key: jax.random.split(key, 3))(keys), 1, 0)
    labels = noisy(label_keys, data, num_train, config.label_noise)
    params = jax.jit(jax.vmap(model.init, (0, None)))(init_keys, x[:1])
    stateful = model.apply_train is not None
    apply = dm.models.frozen_apply(model) if stateful else model.apply
    state = None
    if stateful:
        state = jax.tree.map(lambda leaf: jnp.stack([leaf] * len(keys)), model.init_state(x[:1]))  # pyright: ignore
        options["probes"] = {name: make(apply, stateful=True) for name, make in options.pop("probes", {}).items()}
    else:
        options["probes"] = {name: make(apply) for name, make in options.pop("probes", {}).items()}
    runs = dm.train.fit_ensemble(
        fit_keys, model.apply_train if stateful else model.apply, dm.train.losses.cross_entropy, params, (x, labels),
        optimizer(architecture), num_steps=num_steps, batch_size=min(config.batch_size, num_train),
        member_data=(False, True), state=state, augment=dm.data.crop_and_flip if config.augment else None, **options,
    )  # fmt: skip
    return runs, x, labels, apply


def measure(config, keys, *, architecture, width, num_train):
    """Training at one width on one number of samples: test error along the way, training error at the end."""
    data = load(config)
    steps_an_epoch = num_train // min(config.batch_size, num_train)
    epochs = record_epochs(config, architecture)
    checkpoint = None
    if config.checkpoints:
        seeds = "-".join(f"{word:08x}" for word in np.asarray(jax.random.key_data(keys)).ravel()[:2])
        checkpoint = Path(config.checkpoints) / f"{architecture}-{width}-{num_train}-{seeds}.npz"
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
    runs, x, labels, apply = fit(
        config, keys, architecture, width, num_train, int(epochs[-1]) * steps_an_epoch,
        every=(epochs * steps_an_epoch).tolist(),
        probes={"test_error": functools.partial(test_error, data)},
        checkpoint=checkpoint, checkpoint_every=10 * steps_an_epoch if checkpoint else None,
    )  # fmt: skip
    curve, loss, params, state = dm.sharding.gather((runs.probes["test_error"], runs.loss, runs.params, runs.state))
    return {
        "epoch": ("epoch", epochs),
        "test_error_over_time": (("seed", "epoch"), curve),
        "loss_over_time": (("seed", "epoch"), loss),
        "test_error": curve[:, -1],
        "train_error": train_errors(apply, params, state, x, labels),
    }


def test_error(data, apply, **options):
    """The probe of the error on the test set."""
    return dm.train.error(apply, jnp.array(data.x_test), jnp.array(data.y_test), block_size=1000, **options)


def train_errors(apply, params, state, x, labels, block_size=1000):
    """Fractions [seed] of the noisy labels that the trained networks do not give, on images without augmentation."""
    classify = jax.jit(lambda *arguments: apply(*arguments).argmax(-1))
    errors = []
    for seed, y in enumerate(np.asarray(labels)):
        own = jax.tree.map(lambda leaf: leaf[seed], (params,) if state is None else (params, state))  # noqa: B023
        found = [classify(*own, x[start : start + block_size]) for start in range(0, len(x), block_size)]
        errors.append(np.mean(np.concatenate(found) != y))
    return np.array(errors)


def measure_speed(config, keys, *, architecture, speed_width):
    """Images per second in training one network, compiled, and the hours that all epochs of one seed would take."""
    num_train = max(config.train_sizes)
    batch_size = min(config.batch_size, num_train)

    def seconds(steps):
        begin = time.perf_counter()
        jax.block_until_ready(fit(config, keys, architecture, speed_width, num_train, steps, every=steps)[0])
        return time.perf_counter() - begin

    seconds(1)  # compiles
    preparation, steps = seconds(1), config.speed_steps
    while (elapsed := seconds(1 + steps)) < 4 * preparation:
        steps *= 4
    rate = steps * batch_size / (elapsed - preparation)
    return {"images_per_second": rate, "hours": num_epochs(config, architecture) * num_train / rate / 3600}


def curve_hours(config, hours):
    """Hours [architecture] of the whole curve, one seed: those of the measured widths, interpolated to all widths."""
    measured, all_widths = np.log(hours["speed_width"].to_numpy()), np.log(config.widths)
    return {
        name: float(np.exp(np.interp(all_widths, measured, np.log(hours.sel(architecture=name)))).sum())
        for name in hours["architecture"].to_numpy().tolist()
    }


# What is claimed ------------------------------------------------------------------------------------------------------


def at_full_size(array, architecture=None):
    """The curve of an architecture, the first by default, at the largest n."""
    array = array.isel(num_train=-1)
    return array.isel(architecture=0) if architecture is None else array.sel(architecture=architecture)


def peak_of(array, along):
    """Peak over `along` of an array with seeds."""
    return dm.double_descent.peak(array[along].to_numpy(), array.transpose("seed", along).to_numpy())


def threshold_of(array):
    """The width from which on the noisy training labels are fitted, up to 1 %; NaN if the widest does not."""
    return dm.double_descent.interpolation_threshold(
        array["width"].to_numpy(), array.transpose("seed", "width").to_numpy(), tolerance=0.01
    ).position


def over_time(r, width=-1):
    """The test error of a width, the widest by default, from the first epoch on."""
    return at_full_size(r["training/test_error_over_time"]).isel(width=width, epoch=slice(1, None))


def doublings(r):
    """Change of the mean test error [num_train, width] where the number of samples doubles."""
    error = r["training/test_error"].isel(architecture=0).mean("seed", skipna=False)
    sizes = [n for n in error["num_train"].to_numpy() if 2 * n in error["num_train"]]
    return np.stack([error.sel(num_train=2 * n) - error.sel(num_train=n) for n in sizes])


def _five_widths(config):
    return len(config.widths) >= 5


def _doubles(config):
    return any(2 * n in config.train_sizes for n in config.train_sizes)


CLAIMS = (
    Claim(
        "underfits",
        "the narrowest network does not fit its noisy labels: at least one in ten is wrong (a threshold of ours)",
        source="Section 5",
        expect=AtLeast(0.1),
        statistic=lambda config, r: at_full_size(r["training/train_error"]).isel(width=0),
    ),
    Claim(
        "fits",
        "the widest fits them, up to 1 %",
        source="Section 5",
        expect=AtMost(0.01),
        statistic=lambda config, r: at_full_size(r["training/train_error"]).isel(width=-1),
    ),
    Claim(
        "model-wise",
        "the test error has a peak over width, at least 3 points above the lowest on either side (3 points are ours)",
        source="Section 5",
        expect=AtLeast(0.03),
        statistic=lambda config, r: peak_of(at_full_size(r["training/test_error"]), "width").prominence.value,
        needs=_five_widths,
    ),
    Claim(
        "at-threshold",
        "the peak is where the training set is first fitted: log₂ of the ratio of the two widths is at most 1 in size",
        source="Sections 1 and 5; a factor of two is ours",
        expect=Equal(0.0, atol=1.0),
        statistic=lambda config, r: np.log2(
            peak_of(at_full_size(r["training/test_error"]), "width").position
            / threshold_of(at_full_size(r["training/train_error"]))
        ),
        needs=_five_widths,
    ),
    Claim(
        "early-stopping",
        "stopped at its best epoch, a network is the better the wider: no step of the grid raises the error by a point",
        source="Section 5; a point is ours",
        expect=AtMost(0.01),
        statistic=lambda config, r: (
            at_full_size(r["training/test_error_over_time"]).mean("seed", skipna=False).min("epoch").diff("width").max()
        ),
        needs=_five_widths,
    ),
    Claim(
        "epoch-wise",
        "the error of the widest has a peak over time, at least 1 point above the lowest on either side (1 point is ours)",
        source="Section 6",
        expect=AtLeast(0.01),
        statistic=lambda config, r: peak_of(over_time(r), "epoch").prominence.value,
        needs=_five_widths,
    ),
    Claim(
        "epoch-wise-threshold",
        "near the threshold the error falls, then rises to the end: by at least 3 points above its lowest (ours)",
        source="Section 6, intermediate models",
        expect=AtLeast(0.03),
        statistic=lambda config, r: _rise_at_peak(r),
        needs=_five_widths,
    ),
    Claim(
        "threshold-moves",
        "with four times the samples the width that fits them is larger, by a factor of 1.4 or more (ours)",
        source="Section 7",
        expect=AtLeast(1.4),
        statistic=lambda config, r: _threshold_ratio(r, min(config.train_sizes), max(config.train_sizes)),
        needs=lambda config: _five_widths(config) and max(config.train_sizes) == 4 * min(config.train_sizes),
    ),
    Claim(
        "sample-wise",
        "there is a width at which twice the samples raise the test error",
        source="Section 7",
        expect=AtLeast(0.0),
        statistic=lambda config, r: doublings(r).max(),
        needs=lambda config: _five_widths(config) and _doubles(config),
        fails="on MNIST-1D twice the samples gain more at every width of the grid than the peak, which they move, costs",
    ),
)


def _rise_at_peak(r):
    peak = peak_of(at_full_size(r["training/test_error"]), "width").position
    curve = at_full_size(r["training/test_error_over_time"]).sel(width=peak).mean("seed", skipna=False)
    return curve.isel(epoch=-1) - curve.min("epoch")


def _threshold_ratio(r, small, large):
    train = r["training/train_error"].isel(architecture=0)
    return threshold_of(train.sel(num_train=large)) / threshold_of(train.sel(num_train=small))


# What is drawn --------------------------------------------------------------------------------------------------------


@dm.plot.style()
def figures(config, results):
    """Errors over width, over time and for several n, for every architecture; and the speed of training."""
    drawn = {}
    for name in results["training/test_error"]["architecture"].to_numpy().tolist():
        drawn |= {f"{figure}-{name}": draw(results, name) for figure, draw in DRAWN.items()}
    figure = dm.plot.figure("column")
    ax = figure.subplots()
    rate, hours = results["speed/images_per_second"], results["speed/hours"]
    total = curve_hours(config, hours)
    for name in rate["architecture"].to_numpy().tolist():
        ax.plot(
            rate["speed_width"], rate.sel(architecture=name), "o-", label=f"{name}: {total[name]:.2g} h for the curve"
        )
    ax.set(xscale="log", yscale="log", xlabel="width $w$", ylabel="images per second")
    _ticks(ax, rate["speed_width"].to_numpy())
    ax.legend()
    return drawn | {"speed": figure}


def draw_widths(results, architecture):
    """Test error at the end and at the best epoch, and training error, over the width."""
    figure = dm.plot.figure("column")
    ax = figure.subplots()
    ax.set_xscale("log")
    test, train = (at_full_size(results[f"training/{name}_error"], architecture) for name in ("test", "train"))
    width, values = test["width"].to_numpy(), lambda array: 100 * array.transpose("seed", "width").to_numpy()
    found = threshold_of(train)
    dm.plot.curve_with_theory(
        ax, width, values(test), label="test", kind="t95", threshold=found if np.isfinite(found) else None,
        threshold_label="training labels fitted",
    )  # fmt: skip
    dm.plot.curve_with_theory(ax, width, values(train), label="training", kind="t95")
    best = at_full_size(results["training/test_error_over_time"], architecture).mean("seed", skipna=False).min("epoch")
    ax.plot(width, 100 * best, ":", color="0.3", label="test, best epoch")
    ax.set(xlabel="width $w$", ylabel="error [%]", ylim=(0, None))
    _ticks(ax, width)
    ax.legend()
    return figure


def draw_time(results, architecture):
    """Test error over the epochs, one line a width."""
    figure = dm.plot.figure("column")
    ax = figure.subplots()
    curves = at_full_size(results["training/test_error_over_time"], architecture).isel(epoch=slice(1, None))
    chosen = np.unique(np.linspace(0, curves.sizes["width"] - 1, min(6, curves.sizes["width"])).round().astype(int))
    for width in curves["width"].to_numpy()[chosen]:
        values = 100 * curves.sel(width=width).transpose("seed", "epoch").to_numpy()
        dm.plot.curve_with_theory(
            ax, curves["epoch"].to_numpy(), values, kind="t95", errors="band", label=f"$w = {width}$"
        )
    ax.set(xscale="log", xlabel="epoch", ylabel="test error [%]")
    ax.legend()
    return figure


def draw_samples(results, architecture):
    """Test error over the width, one line a number of samples."""
    figure = dm.plot.figure("column")
    ax = figure.subplots()
    ax.set_xscale("log")
    curves = results["training/test_error"].sel(architecture=architecture)
    width = curves["width"].to_numpy()
    for num_train in curves["num_train"].to_numpy():
        values = 100 * curves.sel(num_train=num_train).transpose("seed", "width").to_numpy()
        dm.plot.curve_with_theory(ax, width, values, kind="t95", label=f"$n = {num_train:,}$".replace(",", "\\,"))
    ax.set(xlabel="width $w$", ylabel="test error [%]")
    _ticks(ax, width)
    ax.legend()
    return figure


DRAWN = {"width": draw_widths, "time": draw_time, "samples": draw_samples}


def _ticks(ax, width):
    shown = width if len(width) < 9 else width[::3]
    ax.set_xticks(shown, [f"{w}" for w in shown])
    ax.xaxis.minorticks_off()


EXPERIMENT = Experiment(
    Config,
    SCALES,
    studies={
        "training": Study(
            measure,
            over={"architecture": "architectures", "num_train": "train_sizes", "width": "widths"},
            seeds_per_unit=6,
        ),
        "speed": Study(
            measure_speed,
            over={"architecture": "architectures", "speed_width": "speed_widths"},
            num_seeds=None,
            inside=("train_sizes",),
        ),
    },
    claims=CLAIMS,
    figures=figures,
    deviations=(
        "MNIST-1D and an MLP at smoke and laptop scale instead of CIFAR-10; its noisy labels differ from seed to seed.",
        "All numbers of samples are trained for the same number of epochs.",
        "Images are standardised by channel. Weights start as in PyTorch.",
    ),
)
