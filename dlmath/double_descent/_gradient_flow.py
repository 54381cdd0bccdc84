"""Risk of least squares by gradient flow from zero, at any time, in the limit of many samples and features."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dlmath import check
from dlmath.double_descent._arguments import floating, in_range, signal_of, spectrum
from dlmath.double_descent._marchenko_pastur import _rule
from dlmath.double_descent._ridge import Risk, _isotropic_risk, _ridge_risk
from dlmath.double_descent._stieltjes import complex_kappa

_NUM_NODES = {4: 14, 8: 32}  # of the contour, by bytes of a number: errors 3.2⁻ᵏ
_GRID, _NUM_BISECTIONS = 33, 40


class Stopping(NamedTuple):
    """The time at which to stop, and the risk then; `time` is infinite where the risk falls for ever."""

    time: Float[Array, ""]
    risk: Float[Array, ""]


def isotropic_flow_risk(
    time: Any,
    aspect_ratio: Any,
    *,
    signal: Any = 1.0,
    noise: Any = 0.0,
    unexplained: Any = 0.0,
    num_nodes: int = 256,
) -> Risk:
    """Risk of gradient flow on ‖y − Xβ‖²/2n from β = 0 at time t, for independent features of variance 1.

    With l distributed by the Marchenko-Pastur law of ratio γ, its atom at 0 included,

        bias = r² E e^{−2lt},    variance = σ²γ E (1 − e^{−lt})²/l,    norm = r² E (1 − e^{−lt})² + variance.

    Args:
        time: t ≥ 0, or inf for the minimum norm: learning rate times steps.
        aspect_ratio: γ = p/n > 0.
        signal: r² ≥ 0.
        noise: σ² ≥ 0.
        unexplained: m ≥ 0, as for `isotropic_risk`; all of these broadcast.
        num_nodes: of the Gauss quadrature; k of them are exact to rounding up to t ≈ (k/6)² at γ = 1, and to
            √γ^{2k} (γ < 1) or √γ^{−2k} away from it at any time.

    Returns:
        A Risk; differentiable in t < ∞ and on each side of γ = 1.

    Raises:
        ValueError, TypeError: an argument out of its range.

    References:
        Advani, Saxe, Sompolinsky (2020), High-dimensional dynamics of generalization error in neural networks, 1710.03667,
        section 2; Ali, Kolter, Tibshirani (2019), A continuous-time view of early stopping for least squares, 1810.10082.

    >>> flow = isotropic_flow_risk(jnp.array([0.0, 2.0, jnp.inf]), 0.5, noise=0.5)
    >>> print(flow.risk.round(3))                                 # r², …, σ²γ/(1 − γ)
    [1.    0.291 0.5  ]
    """
    time = in_range("time", time, at_least=0, finite=False)
    gamma = in_range("aspect_ratio", aspect_ratio, above=0)
    names, values = ("signal", "noise", "unexplained"), (signal, noise, unexplained)
    checked = [in_range(name, value, at_least=0) for name, value in zip(names, values, strict=True)]
    num_nodes = check.positive_int("num_nodes", num_nodes)
    return _isotropic_flow(*jnp.broadcast_arrays(*floating(time, gamma, *checked)), num_nodes=num_nodes)


@partial(jax.jit, static_argnames="num_nodes")
def _isotropic_flow(time: Any, gamma: Any, signal: Any, noise: Any, unexplained: Any, *, num_nodes: int) -> Risk:
    end = jnp.isinf(time)
    t = jnp.where(end, 0, time)[..., None]
    rule = _rule(gamma, num_nodes=num_nodes)
    decay, grown = jnp.exp(-2 * t * rule.nodes), jnp.expm1(-t * rule.nodes) ** 2
    mean = lambda values: (rule.weights * values).sum(-1)
    left = mean(decay) + rule.atom
    noise = noise + unexplained
    bias = signal * left + unexplained
    variance = noise * gamma * mean(grown / rule.nodes)
    train = signal * mean(rule.nodes * decay) + noise * (gamma * left + 1 - gamma)
    flow = Risk(bias + variance, bias, variance, signal * mean(grown) + variance, train)
    limit = _isotropic_risk(gamma, jnp.zeros_like(gamma), signal, noise - unexplained, unexplained)
    return jax.tree.map(lambda a, b: jnp.where(end, b, a), flow, limit)


def flow_risk(
    eigenvalues: Any, signal: Any, num_samples: Any, time: Any, *, noise: Any = 0.0, unexplained: Any = 0.0
) -> Risk:
    """Risk of gradient flow on ‖y − Xβ‖²/2n from β = 0 at time t, for any covariance, as a deterministic equivalent.

    e^{−tΣ̂} is a contour integral of resolvents, e^{−x} = Σ_j c_j/(w_j + x) to 1e-15 on x ≥ 0 with 32 complex poles. At
    λ_j = w_j/t the resolvents have the equivalents λ(Σ̂ + λ)⁻¹ ≈ κ(Σ + κ)⁻¹, κ(1 − Σ Lᵢ/n) = λ, and in pairs
    λλ′(Σ̂ + λ)⁻¹Σ(Σ̂ + λ′)⁻¹ ≈ κκ′ (Σ + κ)⁻¹Σ(Σ + κ′)⁻¹/(1 − Σ LᵢLᵢ′/n), so that

        bias = Σ_jk (c_j/w_j)(c_k/w_k) [Σᵢ τᵢβᵢ² (1 − Lᵢ(κ_j))(1 − Lᵢ(κ_k))] / (1 − Σᵢ Lᵢ(κ_j)Lᵢ(κ_k)/n),
        variance = (2σ²t/n)(A(t) − A(2t)),    A(t) = Σ_j (c_jκ_j/w_j²) Σᵢ Lᵢ(κ_j).

    Args:
        eigenvalues: τᵢ ≥ 0, [p].
        signal: βᵢ² ≥ 0, [p], or their sum, shared equally.
        num_samples: n > 0, one number.
        time: t ≥ 0, one number or an array; inf is `ridge_risk` at λ = 0.
        noise: σ² ≥ 0, one number.
        unexplained: m ≥ 0, one number, as for `isotropic_risk`.

    Returns:
        A Risk with the shape of `time`; differentiable in all. In float32 the poles are 14, for 1e-6 of r² + σ².

    Raises:
        ValueError: an argument out of its range.

    Cost: for each time 2·16·130 sums over the eigenvalues, and a product of [32, p] with [p, 32].

    References:
        Poles: Trefethen, Weideman, Schmelzer (2006), Talbot quadratures and rational approximations, table 1 (hyperbola). Pairs of
        resolvents: Ledoit, Péché (2011); Bach (2024), High-dimensional analysis of double descent, 2303.01372, section 3.

    >>> print(flow_risk([1.0], 1.0, 2.0, jnp.array([0.0, 2.0]), noise=0.5).risk.round(3))   # isotropic at γ = 1/2
    [1.    0.291]
    """
    time = in_range("time", time, at_least=0, finite=False)
    tau, signal, n, noise, unexplained = _checked(eigenvalues, signal, num_samples, noise, unexplained)
    tau, signal, n, noise, unexplained, time = floating(tau, signal, n, noise, unexplained, time)
    flat = _flow(tau, signal, n, noise, unexplained, time.ravel())
    return jax.tree.map(lambda leaf: leaf.reshape(time.shape), flat)


def optimal_stopping(
    eigenvalues: Any, signal: Any, num_samples: Any, *, noise: Any, unexplained: Any = 0.0
) -> Stopping:
    """The time of smallest risk of gradient flow, and that risk, for any covariance.

    The smallest value on a grid of log t is refined by bisection of the derivative of `flow_risk`. For a signal of
    equal energy in all directions ridge regression at its best penalty is better, by a factor of at most 1.22.

    Args:
        eigenvalues: τᵢ ≥ 0, [p].
        signal: βᵢ² ≥ 0, [p], or their sum, shared equally.
        num_samples: n > 0, one number.
        noise: σ² ≥ 0, one number.
        unexplained: m ≥ 0, one number, as for `isotropic_risk`.

    Returns:
        Stopping(time, risk), the time between 1e-2/max τ and 1e5/mean τ, or infinite if the minimum norm is better than
        any time before. The risk is differentiable; the time is a constant to differentiation.

    Raises:
        ValueError: an argument out of its range.

    Cost: 33 + 2·40 evaluations of `flow_risk`.

    References:
        Advani, Saxe, Sompolinsky (2020), 1710.03667, section 2; Ali, Kolter, Tibshirani (2019), 1810.10082, theorem 3 (the factor).

    >>> best = optimal_stopping([1.0], 1.0, 1.0, noise=0.5)        # γ = 1: ridge at its best penalty has exactly 1/2
    >>> print(f"{best.time:.2f} {best.risk:.3f}")
    1.27 0.509
    """
    given = floating(*_checked(eigenvalues, signal, num_samples, noise, unexplained))
    return _stopping(*given)


def _checked(eigenvalues: Any, signal: Any, n: Any, noise: Any, unexplained: Any) -> tuple[Any, ...]:
    tau = spectrum("eigenvalues", eigenvalues)
    signal = signal_of("signal", signal, tau)
    n = in_range("num_samples", n, above=0)
    noise, unexplained = in_range("noise", noise, at_least=0), in_range("unexplained", unexplained, at_least=0)
    for name, value in (("num_samples", n), ("noise", noise), ("unexplained", unexplained)):
        if np.ndim(value):
            raise ValueError(f"{name} must be one number, got shape {np.shape(value)}; vmap over it")
    return tau, signal, n, noise, unexplained


def _contour(dtype: Any) -> tuple[np.ndarray, np.ndarray]:
    """Poles w_j in the upper half-plane and weights c_j with e^{−x} = 2 Re Σ_j c_j/(w_j + x)."""
    num_nodes = _NUM_NODES[jnp.dtype(dtype).itemsize]
    theta = np.pi * np.arange(1, num_nodes, 2) / num_nodes
    angle = 1.1721 - 0.3443j * theta
    w = 2.246 * num_nodes * (1 - np.sin(angle))
    return w, np.exp(w) * 2.246 * 0.3443 * np.cos(angle)  # (1/iN) e^w w′, w′ = i · 2.246N · 0.3443 cos


@jax.jit
def _flow(tau: Any, signal: Any, n: Any, noise: Any, unexplained: Any, times: Any) -> Risk:
    end = _ridge_risk(tau, signal, *(jnp.reshape(a, 1) for a in (n, jnp.zeros_like(n), noise, unexplained)))

    def one(t: Any) -> Risk:
        inside = (t > 0) & jnp.isfinite(t)
        found = _flow_at(tau, signal, n, noise, unexplained, jnp.where(inside, t, 1))
        energy = (tau * signal).sum() + unexplained
        start = Risk(energy, energy, jnp.zeros_like(t), jnp.zeros_like(t), energy + noise)
        return jax.tree.map(lambda a, b, c: jnp.where(inside, a, jnp.where(t > 0, b[0], c)), found, end, start)

    return jax.lax.map(one, times)


def _flow_at(tau: Any, signal: Any, n: Any, noise: Any, unexplained: Any, t: Any) -> Risk:
    w, c = _contour(tau.dtype)
    complex_dtype = jnp.result_type(tau.dtype, jnp.complex64)
    w, c = jnp.asarray(w, complex_dtype), jnp.asarray(c, complex_dtype)
    kappa = complex_kappa(jnp.stack([w / t, w / (2 * t)]), tau, n)
    inverse = 1 / (tau + kappa[..., None])  # [2, k, p]
    learned, left = tau * inverse, kappa[..., None] * inverse
    total = lambda values: 2 * values.real.sum(-1)  # over both half-planes

    weighted = c[:, None] / w[:, None] * left[0]
    both = jnp.concatenate([weighted, weighted.conj()])
    learned_both = jnp.concatenate([learned[0], learned[0].conj()])
    highest = jax.lax.Precision.HIGHEST
    pairs = jnp.matmul(weighted * (tau * signal), both.T, precision=highest)
    shared = jnp.matmul(learned[0], learned_both.T, precision=highest) / n
    bias = total((pairs / (1 - shared)).sum(-1)) + unexplained

    noise = noise + unexplained
    factor = c * kappa / w**2  # [2, k]
    part = lambda sums: 2 * noise * t / n * (total(factor[0] * sums[0]) - total(factor[1] * sums[1]))
    variance, norm = part(learned.sum(-1)), part(inverse.sum(-1))
    once, twice = total((c / w)[:, None].T * left.swapaxes(1, 2))  # e^{−tΣ̂} and e^{−2tΣ̂}, [p]
    norm = norm + (signal * (1 - 2 * once + twice)).sum()
    slope = total(c * learned[1].T) / (2 * t)  # Σ̂ e^{−2tΣ̂}
    train = (signal * slope).sum() + noise * (1 + (twice - 1).sum() / n)
    return Risk(bias + variance, bias, variance, norm, train)


@jax.jit
def _stopping(tau: Any, signal: Any, n: Any, noise: Any, unexplained: Any) -> Stopping:
    def risk(position: Any, tau: Any, signal: Any, n: Any, noise: Any, unexplained: Any) -> Any:
        return _flow_at(tau, signal, n, noise, unexplained, jnp.exp(position)).risk

    given = tau, signal, n, noise, unexplained
    fixed = jax.lax.stop_gradient(given)
    grid = jnp.linspace(jnp.log(1e-2 / fixed[0].max()), jnp.log(1e5 / fixed[0].mean()), _GRID)
    best = jnp.argmin(jax.lax.map(lambda position: risk(position, *fixed), grid))
    bounds = grid[jnp.maximum(best - 1, 0)], grid[jnp.minimum(best + 1, _GRID - 1)]

    def halve(_: Any, bounds: Any) -> Any:
        middle = (bounds[0] + bounds[1]) / 2
        falls = jax.jvp(lambda position: risk(position, *fixed), (middle,), (jnp.ones_like(middle),))[1] < 0
        return jnp.where(falls, middle, bounds[0]), jnp.where(falls, bounds[1], middle)

    bounds = jax.lax.fori_loop(0, _NUM_BISECTIONS, halve, bounds)
    # The risk does not depend on the time to first order: its derivatives are those at a fixed time.
    position = jax.lax.stop_gradient((bounds[0] + bounds[1]) / 2)
    found = risk(position, *given)
    end = _ridge_risk(tau, signal, *(jnp.reshape(a, 1) for a in (n, jnp.zeros_like(n), noise, unexplained))).risk[0]
    # The contour is exact to rounding relative to the risk of β = 0.
    rounding = 64 * jnp.finfo(tau.dtype).eps * ((tau * signal).sum() + unexplained)
    stops = (best < _GRID - 1) & (found < end - rounding)
    return Stopping(jnp.where(stops, jnp.exp(position), jnp.inf), jnp.where(stops, found, end))
