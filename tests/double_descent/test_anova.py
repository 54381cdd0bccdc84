"""The analysis of variance against all pairs, known effects, and its own standard errors."""

import itertools

import jax
import numpy as np
import pytest

from dlmath.double_descent import anova

NAMES = ("samples", "init", "noise")


def _by_pairs(f, y, names):
    """Components from means over all pairs of runs that agree in S and differ in all other sources."""
    axes = range(len(names))
    sets = [s for size in range(len(names) + 1) for s in itertools.combinations(axes, size)]
    runs = [*np.ndindex(f.shape[:-1])]
    means = {}
    for chosen in sets:
        products = [
            ((f[a] - y) * (f[b] - y)).mean()
            for a in runs
            for b in runs
            if all((a[i] == b[i]) == (i in chosen) for i in axes)
        ]
        means[chosen] = np.mean(products)
    found = {
        "_".join(names[i] for i in chosen): sum(
            (-1) ** (len(chosen) - len(t)) * means[t] for t in sets if set(t) <= set(chosen)
        )
        for chosen in sets
        if chosen
    }
    return found | {"bias": means[()], "risk": means[tuple(axes)]}


def _effects(rng, sizes, stds, points):
    """A sum of independent Gaussian effects of every set of sources, of the given standard deviations."""
    f = np.zeros([*sizes, points])
    for chosen, std in stds.items():
        shape = [size if i in chosen else 1 for i, size in enumerate(sizes)]
        f = f + std * rng.normal(size=[*shape, points])
    return f


@pytest.mark.parametrize("names", [NAMES, NAMES[:1]])
def test_components_are_the_means_over_all_pairs(names):
    rng = np.random.default_rng(0)
    f, y = rng.normal(size=(3, 4, 3, 5)[: len(names)] + (5,)) + 2, rng.normal(size=5)
    found, expected = anova(f, y, names=names), _by_pairs(f, y, names)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name].value, value, rtol=1e-10, atol=1e-12)
    without = anova(f, names=names)
    assert without.keys() == expected.keys() - {"bias", "risk"}
    for name, estimate in without.items():
        np.testing.assert_allclose(estimate.value, expected[name], rtol=1e-10, atol=1e-12)


def test_one_source_is_the_sample_variance_and_the_unbiased_squared_bias():
    f, y = np.random.default_rng(0).normal(size=(6, 5)), np.zeros(5)
    found = anova(f, y, names=["seed"])
    variance = f.var(0, ddof=1).mean()
    np.testing.assert_allclose(found["seed"].value, variance, rtol=1e-12)
    np.testing.assert_allclose(found["bias"].value, (f.mean(0) ** 2).mean() - variance / 6, rtol=1e-12)


def test_estimates_of_known_effects_are_unbiased_and_their_errors_cover():
    """Over 200 designs the mean is within 4 standard errors; 95 % intervals of each hold the value at least 88 % of times."""
    stds = {(0,): 1.0, (1,): 0.5, (0, 1): 0.7, (0, 2): 0.6, (0, 1, 2): 0.8}
    truth = {"samples": 1.0, "init": 0.25, "noise": 0.0, "samples_init": 0.49, "samples_noise": 0.36, "init_noise": 0.0,
             "samples_init_noise": 0.64, "bias": 0.09}  # fmt: skip
    rng = np.random.default_rng(0)
    designs = [anova(0.3 + _effects(rng, (8, 7, 6), stds, 3), np.zeros(3)) for _ in range(200)]
    for name, value in truth.items():
        found = np.array([design[name].value for design in designs])
        error = np.array([design[name].standard_error for design in designs])
        assert abs(found.mean() - value) < 4 * found.std() / np.sqrt(200), name
        assert (abs(found - value) < 1.96 * error).mean() > 0.88, name
        assert error.mean() < 2 * found.std(), name


def test_precision_survives_a_large_offset():
    f = np.random.default_rng(0).normal(size=(3, 4, 3, 5))
    plain = anova(f)
    with jax.enable_x64(False):
        single = anova((f + 1e3).astype(np.float32))
    for name, estimate in plain.items():
        np.testing.assert_allclose(single[name].value, estimate.value, rtol=1e-2, atol=2e-3)
