"""The tangent kernel along a training run."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import dlmath as dm
from dlmath import ntk

MODEL = dm.models.mlp([6], 2, activation="tanh")
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(5, 3)), RNG.normal(size=(5, 2))


def dense(params, exact):
    return np.asarray(exact(MODEL.apply, params, jnp.asarray(X), jnp.asarray(X)))


def cosine(one, two):
    return (one * two).sum() / np.sqrt((one**2).sum() * (two**2).sum())


@pytest.mark.parametrize("outputs", ["trace", "full"])
def test_the_probe_follows_the_kernels_of_the_run(float64, exact, outputs):
    probes = {"drift": ntk.kernel_drift(MODEL.apply, X, Y, outputs=outputs), "params": dm.train.snapshot()}
    params = MODEL.init(jax.random.key(0), X)
    run = dm.train.fit(
        jax.random.key(1), MODEL.apply, dm.train.losses.half_mse, params, (X, Y), optax.sgd(0.3),
        num_steps=12, every=6, probes=probes,
    )  # fmt: skip
    found = run.probes["drift"]
    kernels = [dense(jax.tree.map(lambda leaf, i=i: leaf[i], run.probes["params"]), exact) for i in range(3)]
    traces = [np.trace(kernel, axis1=2, axis2=3) for kernel in kernels]
    wanted = traces if outputs == "trace" else kernels
    relative = [np.linalg.norm(kernel - wanted[0]) / np.linalg.norm(wanted[0]) for kernel in wanted]
    centring = np.eye(5) - 1 / 5
    alignments = [cosine(centring @ kernel @ centring, centring @ Y @ Y.T @ centring) for kernel in traces]
    np.testing.assert_allclose(found.relative, relative, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(found.distance, [1 - cosine(kernel, wanted[0]) for kernel in wanted], atol=1e-13)
    np.testing.assert_allclose(found.alignment, alignments, rtol=1e-10)
    # Nothing would be learned from a kernel that stays where it was.
    assert relative[2] > 0.01


def test_the_kernel_of_a_linearised_network_does_not_move_and_another_network_compiles_nothing(float64):
    measure = jax.jit(lambda probe, p, q: probe.update(probe.init(p), q, None, 0)[1])
    params, other = (MODEL.init(jax.random.key(seed), X) for seed in range(2))
    for centre, x in ((params, X), (other, X + 1)):
        found = measure(ntk.kernel_drift(ntk.linearize(MODEL.apply, centre), x), params, other)
        assert found.relative < 1e-13
        assert found.alignment is None
    assert measure._cache_size() == 1
