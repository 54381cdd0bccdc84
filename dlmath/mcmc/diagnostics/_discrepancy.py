"""Maximum mean discrepancy between two sets of samples."""

from typing import Any

import jax
import jax.numpy as jnp

from dlmath import check
from dlmath.kernels import squared_distances
from dlmath.mcmc.diagnostics._arrays import checked_samples
from dlmath.mcmc.diagnostics._tiles import over_tiles
from dlmath.typing import Estimate, KernelFn

MAX_ROWS = 1000


def maximum_mean_discrepancy(kernel: KernelFn, x: Any, y: Any, *, tile: int = 512) -> Estimate:
    """The squared maximum mean discrepancy between the laws of two sets of samples, unbiased, with its standard error.

    MMD² = E k(x, x') + E k(y, y') − 2 E k(x, y), estimated by averages over pairs of distinct samples; it may be negative.
    For a characteristic kernel (Gaussian, Laplace) it is 0 if and only if the laws agree.

    Args:
        kernel: symmetric (x1[n1, d], x2[n2, d]) -> [n1, n2], such as `dm.kernels.gaussian(bandwidth=h)` with h from
            `median_distance`.
        x: samples of the one law, [n, d], taken to be independent.
        y: samples of the other, [m, d], independent of x.
        tile: rows at a time; memory O(tile · (n + m)).

    Returns:
        Estimate of scalars. The error is right for laws that differ (normal limit), and for equal ones (degenerate limit)
        on average a quarter too large: there it follows the value it belongs to. `value / error` is no test statistic.

    Raises:
        ValueError: for samples of different dimensions, or fewer than two.

    >>> import dlmath as dm
    >>> x, y = jax.random.normal(jax.random.key(0), (2, 1000, 1))
    >>> found = maximum_mean_discrepancy(dm.kernels.gaussian(bandwidth=1.0), x, y + 1.0)
    >>> truth = (1 - jnp.exp(-1 / 6)) * 2 / 3**0.5
    >>> print(abs(found.value - truth) < 3 * found.standard_error, found.standard_error < 0.03)
    True True

    Cost: O((n + m)²) evaluations of the kernel.

    References:
        Gretton, Borgwardt, Rasch, Schölkopf, Smola (2012), A kernel two-sample test.
    """
    check.callable_("kernel", kernel)
    x, y = checked_pair(x, y)
    tile = check.positive_int("tile", tile)
    num_x, num_y = x.shape[0], y.shape[0]
    xx, xx_squares = _within(kernel, x, tile)
    yy, yy_squares = _within(kernel, y, tile)

    def across(rows: Any) -> tuple[Any, Any]:
        k = kernel(rows, y)
        return jnp.mean(k, axis=1), jnp.mean(k**2, axis=1)

    xy, xy_squares = over_tiles(across, x, tile)
    yx = over_tiles(lambda rows: jnp.mean(kernel(rows, x), axis=1), y, tile)
    variance = lambda values: jnp.var(values, ddof=1)
    # ξ: what a kernel has beyond the sum of its two projections.
    beyond = lambda squares, means, others: jnp.maximum(
        jnp.mean(squares) - jnp.mean(means) ** 2 - variance(means) - variance(others), 0.0
    )
    # The law of `u_statistic`, for two samples: four times the variance of the row means counts ξ twice.
    floor = (
        2 * beyond(xx_squares, xx, xx) / (num_x * (num_x - 1))
        + 2 * beyond(yy_squares, yy, yy) / (num_y * (num_y - 1))
        + 4 * beyond(xy_squares, xy, yx) / (num_x * num_y)
    )
    total = 4 * variance(xx - xy) / num_x + 4 * variance(yy - yx) / num_y
    value = jnp.mean(xx) + jnp.mean(yy) - 2 * jnp.mean(xy)
    return Estimate(value, jnp.sqrt(jnp.maximum(total - floor, floor)))


def median_distance(x: Any, y: Any = None) -> Any:
    """The median distance between distinct samples, of x and y together: a usual bandwidth.

    Args:
        x: samples, [n, d].
        y: more samples, [m, d], or None.

    Returns:
        A scalar. Of more than 1000 samples, 1000 at equal distances in their order are compared.

    Raises:
        ValueError: for samples of different dimensions, or fewer than two.

    >>> print(median_distance(jnp.array([[0.0], [1.0], [3.0]])))                           # of 1, 2, 3
    2.0

    Cost: O(min(n + m, 1000)² d).
    """
    x = checked_samples("x", x) if y is None else jnp.concatenate(checked_pair(x, y))
    chosen = x[jnp.linspace(0, x.shape[0] - 1, min(x.shape[0], MAX_ROWS)).round().astype(jnp.int32)]
    rows, columns = jnp.triu_indices(chosen.shape[0], 1)
    return jnp.median(jnp.sqrt(squared_distances(chosen)[rows, columns]))


def checked_pair(x: Any, y: Any) -> tuple[Any, Any]:
    x, y = checked_samples("x", x), checked_samples("y", y)
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"x and y must have the same columns, got shapes {tuple(x.shape)} and {tuple(y.shape)}")
    return x, y


def _within(kernel: KernelFn, x: Any, tile: int) -> tuple[Any, Any]:
    """For every row the mean of k(x_i, x_j) over j ≠ i, and of its square."""

    def sums(rows: Any) -> tuple[Any, Any]:
        k = kernel(rows[0], x)
        k = jnp.where(rows[1][:, None] == jnp.arange(x.shape[0]), 0.0, k)
        return jnp.sum(k, axis=1), jnp.sum(k**2, axis=1)

    found = over_tiles(sums, (x, jnp.arange(x.shape[0])), tile)
    return jax.tree.map(lambda leaf: leaf / (x.shape[0] - 1), found)
