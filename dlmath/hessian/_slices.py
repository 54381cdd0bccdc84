"""The objective on lines and planes in parameter space."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, Float

from dlmath import check
from dlmath.hessian._operator import checked_params, checked_rows, expect_scalar, static
from dlmath.typing import Key, ObjectiveFn, Params

NORMALISATIONS = ("filter", "layer", "none")


class Slice(NamedTuple):
    """An objective along a line."""

    steps: Float[Array, " m"]
    """[m], distances s along the direction, in units of its length."""
    values: Float[Array, " m"]
    """[m], f(θ + s·d)."""


class Plane(NamedTuple):
    """An objective on a plane."""

    steps: tuple[Float[Array, " m1"], Float[Array, " m2"]]
    """([m1], [m2]), distances along the two directions."""
    values: Float[Array, "m1 m2"]
    """[m1, m2], f(θ + s₁·d₁ + s₂·d₂)."""


class Path(NamedTuple):
    """An objective on the segment between two points."""

    steps: Float[Array, " m"]
    """[m], t from 0 (at a) to 1 (at b)."""
    values: Float[Array, " m"]
    """[m], f((1 − t)·a + t·b)."""
    barrier: Float[Array, ""]
    """Maximum over t of f − [(1 − t)·f(a) + t·f(b)]; at least 0, and 0 for a convex f."""
    instability: Float[Array, ""]
    """Maximum over t of f − ½[f(a) + f(b)]."""


def slice_1d(objective: ObjectiveFn | Any, params: Params, *data: Any, direction: Params, steps: Any) -> Slice:
    """The objective f(θ + s·d) along a line.

    Args:
        objective: (params, *data) -> scalar.
        params: θ, any pytree of floating arrays.
        data: what the objective takes beside the parameters.
        direction: d, like `params`: from `random_direction`, an eigenvector, or a difference of two networks.
        steps: s [m].

    Returns:
        A `Slice`. Cost: m evaluations, one after the other; memory of one.

    Raises:
        ValueError, TypeError: for a direction unlike the parameters, or an objective that is no scalar.

    >>> line = slice_1d(lambda w: jnp.sum(w**2), jnp.array([1.0, 0.0]), direction=jnp.array([0.0, 1.0]), steps=[0, 2])
    >>> line.values.tolist()
    [1.0, 5.0]
    """
    objective, params, data = checked_objective(objective, params, data)
    direction = checked_like("direction", direction, params)
    steps = _steps("steps", steps)
    return Slice(steps, _on_line(objective, params, direction, steps, data))


def slice_2d(
    objective: ObjectiveFn | Any, params: Params, *data: Any, directions: tuple[Params, Params], steps: Any
) -> Plane:
    """The objective f(θ + s₁·d₁ + s₂·d₂) on a plane.

    Args:
        objective: (params, *data) -> scalar.
        params: θ, any pytree of floating arrays.
        data: what the objective takes beside the parameters.
        directions: (d₁, d₂), each like `params`; they need not be orthogonal.
        steps: s [m] for both, or a pair (s₁ [m1], s₂ [m2]).

    Returns:
        A `Plane`, ready for `contour(*plane.steps, plane.values.T)`. Cost: m1·m2 evaluations, one after the other.

    Raises:
        ValueError, TypeError: for directions unlike the parameters, or an objective that is no scalar.

    >>> w, e = jnp.zeros(2), jnp.eye(2)
    >>> slice_2d(lambda w: w[0] - 3 * w[1], w, directions=(e[0], e[1]), steps=([1.0], [0.0, 2.0])).values.tolist()
    [[1.0, -5.0]]
    """
    objective, params, data = checked_objective(objective, params, data)
    if not isinstance(directions, tuple | list) or len(directions) != 2:
        raise ValueError(f"directions must be a pair (d1, d2), got {type(directions).__name__}")
    pair = tuple(checked_like(f"directions[{i}]", d, params) for i, d in enumerate(directions))
    steps = steps if isinstance(steps, tuple) and len(steps) == 2 and np.ndim(steps[0]) else (steps, steps)
    rows, columns = _steps("steps[0]", steps[0]), _steps("steps[1]", steps[1])
    return Plane((rows, columns), _on_plane(objective, params, pair, rows, columns, data))


def interpolate(
    objective: ObjectiveFn | Any, params_a: Params, params_b: Params, *data: Any, num_points: int = 25
) -> Path:
    """The objective on the straight path (1 − t)·a + t·b between two parameters, and the height of its barrier.

    Two heights are in use: above the straight line between the ends (`barrier`: Entezari et al. 2022, 2110.06296,
    definition 2.1) and above their mean (`instability`: Frankle et al. 2020, 1912.05671, section 2). They agree
    where the ends are equally high.

    Args:
        objective: (params, *data) -> scalar.
        params_a: the end at t = 0, any pytree of floating arrays.
        params_b: the end at t = 1, like `params_a`.
        data: what the objective takes beside the parameters.
        num_points: m ≥ 2 equidistant points, ends included; an odd number has the midpoint.

    Returns:
        A `Path`; its maxima are over the points of the grid, so at most the true ones. Cost: m evaluations.

    Raises:
        ValueError, TypeError: for ends unlike each other, or an objective that is no scalar.

    >>> path = interpolate(lambda w: (w**2 - 1) ** 2, jnp.array(-1.0), jnp.array(1.0))
    >>> path.barrier.item()
    1.0
    """
    num_points = check.integer("num_points", num_points, at_least=2)
    objective, a, data = checked_objective(objective, params_a, data)
    b = checked_like("params_b", params_b, a, "params_a")
    return _between(objective, a, b, num_points, data)


def random_direction(
    key: Key, params: Params, *, normalise: str = "filter", biases: str = "zero", filter_axis: int = -1
) -> Params:
    """A Gaussian direction d with the scale of the parameters.

    - "filter": d_ij ← d_ij·‖w_ij‖/‖d_ij‖ for each filter j of each weight i, the weights into one output;
    - "layer": the same with one norm for a whole leaf;
    - "none": standard normal entries.

    With filters as long as the network's own, slices of a ReLU network do not change when its layers are rescaled.

    Args:
        key: typed key.
        params: any pytree of floating arrays; leaves with at least two axes are weights, the others biases.
        normalise: "filter", "layer" or "none".
        biases: "zero", leaves with fewer than two axes do not move, as in the paper; or "scale", each such leaf is
            taken for one filter. With normalise="none" they are always drawn.
        filter_axis: axis of a weight that numbers its outputs: -1 for [in, out] (dlmath, flax), 0 for [out, in].

    Returns:
        A direction like `params`, for `slice_1d` and `slice_2d`.

    Raises:
        ValueError: for an unknown name. TypeError: for leaves that are not floating.

    Source: Li et al. 2018 (1712.09913), section 4.

    >>> d = random_direction(jax.random.key(0), jnp.array([[3.0, 0.0], [4.0, 1.0]]))
    >>> [round(x, 4) for x in jnp.linalg.norm(d, axis=0).tolist()]
    [5.0, 1.0]
    """
    check.key("key", key)
    check.one_of("normalise", normalise, NORMALISATIONS)
    check.one_of("biases", biases, ("zero", "scale"))
    filter_axis = check.integer("filter_axis", filter_axis)
    leaves, treedef = jax.tree.flatten(checked_params(params))
    drawn = []
    for index, w in enumerate(leaves):
        d = jax.random.normal(jax.random.fold_in(key, index), w.shape, w.dtype)
        if normalise != "none":
            d = _scaled(d, w, normalise == "filter", biases == "zero", filter_axis)
        drawn.append(d)
    return jax.tree.unflatten(treedef, drawn)


def _scaled(d: Any, w: Any, by_filter: bool, zero_biases: bool, filter_axis: int) -> Any:
    if w.ndim < 2:
        by_filter = False
        if zero_biases:
            return jnp.zeros_like(d)
    if by_filter and not -w.ndim <= filter_axis < w.ndim:
        raise ValueError(f"filter_axis must be an axis of every weight, got {filter_axis} for shape {w.shape}")
    axes = tuple(axis for axis in range(w.ndim) if not by_filter or axis != filter_axis % w.ndim)
    norm = lambda leaf: jnp.sqrt(jnp.sum(jnp.square(leaf), axis=axes, keepdims=True))
    length = norm(d)
    return d * (norm(w) / jnp.where(length > 0, length, 1))


@jax.jit
def _on_line(objective: Any, params: Any, direction: Any, steps: Any, data: Any) -> Any:
    return jax.lax.map(lambda step: objective(moved(params, step, direction), *data), steps)


@jax.jit
def _on_plane(objective: Any, params: Any, directions: Any, rows: Any, columns: Any, data: Any) -> Any:
    def row(step: Any) -> Any:
        start = moved(params, step, directions[0])
        return jax.lax.map(lambda step: objective(moved(start, step, directions[1]), *data), columns)

    return jax.lax.map(row, rows)


@partial(jax.jit, static_argnums=3)
def _between(objective: Any, a: Any, b: Any, num_points: int, data: Any) -> Path:
    def value(t: Any) -> Any:
        # Both ends are met exactly, which a + t (b − a) does not do at t = 1.
        return objective(jax.tree.map(lambda a, b: (1 - t).astype(a.dtype) * a + t.astype(a.dtype) * b, a, b), *data)

    t = jnp.linspace(0.0, 1.0, num_points)
    values = jax.lax.map(value, t)
    weight = t.astype(values.dtype)
    line = (1 - weight) * values[0] + weight * values[-1]
    return Path(t, values, jnp.max(values - line), jnp.max(values) - (values[0] + values[-1]) / 2)


def moved(params: Any, step: Any, direction: Any) -> Any:
    """θ + s·d."""
    return jax.tree.map(lambda leaf, d: leaf + step.astype(leaf.dtype) * d, params, direction)


def checked_like(argument: str, value: Any, params: Any, like: str = "params") -> Any:
    """`value` with the structure, the shapes and the float types of `params`; else ValueError."""
    shapes = lambda tree: jax.tree.map(lambda leaf: list(np.shape(leaf)), tree)
    if jax.tree.structure(value) != jax.tree.structure(params) or shapes(value) != shapes(params):
        raise ValueError(f"{argument} must be like {like}, of shapes {shapes(params)}, got {shapes(value)}")
    return jax.tree.map(lambda leaf, p: jnp.asarray(leaf, p.dtype), value, params)


def checked_objective(objective: Any, params: Any, data: Any) -> tuple[Partial, Any, Any]:
    """The objective as a pytree, an argument of compiled programs; its parameters and data as JAX arrays."""
    objective, params = static("objective", objective), checked_params(params)
    checked_rows(data)
    # NumPy arrays take the precision that JAX is in now.
    data = jax.tree.map(jnp.asarray, data)
    expect_scalar("objective", jax.eval_shape(_value, objective, params, data))
    return objective, params, data


@jax.jit
def _value(objective: Any, params: Any, data: Any) -> Any:
    return objective(params, *data)


def _steps(argument: str, steps: Any) -> Any:
    steps = jnp.asarray(check.array(argument, steps, ndim=1))
    return steps if jnp.issubdtype(steps.dtype, jnp.floating) else steps.astype(float)
