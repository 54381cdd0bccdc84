"""Kernelised Stein discrepancy: the distance of samples from a density of which only the score is known."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import ScalarLike

from dlmath import check
from dlmath.kernels import squared_distances
from dlmath.mcmc.diagnostics._arrays import checked_samples
from dlmath.mcmc.diagnostics._tiles import over_tiles, u_statistic
from dlmath.typing import Estimate

HIGHEST = jax.lax.Precision.HIGHEST
TILE = 512
STATISTICS = ("u", "v")


def _imq(t: Any) -> tuple[Any, Any, Any]:
    """φ(t) = (1 + t)^{−1/2}, φ', φ''."""
    return (1 + t) ** -0.5, -0.5 * (1 + t) ** -1.5, 0.75 * (1 + t) ** -2.5


def _gaussian(t: Any) -> tuple[Any, Any, Any]:
    """φ(t) = e^{−t/2}, φ', φ''."""
    value = jnp.exp(-t / 2)
    return value, -value / 2, value / 4


KERNELS: dict[str, Callable[[Any], tuple[Any, Any, Any]]] = {"imq": _imq, "gaussian": _gaussian}


class SteinTest(NamedTuple):
    """A test of the hypothesis that samples are from a density.

    Attributes:
        value: the V-statistic of the squared discrepancy.
        p_value: the probability of a statistic as large or larger if they are, from the wild bootstrap; at
            least 1/(num_resamples + 1).
        resamples: the bootstrap's statistics, [num_resamples].
    """

    value: Any
    p_value: Any
    resamples: Any


def stein_discrepancy(
    x: Any, scores: Any, *, kernel: str = "imq", bandwidth: ScalarLike = 1.0, statistic: str = "u", tile: int = TILE
) -> Estimate:
    """The squared kernelised Stein discrepancy of samples from the density with score s, and its standard error.

    KSD² = E u(x, x'), x and x' independent, with
    u(x, x') = s(x)·s(x') k + s(x)·∇' k + s(x')·∇ k + tr ∇∇' k. It equals E [Δ(x)·Δ(x') k(x, x')], Δ the score
    of the density less that of the samples' law: 0 if and only if they agree.
    k = (1 + ‖x − x'‖²/h²)^{−1/2} ("imq"), which also sees samples that do not stay together, or
    exp(−‖x − x'‖²/2h²) ("gaussian"). "u" leaves out the pairs (x_i, x_i) and is unbiased; "v" keeps them: positive.

    Args:
        x: samples, [n, d], taken to be independent: thin correlated draws, or the error is too small.
        scores: s(x_i), [n, d].
        kernel: "imq" or "gaussian".
        bandwidth: h, positive; `median_distance` gives a usual one.
        statistic: "u" or "v".
        tile: rows at a time; memory O(tile · n).

    Returns:
        Estimate of scalars. The error is right where the laws differ (normal limit), and where they agree (degenerate
        limit) on average a third too large: there it follows the value it belongs to. `stein_test` is the test.

    Raises:
        ValueError: for shapes that do not fit, an unknown kernel or statistic, or a bandwidth that is not positive.

    >>> x = jax.random.normal(jax.random.key(0), (2000, 1))
    >>> found = stein_discrepancy(x, -(x - 1.0), kernel="gaussian")
    >>> print(abs(found.value - 1 / 3**0.5) < 3 * found.standard_error, found.standard_error < 0.05)
    True True

    Cost: O(n² d).

    References:
        Liu, Lee, Jordan (2016), A kernelized Stein discrepancy for goodness-of-fit tests.
        Gorham, Mackey (2017), Measuring sample quality with kernels.
    """
    x, scores, bandwidth, tile = _checked(x, scores, kernel, bandwidth, tile)
    check.one_of("statistic", statistic, STATISTICS)
    off, squares, diagonal = _sums(x, scores, bandwidth, kernel, tile)
    found = u_statistic(off, squares)
    if statistic == "u":
        return found
    num = x.shape[0]
    return Estimate(found.value * (num - 1) / num + jnp.mean(diagonal) / num, found.standard_error)


def stein_test(
    key: Any,
    x: Any,
    scores: Any,
    *,
    kernel: str = "imq",
    bandwidth: ScalarLike = 1.0,
    num_resamples: int = 500,
    flip_probability: float = 0.5,
    tile: int = TILE,
) -> SteinTest:
    """The test that samples are from the density with score s, by the wild bootstrap of the Stein discrepancy.

    The statistic V = Σ_ij u(x_i, x_j)/n² is compared with Σ_ij W_i W_j u(x_i, x_j)/n², W a chain of signs that flips
    with a given probability: ½ for independent samples, less (0.1, say) for correlated draws in their order.

    Args:
        key: typed key.
        x: samples, [n, d], in their order.
        scores: s(x_i), [n, d].
        kernel: "imq" or "gaussian".
        bandwidth: h, positive.
        num_resamples: number of bootstrap statistics, B.
        flip_probability: in (0, ½].
        tile: rows at a time.

    Returns:
        `SteinTest`.

    Raises:
        ValueError: as `stein_discrepancy`, or for a probability out of range.

    >>> x = jax.random.normal(jax.random.key(0), (300, 1))
    >>> print(stein_test(jax.random.key(1), x, -x).p_value > 0.05, stein_test(jax.random.key(1), x, 1 - x).p_value < 0.01)
    True True

    Cost: O(n² (d + B)); memory O(n (tile + B)).

    References:
        Chwialkowski, Strathmann, Gretton (2016), A kernel test of goodness of fit.
    """
    check.key("key", key)
    x, scores, bandwidth, tile = _checked(x, scores, kernel, bandwidth, tile)
    num_resamples = check.positive_int("num_resamples", num_resamples)
    flip_probability = check.real("flip_probability", flip_probability, above=0.0, at_most=0.5)
    flips = jax.random.bernoulli(key, flip_probability, (x.shape[0], num_resamples))
    signs = 1.0 - 2.0 * (jnp.cumsum(flips, axis=0) % 2).astype(x.dtype)
    signs = jnp.concatenate([jnp.ones_like(signs[:, :1]), signs], axis=1)  # the first column is the statistic itself
    statistics = _weighted_sums(x, scores, signs, bandwidth, kernel, tile) / x.shape[0] ** 2
    value, resamples = statistics[0], statistics[1:]
    return SteinTest(value, (1 + jnp.sum(resamples >= value)) / (1 + num_resamples), resamples)


def _checked(x: Any, scores: Any, kernel: str, bandwidth: Any, tile: Any) -> tuple[Any, Any, Any, int]:
    x, scores = checked_samples("x", x), checked_samples("scores", scores)
    if x.shape != scores.shape:
        raise ValueError(f"scores must have the shape of x, got {tuple(scores.shape)} and {tuple(x.shape)}")
    check.one_of("kernel", kernel, KERNELS)
    # Where the origin lies does not matter to the discrepancy, but to the rounding of inner products it does.
    return (
        x - jnp.mean(x, axis=0),
        scores,
        check.real("bandwidth", bandwidth, above=0.0),
        check.positive_int("tile", tile),
    )


@partial(jax.jit, static_argnames=("kernel", "tile"))
def _sums(x: Any, scores: Any, bandwidth: Any, kernel: str, tile: int) -> tuple[Any, Any, Any]:
    """For every row, the sums of u and u² over the others, and u of the row with itself."""

    def sums(rows: Any) -> tuple[Any, Any, Any]:
        u = _stein_kernel(rows[:2], (x, scores), kernel, bandwidth)
        own = rows[2][:, None] == jnp.arange(x.shape[0])
        off = jnp.where(own, 0.0, u)
        return jnp.sum(off, axis=1), jnp.sum(off**2, axis=1), jnp.sum(jnp.where(own, u, 0.0), axis=1)

    return over_tiles(sums, (x, scores, jnp.arange(x.shape[0])), tile)


@partial(jax.jit, static_argnames=("kernel", "tile"))
def _weighted_sums(x: Any, scores: Any, signs: Any, bandwidth: Any, kernel: str, tile: int) -> Any:
    """Σ_ij W_i W_j u_ij for every column of signs [n, b]."""

    def weighted(rows: Any) -> Any:
        u = _stein_kernel(rows[:2], (x, scores), kernel, bandwidth)
        return rows[2] * jnp.dot(u, signs, precision=HIGHEST)

    return jnp.sum(over_tiles(weighted, (x, scores, signs), tile), axis=0)


def _stein_kernel(rows: tuple[Any, Any], columns: tuple[Any, Any], kernel: str, bandwidth: Any) -> Any:
    """The kernel u [t, n] of rows (x, s) [t, d] and columns [n, d]."""
    (x, s), (y, r) = rows, columns
    inner = lambda a, b: jnp.dot(a, b.T, precision=HIGHEST)
    squared = squared_distances(x, y)
    value, first, second = KERNELS[kernel](squared / bandwidth**2)
    first, second = first / bandwidth**2, second / bandwidth**4  # derivatives in ‖x − y‖²
    along = jnp.sum(s * x, axis=1)[:, None] + jnp.sum(r * y, axis=1) - inner(s, y) - inner(x, r)  # (s − r)·(x − y)
    return inner(s, r) * value - 2 * first * along - 2 * x.shape[1] * first - 4 * second * squared
