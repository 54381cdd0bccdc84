"""Chebyshev moments of spectral measures, and the positive measures that the Jackson kernel makes of them."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from dlmath.linalg._lanczos import _lanczos, work_dtype
from dlmath.linalg._operator import Operator
from dlmath.linalg._probes import blocks, dot, draw, keys_of

_BOUND_STEPS = 20
_MARGIN = 0.02


class Moments(NamedTuple):
    """Moments μₘ = vᵀTₘ((A − centre)/half)v, ‖v‖ = 1, for m = 0..2k.

    Attributes:
        values: μ [probes, 2k + 1].
        centre, half: middle and half the length of the interval that holds the spectrum.
        inside: whether the spectrum is inside, as far as the moments tell (|μₘ| ≤ 1).
        num_breakdowns, first_nan_step: of the Lanczos run that found the interval.
    """

    values: Float[Array, "m moments"]
    centre: Float[Array, ""]
    half: Float[Array, ""]
    inside: Any
    num_breakdowns: Int[Array, ""]
    first_nan_step: Int[Array, ""]


def chebyshev_moments(key: Any, op: Operator, num_probes: int, num_steps: int, probes: str, block: int) -> Moments:
    """2k + 1 moments from k products a probe: μ₂ⱼ = 2⟨tⱼ, tⱼ⟩ − μ₀, μ₂ⱼ₊₁ = 2⟨tⱼ₊₁, tⱼ⟩ − μ₁, with tⱼ = Tⱼ(A)v."""
    bounds_key, probes_key = jax.random.split(key)
    centre, half, run = _interval(bounds_key, op)
    dtype = work_dtype(op)

    def times(v: Any) -> Any:
        return (op.flat(v.astype(op.dtype)).astype(dtype) - centre * v) / half

    def one(key: Any) -> Any:
        v = draw(key, op, probes).astype(dtype)
        v = v / jnp.sqrt(dot(v, v)).astype(dtype)
        first = times(v)
        mu1 = dot(v, first).astype(dtype)

        def step(carry: Any, _: Any) -> Any:
            before, now = carry
            after = 2 * times(now) - before
            return (now, after), jnp.stack([2 * dot(now, now) - 1, 2 * dot(after, now) - mu1])

        (_, last), pairs = jax.lax.scan(step, (v, first), None, length=num_steps - 1)
        end = 2 * dot(last, last) - 1
        return jnp.concatenate([jnp.stack([jnp.ones_like(mu1), mu1]), pairs.ravel(), end[None]])

    values = blocks(one, keys_of(probes_key, num_probes), block)
    inside = jnp.max(jnp.abs(values)) <= 1.01
    return Moments(values, centre, half, inside, run.num_breakdowns, run.first_nan_step)


def jackson(num_moments: int) -> np.ndarray:
    """Factors gₘ that make every truncated expansion of a positive measure positive (Weiße et al. 2006, eq. 71)."""
    m, size = np.arange(num_moments), num_moments + 1
    tangent = np.tan(np.pi / size)
    return ((size - m) * np.cos(np.pi * m / size) + np.sin(np.pi * m / size) / tangent) / size


def jackson_width(x: Any, num_moments: int) -> Any:
    """Standard deviation that the Jackson kernel gives to a point mass at x in [−1, 1] (the same, eq. 76)."""
    slope = 1 - math.cos(2 * math.pi / (num_moments + 1))
    return jnp.sqrt((num_moments - x**2 * (num_moments - 1)) / (2 * (num_moments + 1)) * slope)


def chebyshev_measure(moments: Float[Array, "m moments"], factors: np.ndarray, num_nodes: int) -> tuple[Any, Any]:
    """Nodes cos φⱼ [j] and weights [m, j] with the moments gₘμₘ: Gauss-Chebyshev quadrature of the expansion."""
    angles = np.pi * (np.arange(num_nodes) + 0.5) / num_nodes
    twice = np.where(np.arange(len(factors)) == 0, 1, 2)[:, None]
    table = twice * factors[:, None] * np.cos(np.arange(len(factors))[:, None] * angles[None]) / num_nodes
    weights = jnp.matmul(
        moments[:, : len(factors)], jnp.asarray(table, moments.dtype), precision=jax.lax.Precision.HIGHEST
    )
    return jnp.asarray(np.cos(angles), moments.dtype), weights


def _interval(key: Any, op: Operator) -> tuple[Any, Any, Any]:
    """Centre and half-length of an interval around the spectrum: extreme Ritz values, their residuals and a margin."""
    run = _lanczos(key, op, jnp.zeros(op.size, work_dtype(op)), min(_BOUND_STEPS, op.size))
    nodes, vectors = jnp.linalg.eigh(run.matrix)
    residuals = run.residual_norm * jnp.abs(vectors[-1])
    low, high = nodes[0] - residuals[0], nodes[-1] + residuals[-1]
    centre, half = (low + high) / 2, (1 + _MARGIN) * (high - low) / 2
    smallest = 1e-3 * jnp.maximum(jnp.abs(low), jnp.abs(high))
    half = jnp.maximum(half, smallest)
    return centre, jnp.where(half > 0, half, 1), run
