"""Kernel ridge regression and interpolation by Cholesky factorisation, with a named jitter."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_solve
from jax.tree_util import Partial
from jaxtyping import Array, Bool, Float, Shaped

from dlmath import check
from dlmath.linalg._arrays import columns, floating_dtype, product, regression_data
from dlmath.linalg._gram import as_pytree, check_kernel, inputs, tiles
from dlmath.typing import KernelFn


class KernelRidge(NamedTuple):
    """A fitted kernel expansion f(x) = Σᵢ k(x, xᵢ) αᵢ, a pytree; `predict` evaluates it.

    Differentiable through `coefficients`; `residual` and `condition` are constants to differentiation.

    Attributes:
        kernel: the kernel function, as a pytree.
        x: training inputs, [n, ...].
        coefficients: dual coefficients α, [n] or [n, o]; zero where the factorisation failed.
        jitter: what was added to the diagonal for the sake of the factorisation, in the units of K.
        residual: ‖(K + (nλ + jitter) I) α − y‖ / ‖y‖, the accuracy of the solve (0 for y = 0).
        condition: a lower bound on the condition number of the factorised matrix, (max Lᵢᵢ / min Lᵢᵢ)².
        positive_definite: whether the factorisation succeeded.
    """

    kernel: Partial
    x: Shaped[Array, "n ..."]
    coefficients: Float[Array, "n *o"]
    jitter: Float[Array, ""]
    residual: Float[Array, ""]
    condition: Float[Array, ""]
    positive_definite: Bool[Array, ""]


def kernel_ridge(
    kernel: KernelFn, x: Any, y: Any, penalty: Any, *, jitter: Any = None, block_size: int | None = None
) -> KernelRidge:
    """Kernel ridge regression: the minimiser of ‖y − f(X)‖²/n + λ‖f‖² over the kernel's Hilbert space.

    f(x) = k(x, X) α,    α = (K + nλI + jitter I)⁻¹ y.

    With k(x, x′) = x·x′ it is `ridge` at the same penalty.

    Args:
        kernel: (x1[n1, ...], x2[n2, ...] or None) -> [n1, n2].
        x: training inputs, [n, ...].
        y: targets, [n] or [n, o].
        penalty: λ >= 0; at 0 the solution interpolates (see `interpolate`).
        jitter: added to the diagonal of K on top of nλ, in the units of K, so that rounding cannot make it
            indefinite; by default n · eps · mean(diag K), with eps the machine precision of the dtype.
        block_size: the side of the tiles in which K is computed; None for one call of `kernel`.

    Returns:
        A `KernelRidge`. Inside jit or vmap a failed factorisation gives `positive_definite=False` and zero
        coefficients.

    Raises:
        ValueError: for bad shapes, NaN or infinite data, a negative penalty or jitter, or (outside jit and vmap)
            a matrix that is not positive definite.

    >>> linear = lambda x1, x2=None: x1 @ (x1 if x2 is None else x2).T
    >>> fit = kernel_ridge(linear, jnp.array([[1.0], [2.0]]), jnp.array([1.0, 2.0]), penalty=2.5)
    >>> print(predict(fit, jnp.array([[1.0]])).round(5))
    [0.5]

    Cost: n² kernel evaluations, n³/3 multiply-adds, two n × n matrices of memory.

    References:
        Schölkopf, Smola (2002), Learning with Kernels, section 4.2 (representer theorem).
    """
    return _fit(kernel, x, y, penalty, jitter, block_size)


def interpolate(kernel: KernelFn, x: Any, y: Any, *, jitter: Any = None, block_size: int | None = None) -> KernelRidge:
    """Kernel interpolation: the function of minimum norm in the kernel's Hilbert space through all the targets.

    f(x) = k(x, X) K⁻¹ y, up to the jitter: f(X) − y = −jitter · α. Arguments, returns, errors and cost as for
    `kernel_ridge`, whose limit λ → 0 it is.

    >>> brownian = lambda x1, x2=None: jnp.minimum(x1, (x1 if x2 is None else x2).T)
    >>> fit = interpolate(brownian, jnp.array([[1.0], [2.0]]), jnp.array([1.0, 3.0]))
    >>> print(predict(fit, jnp.array([[0.5], [1.5], [4.0]])).round(5))       # piecewise linear, then constant
    [0.5 2.  3. ]
    """
    return _fit(kernel, x, y, 0.0, jitter, block_size)


def predict(fit: KernelRidge, x: Any, *, block_size: int | None = None) -> Float[Array, "m *o"]:
    """Values f(x) = k(x, X) α of a fitted kernel expansion.

    Args:
        fit: what `kernel_ridge` or `interpolate` returned.
        x: inputs, [m, ...].
        block_size: number of inputs handled at a time; bounds memory to block_size · n kernel values.

    Returns:
        Predictions of shape [m] or [m, o].

    Raises:
        TypeError: unless `fit` is a `KernelRidge`.
        ValueError: for inputs of other features than those of the fit.

    >>> laplace = lambda x1, x2=None: jnp.exp(-abs(x1 - (x1 if x2 is None else x2).T))
    >>> fit = interpolate(laplace, jnp.ones([1, 1]), jnp.ones(1))
    >>> print(f"{predict(fit, jnp.zeros([1, 1]))[0]:.3f}")
    0.368

    Cost: m n kernel evaluations.
    """
    if not isinstance(fit, KernelRidge):
        raise TypeError(f"fit must be a KernelRidge, as kernel_ridge and interpolate return, got {type(fit).__name__}")
    x = inputs("x", x)
    if x.shape[1:] != fit.x.shape[1:]:
        raise ValueError(f"x must have the features of the fit, {fit.x.shape[1:]}, got shape {x.shape}")
    if block_size is not None:
        block_size = check.positive_int("block_size", block_size)
    return _predict(fit, x, block_size=block_size)


def _fit(kernel: KernelFn, x: Any, y: Any, penalty: Any, jitter: Any, block_size: int | None) -> KernelRidge:
    check.callable_("kernel", kernel)
    x, y = regression_data(x, y)
    if not check.is_traced(penalty):
        penalty = check.real("penalty", penalty, at_least=0.0)
    if jitter is not None and not check.is_traced(jitter):
        jitter = check.real("jitter", jitter, at_least=0.0)
    if block_size is not None:
        block_size = check.positive_int("block_size", block_size)
    kernel = as_pytree(kernel)
    check_kernel(kernel, x, None)
    fit = _solve(kernel, x, y, penalty, jitter, block_size=block_size)
    if not check.is_traced(fit.positive_definite) and not bool(fit.positive_definite):
        raise ValueError(
            f"kernel matrix of {x.shape[0]} inputs is not positive definite in {fit.jitter.dtype} with jitter "
            f"{float(fit.jitter):.3g}: raise jitter or penalty, drop repeated inputs, or use float64"
        )
    return fit


@partial(jax.jit, static_argnames="block_size")
def _solve(kernel: Partial, x: Any, y: Any, penalty: Any, jitter: Any, *, block_size: int | None) -> KernelRidge:
    k = tiles(kernel, x, None, block_size=block_size)
    k = k.astype(floating_dtype(k, y))
    n, targets = x.shape[0], columns(y).astype(k.dtype)
    if jitter is None:
        jitter = n * jnp.finfo(k.dtype).eps * jnp.abs(jnp.diagonal(k)).mean()
    jitter = jnp.asarray(jitter, k.dtype)
    k = k.at[jnp.diag_indices(n)].add(n * jnp.asarray(penalty, k.dtype) + jitter)
    factor = jax.lax.linalg.cholesky(jax.lax.stop_gradient(k), symmetrize_input=False)
    # A failed factorisation is NaN; the identity in its place keeps values and derivatives finite. Derivatives
    # are those of the solution, dα = K⁻¹(dy − dK α), by the same factor.
    positive_definite = jnp.isfinite(factor).all()
    factor = jnp.where(positive_definite, factor, jnp.eye(n, dtype=k.dtype))
    solution = jax.lax.custom_linear_solve(
        partial(product, k), targets, lambda _, b: cho_solve((factor, True), b), symmetric=True
    )
    coefficients = jnp.where(positive_definite, solution, 0)
    diagonal = jnp.diagonal(factor)
    residual, norm = jnp.linalg.norm(product(k, coefficients) - targets), jnp.linalg.norm(targets)
    return KernelRidge(
        kernel=kernel,
        x=x,
        coefficients=coefficients.reshape(y.shape),
        jitter=jitter,
        residual=jax.lax.stop_gradient(residual / jnp.where(norm > 0, norm, 1)),
        condition=jnp.where(positive_definite, (diagonal.max() / diagonal.min()) ** 2, jnp.finfo(k.dtype).max),
        positive_definite=positive_definite,
    )


@partial(jax.jit, static_argnames="block_size")
def _predict(fit: KernelRidge, x: Any, *, block_size: int | None) -> Array:
    alpha = columns(fit.coefficients)

    def values(x: Array) -> Array:
        return product(fit.kernel(x, fit.x).astype(alpha.dtype), alpha)

    if block_size is None or block_size >= x.shape[0]:
        out = values(x)
    else:
        num_blocks = x.shape[0] // block_size
        whole = x[: num_blocks * block_size].reshape(num_blocks, block_size, *x.shape[1:])
        out = jax.lax.map(values, whole).reshape(-1, alpha.shape[1])
        if x.shape[0] % block_size:
            out = jnp.concatenate([out, values(x[num_blocks * block_size :])])
    return out.reshape(x.shape[0], *fit.coefficients.shape[1:])
