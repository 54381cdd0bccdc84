"""Labelled point sets in the plane. Labels cycle 0, 1, ..., so that classes are balanced to within one point."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, ScalarLike

from dlmath import check
from dlmath.data._dataset import Dataset
from dlmath.data._sample import Sample, check_draw, noise_level
from dlmath.typing import Key


def moons(key: Key, num_samples: int, *, noise_std: ScalarLike = 0.0) -> Sample:
    """Two interleaved half circles: (cos t, sin t) in class 0, (1 - cos t, ½ - sin t) in class 1, t ~ U[0, π].

    Args:
        key: typed key.
        num_samples: n.
        noise_std: standard deviation of Gaussian noise added to both coordinates.

    Returns:
        Sample with x of shape [n, 2].

    >>> moons(jax.random.key(0), 6).y
    Array([0, 1, 0, 1, 0, 1], dtype=int32)
    """
    key_t, key_noise, label, noise_std = _begin(key, num_samples, 2, noise_std)
    t = jax.random.uniform(key_t, (num_samples,), maxval=jnp.pi)
    upper = jnp.stack([jnp.cos(t), jnp.sin(t)], axis=1)
    lower = jnp.stack([1 - jnp.cos(t), 0.5 - jnp.sin(t)], axis=1)
    return _noisy(key_noise, jnp.where(label[:, None] == 0, upper, lower), label, noise_std)


def circles(key: Key, num_samples: int, *, factor: ScalarLike = 0.5, noise_std: ScalarLike = 0.0) -> Sample:
    """Two concentric circles, of radius 1 in class 0 and of radius `factor` in class 1, uniform in angle.

    Args:
        key: typed key.
        num_samples: n.
        factor: radius of the inner circle, above 0 and below 1.
        noise_std: standard deviation of Gaussian noise added to both coordinates.

    Returns:
        Sample with x of shape [n, 2].

    >>> circles(jax.random.key(0), 4).x.shape
    (4, 2)
    """
    factor = check.real("factor", factor, above=0.0, below=1.0)
    key_t, key_noise, label, noise_std = _begin(key, num_samples, 2, noise_std)
    radius = jnp.where(label == 0, 1.0, factor)
    return _noisy(key_noise, _polar(radius, _angles(key_t, num_samples)), label, noise_std)


def ellipses(key: Key, num_samples: int, *, squash: ScalarLike = 0.4) -> Sample:
    """An ellipse and the elliptic ring around it: (r cos t, a r sin t), r ~ U[0, 1] in class 0, U[1, 2] in class 1.

    The classes touch at r = 1 and are separated by x1² + (x2 / a)² = 1; a linear classifier errs on about 45 %.

    Args:
        key: typed key.
        num_samples: n.
        squash: a, positive; 1 makes a disk and a ring.

    Returns:
        Sample with x of shape [n, 2].

    >>> ellipses(jax.random.key(0), 4).x.shape
    (4, 2)

    References: Emory University, "Numerical methods for deep learning", example of linear classification.
    """
    squash = check.real("squash", squash, above=0.0)
    key_t, key_r, label, _ = _begin(key, num_samples, 2, 0.0)
    radius = label + jax.random.uniform(key_r, (num_samples,))
    x = _polar(radius, _angles(key_t, num_samples))
    return Sample(jnp.stack([x[:, 0], squash * x[:, 1]], axis=1), label)


def rings(key: Key, num_samples: int, *, num_rings: int = 3) -> Sample:
    """Concentric rings with gaps: radius 2k + U[0, 1] in class k, uniform in angle (class 0 is a disk).

    Args:
        key: typed key.
        num_samples: n.
        num_rings: number of classes.

    Returns:
        Sample with x of shape [n, 2].

    >>> rings(jax.random.key(0), 6).y
    Array([0, 1, 2, 0, 1, 2], dtype=int32)

    References: Emory University, "Numerical methods for deep learning", example of spectral clustering.
    """
    num_rings = check.positive_int("num_rings", num_rings)
    key_t, key_r, label, _ = _begin(key, num_samples, num_rings, 0.0)
    radius = 2 * label + jax.random.uniform(key_r, (num_samples,))
    return Sample(_polar(radius, _angles(key_t, num_samples)), label)


def spiral(
    key: Key, num_samples: int, *, num_arms: int = 2, turns: ScalarLike = 1.5, noise_std: ScalarLike = 0.0
) -> Sample:
    """Interleaved Archimedean spirals: radius t ~ U[0, 1] at the angle 2π (turns · t + k / num_arms) in class k.

    Args:
        key: typed key.
        num_samples: n.
        num_arms: number of classes.
        turns: revolutions of an arm, positive.
        noise_std: standard deviation of Gaussian noise added to both coordinates.

    Returns:
        Sample with x of shape [n, 2].

    >>> spiral(jax.random.key(0), 6, num_arms=3).y
    Array([0, 1, 2, 0, 1, 2], dtype=int32)
    """
    num_arms = check.positive_int("num_arms", num_arms)
    turns = check.real("turns", turns, above=0.0)
    key_t, key_noise, label, noise_std = _begin(key, num_samples, num_arms, noise_std)
    t = jax.random.uniform(key_t, (num_samples,))
    return _noisy(key_noise, _polar(t, 2 * jnp.pi * (turns * t + label / num_arms)), label, noise_std)


def swiss_roll(key: Key, num_samples: int, *, noise_std: ScalarLike = 0.025) -> Sample:
    """A spiral to be modelled as a density: 0.1 t (cos t, sin t) with t = 2π √u, u ~ U[¼, 4].

    The square root makes the points about equally dense along the roll, which turns one and a half times.

    Args:
        key: typed key.
        num_samples: n.
        noise_std: standard deviation of Gaussian noise added to both coordinates.

    Returns:
        Sample with x of shape [n, 2] and the parameter t in [π, 4π] as y.

    >>> sample = swiss_roll(jax.random.key(0), 1000, noise_std=0.0)
    >>> bool(jnp.allclose(jnp.linalg.norm(sample.x, axis=1), 0.1 * sample.y, rtol=1e-4))
    True

    References: Seoul National University, "Mathematical foundations of deep neural networks", homework 12.
    """
    key, num_samples = check_draw(key, num_samples)
    noise_std = noise_level(noise_std)
    key_t, key_noise = jax.random.split(key)
    t = 2 * jnp.pi * jnp.sqrt(jax.random.uniform(key_t, (num_samples,), minval=0.25, maxval=4.0))
    return _noisy(key_noise, _polar(0.1 * t, t), t, noise_std)


def swiss_roll_arms(key: Key, num_samples: int, *, noise_std: ScalarLike = 0.0) -> Sample:
    """Two parallel spirals to be told apart: radius t / 4π in class 0, t / 4π + 0.2 in class 1, at the angle t ~ U[0, 4π].

    Args:
        key: typed key.
        num_samples: n.
        noise_std: standard deviation of Gaussian noise added to both coordinates.

    Returns:
        Sample with x of shape [n, 2].

    >>> swiss_roll_arms(jax.random.key(0), 4).y
    Array([0, 1, 0, 1], dtype=int32)

    References: Haber and Ruthotto, "Stable architectures for deep neural networks", 2017, section 6.2.
    """
    key_t, key_noise, label, noise_std = _begin(key, num_samples, 2, noise_std)
    t = 4 * jnp.pi * jax.random.uniform(key_t, (num_samples,))
    return _noisy(key_noise, _polar(t / (4 * jnp.pi) + 0.2 * label, t), label, noise_std)


def swiss_roll_grid(num_points: int = 256) -> Dataset:
    """The two spirals of `swiss_roll_arms` on an even grid of angles; every other point tests.

    Args:
        num_points: half the number of intervals of [0, 4π].

    Returns:
        Dataset of NumPy arrays (float64 points, int32 labels, class 0 first): 2 num_points + 1 points to train and
        as many to test, the sizes of the published experiment.

    >>> swiss_roll_grid().x.shape
    (513, 2)

    References: Haber and Ruthotto, "Stable architectures for deep neural networks", 2017, section 6.2.
    """
    num_points = check.positive_int("num_points", num_points)
    t = np.linspace(0, 4 * np.pi, 2 * num_points + 1)
    label = np.repeat(np.arange(2, dtype=np.int32), len(t))
    angle = np.tile(t, 2)
    radius = angle / (4 * np.pi) + 0.2 * label
    x = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return Dataset(x[::2], label[::2], x[1::2], label[1::2])


def _begin(key: Key, num_samples: int, num_classes: int, noise_std: ScalarLike):
    key, num_samples = check_draw(key, num_samples)
    key_points, key_noise = jax.random.split(key)
    return key_points, key_noise, jnp.arange(num_samples, dtype=jnp.int32) % num_classes, noise_level(noise_std)


def _angles(key: Key, num_samples: int) -> Float[Array, " n"]:
    return jax.random.uniform(key, (num_samples,), maxval=2 * jnp.pi)


def _polar(radius: Any, angle: Any) -> Float[Array, "n 2"]:
    return radius[:, None] * jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=1)


def _noisy(key: Key, x: Array, y: Array, noise_std: ScalarLike) -> Sample:
    return Sample(x + noise_std * jax.random.normal(key, x.shape, x.dtype), y)
