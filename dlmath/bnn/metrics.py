"""How good predictions are, and how near two of them: one number each, means over points.

Class probabilities are [n, c], or [n] (also [n, 1]) for the probability of label 1 of two; labels are integers [n].

| on paper                                        | in code                                |
|-------------------------------------------------|----------------------------------------|
| −(1/n) Σᵢ log p(yᵢ)                             | `nll(log_density)`                     |
| (1/n Σᵢ ‖mᵢ − yᵢ‖²)^½                           | `rmse(mean, y)`                        |
| (1/n) Σᵢ Σ_c (p_ic − 1[yᵢ = c])²                | `brier(p, y)` (no Σ_c for [n])         |
| (1/n) Σᵢ ∫ (Fᵢ(t) − 1[t ≥ yᵢ])² dt              | `crps(mean, std, y)`, `crps_mixture`   |
| Σ_b (n_b/n) abs(acc_b − conf_b)                 | `ece(p, y)`, `reliability(p, y)`       |
| (1/n) Σᵢ 1[argmax pᵢ = argmax qᵢ]               | `agreement(p, q)`                      |
| (1/n) Σᵢ ½ Σ_c abs(p_ic − q_ic)                 | `total_variation(p, q)`                |
| P(s_out > s_in) + ½ P(s_out = s_in)             | `auroc(s_in, s_out)`                   |
"""

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dlmath import check

__all__ = [
    "Reliability", "accuracy", "agreement", "auroc", "brier", "crps", "crps_mixture", "ece", "entropy",
    "function_space_rhat", "mutual_information", "nll", "reliability", "rmse", "total_variation",
]  # fmt: skip

BINNINGS = ("equal_width", "equal_mass")


class Reliability(NamedTuple):
    """The data of a reliability diagram, by bin of confidence (the largest probability).

    Attributes:
        confidence: mean confidence of the points in a bin, NaN in an empty one, [bin].
        accuracy: fraction of them whose likeliest class is the label, likewise.
        standard_error: of the accuracy, √(a(1 − a)/count).
        count: points in the bin.
        edges: of the bins (low, high], [bin + 1]; the first also holds confidence 0.
    """

    confidence: Float[Array, " bin"]
    accuracy: Float[Array, " bin"]
    standard_error: Float[Array, " bin"]
    count: Any
    edges: Float[Array, " edge"]


def nll(log_density: Any) -> Float[Array, ""]:
    """The negative log likelihood −(1/n) Σᵢ log p(yᵢ), from `Predictive.log_density`.

    >>> float(nll(jnp.array([-1.0, -3.0])))
    2.0
    """
    return -jnp.mean(jnp.asarray(check.array("log_density", log_density, ndim=1, finite=False)))


def rmse(mean: Any, y: Any) -> Float[Array, ""]:
    """The root mean square error, summed over outputs: √((1/n) Σᵢ ‖mᵢ − yᵢ‖²).

    >>> float(rmse(jnp.zeros(2), jnp.array([3.0, 3.0])))
    3.0
    """
    mean, y = _same("mean", mean, "y", y)
    return jnp.sqrt(jnp.sum(jnp.square(mean - y)) / len(y))


def accuracy(probabilities: Any, labels: Any) -> Float[Array, ""]:
    """The fraction of points whose likeliest class is the label (the first of equals).

    >>> float(accuracy(jnp.array([[0.9, 0.1], [0.6, 0.4]]), jnp.array([0, 1])))
    0.5
    """
    p, labels = _classes("probabilities", probabilities, labels)
    return jnp.mean(jnp.argmax(p, -1) == labels, dtype=p.dtype)


def brier(probabilities: Any, labels: Any) -> Float[Array, ""]:
    """The Brier score (1/n) Σᵢ Σ_c (p_ic − 1[yᵢ = c])²; for probabilities [n] of label 1, (1/n) Σᵢ (pᵢ − yᵢ)², half of it.

    >>> round(float(brier(jnp.array([0.8]), jnp.array([1]))), 4), round(float(brier(jnp.array([[0.2, 0.8]]), jnp.array([1]))), 4)
    (0.04, 0.08)
    """
    p, labels = _classes("probabilities", probabilities, labels)
    score = jnp.mean(jnp.sum(jnp.square(p - jax.nn.one_hot(labels, p.shape[1], dtype=p.dtype)), -1))
    return score / 2 if _binary(probabilities) else score


def crps(mean: Any, std: Any, y: Any) -> Float[Array, ""]:
    """The continuous ranked probability score of N(m, s²): s [z(2Φ(z) − 1) + 2φ(z) − 1/√π], z = (y − m)/s; mean over entries.

    In the units of y; for s → 0 it is the absolute error.

    >>> round(float(crps(jnp.zeros(1), jnp.ones(1), jnp.zeros(1))), 4)                 # (√2 − 1)/√π
    0.2337

    References: Gneiting & Raftery (2007), Strictly proper scoring rules, section 4.2.
    """
    mean, y = _same("mean", mean, "y", y)
    std, _ = _same("std", std, "y", y)
    return jnp.mean(_gap(y - mean, std) - std / math.sqrt(math.pi))


def crps_mixture(means: Any, stds: Any, y: Any) -> Float[Array, ""]:
    """The continuous ranked probability score of equal mixtures of Gaussians, in closed form; mean over entries.

    E|Y − y| − ½ E|Y − Y′|, where E|N(m, v)| = 2√v φ(m/√v) + m(2Φ(m/√v) − 1).

    Args:
        means: [component, *y].
        stds: likewise, ≥ 0.
        y: any shape.

    Cost: component² per entry; memory one entry's.

    >>> round(float(crps_mixture(jnp.array([[-1.0], [1.0]]), jnp.zeros((2, 1)), jnp.zeros(1))), 4)   # 1 − ½ · ½ · 2
    0.5

    References: Grimit et al. (2006), The continuous ranked probability score for circular variables (Gaussian mixtures).
    """
    means, stds = _same("means", means, "stds", stds)
    y = jnp.asarray(check.array("y", y))
    if means.shape[1:] != y.shape:
        raise ValueError(f"means must be [component, *y] for y of shape {y.shape}, got {means.shape}")

    def of(entry: Any) -> Any:
        m, s, value = entry
        pairs = _gap(m[:, None] - m, jnp.sqrt(s[:, None] ** 2 + s**2))
        return _gap(value - m, s).mean() - 0.5 * pairs.mean()

    entries = means.reshape(len(means), -1).T, stds.reshape(len(stds), -1).T, y.ravel()
    return jax.lax.map(of, entries).mean()


def reliability(probabilities: Any, labels: Any, *, num_bins: int = 15, binning: str = "equal_width") -> Reliability:
    """Confidence and accuracy in bins of confidence.

    "equal_width": bins ((k − 1)/B, k/B]. "equal_mass": the k-th bin ends at the ⌈kn/B⌉-th smallest confidence. Both are closed
    on the right, so that equal confidences share a bin and the order of points does not matter; ties may leave bins empty.

    Args:
        probabilities: [n, c], or [n] for two classes.
        labels: [n].
        num_bins: B.
        binning: see above.

    >>> found = reliability(jnp.array([[0.75, 0.25], [0.75, 0.25]]), jnp.array([0, 1]), num_bins=4)
    >>> found.count.tolist(), float(found.accuracy[2])
    ([0, 0, 2, 0], 0.5)
    """
    check.one_of("binning", binning, BINNINGS)
    num_bins = check.positive_int("num_bins", num_bins)
    p, labels = _classes("probabilities", probabilities, labels)
    return _reliability(p, labels, num_bins=num_bins, binning=binning)


def ece(probabilities: Any, labels: Any, *, num_bins: int = 15, binning: str = "equal_width") -> Float[Array, ""]:
    """The expected calibration error Σ_b (n_b/n) |accuracy_b − confidence_b|, in the bins of `reliability`.

    Biased upwards: for n_b points a bin about √(2a(1 − a)/(π n_b)) of it is noise.

    Args: as `reliability`.

    >>> round(float(ece(jnp.array([[0.75, 0.25], [0.75, 0.25]]), jnp.array([0, 1]))), 4)
    0.25

    References: Naeini et al. (2015), Obtaining well calibrated probabilities using Bayesian binning; Guo et al. (2017).
    """
    found = reliability(probabilities, labels, num_bins=num_bins, binning=binning)
    gaps = jnp.where(found.count > 0, jnp.abs(found.accuracy - found.confidence), 0)
    return jnp.sum(found.count * gaps) / jnp.sum(found.count)


def agreement(p: Any, q: Any) -> Float[Array, ""]:
    """The fraction of points at which two predictions have the same likeliest class.

    >>> float(agreement(jnp.array([[0.9, 0.1], [0.6, 0.4]]), jnp.array([[0.8, 0.2], [0.3, 0.7]])))
    0.5

    References: Izmailov et al. (2021), What are Bayesian neural network posteriors really like?, section 5.
    """
    p, q = _same("p", _columns("p", p), "q", _columns("q", q))
    return jnp.mean(jnp.argmax(p, -1) == jnp.argmax(q, -1), dtype=p.dtype)


def total_variation(p: Any, q: Any) -> Float[Array, ""]:
    """The mean total variation distance (1/n) Σᵢ ½ Σ_c |p_ic − q_ic| between two predictions, in [0, 1].

    >>> round(float(total_variation(jnp.array([[0.9, 0.1]]), jnp.array([[0.6, 0.4]]))), 4)
    0.3
    """
    p, q = _same("p", _columns("p", p), "q", _columns("q", q))
    return jnp.mean(0.5 * jnp.sum(jnp.abs(p - q), -1))


def auroc(scores_in: Any, scores_out: Any) -> Float[Array, ""]:
    """The area under the ROC curve of a score that should be larger out of distribution: P(s_out > s_in) + ½ P(s_out = s_in).

    Args:
        scores_in: scores of points in distribution, such as `entropy(p)`, [n].
        scores_out: of points out of distribution, [m].

    >>> float(auroc(jnp.array([0.0, 1.0]), jnp.array([1.0, 2.0])))
    0.875
    """
    one = jnp.sort(jnp.asarray(check.array("scores_in", scores_in, ndim=1)))
    other = jnp.asarray(check.array("scores_out", scores_out, ndim=1))
    below = jnp.searchsorted(one, other, side="left") + jnp.searchsorted(one, other, side="right")
    return jnp.mean(below.astype(float) / (2 * len(one)))


def entropy(probabilities: Any) -> Float[Array, " n"]:
    """The entropy −Σ_c p_c log p_c of each prediction in nats, [n]: the uncertainty in all.

    >>> round(float(entropy(jnp.full((1, 4), 0.25))[0]), 4)                             # log 4
    1.3863
    """
    return jax.scipy.special.entr(jnp.asarray(_columns("probabilities", probabilities))).sum(-1)


def mutual_information(draws: Any) -> Float[Array, " n"]:
    """The mutual information of label and parameters, H(mean p) − mean H(p), in nats, [n]: the part that more data remove.

    Args:
        draws: class probabilities of every draw, [chain, draw, n, c] (`Predictive.draws`).

    >>> certain = jnp.array([[[[1.0, 0.0]], [[0.0, 1.0]]]])
    >>> round(float(mutual_information(certain)[0]), 4)                                # log 2
    0.6931
    """
    draws = jnp.asarray(check.array("draws", draws, ndim=4))
    return jax.scipy.special.entr(draws.mean((0, 1))).sum(-1) - jax.scipy.special.entr(draws).sum(-1).mean((0, 1))


def function_space_rhat(draws: Any) -> Any:
    """Split R-hat of each prediction: √(((N − 1)/N · W + B/N)/W), chains halved, [n, *o].

    W is the mean variance within the halves of N draws, B/N the variance of their means. Unlike that of parameters, it does not
    see the symmetries of a network. 1 for predictions that do not vary at all; infinite where only chains differ.

    Args:
        draws: [chain, draw, n, *o] with at least 4 draws (`Predictive.draws`).

    Raises:
        ValueError: for fewer draws.

    >>> float(function_space_rhat(jnp.zeros((2, 4, 1)))[0])
    1.0

    References: Izmailov et al. (2021), section 4.2; Gelman et al. (2013), Bayesian Data Analysis, section 11.4.
    """
    draws = jnp.asarray(check.array("draws", draws))
    if draws.ndim < 3 or draws.shape[1] < 4:
        raise ValueError(f"draws must be [chain, draw, n, ...] with at least 4 draws, got shape {draws.shape}")
    half = draws.shape[1] // 2
    halves = jnp.concatenate([draws[:, :half], draws[:, -half:]])
    within = halves.var(1, ddof=1).mean(0)
    between = halves.mean(1).var(0, ddof=1)
    still = (within == 0) & (between == 0)
    return jnp.where(still, 1.0, jnp.sqrt((half - 1) / half + between / jnp.where(still, 1.0, within)))


@partial(jax.jit, static_argnames=("num_bins", "binning"))
def _reliability(p: Any, labels: Any, *, num_bins: int, binning: str) -> Reliability:
    confidence, correct = p.max(-1), (jnp.argmax(p, -1) == labels).astype(p.dtype)
    n = len(confidence)
    if binning == "equal_width":
        # k/B, so that a confidence written as 3/10 lies on its edge.
        inner = jnp.arange(1, num_bins, dtype=p.dtype) / num_bins
    else:
        inner = jnp.sort(confidence)[-(-np.arange(1, num_bins) * n // num_bins) - 1]
    index = jnp.searchsorted(inner, confidence, side="left")
    count = jnp.zeros(num_bins, jnp.int32).at[index].add(1)
    total = lambda values: jnp.zeros(num_bins, p.dtype).at[index].add(values)
    size = jnp.where(count > 0, count, jnp.nan).astype(p.dtype)
    rate = total(correct) / size
    edges = jnp.concatenate([jnp.zeros(1, p.dtype), inner, jnp.ones(1, p.dtype)])
    return Reliability(total(confidence) / size, rate, jnp.sqrt(rate * (1 - rate) / size), count, edges)


def _gap(m: Any, std: Any) -> Any:
    # E|N(m, std²)|.
    safe = jnp.where(std > 0, std, 1.0)
    z = m / safe
    density = jnp.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)
    spread = 2 * safe * density + m * (2 * jax.scipy.special.ndtr(z) - 1)
    return jnp.where(std > 0, spread, jnp.abs(m))


def _binary(probabilities: Any) -> bool:
    return jnp.ndim(probabilities) == 1 or jnp.shape(probabilities)[1] == 1


def _columns(argument: str, probabilities: Any) -> Any:
    p = check.array(argument, probabilities, ndim=(1, 2))
    if not check.is_traced(p):
        host = np.asarray(p, float)
        if host.min() < -1e-4 or host.max() > 1 + 1e-4:
            raise ValueError(
                f"{argument} must be probabilities between 0 and 1, got {host.min():.3g} to {host.max():.3g};"
                " apply softmax or sigmoid to logits"
            )
        if not _binary(p) and abs(host.sum(-1) - 1).max() > 1e-3:
            raise ValueError(
                f"{argument} must sum to 1 over classes, got sums off by {abs(host.sum(-1) - 1).max():.3g}"
            )
    p = jnp.asarray(p)
    return jnp.stack([1 - p.reshape(-1), p.reshape(-1)], -1) if _binary(p) else p


def _classes(argument: str, probabilities: Any, labels: Any) -> tuple[Any, Any]:
    p = _columns(argument, probabilities)
    labels = check.array("labels", labels, ndim=(1, 2) if _binary(probabilities) else 1)
    labels = labels.reshape(-1) if _binary(probabilities) else labels
    check.same_length(argument, p, "labels", labels)
    if not check.is_traced(labels):
        host = np.asarray(labels)
        if host.min() < 0 or host.max() >= p.shape[1] or (host != host.astype(int)).any():
            raise ValueError(f"labels must be integers from 0 to {p.shape[1] - 1}, got {host.min()} to {host.max()}")
    return p, jnp.asarray(labels).astype(jnp.int32)


def _same(first: str, a: Any, second: str, b: Any) -> tuple[Any, Any]:
    a, b = jnp.asarray(check.array(first, a)), jnp.asarray(check.array(second, b))
    if a.shape != b.shape:
        raise ValueError(f"{first} and {second} must have the same shape, got {a.shape} and {b.shape}")
    return a, b
