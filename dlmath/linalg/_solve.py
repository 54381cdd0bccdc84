"""Linear systems by Krylov subspaces: conjugate gradients and minimal residuals."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from dlmath import check
from dlmath.linalg import _conjugate_gradients as cg
from dlmath.linalg import _host
from dlmath.linalg._host import HostOperator
from dlmath.linalg._lanczos import check_operator
from dlmath.linalg._operator import Operator, operator, structure_or_none
from dlmath.linalg._probes import dot


class Solution(NamedTuple):
    """The solution of a linear system, and how far to trust it.

    Attributes:
        x: solution, with the structure of b.
        residual_norm: ‖b − Ax‖, of a product made at the end.
        num_steps: products with A inside the iteration (one more for each time the residual is computed afresh).
        converged: whether residual_norm ≤ tol ‖b‖.
        indefinite: whether A (or the preconditioner) showed a direction of curvature ≤ 0, which stops "cg".
        history: residual norms after 0, 1, … steps, as the recursions know them (in the norm of the preconditioner for
            "minres"); NaN after the last step.
    """

    x: Any
    residual_norm: Float[Array, "*batch"]
    num_steps: Int[Array, "*batch"]
    converged: Bool[Array, "*batch"]
    indefinite: Bool[Array, "*batch"]
    history: Float[Array, "*batch steps"]


def solve(
    op: Operator | HostOperator,
    b: Any,
    *,
    method: str = "cg",
    preconditioner: Operator | None = None,
    tol: float = 1e-5,
    max_steps: int | None = None,
    x0: Any = None,
) -> Solution:
    """The solution x of Ax = b, by products with A alone.

    cg minimises the energy ½xᵀAx − bᵀx over Krylov subspaces, for A positive definite; minres the residual ‖b − Ax‖, for any
    symmetric A. When a recursion reports the tolerance, the residual is computed afresh; if it is larger (rounding), the
    iteration starts again on it, as long as that halves it.

    Args:
        op: A, symmetric; a `HostOperator` for "cg".
        b: right-hand side, a vector of op's space; for a HostOperator [n], or a column [n, k] for each of k systems.
        method: "cg" or "minres".
        preconditioner: an operator near A⁻¹, positive definite.
        tol: relative tolerance, ‖b − Ax‖ ≤ tol ‖b‖, positive; what can be reached is about eps ‖A‖‖x‖/‖b‖.
        max_steps: most steps, by default min(10 n, 1000).
        x0: first guess, a vector; zero by default.

    Returns:
        Solution, of a HostOperator and k systems with k as the leading axis of all but x [n, k]. Nothing is raised when it
        has not converged: look at `converged` and `indefinite`.

    Raises:
        TypeError: for an operator or preconditioner of another type.
        ValueError: for vectors that do not fit, or options out of range.

    >>> from dlmath.linalg import from_matrix
    >>> found = solve(from_matrix(jnp.diag(jnp.array([1.0, 4.0]))), jnp.array([1.0, 2.0]))
    >>> print(found.x.round(4), found.converged, found.num_steps)
    [1.  0.5] True 2

    Cost: a product and, if given, one with the preconditioner a step; memory O(n) (4 vectors for cg, 7 for minres).

    References:
        Hestenes, Stiefel (1952), Methods of conjugate gradients for solving linear systems, eq. 3:1.
        Paige, Saunders (1975), Solution of sparse indefinite systems of linear equations, section 6.
    """
    check.one_of("method", method, METHODS)
    tol = check.real("tol", tol, above=0.0)
    if isinstance(op, HostOperator):
        return _solve_on_host(op, b, method, preconditioner, tol, max_steps, x0)
    check_operator(op)
    b = _vector("b", b, op)
    x0 = _vector("x0", x0, op) if x0 is not None else jax.tree.map(jnp.zeros_like, b)
    _check_preconditioner(preconditioner, op)
    max_steps = min(10 * op.size, 1000) if max_steps is None else check.positive_int("max_steps", max_steps)
    return _solve(op, b, x0, preconditioner, tol, method=method, max_steps=max_steps)


def _solve_on_host(
    op: HostOperator, b: Any, method: str, preconditioner: Any, tol: float, max_steps: int | None, x0: Any
) -> Solution:
    if method != "cg":
        raise ValueError(f"method must be 'cg' for a HostOperator, got {method!r}")
    b = _host.check_columns("b", b, op)
    x0 = np.zeros_like(b) if x0 is None else _host.check_columns("x0", x0, op)
    if x0.shape != b.shape:
        raise ValueError(f"x0 must have the shape of b, {b.shape}, got {x0.shape}")
    if preconditioner is not None:
        _check_preconditioner(preconditioner, operator(_identity, jax.ShapeDtypeStruct((op.size,), op.dtype)))
    max_steps = min(10 * op.size, 1000) if max_steps is None else check.positive_int("max_steps", max_steps)
    columns = (op.size, -1)
    x, *others = _host.conjugate_gradients(op, b.reshape(columns), x0.reshape(columns), preconditioner, tol, max_steps)
    if b.ndim == 1:
        x, others = x[:, 0], [leaf[0] for leaf in others]
    return Solution(x, *others)


class _Run(NamedTuple):
    """The state of the outer iteration, and the result of the inner one."""

    x: Any
    residual: Any
    norm: Any
    num_steps: Any
    indefinite: Any
    stuck: Any
    history: Any


@partial(jax.jit, static_argnames=("method", "max_steps"))
def _solve(
    op: Operator, b: Any, x0: Any, preconditioner: Operator | None, tol: Any, *, method: str, max_steps: int
) -> Solution:
    flat_b, flat_x = op.ravel(b), op.ravel(x0)
    target = jnp.asarray(tol, flat_b.dtype) * cg.size(flat_b)
    apply = preconditioner.flat if preconditioner is not None else _identity

    def again(run: _Run) -> Any:
        wanted = (run.norm > target) & (run.num_steps < max_steps)
        return wanted & ~run.indefinite & ~run.stuck

    def once(run: _Run) -> _Run:
        step, num_steps, indefinite, history = METHODS[method](op.flat, apply, run, target, max_steps)
        x = run.x + step
        residual = flat_b - op.flat(x)
        norm = cg.size(residual)
        better = norm < run.norm
        return _Run(
            jnp.where(better, x, run.x), jnp.where(better, residual, run.residual), jnp.where(better, norm, run.norm),
            num_steps, indefinite, ~(norm <= run.norm / 2), history,
        )  # fmt: skip

    residual = flat_b - op.flat(flat_x)
    norm = cg.size(residual)
    history = jnp.full(max_steps + 1, jnp.nan, norm.dtype).at[0].set(norm)
    false = jnp.zeros_like(norm > 0)
    start = _Run(flat_x, residual, norm, jnp.zeros((), jnp.int32), false, false, history)
    end = jax.lax.while_loop(again, once, start)
    return Solution(op.unravel(end.x), end.norm, end.num_steps, end.norm <= target, end.indefinite, end.history)


def _conjugate_gradients(times: Any, apply: Any, run: _Run, target: Any, max_steps: int) -> tuple[Any, ...]:
    """The correction d with Ad ≈ r, r the residual of the run."""
    end = jax.lax.while_loop(
        lambda state: cg.unfinished(state, target, max_steps),
        lambda state: cg.advanced(state, times(state.p), apply),
        cg.start(run.residual, run.norm, run.num_steps, run.history, apply),
    )
    return end.d, end.num_steps, end.indefinite, end.history


class _Minres(NamedTuple):
    """Lanczos vectors before normalisation, the last two rotations, and the last two search directions."""

    d: Any
    previous: Any
    current: Any
    applied: Any  # the preconditioner times `current`
    beta: Any
    old_beta: Any
    cosine: Any
    sine: Any
    delta_bar: Any
    epsilon: Any
    phi: Any  # norm of the residual
    w: Any
    old_w: Any
    scale: Any  # largest entry of the tridiagonal matrix so far
    num_steps: Any
    indefinite: Any
    history: Any


def _minimal_residuals(times: Any, apply: Any, run: _Run, target: Any, max_steps: int) -> tuple[Any, ...]:
    """The correction d with Ad ≈ r: Lanczos, and a QR decomposition of its tridiagonal matrix by rotations."""
    eps = jnp.finfo(run.residual.dtype).eps
    applied = apply(run.residual)
    energy = dot(run.residual, applied).astype(applied.dtype)
    beta = jnp.sqrt(jnp.maximum(energy, 0))
    # With a preconditioner phi is another norm; it is asked for the same relative decrease.
    goal = target * beta / run.norm

    def more(s: _Minres) -> Any:
        exhausted = s.beta <= 8 * eps * s.scale
        return (s.phi > goal) & ~exhausted & (s.num_steps < max_steps) & ~s.indefinite

    def step(s: _Minres) -> _Minres:
        v = s.applied / s.beta
        image = times(v)
        started = s.old_beta > 0
        image = image - jnp.where(started, s.beta / jnp.where(started, s.old_beta, 1), 0) * s.previous
        alpha = dot(v, image).astype(v.dtype)
        image = image - alpha / s.beta * s.current
        applied = apply(image)
        energy = dot(image, applied).astype(v.dtype)
        beta = jnp.sqrt(jnp.maximum(energy, 0))
        delta = s.cosine * s.delta_bar + s.sine * alpha
        gamma_bar = s.sine * s.delta_bar - s.cosine * alpha
        gamma = jnp.hypot(gamma_bar, beta)
        scale = jnp.maximum(s.scale, jnp.maximum(jnp.abs(alpha), beta))
        safe = jnp.where(gamma > 0, gamma, 1)
        # A vanishing gamma: A is singular on the Krylov space, and the residual is already the smallest one.
        regular = gamma > 8 * eps * scale
        cosine, sine = jnp.where(regular, gamma_bar / safe, 0), jnp.where(regular, beta / safe, 1)
        w = jnp.where(regular, (v - s.epsilon * s.old_w - delta * s.w) / safe, 0)
        phi = sine * s.phi
        return _Minres(
            d=s.d + cosine * s.phi * w, previous=s.current, current=image, applied=applied, beta=beta,
            old_beta=s.beta, cosine=cosine, sine=sine, delta_bar=-s.cosine * beta, epsilon=s.sine * beta, phi=phi,
            w=w, old_w=s.w, scale=scale, num_steps=s.num_steps + 1,
            indefinite=energy < -8 * eps * dot(image, image).astype(v.dtype),
            history=s.history.at[s.num_steps + 1].set(phi),
        )  # fmt: skip

    zero, none = jnp.zeros_like(beta), jnp.zeros_like(run.x)
    start = _Minres(
        d=none, previous=none, current=run.residual, applied=applied, beta=beta, old_beta=zero, cosine=zero - 1,
        sine=zero, delta_bar=zero, epsilon=zero, phi=beta, w=none, old_w=none, scale=zero, num_steps=run.num_steps,
        indefinite=energy <= 0, history=run.history.at[run.num_steps].set(beta),
    )  # fmt: skip
    end = jax.lax.while_loop(more, step, start)
    return end.d, end.num_steps, end.indefinite, end.history


METHODS: dict[str, Callable[..., tuple[Any, ...]]] = {"cg": _conjugate_gradients, "minres": _minimal_residuals}


def _check_preconditioner(preconditioner: Any, op: Operator) -> None:
    if preconditioner is None:
        return
    if not isinstance(preconditioner, Operator):
        raise TypeError(
            "preconditioner must be an Operator near the inverse of op, as made by linalg.operator or"
            f" linalg.from_matrix, got {type(preconditioner).__name__}"
        )
    if preconditioner.structure != op.structure:
        raise ValueError(f"preconditioner must act on the vectors of op, {op.like}, got {preconditioner.like}")


def _vector(name: str, value: Any, op: Operator) -> Any:
    value = jax.tree.map(lambda leaf: check.array(name, leaf), value)
    if jax.tree.structure(value) == op.structure.treedef:
        cast = jax.tree.map(lambda leaf, like: jnp.asarray(leaf, like.dtype), value, op.like)
        if structure_or_none(cast) == op.structure:
            return cast
    wanted = jax.tree.map(lambda like: list(like.shape), op.like)
    got = jax.tree.map(lambda leaf: list(leaf.shape), value)
    raise ValueError(f"{name} must be a vector of op's space, of shapes {wanted}, got shapes {got}")


def _identity(vector: Any) -> Any:
    return vector
