import jax
import jax.numpy as jnp
import pytest

from dlmath import double_descent as dd

TAU, SIZES = jnp.array([3.0, 2.0, 1.0]), jnp.array([2.0, 5.0])

FUNCTIONS = {
    "anova": lambda tau, n: dd.anova(jnp.ones([3, 3, 3, 2]) * n[0], tau[:2]),
    "benign_bound": dd.benign_bound,
    "companion_stieltjes": lambda tau, n: dd.companion_stieltjes(-n, 2.0, tau),
    "effective_ranks": lambda tau, n: dd.effective_ranks(tau),
    "flow_risk": lambda tau, n: dd.flow_risk(tau, tau, 5.0, n, noise=0.1),
    "isotropic_flow_risk": lambda tau, n: dd.isotropic_flow_risk(n, 2.0, noise=0.1),
    "isotropic_optimal_penalty": lambda tau, n: dd.isotropic_optimal_penalty(n, signal=1.0, noise=0.1),
    "isotropic_risk": lambda tau, n: dd.isotropic_risk(n, noise=0.1),
    "latent_space": lambda tau, n: dd.latent_space(6, 2, strength=n[0]),
    "marchenko_pastur_density": lambda tau, n: dd.marchenko_pastur_density(tau, n[0]),
    "marchenko_pastur_rule": lambda tau, n: dd.marchenko_pastur_rule(n, 8),
    "marchenko_pastur_support": lambda tau, n: dd.marchenko_pastur_support(n),
    "mei_montanari_components": lambda tau, n: dd.mei_montanari_components(n, 2.0, 0.1),
    "mei_montanari_risk": lambda tau, n: dd.mei_montanari_risk(n, 2.0, 0.1),
    "missing_share": lambda tau, n: dd.missing_share(n, 2.0),
    "optimal_penalty": lambda tau, n: dd.optimal_penalty(tau, tau, n, noise=0.1),
    "optimal_stopping": lambda tau, n: dd.optimal_stopping(tau, tau, n[0], noise=0.1),
    "power_law": lambda tau, n: dd.power_law(4, n[0]),
    "power_law_risk": lambda tau, n: dd.power_law_risk(n, 2.0),
    "random_feature_components": lambda tau, n: dd.random_feature_components(tau, tau, n, 3.0),
    "random_feature_risk": lambda tau, n: dd.random_feature_risk(tau, tau, n, 3.0),
    "ridge_risk": lambda tau, n: dd.ridge_risk(tau, tau, n),
    "scaling_exponents": lambda tau, n: dd.scaling_exponents(n),
    "stieltjes": lambda tau, n: dd.stieltjes(jax.lax.complex(n, n), 2.0, tau),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_lowers_for_cuda_and_tpu(name):
    with jax.enable_x64(False):
        jax.jit(FUNCTIONS[name]).trace(TAU, SIZES).lower(lowering_platforms=("cuda", "tpu"))
