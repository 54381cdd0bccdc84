import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from dlmath import bnn


def linear(params, x):
    return x @ params["weight"]


def of(x, y, noise_std=0.1, prior=None):
    return bnn.posterior(linear, prior or bnn.priors.normal(1.0), bnn.likelihoods.gaussian(noise_std), (x, y))


def test_the_prior_scale_maximises_the_exact_evidence_from_any_start(conjugate):
    problem = conjugate()
    exact = lambda log_std: (
        -float(bnn.exact.linear_gaussian(problem.x, problem.y, prior_std=np.exp(log_std), noise_std=0.3).log_evidence)
    )
    best = minimize_scalar(exact, bracket=(-1.0, 1.0), tol=1e-10)
    for start in (problem.params, {"weight": jnp.ones_like(problem.params["weight"])}):
        found = bnn.maximize_evidence(problem.posterior, start)
        assert float(found.log_evidence) == pytest.approx(-best.fun, abs=1e-8)
        assert float(found.prior_scales[0]) == pytest.approx(np.exp(best.x), rel=1e-5)
        assert float(found.gradient_norm) < 1e-6
        # The parameters are the exact posterior mean at that scale.
        at_best = bnn.exact.linear_gaussian(problem.x, problem.y, prior_std=float(found.prior_scales[0]), noise_std=0.3)
        np.testing.assert_allclose(found.params["weight"], at_best.mean, atol=1e-8)


def test_prior_and_noise_are_found_together(conjugate):
    problem = conjugate(n=30)
    found = bnn.maximize_evidence(problem.posterior, problem.params, noise=True)
    at = lambda s, sigma: float(
        bnn.exact.linear_gaussian(problem.x, problem.y, prior_std=s, noise_std=sigma).log_evidence
    )
    s, sigma = float(found.prior_scales[0]), float(found.noise_std)
    assert float(found.log_evidence) == pytest.approx(at(s, sigma), abs=1e-8)
    assert at(s, sigma) > max(at(1.02 * s, sigma), at(s / 1.02, sigma), at(s, 1.02 * sigma), at(s, sigma / 1.02))


def test_every_law_of_a_prior_by_path_has_its_own_scale(float64):
    rng = np.random.default_rng(5)
    x = jnp.asarray(rng.normal(size=(400, 40)))
    w = rng.normal(size=40) * np.r_[np.full(20, 3.0), np.full(20, 0.1)]
    y = x @ w + 0.005 * rng.normal(size=400)
    apply = lambda p, x: x[:, :20] @ p["large"] + x[:, 20:] @ p["small"]
    prior = bnn.priors.by_path({"large": bnn.priors.normal(1.0), "small": bnn.priors.normal(1.0)})
    posterior = bnn.posterior(apply, prior, bnn.likelihoods.gaussian(0.005), (x, y))
    found = bnn.maximize_evidence(posterior, {"large": jnp.zeros(20), "small": jnp.zeros(20)})
    # Weights are known to .00025, so that each scale is the root mean square of its weights.
    np.testing.assert_allclose(found.prior_scales, np.sqrt(np.mean(w.reshape(2, 20) ** 2, 1)), rtol=5e-3)


def test_the_prior_precision_is_recovered_on_average_over_a_hundred_data_sets(float64):
    """Where d = 120 weights are known well, the precision is about d/χ²_d: bias 2/(d − 2) = 1.7 %, spread √(2/d) = 13 %.

    The mean over 100 data sets then has a standard error of 1.3 %, of which the bias is 1.3.
    """
    precision, n, d, number = 4.0, 200, 120, 100

    def one(key):
        of_x, of_w, of_noise = jax.random.split(key, 3)
        x = jax.random.normal(of_x, (n, d))
        w = jax.random.normal(of_w, (d, 1)) / precision**0.5
        y = x @ w + 0.1 * jax.random.normal(of_noise, (n, 1))
        found = bnn.maximize_evidence(of(x, y), {"weight": jnp.zeros((d, 1))}, num_steps=12, tol=1e-4)
        return found.prior_precisions[0], found.gradient_norm

    found, slopes = jax.lax.map(one, jax.random.split(jax.random.key(0), number))
    assert float(slopes.max()) < 1e-3
    error = float(jnp.std(found, ddof=1)) / number**0.5
    assert abs(float(found.mean()) - precision) < 3 * error
    assert error < 0.02 * precision
    # The variance has no such bias.
    variances = np.asarray(1 / found)
    assert abs(variances.mean() - 1 / precision) < 3 * variances.std(ddof=1) / number**0.5
