import jax
import jax.numpy as jnp
import pytest

import dlmath as dm

KERNELS = {
    "gaussian": dm.kernels.gaussian(rate=1.0),
    "laplace": dm.kernels.laplace(bandwidth=1.0),
    **{f"arc_cosine {order}": dm.kernels.arc_cosine(order=order) for order in range(3)},
    "squared_distances": dm.kernels.squared_distances,
}


@pytest.mark.parametrize("features", [3, 30])
@pytest.mark.parametrize("name", KERNELS)
def test_lowers_for_cuda_and_tpu(name, features):
    x1, x2 = jnp.ones([6, features]), jnp.ones([5, features])
    jax.jit(lambda x1, x2: (KERNELS[name](x1), KERNELS[name](x1, x2))).trace(x1, x2).lower(
        lowering_platforms=("cuda", "tpu")
    )
