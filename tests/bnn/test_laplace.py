import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from dlmath import bnn, hessian, linalg, models

LIKELIHOODS = bnn.likelihoods


@pytest.fixture(scope="module")
def trained():
    """(posterior, its mode) of a small network on three classes, in float64."""
    with jax.enable_x64(True):
        rng = np.random.default_rng(3)
        model = models.mlp([5], 3, activation="tanh")
        x, y = jnp.asarray(rng.normal(size=(40, 2))), jnp.asarray(rng.integers(0, 3, 40))
        posterior = bnn.posterior(model.apply, bnn.priors.normal(1.0), LIKELIHOODS.categorical(), (x, y))
        params = jax.tree.map(lambda w: 0.5 * w + 0.05, model.init(jax.random.key(0), x))
        return posterior, bnn.mode(posterior, params).params


def by_hand(posterior, params):
    """Λ = G + P from the Jacobian of all outputs and the closed form of S."""
    flat, unravel = ravel_pytree(params)
    jacobian = np.asarray(jax.jacrev(lambda p: posterior.apply(unravel(p), posterior.data[0]))(flat))
    p = np.asarray(jax.nn.softmax(posterior.apply(params, posterior.data[0])))
    s = np.einsum("nc,cd->ncd", p, np.eye(3)) - np.einsum("nc,nd->ncd", p, p)
    return np.einsum("ncp,ncd,ndq->pq", jacobian, s, jacobian) + np.eye(flat.size), jacobian


@pytest.mark.parametrize("outputs", [1, 2])
def test_evidence_and_predictive_equal_the_conjugate_closed_form(conjugate, outputs):
    problem = conjugate(outputs)
    found = bnn.mode(problem.posterior, problem.params)
    fit = bnn.laplace(problem.posterior, found.params)
    assert float(fit.log_evidence) == pytest.approx(float(problem.exact.log_evidence), abs=1e-8)
    one, other = fit.predict(problem.x_new, problem.y_new), problem.exact.predict(problem.x_new, problem.y_new)
    for name in ("mean", "epistemic", "aleatoric", "log_density"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), atol=1e-8, err_msg=name)


def test_the_precision_is_the_dense_gauss_newton_matrix_plus_the_prior(trained, float64):
    posterior, params = trained
    negative = lambda f, y: -LIKELIHOODS.categorical().log_density(f, y).sum()
    g = linalg.dense(hessian.ggn(posterior.apply, negative, params, *posterior.data))
    fit = bnn.laplace(posterior, params)
    precision = np.asarray(fit.factors @ fit.factors.T)
    np.testing.assert_allclose(precision, g + np.eye(len(g)), atol=1e-10)
    np.testing.assert_allclose(precision, by_hand(posterior, params)[0], atol=1e-10)
    assert float(fit.gradient_norm) < 1e-6


def test_the_diagonal_is_the_diagonal_of_the_full_precision(trained, float64):
    precision, _ = by_hand(*trained)
    fit = bnn.laplace(*trained, structure="diagonal")
    np.testing.assert_allclose(fit.factors, np.diag(precision), rtol=1e-10)


def test_kronecker_factors_are_exact_for_a_linear_network_and_keep_the_trace_of_others(trained, conjugate):
    problem = conjugate(outputs=3)
    params = bnn.mode(problem.posterior, problem.params).params
    full, kronecker = (bnn.laplace(problem.posterior, params, structure=s) for s in ("full", "kronecker"))
    assert float(kronecker.log_evidence) == pytest.approx(float(full.log_evidence), abs=1e-8)
    np.testing.assert_allclose(kronecker.output_law(problem.x_new)[1], full.output_law(problem.x_new)[1], atol=1e-10)
    precision, _ = by_hand(*trained)
    sizes = [leaf.size for leaf in jax.tree.leaves(trained[1])]
    blocks = np.split(np.diag(precision), np.cumsum(sizes)[:-1])
    fit = bnn.laplace(*trained, structure="kronecker")
    for (_, _, values), diagonal in zip(fit.factors, blocks, strict=True):
        assert float(values.sum()) == pytest.approx(diagonal.sum(), rel=1e-9)


def test_low_rank_of_full_rank_is_full_and_its_evidence_falls_with_the_rank(trained, float64):
    posterior, params = trained
    size = ravel_pytree(params)[0].size
    full = bnn.laplace(posterior, params)
    fits = [bnn.laplace(posterior, params, structure="low_rank", rank=k) for k in (3, 10, size)]
    assert float(fits[-1].log_evidence) == pytest.approx(float(full.log_evidence), abs=1e-7)
    np.testing.assert_allclose(
        fits[-1].output_law(posterior.data[0])[1], full.output_law(posterior.data[0])[1], atol=1e-7
    )
    evidences = [float(fit.log_evidence) for fit in fits]
    assert evidences[0] > evidences[1] > evidences[2]


def test_the_output_covariance_is_that_of_the_jacobian(trained, float64):
    posterior, params = trained
    precision, jacobian = by_hand(posterior, params)
    mean, covariance = bnn.laplace(posterior, params).output_law(posterior.data[0])
    expected = np.einsum("ncp,pq,ndq->ncd", jacobian, np.linalg.inv(precision), jacobian)
    np.testing.assert_allclose(covariance, expected, atol=1e-10)
    np.testing.assert_allclose(mean, posterior.apply(params, posterior.data[0]))


@pytest.mark.parametrize("structure", ["full", "diagonal", "kronecker", "last_layer", "low_rank"])
def test_draws_have_the_covariance_of_the_outputs(trained, float64, structure):
    posterior, params = trained
    fit = bnn.laplace(posterior, params, structure=structure, rank=20 if structure == "low_rank" else None)
    samples = fit.sample(jax.random.key(1), 20_000)
    flat = jax.vmap(lambda p: ravel_pytree(p)[0])(jax.tree.map(lambda w: w[0], samples.params))
    jacobian = by_hand(posterior, params)[1][:4].reshape(12, -1)
    moves = (flat - ravel_pytree(params)[0]) @ jacobian.T
    expected = np.asarray(fit.output_law(posterior.data[0][:4])[1]).reshape(4, 3, 3)
    for i in range(4):
        found = np.cov(np.asarray(moves[:, 3 * i : 3 * i + 3]).T)
        scale = np.sqrt(np.outer(np.diag(expected[i]), np.diag(expected[i])))
        # The standard error of an empirical covariance is at most √2 of the scale over √20,000.
        assert (np.abs(found - expected[i]) < 5 * scale * np.sqrt(2 / 20_000)).all()


def test_temperature_divides_the_whole_precision_in_a_sweep_by_vmap(conjugate):
    problem = conjugate()
    params = {"weight": problem.exact.mean}

    def epistemic(temperature):
        parts = problem.posterior.prior, problem.posterior.likelihood, problem.posterior.data
        posterior = bnn.posterior(problem.posterior.apply, *parts, temperature=temperature)
        return bnn.laplace(posterior, params).predict(problem.x_new).epistemic

    temperatures = jnp.array([0.1, 1.0, 4.0])
    expected = temperatures[:, None, None] * problem.exact.predict(problem.x_new).epistemic
    np.testing.assert_allclose(jax.vmap(epistemic)(temperatures), expected, rtol=1e-9)


def test_half_the_likelihood_temperature_counts_every_example_twice(conjugate):
    problem = conjugate()
    twice = bnn.exact.linear_gaussian(
        jnp.concatenate([problem.x] * 2), jnp.concatenate([problem.y] * 2), prior_std=0.7, noise_std=0.3
    )
    posterior = bnn.posterior(problem.posterior.apply, problem.posterior.prior, problem.posterior.likelihood,
                              (problem.x, problem.y), likelihood_temperature=0.5)  # fmt: skip
    found = bnn.laplace(posterior, {"weight": twice.mean})
    assert float(found.gradient_norm) < 1e-8
    np.testing.assert_allclose(
        found.predict(problem.x_new).epistemic, twice.predict(problem.x_new).epistemic, rtol=1e-9
    )


def test_probit_and_monte_carlo_links_agree_where_logits_vary_little(trained, float64):
    posterior, params = trained
    fit = bnn.laplace(posterior, params, structure="last_layer")
    # A cold posterior: logits of variance 1/100.
    cold = bnn.posterior(posterior.apply, posterior.prior, posterior.likelihood, posterior.data, temperature=0.01)
    fit = bnn.laplace(cold, params)
    x, y = posterior.data
    one = fit.predict(x, y)
    other = fit.predict(x, y, link="monte_carlo", key=jax.random.key(0), num_draws=4000)
    np.testing.assert_allclose(one.mean, other.mean, atol=4e-3)
    np.testing.assert_allclose(one.epistemic, other.epistemic, rtol=0.2, atol=1e-4)
    np.testing.assert_allclose(one.mean.sum(-1), 1.0, rtol=1e-12)
    np.testing.assert_allclose(one.log_density, np.log(np.asarray(one.mean))[np.arange(40), y], rtol=1e-12)


def test_bernoulli_predictions_are_the_sigmoid_of_the_shrunk_logit(float64):
    x, y = jnp.array([[1.0], [-2.0], [0.5]]), jnp.array([[1], [0], [0]])
    posterior = bnn.posterior(lambda w, x: x @ w, bnn.priors.normal(1.0), LIKELIHOODS.bernoulli(), (x, y))
    params = bnn.mode(posterior, jnp.zeros((1, 1))).params
    f = np.asarray(x @ params)[:, 0]
    curvature = 1 + sum(np.asarray(x)[:, 0] ** 2 / (2 + 2 * np.cosh(f)))
    expected = 1 / (1 + np.exp(-f / np.sqrt(1 + np.pi / 8 * np.asarray(x)[:, 0] ** 2 / curvature)))
    np.testing.assert_allclose(bnn.laplace(posterior, params).predict(x).mean[:, 0], expected, rtol=1e-8)
