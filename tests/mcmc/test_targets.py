import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.infer.util import log_density as model_log_density
from scipy import integrate, stats

import dlmath as dm

targets = dm.mcmc.targets

pytestmark = pytest.mark.usefixtures("float64")

RNG = np.random.default_rng(0)
A = RNG.normal(size=(3, 3))
COVARIANCE = A @ A.T + 0.5 * np.eye(3)
X, Y = RNG.normal(size=(30, 2)), (RNG.uniform(size=30) < 0.6).astype(float)

# Built in the tests, under float64.
MAKE = {
    "gaussian": lambda: targets.gaussian([1.0, -2.0, 0.5], COVARIANCE),
    "mixture": lambda: targets.mixture(
        [[-2.0, 0.0, 1.0], [2.0, 1.0, 0.0]], np.stack([COVARIANCE, np.diag([0.2, 1.0, 3.0])]), [1.0, 3.0]
    ),
    "funnel": lambda: targets.funnel(4),
    "banana": lambda: targets.banana(3),
    "eight_schools": targets.eight_schools,
    "logistic_regression": lambda: targets.logistic_regression(X, Y, 2.0),
}
NORMALISED = ("gaussian", "mixture", "funnel", "banana")


def within(found, expected, error, factor=4.0):
    """Every entry within some standard errors."""
    np.testing.assert_array_less(np.abs(np.asarray(found) - np.asarray(expected)), factor * np.asarray(error) + 1e-12)


def moments_agree(values, mean, covariance):
    """The sample mean and covariance of independent rows, each within 4 of its standard errors."""
    values, offsets = np.asarray(values), np.asarray(values) - np.asarray(mean)
    within(offsets.mean(0), 0.0, offsets.std(0) / np.sqrt(len(values)))
    products = offsets[:, :, None] * offsets[:, None, :]
    within(products.mean(0), covariance, products.std(0) / np.sqrt(len(values)))


@pytest.mark.parametrize("name", MAKE)
def test_the_score_is_the_gradient_of_the_log_density(name):
    target = MAKE[name]()
    x = target.initial + 0.7 * jax.random.normal(jax.random.key(1), (20, *target.initial.shape))
    np.testing.assert_allclose(
        jax.vmap(target.score)(x), jax.vmap(jax.grad(target.log_density))(x), rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("name", NORMALISED)
def test_draws_have_the_moments_of_the_target(name):
    target = MAKE[name]()
    draws = target.sample(jax.random.key(0), 100_000)
    if name == "funnel":  # the fourth moment of x is 3 e^18: its variance is tested by its standardised form below
        within(draws[:, 0].mean(), 0.0, 3 / np.sqrt(1e5))
        within(draws[:, 0].var(), 9.0, 9 * np.sqrt(2 / 1e5))
        standardised = draws[:, 1:] * np.exp(-draws[:, :1] / 2)
        moments_agree(np.hstack([draws[:, :1] / 3, standardised]), np.zeros(4), np.eye(4))
    else:
        moments_agree(draws, target.mean.value, target.covariance.value)
    assert not np.any(target.mean.standard_error)
    assert not np.any(target.covariance.standard_error)


@pytest.mark.parametrize("name", NORMALISED)
def test_the_density_integrates_to_one_and_is_that_of_the_draws(name):
    """E_p[q/p] = 1 for every normalised q that p covers: here a narrow Gaussian."""
    target = MAKE[name]()
    x = target.sample(jax.random.key(2), 100_000)
    centre, scale = jnp.median(x, axis=0), 0.15 * (jnp.quantile(x, 0.75, axis=0) - jnp.quantile(x, 0.25, axis=0))
    narrow = targets.gaussian(centre, scale**2)
    ratios = np.exp(jax.vmap(narrow.log_density)(x) - jax.vmap(target.log_density)(x))
    within(ratios.mean(), 1.0, ratios.std() / np.sqrt(len(ratios)))
    assert ratios.std() / np.sqrt(len(ratios)) < 0.1
    assert target.log_normalizer == 0


def test_the_log_density_of_a_gaussian_is_that_of_scipy():
    target = MAKE["gaussian"]()
    x = np.array([0.3, 0.1, -2.0])
    expected = stats.multivariate_normal([1.0, -2.0, 0.5], COVARIANCE).logpdf(x)
    np.testing.assert_allclose(target.log_density(jnp.asarray(x)), expected, rtol=1e-12)
    np.testing.assert_allclose(target.score(jnp.asarray(x)), -np.linalg.solve(COVARIANCE, x - [1.0, -2.0, 0.5]))


def test_variances_and_covariance_matrices_are_the_same_gaussian():
    for covariance, matrix in ((2.0, 2 * np.eye(2)), ([1.0, 3.0], np.diag([1.0, 3.0]))):
        x = jnp.array([0.4, -1.0])
        ours = targets.gaussian([0.0, 1.0], covariance).log_density(x)
        np.testing.assert_allclose(ours, targets.gaussian([0.0, 1.0], matrix).log_density(x), rtol=1e-12)


def test_the_moments_of_a_mixture_are_integrals_of_its_density():
    target = targets.mixture([[-1.0], [2.0]], [0.25, 1.5], [2.0, 1.0])
    x = np.linspace(-15, 15, 20_001)
    density = np.exp(jax.vmap(target.log_density)(x[:, None]))
    integral = lambda f: np.trapezoid(f * density, x)
    np.testing.assert_allclose(integral(1), 1.0, atol=1e-10)
    np.testing.assert_allclose(target.mean.value[0], integral(x), atol=1e-10)
    np.testing.assert_allclose(target.covariance.value[0, 0], integral((x - integral(x)) ** 2), atol=1e-10)


@pytest.mark.parametrize(("scale", "std"), [(1.0, 0.05), (1.0, 2.0), (0.8, 0.6), (0.1, np.sqrt(0.99))])
def test_the_diffused_score_is_that_of_a_numerical_convolution(scale, std):
    target = targets.mixture([[-1.0], [2.0]], [0.25, 1.5], [2.0, 1.0])
    clean = np.linspace(-15, 15, 40_001)[None, :]
    density = np.exp(jax.vmap(target.log_density)(clean[0][:, None]))
    x = np.array([-3.0, -0.7, 0.2, 1.0, 4.0])[:, None]
    noise = density * stats.norm.pdf(x, scale * clean, std)
    convolved = np.trapezoid(noise, clean[0], axis=1)
    slope = np.trapezoid(-(x - scale * clean) / std**2 * noise, clean[0], axis=1)
    found = jax.vmap(lambda x: target.diffused_log_density(x, scale, std))(jnp.asarray(x))
    np.testing.assert_allclose(found, np.log(convolved), rtol=1e-8, atol=1e-9)
    score = jax.vmap(lambda x: target.diffused_score(x, scale, std))(jnp.asarray(x))
    np.testing.assert_allclose(score[:, 0], slope / convolved, rtol=1e-7, atol=1e-8)


def test_the_diffused_score_is_the_gradient_of_the_diffused_log_density_in_many_dimensions():
    target = MAKE["mixture"]()
    x = jax.random.normal(jax.random.key(1), (10, 3))
    score = jax.vmap(lambda x: target.diffused_score(x, 0.6, 0.8))(x)
    gradient = jax.vmap(jax.grad(lambda x: target.diffused_log_density(x, 0.6, 0.8)))(x)
    np.testing.assert_allclose(score, gradient, rtol=1e-9)


def test_draws_plus_noise_have_the_diffused_density():
    """The tower property: E score(aX + sε) = 0, and E (aX + sε)·score = −d."""
    target = MAKE["mixture"]()
    key_x, key_noise = jax.random.split(jax.random.key(3))
    x = 0.6 * target.sample(key_x, 50_000) + 0.8 * jax.random.normal(key_noise, (50_000, 3))
    scores = np.asarray(jax.vmap(lambda x: target.diffused_score(x, 0.6, 0.8))(x))
    within(scores.mean(0), 0.0, scores.std(0) / np.sqrt(len(scores)))
    virial = np.sum(np.asarray(x) * scores, axis=1)
    within(virial.mean(), -3.0, virial.std() / np.sqrt(len(virial)))


def test_neals_funnel_has_the_published_standard_deviations():
    covariance = targets.funnel().covariance.value
    np.testing.assert_allclose(np.sqrt(np.diag(covariance)), [3.0] + 9 * [np.exp(2.25)], rtol=1e-12)
    second = integrate.quad(lambda v: np.exp(v) * stats.norm.pdf(v, 0, 3), -40, 60)[0]
    np.testing.assert_allclose(covariance[1, 1], second, rtol=1e-8)


def test_the_banana_has_the_standard_deviations_of_inference_gym():
    np.testing.assert_allclose(np.sqrt(np.diag(targets.banana().covariance.value)), [10.0, 4.3589], rtol=1e-5)


def test_exact_means_of_eight_schools_agree_with_posteriordb():
    target = targets.eight_schools()
    gold = targets.EIGHT_SCHOOLS_GOLD
    within(target.mean.value, gold.value, gold.standard_error, factor=3.5)
    squares = np.diag(target.covariance.value) + target.mean.value**2
    gold = targets.EIGHT_SCHOOLS_GOLD_SQUARES
    within(squares, gold.value, gold.standard_error, factor=3.5)


def test_moments_of_eight_schools_are_those_of_a_two_dimensional_quadrature():
    """Over (μ, log τ), with the schools integrated one by one: another order than that of the code."""
    y, sigma = np.array([28, 8, -3, 7, -1, 1, 18, 12.0]), np.array([15, 10, 16, 11, 9, 11, 10, 18.0])
    mu, log_tau = np.linspace(-35, 45, 801)[:, None], np.linspace(-12, 9, 801)[None, :]
    tau = np.exp(log_tau)
    log_joint = stats.norm.logpdf(mu, 0, 5) + stats.halfcauchy.logpdf(tau, 0, 5) + log_tau
    for effect, error in zip(y, sigma, strict=True):
        log_joint = log_joint + stats.norm.logpdf(effect, mu, np.sqrt(error**2 + tau**2))
    joint = np.exp(log_joint)
    cell = (mu[1, 0] - mu[0, 0]) * (log_tau[0, 1] - log_tau[0, 0])
    expect = lambda f: np.sum(f * joint) / np.sum(joint)
    target = targets.eight_schools()
    # The tails of log τ below −12 and above 9 hold about 1e-6 of the mass.
    np.testing.assert_allclose(target.log_normalizer, np.log(np.sum(joint) * cell), atol=1e-5)
    np.testing.assert_allclose(target.mean.value[8:], [expect(mu), expect(tau)], rtol=2e-5)
    theta = (y[0] * tau**2 + mu * sigma[0] ** 2) / (sigma[0] ** 2 + tau**2)
    np.testing.assert_allclose(target.mean.value[0], expect(theta), rtol=2e-5)
    variance = expect(theta**2 + tau**2 * sigma[0] ** 2 / (sigma[0] ** 2 + tau**2)) - expect(theta) ** 2
    np.testing.assert_allclose(target.covariance.value[0, 0], variance, rtol=1e-4)
    covariance = expect(theta * tau) - expect(theta) * expect(tau)
    np.testing.assert_allclose(target.covariance.value[0, 9], covariance, rtol=1e-4)
    covariance = expect(theta * mu) - expect(theta) * expect(mu)
    np.testing.assert_allclose(target.covariance.value[0, 8], covariance, rtol=1e-4)


def test_the_log_density_of_eight_schools_is_that_of_its_model():
    target = targets.eight_schools()
    for x in jax.random.normal(jax.random.key(0), (3, 10)):
        sites = {"z": x[:8], "mu": x[8], "tau": jnp.exp(x[9])}
        expected = model_log_density(target.model, (), {}, sites)[0] + x[9]
        np.testing.assert_allclose(target.log_density(x), expected, rtol=1e-12)


def test_the_log_density_of_logistic_regression_is_that_of_its_model():
    target = MAKE["logistic_regression"]()
    for beta in jax.random.normal(jax.random.key(0), (3, 2)):
        expected = model_log_density(target.model, (), {}, {"beta": beta})[0]
        np.testing.assert_allclose(target.log_density(beta), expected, rtol=1e-12)


def test_logistic_regression_starts_at_its_mode():
    target = MAKE["logistic_regression"]()
    assert np.linalg.norm(target.score(target.initial)) < 1e-10
    separable = targets.logistic_regression([[1.0], [-1.0]], [1, 0], prior_scale=1e3)
    assert np.linalg.norm(separable.score(separable.initial)) < 1e-10
