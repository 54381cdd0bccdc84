"""Predictions of wide networks from Gram matrices: Gaussian processes, and gradient descent on a squared error."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import cho_solve, solve_triangular
from jaxtyping import Array, Bool, Float

from dlmath import check, linalg
from dlmath.linalg._arrays import product
from dlmath.ntk import _iterative
from dlmath.ntk._alignment import check_definite, in_memory, square
from dlmath.ntk._gram_store import StoredGram

_OPERATORS = (linalg.Operator, linalg.HostOperator)
METHODS = ("auto", "cholesky", "cg")
_LARGE = 10_000
"""Training inputs above which "auto" does not factorise."""


class Grams(NamedTuple):
    """Kernel matrices between m new and n training inputs.

    Attributes:
        train: [n, n], also as a `StoredGram`; `gp_posterior` also takes an `Operator` on n numbers, such as `ntk.operator`,
            or a `linalg.HostOperator`.
        new: [m, n], rows are new inputs.
        prior: [m, m] between the new ones, or their variances [m]; None where no covariance is wanted.
    """

    train: Any
    new: Any
    prior: Any = None


class Posterior(NamedTuple):
    """A Gaussian over outputs at new inputs, one covariance for all outputs.

    Attributes:
        mean: [m] or [m, o], as the targets.
        covariance: [m, m], or variances [m], as `Grams.prior`; None without it.
        log_marginal_likelihood: log density of the targets under the prior, summed over outputs; None for conjugate
            gradients, which see no determinant, and for networks trained for a finite time or by their tangent kernel,
            whose distribution is no posterior.
        jitter: what was added to the diagonal of the training matrix, in its units.
        residual: ‖(K + (σ² + jitter) I) α − y‖/‖y‖ of the solve (0 where none is made); by conjugate gradients the largest
            over the systems solved.
        positive_definite: whether the factorisation succeeded; if not, numbers are those of the identity in its place. By
            conjugate gradients whether no direction of curvature ≤ 0 came up.
    """

    mean: Float[Array, "m *o"]
    covariance: Any
    log_marginal_likelihood: Any
    jitter: Float[Array, ""]
    residual: Float[Array, ""]
    positive_definite: Bool[Array, ""]


def gp_posterior(
    grams: Grams, y: Any, *, noise: Any = 0.0, jitter: Any = None, method: str = "auto", tol: float | None = None
) -> Posterior:
    """The posterior of a Gaussian process of zero mean, y = f(x) + ε with ε of variance σ².

    mean = K* (K + σ²I)⁻¹ y,    covariance = K** − K* (K + σ²I)⁻¹ K*ᵀ.

    With NNGP matrices it is the posterior of an infinitely wide Bayesian network.

    Args:
        grams: kernel matrices.
        y: targets [n] or [n, o].
        noise: σ² ≥ 0, in the units of K.
        jitter: added to the diagonal beside σ², so that rounding cannot make the matrix indefinite; by default
            n · eps · mean(diag K), with eps the machine precision (0 for an operator).
        method: "cholesky"; "cg", conjugate gradients with a Nyström preconditioner of rank 100; or "auto", the first up
            to n = 10,000 and the second beyond, or for an operator. By "cg" a `StoredGram` stays on disk: each step reads
            it once, a tile at a time.
        tol: of "cg", bound on the relative residual of each system; √eps by default.

    Returns:
        A Posterior. The mean of "cg" is off by at most ‖K*‖ tol ‖y‖/λ_min(K + σ²I).

    Raises:
        ValueError: wrong shapes, values out of range, or (outside jit and vmap) a matrix that is not positive definite
            in its precision (the message has its smallest eigenvalue), or a `tol` that is not reached.

    Cost: n³/3 + n² (m + o), memory 2n²; by "cg" 2n² (o + m) a step, m only with a prior, and memory n², or n (o + m + 100)
    for what stays on disk.

    References: Rasmussen & Williams (2006), algorithm 2.1; Lee et al. 2018 (1711.00165).

    >>> posterior = gp_posterior(Grams(jnp.eye(1), jnp.full((1, 1), 0.5), jnp.ones(1)), jnp.array([2.0]), noise=1.0)
    >>> print(posterior.mean.round(4), posterior.covariance.round(4))
    [0.5] [0.875]
    """
    check.one_of("method", method, METHODS)
    if isinstance(grams, Grams) and isinstance(grams.train, StoredGram) and _iterates(method, len(grams.train)):
        grams, jitter = _left_on_disk(grams, jitter)
    grams, targets, shape = _arguments(grams, y, matrix_free=True)
    noise = check.real("noise", noise, at_least=0)
    matrix_free = isinstance(grams.train, _OPERATORS)
    if method == "cholesky" and matrix_free:
        raise ValueError("method must be 'auto' or 'cg' for grams.train an operator, got 'cholesky'")
    if matrix_free or _iterates(method, len(targets)):
        mean, covariance, jitter, residual, positive = _iterative.posterior_parts(grams, targets, noise, jitter, tol)
        return Posterior(mean.reshape(-1, *shape), covariance, None, jitter, residual, positive)
    if tol is not None:
        raise ValueError(f"tol is an option of method='cg', got tol={tol} with n = {len(targets)}; give method='cg'")
    factor, matrix, jitter, succeeded = _factor(grams.train, noise, jitter)
    alpha = cho_solve((factor, True), targets)
    size = jnp.linalg.norm(targets)
    residual = jnp.linalg.norm(product(matrix, alpha) - targets) / jnp.where(size > 0, size, 1)
    n, outputs = targets.shape
    log_determinant = 2 * jnp.log(jnp.diagonal(factor)).sum()
    likelihood = -0.5 * ((targets * alpha).sum() + outputs * (log_determinant + n * math.log(2 * math.pi)))
    covariance = grams.prior
    if covariance is not None:
        half = solve_triangular(factor, grams.new.T, lower=True)
        covariance = covariance - _inner(half, half, covariance.ndim)
    mean = product(grams.new, alpha).reshape(-1, *shape)
    return Posterior(mean, covariance, likelihood, jitter, residual, succeeded)


def gradient_descent(
    theta: Any,
    y: Any,
    time: Any,
    *,
    theta_new: Any = None,
    initial: Any = None,
    initial_new: Any = None,
    learning_rate: Any = None,
) -> tuple[Any, Any]:
    """Outputs after gradient descent on (1/2n) Σ ‖f(xᵢ) − yᵢ‖² (`losses.half_mse`) with a constant tangent kernel.

    Gradient flow for the time t, df/dt = −Θ (f − y)/n, solved exactly:

        f(t) = y + e^{−Θt/n} (f₀ − y),    f*(t) = f*₀ + Θ* Θ⁻¹ (I − e^{−Θt/n}) (y − f₀).

    With a learning rate η, t counts steps and e^{−Θt/n} is (I − ηΘ/n)^t. For `losses.mse`, without its ½, double t or η.

    Args:
        theta: Θ, tangent kernel of the training inputs, summed or averaged over outputs to [n, n].
        y: targets [n] or [n, o].
        time: t ≥ 0, a number or an array of them; infinity for the end of the flow (or of descent that converges).
        theta_new: Θ* [m, n], rows are new inputs; None for none.
        initial: f₀ at the training inputs, like y; None means 0.
        initial_new: f*₀ at the new ones; None means 0.
        learning_rate: η > 0, or None for the flow.

    Returns:
        (f [*time, n, *o], f* [*time, m, *o] or None). Modes of eigenvalue below n eps λ_max do not move at t = ∞.

    Raises:
        ValueError: wrong shapes, values out of range, or (outside jit and vmap) Θ with a negative eigenvalue.

    Cost: about 10 n³, then n (n + m) o for each time.

    References: Jacot et al. 2018 (1806.07572), section 5; Lee et al. 2019 (1902.06720), eqs. 10, 11.

    >>> f, _ = gradient_descent(jnp.array([[2.0]]), jnp.array([1.0]), jnp.array([0.0, 0.5, jnp.inf]))
    >>> print(f[:, 0].round(4))                                       # 1 − e^{−2t}
    [0.     0.6321 1.    ]
    """
    k = square("theta", theta)
    grams, targets, shape = _arguments(Grams(k, jnp.zeros((1, len(k)), k.dtype) if theta_new is None else theta_new), y)
    times = check.array("time", time, finite=False)
    if not check.is_traced(times) and not np.all(np.asarray(times) >= 0):
        raise ValueError(f"time must be non-negative, got {float(np.min(times)):g}")
    if learning_rate is not None:
        learning_rate = check.real("learning_rate", learning_rate, above=0)
    start = _like("initial", initial, targets)
    start_new = _like("initial_new", initial_new, jnp.zeros((len(grams.new), targets.shape[1]), targets.dtype))
    values, vectors = _eigh("theta", grams.train)
    gap = product(vectors.T, targets - start)
    new = product(grams.new, vectors)

    def at(t: Any) -> tuple[Any, Any]:
        left, moved = _decay(values, t, learning_rate)
        f = targets - product(vectors, left[:, None] * gap)
        return f.reshape(-1, *shape), (start_new + product(new, moved[:, None] * gap)).reshape(-1, *shape)

    times = jnp.asarray(times, k.dtype)
    f, f_new = jax.vmap(at)(times.ravel())
    f, f_new = (a.reshape(*times.shape, *a.shape[1:]) for a in (f, f_new))
    return f, None if theta_new is None else f_new


def ntk_ensemble(nngp: Grams, ntk: Grams, y: Any, *, time: Any = math.inf) -> Posterior:
    """Mean and covariance over initial parameters of wide networks trained by gradient flow for a time t.

    Networks start as a Gaussian process of covariance K (`nngp`) and move by Θ (`ntk`), see `gradient_descent`. With
    A = Θ* Θ⁻¹ (I − e^{−Θt/n}),

        mean = A y,    covariance = K** + A K Aᵀ − A K*ᵀ − K* Aᵀ.

    Args:
        nngp: K, K* and K**.
        ntk: Θ and Θ*; its `prior` is not used.
        y: targets [n] or [n, o].
        time: t ≥ 0 in units of the loss `losses.half_mse`; infinity for trained networks.

    Returns:
        A Posterior (in name: unlike a Bayesian one it is not conditioned on y). No jitter is used: modes of eigenvalue
        below n eps λ_max do not move at t = ∞.

    Raises:
        ValueError: as `gradient_descent`.

    References: Lee et al. 2019 (1902.06720), eqs. 14 to 16.

    >>> one = Grams(jnp.eye(1), jnp.full((1, 1), 0.5), jnp.ones(1))
    >>> ensemble = ntk_ensemble(one, one, jnp.array([2.0]))             # Θ = K: the Gaussian process posterior
    >>> print(ensemble.mean.round(4), ensemble.covariance.round(4))
    [1.] [0.75]
    """
    nngp, targets, shape = _arguments(nngp, y, "nngp")
    ntk, _, _ = _arguments(ntk._replace(prior=None), y, "ntk")
    if ntk.new.shape != nngp.new.shape:
        raise ValueError(f"ntk.new must have the shape of nngp.new, {nngp.new.shape}, got {ntk.new.shape}")
    time = check.real("time", time, at_least=0) if time is not math.inf else math.inf
    values, vectors = _eigh("ntk.train", ntk.train)
    _, moved = _decay(values, jnp.asarray(time, values.dtype), None)
    a = product(product(ntk.new, vectors) * moved, vectors.T)
    covariance = nngp.prior
    if covariance is not None:
        spread = _inner(a.T, product(nngp.train, a.T), covariance.ndim)
        crossed = _inner(a.T, nngp.new.T, covariance.ndim)
        covariance = covariance + spread - crossed - (crossed.T if covariance.ndim == 2 else crossed)
    zero = jnp.zeros((), targets.dtype)
    return Posterior(product(a, targets).reshape(-1, *shape), covariance, None, zero, zero, jnp.asarray(True))


def max_learning_rate(theta: Any, *, momentum: float = 0.0) -> Float[Array, ""]:
    """The largest η at which gradient descent on `losses.half_mse` converges: 2n (1 + β)/λ_max(Θ).

    Half of it for `losses.mse`, which has no ½.

    Args:
        theta: Θ [n, n].
        momentum: β in [0, 1) of heavy-ball momentum.

    Raises:
        ValueError: no symmetric matrix, or a value out of range.

    >>> print(max_learning_rate(jnp.diag(jnp.array([1.0, 4.0]))))
    1.0
    """
    k = square("theta", theta)
    momentum = check.real("momentum", momentum, at_least=0, below=1)
    return 2 * len(k) * (1 + momentum) / jnp.linalg.eigvalsh(k)[-1]


def _iterates(method: str, n: int) -> bool:
    return method == "cg" or (method == "auto" and n > _LARGE)


def _left_on_disk(grams: Grams, jitter: Any) -> tuple[Grams, Any]:
    # Products in place of the matrix, and the jitter that the matrix would get.
    op = grams.train.operator()
    if jitter is None:
        jitter = _iterative.default_jitter(jnp.asarray(grams.train.diagonal(), op.dtype))
    return grams._replace(train=op), jitter


def _factor(k: Any, noise: Any, jitter: Any) -> tuple[Any, Any, Any, Any]:
    # The lower factor of K + (σ² + jitter) I (the identity if there is none), that matrix, the jitter, the success.
    n = len(k)
    if jitter is None:
        jitter = _iterative.default_jitter(jnp.diagonal(k))
    else:
        jitter = check.real("jitter", jitter, at_least=0)
    jitter = jnp.asarray(jitter, k.dtype)
    matrix = k.at[jnp.diag_indices(n)].add(jnp.asarray(noise, k.dtype) + jitter)
    factor = jnp.linalg.cholesky(matrix)
    succeeded = jnp.isfinite(factor).all()
    if not check.is_traced(succeeded) and not bool(succeeded):
        smallest = float(jnp.linalg.eigvalsh(matrix)[0])
        raise ValueError(
            f"grams.train is not positive definite in {k.dtype} with noise and jitter {float(jitter):.3g}: "
            f"smallest eigenvalue {smallest:.3g}; raise noise or jitter, drop repeated inputs, or use float64"
        )
    return jnp.where(succeeded, factor, jnp.eye(n, dtype=k.dtype)), matrix, jitter, succeeded


def _decay(values: Any, t: Any, learning_rate: Any) -> tuple[Any, Any]:
    # (e^{−λt/n}, (1 − e^{−λt/n})/λ), the second with its limit t/n at λ = 0; by steps (1 − ηλ/n)^t in place of the first.
    n = len(values)
    zero = values <= n * jnp.finfo(values.dtype).eps * values[-1]
    lam = jnp.where(zero, 1, values)
    finite = jnp.where(jnp.isinf(t), 0, t)
    if learning_rate is None:
        rate, left, gone = 1.0, jnp.exp(-lam * t / n), -jnp.expm1(-lam * t / n)
    else:
        rate, factor = learning_rate, 1 - learning_rate * lam / n
        left = jnp.where(jnp.isinf(t) & (jnp.abs(factor) < 1), 0, factor**t)
        gone = 1 - left
    return jnp.where(zero, 1, left), jnp.where(zero, rate * finite / n, gone / lam)


def _eigh(argument: str, k: Any) -> tuple[Any, Any]:
    values, vectors = jnp.linalg.eigh((k + k.T) / 2)
    check_definite(argument, values)
    return jnp.maximum(values, 0), vectors


def _arguments(
    grams: Any, y: Any, argument: str = "grams", *, matrix_free: bool = False
) -> tuple[Grams, Any, tuple[int, ...]]:
    if not isinstance(grams, Grams):
        raise TypeError(f"{argument} must be Grams(train, new, prior), got {type(grams).__name__}")
    y = check.array("y", y, ndim=(1, 2))
    if matrix_free and isinstance(grams.train, _OPERATORS):
        train, size = grams.train, grams.train.size
        if len(y) != size:
            raise ValueError(f"y must have a row for each of the {size} numbers grams.train acts on, got {len(y)}")
    else:
        train = square(f"{argument}.train", grams.train)
        check.same_length(f"{argument}.train", train, "y", y)
        size = len(train)
    new = check.array(f"{argument}.new", in_memory(grams.new), ndim=2)
    if new.shape[1] != size:
        raise ValueError(f"{argument}.new must have {size} columns, one a training input, got {tuple(new.shape)}")
    prior = grams.prior
    if prior is not None:
        prior = jnp.asarray(check.array(f"{argument}.prior", prior, ndim=(1, 2)), train.dtype)
        if set(prior.shape) != {len(new)}:
            raise ValueError(f"{argument}.prior must be [m, m] or [m] with m = {len(new)}, got {tuple(prior.shape)}")
    targets = jnp.asarray(y, train.dtype).reshape(len(y), -1)
    return Grams(train, jnp.asarray(new, train.dtype), prior), targets, tuple(y.shape[1:])


def _like(argument: str, value: Any, wanted: Any) -> Any:
    if value is None:
        return jnp.zeros_like(wanted)
    value = check.array(argument, value, ndim=(1, 2))
    check.same_length(argument, value, "y" if argument == "initial" else "theta_new", wanted)
    value = jnp.asarray(value, wanted.dtype).reshape(len(value), -1)
    if value.shape != wanted.shape:
        raise ValueError(f"{argument} must have as many outputs as y, {wanted.shape[1]}, got {value.shape[1]}")
    return value


def _inner(a: Any, b: Any, ndim: int) -> Any:
    # aᵀb, or its diagonal.
    return product(a.T, b) if ndim == 2 else (a * b).sum(0)
