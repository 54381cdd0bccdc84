import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from dlmath import bnn, models

RNG = np.random.default_rng(1)
SCALES = np.array([0.5, 1.0, 2.0])


@pytest.mark.parametrize("n", [2, 9])
def test_the_evidence_is_the_gaussian_density_of_the_targets(float64, n):
    x, y = RNG.normal(size=(n, 3)), RNG.normal(size=(n, 2))
    found = bnn.exact.linear_gaussian(x, y, prior_std=SCALES, noise_std=0.4)
    covariance = x @ np.diag(SCALES**2) @ x.T + 0.16 * np.eye(n)
    expected = sum(multivariate_normal(np.zeros(n), covariance).logpdf(y[:, j]) for j in range(2))
    assert float(found.log_evidence) == pytest.approx(expected, rel=1e-12)


def test_the_posterior_is_the_conditional_of_the_joint_gaussian(float64):
    x, y = RNG.normal(size=(4, 3)), RNG.normal(size=4)
    found = bnn.exact.linear_gaussian(x, y, prior_std=SCALES, noise_std=0.4)
    prior = np.diag(SCALES**2)
    gain = prior @ x.T @ np.linalg.inv(x @ prior @ x.T + 0.16 * np.eye(4))
    np.testing.assert_allclose(found.mean, gain @ y, rtol=1e-10)
    np.testing.assert_allclose(found.covariance, prior - gain @ x @ prior, rtol=1e-9, atol=1e-12)


def test_the_predictive_density_is_the_ratio_of_two_evidences(conjugate):
    problem = conjugate()
    more = bnn.exact.linear_gaussian(
        np.vstack([problem.x, problem.x_new[:1]]),
        np.vstack([problem.y, problem.y_new[:1]]),
        prior_std=0.7,
        noise_std=0.3,
    )
    density = problem.exact.predict(problem.x_new, problem.y_new).log_density[0]
    assert float(density) == pytest.approx(float(more.log_evidence - problem.exact.log_evidence), rel=1e-9)


@pytest.fixture
def network(float64):
    model = models.mlp([6], 1, activation="tanh")
    x = jnp.asarray(RNG.normal(size=(10, 2)))
    params = jax.tree.map(lambda w: w + 0.1, model.init(jax.random.key(0), x))
    prior = bnn.priors.by_path({".*/bias": bnn.priors.normal(2.0)}, default=bnn.priors.normal("fan_in"))
    data = x, jnp.sin(x[:, :1])
    return bnn.posterior(model.apply, prior, bnn.likelihoods.gaussian(0.2), data), params, x


def test_the_last_layer_is_a_linear_model_on_the_hidden_units(network):
    posterior, params, x = network
    features = jnp.tanh(x @ params[0]["weight"] + params[0]["bias"])
    # Raveled, a layer is its bias and then its weight; biases have standard deviation 2, weights 1/√6.
    design = jnp.concatenate([jnp.ones((10, 1)), features], 1)
    std = np.r_[2.0, np.full(6, 6**-0.5)]
    by_hand = bnn.exact.linear_gaussian(design, posterior.data[1][:, 0], prior_std=std, noise_std=0.2)
    found = bnn.exact.last_layer(posterior, params)
    assert float(found.log_evidence) == pytest.approx(float(by_hand.log_evidence), rel=1e-10)
    np.testing.assert_allclose(found.mean, by_hand.mean, rtol=1e-8)
    np.testing.assert_allclose(found.covariance, by_hand.covariance, rtol=1e-8, atol=1e-12)
    one, other = (
        found.predict(x + 1.0),
        by_hand.predict(np.c_[np.ones(10), np.tanh((x + 1) @ params[0]["weight"] + params[0]["bias"])]),
    )
    np.testing.assert_allclose(one.mean[:, 0], other.mean, rtol=1e-8)
    np.testing.assert_allclose(one.epistemic[:, 0], other.epistemic, rtol=1e-8)


def test_laplace_of_the_last_layer_is_exact_given_the_others(network):
    posterior, params, x = network
    exact = bnn.exact.last_layer(posterior, params)
    found = bnn.laplace(posterior, exact.params, structure="last_layer")
    fixed = posterior.prior.log_density(exact.params) - bnn.priors.by_path(
        {"bias": bnn.priors.normal(2.0)}, default=bnn.priors.normal("fan_in")
    ).log_density(exact.params[1])
    assert float(found.log_evidence - fixed) == pytest.approx(float(exact.log_evidence), abs=1e-8)
    one, other = found.predict(x + 1.0), exact.predict(x + 1.0)
    np.testing.assert_allclose(one.mean, other.mean, atol=1e-8)
    np.testing.assert_allclose(one.epistemic, other.epistemic, rtol=1e-8)


def test_a_layer_in_which_the_network_is_not_affine_is_refused(network):
    posterior, params, _ = network
    with pytest.raises(ValueError, match="layer must be one in which the network is affine"):
        bnn.exact.last_layer(posterior, params, layer="0")


DATA = np.linspace(-2, 2, 6)[:, None], 1.5 * np.sin(2 * np.linspace(-2, 2, 6))
NEW = np.array([[-1.3], [-0.4], [0.6], [2.5]])
BIASED = {"weight_std": 1.5, "bias_std": 0.5, "noise_std": 0.3}


def gaps(widths, numbers):
    model = models.mlp([8], 1, parameterization="ntk", weight_std=1.5, bias_std=0.5)
    limit = bnn.nngp(model.kernel, DATA, NEW, noise_std=0.3)
    evidence = multivariate_normal(
        np.zeros(6), np.asarray(model.kernel(DATA[0], get="nngp")) + 0.09 * np.eye(6)
    ).logpdf(DATA[1])
    rows = []
    for width, num_samples in zip(widths, numbers, strict=True):
        found = bnn.exact.finite_width(
            jax.random.key(0), DATA, NEW, width=int(width), num_samples=num_samples, **BIASED
        )
        rows.append((
            np.sqrt(np.mean((found.mean.value - limit.mean) ** 2)),
            np.sqrt(np.mean(found.mean.standard_error**2)),
            float(found.log_evidence.value) - evidence,
            float(found.log_evidence.standard_error),
            float(found.ess),
        ))  # fmt: skip
    return np.array(rows).T


def test_the_posterior_of_finite_width_approaches_the_nngp_as_one_over_width(float64):
    widths = np.array([32, 128, 512])
    mean, mean_error, evidence, evidence_error, ess = gaps(widths, [10_000, 6_000, 4_000])
    assert (ess > 400).all()
    # Each gap is known to better than a third of itself ...
    assert (mean_error < mean / 3).all()
    assert (evidence_error < abs(evidence) / 3).all()
    # ... and falls about as 1/width: 1/4 from one width to the next.
    for gap in (mean, abs(evidence)):
        slope = np.polyfit(np.log(widths), np.log(gap), 1)[0]
        assert -1.1 < slope < -0.7, (slope, gap)


def test_width_one_agrees_with_quadrature(float64):
    # One hidden unit without biases on one input: h = σ_w w x, so that K depends on w through one number.
    x, y, new = np.array([[1.0], [-0.5]]), np.array([0.8, 0.1]), np.array([[0.7], [-1.0]])
    nodes, weights = np.polynomial.hermite_e.hermegauss(200)
    total, mean = 0.0, np.zeros(2)
    for w, weight in zip(nodes, weights / np.sqrt(2 * np.pi), strict=True):
        phi, phi_new = np.maximum(w * x, 0), np.maximum(w * new, 0)
        k = phi @ phi.T + 0.25 * np.eye(2)
        density = weight * multivariate_normal(np.zeros(2), k).pdf(y)
        total += density
        mean += density * (phi_new @ phi.T @ np.linalg.solve(k, y))
    found = bnn.exact.finite_width(
        jax.random.key(0), (x, y), new, width=1, noise_std=0.5, weight_std=1.0, num_samples=40_000, batch_size=1000
    )
    error = np.abs(np.asarray(found.mean.value) - mean / total)
    # Quadrature across the kink is good to about 1e-3.
    assert (error < 4 * np.asarray(found.mean.standard_error) + 2e-3).all()
    assert abs(float(found.log_evidence.value) - np.log(total)) < 4 * float(found.log_evidence.standard_error) + 2e-3
