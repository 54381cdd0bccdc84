"""Risk of ridge regression on random features, with samples and features finite in number, and where it comes from."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dlmath import check
from dlmath.double_descent._arguments import floating, in_range, signal_of, spectrum
from dlmath.double_descent._ridge import Risk

_NUM_BISECTIONS = 60  # of log κ; one Newton step then gives the remaining digits, and the derivatives


class VarianceComponents(NamedTuple):
    """The risk as a sum over the sources of randomness: samples X, initialisation W and label noise ε.

    Each component is the variance of that effect or interaction in an analysis of variance of the prediction; those of the
    noise alone and of noise with initialisation are 0, since predictions are linear in ε and odd in X for the rest.

    Attributes:
        bias: squared distance of the mean prediction from the target.
        samples: V_X.
        init: V_W.
        samples_init: V_XW.
        samples_noise: V_Xε.
        samples_init_noise: V_XWε.
    """

    bias: Float[Array, "*shape"]
    samples: Float[Array, "*shape"]
    init: Float[Array, "*shape"]
    samples_init: Float[Array, "*shape"]
    samples_noise: Float[Array, "*shape"]
    samples_init_noise: Float[Array, "*shape"]


def random_feature_risk(
    eigenvalues: Any,
    signal: Any,
    num_samples: Any,
    num_features: Any,
    *,
    penalty: Any = 0.0,
    noise: Any = 0.0,
    tail: Any = 0.0,
    unexplained: Any = 0.0,
) -> Risk:
    """Risk of ridge regression on N random features of a kernel, as a deterministic equivalent.

    Features φ_j(x) are Gaussian with covariance k(x, x′) = Σ τᵢ zᵢ(x) zᵢ(x′) + t·1{x = x′}, the predictor is
    Σ aⱼφⱼ(x)/√N, and ‖y − f(X)‖²/n + λ‖a‖² is minimal. With κ the solution of

        κ (1 − z/n)(1 − z/N) = λ,    Lᵢ = τᵢ/(τᵢ + κ),    z = Σ Lᵢ + t/κ,    q = Σ Lᵢ²,    w = z − q,

    and α = 1 − z/n, β = 1 − z/N, the risk for the target Σ vᵢzᵢ + (a part of variance m that no zᵢ explains) is

        E₀ (Σ (1 − Lᵢ)(1 − Lᵢ β/(β + w/N)) vᵢ² + m + σ²) − σ²,    E₀ = (β + w/N)/(αβ + w(α/N + β/n)).

    For N → ∞ it is `ridge_risk` with vᵢ² = τᵢβᵢ², and at λ = 0 it peaks at n = N.

    Args:
        eigenvalues: τᵢ ≥ 0, [modes], of the kernel.
        signal: vᵢ² ≥ 0, [modes], the energy of the target in each mode, or their sum, shared equally.
        num_samples: n > 0.
        num_features: N > 0, or inf.
        penalty: λ ≥ 0.
        noise: σ² ≥ 0.
        tail: t ≥ 0, the sum of infinitely many eigenvalues too small to be learned.
        unexplained: m ≥ 0. n, N and these broadcast.

    Returns:
        A Risk, in which `norm` is E ‖a‖²; differentiable in all, at λ = 0 away from n = N. Infinite at λ = 0, n = N.

    Raises:
        ValueError: an argument out of its range.

    Cost: 60 sums over the modes for each entry.

    References:
        Simon, Karkada, Ghosh, Belkin (2023), More is better in modern machine learning, 2311.14646, section 4;
        Maloney, Roberts, Sully (2022), A solvable model of neural scaling laws, 2210.16859, for λ → 0; Bach (2024), 2303.01372.

    >>> risk = random_feature_risk(jnp.ones(400), 1.0, 100, jnp.array([50, 100, 200])).risk
    >>> print(*(f"{r:.3f}" for r in risk))                       # (350/400)/(1 − 1/2), infinite, lower again
    1.750 inf 1.500
    """
    arguments = _checked(eigenvalues, signal, num_samples, num_features, penalty, noise, tail, unexplained)
    return _vectorized(_risk, *arguments)


def random_feature_components(
    eigenvalues: Any,
    signal: Any,
    num_samples: Any,
    num_features: Any,
    *,
    penalty: Any = 0.0,
    noise: Any = 0.0,
    tail: Any = 0.0,
    unexplained: Any = 0.0,
) -> VarianceComponents:
    """The symmetric bias-variance decomposition of `random_feature_risk` over samples, initialisation and label noise.

    In the symbols there, predictors with the same samples and independent features overlap as ridge regression does, and
    predictors with the same features and independent samples as regression on the population does:

        bias = Σ (1 − Lᵢ)² vᵢ² + m,    V_X = bias · q/(n − q),    V_W = Σ Lᵢ(1 − Lᵢ) vᵢ² · (w/N)/(β + w/N),
        V_Xε = σ² q/(n − q),    V_Xε + V_XWε = σ²(E₀ − 1),

    and V_XW is what remains of the risk. Arguments, errors and cost as for `random_feature_risk`.

    Returns:
        VarianceComponents with the sum `random_feature_risk(...).risk`; the interactions V_XW and V_XWε are infinite at
        λ = 0, n = N, and the others are finite: the peak is an interaction of samples and initialisation.

    References:
        Adlam, Pennington (2020), Understanding double descent requires a fine-grained bias-variance decomposition, 2011.03321;
        d'Ascoli, Refinetti, Biroli, Krzakala (2020), Double trouble in double descent, 2003.01054. Derived here from the
        equivalents above; theirs are for equal eigenvalues.

    >>> parts = random_feature_components(jnp.ones(400), 1.0, 100, jnp.inf, noise=1.0)
    >>> print([round(float(part), 4) for part in parts])                     # 9/16, 1/3 of it, …, 1/3 of the noise
    [0.5625, 0.1875, 0.0, 0.0, 0.3333, 0.0]
    """
    arguments = _checked(eigenvalues, signal, num_samples, num_features, penalty, noise, tail, unexplained)
    return _vectorized(_components, *arguments)


def _checked(
    eigenvalues: Any, signal: Any, n: Any, num_features: Any, penalty: Any, noise: Any, tail: Any, unexplained: Any
) -> tuple[Any, ...]:
    tail = in_range("tail", tail, at_least=0)
    tau = spectrum("eigenvalues", eigenvalues, may_vanish=not check.is_traced(tail) and bool(np.min(tail) > 0))
    signal = signal_of("signal", signal, tau)
    n = in_range("num_samples", n, above=0)
    num_features = in_range("num_features", num_features, above=0, finite=False)
    names, values = ("penalty", "noise", "tail", "unexplained"), (penalty, noise, tail, unexplained)
    others = [in_range(name, value, at_least=0) for name, value in zip(names, values, strict=True)]
    tau, signal, *rest = floating(tau, signal, n, num_features, *others)
    return tau, signal, *jnp.broadcast_arrays(*rest)


@partial(jax.jit, static_argnums=0)
def _vectorized(function: Any, tau: Any, signal: Any, *rest: Any) -> Any:
    flat = jax.vmap(partial(function, tau, signal))(*(a.ravel() for a in rest))
    return jax.tree.map(lambda leaf: leaf.reshape(rest[0].shape), flat)


class _Equivalent(NamedTuple):
    kappa: Any
    learned: Any  # Lᵢ
    second: Any  # q
    partly: Any  # w
    alpha: Any
    beta: Any
    width: Any  # β + w/N
    surplus: Any  # αβ + w(α/N + β/n), the derivative of λ in κ; 0 at λ = 0, n = N only
    slope: Any  # τᵢ/(τᵢ + κ)²
    spread: Any  # w/κ


def _equivalent(tau: Any, n: Any, num_features: Any, penalty: Any, tail: Any) -> _Equivalent:
    fewer, more = jnp.minimum(n, num_features), jnp.maximum(n, num_features)
    gap = 1 - fewer / more
    kappa = _kappa(tau, fewer, gap, more, penalty, tail)
    positive = kappa > 0
    safe = jnp.where(positive, kappa, 1)
    learned = jnp.where(tau > 0, tau / jnp.where(tau > 0, tau + kappa, 1), 0)
    slope = learned / jnp.where(tau > 0, tau + kappa, 1)
    spread = slope.sum() + jnp.where(positive, tail / safe**2, 0)
    rest = jnp.where(positive, _rest(safe, fewer, gap, more, penalty), fewer - learned.sum())
    small, large = rest / fewer, gap + rest / more
    samples_fewer = n <= num_features
    alpha, beta = jnp.where(samples_fewer, small, large), jnp.where(samples_fewer, large, small)
    partly = kappa * spread
    width = beta + partly / num_features
    surplus = alpha * beta + partly * (alpha / num_features + beta / n)
    return _Equivalent(kappa, learned, (learned**2).sum(), partly, alpha, beta, width, surplus, slope, spread)


def _overfitting(e: _Equivalent, n: Any, num_features: Any) -> tuple[Any, Any, Any]:
    # E₀, E₀ − 1 and β/(β + w/N). At κ = 0 all modes are learned, β cancels, and E₀ = 1/α.
    numerator = jnp.where(e.kappa > 0, e.width, 1)
    denominator = jnp.where(e.kappa > 0, e.surplus, e.alpha)
    beta = jnp.where(e.kappa > 0, e.beta, 1)
    inverse = jnp.where(denominator > 0, 1 / jnp.where(denominator > 0, denominator, 1), jnp.inf)
    above = e.second * beta + (e.second + e.partly) * e.partly / num_features
    return numerator * inverse, above / n * inverse, beta / numerator


def _risk(
    tau: Any, signal: Any, n: Any, num_features: Any, penalty: Any, noise: Any, tail: Any, unexplained: Any
) -> Risk:
    e = _equivalent(tau, n, num_features, penalty, tail)
    whole, above, ratio = _overfitting(e, n, num_features)
    left = ((1 - e.learned) * (1 - ratio * e.learned) * signal).sum()
    bias = times(left, whole) + unexplained
    variance = times(noise + unexplained, above)
    # The least value of the objective is α (Σ (1 − Lᵢ)vᵢ² + m + σ²), and ‖a‖² its derivative in λ.
    remains = ((1 - e.learned) * signal).sum() + unexplained + noise
    regular = e.surplus > 0
    inverse = jnp.where(regular, 1 / jnp.where(regular, e.surplus, 1), jnp.inf)
    norm = times(remains * e.spread / n + e.alpha * (signal * e.slope).sum(), inverse)
    train = jnp.maximum(e.alpha * remains - times(penalty, norm), 0)
    return Risk(bias + variance, bias, variance, norm, train)


def _components(
    tau: Any, signal: Any, n: Any, num_features: Any, penalty: Any, noise: Any, tail: Any, unexplained: Any
) -> VarianceComponents:
    e = _equivalent(tau, n, num_features, penalty, tail)
    _, above, ratio = _overfitting(e, n, num_features)
    mean = ((1 - e.learned) ** 2 * signal).sum() + unexplained
    learned = e.learned * (1 - e.learned) * signal
    init = (learned * (1 - ratio)).sum()
    free = n - e.second
    samples = jnp.where(free > 0, e.second / jnp.where(free > 0, free, 1), jnp.inf)
    interaction = times(above - jnp.where(jnp.isfinite(above), samples, 0), jnp.ones_like(above))
    return VarianceComponents(
        bias=mean,
        samples=times(mean, samples),
        init=init,
        samples_init=times(init, above) + times(mean, jnp.maximum(interaction, 0)),
        samples_noise=times(noise, samples),
        samples_init_noise=times(noise, jnp.maximum(interaction, 0)),
    )


def times(factor: Any, value: Any) -> Any:
    """A product in which 0 · ∞ is 0."""
    return jnp.where(factor > 0, factor * jnp.where(factor > 0, value, 0), 0)


def _rest(kappa: Any, fewer: Any, gap: Any, more: Any, penalty: Any) -> Any:
    # m − z for m = min(n, N): the positive root of x(x/M + gap) = λm/κ, M = max(n, N).
    product = penalty * fewer / kappa
    square = gap**2 + 4 * product / more
    root = jnp.sqrt(jnp.where(square > 0, square, 1)) * (square > 0)
    return jnp.where(product > 0, 2 * product / jnp.where(gap + root > 0, gap + root, 1), 0)


def _kappa(tau: Any, fewer: Any, gap: Any, more: Any, penalty: Any, tail: Any) -> Any:
    # z(κ) + x(κ) falls with κ and meets m once, unless λ = 0 and all modes can be learned.
    positive = tau > 0
    num_modes = jnp.where(tail > 0, jnp.inf, positive.sum())
    interpolates = (penalty > 0) | (num_modes > fewer)

    def excess(kappa: Any, tau: Any, fewer: Any, gap: Any, more: Any, penalty: Any, tail: Any) -> Any:
        return (tau / (tau + kappa)).sum() + tail / kappa + _rest(kappa, fewer, gap, more, penalty) - fewer

    given = tau, fewer, gap, more, penalty, tail
    fixed = jax.lax.stop_gradient(given)
    smallest = jnp.min(jnp.where(positive, tau, tau.max()))
    # Bounds: each summand is at most m; and where κ > 2(Σ τ + t)/m, z is below m/2 and λ above κ/4.
    low = jnp.maximum(jnp.maximum(penalty, tail / fewer), smallest * jnp.maximum(positive.sum() / fewer - 1, 0))
    low = jnp.where(low > 0, low, 1)
    high = jnp.maximum(jnp.maximum(2 * (tau.sum() + tail) / fewer, 4 * penalty), low)

    def halve(_: Any, bounds: Any) -> Any:
        middle = (bounds[0] + bounds[1]) / 2
        right = excess(jnp.exp(middle), *fixed) > 0
        return jnp.where(right, middle, bounds[0]), jnp.where(right, bounds[1], middle)

    bounds = jax.lax.stop_gradient((jnp.log(low), jnp.log(high)))
    bounds = jax.lax.fori_loop(0, _NUM_BISECTIONS, halve, bounds)
    root = jax.lax.stop_gradient(jnp.exp((bounds[0] + bounds[1]) / 2))
    slope = jax.grad(excess)(root, *fixed)
    root = root - excess(root, *given) / jnp.where(slope < 0, jax.lax.stop_gradient(slope), -1)
    return jnp.where(interpolates, root, 0)
