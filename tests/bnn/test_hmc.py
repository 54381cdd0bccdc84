import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlmath import bnn
from dlmath.bnn import _hmc

SAMPLERS = {
    "nuts": lambda key, p, start, **options: bnn.nuts(key, p, start, num_draws=1000, num_warmup=300, **options),
    "hmc": lambda key, p, start, **options: bnn.hmc(
        key, p, start, num_draws=1000, num_warmup=300, trajectory_length=1.5, **options
    ),
}


@pytest.fixture(scope="module")
def runs():
    return {}


@pytest.fixture
def run(runs, conjugate):
    problem = conjugate()
    start = bnn.sample_prior(jax.random.key(7), problem.posterior, problem.params, 4)
    for name, sampler in SAMPLERS.items():
        if name not in runs:
            runs[name] = sampler(jax.random.key(0), problem.posterior, start)
    return problem, start, runs


@pytest.mark.parametrize("name", SAMPLERS)
def test_moments_are_those_of_the_exact_posterior(run, name):
    problem, _, runs = run
    samples = runs[name]
    found = bnn.diagnose(samples)
    draws = np.asarray(samples.params["weight"])[..., 0]
    mean, variance = problem.exact.mean[:, 0], np.diag(problem.exact.covariance)
    assert (np.abs(draws.mean((0, 1)) - mean) < 4 * found.mcse["weight"][:, 0]).all()
    assert (found.rhat["weight"] < 1.02).all()
    # Squared deviations from the exact mean, with their own effective number of draws.
    squares = bnn.diagnose(samples._replace(params=(draws - np.asarray(mean)) ** 2))
    assert (np.abs(((draws - np.asarray(mean)) ** 2).mean((0, 1)) - variance) < 4 * squares.mcse).all()
    assert not np.asarray(samples.stats["diverging"]).any()


@pytest.mark.parametrize("name", SAMPLERS)
def test_predictions_are_those_of_the_exact_posterior(run, name):
    problem, _, runs = run
    found = bnn.predict(problem.posterior, runs[name], problem.x_new, problem.y_new)
    exact = problem.exact.predict(problem.x_new, problem.y_new)
    error = np.sqrt(exact.epistemic / 2000)
    assert (np.abs(found.mean - exact.mean) < 5 * error).all()
    np.testing.assert_allclose(found.epistemic, exact.epistemic, rtol=0.15)
    # The mean of densities over draws, of which at least a quarter are effective.
    draws = np.asarray(found.draws).reshape(-1, 4)
    densities = np.exp(-0.5 * ((np.asarray(problem.y_new)[:, 0] - draws) / 0.3) ** 2)
    error = densities.std(0) / densities.mean(0) / np.sqrt(1000)
    assert (np.abs(found.log_density - exact.log_density) < 4 * error).all()
    assert (bnn.metrics.function_space_rhat(found.draws) < 1.02).all()


def test_log_joint_is_that_of_the_draws(run):
    problem, _, runs = run
    expected = jax.vmap(jax.vmap(problem.posterior.log_joint))(runs["nuts"].params)
    np.testing.assert_allclose(runs["nuts"].log_joint, expected, rtol=1e-9)


def test_a_chain_does_not_depend_on_the_number_of_chains(run):
    problem, start, _ = run
    short = lambda start: bnn.hmc(jax.random.key(0), problem.posterior, start, num_draws=3, num_warmup=0, num_steps=3)
    alone, together = short(jax.tree.map(lambda w: w[:1], start)), short(start)
    np.testing.assert_allclose(alone.params["weight"][0], together.params["weight"][0], rtol=1e-6)


def test_a_cold_posterior_has_the_variance_times_the_temperature(run):
    problem, start, _ = run
    cold = bnn.posterior(
        problem.posterior.apply, problem.posterior.prior, problem.posterior.likelihood, problem.posterior.data,
        temperature=0.25,
    )  # fmt: skip
    samples = SAMPLERS["nuts"](jax.random.key(0), cold, start)
    draws = np.asarray(samples.params["weight"])[..., 0]
    squares = (draws - np.asarray(problem.exact.mean[:, 0])) ** 2
    found = bnn.diagnose(samples._replace(params=squares))
    assert (np.abs(squares.mean((0, 1)) - 0.25 * np.diag(problem.exact.covariance)) < 4 * found.mcse).all()


def test_other_data_of_the_same_shape_compile_nothing(run):
    problem, start, _ = run
    before = _hmc._advance._cache_size()
    SAMPLERS["nuts"](jax.random.key(0), problem.posterior.with_data((problem.x + 1, problem.y)), start)
    assert _hmc._advance._cache_size() == before


def test_a_learned_noise_scale_has_the_posterior_of_quadrature(float64):
    # No weights matter (inputs are zero): y ~ N(0, σ²) with 1/σ² ~ Gamma(a, b) has the posterior Gamma(a + n/2, b + Σy²/2).
    y = jnp.asarray(np.random.default_rng(2).normal(size=(20, 1)))
    likelihood = bnn.likelihoods.gaussian(bnn.likelihoods.gamma_precision(3.0, 2.0))
    posterior = bnn.posterior(lambda w, x: x @ w, bnn.priors.normal(1.0), likelihood, (jnp.zeros((20, 1)), y))
    start = bnn.sample_prior(jax.random.key(1), posterior, jnp.zeros((1, 1)), 4)
    samples = SAMPLERS["hmc"](jax.random.key(2), posterior, start)
    precisions = jnp.exp(-2 * samples.params["log_noise"])
    found = bnn.diagnose(samples._replace(params=precisions))
    expected = (3 + 10) / (2 + float(jnp.sum(y**2)) / 2)
    assert abs(float(precisions.mean()) - expected) < 4 * float(found.mcse)


@pytest.mark.parametrize("sampler", [bnn.nuts, lambda *problem, **n: bnn.hmc(*problem, num_steps=7, **n)])
def test_chains_one_by_one_draw_what_chains_side_by_side_draw(sampler, conjugate):
    problem = conjugate()
    start = bnn.sample_prior(jax.random.key(7), problem.posterior, problem.params, 3)
    run = lambda start: sampler(jax.random.key(0), problem.posterior, start, num_draws=6, num_warmup=10)
    alone, together = run(start), jax.jit(run)(start)
    np.testing.assert_allclose(alone.params["weight"], together.params["weight"], rtol=1e-6)
    np.testing.assert_array_equal(alone.stats["num_steps"], together.stats["num_steps"])
