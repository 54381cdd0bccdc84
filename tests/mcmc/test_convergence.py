"""R-hat, effective sample sizes and Monte Carlo errors against the paper's formulas in NumPy, and published facts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import dlmath as dm

diagnostics = dm.mcmc.diagnostics

pytestmark = pytest.mark.usefixtures("float64")


def autoregressive(seed, num_chains, num_draws, rho):
    """Stationary AR(1) chains of unit variance."""
    rng = np.random.default_rng(seed)
    x = np.empty((num_chains, num_draws))
    x[:, 0] = rng.normal(size=num_chains)
    for step in range(1, num_draws):
        x[:, step] = rho * x[:, step - 1] + np.sqrt(1 - rho**2) * rng.normal(size=num_chains)
    return x


# Vehtari et al. (2021), formula by formula, with loops ----------------------------------------------------------------


def halves(x):
    half = x.shape[1] // 2
    return np.array([part for chain in x for part in (chain[:half], chain[-half:])])


def scores_of(x):
    return stats.norm.ppf((stats.rankdata(x).reshape(x.shape) - 3 / 8) / (x.size + 1 / 4))


def plain_rhat(x):
    num = x.shape[1]
    between = num * np.var([chain.mean() for chain in x], ddof=1)
    within = np.mean([chain.var(ddof=1) for chain in x])
    return np.sqrt(((num - 1) / num * within + between / num) / within)


def reference_rhat(x):
    return max(plain_rhat(halves(scores_of(x))), plain_rhat(halves(scores_of(np.abs(x - np.median(x))))))


def reference_ess(x):
    num_chains, num = x.shape
    covariance = np.zeros((num_chains, num))
    for c, chain in enumerate(x):
        centred = chain - chain.mean()
        for lag in range(num):
            covariance[c, lag] = np.sum(centred[: num - lag] * centred[lag:]) / num
    within = np.mean(covariance[:, 0] * num / (num - 1))
    var_plus = (num - 1) / num * within + (np.var(x.mean(axis=1), ddof=1) if num_chains > 1 else 0)
    rho = 1 - (within - covariance.mean(axis=0)) / var_plus
    rho[0] = 1.0
    total, previous, lag = 0.0, np.inf, 0
    while lag < num - 5 and rho[lag] + rho[lag + 1] > 0:
        previous = min(previous, rho[lag] + rho[lag + 1])
        total += previous
        lag += 2
    tau = -1 + 2 * total + max(rho[lag], 0)
    size = num_chains * num
    return size / max(tau, 1 / np.log10(size))


CHAINS = {
    "independent": autoregressive(0, 4, 200, 0.0),
    "correlated": autoregressive(1, 3, 401, 0.8),
    "antithetic": autoregressive(2, 2, 300, -0.7),
    "shifted": autoregressive(3, 4, 200, 0.3) + np.arange(4)[:, None],
    "spread": autoregressive(4, 4, 200, 0.3) * np.array([1, 1, 1, 4])[:, None],
    "one chain": autoregressive(5, 1, 333, 0.5),
    "heavy tails": np.random.default_rng(6).standard_cauchy((4, 250)),
    "integers": np.random.default_rng(7).poisson(1.5, (4, 150)),
}
each_chain = pytest.mark.parametrize("name", CHAINS)


@each_chain
def test_rhat_is_that_of_the_papers_formulas(name):
    np.testing.assert_allclose(diagnostics.rhat(CHAINS[name]), reference_rhat(CHAINS[name]), rtol=1e-10)


@each_chain
def test_effective_sample_sizes_are_those_of_the_papers_formulas(name):
    x = CHAINS[name]
    np.testing.assert_allclose(diagnostics.ess(x), reference_ess(halves(x)), rtol=1e-8)
    np.testing.assert_allclose(diagnostics.bulk_ess(x), reference_ess(halves(scores_of(x))), rtol=1e-8)
    tails = [reference_ess(halves((x <= np.quantile(x, q)).astype(float))) for q in (0.05, 0.95)]
    np.testing.assert_allclose(diagnostics.tail_ess(x), min(tails), rtol=1e-8)


@each_chain
def test_normal_scores_are_bloms(name):
    np.testing.assert_allclose(diagnostics.rank_normalise(CHAINS[name]), scores_of(CHAINS[name]), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("rho", [-0.5, 0.0, 0.5, 0.9])
def test_the_effective_sample_size_of_an_autoregression_is_known(rho):
    found = diagnostics.ess(autoregressive(0, 4, 20_000, rho)) / 80_000
    np.testing.assert_allclose(found, (1 - rho) / (1 + rho), rtol=0.08)


def test_the_error_of_a_mean_is_the_spread_of_means_over_repetitions():
    x = autoregressive(1, 800, 500, 0.7).reshape(200, 4, 500)
    found = jax.jit(jax.vmap(diagnostics.mean))(jnp.asarray(x))
    np.testing.assert_allclose(np.mean(found.standard_error**2) ** 0.5, np.std(found.value), rtol=0.15)
    exact = np.sqrt(1.7 / 0.3 / 2000)
    np.testing.assert_allclose(np.mean(found.standard_error**2) ** 0.5, exact, rtol=0.05)


@pytest.mark.parametrize("rho", [0.0, 0.7])
def test_the_errors_of_standard_deviations_and_quantiles_are_their_spread_over_repetitions(rho):
    x = jnp.asarray(autoregressive(2, 1600, 500, rho).reshape(400, 4, 500))
    for function in (diagnostics.standard_deviation, lambda x: diagnostics.quantile(x, 0.9)):
        found = jax.jit(jax.vmap(function))(x)
        # The spread of 400 repetitions is known to 1/√800 = 3.5 %.
        np.testing.assert_allclose(np.mean(found.standard_error**2) ** 0.5, np.std(found.value), rtol=0.14)


def test_the_error_of_a_quantile_is_that_of_the_papers_formula():
    x = CHAINS["correlated"]
    size = reference_ess(halves((x <= np.quantile(x, 0.3)).astype(float)))
    below = stats.beta(size * 0.3 + 1, size * 0.7 + 1).ppf(stats.norm.cdf([-1, 1]))
    ordered = np.sort(x.ravel())
    expected = (ordered[int(np.ceil(below[1] * x.size)) - 1] - ordered[int(np.floor(below[0] * x.size)) - 1]) / 2
    found = diagnostics.quantile(x, 0.3)
    np.testing.assert_allclose(found.standard_error, expected, rtol=1e-12)
    np.testing.assert_allclose(found.value, np.quantile(x, 0.3), rtol=1e-12)


def test_ranks_make_rhat_and_bulk_ess_invariant_under_monotone_maps():
    x = CHAINS["shifted"]
    np.testing.assert_allclose(diagnostics.bulk_ess(np.exp(x)), diagnostics.bulk_ess(x), rtol=1e-10)
    location = lambda x: plain_rhat(halves(np.asarray(diagnostics.rank_normalise(x))))
    np.testing.assert_allclose(location(np.exp(x)), location(x), rtol=1e-10)


def test_rhat_sees_a_shift_and_a_spread_and_passes_what_has_mixed():
    assert diagnostics.rhat(autoregressive(0, 4, 2000, 0.3)) < 1.01
    assert diagnostics.rhat(CHAINS["shifted"]) > 1.1
    assert diagnostics.rhat(CHAINS["spread"]) > 1.05
    from numpyro.diagnostics import split_gelman_rubin

    assert split_gelman_rubin(CHAINS["spread"]) < 1.02  # the plain one does not see the spread


def test_trees_and_trailing_axes_are_taken_entry_by_entry():
    x = np.stack([CHAINS["independent"], CHAINS["shifted"]], axis=-1)
    for function in (diagnostics.rhat, diagnostics.ess, diagnostics.bulk_ess, diagnostics.tail_ess):
        found = function({"a": x, "b": x[..., 0]})
        assert found["a"].shape == (2,)
        np.testing.assert_allclose(found["a"], [function(x[..., 0]), function(x[..., 1])], rtol=1e-10)
        np.testing.assert_allclose(found["b"], found["a"][0], rtol=1e-10)
    found = diagnostics.mean({"a": x})
    np.testing.assert_allclose(found.value["a"], x.mean((0, 1)))
    assert found.standard_error["a"].shape == (2,)


def test_constant_and_undefined_draws_have_no_diagnostics():
    for x in (np.ones((2, 20)), np.full((2, 20), np.nan)):
        for function in (diagnostics.rhat, diagnostics.ess, diagnostics.bulk_ess, diagnostics.tail_ess):
            assert np.isnan(function(x))


def test_coin_flips_have_diagnostics():
    flips = np.where(np.random.default_rng(0).uniform(size=(4, 200)) < 0.5, -1.0, 1.0)
    assert 0.99 < diagnostics.rhat(flips) < 1.02
    assert 400 < diagnostics.bulk_ess(flips) < 1600


def test_float32_agrees_with_float64():
    x = CHAINS["correlated"]
    for function in (diagnostics.rhat, diagnostics.ess, diagnostics.bulk_ess, diagnostics.tail_ess):
        np.testing.assert_allclose(function(x.astype(np.float32)), function(x), rtol=1e-3)
