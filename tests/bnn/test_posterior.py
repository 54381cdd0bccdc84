import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlmath import bnn


def rows(problem, *index):
    return problem.x[jnp.array(index)], problem.y[jnp.array(index)]


def test_minibatch_potentials_average_to_the_potential(conjugate):
    problem = conjugate()
    p, params = problem.posterior, {"weight": jnp.ones_like(problem.params["weight"])}
    parts = [p.minibatch_potential(params, rows(problem, i, i + 6)) for i in range(6)]
    assert float(jnp.mean(jnp.stack(parts))) == pytest.approx(float(p.potential(params)), rel=1e-12)
    # The same of other data of which the number is given.
    other = p.with_data(rows(problem, 0, 1))
    assert float(other.minibatch_potential(params, rows(problem, 2, 8), 12)) == pytest.approx(
        float(parts[2]), rel=1e-12
    )


def test_temperatures_divide_what_they_say(conjugate):
    problem = conjugate()
    params = {"weight": jnp.ones_like(problem.params["weight"])}
    tempered = bnn.posterior(
        problem.posterior.apply, problem.posterior.prior, problem.posterior.likelihood, problem.posterior.data,
        temperature=0.5, likelihood_temperature=4.0,
    )  # fmt: skip
    prior, likelihood = problem.posterior.log_prior(params), problem.posterior.log_likelihood(params)
    assert float(tempered.potential(params)) == pytest.approx(float(-2 * (prior + likelihood / 4)), rel=1e-12)
    assert float(tempered.log_joint(params)) == pytest.approx(float(prior + likelihood / 4), rel=1e-12)
    assert float(tempered.log_likelihood(params)) == float(likelihood)


def test_a_learned_noise_scale_is_one_more_leaf(conjugate):
    problem = conjugate()
    learned = bnn.posterior(
        problem.posterior.apply, problem.posterior.prior, bnn.likelihoods.gaussian(bnn.likelihoods.log_normal(0.5)),
        problem.posterior.data,
    )  # fmt: skip
    params = learned.sampled(problem.params, 0.3)
    assert set(params) == {"network", "log_noise"}
    assert float(learned.log_likelihood(params)) == pytest.approx(
        float(problem.posterior.log_likelihood(problem.params)), rel=1e-12
    )
    extra = learned.likelihood.noise_std.log_density(jnp.log(0.3))
    assert float(learned.log_prior(params) - extra) == pytest.approx(
        float(problem.posterior.log_prior(problem.params)), rel=1e-12
    )


def test_one_program_serves_all_data_scales_and_temperatures(conjugate):
    problem = conjugate()
    potential = jax.jit(lambda posterior, params: posterior.potential(params))
    for scale, temperature, shift in ((0.5, 1.0, 0.0), (2.0, 0.1, 1.0)):
        posterior = bnn.posterior(
            problem.posterior.apply, bnn.priors.normal(scale), bnn.likelihoods.gaussian(scale),
            (problem.x + shift, problem.y), temperature=temperature,
        )  # fmt: skip
        assert float(potential(posterior, problem.params)) == pytest.approx(float(posterior.potential(problem.params)))
    assert potential._cache_size() == 1


def test_predictions_split_the_variance_and_mix_the_densities(conjugate):
    problem = conjugate(outputs=2)
    weights = jnp.asarray(np.random.default_rng(1).normal(size=(3, 4, 5, 2)))
    samples = bnn.Samples({"weight": weights}, jnp.zeros((3, 4)), {})
    found = bnn.predict(problem.posterior, samples, problem.x_new, problem.y_new)
    outputs = np.einsum("nd,csdo->csno", problem.x_new, weights)
    np.testing.assert_allclose(found.draws, outputs, rtol=1e-12)
    np.testing.assert_allclose(found.mean, outputs.mean((0, 1)), rtol=1e-12)
    np.testing.assert_allclose(found.variance, outputs.var((0, 1)) + 0.09, rtol=1e-12)
    gaps = (np.asarray(problem.y_new) - outputs) / 0.3
    densities = np.prod(np.exp(-0.5 * gaps**2) / (0.3 * np.sqrt(2 * np.pi)), -1)
    np.testing.assert_allclose(found.log_density, np.log(densities.mean((0, 1))), rtol=1e-9)


def test_draws_of_the_prior_have_its_scales(conjugate):
    problem = conjugate()
    draws = bnn.sample_prior(jax.random.key(0), problem.posterior, problem.params, 2000)["weight"]
    assert draws.shape == (2000, 5, 1)
    assert float(draws.var()) == pytest.approx(0.49, rel=5 * (2 / 10_000) ** 0.5)


def test_chains_are_joined_and_other_trees_refused(conjugate):
    problem = conjugate()
    one = bnn.Samples({"weight": jnp.zeros((2, 3, 5, 1))}, jnp.zeros((2, 3)), {"a": jnp.zeros((2, 3))})
    both = bnn.concatenate(one, one._replace(stats={"a": jnp.ones((2, 3)), "b": jnp.ones(2)}))
    assert both.params["weight"].shape == (4, 3, 5, 1)
    assert both.stats["a"].tolist() == [[0.0] * 3] * 2 + [[1.0] * 3] * 2
    with pytest.raises(ValueError, match="other must have draws like samples"):
        bnn.concatenate(one, one._replace(params={"weight": problem.x[None]}))
