"""Double descent of random features (Mathematical Foundations of Deep Neural Networks, SNU, homework 6, problem 5).

Ridge regression on p random ReLU features φ_j(x) = max(w_j·x, 0), w_j ~ N(0, I/p), of n = 300 points of a linear model
y = β·x + ε in d = 35 dimensions, ‖β‖ = 1, ε ~ N(0, 1/4):

    θ = (Σ φ(x_i)φ(x_i)ᵀ + λI)⁻¹ Σ φ(x_i) y_i.

With the small penalty λ = .01 the test error peaks at p = n. With λ chosen on a validation set for every p, it does not.
The sheet shows one draw, that of NumPy's seed 0, and calls the 2-norm of its 30 test errors a test error: the root mean
square is that norm over √30.
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

    num_features: tuple[int, ...] = (101, 181, 211, 241, 271, 291, 301, 311, 331, 361, 401, 491, 1491)
    """Features p."""
    num_train: int = 300
    """Training points n."""
    num_inputs: int = 35
    """Dimension d."""
    noise_std: float = 0.5
    """Standard deviation of the noise of training targets; validation and test targets have none."""
    num_validation: int = 60
    """Points on which λ is chosen."""
    num_test: int = 30
    """Test points."""
    penalty: float = 0.01
    """The fixed λ."""
    num_seeds: int = 20
    """Draws of β, data and features."""
    course_features: tuple[int, ...] = (101, 201, 291, 301, 311, 321, 331, 341, 351, 361, 401, 1491)
    """Features p at which the draw of the sheet is solved, among its 1, 11, …, 1491."""


SCALES = {
    "smoke": Config(),
    "laptop": Config(
        num_features=tuple(range(1, 1501, 10)), num_seeds=40, course_features=tuple(range(1, 1501, 10)),
    ),
}  # fmt: skip

PENALTIES = tuple(2.0**i for i in range(-6, 6))
GRID = range(1, 1501, 10)


# What is measured -----------------------------------------------------------------------------------------------------


def measure(config, keys):
    """Root mean square test errors over p, for the fixed and for the tuned penalty."""
    found = [measure_one(config, key) for key in keys]
    fixed, tuned, chosen = (np.stack(values) for values in zip(*found, strict=True))
    return {
        "p": ("p", np.array(config.num_features)),
        "fixed": (("seed", "p"), fixed),
        "tuned": (("seed", "p"), tuned),
        "chosen": (("seed", "p"), chosen),
    }


def measure_one(config, key):
    """(error at the fixed λ, error at the chosen λ, chosen λ), each [p], for one draw."""
    beta_key, train_key, noise_key, held_key, feature_key = jax.random.split(key, 5)
    n, d = config.num_train, config.num_inputs
    beta = jax.random.normal(beta_key, (d,))
    beta = beta / jnp.linalg.norm(beta)
    x = jax.random.normal(train_key, (n, d))
    y = x @ beta + config.noise_std * jax.random.normal(noise_key, (n,))
    held = jax.random.normal(held_key, (config.num_validation + config.num_test, d))
    features = dm.double_descent.feature_map(feature_key, d, max(config.num_features), kind="relu")
    # The library's features are max(g·x/√d, 0) and its loss a mean: the sheet's are √(d/p) times as large.
    p = np.array(config.num_features)
    penalties = np.array([config.penalty, *PENALTIES]) * p[:, None] / (d * n)
    split = config.num_validation
    sweep = dm.double_descent.ridge_sweep(
        features, (x, y), p.tolist(), penalties, test=(held, held @ beta), scores={"squares": squares_of}
    )
    squares = np.asarray(sweep.test["squares"])
    return select(squares[..., :split], squares[..., split:])


def squares_of(outputs, targets):
    """(f − y)² of every point."""
    return (outputs - targets) ** 2


def select(validation, test):
    """From squares [p, 1 + penalty, point], the fixed λ first: errors at the fixed and the chosen λ, and that λ."""
    test = np.sqrt(test.mean(-1))
    best = validation[:, 1:].mean(-1).argmin(-1)
    return test[:, 0], np.take_along_axis(test[:, 1:], best[:, None], 1)[:, 0], np.array(PENALTIES)[best]


def measure_course(config, keys):
    """The draw of the sheet: 2-norms of the test errors over p."""
    data, features = course_draw(config)
    (x, y), (x_validation, y_validation), (x_test, y_test) = data
    held = np.concatenate([x_validation, x_test])
    targets = np.concatenate([y_validation, y_test])
    found = {p: np.maximum(np.concatenate([x, held]) @ w.T, 0) for p, w in features if p in config.course_features}
    penalties = jnp.array([config.penalty, *PENALTIES])
    grams = jnp.array([z @ z[: len(x)].T for z in found.values()])
    squares = (dual_ridge(grams, jnp.array(y), penalties) - targets) ** 2
    fixed, tuned, chosen = select(*np.split(np.asarray(squares), [config.num_validation], axis=-1))
    root = np.sqrt(config.num_test)
    return {
        "p": ("p", np.array(list(found))),
        "fixed": ("p", root * fixed),
        "tuned": ("p", root * tuned),
        "chosen": ("p", chosen),
        "null": np.linalg.norm(y_test),
    }


def course_draw(config):
    """((x, y) of training, validation and test), and an iterator of (p, weights [p, d]), as the sheet draws them."""
    draws = np.random.RandomState(0)
    d = config.num_inputs
    beta = draws.randn(d)
    beta = beta / np.linalg.norm(beta)
    # The sheet draws every point from a multivariate normal law of unit covariance: d normal numbers in their order.
    x = draws.randn(config.num_train, d)
    y = x @ beta + draws.normal(0.0, config.noise_std, size=config.num_train)
    x_validation, x_test = draws.randn(config.num_validation, d), draws.randn(config.num_test, d)
    weights = ((p, draws.normal(0, 1 / np.sqrt(p), size=(p, d))) for p in GRID)
    return ((x, y), (x_validation, x_validation @ beta), (x_test, x_test @ beta)), weights


@jax.jit
def dual_ridge(grams, y, penalties):
    """Outputs [p, penalty, m] at the other points, from inner products [p, n + m, n] of features."""

    def one(gram):
        values, vectors = jnp.linalg.eigh(gram[: len(y)])
        dual = (vectors.T @ y) / (values + penalties[:, None])
        return dual @ (gram[len(y) :] @ vectors).T

    return jax.lax.map(one, grams)


# What is claimed ------------------------------------------------------------------------------------------------------


def around(array, config, ratio):
    """Mean of a curve over the p within 11 % of ratio · n."""
    p = array["p"] / (ratio * config.num_train)
    return array.sel(p=array["p"][abs(p - 1) < 0.11]).mean("p", skipna=False)


def rise(config, array, ratio):
    """How much a curve is higher around n than around ratio · n, in every seed."""
    return around(array, config, 1.0) - around(array, config, ratio)


def _has(config, *ratios):
    return all(any(abs(p / (ratio * config.num_train) - 1) < 0.11 for p in config.num_features) for ratio in ratios)


def _course_claim(name, statement, p, value, statistic):
    return Claim(
        f"course-{name}",
        statement,
        source="homework 6, problem 5, its data; NumPy",
        basis="independent",
        expect=Equal(value, atol=0.005),
        statistic=lambda config, r: r[f"course/{statistic}"].sel(p=p),
        needs=lambda config: p in config.course_features,
    )


CLAIMS = (
    Claim(
        "peak",
        "with the fixed λ = .01 the mean test error peaks at p = n",
        source="homework 6, problem 5",
        expect=Equal(300, atol=30),
        statistic=lambda config, r: r["random/fixed"].mean("seed", skipna=False).idxmax("p"),
        needs=lambda config: _has(config, 0.6, 1.0, 1.35),
    ),
    Claim(
        "fixed-rises",
        "the error there is above those at .6 n and at 1.35 n",
        source="homework 6, problem 5",
        expect=AtLeast(0.0),
        statistic=lambda config, r: np.minimum(
            rise(config, r["random/fixed"], 0.6), rise(config, r["random/fixed"], 1.35)
        ),
        needs=lambda config: _has(config, 0.6, 1.0, 1.35),
    ),
    Claim(
        "tuned-falls",
        "with λ chosen on a validation set there is no peak at p = n: the error there is not above that at .6 n",
        source="homework 6, problem 5",
        expect=AtMost(0.0),
        statistic=lambda config, r: rise(config, r["random/tuned"], 0.6),
        needs=lambda config: _has(config, 0.6, 1.0),
    ),
    Claim(
        "tuning-helps",
        "and the error at p = n is less than half of that with the fixed λ",
        source="homework 6, problem 5; the factor is ours",
        expect=AtMost(0.5),
        statistic=lambda config, r: (
            around(r["random/tuned"], config, 1.0).mean("seed", skipna=False)
            / around(r["random/fixed"], config, 1.0).mean("seed", skipna=False)
        ),
        needs=lambda config: _has(config, 1.0),
    ),
    _course_claim(
        "peak", "in the draw of the sheet the 2-norm of the test errors is 10.41 at p = 341", 341, 10.41, "fixed"
    ),
    Claim(
        "course-peak-rmse",
        "which is a root mean square error of 1.90",
        source="homework 6, problem 5, its data; NumPy",
        basis="independent",
        expect=Equal(1.90, atol=0.005),
        statistic=lambda config, r: r["course/fixed"].sel(p=341) / config.num_test**0.5,
        needs=lambda config: 341 in config.course_features,
    ),
    Claim(
        "course-place",
        "and its peak is there, not at 301",
        source="homework 6, problem 5, its data; NumPy",
        basis="independent",
        expect=Equal(341),
        statistic=lambda config, r: r["course/fixed"].idxmax("p"),
        needs=lambda config: {301, 341} <= set(config.course_features),
    ),
    _course_claim("threshold", "at p = 301 it is 7.42", 301, 7.42, "fixed"),
    _course_claim("end", "at p = 1491 it is 2.67", 1491, 2.67, "fixed"),
    _course_claim("tuned-threshold", "with the tuned λ it is 1.74 at p = 301", 301, 1.74, "tuned"),
    _course_claim("tuned-end", "and 1.21 at p = 1491", 1491, 1.21, "tuned"),
)


# What is drawn --------------------------------------------------------------------------------------------------------


@dm.plot.style()
def figures(config, results):
    """Root mean square errors over p: mean over draws, and the draw of the sheet."""
    figure = dm.plot.figure("column")
    ax = figure.subplots()
    names = {"fixed": f"$\\lambda = {config.penalty:g}$", "tuned": "$\\lambda$ tuned"}
    for (name, label), color in zip(names.items(), dm.plot.COLORS, strict=False):
        values = results[f"random/{name}"]
        n = config.num_train if name == "fixed" else None
        dm.plot.curve_with_theory(
            ax, values["p"].to_numpy(), values.transpose("seed", "p").to_numpy(), label=f"{label}, mean", color=color,
            threshold=n, threshold_label=None if n is None else "$p = n$",
        )  # fmt: skip
        course = results[f"course/{name}"]
        ax.plot(
            course["p"], course / config.num_test**0.5, ".", markersize=3, color=color, alpha=0.6,
            label=f"{label}, seed of the sheet",
        )  # fmt: skip
    ax.set(xlabel="features $p$", ylabel="test error (root mean square)", ylim=(0, None))
    ax.legend()
    return {"error": figure}


EXPERIMENT = Experiment(
    Config,
    SCALES,
    studies={"random": Study(measure, seeds_per_unit=5), "course": Study(measure_course, num_seeds=None)},
    claims=CLAIMS,
    figures=figures,
    precision="float64",
    deviations=(
        "Over draws, features are nested: those of p are the first of a larger number. The sheet draws them anew.",
        "Validation and test targets are free of noise, as in the sheet.",
    ),
)
