"""Metropolis tests that see the errors one can make, and adaptation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.infer import MCMC
from scipy.stats import norm

import dlmath as dm
from dlmath.mcmc import _mala

NUM_CHAINS = 8_000


def twice_the_variance(x, at_x, y, at_y, step_size, temperature):
    """A ratio whose proposals have variance 4ε where they are drawn with 2ε."""
    (potential_x, gradient_x), (potential_y, gradient_y) = at_x, at_y
    backward = _mala.log_proposal(x, y, gradient_y, step_size, temperature) / 2
    forward = _mala.log_proposal(y, x, gradient_x, step_size, temperature) / 2
    return (potential_x - potential_y) / temperature + backward - forward


def half_the_variance(x, at_x, y, at_y, step_size, temperature):
    """A ratio whose proposals have variance ε where they are drawn with 2ε."""
    (potential_x, gradient_x), (potential_y, gradient_y) = at_x, at_y
    backward = _mala.log_proposal(x, y, gradient_y, step_size, temperature) * 2
    forward = _mala.log_proposal(y, x, gradient_x, step_size, temperature) * 2
    return (potential_x - potential_y) / temperature + backward - forward


def no_reverse_drift(x, at_x, y, at_y, step_size, temperature):
    """A ratio whose way back is a random walk."""
    (potential_x, gradient_x), (potential_y, gradient_y) = at_x, at_y
    backward = _mala.log_proposal(x, y, jnp.zeros_like(gradient_y), step_size, temperature)
    forward = _mala.log_proposal(y, x, gradient_x, step_size, temperature)
    return (potential_x - potential_y) / temperature + backward - forward


PLANTED = [twice_the_variance, half_the_variance, no_reverse_drift]


def with_ratio(log_ratio):
    return type("Planted", (dm.mcmc.MALA,), {"_log_ratio": staticmethod(log_ratio)})


def variance(kernel_class, step_size, seed=0, **target):
    """Variance of independent chains on N(0, 1), with its standard error √(2/N) for a Gaussian."""
    target = target or {"potential_fn": lambda x: 0.5 * jnp.sum(x**2)}
    kernel = kernel_class(**target, step_size=step_size, adapt_step_size=False)
    mcmc = MCMC(
        kernel, num_warmup=50, num_samples=1, num_chains=NUM_CHAINS, chain_method="vectorized", progress_bar=False
    )
    mcmc.run(jax.random.key(seed), init_params=jax.random.normal(jax.random.key(100 + seed), (NUM_CHAINS, 1)))
    return float(np.square(mcmc.get_samples()).mean())


TOLERANCE = 4 * np.sqrt(2 / NUM_CHAINS)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("step_size", [0.5, 1.2])
def test_the_variance_of_a_standard_normal_is_one(step_size, seed):
    assert abs(variance(dm.mcmc.MALA, step_size, seed) - 1) < TOLERANCE


@pytest.mark.parametrize("log_ratio", PLANTED)
def test_the_same_test_sees_a_planted_error(log_ratio):
    found = [variance(with_ratio(log_ratio), step_size) for step_size in (0.5, 1.2)]
    assert np.abs(np.array(found) - 1).min() > 2 * TOLERANCE


@pytest.mark.parametrize("step_size", [0.2, 0.5, 0.9])
def test_a_proposal_variance_off_by_two_shrinks_the_law_to_what_it_must_be(step_size):
    # The proposal is reversible for N(0, 1/(1 − ε/2)), the ratio is then exp(−c(y² − x²)) with c = 1/4 + ε/8, and the law
    # has precision (1 − ε/2) + 2c = 3/2 − ε/4.
    found = variance(with_ratio(twice_the_variance), step_size)
    assert abs(found * (1.5 - step_size / 4) - 1) < TOLERANCE
    assert 0.68 - TOLERANCE < found < 0.80 + TOLERANCE


def test_a_score_alone_gives_the_same_law():
    assert abs(variance(dm.mcmc.MALA, 1.0, score=lambda x: -x) - 1) < TOLERANCE


def test_a_score_alone_gives_the_draws_of_its_potential():
    # s = −x − sin x: the line integral of order eight is exact to rounding on the way of a step.
    options = {"step_size": 0.5, "adapt_step_size": False}
    by_score = dm.mcmc.MALA(score=lambda x: -x - jnp.sin(x), **options)
    by_potential = dm.mcmc.MALA(potential_fn=lambda x: jnp.sum(0.5 * x**2 - jnp.cos(x)), **options)
    found = []
    for kernel in (by_score, by_potential):
        mcmc = MCMC(kernel, num_warmup=0, num_samples=200, progress_bar=False)
        mcmc.run(jax.random.key(0), init_params=jnp.ones(3))
        found.append(np.asarray(mcmc.get_samples()))
    np.testing.assert_allclose(*found, atol=2e-4)
    assert len(np.unique(found[0][:, 0])) not in (1, 200)


# Geweke's joint-distribution test: θ ~ N(0, 1), y | θ ~ N(θ, 1). Chains that start from the joint law and alternate a step
# of the kernel on θ | y with a fresh y | θ must stay in it.


def joint_potential(theta, y):
    return 0.5 * jnp.sum(theta**2) + 0.5 * jnp.sum((y - theta) ** 2)


def geweke(kernel, num_chains=20_000, num_rounds=20, seed=0):
    """z-scores of five moments of (θ, y) after the rounds, against those of the joint law."""

    def chain(key):
        key_theta, key_y, key_rounds = jax.random.split(key, 3)
        theta = jax.random.normal(key_theta)
        y = theta + jax.random.normal(key_y)
        state = kernel.init(key_rounds, 0, theta, (y,), {})

        def one_round(carry, key):
            state, y = carry
            state = kernel.sample(kernel.refresh(state, (y,), {}), (y,), {})
            return (state, state.z + jax.random.normal(key)), None

        (state, y), _ = jax.lax.scan(one_round, (state, y), jax.random.split(jax.random.fold_in(key, 1), num_rounds))
        return state.z, y

    theta, y = (
        np.asarray(a, np.float64) for a in jax.jit(jax.vmap(chain))(jax.random.split(jax.random.key(seed), num_chains))
    )
    moments = {0: theta, 1: theta**2, 2: y, 3: y**2, 4: theta * y}
    expected = [0.0, 1.0, 0.0, 2.0, 1.0]
    return np.array(
        [(moments[i].mean() - expected[i]) / (moments[i].std() / np.sqrt(num_chains)) for i in range(len(expected))]
    )


BONFERRONI = norm.isf(0.01 / 2 / 5)


@pytest.mark.parametrize("step_size", [0.2, 0.8])
def test_gewekes_joint_distribution_test_passes(step_size):
    kernel = dm.mcmc.MALA(potential_fn=joint_potential, step_size=step_size, adapt_step_size=False)
    assert np.abs(geweke(kernel)).max() < BONFERRONI


@pytest.mark.parametrize("log_ratio", PLANTED)
def test_gewekes_test_sees_a_planted_error(log_ratio):
    kernel = with_ratio(log_ratio)(potential_fn=joint_potential, step_size=0.8, adapt_step_size=False)
    assert np.abs(geweke(kernel)).max() > BONFERRONI


# Adaptation and acceptance ----------------------------------------------------------------------------------------


def run(kernel, num_warmup, num_samples, start, **options):
    mcmc = MCMC(kernel, num_warmup=num_warmup, num_samples=num_samples, progress_bar=False, **options)
    mcmc.run(jax.random.key(0), init_params=start, extra_fields=("step_size", "accept_prob"))
    return mcmc


@pytest.mark.parametrize("step_size", [1e-3, 10.0])
def test_warm_up_finds_the_step_of_the_target_acceptance_and_leaves_it_fixed(step_size):
    kernel = dm.mcmc.MALA(potential_fn=lambda x: 0.5 * jnp.sum(x**2), step_size=step_size)
    mcmc = run(kernel, 1000, 2000, jnp.zeros(10))
    extra = mcmc.get_extra_fields()
    assert len(np.unique(extra["step_size"])) == 1
    # The averaged step lags: a hundredth or two of acceptance.
    assert float(extra["accept_prob"].mean()) == pytest.approx(0.574, abs=0.06)
    assert dm.mcmc.acceptance(mcmc.last_state) == pytest.approx(float(extra["accept_prob"].mean()), rel=1e-3)


def test_acceptance_falls_with_the_step_as_diffusions_say():
    # Roberts and Rosenthal (1998): acceptance depends on ε d^(1/3) alone as d grows.
    rates = [
        float(
            run(
                dm.mcmc.MALA(score=lambda x: -x, step_size=1.2 * d ** (-1 / 3), adapt_step_size=False),
                100, 3000, jax.random.normal(jax.random.key(1), (d,)),
            ).last_state.mean_accept_prob
        )
        for d in (64, 1000)
    ]  # fmt: skip
    assert rates[0] == pytest.approx(rates[1], abs=0.05)
    assert 0.2 < rates[0] < 0.95


def test_a_chain_that_never_moves_is_told_with_its_step_size():
    kernel = dm.mcmc.MALA(potential_fn=lambda x: 0.5e6 * jnp.sum(x**2), step_size=2.5, adapt_step_size=False)
    mcmc = run(kernel, 0, 200, jnp.full((2, 3), 0.1), num_chains=2, chain_method="vectorized")
    with pytest.raises(ValueError, match=r"step_size=2\.5 in 2 of 2 chains; reduce step_size"):
        dm.mcmc.acceptance(mcmc.last_state)
    assert "nothing is accepted" in kernel.get_diagnostics_str(jax.tree.map(lambda a: a[0], mcmc.last_state))


def test_a_proposal_without_a_finite_potential_is_refused():
    half_line = lambda x: jnp.where(x > 0, x - jnp.log(x), jnp.nan)  # Gamma(2, 1)
    kernel = dm.mcmc.MALA(potential_fn=half_line, step_size=1.0, adapt_step_size=False)
    found = run(kernel, 100, 1, jnp.ones(4000), num_chains=4000, chain_method="vectorized").get_samples()
    assert (found > 0).all()
    assert float(found.mean()) == pytest.approx(2, abs=4 * np.sqrt(2 / 4000))
