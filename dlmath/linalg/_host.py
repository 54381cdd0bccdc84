"""Symmetric maps whose products are made on the host, for matrices that no device holds, and their linear systems."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dlmath import check
from dlmath.linalg import _conjugate_gradients as cg
from dlmath.linalg._operator import Operator


@dataclass(frozen=True)
class HostOperator:
    """A symmetric map V ↦ AV on columns [n, k], by a Python function of NumPy arrays: a matrix read from disk, say.

    All columns share a product, so that what it reads is read once. It has no product inside `jit`: `solve`, `shift` and
    `nystrom_preconditioner` take it from the host, and give what they give for an `Operator` up to the rounding of
    products.

    Attributes:
        matmat: columns [n, k] -> columns [n, k], NumPy arrays of `dtype`.
        size: n.
        dtype: float type of the columns.

    >>> twice = HostOperator(lambda columns: 2 * columns, size=2, dtype=np.dtype("float32"))
    >>> twice([1.0, 2.0]).tolist()
    [2.0, 4.0]
    """

    matmat: Callable[[np.ndarray], np.ndarray]
    size: int
    dtype: np.dtype

    def __call__(self, vectors: Any) -> np.ndarray:
        """The product with a vector [n], or with columns [n, k].

        Raises:
            ValueError: for vectors of another length, or if `matmat` returns columns of another shape.
        """
        vectors = np.asarray(vectors, self.dtype)
        if vectors.ndim not in (1, 2) or len(vectors) != self.size:
            raise ValueError(f"vectors must be [{self.size}] or [{self.size}, k], got shape {vectors.shape}")
        columns = vectors.reshape(self.size, -1)
        found = np.asarray(self.matmat(columns), self.dtype)
        if found.shape != columns.shape:
            raise ValueError(f"matmat must return columns like its argument, {columns.shape}, got {found.shape}")
        return found.reshape(vectors.shape)


def shifted(op: HostOperator, amount: Any) -> HostOperator:
    """A + μI."""
    amount = np.asarray(amount, op.dtype)
    return HostOperator(lambda columns: op(columns) + amount * columns, op.size, op.dtype)


def check_columns(argument: str, value: Any, op: HostOperator) -> np.ndarray:
    """A vector [n] or columns [n, k] of the space."""
    if check.is_traced(value):
        raise TypeError(f"{argument} must not be traced: a HostOperator has no products inside jit, vmap or grad")
    value = np.asarray(check.array(argument, value), op.dtype)
    if value.ndim not in (1, 2) or len(value) != op.size:
        raise ValueError(f"{argument} must be [{op.size}] or [{op.size}, k], got shape {value.shape}")
    return value


def conjugate_gradients(
    op: HostOperator, b: np.ndarray, x0: np.ndarray, preconditioner: Operator | None, tol: float, max_steps: int
) -> tuple[Any, ...]:
    """The fields of a `Solution` with a leading axis of systems, one for each column of b [n, k].

    The outer and inner iterations of `solve` under `vmap`: a system rests while others go on. Only the loops and the
    products are the host's.
    """
    times = lambda rows: jnp.asarray(op(np.asarray(rows).T).T)
    right, x = jnp.asarray(b.T), jnp.asarray(x0.T)
    target = jnp.asarray(tol, op.dtype) * _sizes(right)
    residual = right - times(x) if x0.any() else right
    norm = _sizes(residual)
    num_steps = jnp.zeros(len(right), jnp.int32)
    indefinite = stuck = jnp.zeros(len(right), bool)
    history = jnp.full((len(right), max_steps + 1), jnp.nan, norm.dtype).at[:, 0].set(norm)
    while (going := (norm > target) & (num_steps < max_steps) & ~indefinite & ~stuck).any():
        state = _start(residual, norm, num_steps, history, preconditioner)
        while (active := going & _unfinished(state, target, max_steps=max_steps)).any():
            state = _advanced(state, times(state.p), active, preconditioner)
        moved = x + state.d
        after = right - times(moved)
        found = _sizes(after)
        better = going & (found < norm)
        stuck = jnp.where(going, ~(found <= norm / 2), stuck)
        x, residual = jnp.where(better[:, None], moved, x), jnp.where(better[:, None], after, residual)
        norm = jnp.where(better, found, norm)
        num_steps, indefinite, history = jax.tree.map(
            partial(_chosen, going),
            (state.num_steps, state.indefinite, state.history),
            (num_steps, indefinite, history),
        )
    return x.T, norm, num_steps, norm <= target, indefinite, history


@jax.jit
def _start(residual: Any, norm: Any, num_steps: Any, history: Any, preconditioner: Any) -> cg.State:
    return jax.vmap(partial(cg.start, apply=_applied(preconditioner)))(residual, norm, num_steps, history)


@partial(jax.jit, static_argnames="max_steps")
def _unfinished(state: cg.State, target: Any, *, max_steps: int) -> Any:
    return cg.unfinished(state, target, max_steps)


@jax.jit
def _advanced(state: cg.State, image: Any, active: Any, preconditioner: Any) -> cg.State:
    new = jax.vmap(partial(cg.advanced, apply=_applied(preconditioner)))(state, image)
    return jax.tree.map(partial(_chosen, active), new, state)


@jax.jit
def _sizes(rows: Any) -> Any:
    return jax.vmap(cg.size)(rows)


def _applied(preconditioner: Operator | None) -> Callable[[Any], Any]:
    return (lambda r: r) if preconditioner is None else preconditioner.flat


def _chosen(which: Any, new: Any, old: Any) -> Any:
    return jnp.where(which.reshape(-1, *[1] * (new.ndim - 1)), new, old)
