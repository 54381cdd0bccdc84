"""Bias and variance of a learning algorithm, by training it on many draws of its data."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dlmath import check
from dlmath.linalg._arrays import floating_dtype
from dlmath.typing import Estimate, Key


class BiasVariance(NamedTuple):
    """The parts of a test error, averaged over test points, each with its standard error; scalars, or one for each path.

    error = bias + variance, and variance = noise_variance + sample_variance.

    Attributes:
        error: E (f̂ − f)², the excess risk.
        bias: (E f̂ − f)².
        variance: Var f̂.
        noise_variance: E Var(f̂ | sample), from the noise of the labels; NaN with one redraw of the noise.
        sample_variance: Var E(f̂ | sample), from the choice of the inputs; NaN with one redraw of the noise.
    """

    error: Estimate
    bias: Estimate
    variance: Estimate
    noise_variance: Estimate
    sample_variance: Estimate


def bias_variance(
    key: Key,
    draw: Callable[[Key, Key], tuple[Any, Any]],
    predict: Callable[[Any, Any], Any],
    target: Any,
    *,
    num_samples: int = 20,
    num_noise: int = 2,
    batch_size: int | None = None,
) -> BiasVariance:
    """Bias and variance of f̂ over redraws of the training sample and, for each, of its noise.

    Estimates of the parts are unbiased: the squared bias of a mean of R predictions is that of the mean less its
    variance, so that small ones may come out negative. Standard errors are from leaving out one sample (jackknife).

    Args:
        key: split over the redraws.
        draw: (sample key, noise key) -> (x, y), a training set; redraws of the noise share the first.
        predict: (x, y) -> predictions at fixed test points, [m], or [k, m] for a path of k regularisations.
        target: f at the test points, [m].
        num_samples: redraws of the sample, at least 2.
        num_noise: redraws of the noise for each sample; at least 2 to tell its variance from the sample's.
        batch_size: draws that are computed side by side; None for all of them, 1 for one after the other.

    Returns:
        A `BiasVariance` of arrays [] or [k].

    Raises:
        ValueError, TypeError: for fewer than two samples, or predictions that do not fit the target.

    The mean of 4 labels of noise 1 has no bias and the variance 1/4:

    >>> draw = lambda sample, noise: (None, 3 + jax.random.normal(noise, (4,)))
    >>> found = bias_variance(jax.random.key(0), draw, lambda x, y: y.mean()[None], jnp.array([3.0]), num_samples=500)
    >>> abs(float(found.variance.value) - 0.25) < 3 * float(found.variance.standard_error) < 0.1
    True

    Cost: num_samples · num_noise fits; memory for all predictions.

    References:
        Geman, Bienenstock, Doursat (1992), Neural networks and the bias/variance dilemma, section 3.
        Efron, Stein (1981), The jackknife estimate of variance.
    """
    check.key("key", key)
    check.callable_("draw", draw)
    check.callable_("predict", predict)
    target = check.array("target", target, ndim=1)
    num_samples = check.integer("num_samples", num_samples, at_least=2)
    num_noise = check.positive_int("num_noise", num_noise)
    if batch_size is not None:
        batch_size = check.positive_int("batch_size", batch_size)
    target = jnp.asarray(target, floating_dtype(target))
    sample_root, noise_root = jax.random.split(key)

    def one(number: Any) -> Any:
        sample_key = jax.random.fold_in(sample_root, number // num_noise)
        return predict(*draw(sample_key, jax.random.fold_in(noise_root, number)))

    shape = jax.eval_shape(one, 0).shape
    if shape[-1:] != target.shape or len(shape) not in (1, 2):
        raise ValueError(
            f"predict must return predictions at the {len(target)} test points, [{len(target)}] or [k, {len(target)}], "
            f"got shape {shape}"
        )
    numbers = jnp.arange(num_samples * num_noise)
    run = jax.vmap(one) if batch_size is None else lambda numbers: jax.lax.map(one, numbers, batch_size=batch_size)
    predictions = jax.jit(run)(numbers).reshape(num_samples, num_noise, *shape)
    return _jackknife(predictions, target)


@jax.jit
def _jackknife(predictions: Any, target: Any) -> BiasVariance:
    """Of predictions [sample, noise, *k, m]: the parts from sums over samples, all and all but one."""
    num_samples, num_noise = predictions.shape[:2]
    centred = predictions - target
    means = centred.mean(1)
    within = ((centred - means[:, None]) ** 2).sum(1).mean(-1)
    square = (centred**2).mean((1, -1))
    # Deviations of the means from the mean over samples: their sums with one left out do not cancel.
    centre = means.mean(0)
    offset = means - centre
    spread = (offset**2).mean(-1)
    total_square, total_within, total_spread = square.sum(0), within.sum(0), spread.sum(0)

    def parts(count: Any, square: Any, within: Any, spread: Any, mean: Any, shift: Any) -> tuple[Any, ...]:
        """From `count` samples of sums `square`, `within`, `spread` around `centre`, and mean `centre` + `shift`."""
        error = square / count
        between = (spread - count * (shift**2).mean(-1)) / (count - 1)
        noise = within / (count * max(num_noise - 1, 1))
        sample = between - noise / num_noise
        variance = noise + sample if num_noise > 1 else between
        bias = (mean**2).mean(-1) - between / count
        if num_noise == 1:
            noise = sample = jnp.full_like(error, jnp.nan)
        return error, bias, variance, noise, sample

    whole = parts(num_samples, total_square, total_within, total_spread, centre, jnp.zeros_like(centre))

    def without(i: Any) -> tuple[Any, ...]:
        shift = -offset[i] / (num_samples - 1)
        rest = total_square - square[i], total_within - within[i], total_spread - spread[i]
        return parts(num_samples - 1, rest[0], rest[1], rest[2], centre + shift, shift)

    if num_samples < 3:
        return BiasVariance._make(Estimate(v, jnp.full_like(v, jnp.nan)) for v in whole)
    replicates = jax.lax.map(without, jnp.arange(num_samples))
    factor = (num_samples - 1) / num_samples
    errors = (jnp.sqrt(factor * ((r - r.mean(0)) ** 2).sum(0)) for r in replicates)
    return BiasVariance._make(Estimate(v, e) for v, e in zip(whole, errors, strict=True))
