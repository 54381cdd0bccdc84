"""Kernels of the distance: Gaussian and Laplace."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import Partial
from jaxtyping import Array

from dlmath import check
from dlmath.kernels._distances import kernel_inputs, pairwise, safe_sqrt
from dlmath.typing import KernelFn


def gaussian(*, rate: Any = None, bandwidth: Any = None) -> KernelFn:
    """The Gaussian (squared exponential, RBF) kernel.

    k(x, x′) = exp(−rate ‖x − x′‖²) = exp(−‖x − x′‖² / (2 bandwidth²)),    rate = 1 / (2 bandwidth²).

    Args:
        rate: coefficient of the squared distance, positive (scikit-learn's `gamma`).
        bandwidth: standard deviation of the bell, positive, in the units of x. Give one of the two.

    Returns:
        A kernel function of inputs [n, ...], flattened. Its diagonal at `x2=None` is exactly 1.

    Raises:
        TypeError: unless exactly one of `rate` and `bandwidth` is given.
        ValueError: for a value that is not positive.

    >>> kernel = gaussian(bandwidth=5.0)
    >>> print(f"{kernel(jnp.array([[0.0], [5.0]]))[0, 1]:.4f}")      # exp(-1/2)
    0.6065

    Cost: n1 n2 d multiply-adds, n1 n2 exponentials.

    References:
        Schölkopf, Smola (2002), Learning with Kernels, section 2.3.
    """
    name, value = _one_scale("gaussian", rate, bandwidth)
    return Partial(_gaussian, value if name == "rate" else 0.5 / value**2)


def laplace(*, rate: Any = None, bandwidth: Any = None) -> KernelFn:
    """The Laplace (exponential, Matérn-1/2) kernel.

    k(x, x′) = exp(−rate ‖x − x′‖) = exp(−‖x − x′‖ / bandwidth),    rate = 1 / bandwidth,

    with the Euclidean norm. Its derivative in x is taken as 0 at x = x′, where it has a kink.

    Args:
        rate: coefficient of the distance, positive.
        bandwidth: length over which the kernel falls by e, positive, in the units of x. Give one of the two.

    Returns:
        A kernel function of inputs [n, ...], flattened. Its diagonal at `x2=None` is exactly 1. With more than 16
        features, distances below √eps ‖x‖ are resolved only to that size (see `squared_distances`).

    Raises:
        TypeError: unless exactly one of `rate` and `bandwidth` is given.
        ValueError: for a value that is not positive.

    >>> kernel = laplace(bandwidth=5.0)
    >>> print(f"{kernel(jnp.array([[0.0], [5.0]]))[0, 1]:.4f}")      # exp(-1)
    0.3679

    Cost: n1 n2 d multiply-adds, n1 n2 square roots and exponentials.

    References:
        Belkin, Ma, Mandal (2018), To understand deep learning we need to understand kernel learning.
    """
    name, value = _one_scale("laplace", rate, bandwidth)
    return Partial(_laplace, value if name == "rate" else 1 / value)


def _gaussian(rate: Any, x1: Any, x2: Any = None) -> Array:
    return _gaussian_matrix(rate, *kernel_inputs(x1, x2))


def _laplace(rate: Any, x1: Any, x2: Any = None) -> Array:
    return _laplace_matrix(rate, *kernel_inputs(x1, x2))


@jax.jit
def _gaussian_matrix(rate: Any, x1: Array, x2: Array | None) -> Array:
    return jnp.exp(-jnp.asarray(rate, x1.dtype) * pairwise(x1, x2))


@jax.jit
def _laplace_matrix(rate: Any, x1: Array, x2: Array | None) -> Array:
    return jnp.exp(-jnp.asarray(rate, x1.dtype) * safe_sqrt(pairwise(x1, x2)))


def _one_scale(kernel: str, rate: Any, bandwidth: Any) -> tuple[str, Any]:
    if (rate is None) == (bandwidth is None):
        given = "neither" if rate is None else "both"
        raise TypeError(f"{kernel} takes exactly one of rate and bandwidth, got {given}")
    name, value = ("rate", rate) if bandwidth is None else ("bandwidth", bandwidth)
    return name, value if check.is_traced(value) else check.real(name, value, above=0.0)
