"""Chains that are killed and started again draw the bits of chains that are not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlmath import bnn
from dlmath.bnn import _chains

NETWORK = {"w": jnp.zeros((2, 3)), "v": jnp.zeros((3, 1))}
SAMPLERS = {
    "nuts": lambda *args, **options: bnn.nuts(*args, num_warmup=20, **options),
    "hmc": lambda *args, **options: bnn.hmc(*args, num_warmup=20, num_steps=4, thinning=2, **options),
    "sgld": lambda *args, **options: bnn.sgld(*args, num_warmup=5, step_size=1e-3, batch_size=8, thinning=3, **options),
    "sghmc": lambda *args, **options: bnn.sghmc(*args, num_warmup=5, step_size=1e-2, friction=1.0, **options),
}


class Killed(Exception):
    pass


@pytest.fixture(scope="module")
def posterior():
    rng = np.random.default_rng(0)
    data = jnp.asarray(rng.normal(size=(30, 2)), jnp.float32), jnp.asarray(rng.normal(size=(30, 1)), jnp.float32)
    apply = lambda params, x: jnp.tanh(x @ params["w"]) @ params["v"]
    return bnn.posterior(apply, bnn.priors.normal(1.0), bnn.likelihoods.gaussian(0.5), data)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_killed_run_goes_on_with_the_same_bits(name, posterior, tmp_path, monkeypatch):
    start = bnn.sample_prior(jax.random.key(1), posterior, NETWORK, 2)
    run = lambda **options: SAMPLERS[name](jax.random.key(2), posterior, start, num_draws=10, **options)
    whole = run()
    save, written = _chains._checkpoint.save, []

    def save_twice(path, step, *rest):
        save(path, step, *rest)
        written.append(step)
        if len(written) == 2:
            raise Killed

    path = tmp_path / "chains.npz"
    with monkeypatch.context() as patch:
        patch.setattr(_chains._checkpoint, "save", save_twice)
        with pytest.raises(Killed):
            run(checkpoint=path, checkpoint_every=4)
    assert written == [4, 8]
    resumed = run(checkpoint=path, checkpoint_every=4)
    for one, other in zip(jax.tree.leaves(whole), jax.tree.leaves(resumed), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_finished_run_is_read_and_another_one_is_refused(posterior, tmp_path, monkeypatch):
    start = bnn.sample_prior(jax.random.key(1), posterior, NETWORK, 2)
    run = lambda start: SAMPLERS["sgld"](
        jax.random.key(2), posterior, start, num_draws=3, checkpoint=tmp_path / "c.npz"
    )
    samples = run(start)
    with monkeypatch.context() as patch:
        patch.setattr(_chains._checkpoint, "save", lambda *_: pytest.fail("computed again"))
        for one, other in zip(jax.tree.leaves(samples), jax.tree.leaves(run(start)), strict=True):
            np.testing.assert_array_equal(one, other)
    with pytest.raises(ValueError, match="belongs to another run: different params"):
        run(jax.tree.map(lambda leaf: leaf + 1, start))
