"""Gradient flow, the limit of gradient descent for small steps, by an adaptive integrator."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from dlmath import check
from dlmath.train._program import Skeleton, hashable, skeleton_of, unwrapped
from dlmath.typing import ObjectiveFn, Params


class Flow(NamedTuple):
    """A solution of θ' = −∇L(θ)."""

    time: Float[Array, " time"]
    """[time] t, in units of (learning rate × step)."""
    params: Params
    """θ(t), every leaf with a leading [time]."""
    loss: Float[Array, " time"]
    """[time] L(θ(t))."""
    converged: Bool[Array, ""]
    """Whether the integrator reached the last time within its tolerance and its number of steps."""
    num_steps: Int[Array, ""]
    """Steps taken by the integrator, rejected ones included."""


def gradient_flow(
    objective: ObjectiveFn | Any,
    params: Params,
    times: Any,
    *data: Any,
    rtol: float = 1e-5,
    atol: float = 1e-7,
    max_steps: int = 100_000,
    solver: Any = None,
) -> Flow:
    """The gradient flow θ'(t) = −∇_θ L(θ; data), θ(0) = params, at given times.

    Gradient descent with learning rate η follows it to O(η) at t = η · step.

    Args:
        objective: (params, *data) -> scalar L.
        params: θ(0), a pytree of floating arrays.
        times: increasing times >= 0, [time].
        data: further arguments of `objective`.
        rtol: relative tolerance of one step of the integrator, > 0.
        atol: absolute tolerance, > 0.
        max_steps: largest number of steps of the integrator between two times.
        solver: any diffrax solver; None for Tsit5, an explicit Runge-Kutta method of order 5, whose step is at
            most about 3.3 divided by the sharpness. `diffrax.Kvaerno5()` is implicit, for stiff and small problems.

    Returns:
        The Flow. Where `converged` is False the states not reached are infinite.

    Raises:
        ValueError, TypeError: for times that are negative, not increasing or not finite, tolerances <= 0.

    On L = ½θ² the flow is exp(−t):

    >>> flow = gradient_flow(lambda theta: 0.5 * theta**2, jnp.ones(()), jnp.array([0.0, 1.0]))
    >>> bool(jnp.allclose(flow.params, jnp.exp(-flow.time), rtol=1e-4))
    True

    Cost: six gradients a step, at least one step between two times; memory: times × parameters. Reference for the
    integrator: Tsitouras 2011. Forward-mode differentiable.
    """
    check.callable_("objective", objective)
    rtol = check.real("rtol", rtol, above=0.0)
    atol = check.real("atol", atol, above=0.0)
    max_steps = check.positive_int("max_steps", max_steps)
    times = check.array("times", times, ndim=1)
    if not check.is_traced(times):
        _check_times(np.asarray(times))
    if not jax.tree.leaves(params):
        raise ValueError(f"params must hold at least one array, got {params!r}")
    params = jax.tree.map(jnp.asarray, params)
    dtype = jnp.result_type(*jax.tree.leaves(params))
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(f"params must be floating arrays, got dtype {dtype}")
    times = jnp.asarray(times, dtype)

    skeleton, arrays = skeleton_of(objective)
    return _solve(skeleton, hashable(solver), max_steps, arrays, params, times, data, rtol, atol)


@partial(jax.jit, static_argnums=(0, 1, 2))
def _solve(
    skeleton: Skeleton,
    solver: Any,
    max_steps: int,
    arrays: Any,
    params: Params,
    times: Any,
    data: Any,
    rtol: Any,
    atol: Any,
) -> Flow:
    import diffrax  # a third of a second, which training alone need not wait for

    objective = skeleton.filled(arrays)
    solver = diffrax.Tsit5() if solver is None else unwrapped(solver)

    def downhill(time: Any, theta: Params, data: Any) -> Params:
        return jax.tree.map(jnp.negative, jax.grad(objective)(theta, *data))

    def advance(start: tuple[Any, Params], until: Any) -> tuple[tuple[Any, Params], Any]:
        # Interval by interval: SaveAt(ts=...) checks the times with a callback, which accelerators refuse.
        time, theta = start
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(downhill),
            solver,
            t0=time,
            t1=until,
            dt0=None,
            y0=theta,
            args=data,
            stepsize_controller=diffrax.PIDController(rtol=rtol, atol=atol),
            max_steps=max_steps,
            # A failed solve is flagged in the result; raising would need a callback, too.
            throw=False,
            adjoint=diffrax.ForwardMode(),
        )
        theta = jax.tree.map(lambda leaf: leaf[-1], solution.ys)
        converged = solution.result == diffrax.RESULTS.successful
        return (until, theta), (theta, objective(theta, *data), converged, solution.stats["num_steps"])

    _, (path, loss, converged, num_steps) = jax.lax.scan(advance, (jnp.zeros_like(times[0]), params), times)
    return Flow(times, path, loss, converged.all(), num_steps.sum())


def _check_times(times: np.ndarray) -> None:
    if times[0] < 0:
        raise ValueError(f"times must be non-negative, got {times[0]:g}")
    steps = np.diff(times)
    if (steps <= 0).any():
        first = int(np.argmax(steps <= 0))
        raise ValueError(f"times must increase, got {times[first]:g} before {times[first + 1]:g}; sort them")
