"""On the spectral bias of neural networks (Rahaman et al. 2019).

Networks learn the low frequencies of a function first, even where the higher ones have larger amplitudes. For wide
networks on a circle the kernel says why (Basri et al. 2019): sines and cosines of frequency k are the eigenfunctions of
the neural tangent kernel of one hidden ReLU layer, their eigenvalues λ_k fall as k^−2, and under gradient flow on half the
mean squared error the error in frequency k falls as e^(−λ_k t). On the circle x = (cos θ, sin θ), with σ_w² = 2 and no
biases, the kernel of two points at an angle θ is (sin θ + 2(π − θ) cos θ)/π, and

    λ_1 = 1/2,    λ_k = (2/π²)(k² + 3)/(k² − 1)² for even k,    λ_k = 0 for odd k ≥ 3,

so that odd frequencies above the first cannot be learned; with biases of variance β², all can, and k² λ_k → √(1 + β²)/π²,
the kink of the kernel at θ = 0. (Rahaman et al.: ICML 2019, arXiv 1806.08734; Basri et al.: NeurIPS 2019, arXiv 1906.00425.)
"""

from dataclasses import dataclass
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.tree_util import Partial

import dlmath as dm
from dlmath.repro import AtLeast, AtMost, Claim, Curve, Equal, Experiment, Slope, Study


@dataclass(frozen=True)
class Config:
    """Settings."""

    biases: tuple[float, ...] = (0.0, 1.0)
    """Standard deviations β of the hidden biases in the kernel on the circle."""
    num_points: int = 2**15
    """Points on the circle that the kernel's Fourier coefficients are computed from."""
    max_frequency: int = 200
    """Largest frequency k whose eigenvalue is kept."""
    frequencies: tuple[int, ...] = (1, 2, 3, 4, 6)
    """Frequencies of the target on the circle, a sum of sines of amplitude 1."""
    alphas: tuple[float, ...] = (1.0, 32.0)
    """Scales α of the networks of one hidden layer that learn it: 1 for an ordinary one, large ones to be lazy."""
    circle_width: int = 512
    """Units of these networks."""
    num_angles: int = 32
    """Training points on the circle, evenly spaced."""
    scaled_rate: float = 1.0
    """Step size η on the circle, in units of 1/λ_0."""
    num_steps: int = 1500
    """Steps of gradient descent on the circle, full batch."""
    fraction: float = 0.5
    """Part of a sine's amplitude at which its frequency counts as learned."""
    sine_frequencies: tuple[int, ...] = (1, 2, 3, 4)
    """Frequencies of the targets on the interval [−1, 1)."""
    amplitudes: tuple[str, ...] = ("equal", "increasing")
    """Amplitudes of the targets on the interval: all 1, or rising linearly with the frequency up to 1."""
    num_samples: int = 64
    """Training points on the interval, evenly spaced."""
    depth: int = 3
    """Hidden layers of the networks on the interval."""
    width: int = 64
    """Units of each of them."""
    adam_steps: int = 500
    """Steps of Adam on the interval, full batch."""
    adam_rate: float = 1e-3
    """Step size of Adam."""
    num_seeds: int = 10
    """Networks; each has its own phases of the sines."""


SCALES = {
    "smoke": Config(),
    "laptop": Config(
        frequencies=(1, 2, 3, 4, 6, 8),
        alphas=(1.0, 4.0, 32.0),
        circle_width=2048,
        num_steps=3000,
        sine_frequencies=(2, 4, 6, 8, 10),
        num_samples=100,
        depth=4,
        width=128,
        adam_steps=3000,
    ),
    "paper": Config(
        frequencies=(1, 2, 3, 4, 6, 8, 10, 12),
        alphas=(1.0, 4.0, 32.0),
        circle_width=8192,
        num_angles=64,
        num_steps=10_000,
        sine_frequencies=(5, 10, 15, 20, 25, 30, 35, 40, 45, 50),
        num_samples=200,
        depth=6,
        width=256,
        adam_steps=60_000,
        adam_rate=3e-4,
    ),
}


# The spectrum on the circle -------------------------------------------------------------------------------------------


def theory(config, frequency):
    """λ_k of the kernel without biases, [k]: a closed form for every k ≥ 0."""
    k = np.asarray(frequency, float)
    even = 2 / np.pi**2 * (k**2 + 3) / np.where(k == 1, 1, k**2 - 1) ** 2
    return np.where(k == 1, 0.5, np.where(k % 2 == 0, even, 0.0))


def kink(bias):
    """The limit √(1 + β²)/π² of k² λ_k for β > 0."""
    return np.sqrt(1 + bias**2) / np.pi**2


def circle(angles):
    """Points [n, 2] at angles [n]."""
    return jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=1)


@cache
def network(width, bias):
    """One hidden layer in the NTK parameterization; the same object for the same numbers, so that it compiles once."""
    return dm.models.mlp([width], 1, parameterization="ntk", bias_std=(bias, 0.0))


def eigenvalues(bias, num_points):
    """Fourier coefficients λ_k of the kernel on evenly spaced points, k = 0, …, num_points/2."""
    angles = 2 * jnp.pi * jnp.arange(num_points) / num_points
    row = network(1, bias).kernel(circle(angles[:1]), circle(angles))[0]
    return np.fft.rfft(np.asarray(row)).real / num_points


def measure_circle(config, key, *, bias):
    """The spectrum of one kernel; nothing in it is random."""
    frequency = np.arange(config.max_frequency + 1)
    return {
        "frequency": ("frequency", frequency),
        "eigenvalue": ("frequency", eigenvalues(bias, config.num_points)[frequency]),
    }


# Learning sums of sines -----------------------------------------------------------------------------------------------


def coefficients(values, frequencies):
    """Complex amplitudes of the frequencies in evenly spaced values [..., n] of one period, [..., frequency]."""
    return 2 / values.shape[-1] * jnp.fft.rfft(values)[..., np.array(frequencies)]


def nothing(params):
    return ()


def record_errors(frequencies, apply, x, y, amplitudes, state, params, opt_state, step):
    """A probe's update: the error in each frequency, relative to its amplitude."""
    return state, jnp.abs(coefficients(apply(params, x)[:, 0] - y, frequencies)) / amplitudes


@partial(jax.jit, static_argnames=("model", "optimizer", "frequencies", "num_steps"))
def learn(keys, model, optimizer, rate, x, frequencies, amplitudes, num_steps, alpha=None):
    """Errors [seed, record, frequency] in the sines of Σ A_k sin(kθ + φ_k), relative to A_k; α centres and scales."""
    period = 2 * jnp.pi * jnp.arange(len(x)) / len(x)

    def one(key):
        init_key, phase_key, fit_key = jax.random.split(key, 3)
        phases = jax.random.uniform(phase_key, (len(frequencies),), maxval=2 * jnp.pi)
        y = (amplitudes * jnp.sin(period[:, None] * np.array(frequencies) + phases)).sum(1)
        params = model.init(init_key, x)
        apply, loss = model.apply, dm.train.losses.half_mse
        if alpha is not None:
            apply, loss = dm.ntk.lazy(apply, params, alpha), dm.ntk.lazy_loss(loss, alpha)
        record = Partial(partial(record_errors, frequencies), apply, x, y, amplitudes)
        return dm.train.fit(
            fit_key, apply, loss, params, (x, y[:, None]), optimizer,
            hyperparameters={"learning_rate": rate}, num_steps=num_steps, every=records(num_steps),
            probes={"errors": dm.typing.Probe(nothing, record)},
        ).probes["errors"]  # fmt: skip

    return jax.vmap(one)(keys)


def records(num_steps):
    """Steps to record at, about 2 % apart, which is how precisely the time is known at which a level is crossed."""
    return dm.train.log_steps(num_steps, num_points=min(num_steps, 350))


def first_at(errors, steps, level):
    """The step [...] at which errors [..., record, frequency] are first down to the level, infinite if they never are.

    Between records errors are taken to fall exponentially.
    """
    log, steps = np.log(np.maximum(errors, 1e-300)) - np.log(level), np.asarray(steps, float)[:, None]
    below = log <= 0
    after = below.argmax(-2)
    before = np.maximum(after - 1, 0)
    at = lambda values, index: np.take_along_axis(values, index[..., None, :], -2)[..., 0, :]
    start, end = (at(np.broadcast_to(steps, log.shape), index) for index in (before, after))
    high, low = at(log, before), at(log, after)
    part = np.where(after > 0, high / np.where(high > low, high - low, 1), 0)
    return np.where(below.any(-2), start + part * (end - start), np.inf)


def measure_descent(config, keys, *, alpha):
    """Networks of one hidden layer on the circle, and the times that the kernel of infinite width expects."""
    bias = max(config.biases)
    x = circle(2 * jnp.pi * jnp.arange(config.num_angles) / config.num_angles)
    # Evenly spaced points have sines as eigenvectors, too; their eigenvalues are those of the circle, folded.
    spectrum = eigenvalues(bias, config.num_angles)
    rate = config.scaled_rate / spectrum[0]
    ones = jnp.ones(len(config.frequencies))
    model = network(config.circle_width, bias)
    errors = learn(keys, model, optax.sgd, rate, x, config.frequencies, ones, config.num_steps, alpha)
    steps, level = records(config.num_steps), 1 - config.fraction
    return {
        "learned": ("learned", np.array(config.frequencies)),
        "step": ("step", np.asarray(steps)),
        "error": (("seed", "step", "learned"), errors),
        "time": (("seed", "learned"), first_at(errors, steps, level)),
        "expected": ("learned", np.log(level) / np.log(1 - rate * spectrum[np.array(config.frequencies)])),
    }


@cache
def deep_network(depth, width):
    """Hidden layers of one width; biases in the first, so that its kinks lie all over the interval."""
    return dm.models.mlp([width] * depth, 1, bias_std=(2**0.5, *[0.0] * depth))


def measure_interval(config, keys, *, amplitude):
    """Deep networks on the interval [−1, 1), trained by Adam."""
    num = len(config.sine_frequencies)
    x = 2 * (jnp.arange(config.num_samples) / config.num_samples)[:, None] - 1
    amplitudes = jnp.ones(num) if amplitude == "equal" else jnp.arange(1, num + 1) / num
    model = deep_network(config.depth, config.width)
    errors = learn(keys, model, optax.adam, config.adam_rate, x, config.sine_frequencies, amplitudes, config.adam_steps)
    steps = records(config.adam_steps)
    return {
        "sine": ("sine", np.array(config.sine_frequencies)),
        "step": ("step", np.asarray(steps)),
        "error": (("seed", "step", "sine"), errors),
        "time": (("seed", "sine"), first_at(errors, steps, 1 - config.fraction)),
    }


# What is claimed ------------------------------------------------------------------------------------------------------


def _spectrum(config, r, bias, frequencies):
    return r["circle/eigenvalue"].sel(bias=bias, frequency=frequencies)


def _delay(times, axis):
    """The smallest ratio of the times of a frequency and the one below it."""
    times = times.sortby(axis)
    return (times.shift({axis: -1}) / times).isel({axis: slice(None, -1)}).min(axis, skipna=False)


def _spectrum_claim(name, statement, expect, statistic, source, bias, basis="paper"):
    return Claim(
        name, statement, source=source, expect=expect, statistic=statistic, basis=basis,
        needs=lambda config: bias in config.biases and config.max_frequency >= 200,
    )  # fmt: skip


def _interval_claim(amplitude, statement):
    return Claim(
        f"order-{amplitude}", statement, source="Rahaman et al., Section 4, Experiment 1", expect=AtLeast(1.0),
        statistic=lambda config, r: _delay(r["interval/time"].sel(amplitude=amplitude), "sine"),
        needs=lambda config: amplitude in config.amplitudes,
    )  # fmt: skip


CLAIMS = (
    _spectrum_claim("with-bias",
        "with biases the eigenvalues fall as k^−2: the slope over k = 20, …, 200, odd and even",
        Slope(-2.0, along="frequency", atol=0.02),
        lambda config, r: _spectrum(config, r, 1.0, slice(20, 200)), "Basri et al., Section 4.1", 1.0),
    _spectrum_claim("kink",
        "k² λ_k approaches √(1 + β²)/π², here at k = 199",
        Equal(kink(1.0), rtol=0.01),
        lambda config, r: 199**2 * _spectrum(config, r, 1.0, 199), "our derivation", 1.0, "formula"),
    _spectrum_claim("without-bias-odd",
        "without biases odd frequencies k ≥ 3 cannot be learned: their eigenvalues vanish",
        AtMost(1e-14),
        lambda config, r: abs(_spectrum(config, r, 0.0, slice(3, 199, 2))).max("frequency"),
        "Basri et al., Section 4.1", 0.0),
    _spectrum_claim("without-bias-even",
        "without biases those of even k fall as k^−2",
        Slope(-2.0, along="frequency", atol=0.02),
        lambda config, r: _spectrum(config, r, 0.0, slice(20, 200, 2)), "Basri et al., Section 4.1", 0.0),
    _spectrum_claim("closed-form",
        "without biases all of them are (2/π²)(k² + 3)/(k² − 1)² or 0, and 1/2 at k = 1",
        Curve(theory, atol=1e-9),
        lambda config, r: _spectrum(config, r, 0.0, slice(0, 200)), "our integral of Bietti and Mairal's kernel", 0.0,
        "formula"),
    Claim("order-circle",
        "on the circle gradient descent learns lower frequencies first, in every pair of neighbours",
        source="Rahaman et al., Section 4; Basri et al., Section 5", expect=AtLeast(1.0),
        statistic=lambda config, r: _delay(r["descent/time"].sel(alpha=1.0), "learned"),
        needs=lambda config: 1.0 in config.alphas),
    Claim("times",
        "lazy networks take the steps that the kernel's eigenvalues say: the error in frequency k falls by 1 − ηλ_k a step",
        source="Basri et al., Section 5", basis="formula",
        expect=Curve(lambda config, learned: np.ones(learned.shape), rtol=0.2),
        statistic=lambda config, r: (r["descent/time"] / r["descent/expected"]).sel(alpha=max(config.alphas)),
        needs=lambda config: max(config.alphas) >= 32),
    _interval_claim("equal", "deep networks under Adam learn sines of equal amplitude from the lowest frequency up"),
    _interval_claim("increasing", "and so they do where the amplitude rises with the frequency"),
)  # fmt: skip


# What is drawn --------------------------------------------------------------------------------------------------------


@dm.plot.style()
def figures(config, results):
    """The spectra on the circle; errors by frequency over time, on the circle and on the interval."""
    spectra = dm.plot.figure("column")
    ax = spectra.subplots()
    ax.set(xscale="log", yscale="log", xlabel="frequency $k$", ylabel=r"eigenvalue $\lambda_k$", ylim=(1e-6, 2))
    for bias in config.biases:
        values = results["circle/eigenvalue"].sel(bias=bias).isel(frequency=slice(1, None))
        shown = values.where(values > 1e-12)
        label = rf"biases of variance {bias**2:g}" if bias else "no biases (odd $k \\geq 3$: 0)"
        ax.plot(shown["frequency"], shown, "o", markersize=2, label=label)
    k = np.arange(2, config.max_frequency + 1, 2)
    ax.plot(k, theory(config, k), label=r"$(2/\pi^2)(k^2+3)/(k^2-1)^2$", **dm.plot.THEORY)
    ax.legend()
    drawn = {"spectra": spectra}

    for study, axis, variable, title in (
        ("descent", "learned", "alpha", r"one hidden layer, $\alpha = {:g}$"),
        ("interval", "sine", "amplitude", "{} amplitudes"),
    ):
        error = results[f"{study}/error"]
        points = list(error[variable].values)
        figure = dm.plot.figure("page", height=2.7)
        axes = figure.subplots(1, len(points), sharey=True, squeeze=False)[0]
        for ax, point in zip(axes, points, strict=True):
            ax.set(xscale="log", yscale="log", xlabel="step", title=title.format(point), ylim=(1e-3, 10))
            for color, frequency in zip(dm.plot.COLORS * 2, error[axis].values, strict=False):
                values = (
                    error.sel({variable: point, axis: frequency}).transpose("seed", "step").isel(step=slice(1, None))
                )
                dm.plot.curve_with_theory(ax, "step", values, errors="band", label=f"$k = {frequency}$", color=color)
                ax.set(xlabel="step", ylabel="")
                if study == "descent":
                    step = results["descent/expected"].sel({variable: point, axis: frequency}).item()
                    ax.plot(step, 1 - config.fraction, "|", color="black", markersize=9, markeredgewidth=1.4, zorder=4)
            ax.axhline(1 - config.fraction, color="0.6", linestyle=":")
        axes[0].set_ylabel("error in frequency $k$ [of its amplitude]")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=8)
        drawn[study] = figure
    return drawn


EXPERIMENT = Experiment(
    Config,
    SCALES,
    studies={
        "circle": Study(measure_circle, over={"bias": "biases"}, num_seeds=None),
        "descent": Study(measure_descent, over={"alpha": "alphas"}, seeds_per_unit=10, inside=("biases",)),
        "interval": Study(measure_interval, over={"amplitude": "amplitudes"}, seeds_per_unit=10),
    },
    claims=CLAIMS,
    figures=figures,
    precision="float64",
    deviations=(
        "On the interval smoke and laptop scale have lower frequencies, smaller networks and fewer steps.",
        "Networks on the interval start from He's variances and biases of variance 2 in the first layer.",
        "Steps until an error first falls to half of the amplitude stand for whole spectra over time.",
        "How frequencies survive perturbations of the parameters is not measured, nor are images.",
        "Basri et al. draw inputs at random and use biases of other variances; ours are evenly spaced.",
    ),
)
