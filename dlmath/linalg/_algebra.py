"""Operators made of operators: sums, multiples, shifts, restrictions, deflations; their matrices; their symmetry."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import Partial
from jaxtyping import Array, Float

from dlmath import check
from dlmath.linalg._arrays import product
from dlmath.linalg._host import HostOperator, shifted
from dlmath.linalg._lanczos import check_operator, noise, vector_norm, work_dtype
from dlmath.linalg._operator import Operator, structure
from dlmath.typing import Key


def sum(*ops: Operator) -> Operator:  # noqa: A001 (what it is called on paper)
    """The sum A + B + … of operators on one space.

    Args:
        ops: at least one.

    Raises:
        ValueError: for operators on different spaces, or none.

    >>> from dlmath.linalg import from_matrix
    >>> sum(from_matrix(jnp.eye(2)), from_matrix(2 * jnp.eye(2)))(jnp.ones(2)).tolist()
    [3.0, 3.0]

    Cost: a product of each.
    """
    if not ops:
        raise ValueError("ops must hold at least one operator, got none")
    for op in ops:
        check_operator(op)
    for op in ops[1:]:
        if op.structure != ops[0].structure:
            raise ValueError(f"ops must act on one space, got {ops[0].like} and {op.like}")
    stated = [op.matvec_eps for op in ops if op.matvec_eps is not None]
    return Operator(Partial(_sum, *ops), ops[0].structure, max(stated, default=None))


def scale(op: Operator, factor: Any) -> Operator:
    """The multiple cA.

    Args:
        op: an operator A.
        factor: c, a real number.

    >>> from dlmath.linalg import from_matrix
    >>> scale(from_matrix(jnp.eye(2)), 3.0)(jnp.ones(2)).tolist()
    [3.0, 3.0]

    Cost: a product.
    """
    return _derived(_scaled, check_operator(op), op, _scalar("factor", op, factor))


def shift(op: Any, amount: Any) -> Any:
    """The shifted operator A + cI, whose eigenvalues are those of A plus c.

    Args:
        op: an operator A, or a `HostOperator`, of which another one is made.
        amount: c, a real number.

    >>> from dlmath.linalg import from_matrix
    >>> shift(from_matrix(jnp.eye(2)), 3.0)(jnp.ones(2)).tolist()
    [4.0, 4.0]

    Cost: a product.
    """
    if isinstance(op, HostOperator):
        return shifted(op, check.real("amount", amount))
    return _derived(_shifted, check_operator(op), op, _scalar("amount", op, amount))


def restrict(op: Operator, select: str | Sequence[str] | Callable[[str], bool]) -> Operator:
    """The block EᵀAE of an operator that belongs to some leaves of its vectors, such as one layer's; E puts zeros elsewhere.

    Leaves are named by their path, keys joined by "/": "0/weight". The vectors of the block are dictionaries
    from the names of the selected leaves to the leaves.

    Args:
        op: an operator A.
        select: a name, or names, of leaves or of the branches that hold them ("0" selects "0/weight" and "0/bias"); or
            a function of the name.

    Raises:
        ValueError: for a name that selects nothing, with the nearest that would, or a function that selects nothing.

    >>> from dlmath.linalg import operator
    >>> double = operator(lambda c, v: jax.tree.map(lambda x: c * x, v), {"a": jnp.ones(2), "b": jnp.ones(3)}, 2.0)
    >>> restrict(double, "b")({"b": jnp.ones(3)})["b"].tolist()
    [2.0, 2.0, 2.0]

    Cost: a product of the whole.
    """
    check_operator(op)
    names = leaf_names(op)
    if callable(select):
        chosen = [bool(select(name)) for name in names]
        if not any(chosen):
            raise ValueError(f"select must select at least one of {', '.join(map(repr, names))}, got none")
    else:
        wanted = [select] if isinstance(select, str) else list(select)
        if not wanted:
            raise ValueError(f"select must name at least one of {', '.join(map(repr, names))}, got none")
        branches = {"/".join(name.split("/")[: i + 1]) for name in names for i in range(len(name.split("/")))}
        for name in wanted:
            check.one_of("select", name, sorted(branches))
        chosen = [any(name == one or name.startswith(one + "/") for one in wanted) for name in names]
    leaves = jax.tree.leaves(op.like)
    like = {name: leaf for name, leaf, taken in zip(names, leaves, chosen, strict=True) if taken}
    return Operator(Partial(_Block(tuple(names), tuple(chosen)), op), structure(like), op.matvec_eps)


def deflate(op: Operator, vectors: Any, values: Any = None) -> Operator:
    """An operator without the part of some directions V: (I − VᵀV)A(I − VᵀV), or A − VᵀΛV where values Λ are given.

    The first needs only V, orthonormalised here, and is symmetric whatever V is; the second costs less and takes
    eigenpairs away, up to their residuals.

    Args:
        op: an operator A.
        vectors: V, vectors of the space with a leading axis, such as `Eigenpairs.vectors`.
        values: Λ, one number a vector; vectors are then taken as they are, normally of unit length.

    Raises:
        ValueError: for vectors of another space, or another number of values.

    >>> from dlmath.linalg import from_matrix
    >>> rest = deflate(from_matrix(jnp.diag(jnp.array([5.0, 1.0]))), jnp.array([[1.0, 0.0]]))
    >>> rest(jnp.ones(2)).tolist()
    [0.0, 1.0]

    Cost: a product and 8kn operations; memory kn.
    """
    check_operator(op)
    rows = ravel_vectors("vectors", op, vectors)
    if values is None:
        return _derived(_projected, op, op, jnp.linalg.qr(rows.T)[0].T)
    values = jnp.asarray(check.array("values", values, ndim=1), rows.dtype)
    if values.shape[0] != rows.shape[0]:
        raise ValueError(f"values must be one a vector, {rows.shape[0]}, got {values.shape[0]}")
    return _derived(_subtracted, op, op, rows, values)


@jax.jit
def _dense(op: Operator) -> Any:
    rows = jax.lax.map(op.flat, jnp.eye(op.size, dtype=op.dtype), batch_size=min(op.size, 64))
    return rows.T


def dense(op: Operator) -> Float[Array, "n n"]:
    """The matrix of an operator on raveled vectors, column i its product with the i-th unit vector.

    Args:
        op: an operator on n entries.

    Returns:
        Matrix [n, n]; symmetric up to the rounding of the products.

    >>> from dlmath.linalg import from_matrix
    >>> dense(from_matrix(jnp.diag(jnp.array([1.0, 2.0])))).tolist()
    [[1.0, 0.0], [0.0, 2.0]]

    Cost: n products, 64 at a time; memory n².
    """
    return _dense(check_operator(op))


def check_symmetric(key: Key, op: Operator, *, num_probes: int = 2, tol: float | None = None) -> Any:
    """The largest |⟨u, Av⟩ − ⟨Au, v⟩|/‖Av‖ over Gaussian u and v, of the order of a rounding for symmetric A.

    For Gaussian u and v it is about ‖A − Aᵀ‖/‖A‖ in Frobenius norms.

    Args:
        key: draws u and v.
        op: an operator.
        num_probes: pairs (u, v).
        tol: what is still taken for symmetric, default the square root of the relative error of a product.

    Returns:
        The gap; a traced scalar inside jit, where nothing is raised.

    Raises:
        ValueError: for an operator that is not symmetric, with the measured gap, or whose product is not finite.

    >>> from dlmath.linalg import from_matrix
    >>> check_symmetric(jax.random.key(0), from_matrix(jnp.eye(3))) < 1e-6
    True

    Cost: 2 `num_probes` products.
    """
    key = check.key("key", key)
    check_operator(op)
    num_probes = check.positive_int("num_probes", num_probes)
    error = noise(op, work_dtype(op))
    gaps = _gaps(key, op, num_probes)
    if check.is_traced(gaps):
        return gaps.max()
    gap = float(gaps.max())
    if not math.isfinite(gap):
        raise ValueError("op must have finite products, got NaN or infinity for a random vector")
    raise_if_asymmetric(gap, error, tol)
    return gap


@partial(jax.jit, static_argnames="num_probes")
def _gaps(key: Key, op: Operator, num_probes: int) -> Any:
    dtype = work_dtype(op)

    def image(probe: Any) -> Any:
        found = op.flat(probe.astype(op.dtype)).astype(dtype)
        return found, vector_norm(found)

    def gap(key: Key) -> Any:
        probes = jax.random.normal(key, (2, op.size), dtype)
        images, lengths = jax.lax.map(image, probes)
        size = jnp.max(lengths)
        # Divided first, so that neither small nor large operators leave the range of the type.
        images = images / jnp.where(size > 0, size, 1.0)
        return jnp.abs(jnp.sum(probes[0] * images[1]) - jnp.sum(probes[1] * images[0]))

    return jax.lax.map(gap, jax.random.split(key, num_probes))


def raise_if_asymmetric(gap: Any, error: float, tol: float | None = None) -> None:
    """Raises ValueError where the measured gap is beyond the square root of a product's error; silent inside jit."""
    allowed = math.sqrt(error) if tol is None else float(check.real("tol", tol, above=0.0))
    if not check.is_traced(gap) and not float(jnp.max(gap)) <= allowed:
        raise ValueError(
            f"op must be symmetric, but <u, Av> and <Au, v> differ by {float(jnp.max(gap)):.2g} of the size of A"
            f" (at most {allowed:.2g} is rounding); check the order of transpositions in its matvec, or symmetrise it"
        )


def leaf_names(op: Operator) -> list[str]:
    """The names of a vector's leaves, keys joined by "/"."""
    paths = jax.tree_util.tree_flatten_with_path(op.like)[0]
    return [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in paths]


def ravel_vectors(argument: str, op: Operator, vectors: Any) -> Float[Array, "k n"]:
    """Vectors with a leading axis as rows, checked."""
    leaves, treedef = jax.tree.flatten(vectors)
    shapes = [jnp.shape(leaf) for leaf in leaves]
    wanted = [(*shapes[0][:1], *shape) for shape in op.structure.shapes] if shapes else []
    if treedef != op.structure.treedef or shapes != wanted:
        raise ValueError(
            f"{argument} must be vectors of the operator's space with a leading axis, shapes"
            f" {[('k', *shape) for shape in op.structure.shapes]}, got {treedef} with shapes {shapes}"
        )
    for leaf in leaves:
        check.array(argument, leaf)
    dtype = work_dtype(op)
    return jnp.concatenate([jnp.reshape(jnp.asarray(leaf, dtype), (shapes[0][0], -1)) for leaf in leaves], axis=1)


@dataclass(frozen=True)
class _Block:
    """The product of a block, v ↦ EᵀAEv; hashable, so that one program serves all operators of one structure."""

    names: tuple[str, ...]
    chosen: tuple[bool, ...]

    def __call__(self, op: Operator, vector: Any) -> Any:
        leaves = jax.tree.leaves(op.like)
        parts = [
            vector[name] if taken else jnp.zeros(leaf.shape, leaf.dtype)
            for name, leaf, taken in zip(self.names, leaves, self.chosen, strict=True)
        ]
        image = jax.tree.leaves(op(jax.tree.unflatten(op.structure.treedef, parts)))
        return {name: leaf for name, leaf, taken in zip(self.names, image, self.chosen, strict=True) if taken}


def _sum(*arguments: Any) -> Any:
    *ops, vector = arguments
    return jax.tree.map(lambda *leaves: reduce(jnp.add, leaves), *[op(vector) for op in ops])


def _scaled(op: Operator, factor: Any, vector: Any) -> Any:
    return jax.tree.map(lambda leaf: (factor * leaf).astype(leaf.dtype), op(vector))


def _shifted(op: Operator, amount: Any, vector: Any) -> Any:
    return jax.tree.map(lambda image, leaf: (image + amount * leaf).astype(leaf.dtype), op(vector), vector)


def _projected(op: Operator, rows: Any, vector: Any) -> Any:
    project = lambda flat: flat - product(product(rows, flat), rows)
    flat = project(op.ravel(vector).astype(rows.dtype))
    return op.unravel(project(op.flat(flat.astype(op.dtype)).astype(rows.dtype)).astype(op.dtype))


def _subtracted(op: Operator, rows: Any, values: Any, vector: Any) -> Any:
    flat = op.ravel(vector)
    part = product(values * product(rows, flat.astype(rows.dtype)), rows)
    return op.unravel((op.flat(flat).astype(rows.dtype) - part).astype(op.dtype))


def _derived(matvec: Callable[..., Any], like: Operator, *arrays: Any) -> Operator:
    return Operator(Partial(matvec, *arrays), like.structure, like.matvec_eps)


def _scalar(argument: str, op: Operator, value: Any) -> Any:
    return jnp.asarray(check.real(argument, value), work_dtype(op))
