import jax
import jax.numpy as jnp
import pytest

import dlmath as dm

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
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_lowers_for_cuda_and_tpu(name):
    jax.jit(FUNCTIONS[name]).trace(X, Y).lower(lowering_platforms=("cuda", "tpu"))
