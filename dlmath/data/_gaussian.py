"""Random inputs with known covariance: Gaussian features and the unit sphere."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, ScalarLike

from dlmath import check
from dlmath.data._sample import check_draw
from dlmath.typing import Key

_PARAMETERS = {
    "isotropic": {"variance": 1.0},
    "ar1": {"correlation": 0.5},
    "spiked": {"spikes": (10.0,)},
    "power_law": {"exponent": 1.0},
}


def covariance_matrix(covariance: str, num_features: int, **parameters: Any) -> Float[Array, "d d"]:
    """The covariance Σ of `gaussian_features`, dense.

    ============  ==========================  ==================================================
    "isotropic"   Σ = v I                     variance: v > 0 (1)
    "ar1"         Σ_ij = ρ^|i - j|            correlation: -1 < ρ < 1 (0.5)
    "spiked"      Σ = diag(ℓ_1..ℓ_k, 1..1)    spikes: ℓ_j > 0, at most d (10,)
    "power_law"   Σ = diag(j^-α), j = 1..d    exponent: α >= 0 (1)
    ============  ==========================  ==================================================

    Args:
        covariance: one of the names above.
        num_features: d.
        **parameters: the parameter of that covariance; defaults in parentheses.

    Raises:
        ValueError, TypeError: for unknown names and values out of range.

    >>> covariance_matrix("ar1", 3, correlation=0.5)[0]
    Array([1.  , 0.5 , 0.25], dtype=float32)

    References: Johnstone, "On the distribution of the largest eigenvalue in principal components
    analysis", 2001 (spiked); Hastie et al., "Surprises in high-dimensional ridgeless least squares", 2022.
    """
    num_features, parameters = check_covariance(covariance, num_features, parameters)
    if covariance != "ar1":
        return jnp.diag(_variances(covariance, num_features, parameters))
    index = jnp.arange(num_features)
    # A float power of a negative base is only right for integer exponents: split off the sign.
    distance = jnp.abs(index[:, None] - index[None, :])
    correlation = jnp.asarray(parameters["correlation"], _default_dtype())
    sign = jnp.where((correlation < 0) & (distance % 2 == 1), -1.0, 1.0).astype(correlation.dtype)
    return jnp.where(distance == 0, 1.0, sign * jnp.abs(correlation) ** distance).astype(correlation.dtype)


def gaussian_features(
    key: Key, num_samples: int, num_features: int, *, covariance: str = "isotropic", **parameters: Any
) -> Float[Array, "n d"]:
    """Independent rows from N(0, Σ), with Σ = `covariance_matrix(covariance, num_features, **parameters)`.

    Args:
        key: typed key.
        num_samples: n.
        num_features: d.
        covariance: "isotropic", "ar1", "spiked" or "power_law".
        **parameters: the parameter of that covariance.

    Returns:
        x of shape [n, d], in JAX's default float type. Time and memory O(n d) for each of them: "ar1" is
        drawn by its recursion x_j = ρ x_{j-1} + (1 - ρ²)^½ z_j.

    >>> gaussian_features(jax.random.key(0), 1000, 3, covariance="ar1", correlation=-0.9).shape
    (1000, 3)
    """
    key, num_samples = check_draw(key, num_samples)
    num_features, parameters = check_covariance(covariance, num_features, parameters)
    z = jax.random.normal(key, (num_samples, num_features))
    if covariance != "ar1":
        return z * jnp.sqrt(_variances(covariance, num_features, parameters))[None, :]
    correlation = jnp.asarray(parameters["correlation"], z.dtype)
    innovation = jnp.sqrt(1 - correlation**2)

    def step(previous, innovations):
        current = correlation * previous + innovation * innovations
        return current, current

    first, rest = z[:, 0], z[:, 1:].T
    return jnp.concatenate([first[None], jax.lax.scan(step, first, rest)[1]]).T


def sphere(key: Key, num_samples: int, num_features: int, *, radius: ScalarLike = 1.0) -> Float[Array, "n d"]:
    """Independent points, uniform on the sphere of the given radius in R^d.

    Args:
        key: typed key.
        num_samples: n.
        num_features: d >= 1.
        radius: positive; d^½ makes every coordinate of unit variance.

    Returns:
        x of shape [n, d] with ‖x_i‖ = radius.

    >>> x = sphere(jax.random.key(0), 5, 3)
    >>> bool(jnp.allclose(jnp.linalg.norm(x, axis=1), 1.0))
    True
    """
    key, num_samples = check_draw(key, num_samples)
    num_features = check.positive_int("num_features", num_features)
    radius = check.real("radius", radius, above=0.0)
    z = jax.random.normal(key, (num_samples, num_features))
    return radius * z / jnp.linalg.norm(z, axis=1, keepdims=True)


def check_covariance(covariance: str, num_features: int, parameters: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """The number of features and the covariance's parameters with defaults filled in, all checked."""
    check.one_of("covariance", covariance, _PARAMETERS)
    num_features = check.positive_int("num_features", num_features)
    known = _PARAMETERS[covariance]
    for name in parameters:
        if name not in known:
            (expected,) = known
            raise TypeError(f"covariance {covariance!r} has the parameter {expected!r}, got {name!r}")
    parameters = {**known, **parameters}
    if covariance == "isotropic":
        check.real("variance", parameters["variance"], above=0.0)
    elif covariance == "ar1":
        check.real("correlation", parameters["correlation"], above=-1.0, below=1.0)
    elif covariance == "power_law":
        check.real("exponent", parameters["exponent"], at_least=0.0)
    else:
        spikes = check.array("spikes", parameters["spikes"], ndim=1)
        if len(spikes) > num_features:
            raise ValueError(f"num_features must be at least the number of spikes ({len(spikes)}), got {num_features}")
        if not check.is_traced(spikes) and not np.all(np.asarray(spikes) > 0):
            raise ValueError(f"spikes must be positive eigenvalues of the covariance, got {parameters['spikes']}")
    return num_features, parameters


def _variances(covariance: str, num_features: int, parameters: dict[str, Any]) -> Float[Array, " d"]:
    dtype = _default_dtype()
    if covariance == "isotropic":
        return jnp.full(num_features, parameters["variance"], dtype)
    if covariance == "power_law":
        return jnp.arange(1, num_features + 1, dtype=dtype) ** -jnp.asarray(parameters["exponent"], dtype)
    spikes = jnp.asarray(parameters["spikes"], dtype)
    return jnp.ones(num_features, dtype).at[: len(spikes)].set(spikes)


def _default_dtype() -> Any:
    return jnp.result_type(float)
