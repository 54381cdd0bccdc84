import jax
import jax.numpy as jnp
import pytest

from dlmath import bnn, models

MODEL = models.mlp([4], 2, activation="tanh")
X, Y, LABELS = jnp.ones((6, 3)), jnp.ones((6, 2)), jnp.array([0, 1, 0, 1, 1, 0])
KEY = jax.random.key(0)
PARAMS = MODEL.init(KEY, X)
CHAINS = jax.vmap(MODEL.init, (0, None))(jax.random.split(KEY, 2), X)
NORMAL, HORSESHOE = bnn.priors.normal("fan_in"), bnn.priors.horseshoe(0.1)
REGRESSION = bnn.posterior(MODEL.apply, NORMAL, bnn.likelihoods.gaussian(0.1), (X, Y))
CLASSES = bnn.posterior(MODEL.apply, NORMAL, bnn.likelihoods.categorical(), (X, LABELS))
SPARSE = bnn.posterior(MODEL.apply, HORSESHOE, bnn.likelihoods.gaussian(0.1), (X, Y))
SAMPLES = bnn.Samples(jax.tree.map(lambda leaf: leaf[:, None], CHAINS), jnp.zeros((2, 1)), {})
PROBABILITIES = jnp.full((6, 2), 0.5)

FUNCTIONS = {
    "nuts": lambda p: bnn.nuts(KEY, p, CHAINS, num_draws=2, num_warmup=2),
    "hmc": lambda p: bnn.hmc(KEY, p, CHAINS, num_draws=2, num_warmup=2, num_steps=2, dense_mass=True),
    "sgld": lambda p: bnn.sgld(
        KEY, p, CHAINS, num_draws=2, num_warmup=2, step_size=1e-3, batch_size=3, preconditioned=True
    ),
    "sghmc": lambda p: bnn.sghmc(KEY, p, CHAINS, num_draws=2, num_warmup=2, step_size=1e-3, friction=1.0),
    "mode": lambda p: bnn.mode(p, PARAMS, num_steps=2),
    "laplace full": lambda p: bnn.laplace(p, PARAMS).predict(X),
    "laplace kronecker": lambda p: bnn.laplace(p, PARAMS, structure="kronecker").predict(X),
    "laplace diagonal": lambda p: bnn.laplace(p, PARAMS, structure="diagonal").sample(KEY, 2),
    "laplace low_rank": lambda p: bnn.laplace(p, PARAMS, structure="low_rank", rank=3).predict(X),
    "laplace last_layer": lambda p: bnn.laplace(p, PARAMS, structure="last_layer").predict(X),
    "maximize_evidence": lambda p: bnn.maximize_evidence(p, PARAMS),
    "swag": lambda p: bnn.swag(
        KEY, p, CHAINS, num_draws=2, num_steps=4, learning_rate=0.1, rank=2, batch_size=3, every=1
    ),
    "mean_field": lambda p: bnn.mean_field(KEY, p, PARAMS, num_draws=2, num_steps=2, rank=2),
    "svgd": lambda p: bnn.svgd(KEY, p, CHAINS, num_steps=2),
    "mc_dropout": lambda p: bnn.mc_dropout(KEY, p, CHAINS, num_draws=2, num_steps=2, rate=0.1),
    "predict": lambda p: bnn.predict(p, SAMPLES, X),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_lowers_for_cuda_and_tpu(name):
    jax.jit(FUNCTIONS[name]).trace(REGRESSION).lower(lowering_platforms=("cuda", "tpu"))


OTHERS = {
    "classes": lambda: bnn.laplace(CLASSES, PARAMS).predict(X, LABELS, link="monte_carlo", key=KEY, num_draws=2),
    "horseshoe": lambda: jax.grad(SPARSE.potential)(PARAMS),
    "finite_width": lambda: bnn.exact.finite_width(KEY, (X, Y), X, width=3, noise_std=0.1, num_samples=4),
    "linear_gaussian": lambda: bnn.exact.linear_gaussian(X, Y, prior_std=1.0, noise_std=0.1),
    "last_layer": lambda: bnn.exact.last_layer(REGRESSION, PARAMS).predict(X),
    "metrics": lambda: (
        bnn.metrics.ece(PROBABILITIES, LABELS),
        bnn.metrics.ece(PROBABILITIES, LABELS, binning="equal_mass"),
        bnn.metrics.crps_mixture(Y[None], Y[None], Y),
        bnn.metrics.auroc(X[:, 0], X[:, 1]),
        bnn.metrics.function_space_rhat(jnp.ones((2, 4, 3))),
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_lowers_elsewhere(name):
    jax.jit(OTHERS[name]).trace().lower(lowering_platforms=("cuda", "tpu"))
