"""Five ways to keep Λ = G/T_l + P: what is kept, log det Λ, and products with its inverse root.

Vectors are raveled: the leaves that vary, one after the other, [d, m] for m of them. `half` is v ↦ Λ^{−½}v with some root, so
that ‖half v‖² = vᵀΛ⁻¹v, and `draw` its transpose, so that draws of covariance Λ⁻¹ come of standard normal ones.
"""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jax.tree_util import Partial

from dlmath import hessian, linalg
from dlmath.bnn._posterior import Posterior
from dlmath.bnn.priors import leaf_paths
from dlmath.linalg._arrays import product
from dlmath.typing import Params

_CHUNK = 32
"""Examples whose Jacobians are held at a time."""


def ravel(tree: Params, selected: tuple[bool, ...]) -> Any:
    """The leaves that vary as one array [d]."""
    return jnp.concatenate(
        [jnp.ravel(leaf) for leaf, taken in zip(jax.tree.leaves(tree), selected, strict=True) if taken]
    )


def moved(params: Params, selected: tuple[bool, ...], move: Any) -> Params:
    """θ* plus a raveled vector."""
    leaves, treedef = jax.tree.flatten(params)
    start, found = 0, []
    for leaf, taken in zip(leaves, selected, strict=True):
        if taken:
            found.append(leaf + move[start : start + leaf.size].reshape(leaf.shape).astype(leaf.dtype))
            start += leaf.size
        else:
            found.append(leaf)
    return jax.tree.unflatten(treedef, found)


def gauss_newton(posterior: Posterior, params: Params) -> linalg.Operator:
    """G, the Gauss-Newton matrix of −log p(y | x, θ), summed over examples; not tempered."""
    return hessian.ggn(posterior.apply, Partial(_loss, posterior.likelihood), params, *posterior.data)


def fit(structure: str, posterior: Posterior, params: Params, selected: tuple[bool, ...], rank: int | None) -> Any:
    """What the structure keeps, at T = 1."""
    if structure in ("full", "last_layer"):
        return _dense_factor(posterior, params, selected)
    if structure == "diagonal":
        squares = _accumulate(posterior, params, _squares)
        return _diagonal_factor(posterior, params, squares, selected)
    if structure == "kronecker":
        return _kronecker_factors(posterior, params, _accumulate(posterior, params, _sides))
    roots = _prior_roots(posterior, params)
    op = linalg.operator(
        _whitened, params, gauss_newton(posterior, params), roots, jnp.asarray(posterior.likelihood_temperature, float)
    )
    # The start of Lanczos is the only thing drawn: a fixed one makes the approximation a function of its arguments.
    pairs = linalg.eigenpairs(jax.random.key(0), op, rank or 1, search_copies=True)
    vectors = jax.vmap(op.ravel)(pairs.vectors)
    return op.ravel(roots), vectors, jnp.maximum(pairs.values, 0)


def log_det(structure: str, factors: Any) -> Any:
    """The logarithm of det Λ."""
    if structure in ("full", "last_layer"):
        return 2 * jnp.log(jnp.diagonal(factors)).sum()
    if structure == "diagonal":
        return jnp.log(factors).sum()
    if structure == "kronecker":
        return jax.tree.reduce(jnp.add, [jnp.log(values).sum() for _, _, values in factors])
    roots, _, values = factors
    return 2 * jnp.log(roots).sum() + jnp.log1p(values).sum()


def half(structure: str, factors: Any, v: Any) -> Any:
    """Λ^{−½}v for the columns of v [d, m]."""
    if structure in ("full", "last_layer"):
        return solve_triangular(factors, v, lower=True)
    if structure == "diagonal":
        return v / jnp.sqrt(factors)[:, None]
    if structure == "kronecker":
        return _by_block(factors, v, lambda block: _into(*block))
    roots, vectors, values = factors
    return _shrunk(vectors, values, v / roots[:, None])


def draw(structure: str, factors: Any, z: Any) -> Any:
    """The transpose of `half` for the columns of z [d, m]."""
    if structure in ("full", "last_layer"):
        return solve_triangular(factors, z, lower=True, trans=1)
    if structure == "diagonal":
        return z / jnp.sqrt(factors)[:, None]
    if structure == "kronecker":
        return _by_block(factors, z, lambda block: _back(*block))
    roots, vectors, values = factors
    return _shrunk(vectors, values, z) / roots[:, None]


def _loss(likelihood: Any, outputs: Any, y: Any) -> Any:
    return -likelihood.log_density(outputs, y).sum()


@partial(jax.jit, static_argnames="selected")
def _dense_factor(posterior: Posterior, params: Any, selected: tuple[bool, ...]) -> Any:
    precision, log_prior = dense_parts(posterior, params, selected)
    return jnp.linalg.cholesky(precision / posterior.likelihood_temperature + jnp.diag(log_prior))


def dense_parts(posterior: Posterior, params: Any, selected: tuple[bool, ...]) -> tuple[Any, Any]:
    """(G [d, d], the diagonal of P [d])."""
    op = gauss_newton(posterior, params)
    if not all(selected):
        taken = [name for name, chosen in zip(leaf_paths(params), selected, strict=True) if chosen]
        op = linalg.restrict(op, taken)
        # The block's dictionary sorts its names, the network need not.
        order = sorted(range(len(taken)), key=lambda i: taken[i])
        sizes = [leaf.size for leaf, c in zip(jax.tree.leaves(params), selected, strict=True) if c]
        starts = [sum(sizes[:i]) for i in range(len(sizes))]
        where = jnp.concatenate([jnp.arange(starts[i], starts[i] + sizes[i]) for i in order])
        matrix = linalg.dense(op)
        matrix = jnp.zeros_like(matrix).at[jnp.ix_(where, where)].set(matrix)
    else:
        matrix = linalg.dense(op)
    return (matrix + matrix.T) / 2, prior_diagonal(posterior, params, selected)


def prior_diagonal(posterior: Posterior, params: Any, selected: tuple[bool, ...]) -> Any:
    """The diagonal of the prior's precision P, of the leaves that vary, [d]."""
    precisions = posterior.prior.precisions(params)
    return ravel(jax.tree.map(lambda p, w: jnp.full(w.shape, p, w.dtype), precisions, params), selected)


@jax.jit
def _prior_roots(posterior: Posterior, params: Any) -> Any:
    return jax.tree.map(
        lambda p, w: jnp.full(w.shape, jnp.sqrt(p), w.dtype), posterior.prior.precisions(params), params
    )


@partial(jax.jit, static_argnames="selected")
def _diagonal_factor(posterior: Posterior, params: Any, squares: Any, selected: tuple[bool, ...]) -> Any:
    flat = ravel(squares, selected) / posterior.likelihood_temperature
    return flat + prior_diagonal(posterior, params, selected)


def _squares(rows: Any) -> Any:
    return jax.tree.map(lambda m: jnp.sum(m**2, (0, 1)), rows)


def _sides(rows: Any) -> Any:
    # Σ MMᵀ and Σ MᵀM of every leaf as a matrix [a, b]; a leaf of fewer axes is a column, whose left side is its block.
    def of(m: Any) -> Any:
        m = (
            m.reshape(-1, math.prod(m.shape[2:-1]), m.shape[-1])
            if m.ndim > 3
            else m.reshape(-1, math.prod(m.shape[2:]), 1)
        )
        one = jnp.einsum("iab,icb->ac", m, m, precision=jax.lax.Precision.HIGHEST)
        other = jnp.einsum("iab,iac->bc", m, m, precision=jax.lax.Precision.HIGHEST)
        return one, other

    return [of(m) for m in jax.tree.leaves(rows)]


@partial(jax.jit, static_argnames="summary")
def _accumulate(posterior: Posterior, params: Any, summary: Any) -> Any:
    """Σ over examples of a summary of their Jacobians with the root of S, [example, o, *leaf]; a chunk at a time."""
    x, y = posterior.data
    n = y.shape[0]
    chunk = min(n, _CHUNK)
    numbers = jnp.arange(-(-n // chunk) * chunk).reshape(-1, chunk)

    def jacobian(row: Any, label: Any) -> Any:
        batch = jax.tree.map(lambda leaf: leaf[None], row)
        outputs, pull = jax.vjp(lambda p: posterior.apply(p, batch), params)
        loss = lambda f: _loss(posterior.likelihood, f.reshape(outputs.shape), label[None])
        values, vectors = jnp.linalg.eigh(jax.hessian(loss)(outputs.reshape(-1)))
        root = jnp.sqrt(jnp.maximum(values, 0))[:, None] * vectors.T
        return jax.vmap(lambda covector: pull(covector.reshape(outputs.shape))[0])(root)

    def some(index: Any) -> Any:
        rows = jax.vmap(jacobian)(jax.tree.map(lambda leaf: leaf[index % n], x), y[index % n])
        kept = lambda leaf: jnp.where((index < n).reshape(-1, *[1] * (leaf.ndim - 1)), leaf, 0)
        return summary(jax.tree.map(kept, rows))

    zero = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(some, numbers[0]))
    add = lambda total, index: (jax.tree.map(jnp.add, total, some(index)), None)
    return jax.lax.scan(add, zero, numbers)[0]


@jax.jit
def _kronecker_factors(posterior: Posterior, params: Any, sides: Any) -> Any:
    precisions = jax.tree.leaves(posterior.prior.precisions(params))
    found = []
    for (one, other), precision in zip(sides, precisions, strict=True):
        (left, u), (right, v) = jnp.linalg.eigh(one), jnp.linalg.eigh(other)
        size = jnp.trace(one)
        # Rounding makes some eigenvalues negative.
        block = jnp.maximum(left, 0)[:, None] * jnp.maximum(right, 0) / jnp.where(size > 0, size, 1)
        found.append((u, v, block / posterior.likelihood_temperature + precision))
    return found


def _by_block(factors: Any, vectors: Any, times: Any) -> Any:
    start, found = 0, []
    for u, v, values in factors:
        part = vectors[start : start + values.size].reshape(*values.shape, -1)
        found.append(times((u, v, values))(part).reshape(values.size, -1))
        start += values.size
    return jnp.concatenate(found)


def _into(u: Any, v: Any, values: Any) -> Any:
    root = jnp.sqrt(values)[:, :, None]
    return lambda part: jnp.einsum("ai,abm,bj->ijm", u, part, v, precision=jax.lax.Precision.HIGHEST) / root


def _back(u: Any, v: Any, values: Any) -> Any:
    root = jnp.sqrt(values)[:, :, None]
    return lambda part: jnp.einsum("ai,ijm,bj->abm", u, part / root, v, precision=jax.lax.Precision.HIGHEST)


def _whitened(op: linalg.Operator, roots: Any, likelihood_temperature: Any, vector: Any) -> Any:
    image = op(jax.tree.map(jnp.divide, vector, roots))
    return jax.tree.map(lambda leaf, root: (leaf / root / likelihood_temperature).astype(leaf.dtype), image, roots)


def _shrunk(vectors: Any, values: Any, v: Any) -> Any:
    # (I + VᵀΛV)^{−½} = I − Vᵀ(1 − (1 + Λ)^{−½})V.
    part = product(vectors, v)
    return v - product(vectors.T, (1 - 1 / jnp.sqrt(1 + values))[:, None] * part)
