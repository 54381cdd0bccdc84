"""A chain killed and resumed from its stored state draws the same bits."""

import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

_spec = importlib.util.spec_from_file_location("mcmc_kernels", Path(__file__).parent / "kernels.py")
kernels = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(kernels)
KERNELS, draws, run = kernels.KERNELS, kernels.draws, kernels.run


def stored(state):
    """A state after a stay on disk: plain arrays, keys as numbers."""
    is_key = lambda leaf: jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    numbers = jax.tree.map(lambda leaf: np.asarray(jax.random.key_data(leaf) if is_key(leaf) else leaf), state)
    return numbers._replace(rng_key=jax.random.wrap_key_data(jnp.asarray(numbers.rng_key)))


@pytest.mark.parametrize("name", KERNELS)
def test_a_chain_resumed_in_new_objects_goes_on_with_the_same_bits(name):
    whole = run(name, 30)
    first = run(name, 12)
    second = run(name, 18, state=stored(first.last_state))
    for expected, a, b in zip(*map(jax.tree.leaves, (draws(whole), draws(first), draws(second))), strict=True):
        np.testing.assert_array_equal(expected, np.concatenate([a, b], axis=1))
    assert (second.get_extra_fields()["i"].reshape(2, 18) == np.arange(23, 41)).all()
