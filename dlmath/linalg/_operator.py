"""Symmetric linear maps on pytrees, known by their products with vectors."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, Float

from dlmath import check


class Structure(NamedTuple):
    """The structure of a pytree of arrays: hashable, so that programs are compiled once for all values."""

    treedef: Any
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[str, ...]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Operator:
    """A symmetric linear map v ↦ Av on vectors with the structure of a pytree; itself a pytree.

    Its arrays (parameters, data) are leaves, so an operator is an argument of `jit`, and one program serves every
    checkpoint. Made by `operator`, `from_matrix`, and by the functions of `hessian`.

    Attributes:
        matvec: vector -> vector of the same structure.
        structure: structure of the vectors, static.
        matvec_eps: relative error of a product, static; None for the machine precision of the vectors. To be set
            for products in bfloat16 or TF32, so that no tolerance is asked for that their noise does not allow.

    >>> op = from_matrix(jnp.diag(jnp.array([1.0, 2.0])))
    >>> op(jnp.ones(2)).tolist(), op.size
    ([1.0, 2.0], 2)
    """

    matvec: Partial
    structure: Structure = field(metadata={"static": True})
    matvec_eps: float | None = field(default=None, metadata={"static": True})

    def __call__(self, vector: Any) -> Any:
        """The product Av."""
        return self.matvec(vector)

    @property
    def size(self) -> int:
        """Dimension of the space, the number of entries of a vector."""
        return sum(math.prod(shape) for shape in self.structure.shapes)

    @property
    def dtype(self) -> np.dtype:
        """The float type of raveled vectors: the one to which all leaves promote."""
        return jnp.result_type(*self.structure.dtypes)

    @property
    def like(self) -> Any:
        """A pytree of `jax.ShapeDtypeStruct`, the shape of a vector."""
        leaves = [jax.ShapeDtypeStruct(s, d) for s, d in zip(self.structure.shapes, self.structure.dtypes, strict=True)]
        return jax.tree.unflatten(self.structure.treedef, leaves)

    def ravel(self, vector: Any) -> Float[Array, " n"]:
        """A vector as one array [n]."""
        leaves = jax.tree.leaves(vector)
        return jnp.concatenate([jnp.ravel(leaf).astype(self.dtype) for leaf in leaves])

    def unravel(self, flat: Float[Array, " n"]) -> Any:
        """An array [n] as a vector."""
        leaves, start = [], 0
        for shape, dtype in zip(self.structure.shapes, self.structure.dtypes, strict=True):
            size = math.prod(shape)
            leaves.append(flat[start : start + size].reshape(shape).astype(dtype))
            start += size
        return jax.tree.unflatten(self.structure.treedef, leaves)

    def flat(self, flat: Float[Array, " n"]) -> Float[Array, " n"]:
        """The product with a raveled vector, raveled."""
        return self.ravel(self.matvec(self.unravel(flat)))


def operator(matvec: Callable[..., Any], like: Any, *arrays: Any, matvec_eps: float | None = None) -> Operator:
    """The operator v ↦ matvec(*arrays, v).

    Args:
        matvec: (*arrays, vector) -> vector, linear and symmetric in the vector; a module-level function, since a new
            function at every call means a new compilation at every call.
        like: a vector of the space, or a pytree of `jax.ShapeDtypeStruct`; leaves must be floating.
        arrays: what the product depends on, any pytrees.
        matvec_eps: relative error of a product, positive; None for the machine precision.

    Raises:
        TypeError: for leaves of `like` that are not floating, or a `matvec` that cannot be called.
        ValueError: for a `like` without entries, or a `matvec` that changes the structure of a vector.

    >>> import jax.numpy as jnp
    >>> double = operator(lambda scale, v: scale * v, jnp.zeros(3), 2.0)
    >>> double(jnp.ones(3)).tolist()
    [2.0, 2.0, 2.0]
    """
    check.callable_("matvec", matvec)
    if matvec_eps is not None:
        matvec_eps = float(check.real("matvec_eps", matvec_eps, above=0.0, below=1.0))
    found = Operator(Partial(matvec, *arrays), structure(like), matvec_eps)
    result = jax.eval_shape(found.matvec, found.like)
    if structure_or_none(result) != found.structure:
        raise ValueError(f"matvec must return a vector like its argument, {_words(found.like)}, got {_words(result)}")
    return found


def from_matrix(matrix: Float[Array | np.ndarray, "n n"]) -> Operator:
    """The operator of a symmetric matrix [n, n]; only shapes are checked."""
    matrix = jnp.asarray(matrix)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"matrix must be square, [n, n], got shape {matrix.shape}")
    return operator(_times, jax.ShapeDtypeStruct(matrix.shape[:1], matrix.dtype), matrix)


def structure(like: Any) -> Structure:
    """The structure of a pytree of floating arrays."""
    leaves, treedef = jax.tree.flatten(like)
    for leaf in leaves:
        dtype = getattr(leaf, "dtype", None)
        if dtype is None or not jnp.issubdtype(dtype, jnp.floating):
            raise TypeError(
                f"like must have floating leaves, got {dtype or type(leaf).__name__}; integer leaves have no curvature:"
                " close over them, or leave them out"
            )
    if not sum(math.prod(leaf.shape) for leaf in leaves):
        raise ValueError("like must have at least one entry, got none")
    return Structure(treedef, tuple(leaf.shape for leaf in leaves), tuple(str(leaf.dtype) for leaf in leaves))


def structure_or_none(like: Any) -> Structure | None:
    """The structure, or None where there is none."""
    try:
        return structure(like)
    except (TypeError, ValueError):
        return None


def _times(matrix: Any, vector: Any) -> Any:
    return jnp.matmul(matrix, vector, precision=jax.lax.Precision.HIGHEST)


def _words(tree: Any) -> str:
    return str(jax.tree.map(lambda leaf: f"{getattr(leaf, 'dtype', type(leaf).__name__)}{list(jnp.shape(leaf))}", tree))
