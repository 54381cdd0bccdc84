import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

pytestmark = pytest.mark.usefixtures("double_precision")


def test_the_recursion_is_an_expectation_over_gaussians(paper):
    # One hidden layer: Σ² = E φ(u)φ(v) + β² and Θ² = Σ¹ E φ'(u)φ'(v) + Σ² over (u, v) of covariance Σ¹, in
    # polar form: u = r cos a, v = r cos(a − γ), with r independent of a, which is uniform.
    beta, cosine = 0.3, np.cos(1.1)
    variance, covariance = 0.5 + beta**2, cosine / 2 + beta**2
    gamma = np.arccos(covariance / variance)
    a = np.linspace(0, 2 * np.pi, 200_001)[:-1]
    u, v = np.cos(a), np.cos(a - gamma)
    both = (u > 0) & (v > 0)
    sigma = 2 * variance * np.mean(u * v * both) + beta**2  # E r² = 2 variance
    theta = covariance * np.mean(both) + sigma
    np.testing.assert_allclose(paper.theory(2, beta, cosine), (sigma, theta), rtol=1e-4)


def test_the_kernels_of_four_layers_are_those_computed_by_hand(paper):
    sigma, theta = paper.theory(4, 0.1, np.cos([0.0, 0.8]))
    np.testing.assert_allclose(sigma[0], 0.08125, rtol=1e-12)
    np.testing.assert_allclose(theta, [0.2825, 0.168017], atol=1e-6)


def test_the_kernels_on_the_circle_are_products_of_gradients(paper):
    model = paper.network(8, 3, 0.1)
    angles = jnp.array([0.0, 1.0, 2.5], jnp.float32)
    params = paper.starts(model, jax.random.split(jax.random.key(0), 2), paper.circle(angles))
    found = paper.kernels(model, params, angles)
    one = jax.tree.map(lambda leaf: leaf[1], params)
    gradients = jax.jacobian(lambda params: model.apply(params, paper.circle(angles))[:, 0])(one)
    rows = np.concatenate([leaf.reshape(3, -1) for leaf in jax.tree.leaves(gradients)], axis=1)
    np.testing.assert_allclose(found[1], rows[0] @ rows.T, rtol=1e-5)


def test_at_the_training_points_the_limit_is_the_target_without_variance(paper):
    angles = (-np.pi, 0.0, np.pi / 3)
    config = paper.Config(angles=angles, num_angles=6, regression_steps=10_000)
    found = paper.measure_limit(config, None)
    points = [0, 3, 4]  # of the grid −π, −2π/3, …
    np.testing.assert_allclose(found["mean"][1][jnp.array(points)], np.cos(angles) * np.sin(angles), atol=1e-6)
    np.testing.assert_allclose(found["deviation"][1][jnp.array(points)], 0, atol=1e-5)


def test_shares_of_a_gaussian_lie_inside_the_band_and_below_the_deciles(paper):
    z = np.random.default_rng(0).normal(size=(200, 1, 500))
    output = xr.DataArray(2 + 3 * z, {"regression_width": [50]}, ("seed", "regression_width", "angle"))
    limit = {
        "limit/mean": xr.DataArray(np.full(500, 2.0), dims="angle"),
        "limit/deviation": xr.DataArray(np.full(500, 3.0), dims="angle"),
    }
    results = {"regression/output": output, **limit}
    config = paper.Config(regression_widths=(50,))
    assert float(paper._inside(config, results).mean()) == pytest.approx(0.95, abs=0.005)
    assert float(paper._below(results, paper.DECILE).mean()) == pytest.approx(0.9, abs=0.005)
