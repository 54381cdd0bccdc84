"""Lanczos tridiagonalisation that survives the exhaustion of its Krylov space."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from dlmath import check
from dlmath.linalg._arrays import product
from dlmath.linalg._operator import Operator
from dlmath.typing import Key

# A coupling of this many roundings of the norm is noise: a smaller one leaves couplings that are none (each product
# sums many roundings), a larger one cuts real ones.
_BREAKDOWN = 64.0
# The same where `matvec_eps` states the error of a whole product: nothing is left to accumulate.
_BREAKDOWN_STATED = 4.0
# A pass of Gram-Schmidt leaves a part eps/_CANCELLED of the result along the basis, unless the result is shorter than
# this part of what the pass was given; then another one follows (Daniel, Gragg, Kaufman, Stewart 1976).
_CANCELLED = 0.7


class Lanczos(NamedTuple):
    """A tridiagonalisation A Qᵀ = Qᵀ T + r eₖᵀ with orthonormal rows Q [k, n].

    Attributes:
        diagonal: diagonal of T.
        off_diagonal: off-diagonal of T, non-negative, zero where the Krylov space was exhausted.
        basis: Q, one vector a row, raveled.
        residual: r [n], orthogonal to the rows; zero where the space was exhausted at the last step.
        residual_norm: ‖r‖.
        num_breakdowns: how often an exhausted space was continued by a random vector.
        norm: the largest ‖Aq‖ met, a lower bound of ‖A‖.
        asymmetry: the largest |⟨qᵢ, Aqⱼ⟩ − ⟨Aqᵢ, qⱼ⟩|/‖A‖ met, of the order of a rounding for a symmetric operator.
        first_nan_step: the first step (from 0) whose product was not finite, -1 if there was none; the numbers of
            that step and of later ones mean nothing.
    """

    diagonal: Float[Array, " k"]
    off_diagonal: Float[Array, " k-1"]
    basis: Float[Array, "k n"]
    residual: Float[Array, " n"]
    residual_norm: Float[Array, ""]
    num_breakdowns: Int[Array, ""]
    norm: Float[Array, ""]
    asymmetry: Float[Array, ""]
    first_nan_step: Int[Array, ""]

    @property
    def matrix(self) -> Float[Array, "k k"]:
        """The tridiagonal matrix T."""
        return jnp.diag(self.diagonal) + jnp.diag(self.off_diagonal, 1) + jnp.diag(self.off_diagonal, -1)


def lanczos(key: Key, op: Operator, v0: Any, num_steps: int) -> Lanczos:
    """The tridiagonal matrix T = QAQᵀ on an orthonormal basis of the Krylov space of A and v0.

    Every vector is made orthogonal to the two before it, then to all earlier ones, and once more where that made it
    much shorter. Where what is left is within 64 roundings of ‖A‖ (or 4 `matvec_eps` of the product), the space is
    exhausted, the normal case for operators of low rank: the coupling is set to zero and a random vector orthogonal to
    the basis continues. So T is always that of A on orthonormal vectors, and the
    Gauss quadrature of v0 (nodes: eigenvalues of T, weights: squared first components of its eigenvectors) is
    exact for polynomials of degree up to 2k − 1.

    Args:
        key: draws the vectors of restarts.
        op: a symmetric operator on n entries.
        v0: the start, a vector of the space, of any length; None or zero for a random one.
        num_steps: k, cut to n.

    Returns:
        A `Lanczos`, in the float type of the vectors, at least float32.

    Raises:
        ValueError: for a v0 of another structure or not finite; outside jit, for a product that is not finite,
            naming the step (inside, see `first_nan_step`).

    >>> from dlmath.linalg import from_matrix
    >>> found = lanczos(jax.random.key(0), from_matrix(jnp.diag(jnp.array([1.0, 2.0, 3.0]))), jnp.ones(3), 3)
    >>> [round(float(x), 4) for x in jnp.linalg.eigvalsh(found.matrix)]
    [1.0, 2.0, 3.0]

    Cost: k products and 4k²n operations; memory kn.
    Source: Golub and Meurant 2010, Matrices, Moments and Quadrature; Parlett 1998, The Symmetric Eigenvalue Problem,
    §6.9 (twice is enough).
    """
    key = check.key("key", key)
    op = check_operator(op)
    num_steps = min(check.positive_int("num_steps", num_steps), op.size)
    start = jnp.zeros(op.size, work_dtype(op)) if v0 is None else ravel_vector("v0", op, v0)
    found = _lanczos(key, op, start, num_steps)
    raise_on_nan(found.first_nan_step)
    return found


@partial(jax.jit, static_argnames=("num_steps", "block"))
def _lanczos(key: Key, op: Operator, start: Float[Array, " n"], num_steps: int, block: int | None = None) -> Lanczos:
    """`block`: rows of the basis kept in one array; those not yet in use are not read. One copy more to return it."""
    dtype = start.dtype
    key_start, key_steps = jax.random.split(key)
    basis = in_parts(jnp.zeros((num_steps, op.size), dtype), block or num_steps)
    zeros = jnp.zeros(num_steps, dtype)

    def body(step: Any, carry: Any) -> Any:
        basis, vector, coupling, diagonal, off_diagonal, norm, asymmetry, breakdowns, first_nan = carry
        basis = store_row(basis, step, vector)
        last = step + 1 == num_steps
        taken = krylov_step(jax.random.fold_in(key_steps, step), op, basis, step, vector, coupling, norm, last)
        expected = jnp.zeros(num_steps, dtype).at[step - 1].set(jnp.where(step > 0, coupling, 0.0))
        gap = jnp.max(jnp.abs(taken.column - expected).at[step].set(0.0))
        return (
            basis,
            taken.vector,
            taken.coupling,
            diagonal.at[step].set(taken.column[step]),
            off_diagonal.at[step].set(taken.coupling),
            taken.norm,
            jnp.maximum(asymmetry, jnp.where(taken.finite, gap, 0.0)),
            breakdowns + (taken.exhausted & ~last),
            jnp.where((first_nan < 0) & ~taken.finite, step, first_nan),
        )

    zero = jnp.zeros((), dtype)
    start = unit_or_random(key_start, start)
    count = jnp.zeros((), jnp.int32)
    carry = (basis, start, zero, zeros, zeros, zero, zero, count, count - 1)
    carry = jax.lax.fori_loop(0, num_steps, body, carry)
    basis, vector, coupling, diagonal, off_diagonal, norm, asymmetry, breakdowns, first_nan = carry
    return Lanczos(
        diagonal,
        off_diagonal[:-1],
        basis[0] if len(basis) == 1 else jnp.concatenate(basis),
        coupling * vector,
        coupling,
        breakdowns,
        norm,
        asymmetry / jnp.where(norm > 0, norm, 1.0),
        first_nan,
    )


class Step(NamedTuple):
    """One extension of an orthonormal basis Q by the product Aq of its last vector q.

    Attributes:
        column: ⟨qᵢ, Aq⟩ for every row of the basis.
        vector: the next vector, of unit length, orthogonal to the basis.
        coupling: its coefficient in Aq, zero if it is random.
        norm: the largest ‖Aq‖ so far.
        exhausted: whether Aq was in the span of the basis.
        finite: whether Aq was finite; else it is replaced by zero.
    """

    column: Float[Array, " k"]
    vector: Float[Array, " n"]
    coupling: Float[Array, ""]
    norm: Float[Array, ""]
    exhausted: Bool[Array, ""]
    finite: Bool[Array, ""]


def krylov_step(
    key: Key, op: Operator, basis: tuple[Any, ...], row: Any, vector: Any, coupling: Any, norm: Any, last: Any = False
) -> Step:
    """Extends a basis, rows not yet in use being zero, by the product with its last row; by a random one unless last.

    Args:
        key: draws the random vector.
        op: the operator.
        basis: arrays whose rows together are the basis.
        row: the number of its last row in use.
        vector: that row.
        coupling: what is known of ⟨previous row, A·vector⟩, which may be zero.
        norm: the largest ‖Aq‖ so far.
        last: whether no vector has to follow.
    """
    image = op.flat(vector.astype(op.dtype)).astype(vector.dtype)
    length = vector_norm(image)
    # The length overflows before the entries do.
    finite = jnp.isfinite(length)
    scale = _in_range(length)
    image = jnp.where(finite, scale * image, 0.0)
    norm = jnp.maximum(norm, jnp.where(finite, length, 0.0))
    # For a symmetric operator these two are all there is, so that one pass over the basis is left with roundings.
    own, before = product(vector, image), scale * coupling
    rest = image - own * vector - before * _row(basis, row - 1)
    rest, left, column = _orthogonal(basis, rest, row)
    column = column.at[row].add(own).at[row - 1].add(jnp.where(row > 0, before, 0.0))
    coupling = left / scale
    exhausted = coupling <= breakdown_threshold(op, vector.dtype, norm, length)
    following = jax.lax.cond(
        exhausted & ~jnp.asarray(last),
        lambda: random_orthogonal(key, basis, row),
        lambda: rest / jnp.where(left > 0, left, 1.0),
    )
    return Step(column / scale, following, jnp.where(exhausted, 0.0, coupling), norm, exhausted, finite)


def _orthogonal(basis: tuple[Any, ...], vector: Any, row: Any) -> tuple[Any, Any, Any]:
    """What of a vector is orthogonal to the rows up to number `row`, its length, and the coefficients of the rest.

    A loop rather than a branch for the second pass: its body is compiled once.
    """

    def project(carry: Any) -> Any:
        passes, _, vector, before, column = carry
        vector, found = _project_out(basis, vector, row)
        length = _length(vector)
        return passes + 1, length < _CANCELLED * before, vector, length, column + found

    column = jnp.zeros(sum(map(len, basis)), vector.dtype)
    carry = (jnp.zeros((), jnp.int32), jnp.ones((), bool), vector, _length(vector), column)
    return jax.lax.while_loop(lambda carry: carry[1] & (carry[0] < 2), project, carry)[2:]


def random_orthogonal(key: Key, basis: tuple[Any, ...], row: Any = None) -> Float[Array, " n"]:
    """A random unit vector orthogonal to the rows of a basis, up to number `row` if given; zero rows do not count."""

    def normalised(vector: Any) -> Any:
        length = _length(vector)
        return vector / jnp.where(length > 0, length, 1.0)

    vector = jax.random.normal(key, basis[0].shape[1:], basis[0].dtype)
    # Near full dimension the first pass leaves little of the vector, so two more follow.
    again = lambda _, vector: normalised(_project_out(basis, vector, row)[0])
    return jax.lax.fori_loop(0, 3, again, normalised(vector))


def unit_or_random(key: Key, vector: Float[Array, " n"]) -> Float[Array, " n"]:
    """v/‖v‖, or a random unit vector where v is zero or not finite."""
    length = vector_norm(vector)
    usable = (length > 0) & jnp.isfinite(length)
    random = jax.random.normal(key, vector.shape, vector.dtype)
    found, length = jnp.where(usable, vector, random), jnp.where(usable, length, _length(random))
    return found / jnp.where(length > 0, length, 1.0)


def unit(vector: Float[Array, " n"]) -> Float[Array, " n"]:
    """v/‖v‖; zero for zero."""
    length = vector_norm(vector)
    return vector / jnp.where(length > 0, length, 1.0)


def vector_norm(vector: Float[Array, " n"]) -> Float[Array, ""]:
    """‖v‖, without overflow or underflow of the squares."""
    squares = product(vector, vector)
    tiny = jnp.finfo(vector.dtype).tiny
    # Squares that underflow are then below a rounding of the sum. A dot product takes less than half of the time.
    plain = jnp.isfinite(squares) & (squares > len(vector) * tiny / jnp.finfo(vector.dtype).eps)
    return jax.lax.cond(plain, lambda: jnp.sqrt(squares), lambda: _scaled_norm(vector))


def _scaled_norm(vector: Any) -> Any:
    largest = jnp.max(jnp.abs(vector))
    scale = jnp.where((largest > 0) & jnp.isfinite(largest), largest, 1.0)
    return scale * jnp.sqrt(jnp.sum((vector / scale) ** 2))


def _length(vector: Any) -> Any:
    """‖v‖ of a vector whose squares stay in range: a quarter of the program."""
    return jnp.sqrt(product(vector, vector))


def _in_range(length: Any) -> Any:
    """A power of two by which a vector of this length, or a rounding of it, can be squared; 1 for ordinary ones."""
    bits = jnp.finfo(length.dtype).maxexp
    small, large = 2.0 ** (-bits // 4), 2.0 ** (bits // 3)
    return jnp.where(length < small, 2.0 ** (3 * bits // 4), jnp.where(length > large, 2.0 ** (-bits // 2), 1.0))


def breakdown_threshold(op: Operator, dtype: Any, norm: Any, length: Any) -> Float[Array, ""]:
    """Couplings up to this are noise: roundings of ‖A‖, and the stated error of a product of this length.

    Not of ‖A‖, too: of a random vector in n dimensions the image is about √n shorter than ‖A‖, and would be taken for
    noise whatever it has of eigenvectors that were missed.
    """
    eps = float(jnp.finfo(dtype).eps)
    stated = noise(op, dtype)
    return jnp.maximum(_BREAKDOWN * eps * norm, _BREAKDOWN_STATED * stated * length if stated > eps else 0.0)


def noise(op: Operator, dtype: Any) -> float:
    """Relative error of a product: as stated, else the precision of the coarsest leaf."""
    if op.matvec_eps is not None:
        return max(op.matvec_eps, float(jnp.finfo(dtype).eps))
    return max(float(jnp.finfo(leaf).eps) for leaf in (*op.structure.dtypes, dtype))


def work_dtype(op: Operator) -> Any:
    """Bases are kept in the float type of the vectors, at least float32."""
    return jnp.promote_types(op.dtype, jnp.float32)


def check_operator(op: Any) -> Operator:
    """Returns an operator; else raises TypeError that shows how to make one."""
    if not isinstance(op, Operator):
        raise TypeError(
            f"op must be an Operator, as made by linalg.operator or linalg.from_matrix, got {type(op).__name__}"
        )
    return op


def ravel_vector(argument: str, op: Operator, vector: Any) -> Float[Array, " n"]:
    """A vector of the operator's space, checked, raveled."""
    leaves, treedef = jax.tree.flatten(vector)
    shapes = tuple(jnp.shape(leaf) for leaf in leaves)
    if treedef != op.structure.treedef or shapes != op.structure.shapes:
        raise ValueError(
            f"{argument} must be a vector of the operator's space, {op.structure.treedef} with shapes"
            f" {list(op.structure.shapes)}, got {treedef} with shapes {list(shapes)}"
        )
    for leaf in leaves:
        check.array(argument, leaf, nonempty=False)
    dtype = work_dtype(op)
    return jnp.concatenate([jnp.ravel(jnp.asarray(leaf)).astype(dtype) for leaf in leaves])


def raise_on_nan(first_nan_step: Any) -> None:
    """Raises ValueError for a step whose product was not finite, unless inside a transformation."""
    if not check.is_traced(first_nan_step) and int(first_nan_step.max()) >= 0:
        raise ValueError(
            f"op must have finite products, got NaN or infinity at step {int(first_nan_step.max())} (from 0);"
            " look at the values it was made of: a diverged run or a zero division are the usual causes"
        )


def in_parts(basis: Float[Array, "k n"], block: int) -> tuple[Any, ...]:
    """A basis as a tuple of arrays of `block` rows, the last of what is left."""
    return tuple(basis[start : start + block] for start in range(0, len(basis), block))


def store_row(basis: tuple[Any, ...], row: Any, vector: Any) -> tuple[Any, ...]:
    """The basis with one row replaced, in place inside a loop."""
    stored, start = [], 0
    for part in basis:
        local = jnp.clip(row - start, 0, len(part) - 1)
        new = jnp.where(local == row - start, vector, part[local])
        stored.append(jax.lax.dynamic_update_slice(part, new[None], (local, jnp.zeros_like(local))))
        start += len(part)
    return tuple(stored)


def combined(weights: Float[Array, "j k"], basis: tuple[Any, ...], count: Any) -> Float[Array, "j n"]:
    """Linear combinations of the rows of a basis of which the first `count` are in use."""
    start = len(basis[0])
    total = product(weights[:, :start], basis[0])
    for part in basis[1:]:
        own = weights[:, start : start + len(part)]
        add = lambda total, own=own, part=part: total + product(own, part)
        total = jax.lax.cond(count > start, add, lambda total: total, total)
        start += len(part)
    return total


def _project_out(basis: tuple[Any, ...], vector: Any, row: Any = None) -> tuple[Any, Any]:
    """What is orthogonal to the rows up to number `row`, and the coefficients of the rest."""
    coefficients, start = [], 0
    for part in basis:
        project, zeros = partial(_project_out_part, part), jnp.zeros(len(part), vector.dtype)
        if start == 0 or row is None:
            vector, found = project(vector)
        else:
            # A part that is not in use yet is zero, and not read.
            vector, found = jax.lax.cond(row >= start, project, lambda vector, zeros=zeros: (vector, zeros), vector)
        coefficients.append(found)
        start += len(part)
    return vector, jnp.concatenate(coefficients)


def _project_out_part(part: Any, vector: Any) -> tuple[Any, Any]:
    coefficients = product(part, vector)
    return vector - product(coefficients, part), coefficients


def _row(basis: tuple[Any, ...], row: Any) -> Any:
    """One row; zero for a number below zero."""
    found, start = 0.0, 0
    for part in basis:
        local = jnp.clip(row - start, 0, len(part) - 1)
        found += jnp.where(local == row - start, part[local], 0.0)
        start += len(part)
    return found
