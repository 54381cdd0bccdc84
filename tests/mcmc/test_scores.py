"""From scores to potentials, and whether a score is a gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.diagnostics import effective_sample_size
from numpyro.infer import MCMC, NUTS

import dlmath as dm

CENTRES = jnp.array([[-1.5, 0.0], [1.5, 0.0]])


def log_density(x):
    """Two unit Gaussians at (±1.5, 0): variances 1 + 1.5² = 3.25 and 1."""
    return jax.nn.logsumexp(-0.5 * jnp.sum((x - CENTRES) ** 2, axis=1))


score = jax.grad(log_density)


def tree_log_density(params):
    return -jnp.sum(params["a"] ** 4) / 4 + jnp.sum(jnp.sin(params["b"])) * params["a"][0]


TREE = {"a": jnp.array([0.5, -1.0]), "b": jnp.array([[0.3, 2.0]])}


def test_the_potential_is_the_log_density_up_to_a_constant():
    potential = dm.mcmc.score_potential(score)
    x = 2 * jax.random.normal(jax.random.key(0), (50, 2))
    expected = log_density(jnp.zeros(2)) - jax.vmap(log_density)(x)
    np.testing.assert_allclose(jax.vmap(potential)(x), expected, atol=3e-6)


def test_the_quadrature_is_exact_for_polynomials_of_its_degree():
    # Along a line a quartic has a score of degree three, which two nodes integrate exactly; one does not.
    quartic = lambda x: -jnp.sum(x**4) / 4
    x = jnp.array([1.0, -2.0])
    assert float(dm.mcmc.score_potential(jax.grad(quartic), order=2)(x)) == pytest.approx(17 / 4, rel=1e-6)
    assert abs(float(dm.mcmc.score_potential(jax.grad(quartic), order=1)(x)) - 17 / 4) > 0.1


def test_the_gradient_is_minus_the_score_even_of_a_coarse_quadrature():
    potential = dm.mcmc.score_potential(jax.grad(tree_log_density), order=1)
    value, gradient = jax.value_and_grad(potential)(TREE)
    for found, expected in zip(
        jax.tree.leaves(gradient), jax.tree.leaves(jax.grad(tree_log_density)(TREE)), strict=True
    ):
        np.testing.assert_array_equal(found, -expected)
    assert value.shape == ()


def test_an_origin_moves_the_potential_by_a_constant():
    origin = jax.tree.map(lambda a: a + 0.7, TREE)
    potential = dm.mcmc.score_potential(jax.grad(tree_log_density), origin=origin)
    assert float(potential(origin)) == 0
    assert float(potential(TREE)) == pytest.approx(float(tree_log_density(origin) - tree_log_density(TREE)), rel=1e-5)


def test_the_rise_from_there_and_back_is_nothing():
    x, y = jnp.array([0.3, 1.0]), jnp.array([-2.0, 0.4])
    there, back = dm.mcmc.potential_rise(score, x, y), dm.mcmc.potential_rise(score, y, x)
    assert float(there) == pytest.approx(float(log_density(x) - log_density(y)), rel=1e-5)
    assert float(there + back) == pytest.approx(0, abs=1e-6)


def test_nuts_samples_two_modes_from_their_score_alone():
    kernel = NUTS(potential_fn=dm.mcmc.score_potential(score))
    mcmc = MCMC(kernel, num_warmup=500, num_samples=1500, num_chains=4, chain_method="vectorized", progress_bar=False)
    mcmc.run(jax.random.key(0), init_params=jnp.zeros((4, 2)))
    x = np.asarray(mcmc.get_samples(group_by_chain=True), np.float64)
    assert not mcmc.get_extra_fields()["diverging"].any()
    assert (dm.mcmc.acceptance(mcmc.last_state) > 0.6).all()
    for values, expected in [(x, 0.0), (x**2, [3.25, 1.0])]:
        mcse = values.std(axis=(0, 1)) / np.sqrt(effective_sample_size(values))
        np.testing.assert_array_less(np.abs(values.mean(axis=(0, 1)) - expected), 4 * mcse)


# Curl -------------------------------------------------------------------------------------------------------------


def spiral(angle):
    """x -> −R x with R a rotation by `angle`: the antisymmetric part is its sine."""
    rotation = jnp.array([[jnp.cos(angle), -jnp.sin(angle)], [jnp.sin(angle), jnp.cos(angle)]])
    return lambda x: -rotation @ x


@pytest.mark.parametrize("angle", [0.0, 0.1, 1.0, np.pi / 2])
def test_the_curl_of_a_spiral_is_the_sine_of_its_angle(angle):
    assert float(dm.mcmc.curl(spiral(angle), jnp.array([0.5, 2.0]))) == pytest.approx(np.sin(angle), abs=1e-6)


def test_a_gradient_has_no_curl_on_a_tree():
    assert float(dm.mcmc.curl(jax.grad(tree_log_density), TREE)) < 1e-6


def test_the_curl_is_that_of_the_dense_jacobian_and_its_estimate_agrees():
    rng = np.random.default_rng(0)
    matrix, d = rng.normal(size=(30, 30)), 30
    field = lambda x: jnp.tanh(jnp.asarray(matrix, x.dtype) @ x)
    x = jnp.asarray(rng.normal(size=d) / 10, jnp.float32)
    J = np.diag(1 / np.cosh(matrix @ np.asarray(x, np.float64)) ** 2) @ matrix
    expected = np.linalg.norm((J - J.T) / 2) / np.linalg.norm(J)
    assert float(dm.mcmc.curl(field, x)) == pytest.approx(expected, rel=1e-5)
    estimates = [dm.mcmc.curl_estimate(jax.random.key(i), field, x, num_probes=64) for i in range(30)]
    z = np.array([(e.value - expected) / e.standard_error for e in estimates])
    assert abs(z.mean()) < 4 / np.sqrt(30)
    assert 0.6 < z.std() < 1.5


def test_the_check_passes_gradients_and_stops_rotations():
    dm.mcmc.check_curl(score, jnp.ones(2))
    dm.mcmc.check_curl(score, jnp.ones(2), key=jax.random.key(0))
    for key in (None, jax.random.key(0)):
        with pytest.raises(ValueError, match=r"score must be a gradient, got a curl .* of 0\.0998 > tolerance=0\.001"):
            dm.mcmc.check_curl(spiral(0.1), jnp.ones(2), key=key)
    dm.mcmc.check_curl(spiral(0.1), jnp.ones(2), tolerance=0.2)


@pytest.mark.parametrize("num_chains", [1, 2])
def test_mala_checks_the_curl_of_its_score_at_the_start(num_chains):
    kernel = dm.mcmc.MALA(score=spiral(0.5), check_curl=True)
    mcmc = MCMC(
        kernel, num_warmup=1, num_samples=1, num_chains=num_chains, chain_method="vectorized", progress_bar=False
    )
    start = jnp.ones(2) if num_chains == 1 else jnp.ones((2, 2))
    with pytest.raises(ValueError, match="score must be a gradient, got a curl"):
        mcmc.run(jax.random.key(0), init_params=start)
