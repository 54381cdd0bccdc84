"""SGLD and SGHMC of a network: their laws where these are known, minibatches, schedules, checkpoints."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlmath import bnn, mcmc


def starts(problem, number, key=3):
    return bnn.sample_prior(jax.random.key(key), problem.posterior, problem.params, number)


def variance_gap(samples, problem, covariance):
    """Mean squared deviations from the exact mean less these variances, in standard errors."""
    squares = (np.asarray(samples.params["weight"])[..., 0] - np.asarray(problem.exact.mean[:, 0])) ** 2
    return (squares.mean((0, 1)) - np.diag(covariance)) / bnn.diagnose(samples._replace(params=squares)).mcse


def law_of(problem, kernel, step_size, **options):
    precision = np.linalg.inv(problem.exact.covariance)
    return mcmc.stationary_law(kernel, precision, step_size, **options)


def largest(problem):
    return float(np.linalg.eigvalsh(np.linalg.inv(problem.exact.covariance))[-1])


def test_draws_with_all_data_have_the_law_of_the_step_size(conjugate):
    problem = conjugate(d=2)
    step_size = 0.8 / largest(problem)
    samples = bnn.sgld(
        jax.random.key(0), problem.posterior, starts(problem, 4), num_draws=3000, num_warmup=300, thinning=5,
        step_size=step_size,
    )  # fmt: skip
    found = variance_gap(samples, problem, law_of(problem, "sgld", step_size).position)
    assert (np.abs(found) < 4).all()
    # The bias is seen: the exact posterior's variances are not those of the draws.
    assert np.abs(variance_gap(samples, problem, problem.exact.covariance)).max() > 8


def test_draws_with_momentum_have_the_law_of_step_size_and_friction(conjugate):
    problem = conjugate(d=2)
    step_size, friction = 0.8 / largest(problem) ** 0.5, 0.5 * largest(problem) ** 0.5
    samples = bnn.sghmc(
        jax.random.key(1), problem.posterior, starts(problem, 4), num_draws=3000, num_warmup=300, thinning=5,
        step_size=step_size, friction=friction,
    )  # fmt: skip
    law = law_of(problem, "sghmc", step_size, friction=friction)
    assert (np.abs(variance_gap(samples, problem, law.position)) < 4).all()
    assert np.abs(variance_gap(samples, problem, problem.exact.covariance)).max() > 4
    temperatures = bnn.diagnose(samples._replace(params=samples.stats["kinetic_temperature"]))
    kinetic = float(samples.stats["kinetic_temperature"].mean())
    assert abs(kinetic - np.trace(law.velocity) / 2) < 4 * float(temperatures.mcse)


def test_minibatches_add_their_noise_and_a_control_variate_takes_it_out(float64):
    # The mean of n targets: a minibatch's gradient has the same noise everywhere, V = (n/σ²)² var(y)/B.
    n, B, sigma = 40, 4, 2.0
    y = jnp.asarray(np.random.default_rng(0).normal(size=(n, 1)))
    posterior = bnn.posterior(
        lambda w, x: w * x, bnn.priors.normal(1.0), bnn.likelihoods.gaussian(sigma), (jnp.ones((n, 1)), y)
    )
    precision = 1 + n / sigma**2
    V = (n / sigma**2) ** 2 * float(jnp.var(y)) / B
    mean = jnp.array([[float(y.sum()) / sigma**2 / precision]])
    step_size = 0.5 / precision
    for control, noise in ((None, V), (mean[0], 0.0)):
        law = mcmc.stationary_law("sgld", [[precision]], step_size, gradient_covariance=[[noise]])
        samples = bnn.sgld(
            jax.random.key(4), posterior, jnp.zeros((4, 1)), num_draws=4000, num_warmup=100, thinning=4,
            step_size=step_size, batch_size=B, control=control,
        )  # fmt: skip
        squares = (np.asarray(samples.params) - float(mean[0, 0])) ** 2
        error = bnn.diagnose(samples._replace(params=squares)).mcse
        assert abs(squares.mean() - law.position[0, 0]) < 4 * float(error[0])


SAMPLERS = {
    "sgld": (bnn.sgld, mcmc.SGLD, {"step_size": 1e-3}),
    "preconditioned": (
        lambda *a, **k: bnn.sgld(*a, preconditioned=True, **k), mcmc.PreconditionedSGLD,
        {"step_size": 1e-3, "decay": 0.9, "damping": 1e-3},
    ),
    "sghmc": (bnn.sghmc, mcmc.SGHMC, {"step_size": 0.03, "friction": 2.0, "noise_estimate": 0.1}),
}  # fmt: skip


@pytest.mark.parametrize("name", SAMPLERS)
def test_draws_are_those_of_the_kernel(conjugate, name):
    problem, (sample, kernel, options) = conjugate(), SAMPLERS[name]
    start, key = starts(problem, 2), jax.random.key(5)
    samples = sample(key, problem.posterior, start, num_draws=4, num_warmup=3, thinning=2, batch_size=5, **options)
    by_hand = kernel(
        minibatch_potential=lambda w, x, y: problem.posterior.minibatch_potential(w, (x, y), 12),
        batch_size=5,
        **options,
    )
    data = problem.posterior.data
    state = by_hand.init(jax.random.fold_in(key, 1), 0, jax.tree.map(lambda w: w[1], start), data, {})
    expected = []
    for _ in range(3 + 4 * 2):
        state = by_hand.sample(state, data, {})
        expected.append(state.z["weight"])
    np.testing.assert_allclose(samples.params["weight"][1], jnp.stack(expected)[4::2], rtol=1e-9)


@pytest.mark.parametrize(("num_warmup", "thinning"), [(0, 1), (37, 1), (37, 3)])
def test_a_cyclical_schedule_keeps_draws_of_its_sampling_parts_alone(conjugate, num_warmup, thinning):
    problem, schedule = conjugate(), mcmc.cyclical(1e-3, period=20, exploration=0.7)
    run = lambda **options: bnn.sgld(
        jax.random.key(0), problem.posterior, starts(problem, 2), step_size=schedule, **options
    )
    kept = run(num_draws=9, num_warmup=num_warmup, thinning=thinning).params["weight"]
    # Without a pause every step of the sampling parts is kept: 14 to 19 of each cycle of 20 (counted from 0).
    sampled = [step for step in range(20 * 12) if step % 20 >= 14]
    every = run(num_draws=len(sampled), num_warmup=0).params["weight"]
    chosen = [i for i, step in enumerate(sampled) if step >= num_warmup][thinning - 1 :: thinning][:9]
    np.testing.assert_allclose(kept, every[:, np.array(chosen)], rtol=1e-9)


def test_a_cycle_explores_without_noise(conjugate):
    problem = conjugate()
    schedule = mcmc.cyclical(1e-3, period=100, exploration=0.99)
    start = starts(problem, 1)
    samples = bnn.sgld(jax.random.key(0), problem.posterior, start, num_draws=1, num_warmup=0, step_size=schedule)
    w = start["weight"][0]
    for step in range(99):
        w = w - schedule(step) * jax.grad(problem.posterior.potential)({"weight": w})["weight"]
    # The one step with noise has ε(99) = 2.5e-7, √(2ε) = 7e-4.
    np.testing.assert_allclose(samples.params["weight"][0, 0], w, atol=4e-3)


def test_a_step_size_that_diverges_is_named(conjugate):
    problem = conjugate()
    with pytest.raises(ValueError, match="step_size must be small enough for every chain to stay finite"):
        bnn.sgld(jax.random.key(0), problem.posterior, starts(problem, 2), num_draws=3, num_warmup=3000, step_size=1.0)
