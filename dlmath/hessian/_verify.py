"""Tests of derivatives that need no second implementation: Taylor remainders and adjoints."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dlmath import check
from dlmath.linalg import Operator
from dlmath.typing import Key, Params

MIN_STEPS = 5
"""Consecutive halvings of the step at which a remainder must fall at its rate."""

SLOPES = (0.9, 1.9, 2.9)
"""Least slopes of the remainders of order 0, 1 and 2, whose rates are h, h² and h³."""


class TaylorTest(NamedTuple):
    """Taylor remainders of a function along a random direction.

    Attributes:
        steps: h [steps], norms of the displacement, falling by halves.
        errors: |E_0(h)|, |E_1(h)| and, with a Hessian, |E_2(h)|, [orders, steps].
        slopes: log₂ of E(h) / E(h/2), [orders, steps − 1]; NaN where the smaller is lost in rounding.
        passed: whether each remainder falls at its rate (slopes ≥ 0.9, 1.9, 2.9) on 5 consecutive halvings, and
            nowhere after them by half an order slower; or is zero to rounding at every step.
    """

    steps: np.ndarray
    errors: np.ndarray
    slopes: np.ndarray
    passed: bool


def taylor_test(
    key: Key,
    function: Callable[[Any], Any],
    x: Params,
    *,
    gradient: Callable[[Any], Any] | None = None,
    hessian: Operator | Callable[[Any], Any] | None = None,
    radius: float = 1.0,
    num_steps: int = 20,
) -> TaylorTest:
    """Taylor test of a gradient, and of a Hessian, against the values of the function alone.

    Along a random direction v with ‖v‖ = 1 and steps h = radius · 2⁻ᵏ, for φ(x) = ⟨w, f(x)⟩,

        E₀ = φ(x + hv) − φ(x) = O(h),  E₁ = E₀ − h ⟨∇φ, v⟩ = O(h²),  E₂ = E₁ − h²/2 ⟨v, Hv⟩ = O(h³).

    A wrong gradient leaves E₁ = O(h), a wrong Hessian E₂ = O(h²). w is 1 for a scalar function, random otherwise.

    Args:
        key: typed key, of v and w.
        function: pytree -> scalar or pytree of arrays. For an objective of (params, *data), bind the data.
        x: point, any pytree of floating arrays, away from kinks.
        gradient: x -> ∇f(x), of the structure of x; None for `jax.grad` (a test of custom derivative rules).
        hessian: an `Operator` at x, or v -> Hv; None leaves E₂ out.
        radius: the largest step, positive.
        num_steps: number of steps, at least 6.

    Returns:
        A `TaylorTest`. In float32, rounding leaves few steps for E₂: test in float64 (`jax.enable_x64`).

    Raises:
        TypeError, ValueError: for a point that is not floating, a function that is not finite at x, a gradient or
            Hessian product of another structure, or of a function that is not scalar.

    >>> taylor_test(jax.random.key(0), lambda x: jnp.sum(jnp.sin(x)), jnp.arange(3.0)).passed
    True
    >>> taylor_test(jax.random.key(0), lambda x: jnp.sum(jnp.sin(x)), jnp.arange(3.0), gradient=jnp.sin).passed
    False

    Cost: num_steps + 1 values, one gradient, one Hessian product.
    """
    check.key("key", key)
    check.callable_("function", function)
    radius = check.real("radius", radius, above=0.0)
    num_steps = check.integer("num_steps", num_steps, at_least=MIN_STEPS + 1)
    x = _floating("x", x)
    direction_key, weight_key = jax.random.split(key)
    direction = _normal(direction_key, x)
    direction = jax.tree.map(lambda leaf: leaf / np.sqrt(_dot(direction, direction)).astype(leaf.dtype), direction)

    start = _floating("function's value", function(x))
    scalar = all(leaf.shape == () for leaf in jax.tree.leaves(start)) and len(jax.tree.leaves(start)) == 1
    weight = jax.tree.map(jnp.ones_like, start) if scalar else _normal(weight_key, start)
    if not scalar and (gradient is not None or hessian is not None):
        raise ValueError(
            "function must be scalar where a gradient or a hessian is given, got outputs "
            f"{jax.tree.map(lambda leaf: leaf.shape, start)}; test a sum of them"
        )
    if gradient is None:
        slope = jax.vjp(function, x)[1](weight)[0]
    else:
        slope = _like("gradient", check.callable_("gradient", gradient)(x), x)
    along = [_dot(slope, direction)]
    if hessian is not None:
        product = check.callable_("hessian", hessian)(direction)
        along.append(0.5 * _dot(direction, _like("hessian", product, x)))

    steps = radius * 0.5 ** np.arange(num_steps)
    values = []
    for h in steps:
        there = jax.tree.map(lambda a, v, h=h: a + jnp.asarray(h, a.dtype) * v, x, direction)
        values.append(_dot(weight, function(there)))
    values, here = np.array(values), _dot(weight, start)
    if not np.isfinite(here):
        raise ValueError(f"function must be finite at x, got {here}")

    errors = [values - here]
    for order, coefficient in enumerate(along, start=1):
        errors.append(errors[-1] - coefficient * steps**order)
    errors = np.abs(np.array(errors))
    rounding = _rounding(x, start, weight, slope)
    return TaylorTest(steps, errors, *_judged(errors, rounding))


def adjoint_test(
    key: Key,
    forward: Operator | Callable[[Any], Any],
    adjoint: Callable[[Any], Any] | None = None,
    like: Any = None,
    *,
    num_probes: int = 3,
) -> float:
    """The largest relative gap |⟨Au, v⟩ − ⟨u, Aᵀv⟩| / (‖Au‖ ‖v‖) over random u and v.

    Zero to rounding if and only if `adjoint` is the transpose of the linear map `forward`; below 1e-12 in float64.
    For an `Operator`, a test of symmetry.

    Args:
        key: typed key.
        forward: u -> Au, or an Operator.
        adjoint: v -> Aᵀv; None for an Operator, which is its own.
        like: a vector of the space of u, any pytree of floating arrays or `jax.ShapeDtypeStruct`; None for an
            Operator, which knows.
        num_probes: pairs (u, v), at least 1.

    Returns:
        The gap, a float; 0 for the zero map.

    Raises:
        TypeError, ValueError: for missing arguments, or an adjoint into another space.

    >>> a = jnp.arange(6.0).reshape(2, 3)
    >>> adjoint_test(jax.random.key(0), lambda u: a @ u, lambda v: a.T @ v, jnp.zeros(3)) < 1e-6
    True

    Cost: num_probes products each way.
    """
    check.key("key", key)
    num_probes = check.positive_int("num_probes", num_probes)
    if isinstance(forward, Operator):
        like = forward.like if like is None else like
        adjoint = forward if adjoint is None else adjoint
    check.callable_("forward", forward)
    if like is None or adjoint is None:
        raise TypeError(
            f"{'adjoint' if adjoint is None else 'like'} must be given where forward is no Operator, got None"
        )
    check.callable_("adjoint", adjoint)
    like = jax.eval_shape(lambda tree: _floating("like", tree), like)
    gaps = []
    for probe in jax.random.split(key, num_probes):
        u_key, v_key = jax.random.split(probe)
        u = _normal(u_key, like)
        forward_u = _floating("forward's value", forward(u))
        v = _normal(v_key, forward_u)
        gap = abs(_dot(forward_u, v) - _dot(u, _like("adjoint", adjoint(v), u)))
        size = np.sqrt(_dot(forward_u, forward_u) * _dot(v, v))
        gaps.append(gap / size if size else gap)
    return float(max(gaps)) if np.isfinite(gaps).all() else float("nan")


def _judged(errors: np.ndarray, rounding: float) -> tuple[np.ndarray, bool]:
    """Slopes, NaN where unresolved, and whether all remainders fall at their rates."""
    resolved = (errors[:, 1:] > rounding) & np.isfinite(errors[:, :-1])
    with np.errstate(divide="ignore", invalid="ignore"):
        slopes = np.where(resolved, np.log2(errors[:, :-1] / errors[:, 1:]), np.nan)
    passed = True
    for order, least in enumerate(SLOPES[: len(errors)]):
        run, fell = 0, False
        for slope in slopes[order]:
            run = run + 1 if slope >= least else 0
            # A small error of a derivative shows only once the right remainder has fallen below it.
            fell = (fell or run >= MIN_STEPS) and not slope < least - 0.5
        passed &= fell or bool((errors[order] <= rounding).all())
    return slopes, bool(passed)


def _rounding(x: Any, start: Any, weight: Any, slope: Any) -> float:
    """Size of a remainder that rounding of the argument and of the value explains, with a factor of 16 for sums."""
    eps = max(float(jnp.finfo(leaf.dtype).eps) for leaf in jax.tree.leaves((x, start)))
    size = np.sqrt(_dot(weight, weight) * _dot(start, start)) + np.sqrt(_dot(slope, slope) * _dot(x, x))
    return 16 * eps * float(size)


def _dot(a: Any, b: Any) -> float:
    """⟨a, b⟩, accumulated in double precision on the host."""
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return float(sum(np.vdot(np.asarray(p, np.float64), np.asarray(q, np.float64)) for p, q in pairs))


def _normal(key: Any, like: Any) -> Any:
    leaves, treedef = jax.tree.flatten(like)
    keys = jax.random.split(key, len(leaves))
    drawn = [jax.random.normal(k, leaf.shape, leaf.dtype) for k, leaf in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(treedef, drawn)


def _floating(name: str, tree: Any) -> Any:
    tree = jax.tree.map(jnp.asarray, tree)
    for leaf in jax.tree.leaves(tree):
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise TypeError(f"{name} must have floating leaves, got {leaf.dtype}; cast it with .astype(float)")
    if not sum(leaf.size for leaf in jax.tree.leaves(tree)):
        raise ValueError(f"{name} must have at least one entry, got none")
    return tree


def _like(name: str, tree: Any, like: Any) -> Any:
    shapes = [jax.tree.map(jnp.shape, each) for each in (tree, like)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"{name} must return a pytree of shapes {shapes[1]}, got {shapes[0]}")
    return tree
