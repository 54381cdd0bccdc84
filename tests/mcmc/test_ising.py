import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

import dlmath as dm

targets = dm.mcmc.targets

pytestmark = pytest.mark.usefixtures("float64")


def enumerated(shape, coupling, field, periodic):
    """All spins [2^n, h, w] and their log weights, bond by bond."""
    spins = np.array(list(itertools.product([-1, 1], repeat=shape[0] * shape[1]))).reshape(-1, *shape)
    bonds = np.zeros(len(spins))
    for row, column in np.ndindex(*shape):
        if periodic or row + 1 < shape[0]:
            bonds += spins[:, row, column] * spins[:, (row + 1) % shape[0], column]
        if periodic or column + 1 < shape[1]:
            bonds += spins[:, row, column] * spins[:, row, (column + 1) % shape[1]]
    return spins, coupling * bonds + field * spins.sum((1, 2))


CASES = [((3, 4), 0.4, 0.2, False), ((4, 4), 0.3, 0.0, True), ((2, 4), -0.5, -0.1, True), ((3, 3), 0.6, 0.1, True)]


@pytest.mark.parametrize(("shape", "coupling", "field", "periodic"), CASES)
def test_log_density_and_moments_are_those_of_all_configurations(shape, coupling, field, periodic):
    spins, log_weights = enumerated(shape, coupling, field, periodic)
    target = targets.ising(shape, coupling, field, periodic=periodic)
    chosen = slice(None, None, 7)
    np.testing.assert_allclose(jax.vmap(target.log_density)(jnp.asarray(spins[chosen], jnp.int8)), log_weights[chosen])
    np.testing.assert_allclose(target.log_normalizer, np.logaddexp.reduce(log_weights), rtol=1e-12)
    weights = np.exp(log_weights - np.logaddexp.reduce(log_weights))
    quantities = np.stack([-log_weights, spins.sum((1, 2))]) / (shape[0] * shape[1])
    np.testing.assert_allclose(target.mean.value, quantities @ weights, rtol=1e-10, atol=1e-12)
    expected = np.cov(quantities, aweights=weights, ddof=0)
    np.testing.assert_allclose(target.covariance.value, expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(target.quantities(jnp.asarray(spins[5], jnp.int8)), quantities[:, 5])


@pytest.mark.parametrize("coupling", [0.2, 0.44, 0.7])
@pytest.mark.parametrize("shape", [(4, 4), (3, 5), (2, 4)])
def test_kaufmans_formula_is_the_sum_over_configurations(coupling, shape):
    from dlmath.mcmc.targets._ising import _kaufman

    log_weights = enumerated(shape, coupling, 0.0, True)[1]
    log_z, energy = _kaufman(*shape, coupling)
    np.testing.assert_allclose(log_z, np.logaddexp.reduce(log_weights), rtol=1e-12)
    expected = -np.average(log_weights, weights=np.exp(log_weights - log_weights.max())) / (shape[0] * shape[1])
    np.testing.assert_allclose(energy, expected, rtol=1e-11)


@pytest.mark.parametrize("coupling", [0.3, -0.3, 0.6])
def test_the_energy_of_a_large_lattice_is_onsagers(coupling):
    k = abs(coupling)
    modulus = 2 * np.sinh(2 * k) / np.cosh(2 * k) ** 2
    onsager = -k / np.tanh(2 * k) * (1 + 2 / np.pi * (2 * np.tanh(2 * k) ** 2 - 1) * special.ellipk(modulus**2))
    np.testing.assert_allclose(targets.ising((128, 128), coupling).mean.value[0], onsager, rtol=1e-9)


def test_the_critical_energy_is_that_of_onsager_up_to_the_size():
    """At K_c the energy per bond is √2/2, with corrections of order 1/size."""
    critical = 0.5 * np.log(1 + np.sqrt(2))
    gaps = [float(targets.ising((n, n), critical).mean.value[0]) + critical * np.sqrt(2) for n in (32, 64)]
    np.testing.assert_allclose(gaps[0] / gaps[1], 2.0, rtol=0.01)


@pytest.mark.parametrize(("shape", "coupling", "field", "periodic"), CASES[:3])
def test_exact_draws_and_gibbs_have_the_exact_moments(shape, coupling, field, periodic):
    target = targets.ising(shape, coupling, field, periodic=periodic)
    exact = jax.vmap(target.quantities)(target.sample(jax.random.key(0), 20_000))
    error = np.sqrt(np.diag(target.covariance.value) / 20_000)
    np.testing.assert_array_less(np.abs(exact.mean(0) - target.mean.value), 4 * error)
    chains = jax.vmap(
        lambda key: targets.gibbs(key, target.initial, coupling, field, num_samples=2200, periodic=periodic)
    )(jax.random.split(jax.random.key(1), 10))[:, 200:]
    found = dm.mcmc.diagnostics.mean(jax.vmap(jax.vmap(target.quantities))(chains))
    np.testing.assert_array_less(np.abs(found.value - target.mean.value), 4 * found.standard_error)


@pytest.mark.parametrize("periodic", [True, False])
def test_a_sweep_leaves_the_law_invariant(periodic):
    """Exact draws stay exact draws: the counts of all 16 configurations after a sweep pass Pearson's test."""
    coupling, field, num = 0.4, 0.3, 40_000
    target = targets.ising((2, 2), coupling, field, periodic=periodic)
    begin = target.sample(jax.random.key(0), num)
    sweep = lambda key, spins: targets.gibbs(key, spins, coupling, field, num_samples=1, periodic=periodic)[0]
    after = jax.vmap(sweep)(jax.random.split(jax.random.key(1), num), begin)
    log_weights = enumerated((2, 2), coupling, field, periodic)[1]
    expected = np.exp(log_weights - np.logaddexp.reduce(log_weights)) * num
    for draws in (begin, after):
        index = ((np.asarray(draws).reshape(num, 4) + 1) // 2) @ [8, 4, 2, 1]
        assert stats.chisquare(np.bincount(index, minlength=16), expected).pvalue > 1e-3
    assert np.mean(np.asarray(begin) != np.asarray(after)) > 0.05


def test_a_sweep_is_the_product_of_the_two_conditional_laws():
    """From one configuration, all 16 transition probabilities of a sweep over a square of open edges."""
    coupling, field, num = 0.5, -0.2, 40_000
    start = jnp.array([[1, -1], [1, 1]], jnp.int8)
    draws = jax.vmap(lambda key: targets.gibbs(key, start, coupling, field, num_samples=1, periodic=False)[0])(
        jax.random.split(jax.random.key(2), num)
    )
    up = lambda total: 1 / (1 + np.exp(-2 * (coupling * total + field)))
    expected = []
    for spins in itertools.product([-1, 1], repeat=4):
        a, b, c, d = spins  # the first colour is a and d, whose neighbours are b and c
        first, second = up(-1 + 1), up(a + d)
        law = lambda spin, p: p if spin == 1 else 1 - p
        expected.append(law(a, first) * law(d, first) * law(b, second) * law(c, second))
    index = ((np.asarray(draws).reshape(num, 4) + 1) // 2) @ [8, 4, 2, 1]
    assert stats.chisquare(np.bincount(index, minlength=16), num * np.array(expected)).pvalue > 1e-3


def test_thinning_keeps_every_so_many_sweeps():
    spins = jnp.ones((4, 4), jnp.int8)
    all_draws = targets.gibbs(jax.random.key(0), spins, 0.3, num_samples=6)
    thinned = targets.gibbs(jax.random.key(0), spins, 0.3, num_samples=2, thinning=3)
    np.testing.assert_array_equal(thinned, all_draws[2::3])
