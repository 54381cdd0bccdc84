import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad
from scipy.special import exp1

from dlmath import models
from dlmath.bnn import likelihoods, priors
from dlmath.bnn.priors import scaled_exponential_integral

TREE = [{"weight": jnp.zeros((4, 3)), "bias": jnp.zeros(3)}, {"weight": jnp.zeros((3, 2))}]
W = np.array([[-1.5, 0.2], [0.01, 3.0]])

FAMILIES = {
    "normal": (priors.normal(0.7), stats.norm(scale=0.7)),
    "laplace": (priors.laplace(0.7), stats.laplace(scale=0.7)),
    "student_t": (priors.student_t(0.7, degrees_of_freedom=3.0), stats.t(3.0, scale=0.7)),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_log_densities_are_those_of_scipy_and_draws_follow_them(float64, name):
    prior, law = FAMILIES[name]
    assert float(prior.log_density(jnp.asarray(W))) == pytest.approx(law.logpdf(W).sum(), rel=1e-12)
    draws = prior.sample(jax.random.key(0), jnp.zeros(4000))
    assert stats.kstest(np.asarray(draws), law.cdf).pvalue > 1e-3


def test_the_horseshoe_is_normal_given_half_cauchy_scales(float64):
    prior = priors.horseshoe(0.5)
    density = lambda w: np.exp(float(prior.log_density(jnp.array([w]))))
    normal = lambda w, s: np.exp(-0.5 * (w / s) ** 2) / (s * np.sqrt(2 * np.pi))
    mixture = lambda w: quad(lambda s: normal(w, 0.5 * s) * 2 / (np.pi * (1 + s**2)), 0, np.inf, limit=200)[0]
    for w in (0.05, 0.6, 4.0):
        assert density(w) == pytest.approx(mixture(w), rel=1e-6)
    draws = np.asarray(prior.sample(jax.random.key(0), jnp.zeros(4000)))
    # P(|w| < 1/2) for z = w/τ: the integral of the density, whose pole at 0 is integrable.
    grid = np.geomspace(1e-9, 0.5, 4001)
    values = np.asarray(jax.vmap(lambda w: jnp.exp(prior.log_density(w[None])))(jnp.asarray(grid)))
    inside = 2 * np.trapezoid(values * grid, np.log(grid))
    assert abs(np.mean(np.abs(draws) < 0.5) - inside) < 4 * np.sqrt(inside * (1 - inside) / 4000)


def test_the_horseshoe_has_finite_gradients_near_and_far(float64):
    prior = priors.horseshoe()
    w = jnp.array([0.0, 1e-8, 1e-3, 1.0, 40.0, 1e6])
    assert np.isfinite(float(prior.log_density(w)))
    assert np.isfinite(np.asarray(jax.grad(prior.log_density)(w))).all()


def test_the_scaled_exponential_integral_is_that_of_scipy(float64):
    x = np.array([1e-10, 1e-3, 0.5, 1.0, 1.999, 2.0, 2.001, 5.0, 50.0, 300.0])
    np.testing.assert_allclose(scaled_exponential_integral(jnp.asarray(x)), exp1(x) * np.exp(x), rtol=1e-12)
    step = 1e-5 * x
    slope = (np.exp(x + step) * exp1(x + step) - np.exp(x - step) * exp1(x - step)) / (2 * step)
    found = jax.vmap(jax.grad(scaled_exponential_integral))(jnp.asarray(x))
    np.testing.assert_allclose(found, slope, rtol=1e-5)


@pytest.mark.parametrize(
    ("scale", "options"),
    [
        ("he", {"weight_std": 2**0.5}),
        ("fan_in", {"weight_std": 1.0}),
        ("ntk", {"parameterization": "ntk"}),
    ],
)
def test_scales_are_those_at_which_networks_start(scale, options):
    model = models.mlp([300], 200, bias_std=None, **options)
    params = model.init(jax.random.key(0), jnp.ones((1, 100)))
    for leaf, precision in zip(
        jax.tree.leaves(params), jax.tree.leaves(priors.normal(scale).precisions(params)), strict=True
    ):
        # χ² with as many degrees of freedom as entries, at least 30,000.
        assert float(jnp.var(leaf) * precision) == pytest.approx(1.0, abs=5 * (2 / 30_000) ** 0.5)


def test_the_first_pattern_that_matches_a_path_gives_the_law():
    prior = priors.by_path(
        {"0/bias": priors.normal(1.0), "0": priors.normal(2.0), ".*/weight": priors.normal(4.0)},
    )
    found = jax.tree.map(float, prior.precisions(TREE))
    assert found == [{"bias": 1.0, "weight": 1 / 4}, {"weight": 1 / 16}]


def test_a_branch_is_no_prefix_of_a_longer_number():
    tree = {"1": jnp.zeros(2), "10": jnp.zeros(2)}
    found = priors.by_path({"1": priors.normal(2.0)}, default=priors.normal(1.0)).precisions(tree)
    assert jax.tree.map(float, found) == {"1": 0.25, "10": 1.0}


def test_the_density_of_a_tree_is_the_product_over_leaves(float64):
    tree = jax.tree.map(lambda w: w + 0.3, TREE)
    prior = priors.by_path({".*/bias": priors.laplace(2.0)}, default=priors.normal("fan_in"))
    expected = 3 * stats.laplace(scale=2).logpdf(0.3) + 12 * stats.norm(scale=0.5).logpdf(0.3)
    expected += 6 * stats.norm(scale=3**-0.5).logpdf(0.3)
    assert float(prior.log_density(tree)) == pytest.approx(expected, rel=1e-6)


NOISE = {
    "log_normal": (likelihoods.log_normal(0.5, 0.8), stats.norm(np.log(0.5), 0.8).cdf),
    "half_cauchy": (likelihoods.half_cauchy(0.5), lambda t: stats.halfcauchy(scale=0.5).cdf(np.exp(t))),
    "gamma_precision": (
        likelihoods.gamma_precision(6.0, 2.0),
        lambda t: stats.gamma(6.0, scale=0.5).sf(np.exp(-2 * t)),
    ),
}


@pytest.mark.parametrize("name", NOISE)
def test_noise_priors_are_densities_of_the_logarithm_and_draws_follow_them(float64, name):
    prior, cdf = NOISE[name]
    for t in (-2.0, -0.3, 1.0):
        slope = (cdf(t + 1e-4) - cdf(t - 1e-4)) / 2e-4
        assert np.exp(float(prior.log_density(jnp.array(t)))) == pytest.approx(slope, rel=1e-5)
    draws = np.asarray(jax.vmap(prior.sample)(jax.random.split(jax.random.key(0), 2000)))
    assert stats.kstest(draws, cdf).pvalue > 1e-3


def test_likelihoods_are_those_of_scipy(float64):
    f, y = np.array([[0.3, -1.0], [2.0, 0.5]]), np.array([[0.1, 0.2], [1.0, 2.0]])
    found = likelihoods.gaussian(0.4).log_density(jnp.asarray(f), jnp.asarray(y))
    np.testing.assert_allclose(found, stats.norm(f, 0.4).logpdf(y).sum(1), rtol=1e-12)
    labels = jnp.array([1, 0])
    p = np.exp(f) / np.exp(f).sum(1, keepdims=True)
    np.testing.assert_allclose(likelihoods.categorical().log_density(jnp.asarray(f), labels), np.log(p[[0, 1], [1, 0]]))
    bits = np.array([1, 0])
    found = likelihoods.bernoulli().log_density(jnp.asarray(f[:, 0]), jnp.asarray(bits))
    np.testing.assert_allclose(found, stats.bernoulli(1 / (1 + np.exp(-f[:, 0]))).logpmf(bits), rtol=1e-12)
