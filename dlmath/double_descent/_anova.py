"""Bias and the symmetric decomposition of the variance of predictions over crossed sources of randomness."""

import itertools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dlmath import check
from dlmath.double_descent._arguments import floating_dtype
from dlmath.typing import Estimate


def anova(
    predictions: Any, targets: Any = None, *, names: Sequence[str] = ("samples", "init", "noise")
) -> dict[str, Estimate]:
    """Unbiased estimates of the bias and of every variance component of predictions from a crossed design.

    A prediction f(x; a, b, …) of independent sources of randomness is a sum of effects f_S, one for each set S of sources,
    that are uncorrelated; V_S = E f_S². With M_S the mean product of two predictions that share the sources in S and are
    independent in the others,

        V_S = Σ_{T ⊆ S} (−1)^{|S| − |T|} M_T,      bias = M_∅ of the residuals f − y,      risk = bias + Σ_S V_S,

    averaged over the test points. M_S is estimated by the mean over the pairs of runs that agree in S and differ in all
    others, so that all estimates are unbiased, and small ones can be negative. One source is the classical decomposition
    into bias and variance; (samples, init, noise) is that of Adlam and Pennington.

    Args:
        predictions: [levels of the first source, …, of the last, test points], every level of one crossed with every level of
            the others, each source with at least 3 levels. Several outputs count as test points, in one axis.
        targets: [test points]; without them there is no bias and no risk.
        names: of the sources, one for each axis but the last.

    Returns:
        {"samples": V, …, "samples_init": V, …, "bias": …, "risk": …}, each an Estimate whose standard error sums the
        delete-one jackknife variances over the levels of every source, which is conservative. Test points and targets are
        taken as given.

    Raises:
        ValueError, TypeError: an argument of another shape than that.

    Cost: (1 + the sum of the levels) · 2^sources passes over the predictions.

    References:
        Adlam, Pennington (2020), Understanding double descent requires a fine-grained bias-variance decomposition,
        2011.03321, section 3; Hoeffding (1948), A class of statistics with asymptotically normal distribution; for the standard
        errors of crossed designs Owen (2007), The pigeonhole bootstrap.

    >>> rows, columns = jnp.array([[-1.0], [0.0], [1.0]]), jnp.array([[2.0, 4.0, 6.0]])
    >>> parts = anova((rows + columns)[..., None], jnp.zeros(1), names=("samples", "init"))      # variances 1 and 4
    >>> print({name: round(float(part.value), 3) for name, part in parts.items()})
    {'samples': 1.0, 'init': 4.0, 'samples_init': 0.0, 'bias': 14.333, 'risk': 19.333}
    """
    if isinstance(names, str) or not names or not all(isinstance(name, str) for name in names):
        raise TypeError(f"names must be a sequence of strings, one for each source, got {names!r}")
    f = check.array("predictions", predictions, ndim=len(names) + 1)
    for name, levels in zip(names, f.shape, strict=False):
        if levels < 3:
            raise ValueError(f"predictions must have at least 3 levels of each source, got {levels} of {name!r}")
    if targets is not None:
        targets = check.array("targets", targets, ndim=1)
        if targets.shape != f.shape[-1:]:
            raise ValueError(
                f"targets must have one entry for each of the {f.shape[-1]} test points, got shape {tuple(targets.shape)}"
            )
    dtype = floating_dtype(f, targets)
    f = jnp.asarray(f, dtype)
    # Components do not depend on what is subtracted; the residuals, or deviations from the mean, lose fewest digits.
    f = f - (f.mean(tuple(range(len(names)))) if targets is None else jnp.asarray(targets, dtype))
    values, errors = _anova(f)
    sets = _subsets(len(names))
    found = {
        "_".join(names[i] for i in chosen): Estimate(values[k], errors[k]) for k, chosen in enumerate(sets) if chosen
    }
    if targets is not None:
        found["bias"], found["risk"] = Estimate(values[0], errors[0]), Estimate(values[-1], errors[-1])
    return found


def _subsets(num_sources: int) -> list[tuple[int, ...]]:
    return [s for size in range(num_sources + 1) for s in itertools.combinations(range(num_sources), size)]


@jax.jit
def _anova(f: Any) -> tuple[Any, Any]:
    """(V_∅ or bias, V_S …, risk) and their standard errors, in the order of `_subsets`."""
    sizes = f.shape[:-1]
    # Weights of the levels: all of them, then each one left out, as [1 + Σ levels, levels] for every source.
    left_out = jnp.cumsum(jnp.array((1, *sizes)))
    rows = jnp.arange(1 + sum(sizes))[:, None]
    kept = [(rows != left_out[axis] + jnp.arange(size)).astype(f.dtype) for axis, size in enumerate(sizes)]
    values = jax.lax.map(lambda weights: _components(f, weights), kept)
    variance = sum(
        (size - 1) * values[start : start + size].var(0)
        for start, size in zip(np.cumsum((1, *sizes)), sizes, strict=False)
    )
    return values[0], jnp.sqrt(variance)


def _components(f: Any, kept: list[Any]) -> Any:
    sources = range(len(kept))
    sizes = [weights.sum() for weights in kept]
    for axis, weights in enumerate(kept):
        f = f * weights.reshape([-1 if i == axis else 1 for i in range(f.ndim)])
    sets = _subsets(len(kept))
    # Sums of products over the pairs that agree at least in T …
    agree = {}
    for chosen in sets:
        summed = f.sum(tuple(i for i in sources if i not in chosen))
        agree[chosen] = (summed**2).sum() / f.shape[-1]
    # … and, by inclusion and exclusion, over those that agree in S and differ in all others.
    means = {}
    for chosen in sets:
        above = [t for t in sets if set(chosen) <= set(t)]
        total = sum((-1) ** (len(t) - len(chosen)) * agree[t] for t in above)
        count = 1.0
        for i in sources:
            count = count * sizes[i] * (1 if i in chosen else sizes[i] - 1)
        means[chosen] = total / count
    parts = [sum((-1) ** (len(chosen) - len(t)) * means[t] for t in sets if set(t) <= set(chosen)) for chosen in sets]
    return jnp.stack([*parts, means[tuple(sources)]])
