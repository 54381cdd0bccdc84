import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import pytest
from flax import linen, nnx
from numpyro.contrib.module import random_flax_module, random_nnx_module

from dlmath import bnn, mcmc
from dlmath.bnn._numpyro import sample_stats, variables


@pytest.fixture
def samples():
    params = [{"weight": jnp.ones((2, 5, 3, 1)), "bias": jnp.zeros((2, 5, 1))}]
    stats = {"accept_prob": jnp.ones((2, 5)), "step_size": jnp.ones(2), "trained": {"a": jnp.ones(2)}}
    return bnn.Samples(params, jnp.zeros((2, 5)), stats)


def test_names_have_no_slash_and_stats_have_a_draw_axis(samples):
    assert {name: array.shape for name, array in variables(samples).items()} == {
        "0.bias": (2, 5, 1),
        "0.weight": (2, 5, 3, 1),
    }
    assert set(sample_stats(samples)) == {"lp", "acceptance_rate"}


def test_arviz_data_hold_the_draws(samples):
    pytest.importorskip("arviz")
    found = bnn.to_arviz(samples)
    np.testing.assert_array_equal(found["posterior"]["0.weight"].values, samples.params[0]["weight"])
    assert found["sample_stats"]["lp"].shape == (2, 5)


@pytest.mark.parametrize("version", ["0.23.0", "1.3.0"])
def test_each_major_of_arviz_is_called_as_it_wants(samples, monkeypatch, version):
    # ArviZ 0 takes groups as keywords, ArviZ 1 one mapping from groups to variables.
    fake = types.ModuleType("arviz")
    fake.__version__ = version
    fake.from_dict = (lambda data: data) if version.startswith("1") else (lambda *, posterior, sample_stats: {
        "posterior": posterior, "sample_stats": sample_stats
    })  # fmt: skip
    monkeypatch.setitem(sys.modules, "arviz", fake)
    found = bnn.to_arviz(samples)
    assert set(found) == {"posterior", "sample_stats"}
    assert set(found["posterior"]) == {"0.bias", "0.weight"}


def test_without_arviz_the_extra_is_named(samples, monkeypatch):
    monkeypatch.setitem(sys.modules, "arviz", None)
    with pytest.raises(ImportError, match=r"pip install 'dlmath\[bayes\]'"):
        bnn.to_arviz(samples)


@pytest.mark.parametrize("learned", [False, True])
def test_the_numpyro_model_has_the_density_of_the_posterior(conjugate, learned):
    problem = conjugate()
    noise = bnn.likelihoods.log_normal(0.5) if learned else 0.3
    posterior = bnn.posterior(
        problem.posterior.apply, bnn.priors.horseshoe(0.5), bnn.likelihoods.gaussian(noise), problem.posterior.data,
        temperature=0.5,
    )  # fmt: skip
    model = bnn.numpyro_model(posterior, problem.params)
    params = jax.tree.map(lambda leaf: leaf[0], bnn.sample_prior(jax.random.key(0), posterior, problem.params, 1))
    sites = {"network.weight": params["network"]["weight"], "log_noise": params["log_noise"]} if learned else {
        "weight": params["weight"]
    }  # fmt: skip
    found, _ = numpyro.infer.util.log_density(model, (), {}, sites)
    assert float(found) == pytest.approx(float(-posterior.potential(params)), rel=1e-12)


def test_numpyro_samples_its_model(conjugate):
    problem = conjugate()
    sampler = numpyro.infer.MCMC(
        numpyro.infer.NUTS(bnn.numpyro_model(problem.posterior, problem.params)),
        num_warmup=200, num_samples=500, num_chains=2, chain_method="vectorized", progress_bar=False,
    )  # fmt: skip
    sampler.run(jax.random.key(0))
    draws = np.asarray(sampler.get_samples(group_by_chain=True)["weight"])[..., 0]
    found = bnn.diagnose(bnn.Samples(draws, jnp.zeros((2, 500)), {}))
    assert (np.abs(draws.mean((0, 1)) - np.asarray(problem.exact.mean)[:, 0]) < 4 * found.mcse).all()


@pytest.mark.parametrize("kind", ["linen", "nnx"])
@pytest.mark.parametrize("kernel", [numpyro.infer.NUTS, mcmc.MALA])
def test_flax_modules_in_numpyro_models_are_sampled_from_the_exact_posterior(conjugate, kind, kernel):
    problem = conjugate()
    prior = numpyro.distributions.Normal(0, 0.7)
    module = nnx.Linear(5, 1, use_bias=False, rngs=nnx.Rngs(0)) if kind == "nnx" else None

    def model(x, y):
        if kind == "nnx":
            network = random_nnx_module("net", module, prior)
        else:
            network = random_flax_module("net", linen.Dense(1, use_bias=False), prior, input_shape=(5,))
        numpyro.sample("y", numpyro.distributions.Normal(network(x), 0.3).to_event(2), obs=y)

    sampler = numpyro.infer.MCMC(
        kernel(model, step_size=0.01), num_warmup=500, num_samples=2000, num_chains=2, chain_method="vectorized",
        progress_bar=False,
    )  # fmt: skip
    sampler.run(jax.random.key(0), problem.x, problem.y)
    (draws,) = sampler.get_samples(group_by_chain=True).values()
    draws = np.asarray(draws)[..., 0]
    found = bnn.diagnose(bnn.Samples(draws, jnp.zeros((2, 2000)), {}))
    assert (np.abs(draws.mean((0, 1)) - np.asarray(problem.exact.mean)[:, 0]) < 4 * found.mcse).all()


def test_nngp_and_ntk_gp_are_gaussian_process_regressions(float64):
    x, y, new = np.array([[0.5], [-1.0], [2.0]]), np.array([0.3, 1.0, -0.4]), np.array([[0.1], [3.0]])
    kernel = lambda a, b=None, *, get: (
        {"nngp": 1.0, "ntk": 2.0}[get] * jnp.exp(-0.5 * (a[:, :1] - (a if b is None else b)[:, 0]) ** 2)
    )
    for get, infer in (("nngp", bnn.nngp), ("ntk", bnn.ntk_gp)):
        found = infer(kernel, (x, y), new, np.array([0.0, 0.1]), noise_std=0.2)
        k, cross = np.asarray(kernel(x, get=get)) + 0.04 * np.eye(3), np.asarray(kernel(new, x, get=get))
        mean = cross @ np.linalg.solve(k, y)
        variance = np.diag(kernel(new, get=get)) - np.einsum("mn,nm->m", cross, np.linalg.solve(k, cross.T))
        np.testing.assert_allclose(found.mean, mean, rtol=1e-8)
        np.testing.assert_allclose(found.epistemic, variance, rtol=1e-8)
        expected = -0.5 * (
            (np.array([0.0, 0.1]) - mean) ** 2 / (variance + 0.04) + np.log(2 * np.pi * (variance + 0.04))
        )
        np.testing.assert_allclose(found.log_density, expected, rtol=1e-8)
