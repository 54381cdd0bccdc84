"""The bias of the unadjusted kernels falls with the step at the order they state, on a target that is not Gaussian.

Coordinates of one chain are independent chains here: the potential is a sum over them, and nothing is accepted jointly.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.infer import MCMC

import dlmath as dm


def bias(kernel_class, step_size, field, observable, num_coordinates):
    """Bias of an average on U = x²/2 + 3/2 exp(−x²), a double well, and its standard error."""
    U = lambda x: x**2 / 2 + 1.5 * jnp.exp(-(x**2))
    mcmc = MCMC(
        kernel_class(potential_fn=lambda x: jnp.sum(U(x)), step_size=step_size),
        num_warmup=round(15 / step_size), num_samples=250, thinning=5, progress_bar=False,
    )  # fmt: skip
    start = jax.random.normal(jax.random.key(2), (num_coordinates,))
    mcmc.run(jax.random.key(1), init_params=start, extra_fields=() if field == "z" else (field,))
    found = mcmc.get_samples() if field == "z" else mcmc.get_extra_fields()[field]
    each = observable(np.asarray(found, np.float64)).mean(axis=0)
    if field == "velocity":
        return each.mean() - 1, each.std() / np.sqrt(len(each))
    grid = np.linspace(-9, 9, 20_001)
    weights = np.exp(-np.asarray(U(grid), np.float64))
    return each.mean() - observable(grid) @ weights / weights.sum(), each.std() / np.sqrt(len(each))


@pytest.mark.parametrize(
    ("kernel_class", "field", "small", "large", "order", "num_coordinates"),
    [
        (dm.mcmc.ULA, "z", 0.1, 0.2, 1, 10_000),
        (dm.mcmc.UnderdampedLangevin, "z", 0.4, 0.8, 2, 40_000),
        (dm.mcmc.UnderdampedLangevin, "velocity", 0.3, 0.6, 2, 20_000),
    ],
)
def test_the_bias_has_its_order_in_the_step(kernel_class, field, small, large, order, num_coordinates):
    observable = np.square if field == "velocity" else lambda x: np.cos(2 * x)
    smaller, larger = (
        np.array(bias(kernel_class, step, field, observable, num_coordinates)) for step in (small, large)
    )
    slope = np.log2(larger[0] / smaller[0])
    slope_error = np.hypot(smaller[1] / smaller[0], larger[1] / larger[0]) / np.log(2)
    assert slope_error < 0.2
    # Terms of the next order steepen the slope by about 0.4 at these steps; an order more or less would be 1.
    assert abs(slope - order) < 0.6
