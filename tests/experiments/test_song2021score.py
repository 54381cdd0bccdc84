import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

import dlmath as dm


@pytest.mark.parametrize("sde", ["vp", "ve"])
def test_scale_and_variance_solve_the_equations_of_the_moments(paper, sde, double_precision):
    """a' = −½ b a and (s²)' = −b s² + g², from a = 1 and s = 0."""
    process = paper.diffusion(paper.Config(), sde)
    rates = lambda t, y: [
        -0.5 * process.contraction(np.float64(t)) * y[0],
        -process.contraction(np.float64(t)) * y[1] + process.spread(np.float64(t)),
    ]
    times = [0.2, 0.7, 1.0]
    found = integrate.solve_ivp(rates, (0, 1), [1.0, 0.0], t_eval=times, rtol=1e-10, atol=1e-14)
    scale, std = process.marginal(np.array(times))
    np.testing.assert_allclose(scale, found.y[0], rtol=1e-7)
    np.testing.assert_allclose(std**2, found.y[1], rtol=1e-7)


@pytest.mark.parametrize("blur", [0.0, 1.0])
def test_the_share_of_the_heavy_side_and_the_moments_are_integrals_of_the_density(paper, blur, double_precision):
    config = paper.Config()
    target = dm.mcmc.targets.mixture(*paper.mixture(config))
    axis = np.linspace(-7, 7, 701)
    x, y = np.meshgrid(axis, axis, indexing="ij")
    points = jnp.asarray(np.stack([x, y], axis=-1).reshape(-1, 2))
    mass = np.exp(jax.vmap(lambda x: target.diffused_log_density(x, 1.0, blur))(points)).reshape(x.shape)
    mass *= (axis[1] - axis[0]) ** 2
    np.testing.assert_allclose(mass.sum(), 1.0, rtol=1e-6)
    on_the_line = 0.5 * mass[np.abs(x + y) < 1e-9].sum()
    np.testing.assert_allclose(mass[x + y > 1e-9].sum() + on_the_line, paper.heavy(config, blur), rtol=1e-4)
    mean = [(mass * a).sum() for a in (x, y)]
    dx, dy = x - mean[0], y - mean[1]
    expected = [*mean, *((mass * product).sum() for product in (dx * dx, dy * dy, dx * dy))]
    np.testing.assert_allclose(paper.moments(config, blur), expected, rtol=1e-6)


def test_the_distance_of_laws_is_that_of_scipy(paper, double_precision):
    config = paper.Config()
    means, covariances, weights = law = paper.mixture(config)
    u = np.random.default_rng(0).normal(0.5, 1.0, 200)
    deviations = np.sqrt(0.36 * covariances.sum((1, 2)) / 2 + 0.64)
    exact = lambda u: stats.norm.cdf(u[:, None], 0.6 * means.sum(1) / np.sqrt(2), deviations) @ weights
    found = paper.kolmogorov(jnp.asarray(u), law, 0.6, 0.8)
    np.testing.assert_allclose(found, stats.kstest(u, exact).statistic, rtol=1e-10)
    np.testing.assert_allclose(stats.kstwobign.mean(), paper.KOLMOGOROV, rtol=1e-6)


def test_the_variance_of_a_long_annealing_is_that_of_langevin_dynamics_at_the_last_level(paper):
    config = paper.Config(steps_per_level=5000)
    level = config.levels[1]
    law = dm.mcmc.stationary_law("ula", np.eye(1) / (config.variance + level**2), config.level_step * level**2)
    np.testing.assert_allclose(paper.annealed_variance(config), law.position[0, 0], rtol=1e-8)


def test_the_flow_of_a_gaussian_maps_noise_to_data_by_quantiles(paper, double_precision):
    """With both modes at the origin, of one variance v, the flow is linear: x(0)/√v = x(1)/std of x(1)."""
    config = paper.Config(mean=0.0, stretch=1.0)
    keys = jax.random.split(jax.random.key(0), 2)
    found = paper.generate(
        keys, paper.mixture(config), paper.diffusion(config, "vp"), 2000, 0.1, num_samples=300, sampler="flow"
    )
    for key, variance in zip(keys, np.asarray(found["moments"])[:, 2:4], strict=True):
        start = jax.random.normal(jax.random.split(key, 5)[0], (300, 2))
        np.testing.assert_allclose(variance, config.variance * np.mean(np.square(start), axis=0), rtol=1e-4)


@pytest.mark.parametrize("sde", ["vp", "ve"])
def test_likelihoods_of_a_gaussian_are_exact_with_many_steps(paper, sde, double_precision):
    config = paper.Config(mean=0.0, stretch=1.0, num_points=20, likelihood_steps=(500, 1000))
    keys = jax.random.split(jax.random.key(0), 2)
    error = paper.measure_likelihood(config, keys, sde=sde, solver="heun")["error"][1]
    assert np.max(error[:, 1]) < 1e-3
    np.testing.assert_allclose(error[:, 0] / error[:, 1], 4.0, rtol=0.1)
