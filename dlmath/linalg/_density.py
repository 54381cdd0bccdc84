"""Spectral densities with error bars: stochastic Lanczos quadrature and the kernel polynomial method."""

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from dlmath import check
from dlmath.linalg._chebyshev import chebyshev_measure, chebyshev_moments, jackson, jackson_width
from dlmath.linalg._lanczos import check_operator, raise_on_nan
from dlmath.linalg._operator import Operator
from dlmath.linalg._probes import PROBES, checked_block, mean_and_error, t_quantile
from dlmath.linalg._quadrature import gauss, tridiagonals
from dlmath.typing import Estimate

NUM_MOMENTS = 5


class SpectralDensity(NamedTuple):
    """A spectral density on a grid, with its error bars, and the measures it was made of.

    Attributes:
        grid: points x [g]: eigenvalues λ, or log₁₀|λ| on the log scale.
        mean: density at the grid, mean over probes; integrates to one.
        standard_error: its standard error over probes.
        low, high: Student's t band, num_probes − 1 degrees of freedom, point by point.
        bandwidth: standard deviation σ of the Gaussian, in units of the grid.
        bias: estimated error of the quadrature, in absolute value; not part of the band.
        biased: where the bias exceeds a quarter of the standard error: take more steps or a larger bandwidth.
        nodes, weights: one discrete measure a probe [m, j], in units of λ also on the log scale; weights sum to one.
        moments: Estimate of tr(Aᵖ)/n, p = 0..4.
        negative: Estimate of the fraction of eigenvalues below −floor.
        floor: nodes with |λ| ≤ floor are zero up to rounding; on the log scale they count as |λ| = floor.
        num_breakdowns: exhausted Krylov spaces, all probes together.
    """

    grid: Float[Array, " g"]
    mean: Float[Array, " g"]
    standard_error: Float[Array, " g"]
    low: Float[Array, " g"]
    high: Float[Array, " g"]
    bandwidth: Float[Array, ""]
    bias: Float[Array, " g"]
    biased: Bool[Array, " g"]
    nodes: Float[Array, "m j"]
    weights: Float[Array, "m j"]
    moments: Estimate
    negative: Estimate
    floor: Float[Array, ""]
    num_breakdowns: Int[Array, ""]


def spectral_density(
    key: Any,
    op: Operator,
    *,
    num_probes: int = 10,
    num_steps: int = 90,
    scale: str = "linear",
    method: str = "slq",
    bandwidth: Any = None,
    grid: Any = None,
    num_grid: int = 1024,
    level: float = 0.95,
    probes: str = "rademacher",
    block: int = 1,
) -> SpectralDensity:
    """The spectral density of an operator, φ(x) = (1/n) Σᵢ N(x; λᵢ, σ²), with error bars.

    Each probe v gives a discrete measure (nodes θⱼ, weights τⱼ) close to its spectral measure Σᵢ ⟨v, uᵢ⟩² δ(λᵢ), whose
    mean over probes is (1/n) Σᵢ δ(λᵢ); the density is Σⱼ τⱼ N(x; θⱼ, σ²), so what is estimated is the spectrum convolved
    with the reported bandwidth, and nothing else is smoothed.

    slq: the Gauss quadrature of k Lanczos steps, exact for polynomials of degree up to 2k − 1.
    kpm: 2k + 1 Chebyshev moments with the Jackson kernel. Its own smoothing is taken off the Gaussian, so that the total is
        σ, as long as σ is above that of the kernel (π/(2k) times half the spread).

    The error of the quadrature ("bias") is read off the same runs cut short. slq: d(3k/4) times the factor d(3k/4)/d(k/2),
    at most one, by which d fell from k/2 to 3k/4 steps, d(j) being the difference of the densities of j and k steps;
    Gauss quadrature of a smooth function converges at least geometrically. kpm: d(3k/4)/((4/3)² − 1), for an error ∝ 1/k².

    On the log scale the density is that of log₁₀|λ|, per decade, both signs together (see `negative`); where a
    spectrum comes within a bandwidth of zero, no polynomial method resolves it, and `biased` says so.

    Args:
        key: typed key.
        op: A, symmetric, n × n.
        num_probes: number m of probes, at least 2; 10 show a density, 30 its band.
        num_steps: products a probe, at least 2; slq cuts them to n.
        scale: "linear" or "log" (slq only).
        method: "slq" or "kpm".
        bandwidth: σ > 0 in units of the grid; by default the spread of the nodes over k (slq), or half the spread times
            π/k (kpm): what k steps can resolve.
        grid: points [g]; by default `num_grid` of them, equally spaced, 4σ beyond the nodes.
        num_grid: number of points of the default grid.
        level: probability of the band, in (0, 1).
        probes: "rademacher" (±1) or "gaussian" (both scaled to length one).
        block: probes computed at a time.

    Returns:
        SpectralDensity, NaN where a product was not finite.

    Raises:
        TypeError: for an operator or a key of another type.
        ValueError: for options out of range; outside `jit`, for products that are not finite.

    >>> from dlmath.linalg import from_matrix
    >>> found = spectral_density(jax.random.key(0), from_matrix(jnp.diag(jnp.arange(8.0))), num_probes=4)
    >>> area = found.mean.sum() * (found.grid[1] - found.grid[0])
    >>> print(f"{area:.3f} {found.moments.value[1]:.3f}")
    1.000 3.500

    Cost: num_probes · num_steps products; memory O(n · num_steps · block) (slq), O(n · block) (kpm).

    References:
        Lin, Saad, Yang (2016), Approximating spectral densities of large matrices, sections 3.2 and 4.
        Ghorbani, Krishnan, Xiao (2019), An investigation into neural net optimization via Hessian eigenvalue density.
        Weiße, Wellein, Alvermann, Fehske (2006), The kernel polynomial method, section II.C.
    """
    check.key("key", key)
    check_operator(op)
    num_probes = check.integer("num_probes", num_probes, at_least=2)
    num_steps = check.integer("num_steps", num_steps, at_least=2)
    check.one_of("scale", scale, ("linear", "log"))
    check.one_of("method", method, ("slq", "kpm"))
    if method == "kpm" and scale == "log":
        raise ValueError('scale must be "linear" with method "kpm", whose resolution is uniform; use method "slq"')
    check.one_of("probes", probes, PROBES)
    if bandwidth is not None:
        bandwidth = check.real("bandwidth", bandwidth, above=0.0)
    if grid is not None:
        grid = jnp.asarray(check.array("grid", grid, ndim=1))
    num_grid = check.integer("num_grid", num_grid, at_least=2)
    width = t_quantile(num_probes - 1, check.real("level", level, above=0.0, below=1.0))
    found, first_nan_step, inside = _spectral_density(
        key, op, bandwidth, grid, width, num_probes=num_probes, num_steps=num_steps, scale=scale, method=method,
        num_grid=num_grid, probes=probes, block=checked_block(block),
    )  # fmt: skip
    raise_on_nan(first_nan_step)
    if not check.is_traced(inside) and not bool(inside):
        raise ValueError(
            'method "kpm" found an interval that does not hold the spectrum of op; try another key, or method "slq"'
        )
    return found


class _Measures(NamedTuple):
    """Discrete measures by all steps, by 3/4 and by half of them; widths to be added to reach the bandwidth."""

    full: tuple[Any, Any]
    cut: tuple[tuple[Any, Any], tuple[Any, Any]]
    plain: Any  # weights of the undamped measure on the nodes of `full`, exact for moments
    kernel_widths: tuple[Any, Any, Any]
    resolution: Any  # default bandwidth as a share of the spread
    num_breakdowns: Any
    first_nan_step: Any
    inside: Any


@partial(jax.jit, static_argnames=("num_probes", "num_steps", "scale", "method", "num_grid", "probes", "block"))
def _spectral_density(
    key: Any, op: Operator, bandwidth: Any, grid: Any, width: Any, *, num_probes: int, num_steps: int, scale: str,
    method: str, num_grid: int, probes: str, block: int,
) -> tuple[SpectralDensity, Any, Any]:  # fmt: skip
    measure = _by_lanczos if method == "slq" else _by_chebyshev
    m = measure(key, op, num_probes, num_steps, probes, block)
    nodes, weights = m.full
    eps = jnp.finfo(nodes.dtype).eps
    largest = jnp.max(jnp.abs(nodes))
    floor = 16 * eps * largest

    def place(nodes: Any) -> Any:
        safe = jnp.where(floor > 0, floor, 1)
        return nodes if scale == "linear" else jnp.log10(jnp.maximum(jnp.abs(nodes), safe))

    positions = place(nodes)
    spread = positions.max() - positions.min()
    if bandwidth is None:
        smallest = jnp.sqrt(eps) * jnp.max(jnp.abs(positions))
        bandwidth = jnp.maximum(m.resolution * spread, smallest)
        bandwidth = jnp.where(bandwidth > 0, bandwidth, 1)
    bandwidth = jnp.asarray(bandwidth, nodes.dtype)
    if grid is None:
        grid = jnp.linspace(positions.min() - 4 * bandwidth, positions.max() + 4 * bandwidth, num_grid)
    grid = grid.astype(nodes.dtype)

    def smooth(measure: tuple[Any, Any], kernel_width: Any) -> Any:
        # What the kernel has smoothed already is taken off; a Gaussian of a quarter of the bandwidth always remains.
        sigma = jnp.sqrt(jnp.maximum(bandwidth**2 - kernel_width**2, bandwidth**2 / 16))
        return _smooth(place(measure[0]), measure[1], grid, sigma)

    per_probe = smooth(m.full, m.kernel_widths[0])
    mean, error = mean_and_error(per_probe)
    late, early = (smooth(cut, w).mean(0) - mean for cut, w in zip(m.cut, m.kernel_widths[1:], strict=True))
    if method == "slq":
        early_size, late_size = jnp.sqrt(jnp.mean(early**2)), jnp.sqrt(jnp.mean(late**2))
        bias = jnp.abs(late) * jnp.minimum(late_size / jnp.where(early_size > 0, early_size, 1), 1)
    else:
        bias = jnp.abs(late) / ((4 / 3) ** 2 - 1)
    # Below this, differences are rounding: nodes move by eps ‖A‖ times a few steps, densities accordingly.
    rounding = 16 * eps * num_steps * jnp.max(mean)
    biased = bias > jnp.maximum(error / 4, rounding)

    powers = nodes[:, :, None] ** jnp.arange(NUM_MOMENTS)[None, None]
    moments = mean_and_error(jnp.sum(m.plain[:, :, None] * powers, axis=1))
    negative = mean_and_error(jnp.sum(weights * (nodes < -floor), axis=1))
    valid = (m.first_nan_step.max() < 0) & m.inside
    found = SpectralDensity(
        grid, mean, error, mean - width * error, mean + width * error, bandwidth, bias, biased, nodes, weights,
        moments, negative, floor, m.num_breakdowns,
    )  # fmt: skip
    return jax.tree.map(partial(_or_nan, valid), found), m.first_nan_step, m.inside


def _by_lanczos(key: Any, op: Operator, num_probes: int, num_steps: int, probes: str, block: int) -> _Measures:
    runs = tridiagonals(key, op, num_probes, num_steps, probes, block)
    # A coefficient of zero ends a tridiagonal matrix early: what comes after has no weight. So one call serves all three;
    # as three they would be three programs' worth of compilation, and batched calls of jaxlib 0.10 block each other.
    kept = jnp.arange(runs.off_diagonal.shape[1]) < jnp.asarray(_steps(runs.diagonal.shape[1]))[:, None, None] - 1
    nodes, weights = jax.vmap(gauss, in_axes=(None, 0))(runs.diagonal, runs.off_diagonal * kept)
    full, late, early = zip(nodes, weights, strict=True)
    return _Measures(
        full, (late, early), full[1], (0.0, 0.0, 0.0), 1 / full[0].shape[1], runs.num_breakdowns.sum(dtype=jnp.int32),
        runs.first_nan_step, jnp.asarray(True),
    )  # fmt: skip


def _by_chebyshev(key: Any, op: Operator, num_probes: int, num_steps: int, probes: str, block: int) -> _Measures:
    moments = chebyshev_moments(key, op, num_probes, num_steps, probes, block)
    num_nodes = 4 * num_steps + 2

    def measure(k: int, factors: np.ndarray) -> tuple[Any, Any, Any]:
        x, weights = chebyshev_measure(moments.values, factors, num_nodes)
        nodes = jnp.broadcast_to(moments.centre + moments.half * x[None], weights.shape)
        return nodes, weights, moments.half * jackson_width(x, len(factors))

    measures = [measure(k, jackson(2 * k + 1)) for k in _steps(num_steps)]
    plain = measure(num_steps, np.ones(2 * num_steps + 1))[1]
    full, late, early = (found[:2] for found in measures)
    widths = (measures[0][2], measures[1][2], measures[2][2])
    return _Measures(
        full, (late, early), plain, widths, np.pi / (2 * num_steps), moments.num_breakdowns, moments.first_nan_step,
        moments.inside,
    )  # fmt: skip


def _steps(num_steps: int) -> tuple[int, int, int]:
    """All steps, three quarters and half of them, rounded up."""
    return num_steps, -(-3 * num_steps // 4), -(-num_steps // 2)


def _smooth(positions: Any, weights: Any, grid: Any, sigma: Any) -> Any:
    """Densities [m, g] of measures [m, j] convolved with Gaussians of width sigma, a number or [j]."""
    sigma = jnp.broadcast_to(sigma, positions.shape[1:])

    def one(probe: Any) -> Any:
        positions, weights = probe
        z = (grid[:, None] - positions[None]) / sigma[None]
        heights = weights / (sigma * math.sqrt(2 * math.pi))
        return jnp.sum(heights[None] * jnp.exp(-(z**2) / 2), axis=1)

    return jax.lax.map(one, (positions, weights))


def _or_nan(valid: Any, value: Any) -> Any:
    return jnp.where(valid, value, jnp.nan) if jnp.issubdtype(value.dtype, jnp.floating) else value
