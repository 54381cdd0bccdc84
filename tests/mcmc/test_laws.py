"""Every kernel, run by numpyro's MCMC, has the law that its docstring states.

Moments are taken over many independent chains after warm-up, so that the Monte Carlo standard error of each is known:
√((ΣᵢᵢΣⱼⱼ + Σᵢⱼ²)/N) for a covariance of a Gaussian. All must lie within four of them.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.infer import MCMC

import dlmath as dm
from dlmath.mcmc import _preconditioned_sgld

P = np.array([[2.0, 0.6], [0.6, 1.0]])
MEAN = np.array([1.0, -0.5])
NUM_CHAINS = 8_000


def score(x):
    return -jnp.asarray(P, x.dtype) @ (x - jnp.asarray(MEAN, x.dtype))


def potential(x):
    return 0.5 * (x - MEAN) @ jnp.asarray(P, x.dtype) @ (x - MEAN)


def draws(kernel, *data, num_warmup=60, seed=0, field="z", num_chains=NUM_CHAINS, start=None):
    """The draws of independent chains after warm-up, [chain, d]."""
    mcmc = MCMC(
        kernel, num_warmup=num_warmup, num_samples=1, num_chains=num_chains, chain_method="vectorized",
        progress_bar=False,
    )  # fmt: skip
    start = jnp.zeros(2) if start is None else start
    extra_fields = () if field == "z" else (field,)
    mcmc.run(
        jax.random.key(seed), *data, init_params=jnp.broadcast_to(start, (num_chains, *start.shape)),
        extra_fields=extra_fields,
    )  # fmt: skip
    return np.asarray(mcmc.get_samples() if field == "z" else mcmc.get_extra_fields()[field], np.float64)


def errors(found, covariance, mean):
    """Errors of means and covariances in Monte Carlo standard errors."""
    n, variances = len(found), np.diag(covariance)
    of_mean = (found.mean(axis=0) - mean) / np.sqrt(variances / n)
    standard_error = np.sqrt((np.outer(variances, variances) + covariance**2) / n)
    return np.concatenate([of_mean, ((np.cov(found.T) - covariance) / standard_error).ravel()])


def assert_law(found, covariance, mean=MEAN):
    np.testing.assert_array_less(np.abs(errors(found, covariance, mean)), 4)


# The laws themselves ----------------------------------------------------------------------------------------------


def fixed_point(A, Q, num_iterations=5000):
    """The limit of S ← A S Aᵀ + Q: the covariance of a linear recursion, found by running it."""
    S = np.zeros_like(Q)
    for _ in range(num_iterations):
        S = A @ S @ A.T + Q
    return S


def random_spd(seed, d=3):
    a = np.random.default_rng(seed).normal(size=(d, d))
    return a @ a.T / d + 0.3 * np.eye(d)


def test_the_overdamped_law_is_the_limit_of_its_recursion():
    precision, V, step_size, T = random_spd(0), random_spd(1), 0.3, 0.7
    A, Q = np.eye(3) - step_size * precision, 2 * step_size * T * np.eye(3) + step_size**2 * V
    law = dm.mcmc.stationary_law("sgld", precision, step_size, temperature=T, gradient_covariance=V)
    np.testing.assert_allclose(law.position, fixed_point(A, Q), rtol=1e-10)


def test_the_law_of_ula_is_the_inverse_of_p_minus_half_the_step_times_p_squared():
    precision, step_size = random_spd(2), 0.4
    expected = np.linalg.inv(precision - step_size * precision @ precision / 2)
    np.testing.assert_allclose(dm.mcmc.stationary_law("ula", precision, step_size).position, expected, rtol=1e-10)


def test_the_law_of_sghmc_is_the_limit_of_its_recursion():
    precision, V, h, friction, T = random_spd(3), random_spd(4), 0.3, 1.5, 0.8
    identity, a = np.eye(3), h * friction
    to_v = np.hstack([-h * precision, (1 - a) * identity])
    A = np.vstack([np.hstack([identity, np.zeros((3, 3))]) + h * to_v, to_v])
    B = np.vstack([h * identity, identity])
    Q = B @ ((2 * a * T - h**2 * 0.5) * identity + h**2 * V) @ B.T
    law = dm.mcmc.stationary_law(
        "sghmc", precision, h, friction=friction, temperature=T, gradient_covariance=V, noise_estimate=0.5
    )
    S = fixed_point(A, Q)
    np.testing.assert_allclose(law.position, S[:3, :3], rtol=1e-9)
    np.testing.assert_allclose(law.velocity, S[3:, 3:], rtol=1e-9)


def test_the_law_of_sghmc_in_one_dimension_is_that_of_its_docstring():
    p, V, h, a = 1.3, 0.9, 0.4, 0.5
    law = dm.mcmc.stationary_law("sghmc", [[p]], h, friction=a / h, gradient_covariance=[[V]])
    q = 2 * a + h**2 * V
    np.testing.assert_allclose(law.position, q * (2 - a) / (a * p * (4 - 2 * a - h**2 * p)), rtol=1e-12)
    np.testing.assert_allclose(law.velocity, 2 * q / (a * (4 - 2 * a - h**2 * p)), rtol=1e-12)


@pytest.mark.parametrize("friction", [0.3, 5.0])
def test_the_law_of_baoab_is_the_limit_of_its_recursion(friction):
    precision, h, T, m = random_spd(5), 0.5, 0.6, 1.4
    identity, zero, c = np.eye(3), np.zeros((3, 3)), np.exp(-friction * h)
    B = np.block([[identity, zero], [-h / 2 * precision / m, identity]])
    A = np.block([[identity, h / 2 * identity], [zero, identity]])
    damp = np.block([[identity, zero], [zero, c * identity]])
    noise = np.block([[zero, zero], [zero, (1 - c**2) * T / m * identity]])
    S = fixed_point(B @ A @ damp @ A @ B, B @ A @ noise @ A.T @ B.T)
    law = dm.mcmc.stationary_law("underdamped", precision, h, temperature=T, mass=m)
    np.testing.assert_allclose(S[:3, :3], law.position, rtol=1e-8)
    np.testing.assert_allclose(S[3:, 3:], law.velocity, rtol=1e-8)
    np.testing.assert_allclose(S[:3, 3:], 0, atol=1e-10)


# The kernels have them --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_ula_has_its_law(temperature):
    kernel = dm.mcmc.ULA(score=score, step_size=0.4, temperature=temperature)
    assert_law(draws(kernel), dm.mcmc.stationary_law("ula", P, 0.4, temperature=temperature).position)


def test_ulas_law_is_told_from_that_of_half_its_step():
    # Welling and Teh's ε: the test above can fail.
    found = draws(dm.mcmc.ULA(score=score, step_size=0.4))
    assert np.abs(errors(found, dm.mcmc.stationary_law("ula", P, 0.2).position, MEAN)).max() > 4


@pytest.mark.parametrize("seed", range(3))
def test_mala_is_exact(seed):
    kernel = dm.mcmc.MALA(potential_fn=potential, step_size=0.5, adapt_step_size=False, temperature=0.7)
    assert_law(draws(kernel, seed=seed), dm.mcmc.stationary_law("mala", P, 0.5, temperature=0.7).position)


@pytest.mark.parametrize("field", ["position", "velocity"])
def test_underdamped_langevin_has_its_law(field):
    kernel = dm.mcmc.UnderdampedLangevin(potential_fn=potential, step_size=1.0, friction=0.8, mass=1.5, temperature=0.7)
    law = dm.mcmc.stationary_law("underdamped", P, 1.0, mass=1.5, temperature=0.7)
    found = draws(kernel, num_warmup=60, field={"position": "z"}.get(field, field))
    assert_law(found, getattr(law, field), MEAN if field == "position" else np.zeros(2))


def test_a_mass_for_each_coordinate_leaves_positions_exact():
    kernel = dm.mcmc.UnderdampedLangevin(score=score, step_size=0.5, mass=jnp.array([0.5, 4.0]))
    assert_law(draws(kernel, num_warmup=100), dm.mcmc.stationary_law("underdamped", P, 0.5).position)


@pytest.mark.parametrize("field", ["position", "velocity"])
def test_sghmc_has_its_law(field):
    kernel = dm.mcmc.SGHMC(score=score, step_size=0.6, friction=1.2, temperature=1.3)
    law = dm.mcmc.stationary_law("sghmc", P, 0.6, friction=1.2, temperature=1.3)
    found = draws(kernel, num_warmup=60, field={"position": "z"}.get(field, field))
    assert_law(found, getattr(law, field), MEAN if field == "position" else np.zeros(2))


# Minibatches of Σ (x − yᵢ)ᵀ M (x − yᵢ)/2: precision nM, and gradient noise that does not depend on x.
NUM_DATA, BATCH_SIZE = 10, 2
DATA = np.random.default_rng(6).normal(size=(NUM_DATA, 2)) * 0.8


def minibatch_potential(x, rows):
    centred = x - rows
    return NUM_DATA / len(rows) * 0.5 * jnp.sum(centred @ jnp.asarray(P / NUM_DATA, x.dtype) * centred)


# Rows are drawn with replacement: the covariance of a sum of B of them, times (n/B)².
GRADIENT_COVARIANCE = NUM_DATA**2 / BATCH_SIZE * (P / NUM_DATA) @ np.cov(DATA.T, bias=True) @ (P / NUM_DATA)


def test_sgld_has_its_law_with_the_variance_of_the_minibatch_gradient():
    kernel = dm.mcmc.SGLD(minibatch_potential=minibatch_potential, batch_size=BATCH_SIZE, step_size=0.4)
    law = dm.mcmc.stationary_law("sgld", P, 0.4, gradient_covariance=GRADIENT_COVARIANCE)
    found = draws(kernel, jnp.asarray(DATA, jnp.float32))
    assert_law(found, law.position, DATA.mean(axis=0))
    exact_gradients = dm.mcmc.stationary_law("ula", P, 0.4).position
    assert np.abs(errors(found, exact_gradients, DATA.mean(axis=0))).max() > 4


def test_a_control_variate_takes_the_noise_out_of_a_quadratic_potential():
    # The minibatch gradients at two points differ by nM(x − x*), whatever the rows.
    kernel = dm.mcmc.SGLD(
        minibatch_potential=minibatch_potential, batch_size=1, num_data=NUM_DATA, control=jnp.array([0.3, 0.1]),
        step_size=0.4,
    )  # fmt: skip
    assert_law(
        draws(kernel, jnp.asarray(DATA, jnp.float32)), dm.mcmc.stationary_law("ula", P, 0.4).position, DATA.mean(axis=0)
    )


@pytest.mark.parametrize("noise_estimate", [0.0, 0.8])
def test_sghmc_has_its_law_with_minibatches(noise_estimate):
    kernel = dm.mcmc.SGHMC(
        minibatch_potential=minibatch_potential, batch_size=BATCH_SIZE, step_size=0.6, friction=1.2,
        noise_estimate=noise_estimate,
    )  # fmt: skip
    law = dm.mcmc.stationary_law(
        "sghmc", P, 0.6, friction=1.2, gradient_covariance=GRADIENT_COVARIANCE, noise_estimate=noise_estimate
    )
    assert_law(draws(kernel, jnp.asarray(DATA, jnp.float32), num_warmup=60), law.position, DATA.mean(axis=0))


def thermostat_variance(p, h, A, V):
    """Variance of positions in many dimensions, and the mean friction: see the docstring of SGNHT."""
    a = min(root.real for root in np.roots([-2, 4 - h**2 * p, -(4 * h * A + 2 * h**2 * V)]))
    return (1 - a / 2) / p, a / h


def test_the_thermostat_absorbs_gradient_noise_of_unknown_variance():
    # A thousand coordinates at a time, each with its own datum noise; one chain's coordinates are nearly independent.
    d, h, A, p = 1000, 0.3, 1.0, 1.5
    data = np.random.default_rng(7).normal(size=(50, d)).astype(np.float32)
    data = (data - data.mean(axis=0)) / data.std(axis=0)
    potential = lambda x, rows: 0.5 * p * jnp.sum(jnp.square(x - rows)) / len(rows)
    V = p**2 / 4  # batches of four of unit variance
    kernel = dm.mcmc.SGNHT(minibatch_potential=potential, batch_size=4, step_size=h, diffusion=A)
    mcmc = MCMC(kernel, num_warmup=200, num_samples=2000, thinning=20, num_chains=1, progress_bar=False)
    mcmc.run(jax.random.key(0), jnp.asarray(data), init_params=jnp.zeros(d), extra_fields=("velocity", "thermostat"))
    variance, friction = thermostat_variance(p, h, A, V)
    extra = mcmc.get_extra_fields()
    # 10^5 numbers: variances to √(2/10^5) = 0.45 %; corrections are of relative order 1/d.
    assert np.square(np.asarray(extra["velocity"])).mean() == pytest.approx(1, abs=4 * 0.0045)
    assert np.square(np.asarray(mcmc.get_samples())).mean() == pytest.approx(variance, rel=4 * 0.0045)
    assert float(extra["thermostat"].mean()) == pytest.approx(friction, rel=0.02)
    # SGHMC of the same friction, with nothing to absorb the noise, is hotter than the tolerance.
    hot = dm.mcmc.stationary_law("sghmc", [[p]], h, friction=A, gradient_covariance=[[V]]).velocity.item()
    assert hot > 1.15


@pytest.mark.parametrize(("gamma", "variance"), [(True, 1.0), (False, None)])
def test_preconditioning_without_memory_has_the_law_of_its_metric(gamma, variance):
    # G = 1/(λ + |x|). Without Γ the law is ∝ (λ + |x|) exp(−x²/2), of second moment (λ√(2π) + 4)/(λ√(2π) + 2).
    damping = 1.0
    if variance is None:
        variance = (damping * np.sqrt(2 * np.pi) + 4) / (damping * np.sqrt(2 * np.pi) + 2)
    kernel = dm.mcmc.PreconditionedSGLD(
        potential_fn=lambda x: 0.5 * jnp.sum(x**2), step_size=0.02, decay=0.0, damping=damping, gamma=gamma
    )
    found = draws(kernel, num_warmup=600, num_chains=8, start=jnp.zeros(1000))
    # The step is small enough: its bias, about ε/2, is of the size of the standard error √(2/8000) = 1.6 %.
    assert np.square(found).mean() == pytest.approx(variance, abs=0.07)


def test_a_constant_preconditioner_has_the_law_of_its_docstring():
    # As for a decay near one: (P − εPGP/2)⁻¹.
    G, step_size = jnp.array([0.5, 2.0]), 0.4
    step = lambda x, key: (
        _preconditioned_sgld.preconditioned_step(key, x, -score(x), G, jnp.zeros(2), step_size),
        None,
    )
    chain = lambda key: jax.lax.scan(step, jnp.zeros(2), jax.random.split(key, 60))[0]
    found = jax.jit(jax.vmap(chain))(jax.random.split(jax.random.key(0), NUM_CHAINS))
    law = np.linalg.inv(P - step_size * P @ np.diag(G) @ P / 2)
    assert_law(np.asarray(found, np.float64), law)


def test_annealing_ends_in_the_law_of_its_last_level():
    levels = dm.mcmc.noise_levels(4.0, 0.5, 4)
    blurred = lambda sigma: jnp.linalg.inv(jnp.linalg.inv(jnp.asarray(P, jnp.float32)) + sigma**2 * jnp.eye(2))
    kernel = dm.mcmc.AnnealedLangevin(
        lambda x, sigma: -blurred(sigma) @ (x - MEAN), noise_levels=levels, steps_per_level=40, step_size=0.1
    )
    last = np.linalg.inv(np.linalg.inv(P) + 0.25 * np.eye(2))
    assert_law(draws(kernel, num_warmup=160), dm.mcmc.stationary_law("ula", last, 0.1).position)
