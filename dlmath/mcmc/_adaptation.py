"""Dual averaging of a step size towards an acceptance probability."""

from typing import Any, NamedTuple

import jax.numpy as jnp


class DualAveraging(NamedTuple):
    """State of the adaptation of log ε.

    Attributes:
        log_step: log ε to try next.
        log_average: weighted average of the past ones, the result.
        error: weighted average of (target − accept_prob).
        centre: log(10 ε₀), towards which log ε shrinks.
        count: updates made.
    """

    log_step: Any
    log_average: Any
    error: Any
    centre: Any
    count: Any


def dual_averaging(step_size: Any) -> DualAveraging:
    """The state before the first update."""
    log_step = jnp.log(step_size)
    zero = jnp.zeros_like(log_step)
    return DualAveraging(log_step, zero, zero, log_step + jnp.log(10.0).astype(zero.dtype), jnp.zeros((), jnp.int32))


def update(state: DualAveraging, accept_prob: Any, target: float) -> DualAveraging:
    """One step of Hoffman and Gelman's scheme, with their γ = 0.05, t₀ = 10, κ = 0.75.

    References:
        Hoffman, Gelman (2014), The No-U-Turn sampler, section 3.2.
    """
    dtype = state.log_step.dtype
    count = state.count + 1
    t = count.astype(dtype)
    # A proposal without a finite density is a rejection.
    miss = (target - jnp.nan_to_num(accept_prob)).astype(dtype)
    error = state.error + (miss - state.error) / (t + 10)
    log_step = state.centre - jnp.sqrt(t) / 0.05 * error
    weight = t**-0.75
    log_average = weight * log_step + (1 - weight) * state.log_average
    return DualAveraging(log_step, log_average, error, state.centre, count)
