"""How to choose a regularisation without a test set: cross-validation, leaving one out, and its rotation-invariant form."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dlmath import check
from dlmath.double_descent._spectral import Decomposition, Filter
from dlmath.linalg._arrays import columns, product, regression_data
from dlmath.typing import Estimate, Key


@jax.jit
def gcv(decomposition: Decomposition, filter: Filter) -> Float[Array, "..."]:
    """Generalised cross-validation, (‖y − ŷ‖²/n) / (1 − df/n)², summed over outputs.

    It is `leave_one_out` with the leverages replaced by their mean. Where an interpolating solution is approached, as of
    ridge with λ → 0 for p ≥ n, both its parts vanish; their ratio is computed without that.

    Args:
        decomposition: what `decompose` returned.
        filter: one or a path of k.

    Returns:
        [] or [k]; infinite where the filter leaves nothing of any component, and n = r.

    >>> from dlmath.double_descent import decompose, tikhonov
    >>> found = decompose(jnp.ones((2, 1)), jnp.array([1.0, 3.0]))
    >>> print(gcv(found, tikhonov(found, 0.0)).round(4))                       # (2 / 2) / (1 - 1 / 2) ** 2
    4.0

    References:
        Golub, Heath, Wahba (1979), Generalized cross-validation as a method for choosing a good ridge parameter, eq. 1.4.
    """
    left, beyond = _scaled(decomposition, filter)
    residual = (left**2 * columns(decomposition.components**2).sum(1)).sum(-1)
    residual = residual + beyond**2 * (decomposition.outside**2).sum()
    n, r = decomposition.u.shape
    trace = left.sum(-1) + beyond * (n - r)
    return jnp.where(trace > 0, n * residual / jnp.where(trace > 0, trace, 1) ** 2, jnp.inf)


@jax.jit
def leave_one_out(decomposition: Decomposition, filter: Filter) -> Float[Array, "..."]:
    """Mean over i of ((y_i − ŷ_i)/(1 − h_ii))², h the map from y to ŷ, summed over outputs.

    For ridge regression these are the errors at every point of the fit to the n − 1 others, with nλ held fixed (each of
    them has the penalty nλ/(n − 1)), also in the limit λ → 0 of interpolation. For other filters it is an approximation.

    Args:
        decomposition: what `decompose` returned.
        filter: one or a path of k.

    Returns:
        [] or [k]; infinite where a point has the leverage 1 and says nothing about itself.

    >>> from dlmath.double_descent import decompose, tikhonov
    >>> found = decompose(jnp.ones((2, 1)), jnp.array([1.0, 3.0]))
    >>> print(leave_one_out(found, tikhonov(found, 0.0)).round(4))             # each is predicted by the other
    4.0

    References:
        Golub, Heath, Wahba (1979), eq. 1.3.
        Hastie, Montanari, Rosset, Tibshirani (2022), Surprises in high-dimensional ridgeless least squares
        interpolation, section 7 (also ridgeless).
    """
    left, beyond = _scaled(decomposition, filter)
    residual = product(decomposition.u, left[..., None] * columns(decomposition.components))
    residual = residual + beyond[..., None, None] * columns(decomposition.outside)
    squares = decomposition.u**2
    free = product(left, squares.T) + beyond[..., None] * jnp.maximum(1 - squares.sum(1), 0)
    # What is below this is rounding.
    known = free > 10 * len(squares) * jnp.finfo(free.dtype).eps * jnp.maximum(left.max(-1), beyond)[..., None]
    errors = jnp.where(known[..., None], residual / jnp.where(known, free, 1)[..., None], jnp.inf)
    return (errors**2).sum(-1).mean(-1)


def cross_validation(x: Any, y: Any, penalty: Any, *, num_folds: int, key: Key | None = None) -> Estimate:
    """k-fold cross-validated mean square error of ridge regression along a path of penalties.

    The points are split into folds of n / num_folds; each is predicted by the `linalg.ridge` of the others,
    with the penalty λ per point of those others, or by `min_norm` where λ = 0.

    Args:
        x: design, [n, p].
        y: targets, [n] or [n, o].
        penalty: λ ≥ 0, a scalar or [k].
        num_folds: a divisor of n, at least 2; n leaves out one point at a time.
        key: shuffles the points first; None for folds of consecutive points.

    Returns:
        Estimate of shape [] or [k]: the mean over points, summed over outputs, and the standard error of that mean over
        folds as if they were independent, which, sharing training points, they are not.

    Raises:
        ValueError: for a number of folds that does not divide n, negative penalties, or malformed data.

    >>> found = cross_validation(jnp.ones((4, 1)), jnp.array([1.0, 3.0, 1.0, 3.0]), 0.0, num_folds=2)
    >>> print(found.value)                                                     # both means are 2
    1.0

    Cost: num_folds SVDs, one after the other.

    References:
        Hastie, Tibshirani, Friedman (2009), The elements of statistical learning, section 7.10.
    """
    x, y = regression_data(x, y, ndim=2)
    n = len(x)
    num_folds = check.integer("num_folds", num_folds, at_least=2, at_most=n)
    if n % num_folds:
        divisors = [k for k in range(2, n + 1) if n % k == 0]
        nearest = min(divisors, key=lambda k: abs(k - num_folds))
        raise ValueError(f"num_folds must divide the {n} points, got {num_folds}; the nearest that does is {nearest}")
    penalty = check.array("penalty", penalty, ndim=(0, 1))
    if not check.is_traced(penalty) and (np.asarray(penalty) < 0).any():
        raise ValueError(f"penalty must be non-negative, got {np.asarray(penalty).min():g}")
    order = jnp.arange(n) if key is None else jax.random.permutation(check.key("key", key), n)
    errors = _fold_errors(x, columns(y), jnp.atleast_1d(jnp.asarray(penalty, x.dtype)), order, num_folds)
    value, error = errors.mean(0), errors.std(0, ddof=1) / num_folds**0.5
    return Estimate(value, error) if penalty.ndim else Estimate(value[0], error[0])


def _fold_errors(x: Any, y: Any, penalty: Any, order: Any, num_folds: int) -> Any:
    """[fold, k] mean square errors."""
    n, size = len(x), len(x) // num_folds
    rcond = max(n - size, x.shape[1]) * jnp.finfo(x.dtype).eps

    def one(fold: Any) -> Any:
        rolled = jnp.roll(order, -fold * size)
        held, rest = rolled[:size], rolled[size:]
        u, s, vt = jnp.linalg.svd(x[rest], full_matrices=False)
        shift = (n - size) * penalty[:, None]
        # As in `min_norm` for λ = 0; a positive penalty needs no cut-off.
        kept = (shift > 0) | (s > rcond * s[0])
        g = jnp.where(kept, s / jnp.where(kept, s**2 + shift, 1), 0)
        outputs = product(product(x[held], vt.T), g[:, :, None] * product(u.T, y[rest]))
        return ((outputs - y[held]) ** 2).sum(-1).mean(-1)

    return jax.jit(lambda folds: jax.lax.map(one, folds))(jnp.arange(num_folds))


def _scaled(decomposition: Decomposition, filter: Filter) -> tuple[Any, Any]:
    """(what is left of each component, what is left beyond the range of X), times a common factor.

    Errors over leverages do not depend on it. For n > r it is 1; for n = r, where nothing is beyond the range, the
    largest of what is left, so that vanishing penalties have their limit.
    """
    left = filter.left
    n, r = decomposition.u.shape
    if n > r:
        return left, jnp.ones(left.shape[:-1], left.dtype)
    largest = left.max(-1)
    return left / jnp.where(largest > 0, largest, 1)[..., None], jnp.zeros(left.shape[:-1], left.dtype)
