"""Gradient flow against the matrix exponential, and as the limit of gradient descent."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.linalg

import dlmath as dm


def least_squares(seed=0, n=12, d=4):
    rng = np.random.default_rng(seed)
    x, y, w0 = rng.standard_normal((n, d)), rng.standard_normal(n), rng.standard_normal(d)
    return x, y, w0, x.T @ x / n, np.linalg.lstsq(x, y, rcond=None)[0]


def objective(w, x, y):
    return dm.train.losses.half_mse(x @ w, y)


@pytest.mark.parametrize("solver", [None, diffrax.Kvaerno5()])
def test_flow_of_least_squares_is_the_matrix_exponential(solver):
    x, y, w0, hessian, minimum = least_squares()
    times = np.array([0.0, 0.3, 1.0, 4.0])
    with jax.enable_x64(True):
        flow = dm.train.gradient_flow(objective, w0, times, x, y, rtol=1e-9, atol=1e-11, solver=solver)
    assert flow.converged
    for time, w, loss in zip(times, flow.params, flow.loss, strict=True):
        expected = minimum + scipy.linalg.expm(-hessian * time) @ (w0 - minimum)
        np.testing.assert_allclose(w, expected, atol=1e-7)
        np.testing.assert_allclose(loss, np.square(x @ expected - y).mean() / 2, atol=1e-7)


def test_gradient_descent_approaches_the_flow_to_first_order_in_the_learning_rate():
    x, y, w0, _, _ = least_squares()
    rates = np.array([0.2, 0.1, 0.05, 0.025])
    with jax.enable_x64(True):
        flow = dm.train.gradient_flow(objective, w0, np.array([2.0]), x, y, rtol=1e-10, atol=1e-12)
        errors = []
        for rate in rates:
            run = dm.train.fit(
                jax.random.key(0), lambda w, x: x @ w, dm.train.losses.half_mse, w0, (x, y), optax.sgd,
                hyperparameters={"learning_rate": rate}, num_steps=round(2.0 / rate), every=[],
            )  # fmt: skip
            errors.append(np.linalg.norm(run.params - flow.params[0]))
    slope = np.polyfit(np.log(rates), np.log(errors), 1)[0]
    assert abs(slope - 1) < 0.1


def test_loss_never_increases_along_the_flow_and_falls_by_the_squared_gradient():
    # dL/dt = −‖∇L‖², here by central differences on a deep linear network.
    rng = np.random.default_rng(1)
    target = rng.standard_normal((3, 3))
    params = 0.5 * rng.standard_normal((2, 3, 3))
    deep = lambda w: 0.5 * jnp.sum((w[1] @ w[0] - target) ** 2)
    times = np.linspace(0, 1, 201)
    with jax.enable_x64(True):
        flow = dm.train.gradient_flow(deep, params, times, rtol=1e-10, atol=1e-12)
        slope = (flow.loss[2:] - flow.loss[:-2]) / (times[2] - times[0])
        squared = jax.vmap(lambda w: jnp.sum(jax.grad(deep)(w) ** 2))(flow.params[1:-1])
        assert (jnp.diff(flow.loss) < 0).all()
        np.testing.assert_allclose(slope, -squared, rtol=5e-3)
        # w1ᵀw1 − w0w0ᵀ is conserved.
        balance = jax.vmap(lambda w: w[1].T @ w[1] - w[0] @ w[0].T)(flow.params)
        np.testing.assert_allclose(balance - balance[0], 0, atol=1e-8)


def test_flow_maps_over_starting_points_and_keeps_the_pytree():
    starts = {"a": jnp.array([1.0, 2.0])}
    flow = jax.jit(jax.vmap(lambda p: dm.train.gradient_flow(lambda q: 0.5 * q["a"] ** 2, p, jnp.array([1.0, 2.0]))))(
        starts
    )
    expected = starts["a"][:, None] * np.exp(-np.array([1.0, 2.0]))
    np.testing.assert_allclose(flow.params["a"], expected, rtol=1e-4)


def test_too_few_steps_are_flagged_and_not_raised():
    flow = dm.train.gradient_flow(lambda w: 50.0 * w**2, jnp.ones(()), jnp.array([100.0]), max_steps=5)
    assert not flow.converged
    assert flow.num_steps == 5


def test_second_flow_of_the_same_shapes_traces_nothing():
    traces = []

    def counted(w, scale):
        traces.append(1)
        return scale * jnp.sum(w**2)

    for scale in (1.0, 2.0):
        dm.train.gradient_flow(counted, jnp.ones(2), jnp.array([1.0, scale + 1]), jnp.asarray(scale), rtol=1e-3 * scale)
        first = len(traces) if scale == 1.0 else first
    assert len(traces) == first
