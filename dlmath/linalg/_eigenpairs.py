"""Extreme eigenpairs of an operator by restarted Lanczos, with a search for the copies of multiple eigenvalues."""

from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dlmath import check
from dlmath.linalg._algebra import check_symmetric, raise_if_asymmetric
from dlmath.linalg._copies import Certificate, certificate, extended, missed
from dlmath.linalg._lanczos import (
    check_operator,
    combined,
    in_parts,
    krylov_step,
    noise,
    raise_on_nan,
    random_orthogonal,
    ravel_vector,
    store_row,
    unit,
    unit_or_random,
    work_dtype,
)
from dlmath.linalg._lobpcg import lobpcg
from dlmath.linalg._operator import Operator
from dlmath.linalg._ritz import Eigenpairs, finish, score, verified
from dlmath.typing import Key

_WHICH = ("largest", "smallest", "magnitude")
# A residual is not resolved below this many roundings of a product.
_FLOOR = 10.0
# The complement of what is found counts as searched when a copy of any pair would have been missed with at most this
# probability,
_MISSED = 0.05
# or, where the next eigenvalue is too close to the k-th for that, after so many products with a fresh random vector, when
# its first Ritz value is known to this part of its distance from the k-th.
_SEARCH_STEPS, _SEARCHED = 16, 0.1
# Part of the tolerance that the residuals of the recurrence may take.
_MARGIN = 0.8
# Projected matrices up to this size take less time than a product, so that convergence is looked at every time.
_SMALL = 64
# A basis of more entries than a cache holds is kept in parts of so many rows, of which those not in use are not read.
_LARGE, _PART = 2**19, 10


def eigenpairs(
    key: Key,
    op: Operator,
    k: int,
    *,
    which: Literal["largest", "smallest", "magnitude"] = "largest",
    method: Literal["lanczos", "lobpcg"] = "lanczos",
    v0: Any = None,
    tol: Any = None,
    relative_to: Literal["operator", "eigenvalue"] = "operator",
    basis_size: int | None = None,
    max_restarts: int = 100,
    search_copies: bool = True,
    check_symmetry: bool = True,
) -> Eigenpairs:
    """The k extreme eigenpairs Avᵢ = λᵢvᵢ.

    "lanczos" extends an orthonormal basis one product at a time and, when it is full, keeps the best half of its
    Ritz vectors (thick restart) until ‖Av − λv‖ ≤ tol·‖A‖ for all k. A Krylov space holds one vector of each
    eigenspace, so a second copy of a multiple eigenvalue escapes it; therefore the search goes on from a random vector
    orthogonal to what was found, until the probability of a missed copy is at most 5 % for every pair, or the next
    eigenvalue is so close to the k-th that this would take longer than finding it. "lobpcg" improves a block of k vectors
    (`jax.experimental.sparse.linalg.lobpcg_standard`) with 4k products an iteration, vectorised: for machines
    on which a block costs little more than a vector. A warm start by a block suits it best.

    Args:
        key: draws random starts.
        op: a symmetric operator on n entries.
        k: how many, at most n; "lobpcg" needs 5k < n.
        which: largest, smallest, or largest in magnitude.
        method: see above.
        v0: a warm start, such as the eigenvectors of a nearby operator: a vector, vectors with a leading axis, or an
            earlier `Eigenpairs`. None for a random start.
        tol: tolerance on the residual, default eps^⅔ (2e-5 in float32, 4e-11 in float64). Raised to ten roundings of a
            product (`matvec_eps`) of ‖A‖ where it is below.
        relative_to: whether tol multiplies ‖A‖ or |λᵢ|.
        basis_size: vectors kept by "lanczos", k < basis_size ≤ n, default min(n, 2k + 20).
        max_restarts: of "lanczos"; iterations of "lobpcg".
        search_copies: whether "lanczos" looks for missed copies, usually five to twenty more products.
        check_symmetry: outside jit, whether to raise an error for an operator that is not symmetric.

    Returns:
        `Eigenpairs`; pairs that did not reach the tolerance are marked, never dropped.

    Raises:
        ValueError: for k > n, a v0 of another structure; outside jit, for an operator that is not symmetric or a product
            that is not finite, naming the step.

    >>> from dlmath.linalg import from_matrix
    >>> matrix = jnp.diag(jnp.array([3.0, 3.0, 1.0, -4.0]))
    >>> eigenpairs(jax.random.key(0), from_matrix(matrix), 2).values.round(4).tolist()
    [3.0, 3.0]

    Cost: per product 8mn operations for a basis of m vectors; memory 2mn.
    Source: Wu and Simon 2000, Thick-restart Lanczos method for large symmetric eigenvalue problems; Knyazev 2001,
    Toward the optimal preconditioned eigensolver.
    """
    key = check.key("key", key)
    op = check_operator(op)
    n = op.size
    k = check.positive_int("k", k)
    if k > n:
        raise ValueError(f"k must be at most the dimension of the operator, {n}, got {k}")
    check.one_of("which", which, _WHICH)
    check.one_of("method", method, ("lanczos", "lobpcg"))
    check.one_of("relative_to", relative_to, ("operator", "eigenvalue"))
    max_restarts = check.integer("max_restarts", max_restarts, at_least=0)
    dtype = work_dtype(op)
    if tol is None:
        tol = float(jnp.finfo(dtype).eps) ** (2 / 3)
    tol = jnp.asarray(check.real("tol", tol, above=0.0), dtype)
    size = min(n, 2 * k + 20) if basis_size is None else min(n, check.positive_int("basis_size", basis_size))
    if size < min(n, k + 2):
        raise ValueError(f"basis_size must be at least k + 2 = {k + 2}, or the dimension {n}, got {size}")
    start = start_vectors(op, v0)
    if method == "lobpcg":
        if 5 * k >= n:
            raise ValueError(f"method='lobpcg' needs 5k < n, got k = {k} and n = {n}; use method='lanczos'")
        key_check, key = jax.random.split(key)
        gap = check_symmetric(key_check, op) if check_symmetry else 0.0
        found = _lobpcg(key, op, start, tol, k, which, relative_to == "operator", max_restarts)
        found = found._replace(asymmetry=jnp.asarray(gap, dtype))
    else:
        options = (k, size, which, relative_to == "operator", bool(search_copies))
        found = _restarted(key, op, start, tol, max_restarts, *options)
    raise_on_nan(found.first_nan_step)
    if check_symmetry:
        raise_if_asymmetric(found.asymmetry, noise(op, dtype))
    return found


class _State(NamedTuple):
    basis: Any  # [m, n], rows from `count` on are zero
    matrix: Any  # upper triangle of QAQᵀ [m, m]
    vector: Any  # the next row
    coupling: Any  # ⟨vector, A·last row⟩
    count: Any  # rows in use
    error: Any  # ‖Aq − QᵀQAq‖ of rows kept from an earlier basis, but for what couples to `vector`
    norm: Any  # of A, from below
    reference: Any  # the k values known when the present random vector was drawn
    since: Any  # products since then
    search: Certificate  # what these say of missed copies
    exhausted: Any
    switch: Any  # all k have converged: go on with a random vector
    done: Any
    breakdowns: Any
    matvecs: Any
    restarts: Any
    asymmetry: Any
    first_nan: Any


@partial(jax.jit, static_argnums=(5, 6, 7, 8, 9))
def _restarted(key, op, start, tol, max_restarts, k, size, which, absolute, search) -> Eigenpairs:
    dtype, n = start.dtype, op.size
    key_start, key_steps, key_restarts, key_verify = jax.random.split(key, 4)
    kept = max(k, min(k + max(1, (size - k) // 2), size - 1))
    every = 1 if size <= _SMALL else min(k, 5)
    part = _PART if size * n >= _LARGE else size
    floor = _FLOOR * noise(op, dtype)

    def ritz(state: _State) -> Any:
        """Ritz values and vectors, best first, those of unused rows last; estimates of the residuals."""
        upper = jnp.triu(state.matrix)
        matrix = upper + jnp.triu(upper, 1).T
        # Unused rows get a value beyond all others (Gershgorin), so that their eigenvectors do not mix.
        beyond = 2 * jnp.max(jnp.sum(jnp.abs(matrix), axis=1))
        beyond = jnp.where(beyond > 0, beyond, 1.0)
        used = jnp.arange(size) < state.count
        values, vectors = jnp.linalg.eigh(matrix + jnp.diag(jnp.where(used, 0.0, beyond)))
        order = jax.lax.top_k(jnp.where(jnp.arange(size) < state.count, score(values, which), -jnp.inf), size)[1]
        values, vectors = values[order], vectors[:, order]
        old = jnp.sqrt(jnp.sum((vectors * state.error[:, None]) ** 2, axis=0))
        new = state.coupling * jnp.abs(vectors[jnp.maximum(state.count - 1, 0)])
        return values, vectors, old, jnp.sqrt(old**2 + new**2)

    def allowed(values: Any, norm: Any) -> Any:
        norm = jnp.maximum(norm, jnp.max(jnp.abs(values)))
        return jnp.maximum(tol * (jnp.full_like(values, norm) if absolute else jnp.abs(values)), floor * norm)

    def judge(state: _State) -> _State:
        values, _, _, residuals = ritz(state)
        tolerance = allowed(values[: k + 1], state.norm)
        enough = state.count >= k
        # The rest of the tolerance is left to rounding.
        converged = enough & jnp.all(residuals[:k] <= _MARGIN * tolerance[:k])
        if not search:
            done = converged
            return state._replace(done=done | (state.count == n), switch=jnp.zeros((), bool))
        same = converged & jnp.all(jnp.abs(values[:k] - state.reference) <= 2 * tolerance[:k])
        if k < size:
            gap = score(values[k - 1], which) - score(values[k], which)
            searched = (state.count > k) & (state.since >= _SEARCH_STEPS)
            searched &= residuals[k] <= jnp.maximum(tolerance[k], _SEARCHED * gap)
            searched |= jnp.max(missed(state.search, n)) <= _MISSED
        else:
            searched = jnp.zeros((), bool)
        done = (same & (searched | state.exhausted)) | (state.count == n)
        switch = converged & ~same & ~state.exhausted & ~done
        # An exhausted space has been continued by a random vector already.
        renewed = jnp.where(enough, values[:k], jnp.inf)
        fresh = (switch | state.exhausted) & ~done
        anew = certificate(renewed, which)
        # A full basis is the whole space.
        whole = state.search._replace(growth=jnp.where(state.count == n, jnp.inf, state.search.growth))
        return state._replace(
            done=done,
            switch=switch,
            reference=jnp.where(fresh, renewed, state.reference),
            since=jnp.where(fresh, 0, state.since),
            search=jax.tree.map(lambda new, old: jnp.where(fresh, new, old), anew, whole),
        )

    def extend(state: _State) -> _State:
        row = state.count
        basis = store_row(state.basis, row, state.vector)
        step_key = jax.random.fold_in(key_steps, state.matvecs)
        taken = krylov_step(step_key, op, basis, row, state.vector, state.coupling, state.norm, row + 1 == n)
        expected = jnp.zeros(size, dtype).at[row - 1].set(jnp.where(row > 0, state.coupling, 0.0))
        gap = jnp.max(jnp.abs(taken.column - expected).at[row].set(0.0))
        first_nan = jnp.where((state.first_nan < 0) & ~taken.finite, state.matvecs, state.first_nan)
        state = state._replace(
            basis=basis,
            matrix=state.matrix.at[:, row].set(taken.column),
            vector=taken.vector,
            coupling=taken.coupling,
            count=row + 1,
            norm=taken.norm,
            since=state.since + 1,
            search=extended(state.search, taken.column[row], state.coupling, taken.coupling),
            exhausted=taken.exhausted,
            breakdowns=state.breakdowns + (taken.exhausted & (row + 1 < n)),
            matvecs=state.matvecs + 1,
            asymmetry=jnp.where(state.restarts == 0, jnp.maximum(state.asymmetry, gap), state.asymmetry),
            first_nan=first_nan,
        )
        due = taken.exhausted | (state.count == size) | (state.since % every == 0)
        # The basis stays out of the branches, which would copy it.
        light = state._replace(basis=(), vector=())
        light = jax.lax.cond(due, judge, lambda state: state, light)
        return light._replace(basis=state.basis, vector=state.vector, done=light.done | (first_nan >= 0))

    def compress(state: _State) -> _State:
        values, vectors, old, residuals = ritz(state)
        only = state.switch | state.done
        keep = jnp.where(only, k, jnp.minimum(kept, state.count))
        mask = jnp.arange(size) < keep
        # The time of the products goes by the rows: mostly only k are wanted.
        few = lambda: jnp.pad(combined(vectors[:, :k].T, state.basis, state.count), ((0, kept - k), (0, 0)))
        many = lambda: combined((vectors * mask).T[:kept], state.basis, state.count)
        rows = jax.lax.cond(only, few, many) if kept > k else many()
        basis = in_parts(jnp.pad(rows, ((0, size - kept), (0, 0))), part)
        random = lambda: random_orthogonal(jax.random.fold_in(key_restarts, state.restarts), basis, k - 1)
        return state._replace(
            basis=basis,
            matrix=jnp.diag(values * mask),
            vector=jax.lax.cond(state.switch, random, lambda: state.vector),
            coupling=jnp.zeros((), dtype),
            count=keep,
            error=jnp.where(only, residuals, old) * mask,
            restarts=state.restarts + 1,
            search=state.search._replace(unbroken=state.search.unbroken & state.switch),
            switch=jnp.zeros((), bool),
        )

    def cycle(state: _State) -> _State:
        state = jax.lax.while_loop(lambda s: ~(s.done | s.switch | (s.count == size)), extend, state)
        return compress(state)

    zero, count, no = jnp.zeros((), dtype), jnp.zeros((), jnp.int32), jnp.zeros((), bool)
    state = _State(
        basis=in_parts(jnp.zeros((size, n), dtype), part),
        matrix=jnp.zeros((size, size), dtype),
        vector=unit_or_random(key_start, sum_of_units(start)),
        coupling=zero,
        count=count,
        error=jnp.zeros(size, dtype),
        norm=zero,
        reference=jnp.full(k, jnp.inf, dtype),
        since=count,
        search=certificate(jnp.full(k, jnp.inf, dtype), which),
        exhausted=no,
        switch=no,
        done=no,
        breakdowns=count,
        matvecs=count,
        restarts=count,
        asymmetry=zero,
        first_nan=count - 1,
    )
    state = jax.lax.while_loop(lambda s: ~s.done & (s.restarts <= max_restarts), cycle, state)
    known = jnp.diagonal(state.matrix)[:k], state.error[:k]
    wanted = allowed(known[0], state.norm)
    rows = jnp.concatenate(state.basis[: -(-k // part)])[:k]
    found = verified(key_verify, op, rows, *known, state.done, floor * state.norm, wanted, which)
    return found._replace(
        converged=(found.residuals <= allowed(found.values, state.norm)) & (state.first_nan < 0),
        num_breakdowns=state.breakdowns,
        num_matvecs=state.matvecs + found.num_matvecs,
        missed=missed(state.search, n),
        asymmetry=state.asymmetry / jnp.where(state.norm > 0, state.norm, 1.0),
        first_nan_step=state.first_nan,
    )


@partial(jax.jit, static_argnums=(4, 5, 6, 7))
def _lobpcg(key, op, start, tol, k, which, absolute, max_iterations) -> Eigenpairs:
    basis, norm, matvecs, first_nan = lobpcg(key, op, start, tol, k, which, max_iterations)
    found = finish(op, basis, which)
    norm = jnp.maximum(norm, jnp.max(jnp.abs(found.values)))
    floor = _FLOOR * noise(op, start.dtype) * norm
    allowed = jnp.maximum(tol * (jnp.full_like(found.values, norm) if absolute else jnp.abs(found.values)), floor)
    return found._replace(
        converged=(found.residuals <= allowed) & (first_nan < 0),
        num_matvecs=matvecs + k,
        first_nan_step=first_nan,
    )


def start_vectors(op: Operator, v0: Any) -> Float[Array, "b n"]:
    """A warm start as rows; one row of zeros for None."""
    if v0 is None:
        return jnp.zeros((1, op.size), work_dtype(op))
    if isinstance(v0, Eigenpairs):
        v0 = v0.vectors
    leaves = jax.tree.leaves(v0)
    lengths = {jnp.shape(leaf)[0] for leaf in leaves if jnp.ndim(leaf)}
    stacked = [(*lengths, *shape) for shape in op.structure.shapes]
    if len(lengths) == 1 and [jnp.shape(leaf) for leaf in leaves] == stacked:
        first = jax.tree.map(lambda leaf: leaf[0], v0)
        ravel_vector("v0", op, first)
        dtype = work_dtype(op)
        rows = [jnp.reshape(jnp.asarray(leaf), (*lengths, -1)).astype(dtype) for leaf in leaves]
        for leaf in leaves:
            check.array("v0", leaf)
        return jnp.concatenate(rows, axis=1)
    return ravel_vector("v0", op, v0)[None]


def sum_of_units(rows: Float[Array, "b n"]) -> Float[Array, " n"]:
    """The start that holds every given vector in equal part."""
    return jnp.sum(jax.vmap(unit)(rows), axis=0)
