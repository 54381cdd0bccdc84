"""Regression with a known answer: a planted linear model, and a network as teacher."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, ScalarLike

from dlmath import check
from dlmath.data._gaussian import gaussian_features
from dlmath.data._sample import check_draw, noise_level
from dlmath.typing import ApplyFn, Key, Params


class LinearSample(NamedTuple):
    """Draws from a linear model and the coefficients that made them.

    Attributes:
        x: inputs, [n, d].
        y: targets, [n].
        coefficients: β, [d].
    """

    x: Float[Array, "n d"]
    y: Float[Array, " n"]
    coefficients: Float[Array, " d"]


class TeacherSample(NamedTuple):
    """Inputs, and a teacher's outputs with noise.

    Attributes:
        x: inputs, [n, d].
        y: targets, [n, out].
    """

    x: Float[Array, "n d"]
    y: Float[Array, "n out"]


def linear_gaussian(
    key: Key,
    num_samples: int,
    num_features: int,
    *,
    covariance: str = "isotropic",
    signal: ScalarLike = 1.0,
    noise_std: ScalarLike = 1.0,
    coefficients: Any = None,
    **parameters: Any,
) -> LinearSample:
    """The planted linear model y = x·β + σ ε with x ~ N(0, Σ), ε ~ N(0, 1).

    β is uniform on the sphere of radius `signal`, so that ‖β‖² = r² exactly, unless it is given. Parts of the key
    are used for x, β and ε, so changing σ, r or Σ leaves the underlying normal draws as they are.

    Args:
        key: typed key.
        num_samples: n.
        num_features: d.
        covariance: Σ: "isotropic", "ar1", "spiked" or "power_law"; `covariance_matrix` returns it.
        signal: r = ‖β‖, at least 0.
        noise_std: σ, at least 0.
        coefficients: β of shape [d], to draw several samples of one model; then `signal` is not used.
        **parameters: the parameter of that covariance, such as `correlation=0.9`.

    Returns:
        LinearSample(x, y, coefficients). Time and memory O(n d).

    >>> sample = linear_gaussian(jax.random.key(0), 200, 100, signal=2.0, noise_std=1.0)
    >>> sample.x.shape, round(float(jnp.sum(sample.coefficients**2)), 4)
    ((200, 100), 4.0)

    References: Hastie, Montanari, Rosset and Tibshirani, "Surprises in high-dimensional ridgeless least squares
    interpolation", 2022, equations (1) and (2).
    """
    key, num_samples = check_draw(key, num_samples)
    signal = check.real("signal", signal, at_least=0.0)
    noise_std = noise_level(noise_std)
    key_x, key_coefficients, key_noise = jax.random.split(key, 3)
    x = gaussian_features(key_x, num_samples, num_features, covariance=covariance, **parameters)
    if coefficients is None:
        direction = jax.random.normal(key_coefficients, (num_features,))
        coefficients = signal * direction / jnp.linalg.norm(direction)
    else:
        coefficients = jnp.asarray(check.array("coefficients", coefficients, ndim=1), x.dtype)
        if coefficients.shape != (num_features,):
            raise ValueError(f"coefficients must have shape ({num_features},), got {coefficients.shape}")
    noise = jax.random.normal(key_noise, (num_samples,))
    y = jnp.matmul(x, coefficients, precision="highest") + noise_std * noise
    return LinearSample(x, y, coefficients)


def teacher_student(
    key: Key,
    apply: ApplyFn,
    params: Params,
    num_samples: int,
    num_features: int,
    *,
    noise_std: ScalarLike = 0.0,
    covariance: str = "isotropic",
    **parameters: Any,
) -> TeacherSample:
    """Targets made by a teacher network: y = apply(params, x) + σ ε with x ~ N(0, Σ).

    Args:
        key: typed key, for x and ε.
        apply: the teacher, (params, x[n, d]) -> outputs[n, out], such as a Model's `apply`.
        params: the teacher's parameters.
        num_samples: n.
        num_features: d.
        noise_std: σ, at least 0.
        covariance: Σ: "isotropic", "ar1", "spiked" or "power_law".
        **parameters: the parameter of that covariance.

    Returns:
        TeacherSample(x, y): x of shape [n, d], y of the shape of the teacher's outputs. One forward pass.

    >>> teacher = lambda weights, x: jnp.tanh(x @ weights)
    >>> sample = teacher_student(jax.random.key(0), teacher, jnp.eye(3)[:, :1], 5, 3)
    >>> bool(jnp.allclose(sample.y[:, 0], jnp.tanh(sample.x[:, 0])))
    True

    References: Gardner and Derrida, "Three unfinished works on the optimal storage capacity of networks", 1989.
    """
    key, num_samples = check_draw(key, num_samples)
    check.callable_("apply", apply)
    noise_std = noise_level(noise_std)
    key_x, key_noise = jax.random.split(key)
    x = gaussian_features(key_x, num_samples, num_features, covariance=covariance, **parameters)
    outputs = apply(params, x)
    if outputs.shape[:1] != (num_samples,):
        raise ValueError(f"apply must return one row per input, [{num_samples}, out], got shape {outputs.shape}")
    return TeacherSample(x, outputs + noise_std * jax.random.normal(key_noise, outputs.shape, outputs.dtype))
