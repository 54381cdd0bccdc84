"""The largest eigenvalue of the Hessian, followed along a training run."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from dlmath import check, linalg, typing
from dlmath.hessian._operator import checked_params, linearized, operator, static
from dlmath.hessian._preconditioner import Preconditioner, inverse_root
from dlmath.linalg import Operator
from dlmath.linalg._arrays import product
from dlmath.typing import Key, ObjectiveFn, Params

_WARM = 2
"""Vectors kept from one record to the next: two, so that the leading ones may change places."""


class Sharpness(NamedTuple):
    """A largest eigenvalue and how well it is known; scalars, or arrays over records."""

    value: Float[Array, "*records"]
    """λ, the Rayleigh quotient of a unit vector v."""
    residual: Float[Array, "*records"]
    """‖Av − λv‖: some eigenvalue is at most that far from λ."""
    converged: Bool[Array, "*records"]
    """Whether the residual is at most rtol·‖A‖."""
    num_matvecs: Int[Array, "*records"]
    """Products with the Hessian that it took."""


def sharpness(
    objective: ObjectiveFn | Any,
    *data: Any,
    preconditioner: str | None = None,
    num_steps: int = 5,
    rtol: float = 1e-2,
    max_restarts: int = 30,
    b1: float = 0.9,
    b2: float | None = None,
    eps: float = 1e-8,
    eps_in_sqrt: bool = True,
) -> typing.Probe:
    """The sharpness λmax(∇²L(θ_t)), or λmax(P_t⁻¹∇²L(θ_t)), as a probe of a training run.

    Each record starts at the two leading vectors of the one before. `num_steps` − 2 products look at these, whose
    operator has moved on, and extend them by Lanczos steps; as many more extend the best two found, to `num_steps`
    dimensions each time, until the residual is at most rtol·‖A‖. Along a run one or two rounds mostly do; the first
    record starts at vectors drawn from a fixed key and takes several.

    P is diagonal, read from the state of an optax optimizer (anywhere in a chain), with its bias corrections: for
    "adam" P = (1 − β₁^t)[(ν/(1 − β₂^t))^½ + ε], for "rmsprop" P = (ν + ε)^½ (or ν^½ + ε). Before the first update,
    ν is that of the first update on this objective. The eigenvalue is that of P^{-½}HP^{-½}. Compare with
    `stability_threshold`.

    Args:
        objective: (params, *data) -> scalar: the full-batch loss.
        data: what the objective takes beside the parameters; held by the probe as arguments of the program.
        preconditioner: None, "momentum" (P = 1: momentum moves the threshold only), "adam" or "rmsprop".
        num_steps: dimension of the Krylov space, at least 3; a record that converges at once takes two products less.
        rtol: bound on the residual, relative to the largest |eigenvalue| in sight. The error of the eigenvalue is
            residual²/gap, far below the residual unless the next eigenvalue is close.
        max_restarts: rounds after the first, at most.
        b1: β₁ of Adam.
        b2: β₂, decay of the squares; None for optax's defaults, 0.999 for Adam and 0.9 for RMSProp.
        eps: ε of the optimizer.
        eps_in_sqrt: RMSProp's ε under the root, as is optax's default.

    Returns:
        A Probe whose value is a `Sharpness`. Works inside compiled loops and under vmap. Cost of a record: one
        gradient and about 1.5 gradients a product; memory 2·num_steps·P.

    Raises:
        ValueError, TypeError: for arguments out of range; when the run is compiled, for an optimizer state without
            the second moments of the preconditioner.

    Source: Cohen et al. 2021 (2103.00065); with preconditioners Cohen et al. 2022 (2207.14484).

    >>> probe = sharpness(lambda w, scale: jnp.sum(scale * w**2), jnp.array([1.0, 3.0, 2.0]))
    >>> state, found = probe.update(probe.init(jnp.zeros(3)), jnp.zeros(3), None, 0)
    >>> round(found.value.item(), 4)
    6.0
    """
    num_steps = check.integer("num_steps", num_steps, at_least=_WARM + 1)
    rtol = check.real("rtol", rtol, above=0.0, below=1.0)
    max_restarts = check.integer("max_restarts", max_restarts, at_least=0)
    how = Preconditioner.checked(preconditioner, b1, b2, eps, eps_in_sqrt)
    return typing.Probe(_start, _Update(static("objective", objective), data, how, num_steps, rtol, max_restarts))


def sharpness_of(
    key: Key,
    objective: ObjectiveFn | Any,
    params: Params,
    *data: Any,
    preconditioner: str | None = None,
    opt_state: Any = None,
    tol: float | None = None,
    b1: float = 0.9,
    b2: float | None = None,
    eps: float = 1e-8,
    eps_in_sqrt: bool = True,
) -> Sharpness:
    """The sharpness λmax(∇²L(θ)), or λmax(P⁻¹∇²L(θ)), at one point, to the accuracy of the arithmetic.

    Args:
        key: draws the start.
        objective: (params, *data) -> scalar.
        params: θ, any pytree of floating arrays.
        data: what the objective takes beside the parameters.
        preconditioner: as for `sharpness`; "adam" and "rmsprop" need `opt_state`.
        opt_state: state of an optax optimizer.
        tol: bound on the residual relative to ‖A‖; None for that of `linalg.eigenpairs`.
        b1: β₁ of Adam.
        b2: β₂ of Adam or RMSProp, None for optax's defaults.
        eps: ε of the optimizer.
        eps_in_sqrt: RMSProp's ε under the root.

    Returns:
        A `Sharpness`. Cost: tens of products, about 1.5 gradients each; a second point compiles nothing.

    Raises:
        ValueError, TypeError: as `operator` and `sharpness` do.

    >>> found = sharpness_of(jax.random.key(0), lambda w: w[0] ** 2 - 5 * w[1] ** 2, jnp.zeros(2))
    >>> round(found.value.item(), 4)
    2.0
    """
    key = check.key("key", key)
    how = Preconditioner.checked(preconditioner, b1, b2, eps, eps_in_sqrt)
    hessian = operator(objective, params, *data)
    found = static("objective", objective)
    root = inverse_root(how, params, opt_state, lambda: jax.grad(lambda p: found(p, *data))(params))
    op = linearized(_preconditioned(hessian, root))
    pairs = linalg.eigenpairs(key, op, 1, tol=tol, search_copies=False, check_symmetry=False)
    return Sharpness(pairs.values[0], pairs.residuals[0], pairs.converged[0], pairs.num_matvecs)


def _preconditioned(op: Operator, root: Any) -> Operator:
    """P^{-½}AP^{-½}."""
    return op if root is None else linalg.operator(_scaled_product, op.like, op, root)


def _scaled_product(op: Operator, root: Any, vector: Any) -> Any:
    return jax.tree.map(jnp.multiply, root, op(jax.tree.map(jnp.multiply, root, vector)))


def _start(params: Params) -> Any:
    leaves = jax.tree.leaves(checked_params(params))
    size, dtype = sum(leaf.size for leaf in leaves), jnp.result_type(*leaves)
    return jax.random.normal(jax.random.key(0), (_WARM, size), dtype)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _Update:
    objective: Any
    data: Any
    preconditioner: Preconditioner = field(metadata={"static": True})
    num_steps: int = field(metadata={"static": True})
    rtol: float = field(metadata={"static": True})
    max_restarts: int = field(metadata={"static": True})

    def __call__(self, state: Any, params: Params, opt_state: Any, step: Any) -> tuple[Any, Sharpness]:
        return _record(self, state, params, opt_state, step)


@jax.jit
def _record(probe: _Update, state: Any, params: Params, opt_state: Any, step: Any) -> tuple[Any, Sharpness]:
    gradient = lambda: jax.grad(lambda p: probe.objective(p, *probe.data))(params)
    root = inverse_root(probe.preconditioner, params, opt_state, gradient)
    multiply = linearized(_preconditioned(operator(probe.objective, params, *probe.data), root)).flat
    fresh = jax.random.normal(jax.random.fold_in(jax.random.key(1), step), state.shape[1:], state.dtype)
    vectors, found = largest(multiply, state, fresh, probe.num_steps, probe.rtol, probe.max_restarts)
    # A record of a run that has diverged leaves no trace in later ones.
    finite = jnp.isfinite(found.value) & jnp.isfinite(vectors).all()
    return jnp.where(finite, vectors, state), found


class _Krylov(NamedTuple):
    basis: Any
    """[m, n], orthonormal rows (rows of zeros where the space was exhausted)."""
    images: Any
    """[m, n], A times each."""
    vector_residual: Any
    value: Any
    scale: Any
    restarts: Any


def largest(
    multiply: Callable[[Any], Any], start: Any, fresh: Any, num_steps: int, rtol: float, max_restarts: int
) -> tuple[Any, Sharpness]:
    """The largest eigenvalue from the span of start [k, n], by Rayleigh-Ritz with thick restarts.

    `fresh` [n] is mixed into the last start vector and replaces directions that come out as rounding, so that an
    eigenvector orthogonal to all that went before is still found.
    """
    n = start.shape[1]
    m = min(num_steps, n)
    kept = max(1, min(start.shape[0], m // 2))
    # The first extension begins at no vector, later ones at those kept. All are equally long, since under vmap a loop
    # of a length that differs from member to member copies the matrices at every turn.
    length = max(1, m - kept)
    tiny = 64 * jnp.finfo(start.dtype).eps
    fresh = fresh / _norm(fresh)
    before = start
    start = start[:kept] / jax.vmap(_norm)(start[:kept])[:, None]
    start = start.at[-1].add(0.1 * fresh)

    def against(basis: Any, vector: Any) -> tuple[Any, Any]:
        """The unit vector orthogonal to the basis, and whether there was one above rounding."""
        before = _norm(vector)
        for _ in range(2):
            vector = vector - product(product(basis, vector), basis)
        after = _norm(vector)
        # NaN counts as a direction: it must reach the result.
        ok = ~(after <= tiny * before) & ~(before == 0)
        return jnp.where(ok, vector / jnp.where(ok, after, 1), 0), ok

    def next_vector(basis: Any, images: Any, j: Any) -> Any:
        krylov = images[jnp.where(j == kept, 0, jnp.maximum(j - 1, 0))]
        found = against(basis, jnp.where(j < kept, start[jnp.minimum(j, kept - 1)], krylov))
        # A loop of one turn at most: under vmap a branch would be taken every time.
        turn = lambda found: (against(basis, fresh)[0], jnp.ones((), bool))
        return jax.lax.while_loop(lambda found: ~found[1], turn, found)[0]

    def extend(first: Any, i: Any, held: tuple[Any, Any]) -> tuple[Any, Any]:
        basis, images = held
        j = first + i
        unit = next_vector(basis, images, j)
        return basis.at[j].set(unit), images.at[j].set(multiply(unit))

    def cycle(held: _Krylov) -> _Krylov:
        first = jnp.where(held.restarts < 0, 0, m - length)
        there = jnp.arange(m)[:, None] < first
        basis, images = jnp.where(there, held.basis, 0), jnp.where(there, held.images, 0)
        basis, images = jax.lax.fori_loop(0, length, partial(extend, first), (basis, images))
        projected = product(basis, images.T)
        projected = (projected + projected.T) / 2
        # A row of zeros is no vector of the space: its Ritz value 0 must not be the largest of negative ones.
        empty = jnp.sum(jnp.square(basis), axis=1) < 0.5
        below = 1 + 2 * jnp.max(jnp.sum(jnp.abs(projected), axis=1))
        values, mixing = jnp.linalg.eigh(projected - jnp.diag(jnp.where(empty, below, 0)))
        scale = jnp.max(jnp.where(values > -0.75 * below, jnp.abs(values), 0))
        top = mixing[:, ::-1][:, :kept].T
        vectors, products = product(top, basis), product(top, images)
        value = values[-1]
        return _Krylov(
            basis.at[:kept].set(vectors),
            images.at[:kept].set(products),
            _norm(products[0] - value * vectors[0]),
            value,
            scale,
            held.restarts + 1,
        )

    def unfinished(held: _Krylov) -> Any:
        # Not `residual > bound`, which is False for NaN: then there is nothing to wait for either.
        return (held.restarts < 0) | ((held.restarts < max_restarts) & (held.vector_residual > rtol * held.scale))

    empty = jnp.zeros((m, n), start.dtype)
    zero = jnp.zeros((), start.dtype)
    done = jax.lax.while_loop(unfinished, cycle, _Krylov(empty, empty, zero, zero, zero, jnp.int32(-1)))
    products = (done.restarts + 1) * length
    converged = done.vector_residual <= rtol * done.scale
    vectors = jnp.zeros_like(before).at[:kept].set(done.basis[:kept])
    return vectors, Sharpness(done.value, done.vector_residual, converged, products)


def _norm(vector: Any) -> Any:
    return jnp.sqrt(jnp.sum(jnp.square(vector)))
