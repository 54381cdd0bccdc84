import jax
import jax.numpy as jnp
import pytest

import dlmath as dm

KEY = jax.random.key(0)
X = jnp.linspace(-1.0, 1.0, 4 * 20 * 2).reshape(4, 20, 2)
diagnostics, targets = dm.mcmc.diagnostics, dm.mcmc.targets
FLAT = lambda x: x.reshape(-1, 2)
SMALL = targets.gaussian([0.0, 0.0])

FUNCTIONS = {
    "rhat": diagnostics.rhat,
    "ess": diagnostics.ess,
    "bulk_ess": diagnostics.bulk_ess,
    "tail_ess": diagnostics.tail_ess,
    "rank_normalise": diagnostics.rank_normalise,
    "mean": diagnostics.mean,
    "standard_deviation": diagnostics.standard_deviation,
    "quantile": lambda x: diagnostics.quantile(x, 0.3),
    "kinetic_temperature": diagnostics.kinetic_temperature,
    "configurational_temperature": lambda x: diagnostics.configurational_temperature(x, -x),
    "missing_information": lambda x: diagnostics.missing_information(x[..., 0]),
    "divergences": lambda x: diagnostics.divergences(x[..., 0] > 0, x),
    "stein_discrepancy": lambda x: diagnostics.stein_discrepancy(FLAT(x), -FLAT(x), tile=7),
    "stein_test": lambda x: diagnostics.stein_test(KEY, FLAT(x), -FLAT(x), num_resamples=3),
    "maximum_mean_discrepancy": lambda x: diagnostics.maximum_mean_discrepancy(
        dm.kernels.gaussian(bandwidth=1.0), FLAT(x), FLAT(x), tile=7
    ),
    "median_distance": lambda x: diagnostics.median_distance(FLAT(x)),
    "sliced_wasserstein": lambda x: diagnostics.sliced_wasserstein(KEY, FLAT(x), FLAT(x)[:13]),
    "pareto_smooth": lambda x: dm.mcmc.pareto_smooth(x.ravel()),
    "importance": lambda x: dm.mcmc.importance(KEY, lambda z: -jnp.sum((z - x[0, 0]) ** 2), SMALL, num_samples=30),
    "gamblers_ruin": lambda x: dm.mcmc.gamblers_ruin(KEY, num_plays=5, num_samples=4).value + x[0, 0, 0],
    "gibbs": lambda x: targets.gibbs(KEY, jnp.sign(FLAT(x)[:6] + 2), x[0, 0, 0], num_samples=2),
    "ising": lambda x: jax.vmap(targets.ising((2, 2), 0.3).log_density)(jnp.sign(x.reshape(-1, 2, 2))),
    "draws of ising": lambda x: targets.ising((2, 2), 0.3).sample(KEY, 3) * x[0, 0, 0],
}
TARGETS = {
    "gaussian": lambda: SMALL,
    "mixture": lambda: targets.mixture([[0.0, 1.0], [1.0, 0.0]]),
    "funnel": lambda: targets.funnel(2),
    "banana": targets.banana,
    "eight_schools": targets.eight_schools,
    "logistic_regression": lambda: targets.logistic_regression([[1.0, 0.0], [0.0, 1.0]], [0, 1]),
}


def lower(function, *arguments):
    jax.jit(function).trace(*arguments).lower(lowering_platforms=("cuda", "tpu"))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_lowers_for_cuda_and_tpu(name):
    lower(FUNCTIONS[name], X)


@pytest.mark.parametrize("name", TARGETS)
def test_targets_lower_for_cuda_and_tpu(name):
    target = TARGETS[name]()

    def everything(key, x):
        found = [target.log_density(x), target.score(x), target.quantities(x)]
        found += [target.sample(key, 3)] if target.sample else []
        return [*found, target.diffused_score(x, 0.5, 0.5)] if target.diffused_score else found

    lower(everything, KEY, target.initial)


def test_covariances_and_data_may_be_traced():
    def value(covariance):
        return targets.gaussian(jnp.zeros(2), covariance).log_density(jnp.ones(2))

    lower(jax.grad(value), jnp.eye(2))
    lower(lambda x: targets.logistic_regression(x, jnp.ones(4)).initial, jnp.ones((4, 2)))
    lower(lambda k: targets.ising((2, 2), k).log_density(jnp.ones((2, 2))), 0.3)
