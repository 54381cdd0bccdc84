import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.diagnostics import split_gelman_rubin
from scipy.integrate import quad
from scipy.stats import norm
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from dlmath.bnn import metrics

RNG = np.random.default_rng(0)
P = RNG.dirichlet(np.ones(4), 200)
LABELS = RNG.integers(0, 4, 200)
BINARY, BITS = RNG.uniform(size=200), RNG.integers(0, 2, 200)


def test_brier_is_that_of_scikit_learn_for_two_classes(float64):
    assert float(metrics.brier(BINARY, BITS)) == pytest.approx(brier_score_loss(BITS, BINARY), rel=1e-12)
    two = np.stack([1 - BINARY, BINARY], 1)
    assert float(metrics.brier(two, BITS)) == pytest.approx(2 * brier_score_loss(BITS, BINARY), rel=1e-12)


def test_brier_is_the_squared_distance_to_one_hot_labels(float64):
    assert float(metrics.brier(P, LABELS)) == pytest.approx(np.mean(np.sum((P - np.eye(4)[LABELS]) ** 2, 1)), rel=1e-12)


def test_nll_and_accuracy_are_those_of_scikit_learn(float64):
    density = np.log(P[np.arange(200), LABELS])
    assert float(metrics.nll(density)) == pytest.approx(log_loss(LABELS, P), rel=1e-12)
    assert float(metrics.accuracy(P, LABELS)) == np.mean(P.argmax(1) == LABELS)


@pytest.mark.parametrize("ties", [False, True])
def test_auroc_is_that_of_scikit_learn(float64, ties):
    inside, outside = RNG.normal(size=60), RNG.normal(0.5, size=40)
    if ties:
        inside, outside = np.round(inside), np.round(outside)
    truth = np.r_[np.zeros(60), np.ones(40)]
    expected = roc_auc_score(truth, np.r_[inside, outside])
    assert float(metrics.auroc(inside, outside)) == pytest.approx(expected, rel=1e-12)


def crps_by_quadrature(means, stds, y):
    cdf = lambda t: np.mean(norm.cdf(t, means, stds))
    below = quad(lambda t: cdf(t) ** 2, -20, y, limit=200)[0]
    return below + quad(lambda t: (1 - cdf(t)) ** 2, y, 20, limit=200)[0]


def test_crps_is_the_integral_over_thresholds(float64):
    assert float(metrics.crps(np.array([0.3]), np.array([1.7]), np.array([-1.0]))) == pytest.approx(
        crps_by_quadrature(0.3, 1.7, -1.0), rel=1e-6
    )
    means, stds, y = RNG.normal(size=(3, 2)), RNG.uniform(0.3, 1.0, size=(3, 2)), RNG.normal(size=2)
    expected = np.mean([crps_by_quadrature(means[:, i], stds[:, i], y[i]) for i in range(2)])
    assert float(metrics.crps_mixture(means, stds, y)) == pytest.approx(expected, rel=1e-6)


def test_crps_of_one_component_is_that_of_a_gaussian_and_of_none_the_absolute_error(float64):
    m, s, y = RNG.normal(size=5), RNG.uniform(size=5), RNG.normal(size=5)
    assert float(metrics.crps_mixture(m[None], s[None], y)) == pytest.approx(float(metrics.crps(m, s, y)), rel=1e-12)
    assert float(metrics.crps(m, 0 * s, y)) == pytest.approx(np.mean(np.abs(m - y)), rel=1e-12)


@pytest.mark.parametrize("confidence", [0.1, 0.3, 0.6, 0.7, 1.0])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_a_confidence_on_an_edge_lies_in_the_bin_below(float64, confidence, dtype):
    # Ten classes, so that the largest probability may be as small as .1.
    p = np.full((1, 10), (1 - confidence) / 9)
    p[0, 0] = confidence
    found = metrics.reliability(jnp.asarray(p, dtype), np.array([0]), num_bins=10)
    assert found.count.tolist() == [int(i == round(10 * confidence) - 1) for i in range(10)]


def ece_by_hand(confidence, correct, edges):
    total = 0.0
    for low, high in itertools.pairwise(edges):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            total += inside.mean() * abs(confidence[inside].mean() - correct[inside].mean())
    return total


@pytest.mark.parametrize("num_bins", [1, 7, 15])
def test_ece_is_the_weighted_gap_by_bins(float64, num_bins):
    confidence, correct = P.max(1), P.argmax(1) == LABELS
    expected = ece_by_hand(confidence, correct, np.linspace(0, 1, num_bins + 1))
    assert float(metrics.ece(P, LABELS, num_bins=num_bins)) == pytest.approx(expected, rel=1e-12)
    order = np.sort(confidence)
    edges = np.r_[-np.inf, [order[int(np.ceil(k * 200 / num_bins)) - 1] for k in range(1, num_bins)], np.inf]
    expected = ece_by_hand(confidence, correct, edges)
    found = metrics.ece(P, LABELS, num_bins=num_bins, binning="equal_mass")
    assert float(found) == pytest.approx(expected, rel=1e-12)


def test_bins_of_equal_mass_hold_equal_numbers_and_ties_share_one(float64):
    counts = metrics.reliability(P, LABELS, num_bins=8, binning="equal_mass").count
    assert counts.tolist() == [25] * 8
    tied = np.tile([0.75, 0.25], (9, 1))
    labels = np.array([0, 0, 1] * 3)
    for order in (np.arange(9), np.arange(9)[::-1]):
        found = metrics.reliability(tied[order], labels[order], num_bins=3, binning="equal_mass")
        assert sorted(found.count.tolist()) == [0, 0, 9]
        assert float(metrics.ece(tied[order], labels[order], num_bins=3, binning="equal_mass")) == pytest.approx(1 / 12)


def test_a_calibrated_prediction_has_no_error_where_bins_are_right(float64):
    p = np.tile([0.75, 0.25], (4, 1))
    assert float(metrics.ece(p, np.array([0, 0, 0, 1]))) == 0.0


def test_agreement_and_total_variation_by_hand(float64):
    q = RNG.dirichlet(np.ones(4), 200)
    assert float(metrics.agreement(P, q)) == np.mean(P.argmax(1) == q.argmax(1))
    assert float(metrics.total_variation(P, q)) == pytest.approx(np.mean(np.abs(P - q).sum(1) / 2), rel=1e-12)
    assert float(metrics.total_variation(np.eye(2), np.eye(2)[::-1])) == 1.0


@pytest.mark.parametrize("draws", [10, 11])
def test_function_space_rhat_is_the_split_statistic_of_numpyro(float64, draws):
    values = RNG.normal(size=(3, draws, 4, 2)) + RNG.normal(size=(3, 1, 4, 2))
    np.testing.assert_allclose(metrics.function_space_rhat(values), split_gelman_rubin(values), rtol=1e-10)


def test_constant_predictions_have_rhat_one_and_stuck_chains_an_infinite_one(float64):
    constant = np.ones((2, 6, 1))
    assert float(metrics.function_space_rhat(constant)[0]) == 1.0
    stuck = constant * np.array([0.0, 1.0])[:, None, None]
    assert float(metrics.function_space_rhat(stuck)[0]) == np.inf


def test_rmse_sums_over_outputs(float64):
    a, b = RNG.normal(size=(7, 2)), RNG.normal(size=(7, 2))
    assert float(metrics.rmse(a, b)) == pytest.approx(np.sqrt(np.mean(np.sum((a - b) ** 2, 1))), rel=1e-12)


def test_entropy_splits_into_mutual_information_and_expected_entropy(float64):
    draws = RNG.dirichlet(np.ones(3), (2, 5, 4))
    by_hand = lambda p: -np.sum(p * np.log(p), -1)
    total = by_hand(draws.mean((0, 1)))
    np.testing.assert_allclose(metrics.entropy(draws.mean((0, 1))), total, rtol=1e-12)
    np.testing.assert_allclose(metrics.mutual_information(draws), total - by_hand(draws).mean((0, 1)), rtol=1e-10)


def test_metrics_may_be_compiled():
    jax.jit(lambda p, y: (metrics.ece(p, y), metrics.brier(p, y), metrics.accuracy(p, y)))(P, LABELS)
