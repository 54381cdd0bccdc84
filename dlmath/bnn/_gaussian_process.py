"""Infinitely wide networks as Gaussian processes."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from dlmath import check, ntk
from dlmath.bnn._predict import Predictive, gaussian_predictive


def nngp(kernel: Callable[..., Any], data: Any, x: Any, y: Any = None, *, noise_std: Any) -> Predictive:
    """The predictive law of an infinitely wide Bayesian network: a Gaussian process with the covariance of its outputs.

    Args:
        kernel: `model.kernel`, (x1, x2, get="nngp") -> [n1, n2].
        data: (x[n, ...], y[n] or [n, o]).
        x: new inputs [m, ...].
        y: targets there, for the density, or None.
        noise_std: σ > 0 of the targets.

    Returns:
        A Predictive; "epistemic" is the posterior variance of the function, the same for all outputs.

    Raises:
        ValueError: as `ntk.gp_posterior` says.

    Cost: n³/3 + n²(m + o); three Gram matrices.

    References: Neal (1996), Priors for infinite networks; Lee et al. (2018), Deep neural networks as Gaussian processes.
    """
    return _predict(kernel, "nngp", data, x, y, noise_std)


def ntk_gp(kernel: Callable[..., Any], data: Any, x: Any, y: Any = None, *, noise_std: Any) -> Predictive:
    """The predictive law of a Gaussian process with the tangent kernel of an infinitely wide network.

    It is the posterior of a wide network linearised at its start, with the law of its start as prior of the displacement
    under the NTK parameterization; its mean is that of kernel ridge regression with Θ.

    Args, Returns, Raises: as `nngp`; the kernel is asked for "ntk".

    References: Jacot et al. (2018), Neural tangent kernel; He et al. (2020), Bayesian deep ensembles via the NTK.
    """
    return _predict(kernel, "ntk", data, x, y, noise_std)


def _predict(kernel: Any, get: str, data: Any, x: Any, y: Any, noise_std: Any) -> Predictive:
    check.callable_("kernel", kernel)
    noise_std = check.real("noise_std", noise_std, above=0.0)
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise TypeError(f"data must be a pair (x, y), got {type(data).__name__}")
    train, targets = data
    prior = jnp.diagonal(jnp.asarray(kernel(x, get=get)))
    grams = ntk.Grams(kernel(train, get=get), kernel(x, train, get=get), prior)
    found = ntk.gp_posterior(grams, targets, noise=noise_std**2)
    spread = jnp.maximum(found.covariance, 0)
    spread = spread if found.mean.ndim == 1 else jnp.broadcast_to(spread[:, None], found.mean.shape)
    return gaussian_predictive(found.mean, spread, noise_std, y)
