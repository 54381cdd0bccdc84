"""Ridge regression and its ridgeless limit over a whole list of capacities and a whole path of penalties.

Capacity p is the first p of P features Z_p, so that Gram matrices are built once, for all capacities:

    p < n:  β = (Z_pᵀZ_p + nλI)⁻¹ Z_pᵀy,       Z_pᵀZ_p is the leading block of one matrix of at most n × n,
    p ≥ n:  β = Z_pᵀα, α = (Z_pZ_pᵀ + nλI)⁻¹ y,  Z_pZ_pᵀ grows by the new features from one capacity to the next.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dlmath import check
from dlmath.double_descent._features import FeatureMap
from dlmath.double_descent._gram_solve import solve_shifted
from dlmath.linalg._arrays import columns, floating_dtype, product
from dlmath.typing import LossFn

BUCKETS = 4
"""Sizes of program for the capacities below n: a smaller one is padded to the next of them."""


class RidgeSweep(NamedTuple):
    """What `ridge_sweep` measures at every capacity and penalty.

    Attributes:
        train: score -> its value on the training data, [capacity, penalty].
        test: score -> its value on the test data, [capacity, penalty]; empty without test data.
        norm: ‖β‖, over all outputs, [capacity, penalty].
    """

    train: dict[str, Float[Array, "capacity penalty"]]
    test: dict[str, Float[Array, "capacity penalty"]]
    norm: Float[Array, "capacity penalty"]


def mean_square(outputs: Any, targets: Any) -> Float[Array, ""]:
    """Mean of (f − y)² over points, summed over outputs: the default score of `ridge_sweep`.

    >>> print(mean_square(jnp.array([1.0, 3.0]), jnp.zeros(2)))
    5.0
    """
    return jnp.mean(jnp.sum(columns((outputs - targets) ** 2), axis=1))


def ridge_sweep(
    features: FeatureMap | Any,
    data: Any,
    capacities: Sequence[int],
    penalty: Any,
    *,
    test: Any = None,
    scores: Mapping[str, LossFn] | None = None,
    rcond: float | None = None,
    block_size: int | None = None,
) -> RidgeSweep:
    """Scores and norms of ridge regression on the first p features, for all capacities p and penalties λ.

    β(p, λ) = argmin ‖y − Z_pβ‖²/n + λ‖β‖², or the solution of minimum norm where λ = 0.

    Args:
        features: a `FeatureMap` of at least max(capacities) features of x, computed `block_size` at a time, of which
            only the first n are held; or None for x that are the features themselves, [n, P].
        data: (x [n, d], y [n] or [n, o]).
        capacities: numbers of features p, increasing, Python integers.
        penalty: λ ≥ 0, [k], or [capacity, k] where it depends on p: a kernel's penalty λ' on features scaled by 1/√p is
            λ = λ'p.
        test: (x, y) of the test data.
        scores: name -> loss (outputs, targets) -> scalar, evaluated on both sets; by default {"mse": mean_square}.
        rcond: for λ = 0 only: singular values of Z_p of at most rcond times the largest count as zero; by default
            √(min(n, P) ε), 3e-7 in float64 for n = 300 and 6e-3 in float32, where min-norm solutions near the
            threshold want `linalg.min_norm` or float64: from a Gram matrix nothing smaller can be told from rounding.
        block_size: features made at a time for p ≥ n; by default their number over that of capacities, at least 32.

    Returns:
        A `RidgeSweep`.

    Raises:
        ValueError, TypeError: for shapes that do not fit, NaN or infinite data, negative penalties, or capacities that
            are none, not positive, not increasing, or more than there are features.

    On data without noise, features that span the target interpolate it:

    >>> z = jnp.array([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
    >>> sweep = ridge_sweep(None, (z, z @ jnp.array([1.0, 1.0])), [1, 2], [0.0])
    >>> print(sweep.norm[:, 0].round(4), sweep.train["mse"][:, 0].round(4))       # (1 + 2) / 2 on one feature
    [1.5    1.4142] [1.5 0. ]

    Cost: for each capacity one reduction of a symmetric matrix of min(n, p): to tridiagonal form (4/3 min(n, p)³
    multiply-adds) if all penalties are positive, else by eigenvectors (some 9 min(n, p)³); once, n (n + m) P for the
    Gram matrices of m test points; memory 2 n (n + m) and a block of features.
    For many seeds `jax.lax.map` or `vmap` over keys: decompositions run one after the other.
    """
    x, y, x_test, y_test = _checked_data(data, test)
    if features is not None and not isinstance(features, FeatureMap):
        raise TypeError(f"features must be a FeatureMap or None, got {type(features).__name__}")
    limit = x.shape[1] if features is None else features.num_features
    capacities = checked_capacities(capacities, limit)
    penalty, ridgeless = _checked_penalty(penalty, len(capacities), x.dtype)
    num_samples = x.shape[0]
    if rcond is None:
        cutoff = (min(num_samples, capacities[-1]) * float(jnp.finfo(x.dtype).eps)) ** 0.5
    else:
        cutoff = check.real("rcond", rcond, at_least=0.0, below=1.0)
    # Eigenvalues are squares of singular values.
    threshold = jnp.asarray(cutoff**2, x.dtype) if ridgeless else None
    scores = {"mse": mean_square} if scores is None else scores
    functions = tuple(check.callable_(f"scores[{name!r}]", score) for name, score in scores.items())
    primal = tuple(p for p in capacities if p < num_samples)
    dual = capacities[len(primal) :]
    if block_size is not None:
        block_size = check.positive_int("block_size", block_size)
    elif dual:
        block_size = min(dual[-1], max(32, -(-dual[-1] // len(dual))))
    points = jnp.concatenate([x, x_test])
    parts = []
    if primal:
        parts.append(_primal(features, points, y, y_test, penalty[: len(primal)], threshold, primal, functions))
    if dual:
        assert block_size is not None
        schedule = _schedule(dual, block_size)
        parts.append(
            _dual(features, points, y, y_test, penalty[len(primal) :], threshold, schedule, block_size, functions)
        )
    train, tested, norm = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)
    has_test = test is not None
    return RidgeSweep(
        dict(zip(scores, train, strict=True)), dict(zip(scores, tested, strict=True)) if has_test else {}, norm
    )


def _measures(functions: Any, outputs: Any, norm: Any, y: Any, y_test: Any) -> Any:
    """(scores on training data, scores on test data, norm) of outputs [k, n + m, o] at k penalties."""
    split = y.shape[0]
    shaped = lambda values, like: values.reshape(values.shape[0], *like.shape)
    outputs_train, outputs_test = shaped(outputs[:, :split], y), shaped(outputs[:, split:], y_test)
    train = tuple(jax.vmap(f, (0, None))(outputs_train, y) for f in functions)
    tested = tuple(jax.vmap(f, (0, None))(outputs_test, y_test) for f in functions) if y_test.shape[0] else train
    return train, tested, norm


@partial(jax.jit, static_argnums=(6, 7))
def _primal(
    features: Any, points: Any, y: Any, y_test: Any, penalty: Any, threshold: Any, capacities: Any, functions: Any
) -> Any:
    num_samples = y.shape[0]
    z = points[:, : capacities[-1]] if features is None else features.block(points, 0, capacities[-1])
    gram = product(z[:num_samples].T, z[:num_samples])
    moment = product(z[:num_samples].T, columns(y))

    def one(size: int, p: Any, penalty: Any) -> Any:
        mask = jnp.arange(size) < p
        s = jnp.where(mask[:, None] & mask, gram[:size, :size], 0)
        b = jnp.where(mask[:, None], moment[:size], 0)
        beta = solve_shifted(s, b, num_samples * penalty, threshold)
        return _measures(functions, product(z[:, :size], beta), jnp.sqrt((beta**2).sum((1, 2))), y, y_test)

    # In groups of similar size: what is masked away is decomposed too.
    edges = [-(-capacities[-1] * i // BUCKETS) for i in range(1, BUCKETS + 1)]
    done, parts = 0, []
    for edge in edges:
        until = int(np.searchsorted(capacities, edge, side="right"))
        if until > done:
            numbers = jnp.array(capacities[done:until])
            size = capacities[until - 1]
            parts.append(jax.lax.map(lambda args: one(size, *args), (numbers, penalty[done:until])))  # noqa: B023
            done = until
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)


class _Schedule(NamedTuple):
    """Blocks of features to be added one after the other, and after which of them to solve."""

    start: Any
    size: Any
    row: Any
    """Number of the capacity that is complete after this block, or -1."""


def _schedule(capacities: Sequence[int], block_size: int) -> _Schedule:
    start, size, row, done = [], [], [], 0
    for number, p in enumerate(capacities):
        while done < p:
            step = min(block_size, p - done)
            start.append(done)
            size.append(step)
            done += step
            row.append(number if done == p else -1)
    return _Schedule(*(np.array(values, np.int32) for values in (start, size, row)))


@partial(jax.jit, static_argnums=(7, 8))
def _dual(
    features: Any,
    points: Any,
    y: Any,
    y_test: Any,
    penalty: Any,
    threshold: Any,
    schedule: _Schedule,
    width: int,
    functions: Any,
) -> Any:
    num_samples, targets = y.shape[0], columns(y)

    def block(start: Any, size: Any) -> Any:
        if features is None:
            # A slice beyond the end is moved back by XLA: the mask follows.
            first = jnp.minimum(start, points.shape[1] - width)
            z = jax.lax.dynamic_slice_in_dim(points, first, width, axis=1)
        else:
            first, z = start, features.block(points, start, width)
        numbers = first + jnp.arange(width)
        return jnp.where((numbers >= start) & (numbers < start + size), z, 0)

    def solve(gram: Any, penalty: Any) -> Any:
        alpha = solve_shifted(gram[:num_samples], targets, num_samples * penalty, threshold)
        outputs = product(gram, alpha)
        # ‖β‖² = αᵀKα; rounding can make it negative where it is zero.
        squared = (alpha * outputs[:, :num_samples]).sum((1, 2))
        return _measures(functions, outputs, jnp.sqrt(jnp.maximum(squared, 0)), y, y_test)

    empty = jax.eval_shape(solve, jax.ShapeDtypeStruct((points.shape[0], num_samples), points.dtype), penalty[0])
    rows = jax.tree.map(lambda like: jnp.zeros((penalty.shape[0], *like.shape), like.dtype), empty)

    def step(carry: Any, now: _Schedule) -> Any:
        gram, rows = carry
        z = block(now.start, now.size)
        gram = gram + product(z, z[:num_samples].T)

        def measured(rows: Any) -> Any:
            values = solve(gram, penalty[now.row])
            return jax.tree.map(lambda old, new: old.at[now.row].set(new), rows, values)

        return (gram, jax.lax.cond(now.row >= 0, measured, lambda rows: rows, rows)), None

    gram = jnp.zeros((points.shape[0], num_samples), points.dtype)
    return jax.lax.scan(step, (gram, rows), schedule)[0][1]


def checked_capacities(capacities: Any, limit: int | None = None) -> tuple[int, ...]:
    """Increasing positive integers, of at most `limit`."""
    if isinstance(capacities, str) or not hasattr(capacities, "__iter__"):
        raise TypeError(f"capacities must be a sequence of integers, got {capacities!r}")
    checked = tuple(
        check.positive_int(f"capacities[{i}]", int(p) if isinstance(p, np.integer) else p)
        for i, p in enumerate(np.asarray(capacities).tolist() if isinstance(capacities, np.ndarray) else capacities)
    )
    if not checked:
        raise ValueError("capacities must not be empty: a sweep needs at least one capacity")
    if any(later <= earlier for earlier, later in pairwise(checked)):
        raise ValueError(f"capacities must increase strictly, got {list(checked)}; sort them and drop repetitions")
    if limit is not None and checked[-1] > limit:
        raise ValueError(f"capacities must be at most the number of features, {limit}, got {checked[-1]}")
    return checked


def _checked_data(data: Any, test: Any) -> tuple[Any, Any, Any, Any]:
    x, y = _pair("data", data)
    if test is None:
        x_test, y_test = x[:0], y[:0]
    else:
        x_test, y_test = _pair("test", test)
        if x_test.shape[1] != x.shape[1] or y_test.shape[1:] != y.shape[1:]:
            raise ValueError(
                f"test must have the columns of data, {x.shape[1]} of x and {y.shape[1:]} of y, "
                f"got {x_test.shape[1]} and {y_test.shape[1:]}"
            )
    dtype = floating_dtype(x, y)
    return tuple(jnp.asarray(array, dtype) for array in (x, y, x_test, y_test))  # type: ignore[return-value]


def _pair(name: str, data: Any) -> tuple[Any, Any]:
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise TypeError(f"{name} must be a pair (x, y), got {type(data).__name__}")
    x = check.array(f"x of {name}", data[0], ndim=2)
    y = check.array(f"y of {name}", data[1], ndim=(1, 2))
    check.same_length(f"x of {name}", x, f"y of {name}", y)
    return x, y


def _checked_penalty(penalty: Any, num_capacities: int, dtype: Any) -> tuple[Any, bool]:
    """[capacity, k], and whether a penalty may be zero."""
    penalty = check.array("penalty", penalty, ndim=(1, 2))
    if penalty.ndim == 2 and penalty.shape[0] != num_capacities:
        raise ValueError(f"penalty must be [k] or [{num_capacities}, k], one row a capacity, got shape {penalty.shape}")
    ridgeless = True
    if not check.is_traced(penalty):
        if (np.asarray(penalty) < 0).any():
            raise ValueError(f"penalty must be non-negative, got {np.asarray(penalty).min():g}")
        ridgeless = bool((np.asarray(penalty) == 0).any())
    return jnp.broadcast_to(jnp.asarray(penalty, dtype), (num_capacities, penalty.shape[-1])), ridgeless
