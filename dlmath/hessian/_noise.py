"""The gradient noise scale."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dlmath import check
from dlmath.hessian._batches import StaticInt, num_rows
from dlmath.hessian._operator import checked_params, expect_scalar, on_device, static
from dlmath.typing import Estimate, ObjectiveFn, Params


class GradientNoise(NamedTuple):
    """Noise of the gradient of one example, against the gradient.

    Attributes:
        scale: B = tr Σ / |G|², in examples.
        covariance_trace: tr Σ, the summed variances of the gradient of one example.
        squared_gradient: |G|², the squared norm of the expected gradient.
    """

    scale: Estimate
    covariance_trace: Estimate
    squared_gradient: Estimate


def gradient_noise_scale(
    objective: ObjectiveFn | Any, params: Params, *data: Any, batch_size: int = 1
) -> GradientNoise:
    """The simple noise scale B = tr Σ / |G|² of stochastic gradients.

    For g_i = ∇_θ L(θ, example i) with expectation G and covariance Σ over the distribution of examples: a gradient
    over B examples has as much noise as signal. From n examples with mean gradient ḡ,

        tr Σ ≈ (Σ_i ‖g_i‖² − n ‖ḡ‖²) / (n − 1),    |G|² ≈ ‖ḡ‖² − tr Σ / n,

    both unbiased; their ratio is so to O(1/n). Standard errors are those of the jackknife over examples.

    Args:
        objective: (params, *data) -> scalar, a mean or a sum over the rows of its data; called with one row at a time.
        params: θ, any pytree of floating arrays.
        data: pytrees of arrays with n ≥ 3 rows each, independent draws.
        batch_size: gradients of examples held at a time; memory is batch_size · P.

    Returns:
        A `GradientNoise`. Where n is much less than B the gradient is lost in noise: |G|² and B may then be negative,
        and their standard errors say so.

    Raises:
        TypeError: for parameters that are not floating, or an objective that cannot be called.
        ValueError: for an objective that is not scalar, or fewer than three rows.

    Gradients θ − x of ½(θ − x)² at θ = 2 with x = 0, 1, 2, 3: tr Σ = 5/3, |G|² = ¼ − 5/12:

    >>> noise = gradient_noise_scale(lambda w, x: jnp.mean((w - x) ** 2) / 2, jnp.array(2.0), jnp.arange(4.0))
    >>> print(f"{noise.covariance_trace.value:.4f} {noise.squared_gradient.value:.4f}")
    1.6667 -0.1667

    Cost: one gradient of all data and n of one example. Usable inside `jit`.

    References:
        McCandlish, Kaplan, Amodei et al. (2018), An empirical model of large-batch training, eq. 2.9 (1812.06162).
    """
    batch_size = check.positive_int("batch_size", batch_size)
    objective, params, data = static("objective", objective), checked_params(params), on_device(data)
    rows = num_rows(data)
    if rows < 3:
        raise ValueError(f"data must have at least 3 rows, got {rows}")
    row = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((1, *leaf.shape[1:]), leaf.dtype), data)
    expect_scalar("objective", jax.eval_shape(lambda p, d: objective(p, *d), params, row))
    return _noise(objective, params, data, StaticInt(min(batch_size, rows)))


@jax.jit
def _noise(objective: Any, params: Any, data: Any, batch_size: Any) -> GradientNoise:
    rows = num_rows(data)

    def single(p: Any, example: Any) -> Any:
        return objective(p, *jax.tree.map(lambda leaf: leaf[None], example))

    mean = jax.grad(lambda p: jnp.mean(jax.vmap(single, (None, 0))(p, data)))(params)

    def products(example: Any) -> tuple[Any, Any]:
        gradient = jax.grad(single)(params, example)
        # About the mean, so that nothing cancels where it is large: d_i = g_i − ḡ, ‖d_i‖² and ⟨d_i, ḡ⟩.
        centred = jax.tree.map(jnp.subtract, gradient, mean)
        return _dot(centred, centred), _dot(centred, mean)

    squares, along = jax.lax.map(products, data, batch_size=batch_size)
    length = _dot(mean, mean)
    everything = _estimates(rows, jnp.sum(squares), length)

    # Without example i the mean is ḡ − d_i/(n − 1), and squares about it sum to Σ_j ‖d_j‖² − n/(n − 1) ‖d_i‖².
    left = _estimates(
        rows - 1,
        jnp.sum(squares) - rows / (rows - 1) * squares,
        length - 2 * along / (rows - 1) + squares / (rows - 1) ** 2,
    )
    return GradientNoise(
        *(
            Estimate(value, jnp.sqrt((rows - 1) / rows * jnp.sum((each - jnp.mean(each)) ** 2)))
            for value, each in zip(everything, left, strict=True)
        )
    )


def _estimates(rows: int, squares: Any, length: Any) -> tuple[Any, Any, Any]:
    """B, tr Σ and |G|² of `rows` examples from Σ ‖g_i − ḡ‖² and ‖ḡ‖²."""
    trace = squares / (rows - 1)
    signal = length - trace / rows
    return trace / signal, trace, signal


def _dot(a: Any, b: Any) -> Any:
    return sum(jnp.vdot(p, q) for p, q in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))
