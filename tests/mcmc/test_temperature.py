import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import dlmath as dm

diagnostics = dm.mcmc.diagnostics

pytestmark = pytest.mark.usefixtures("float64")


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_the_kinetic_temperature_of_maxwells_law_is_that_of_chi_squared(temperature):
    mass = {"a": np.array([1.0, 4.0, 0.3]), "b": np.full((2, 2), 2.0)}
    keys = dict(zip("ab", jax.random.split(jax.random.key(0)), strict=True))
    momenta = {k: np.sqrt(temperature * m) * jax.random.normal(keys[k], (4, 2500, *m.shape)) for k, m in mass.items()}
    found = diagnostics.kinetic_temperature(momenta, mass)
    assert abs(found.value - temperature) < 4 * found.standard_error
    np.testing.assert_allclose(found.independent_error, found.value * np.sqrt(2 / 70_000))
    np.testing.assert_allclose(found.standard_error, found.independent_error, rtol=0.1)
    law = stats.chi2(7)
    assert stats.kstest(np.ravel(found.series) * 7 / temperature, law.cdf).pvalue > 1e-3
    total = np.sum(found.series) * 7 / temperature
    assert 1e-4 < stats.chi2(70_000).cdf(total) < 1 - 1e-4


def test_one_mass_serves_all_momenta():
    p = jax.random.normal(jax.random.key(0), (2, 10, 3))
    ours = diagnostics.kinetic_temperature({"p": p}, 2.0).value
    np.testing.assert_allclose(ours, jnp.mean(p**2) / 2.0)


@pytest.mark.parametrize("name", ["gaussian", "mixture", "banana"])
def test_the_configurational_temperature_of_exact_draws_is_one(name):
    target = {
        "gaussian": lambda: dm.mcmc.targets.gaussian([1.0, 2.0], [[2.0, 0.5], [0.5, 1.0]]),
        "mixture": lambda: dm.mcmc.targets.mixture([[-1.0, 0.0], [1.0, 1.0]], [0.5, 1.0]),
        "banana": dm.mcmc.targets.banana,
    }[name]()
    x = target.sample(jax.random.key(0), 20_000).reshape(4, 5000, 2)
    scores = jax.vmap(jax.vmap(target.score))(x)
    for centre in (0.0, target.mean.value):
        found = diagnostics.configurational_temperature(x, scores, centre)
        np.testing.assert_allclose(found.series, -np.sum((x - centre) * scores, axis=-1) / 2, rtol=1e-9, atol=1e-9)
        assert abs(found.value - 1) < 4 * found.standard_error
        assert found.standard_error < 0.05


def test_the_configurational_temperature_of_a_tempered_gaussian_is_its_temperature_with_the_law_of_chi_squared():
    x = np.sqrt(0.25) * jax.random.normal(jax.random.key(0), (4, 2500, 5))
    found = diagnostics.configurational_temperature({"x": x}, {"x": -x})
    assert abs(found.value - 0.25) < 4 * found.standard_error
    assert stats.kstest(np.ravel(found.series) * 5 / 0.25, stats.chi2(5).cdf).pvalue > 1e-3


def test_the_standard_error_knows_of_correlation_and_the_independent_one_does_not():
    step = lambda p, z: (0.9 * p + np.sqrt(0.19) * z, 0.9 * p + np.sqrt(0.19) * z)
    keys = jax.random.split(jax.random.key(0))
    start, noise = jax.random.normal(keys[0], (4, 3)), jax.random.normal(keys[1], (20_000, 4, 3))
    p = jnp.swapaxes(jax.lax.scan(step, start, noise)[1], 0, 1)
    found = diagnostics.kinetic_temperature(p)
    # p² of an autoregression has the autocorrelation ρ²ᵗ.
    expected = np.sqrt((1 + 0.81) / (1 - 0.81))
    np.testing.assert_allclose(found.standard_error / found.independent_error, expected, rtol=0.1)


def test_missing_information_is_betancourts_ratio():
    energy = np.random.default_rng(0).normal(size=(3, 50_000))
    found = diagnostics.missing_information(energy)
    np.testing.assert_allclose(found, 2.0, atol=0.05)
    walk = np.cumsum(energy[:, :1000], axis=1)
    expected = [np.sum(np.diff(e) ** 2) / np.sum((e - e.mean()) ** 2) for e in walk]
    np.testing.assert_allclose(diagnostics.missing_information(walk), expected, rtol=1e-10)
    assert np.all(diagnostics.missing_information(walk) < 0.3)


def test_divergences_are_counted_and_located():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 500, 2))
    diverging = x[..., 1] > 1.5
    found = diagnostics.divergences(diverging, {"x": x})
    assert found.number == diverging.sum()
    np.testing.assert_array_equal(found.by_chain, diverging.sum(1))
    np.testing.assert_allclose(found.fraction, diverging.mean())
    expected = (x[diverging].mean(0) - x[~diverging].mean(0)) / x.reshape(-1, 2).std(0)
    np.testing.assert_allclose(found.shift["x"], expected)
    assert np.isnan(diagnostics.divergences(np.zeros((2, 500)), x).shift).all()
    assert diagnostics.divergences(diverging).shift is None
