"""Known functions seen through samples."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, ScalarLike

from dlmath import check
from dlmath.data._sample import Sample, check_draw, noise_level
from dlmath.typing import Key


def peaks(x: Float[Array | np.ndarray, "*batch 2"]) -> Float[Array, "*batch"]:
    """The `peaks` surface, from -6.5497 to 8.1054 on the 256 x 256 grid of [-3, 3]².

    f(u, v) = 3 (1 - u)² e^(-u² - (v + 1)²) - 10 (u/5 - u³ - v⁵) e^(-u² - v²) - e^(-(u + 1)² - v²) / 3

    Args:
        x: points (u, v), [..., 2].

    Returns:
        f, [...].

    >>> round(float(peaks(jnp.zeros(2))), 5)  # 8 / 3e
    0.98101

    References: the function of that name in MATLAB.
    """
    x = check.array("x", x)
    if x.ndim == 0 or x.shape[-1] != 2:
        raise ValueError(f"x must hold points of the plane, [..., 2], got shape {x.shape}")
    u, v = jnp.moveaxis(jnp.asarray(x), -1, 0)
    return _peaks(u, v, jnp.exp)


def peaks_regression(key: Key, num_samples: int, *, noise_std: ScalarLike = 0.0) -> Sample:
    """Values of `peaks` at uniform points of [-3, 3]².

    Args:
        key: typed key.
        num_samples: n.
        noise_std: standard deviation of Gaussian noise added to the values.

    Returns:
        Sample with x of shape [n, 2] and real y.

    >>> peaks_regression(jax.random.key(0), 5).y.shape
    (5,)
    """
    key, num_samples = check_draw(key, num_samples)
    noise_std = noise_level(noise_std)
    key_x, key_noise = jax.random.split(key)
    x = jax.random.uniform(key_x, (num_samples, 2), minval=-3.0, maxval=3.0)
    return Sample(x, peaks(x) + noise_std * jax.random.normal(key_noise, (num_samples,)))


def peaks_classification(key: Key, num_samples: int, *, num_classes: int = 5, grid_size: int = 256) -> Sample:
    """Points of a grid on [-3, 3]², classified by which of equally high slices of `peaks` they lie in.

    Class k is where min f + k h < f <= min f + (k + 1) h, with h = (max f - min f) / num_classes over the grid.
    Labels cycle 0, 1, ..., so that classes are balanced although, for five classes, they cover
    2.8, 12.2, 72.6, 9.7 and 2.7 % of the square.

    Args:
        key: typed key.
        num_samples: n; points are drawn with replacement among those of the class.
        num_classes: number of slices, at least 2; each must hold a grid point.
        grid_size: grid points along an axis, at least 2.

    Returns:
        Sample with x of shape [n, 2] and int32 labels. Time O(grid_size² + n).

    >>> peaks_classification(jax.random.key(0), 6).y
    Array([0, 1, 2, 3, 4, 0], dtype=int32)

    References: Emory University, "Numerical methods for deep learning", example of classification.
    """
    key, num_samples = check_draw(key, num_samples)
    num_classes = check.integer("num_classes", num_classes, at_least=2)
    grid_size = check.integer("grid_size", grid_size, at_least=2)
    axis = np.linspace(-3.0, 3.0, grid_size)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    # The grid does not depend on the key, so its classes are found once, in float64, by NumPy.
    classes = _slices(grid, num_classes)
    counts = np.bincount(classes, minlength=num_classes)
    if not counts.all():
        raise ValueError(
            f"num_classes must leave a grid point in every slice, got {num_classes} slices of a grid of {grid_size}²; "
            "use fewer classes or a finer grid"
        )
    order = np.argsort(classes, kind="stable")
    label = jnp.arange(num_samples, dtype=jnp.int32) % num_classes
    first = jnp.asarray(np.cumsum(counts) - counts, jnp.int32)[label]
    member = jax.random.randint(key, (num_samples,), 0, jnp.asarray(counts, jnp.int32)[label], jnp.int32)
    return Sample(jnp.asarray(grid[order], jnp.result_type(float))[first + member], label)


def noisy_sine(
    key: Key,
    num_samples: int,
    *,
    low: ScalarLike = 0.0,
    high: ScalarLike = 2 * np.pi,
    frequency: ScalarLike = 1.0,
    noise_std: ScalarLike = 0.1,
) -> Sample:
    """Noisy values of a sine: y = sin(frequency · x) + σ ε at x ~ U[low, high].

    Args:
        key: typed key.
        num_samples: n.
        low: lower end of the inputs.
        high: upper end, above `low`.
        frequency: angular frequency, radians per unit of x.
        noise_std: σ, at least 0.

    Returns:
        Sample with x of shape [n, 1] and real y.

    >>> noisy_sine(jax.random.key(0), 5).x.shape
    (5, 1)
    """
    key, num_samples = check_draw(key, num_samples)
    low, frequency, noise_std = check.real("low", low), check.real("frequency", frequency), noise_level(noise_std)
    lowest: Any = None if check.is_traced(low) else low
    high = check.real("high", high, above=lowest)
    key_x, key_noise = jax.random.split(key)
    x = jax.random.uniform(key_x, (num_samples,), minval=low, maxval=high)
    return _on_a_line(key_noise, x, jnp.sin(frequency * x), noise_std)


def cosine_ramp(key: Key, num_samples: int, *, noise_std: ScalarLike = 0.0) -> Sample:
    """Values of f(x) = (x - 2) cos 4x at x ~ N(0, 1), with noise.

    Args:
        key: typed key.
        num_samples: n.
        noise_std: standard deviation of Gaussian noise added to the values, at least 0.

    Returns:
        Sample with x of shape [n, 1] and real y.

    >>> sample = cosine_ramp(jax.random.key(0), 30)
    >>> bool(jnp.allclose(sample.y, (sample.x[:, 0] - 2) * jnp.cos(4 * sample.x[:, 0])))
    True

    References: Seoul National University, "Mathematical foundations of deep neural networks", homework 2.
    """
    key, num_samples = check_draw(key, num_samples)
    noise_std = noise_level(noise_std)
    key_x, key_noise = jax.random.split(key)
    x = jax.random.normal(key_x, (num_samples,))
    return _on_a_line(key_noise, x, (x - 2) * jnp.cos(4 * x), noise_std)


def _on_a_line(key: Key, x: Array, values: Array, noise_std: Any) -> Sample:
    return Sample(x[:, None], values + noise_std * jax.random.normal(key, x.shape, x.dtype))


def _peaks(u: Any, v: Any, exp: Callable) -> Any:
    return (
        3 * (1 - u) ** 2 * exp(-(u**2) - (v + 1) ** 2)
        - 10 * (u / 5 - u**3 - v**5) * exp(-(u**2) - v**2)
        - exp(-((u + 1) ** 2) - v**2) / 3
    )


def _slices(grid: np.ndarray, num_classes: int) -> np.ndarray:
    heights = _peaks(grid[:, 0], grid[:, 1], np.exp)
    edges = np.linspace(heights.min(), heights.max(), num_classes + 1)[1:-1]
    return np.searchsorted(edges, heights, side="left")
