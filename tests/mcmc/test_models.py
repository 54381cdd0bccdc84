"""numpyro models as targets: constrained sites, arguments, starting points."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.infer import MCMC, init_to_value

import dlmath as dm

DATA = jnp.asarray(np.random.default_rng(0).normal(size=(20, 2)), jnp.float32)


def model(y, prior_std=2.0):
    scale = numpyro.sample("scale", dist.Exponential(1.0))
    loc = numpyro.sample("loc", dist.Normal(0.0, prior_std))
    numpyro.deterministic("double", 2 * loc)
    numpyro.sample("y", dist.Normal(loc, scale), obs=y)


@pytest.mark.parametrize("chain_method", ["sequential", "vectorized", jax.vmap])
def test_sites_of_a_model_come_back_constrained_with_its_deterministic_ones(chain_method):
    mcmc = MCMC(
        dm.mcmc.MALA(model), num_warmup=50, num_samples=20, num_chains=2, chain_method=chain_method, progress_bar=False
    )
    mcmc.run(jax.random.key(0), DATA[:, 0], prior_std=1.0)
    found = jax.tree.map(np.asarray, mcmc.get_samples(group_by_chain=True))
    assert set(found) == {"scale", "loc", "double"}
    assert found["scale"].shape == (2, 20)
    assert (found["scale"] > 0).all()
    np.testing.assert_allclose(found["double"], 2 * found["loc"], rtol=1e-6)
    assert set(mcmc.last_state.z) == {"scale", "loc"}
    mcmc.post_warmup_state = mcmc.last_state
    mcmc.run(mcmc.last_state.rng_key, DATA[:, 0], prior_std=1.0)
    assert (mcmc.last_state.i == 90).all()


def test_a_model_has_the_posterior_of_its_conjugate_form():
    def conjugate(y):
        loc = numpyro.sample("loc", dist.Normal(0.0, 1.0))
        numpyro.sample("y", dist.Normal(loc, 1.0), obs=y)

    mcmc = MCMC(
        dm.mcmc.MALA(conjugate, step_size=0.05, adapt_step_size=False), num_warmup=60, num_samples=1, num_chains=4000,
        chain_method="vectorized", progress_bar=False, jit_model_args=True,
    )  # fmt: skip
    y = DATA[:, 1]
    mcmc.run(jax.random.key(0), y)
    found, precision = np.asarray(mcmc.get_samples()["loc"], np.float64), 1 + len(y)
    assert abs(found.mean() - float(y.sum()) / precision) < 4 / np.sqrt(4000 * precision)
    assert abs(found.var() * precision - 1) < 4 * np.sqrt(2 / 4000)


def test_init_params_are_where_a_model_starts():
    mcmc = MCMC(dm.mcmc.ULA(model, step_size=1e-12), num_warmup=0, num_samples=1, progress_bar=False)
    mcmc.run(jax.random.key(0), DATA[:, 0], init_params={"scale": jnp.array(0.7), "loc": jnp.array(-0.4)})
    assert float(mcmc.get_samples()["scale"][0]) == pytest.approx(np.exp(0.7), rel=1e-4)
    kernel = dm.mcmc.ULA(model, step_size=1e-12, init_strategy=init_to_value(values={"scale": 0.7, "loc": -0.4}))
    mcmc = MCMC(kernel, num_warmup=0, num_samples=1, progress_bar=False)
    mcmc.run(jax.random.key(0), DATA[:, 0])
    assert float(mcmc.get_samples()["scale"][0]) == pytest.approx(0.7, rel=1e-4)


def test_langevin_kernels_are_blocks_of_numpyros_gibbs():
    gibbs = pytest.importorskip("numpyro.infer.gibbs")
    if not hasattr(gibbs, "Gibbs"):
        pytest.skip("numpyro.infer.Gibbs came with 0.22")

    def chain_of_three():
        x = numpyro.sample("x", dist.Normal(0.0, 1.0))
        y = numpyro.sample("y", dist.Normal(x, 1.0))
        numpyro.sample("z", dist.Normal(y, 1.0), obs=jnp.array(3.0))

    block = lambda: dm.mcmc.MALA(chain_of_three, step_size=0.4, adapt_step_size=False)
    mcmc = MCMC(
        gibbs.Gibbs([(block(), ["x"]), (block(), ["y"])]), num_warmup=60, num_samples=1, num_chains=4000,
        chain_method=jax.vmap, progress_bar=False,
    )  # fmt: skip
    mcmc.run(jax.random.key(0))
    found = np.stack([np.asarray(mcmc.get_samples()[name], np.float64) for name in ("x", "y")])
    # Precision [[2, -1], [-1, 2]] and mean (1, 2).
    covariance = np.array([[2.0, 1.0], [1.0, 2.0]]) / 3
    variances = np.diag(covariance)
    np.testing.assert_array_less(np.abs(found.mean(axis=1) - [1, 2]), 4 * np.sqrt(variances / 4000))
    standard_error = np.sqrt((np.outer(variances, variances) + covariance**2) / 4000)
    np.testing.assert_array_less(np.abs(np.cov(found) - covariance), 4 * standard_error)
