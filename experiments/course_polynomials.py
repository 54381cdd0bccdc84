"""Overfitting and regularisation of polynomials (Mathematical Foundations of Deep Learning, Chalmers, assignment B, part 2).

Polynomials Σ w_j x^j of degree k are fitted to noisy samples of a sine, by least squares or with the penalty λ:

    w = argmin Σ (y_i − Σ_j w_j x_i^j)² + λ‖w‖² = (XᵀX + λI)⁻¹ Xᵀy,      X_ij = x_i^j.

A degree close to the number of samples fits the noise: the test error is U-shaped in k. Cross-validation estimates it
without test data; with few folds it is pessimistic, as it trains on fewer samples than there are.
(The tests that come with the assignment, github.com/JanEGerken/ms-in-dnns, lecture_b, give data and expected values.)
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

import dlmath as dm
from dlmath.repro import AtLeast, AtMost, Claim, Equal, Experiment, Study


@dataclass(frozen=True)
class Config:
    """Settings."""

    num_train: int = 15
    """Training samples, x uniform on [0, 4π]."""
    num_test: int = 1000
    """Test samples of the same law."""
    noise_std: float = 0.1
    """Standard deviation of the noise."""
    max_degree: int = 15
    """Largest degree of the least-squares fits, from 1."""
    num_degrees: int = 12
    """Degrees of the ridge grid, from 1."""
    num_penalties: int = 8
    """Penalties λ of the ridge grid, evenly spaced in their logarithm from 1e-5 to 1."""
    num_seeds: int = 20
    """Draws of training and test samples."""
    fold_counts: tuple[int, ...] = (2, 3, 10, 120)
    """Numbers of folds, divisors of `num_samples`."""
    num_samples: int = 120
    """Samples for cross-validation."""
    cv_degree: int = 9
    """Degree of the cross-validated polynomial."""
    cv_penalty: float = 1e-3
    """Its λ."""
    num_cv_seeds: int = 100
    """Draws for cross-validation."""


SCALES = {
    "smoke": Config(),
    "laptop": Config(
        num_degrees=20, num_penalties=20, num_seeds=100,
        fold_counts=(2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 24, 30, 40, 60, 120),
    ),
}  # fmt: skip


# The data of the assignment's tests (lecture_b/test_assignment_b.py, MIT licence, Jan E. Gerken 2024) -----------------

FIT = (
    (0.1377927, 3.18282121, 3.94871818, 0.21755552, 2.83184582, 5.25984922, 1.54905588, 1.28398704, 3.74585624,
     2.63571538, 5.42734153, 5.5301249, 0.84069897, 4.64928294, 4.85561834),
    (0.19470327, 0.07359496, -0.5820897, 0.22862199, 0.26879298, -0.90162581, 0.87317454, 0.89257967, -0.47023807,
     0.57128352, -0.9386577, -0.64580977, 0.73815349, -1.02463808, -0.87399658),
)  # fmt: skip
WEIGHTS = {
    3: (-0.08964077, 1.6546026, -0.76734292, 0.08054144),
    5: (0.05245757, 0.93515607, -0.05160028, -0.17991612, 0.03895283, -0.00200736),
}
ERROR = (
    (6.16064329, 3.2552061, 2.03385056, 4.99551614, 5.30981947, 1.91732393, 5.4212663, 6.04051106, 5.7842464,
     0.63584688, 2.93676169, 4.57334735, 1.31680844, 5.10532143, 6.03536477),
    (-0.09549347, 0.06507871, 0.8829749, -1.07034546, -0.84969727, 0.94412178, -0.62025838, -0.05889668, -0.52770285,
     0.40337707, 0.22557007, -1.12680628, 1.07127133, -0.91808987, -0.07212472),
)  # fmt: skip
ERROR_WEIGHTS = (
    (0.0376539, 0.76123999, 0.25481408, -0.33637375, 0.07039374, -0.00419169),
    (-1.11677360e00, 1.26444746e01, -4.08671231e01, 6.88376527e01, -6.61923177e01, 3.90664243e01, -1.46520766e01,
     3.49536281e00, -5.12385788e-01, 4.19911708e-02, -1.47031706e-03),
)  # fmt: skip
ERRORS = (0.010232666137252305, 10.127925633650154)
RIDGE = (
    (0.97979506, 5.16416351, 1.98674194, 6.09261727, 0.03439108, 5.03558881, 2.64555768, 3.23996878, 2.40172317,
     4.36415694, 4.3372846, 1.32138691, 0.8314573, 5.44518683, 0.71934886),
    (1.00648233, -0.88302325, 0.98724393, -0.13357347, -0.01338053, -0.90958631, 0.42022606, -0.15369557, 0.5871545,
     -0.808337, -1.07670964, 1.02988653, 0.72597847, -1.01115495, 0.73044141),
)  # fmt: skip
RIDGE_WEIGHTS = (0.03617548, 1.57560011, -0.76768321, 0.08239452)
VALIDATION = (
    (2.10440002, 6.27682366, 2.25247212, 0.37991638, 4.10771361, 5.61249705, 2.19598422, 2.75318597, 4.13390109,
     4.7471436, 4.2115332, 2.48888977, 2.53762697, 4.32005136, 2.37425901),
    (0.75402805, 0.0267855, 0.79573682, 0.33973729, -0.79424256, -0.55980208, 0.88203352, 0.43723684, -0.70578681,
     -0.8574338, -0.87851318, 0.5905476, 0.68014176, -1.00464002, 0.70858535),
)  # fmt: skip
VALIDATION_ERROR = 0.1172921665191103


# What is measured -----------------------------------------------------------------------------------------------------


def ridge_weights(x, y, degree, penalty):
    """The assignment's ridge weights [k + 1]: its loss is a sum where the library's is a mean."""
    return dm.double_descent.polynomial_fit(x, y, degree, penalty=penalty / len(x))


def mean_square_error(x, y, weights):
    """Mean square error of the polynomial with given weights."""
    return jnp.mean((dm.double_descent.polynomial_features(x, len(weights) - 1) @ weights - y) ** 2)


def cross_validated(x, y, degree, penalty, num_folds):
    """The assignment's k-fold cross-validation: folds of consecutive samples, λ not per sample."""
    rest = len(x) - len(x) // num_folds
    features = dm.double_descent.polynomial_features(x, degree)
    return dm.double_descent.cross_validation(features, y, penalty / rest, num_folds=num_folds).value


def measure_given(config, keys):
    """Largest deviations from what the tests of the assignment expect, and those that rounding of their data allows."""
    power_fit = dm.double_descent.polynomial_fit
    given = {
        "weights_3": (lambda x, y: power_fit(x, y, 3), FIT, WEIGHTS[3]),
        "weights_5": (lambda x, y: power_fit(x, y, 5), FIT, WEIGHTS[5]),
        "error_5": (mean_square_error, (*ERROR, ERROR_WEIGHTS[0]), ERRORS[0]),
        "error_10": (mean_square_error, (*ERROR, ERROR_WEIGHTS[1]), ERRORS[1]),
        "ridge": (lambda x, y: ridge_weights(x, y, 3, 0.1), RIDGE, RIDGE_WEIGHTS),
        "cross_validation": (lambda x, y: cross_validated(x, y, 8, 0.1, 3), VALIDATION, VALIDATION_ERROR),
    }
    found = {}
    for name, (function, data, expected) in given.items():
        ends = np.cumsum([len(part) for part in data])[:-1].tolist()
        flat = jax.jit(lambda numbers, f=function, ends=ends: jnp.atleast_1d(f(*jnp.split(numbers, ends))))
        numbers = jnp.array(np.concatenate(data))
        deviation = np.abs(np.asarray(flat(numbers)) - np.array(expected))
        # To first order; expected values of full precision bring no rounding of their own.
        allowed = np.abs(np.asarray(jax.jacfwd(flat)(numbers))) @ np.concatenate([half_unit(part) for part in data])
        found[name] = deviation.max()
        found[f"{name}_relative"] = (deviation / (allowed + half_unit(expected))).max()
    return found


def half_unit(numbers):
    """Half a unit in the last digit of numbers printed by NumPy: eight decimals, of mantissas if they differ a lot."""
    size = np.abs(np.atleast_1d(numbers))
    if np.ndim(numbers) == 0:
        return np.zeros(1)
    scientific = size.max() > 1000 * size.min()
    return 0.5e-8 * (10 ** np.floor(np.log10(size)) if scientific else np.ones_like(size))


def draw(key, num_samples, noise_std):
    """(x, y): a sine with noise at uniform points of [0, 4π]."""
    x_key, noise_key = jax.random.split(key)
    x = 4 * jnp.pi * jax.random.uniform(x_key, (num_samples,))
    return x, jnp.sin(x) + noise_std * jax.random.normal(noise_key, (num_samples,))


def measure_degrees(config, keys):
    """Test errors of least squares over the degree, and of ridge regression over degree and penalty."""
    degrees = np.arange(1, config.max_degree + 1)
    ridge_degrees = np.arange(1, config.num_degrees + 1)
    penalties = np.logspace(-5, 0, config.num_penalties)

    def one(key):
        train_key, test_key = jax.random.split(key)
        train = draw(train_key, config.num_train, config.noise_std)
        test = draw(test_key, config.num_test, config.noise_std)
        least_squares = [
            mean_square_error(*test, dm.double_descent.polynomial_fit(*train, int(degree))) for degree in degrees
        ]
        ridge = [
            jax.vmap(lambda weights: mean_square_error(*test, weights))(
                ridge_weights(*train, int(degree), jnp.array(penalties))
            )
            for degree in ridge_degrees
        ]
        return jnp.stack(least_squares), jnp.stack(ridge)

    least_squares, ridge = jax.jit(lambda keys: jax.lax.map(one, keys))(keys)
    return {
        "degree": ("degree", degrees),
        "ridge_degree": ("ridge_degree", ridge_degrees),
        "penalty": ("penalty", penalties),
        "error": (("seed", "degree"), least_squares),
        "ridge_error": (("seed", "ridge_degree", "penalty"), ridge),
    }


def measure_folds(config, keys, *, num_folds):
    """Cross-validated error of one polynomial, beside its true one."""

    def one(key):
        train_key, test_key = jax.random.split(key)
        x, y = draw(train_key, config.num_samples, config.noise_std)
        weights = ridge_weights(x, y, config.cv_degree, config.cv_penalty)
        true = mean_square_error(*draw(test_key, config.num_test, config.noise_std), weights)
        return cross_validated(x, y, config.cv_degree, config.cv_penalty, num_folds), true

    estimate, true = jax.jit(lambda keys: jax.lax.map(one, keys))(keys)
    return {"estimate": estimate, "true": true}


# What is claimed ------------------------------------------------------------------------------------------------------


PLACES = {
    "weights_3": ("the weights of a cubic fitted to 15 points", "test_fit_poly"),
    "weights_5": ("the weights of a quintic", "test_fit_poly"),
    "error_5": ("the mean square error of a polynomial of degree 5", "test_mse_poly"),
    "error_10": ("that of one of degree 10", "test_mse_poly"),
    "ridge": ("the weights of a ridge fit", "test_ridge_fit_poly"),
    "cross_validation": ("the cross-validated error", "test_perform_cv"),
}

FAILS = {
    "error_5": "data and weights as printed there have the error 0.01209: the value given, 0.01023, is of other data, and "
    "only the tolerance of that test, 0.01, lets it pass",
}

CLAIMS = (
    *(
        Claim(
            name.replace("_", "-"),
            f"{what}: as far from the value given as the rounding of the data given allows, in units of that",
            source=f"assignment B, {place}",
            expect=AtMost(1.0),
            statistic=lambda config, r, name=name: r[f"given/{name}_relative"],
            fails=FAILS.get(name, ""),
        )
        for name, (what, place) in PLACES.items()
    ),
    *(
        Claim(
            f"{name.replace('_', '-')}-digits",
            f"{PLACES[name][0]}: as given up to 1e-8",
            source=f"assignment B, {PLACES[name][1]}",
            expect=AtMost(1e-8),
            statistic=lambda config, r, name=name: r[f"given/{name}"],
        )
        for name in ("weights_3", "ridge")
    ),
    *(
        Claim(
            f"{name.replace('_', '-')}-tolerance",
            f"{PLACES[name][0]}: as given up to 0.01, the tolerance of that test",
            source=f"assignment B, {PLACES[name][1]}",
            expect=AtMost(0.01),
            statistic=lambda config, r, name=name: r[f"given/{name}"],
        )
        for name in ("error_5", "error_10")
    ),
    Claim(
        "overfits",
        "a degree of 14, which fits all 15 points, errs more than ten times as much as the best degree (ten is ours)",
        source="assignment B, 2.c",
        expect=AtLeast(10.0),
        statistic=lambda config, r: _median(r).sel(degree=14) / _median(r).min("degree"),
        needs=lambda config: config.num_train == 15 and config.max_degree >= 14,
    ),
    Claim(
        "u-shape",
        "the best degree is in between: neither the smallest nor the one that fits all points",
        source="assignment B, 2.c",
        expect=Equal(7.5, atol=5.5),
        statistic=lambda config, r: _median(r).idxmin("degree"),
        needs=lambda config: config.num_train == 15 and config.max_degree >= 14,
    ),
    Claim(
        "folds",
        "with two folds the cross-validated error is larger than with as many folds as samples, in the median draw",
        source="assignment B, 2.e",
        expect=AtLeast(0.0),
        statistic=lambda config, r: (
            r["folds/estimate"].sel(num_folds=2) - r["folds/estimate"].sel(num_folds=120)
        ).median("seed", skipna=False),
        needs=lambda config: {2, 120} <= set(config.fold_counts),
    ),
    Claim(
        "leave-one-out",
        "which is a nearly unbiased estimate: its mean is that of the test error up to a tenth of the latter",
        source="assignment B, 2.e; a tenth is ours",
        expect=Equal(1.0, atol=0.1),
        statistic=lambda config, r: (
            r["folds/estimate"].sel(num_folds=120).mean("seed", skipna=False)
            / r["folds/true"].sel(num_folds=120).mean("seed", skipna=False)
        ),
        needs=lambda config: 120 in config.fold_counts,
    ),
)


def _median(r):
    return r["degrees/error"].median("seed", skipna=False)


# What is drawn --------------------------------------------------------------------------------------------------------


@dm.plot.style()
def figures(config, results):
    """Test error over the degree, over degree and penalty, and cross-validated error over the number of folds."""
    figure = dm.plot.figure("page")
    degree_ax, grid_ax, fold_ax = figure.subplots(1, 3)
    error = results["degrees/error"]
    degree_ax.set_yscale("log")
    dm.plot.curve_with_theory(
        degree_ax, error["degree"].to_numpy(), error.transpose("seed", "degree").to_numpy(), kind="quartiles",
        label="median and quartiles",
    )  # fmt: skip
    degree_ax.axhline(config.noise_std**2, color="0.5", linestyle=":", label="noise")
    degree_ax.set(xlabel="degree $k$", ylabel="test error (mean square)")
    degree_ax.legend()

    grid = np.log10(results["degrees/ridge_error"].median("seed", skipna=False))
    penalty, degrees = grid["penalty"].to_numpy(), grid["ridge_degree"].to_numpy()
    image = grid_ax.pcolormesh(penalty, degrees, grid.transpose("ridge_degree", "penalty"), cmap="viridis")
    grid_ax.set(xscale="log", xlabel=r"penalty $\lambda$", ylabel="degree $k$")
    figure.colorbar(image, ax=grid_ax, label=r"$\log_{10}$ median test error")

    estimate, true = (results[f"folds/{name}"].transpose("seed", "num_folds") for name in ("estimate", "true"))
    folds, mean, spread = estimate["num_folds"].to_numpy(), estimate.mean("seed"), estimate.std("seed", ddof=1)
    (line,) = fold_ax.plot(folds, mean, "o-", label="cross-validated")
    fold_ax.fill_between(folds, np.maximum(mean - spread, 0), mean + spread, color=line.get_color(), alpha=0.25)
    fold_ax.axhline(float(true.mean()), color="0.3", linestyle="--", label="test error")
    fold_ax.set(xscale="log", xlabel="folds", ylabel="mean square error", ylim=(0, None))
    fold_ax.legend()
    return {"polynomials": figure}


EXPERIMENT = Experiment(
    Config,
    SCALES,
    studies={
        "given": Study(measure_given, num_seeds=None),
        "degrees": Study(measure_degrees, seeds_per_unit=20),
        "folds": Study(measure_folds, over={"num_folds": "fold_counts"}, num_seeds="num_cv_seeds", seeds_per_unit=20),
    },
    claims=CLAIMS,
    figures=figures,
    precision="float64",
    deviations=(
        "1,000 test samples instead of 10, so that a curve is that of the training samples.",
        "Least squares is solved by singular values: what rounding has lost of them at high degree is dropped.",
    ),
)
