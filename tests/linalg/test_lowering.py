import jax
import jax.numpy as jnp
import pytest

import dlmath as dm

KEY = jax.random.key(0)
X, Y = jnp.ones([6, 3]), jnp.ones([6, 2])

FUNCTIONS = {
    "ridge": lambda x, y: dm.linalg.ridge(x, y, [0.1, 1.0]),
    "ridge gradient": jax.grad(lambda x, y: dm.linalg.ridge(x, y, 0.1).sum()),
    "min_norm": dm.linalg.min_norm,
    "gram": lambda x, y: dm.linalg.gram(dm.kernels.gaussian(rate=1.0), x, block_size=4),
    "kernel_ridge": lambda x, y: dm.linalg.kernel_ridge(dm.kernels.gaussian(rate=1.0), x, y, 0.1),
    "interpolate and predict": lambda x, y: dm.linalg.predict(
        dm.linalg.interpolate(dm.kernels.laplace(rate=1.0), x, y, block_size=4), x, block_size=4
    ),
    "trace": lambda x, y: dm.linalg.trace(KEY, dm.linalg.from_matrix(x.T @ x), num_matvecs=4),
    "trace by hutch++": lambda x, y: dm.linalg.trace(
        KEY, dm.linalg.from_matrix(x.T @ x), num_matvecs=4, method="hutch++"
    ),
    "trace by xtrace": lambda x, y: dm.linalg.trace(
        KEY, dm.linalg.from_matrix(x.T @ x), num_matvecs=4, method="xtrace"
    ),
    "frobenius_norm": lambda x, y: dm.linalg.frobenius_norm(KEY, dm.linalg.from_matrix(x.T @ x), num_probes=2),
    "diagonal": lambda x, y: dm.linalg.diagonal(KEY, dm.linalg.from_matrix(x.T @ x), num_probes=3, block=2),
    "logdet": lambda x, y: dm.linalg.logdet(KEY, dm.linalg.from_matrix(x.T @ x), num_probes=2, num_steps=2),
    "spectral_density": lambda x, y: dm.linalg.spectral_density(
        KEY, dm.linalg.from_matrix(x.T @ x), num_probes=2, num_steps=2
    ),
    "spectral_density by kpm": lambda x, y: dm.linalg.spectral_density(
        KEY, dm.linalg.from_matrix(x.T @ x), num_probes=2, num_steps=2, method="kpm"
    ),
    "solve": lambda x, y: dm.linalg.solve(dm.linalg.from_matrix(x.T @ x), x[0]),
    "solve by minres": lambda x, y: dm.linalg.solve(dm.linalg.from_matrix(x.T @ x), x[0], method="minres"),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_lowers_for_cuda_and_tpu(name):
    jax.jit(FUNCTIONS[name]).trace(X, Y).lower(lowering_platforms=("cuda", "tpu"))
