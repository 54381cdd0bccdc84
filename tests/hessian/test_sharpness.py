"""Sharpness along training runs against the dense Hessian and its eigenvalues."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

import dlmath as dm
from dlmath import hessian

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
X = RNG.standard_normal((20, 3))
Y = np.sin(X.sum(axis=1, keepdims=True))
NETWORK = dm.models.mlp([12], 1, activation="tanh", weight_std=1.0)
RECORDER = dm.typing.Probe(lambda params: (), lambda state, params, opt_state, step: (state, (params, opt_state)))


def objective(params, x, y):
    return dm.train.losses.half_mse(NETWORK.apply(params, x), y)


class Problem(NamedTuple):
    optimizer: optax.GradientTransformation
    preconditioner: str | None
    diagonal: object


def of_none(opt_state, gradient):
    return np.ones_like(gradient)


def of_adam(opt_state, gradient):
    """P of Cohen et al. 2022 from optax's state, by hand; before the first update that of the first one."""
    adam = opt_state[0]
    count = max(int(adam.count), 1)
    nu = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(adam.nu)])
    nu = nu if adam.count > 0 else 0.001 * gradient**2
    return (1 - 0.9**count) * (np.sqrt(nu / (1 - 0.999**count)) + 1e-8)


def of_rmsprop(opt_state, gradient):
    nu = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(opt_state[0].nu)])
    return np.sqrt((nu if nu.any() else 0.1 * gradient**2) + 1e-8)


PROBLEMS = {
    "gradient descent": Problem(optax.sgd(0.3), None, of_none),
    "adam": Problem(optax.chain(optax.clip(1.0), optax.adam(1e-3)), "adam", lambda s, g: of_adam(s[1], g)),
    "rmsprop": Problem(optax.rmsprop(1e-3), "rmsprop", of_rmsprop),
}


@jax.jit
def dense(params):
    flat, unravel = ravel_pytree(params)
    function = lambda w: objective(unravel(w), jnp.asarray(X), jnp.asarray(Y))
    return jax.hessian(function)(flat), jax.grad(function)(flat)


def exact(params, opt_state, diagonal):
    matrix, gradient = map(np.asarray, dense(params))
    root = 1 / np.sqrt(diagonal(opt_state, gradient))
    return np.linalg.eigvalsh(matrix * root[:, None] * root)[-1]


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_probe_follows_the_largest_eigenvalue_of_the_dense_hessian_within_one_percent(name):
    optimizer, preconditioner, diagonal = PROBLEMS[name]
    with jax.enable_x64(True):
        probes = {"sharpness": hessian.sharpness(objective, X, Y, preconditioner=preconditioner), "all": RECORDER}
        params = NETWORK.init(KEY, X)
        run = dm.train.fit(
            KEY, NETWORK.apply, dm.train.losses.half_mse, params, (X, Y), optimizer,
            num_steps=240, every=20, probes=probes,
        )  # fmt: skip
        expected = [
            exact(*jax.tree.map(lambda leaf, i=i: leaf[i], run.probes["all"]), diagonal) for i in range(len(run.step))
        ]
    found = run.probes["sharpness"]
    assert len(expected) == 13
    np.testing.assert_allclose(found.value, expected, rtol=0.01)
    assert found.converged.all()
    # The first record starts from nothing; the others extend the last by few products.
    assert np.asarray(found.num_matvecs)[1:].mean() < 8
    # Nothing would be learned from a sharpness that stays where it was.
    assert np.max(expected) > 1.05 * np.min(expected)


def test_gradient_descent_ends_at_the_edge_of_stability():
    rate = 0.4
    with jax.enable_x64(True):
        run = dm.train.fit(
            KEY, NETWORK.apply, dm.train.losses.half_mse, NETWORK.init(KEY, X), (X, Y), optax.sgd(rate),
            num_steps=3000, every=50, probes={"sharpness": hessian.sharpness(objective, X, Y)},
        )  # fmt: skip
        late = np.asarray(run.probes["sharpness"].value)[-20:]
    np.testing.assert_allclose(np.median(late), hessian.stability_threshold("gd", rate), rtol=0.05)


def quadratic(w, matrix):
    return 0.5 * w @ matrix @ w


def record(probe, params, state=None, step=0, opt_state=None):
    return probe.update(probe.init(params) if state is None else state, params, opt_state, step)


def spectrum(values, dtype=np.float64):
    rotation, _ = np.linalg.qr(np.random.default_rng(1).standard_normal((len(values),) * 2))
    return jnp.asarray(rotation * np.asarray(values) @ rotation.T, dtype)


SPECTRA = {
    "spread": np.linspace(-3, 2, 24), "double": np.r_[5.0, 5.0, np.zeros(22)], "negative": -np.arange(1.0, 25),
    "negative identity": -3 * np.ones(24), "zero": np.zeros(24), "one": [2.0], "minus one": [-2.0], "two": [1.0, -7],
}  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", SPECTRA)
def test_the_largest_eigenvalue_of_a_known_spectrum_is_found(name, dtype):
    values = SPECTRA[name]
    with jax.enable_x64(dtype == np.float64):
        _, found = record(hessian.sharpness(quadratic, spectrum(values, dtype), rtol=1e-3), jnp.zeros(len(values)))
        found = jax.tree.map(np.asarray, found)
    assert found.value.dtype == dtype
    assert found.converged
    np.testing.assert_allclose(found.value, max(values), atol=1e-3 * max(np.abs(values)) + 1e-30)


def test_a_direction_orthogonal_to_all_earlier_ones_is_found():
    values = np.r_[3.0, np.linspace(0, 2, 15)]
    values[5] = 10.0
    with jax.enable_x64(True):
        probe = hessian.sharpness(lambda w, d: 0.5 * jnp.sum(d * w**2), values)
        # Neither start vector, nor any product with them, has a component along the leading eigenvector.
        state = jnp.stack([jnp.ones(16).at[0].set(30), jnp.arange(16.0)]).at[:, 5].set(0)
        for step in range(2):
            state, found = record(probe, jnp.zeros(16), state, step)
    np.testing.assert_allclose(found.value, 10, rtol=1e-3)


def test_residual_is_that_of_the_ritz_vector_and_bounds_the_error():
    with jax.enable_x64(True):
        values = np.linspace(0, 1, 60)
        matrix = spectrum(values)
        state, found = record(hessian.sharpness(quadratic, matrix, rtol=0.2, max_restarts=0), jnp.zeros(60))
        vector = state[0] / np.linalg.norm(state[0])
        np.testing.assert_allclose(vector @ matrix @ vector, found.value, rtol=1e-10)
        np.testing.assert_allclose(np.linalg.norm(matrix @ vector - found.value * vector), found.residual, rtol=1e-8)
        found = jax.tree.map(np.asarray, found)
    assert np.abs(values - found.value).min() <= found.residual
    assert found.num_matvecs == 3


def test_a_diverged_record_leaves_the_warm_start_as_it_was():
    matrix = spectrum([1.0, 2.0, 4.0, 1.5], np.float32)
    probe = hessian.sharpness(lambda w, m: quadratic(w, m) + jnp.sum(w**3), matrix)
    state, _ = record(probe, jnp.zeros(4))
    kept, found = record(probe, jnp.full(4, jnp.nan), state)
    assert jnp.isnan(found.value)
    assert not found.converged
    np.testing.assert_array_equal(kept, state)


def test_members_of_an_ensemble_have_their_own_sharpness():
    with jax.enable_x64(True):
        matrices = jnp.stack([spectrum([1.0, 2, 3, 4]), spectrum([9.0, 2, 3, 4])])
        probe = lambda matrix: record(hessian.sharpness(quadratic, matrix, rtol=1e-6), jnp.zeros(4))[1].value
        np.testing.assert_allclose(jax.vmap(probe)(matrices), [4, 9], rtol=1e-6)


def test_one_point_has_the_largest_eigenvalue_to_the_accuracy_of_the_arithmetic():
    with jax.enable_x64(True):
        params = NETWORK.init(KEY, X)
        found = hessian.sharpness_of(KEY, objective, params, X, Y)
        np.testing.assert_allclose(found.value, exact(params, None, of_none), rtol=1e-9)
        assert found.converged


def test_rmsprop_with_bias_correction_and_with_epsilon_outside_the_root():
    with jax.enable_x64(True):
        params = NETWORK.init(KEY, X)
        gradient = jax.grad(objective)(params, X, Y)
        optimizer = optax.rmsprop(1e-3, decay=0.8, eps=1e-3, eps_in_sqrt=False, bias_correction=True)
        state = optimizer.update(gradient, optimizer.init(params))[1]
        probe = hessian.sharpness(
            objective, X, Y, preconditioner="rmsprop", b2=0.8, eps=1e-3, eps_in_sqrt=False, rtol=1e-6
        )
        _, found = record(probe, params, opt_state=state)
        # After one update the corrected second moment is the square of the gradient.
        np.testing.assert_allclose(
            found.value, exact(params, state, lambda _, gradient: np.abs(gradient) + 1e-3), rtol=1e-6
        )


def test_a_state_without_second_moments_is_refused_by_name():
    params = jnp.zeros(3)
    probe = hessian.sharpness(quadratic, spectrum([1.0, 2, 3], np.float32), preconditioner="adam")
    with pytest.raises(ValueError, match=r"opt_state must hold one ScaleByAdamState.*got 0.*train with optax\.adam"):
        record(probe, params, opt_state=optax.sgd(0.1).init(params))


def test_a_second_checkpoint_compiles_nothing():
    traces = []

    def function(w, matrix):
        traces.append(1)
        return quadratic(w, matrix) + jnp.sum(w**4)

    probe = hessian.sharpness(function, spectrum([1.0, 2, 3, 5], np.float32))

    params, state = jnp.zeros(4), probe.init(jnp.zeros(4))
    state, _ = probe.update(state, params, None, jnp.int32(0))
    count = len(traces)
    for step in range(3):
        # A probe made again, on other data, is the same program too.
        probe = hessian.sharpness(function, spectrum([1.0, 2, 3, 5 + step], np.float32))
        state, _ = probe.update(state, params + step, None, jnp.int32(step))
    assert len(traces) == count
