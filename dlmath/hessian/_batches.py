"""Operators of data too large for one pass: sums over batches, on the device or from the host."""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from dlmath import check, linalg
from dlmath.hessian._operator import checked_params, checked_rows, expect_operator, static
from dlmath.linalg import Operator
from dlmath.linalg._operator import structure
from dlmath.typing import Params

REDUCTIONS = ("mean", "sum")


def over_batches(
    make: Callable[..., Operator],
    params: Params,
    *data: Any,
    batch_size: int,
    reduction: str = "mean",
) -> Operator:
    """The operator of all data as a sum over batches, A = Σ_b w_b A_b, one batch in memory at a time.

    With w_b = n_b / n for an objective that is a mean over examples and 1 for a sum, A is the operator of all data to
    rounding (a few eps √(number of batches) ‖A‖), for the Hessian, the GGN and the Fisher matrix alike. Batches are
    rows i, i + m, i + 2m, … so that data split over devices along their rows (`sharding.shard`) stay where they are;
    the last n mod batch_size rows are a batch of their own.

    Args:
        make: (params, *batch) -> Operator; the same object for every checkpoint, since programs are kept by it.
        params: θ, any pytree of floating arrays.
        data: pytrees of arrays with n rows each, such as x[n, ...], y[n, ...]; held on the device (see
            `over_host_batches` for data that do not fit).
        batch_size: rows of a batch, at least 1; more than n means n.
        reduction: "mean" or "sum", of the objective that `make` differentiates.

    Returns:
        An `Operator` on vectors like `params`, usable inside `jit`.

    Raises:
        TypeError: for a `make` that returns no Operator.
        ValueError: for data without rows, or of unequal numbers of rows.

    >>> from dlmath import hessian
    >>> make = lambda w, x: hessian.operator(lambda w, x: jnp.mean(x * w**2), w, x)
    >>> over_batches(make, jnp.ones(()), jnp.arange(5.0), batch_size=2)(jnp.ones(())).item()    # 2 (0 + 1 + … + 4)/5
    4.0

    Cost of a product: the products of all batches, in a loop; memory of one batch. A batch_size that divides n saves
    a copy of the data in every product.
    """
    check.one_of("reduction", reduction, REDUCTIONS)
    batch_size = check.positive_int("batch_size", batch_size)
    make, params = static("make", make), checked_params(params)
    data = jax.tree.map(jnp.asarray, data)
    batch_size = min(batch_size, num_rows(data))
    batch = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((batch_size, *leaf.shape[1:]), leaf.dtype), data)
    first = jax.eval_shape(make, params, *batch)
    expect_operator("make's result", first)
    product = _batched_mean if reduction == "mean" else _batched_sum
    return linalg.operator(product, first.like, StaticInt(batch_size), make, params, data, matvec_eps=first.matvec_eps)


def over_host_batches(
    make: Callable[..., Operator],
    params: Params,
    batches: Iterable[Any] | Callable[[], Iterable[Any]],
    *,
    reduction: str = "mean",
) -> Operator:
    """The operator of data that come from the host batch by batch, A = Σ_b w_b A_b as in `over_batches`.

    Every product goes through the batches once, in a Python loop: it cannot be traced. Use it for `op(v)`, or for
    solvers that run on the host, such as `scipy.sparse.linalg.eigsh` on a `LinearOperator` of `op.flat`.

    Args:
        make: (params, *batch) -> Operator.
        params: θ, any pytree of floating arrays.
        batches: an iterable of tuples of arrays with n_b rows (a list, a data loader), the same ones each time; or a
            function that returns one, for generators.
        reduction: "mean" or "sum", of the objective that `make` differentiates.

    Returns:
        An `Operator` on vectors like `params`; inside `jit` its product raises a TypeError.

    Raises:
        TypeError: for batches that are used up after one pass, or a `make` that returns no Operator.
        ValueError: if no batch comes, or one without rows.

    >>> from dlmath import hessian
    >>> make = lambda w, x: hessian.operator(lambda w, x: jnp.mean(x * w**2), w, x)
    >>> batches = lambda: ((np.arange(i, i + 2.0),) for i in (0, 2))
    >>> over_host_batches(make, jnp.ones(()), batches)(jnp.ones(())).item()                     # 2 (0 + 1 + 2 + 3)/4
    3.0

    Cost of a product: the products of all batches, and their copies to the device; one compilation for every shape.
    """
    check.one_of("reduction", reduction, REDUCTIONS)
    make, params = static("make", make), checked_params(params)
    if isinstance(batches, Iterable):
        if iter(batches) is batches:
            raise TypeError(
                f"batches must be iterable more than once, got a {type(batches).__name__}, which one product uses up;"
                " give a list, or a function that returns a new iterator"
            )
    else:
        check.callable_("batches", batches)
    host = _HostSum(make, batches, reduction)
    first = next(iter(host.pairs()), None)
    if first is None:
        raise ValueError("batches must hold at least one batch, got none")
    op = jax.eval_shape(make, params, *first[1])
    expect_operator("make's result", op)
    return Operator(Partial(host, params), structure(op.like), op.matvec_eps)


class _HostSum:
    """The weighted sum over batches; its identity is static, its batches are never leaves."""

    def __init__(self, make: Any, batches: Any, reduction: str) -> None:
        self.make, self.batches, self.reduction = make, batches, reduction

    def pairs(self) -> Iterable[tuple[int, tuple[Any, ...]]]:
        """Pairs (n_b, batch)."""
        source: Any = self.batches if isinstance(self.batches, Iterable) else self.batches()
        for batch in source:
            batch = tuple(batch) if isinstance(batch, tuple | list) else (batch,)
            yield num_rows(batch), batch

    def __call__(self, params: Any, vector: Any) -> Any:
        if any(check.is_traced(leaf) for leaf in jax.tree.leaves((params, vector))):
            raise TypeError(
                "vector must be concrete for batches from the host, got a traced one; call the operator outside of"
                " jit, or hold the data on the device and use over_batches"
            )
        total, rows = None, 0
        for number, batch in self.pairs():
            weight = number if self.reduction == "mean" else 1
            part = _weighted_product(self.make, params, batch, vector, weight)
            total = part if total is None else _add(total, part)
            rows += weight
        if total is None:
            raise ValueError("batches must hold at least one batch at every pass, got none")
        return total if self.reduction == "sum" else jax.tree.map(lambda leaf: leaf / rows, total)


@jax.jit
def _weighted_product(make: Any, params: Any, batch: Any, vector: Any, weight: Any) -> Any:
    return jax.tree.map(lambda leaf: weight * leaf, make(params, *batch)(vector))


@jax.jit
def _add(a: Any, b: Any) -> Any:
    return jax.tree.map(jnp.add, a, b)


@jax.tree_util.register_static
class StaticInt(int):
    """An integer that stays static among arrays."""


@jax.jit
def _batched_mean(size: Any, make: Any, params: Any, data: Any, vector: Any) -> Any:
    rows = num_rows(data)
    full, rest = rows - rows % size, rows % size
    return _batched(size, make, params, data, vector, size / rows, rest / rows, full)


@jax.jit
def _batched_sum(size: Any, make: Any, params: Any, data: Any, vector: Any) -> Any:
    rows = num_rows(data)
    return _batched(size, make, params, data, vector, 1.0, 1.0, rows - rows % size)


def _batched(
    size: int, make: Any, params: Any, data: Any, vector: Any, weight: float, last_weight: float, full: int
) -> Any:
    # [n, ...] as [size, m, ...] and not [m, size, ...]: a row axis that is split over devices stays the row axis.
    columns = jax.tree.map(lambda leaf: leaf[:full].reshape(size, full // size, *leaf.shape[1:]), data)

    def add(total: Any, index: Any) -> tuple[Any, None]:
        batch = jax.tree.map(lambda leaf: jax.lax.dynamic_index_in_dim(leaf, index, 1, keepdims=False), columns)
        return jax.tree.map(jnp.add, total, make(params, *batch)(vector)), None

    zeros = jax.tree.map(jnp.zeros_like, vector)
    total = jax.lax.scan(add, zeros, jnp.arange(full // size))[0]
    total = jax.tree.map(lambda leaf: weight * leaf, total)
    if full == num_rows(data):
        return total
    last = make(params, *jax.tree.map(lambda leaf: leaf[full:], data))(vector)
    return jax.tree.map(lambda a, b: a + last_weight * b, total, last)


def num_rows(data: Any) -> int:
    """The number of rows that all arrays share."""
    checked_rows(data)
    shapes = {np.shape(leaf) for leaf in jax.tree.leaves(data)}
    if not shapes or () in shapes or len({shape[0] for shape in shapes}) > 1:
        raise ValueError(
            "data must be arrays with the same number of rows, got shapes "
            f"{', '.join(map(str, sorted(shapes))) or 'of nothing'}; bind what has no rows to `make`"
        )
    return shapes.pop()[0]
