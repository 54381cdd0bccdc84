"""The conjugate linear-Gaussian posterior, and the last layer of a network as one."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_solve
from jaxtyping import Array, Float

from dlmath import check
from dlmath.bnn import _laplace_structures as structures
from dlmath.bnn._laplace import chosen
from dlmath.bnn._posterior import Posterior, checked_start
from dlmath.bnn._predict import Predictive, gaussian_predictive
from dlmath.bnn.likelihoods import Gaussian
from dlmath.linalg._arrays import product, regression_data
from dlmath.typing import Params


class LinearGaussian(NamedTuple):
    """The posterior N(m, S) of the coefficients of y = Xβ + ε; every output has the same S.

    Attributes:
        mean: m, [d] or [d, o].
        covariance: S [d, d].
        log_evidence: log p(y | X), summed over outputs.
        noise_std: σ.
    """

    mean: Float[Array, "d *o"]
    covariance: Float[Array, "d d"]
    log_evidence: Float[Array, ""]
    noise_std: Any

    def predict(self, x: Any, y: Any = None) -> Predictive:
        """The predictive law N(xm, xSxᵀ + σ²) at inputs [m, d]."""
        x = jnp.asarray(check.array("x", x, ndim=2), self.mean.dtype)
        mean = product(x, self.mean)
        spread = jnp.sum(product(x, self.covariance) * x, -1)
        spread = spread if mean.ndim == 1 else jnp.broadcast_to(spread[:, None], mean.shape)
        return gaussian_predictive(mean, spread, self.noise_std, y)


class LastLayer(NamedTuple):
    """The exact posterior of one layer's parameters, the others held fixed.

    Attributes:
        mean: the posterior mean of that layer, raveled, [d].
        covariance: [d, d].
        log_evidence: log p(y | x, fixed layers).
        params: all parameters, the layer at its posterior mean.
        posterior: what was conditioned.
        selected: for each leaf whether it is of the layer.
    """

    mean: Float[Array, " d"]
    covariance: Float[Array, "d d"]
    log_evidence: Float[Array, ""]
    params: Params
    posterior: Posterior
    selected: tuple[bool, ...]

    def predict(self, x: Any, y: Any = None) -> Predictive:
        """The predictive law at inputs; outputs are treated one by one in the density (exact for one output)."""
        design, _, outputs = _design(self.posterior, self.params, self.selected, x)
        spread = jnp.sum(product(design, self.covariance) * design, -1)
        return gaussian_predictive(outputs, spread.reshape(outputs.shape), self.posterior.likelihood.noise_std, y)


def linear_gaussian(x: Any, y: Any, *, prior_std: Any, noise_std: Any) -> LinearGaussian:
    """The posterior of β ~ N(0, diag s²) given y = Xβ + ε, ε ~ N(0, σ²):

    S = (XᵀX/σ² + diag s^{−2})⁻¹,    m = SXᵀy/σ²,
    log p(y | X) = −½ [‖y − Xm‖²/σ² + ‖m/s‖² − log det S + 2 Σ log s + n log 2πσ²].

    Args:
        x: X [n, d].
        y: [n] or [n, o].
        prior_std: s > 0, a number or [d].
        noise_std: σ > 0.

    Raises:
        ValueError: for data that do not fit each other, or scales that are not positive.

    >>> fit = linear_gaussian(jnp.ones((1, 1)), jnp.array([2.0]), prior_std=1.0, noise_std=1.0)
    >>> print(fit.mean.round(4), fit.covariance.round(4), round(float(fit.log_evidence), 4))     # log N(2; 0, 2)
    [1.] [[0.5]] -2.2655

    Cost: nd² + d³.

    References: Bishop (2006), Pattern recognition and machine learning, sections 3.3 and 3.5.
    """
    x, y = regression_data(x, y, ndim=2)
    noise_std = check.real("noise_std", noise_std, above=0.0)
    std = jnp.asarray(check.array("prior_std", prior_std, ndim=(0, 1)), x.dtype)
    if not check.is_traced(std) and not bool(jnp.all(std > 0)):
        raise ValueError(f"prior_std must be positive, got {float(jnp.min(std)):g}")
    std = jnp.broadcast_to(std, x.shape[1:])
    (n, d), outputs = x.shape, 1 if y.ndim == 1 else y.shape[1]
    # Of β/s, so that scales of different size do not spoil the factorisation.
    z = x * std / noise_std
    factor = jnp.linalg.cholesky(product(z.T, z) + jnp.eye(d, dtype=x.dtype))
    scaled = cho_solve((factor, True), product(z.T, y / noise_std))
    covariance = cho_solve((factor, True), jnp.eye(d, dtype=x.dtype)) * std[:, None] * std
    fit = jnp.sum((y / noise_std - product(z, scaled)) ** 2) + jnp.sum(scaled**2)
    log_det = 2 * jnp.log(jnp.diagonal(factor)).sum()
    constants = n * (math.log(2 * math.pi) + 2 * jnp.log(noise_std))
    evidence = -0.5 * (fit + outputs * (log_det + constants))
    mean = scaled * (std if y.ndim == 1 else std[:, None])
    return LinearGaussian(mean, covariance, jnp.asarray(evidence, x.dtype), noise_std)


def last_layer(posterior: Posterior, params: Params, *, layer: str | None = None) -> LastLayer:
    """The exact posterior of the layer in which a network is affine, given its other layers.

    f = f₀ + Φw with Φ = ∂f/∂w [n·o, d], so that w is conjugate under a normal prior and Gaussian noise.

    Args:
        posterior: with a normal prior, known Gaussian noise, T = T_l = 1.
        params: parameters, of which those of the other layers count.
        layer: its path, such as "2"; None for that of the last leaf.

    Raises:
        ValueError: for another posterior, or a layer in which the network is not affine.

    Cost: n·o gradients, n·o·d² + d³.
    """
    params = checked_start(posterior, params)
    if not isinstance(posterior.likelihood, Gaussian) or posterior.likelihood.learned:
        raise ValueError(f"posterior must have Gaussian noise of known scale, got {posterior.likelihood}")
    for name in ("temperature", "likelihood_temperature"):
        if not check.is_traced(getattr(posterior, name)) and getattr(posterior, name) != 1:
            raise ValueError(f"{name} must be 1, got {getattr(posterior, name):g}")
    selected = chosen(params, layer)
    x, y = posterior.data
    design, weights, outputs = _design(posterior, params, selected, x)
    _expect_affine(posterior, params, selected, x, design, outputs)
    offset = outputs.reshape(-1) - product(design, weights)
    precisions = structures.prior_diagonal(posterior, params, selected)
    fit = linear_gaussian(
        design, y.reshape(-1) - offset, prior_std=1 / jnp.sqrt(precisions), noise_std=posterior.likelihood.noise_std
    )
    at_mean = structures.moved(params, selected, fit.mean - weights)
    return LastLayer(fit.mean, fit.covariance, fit.log_evidence, at_mean, posterior, selected)


def _design(posterior: Posterior, params: Params, selected: tuple[bool, ...], x: Any) -> tuple[Any, Any, Any]:
    # (∂f/∂w [n·o, d], w [d], f [n, *o])
    weights = structures.ravel(params, selected)
    of = lambda move: posterior.apply(structures.moved(params, selected, move), x)
    outputs = of(jnp.zeros_like(weights))
    jacobian = jax.jacfwd(of)(jnp.zeros_like(weights))
    return jacobian.reshape(outputs.size, weights.size), weights, outputs


def _expect_affine(
    posterior: Posterior, params: Params, selected: tuple[bool, ...], x: Any, design: Any, outputs: Any
) -> None:
    move = jnp.cos(jnp.arange(design.shape[1], dtype=design.dtype))
    there = posterior.apply(structures.moved(params, selected, move), x)
    gap = jnp.max(jnp.abs(there - outputs - product(design, move).reshape(outputs.shape)))
    size = jnp.max(jnp.abs(there)) + jnp.max(jnp.abs(outputs))
    if not check.is_traced(gap) and not float(gap) <= float(jnp.finfo(design.dtype).eps) ** 0.5 * float(size):
        raise ValueError(
            f"layer must be one in which the network is affine, got a difference of {float(gap):.3g} from its linearisation;"
            " name the last layer by its path"
        )
