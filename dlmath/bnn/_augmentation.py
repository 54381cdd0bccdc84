"""Data augmentation as a stated likelihood."""

import functools
import math
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from dlmath import check
from dlmath.bnn._posterior import Posterior
from dlmath.linalg._arguments import static
from dlmath.typing import ApplyFn


def augment(posterior: Posterior, transforms: Any, *, count: str = "once") -> Posterior:
    """The posterior of data that come with K transformed copies of every input.

    With count="once" an example counts as one: its log likelihood is the mean (1/K) Σ_k log p(y | f(t_k x)). Training on
    random crops and flips has this loss. exp of it is no density: over the classes it sums to less than 1 where the copies
    disagree, and a cold posterior makes up for that. With count="independent" every copy is an example of its own, and
    the likelihood is K times as sharp. For a likelihood that is one, see `invariant`.

    Args:
        posterior: from `posterior`.
        transforms: t_1 … t_K, functions of all inputs, x -> array like x; the identity among them if x itself is to count.
        count: "once" or "independent".

    Returns:
        The posterior with nK rows of data, transform after transform, and with count="once" K times the likelihood's
        temperature: whatever takes a posterior takes this one, and minibatches are of random copies.

    Raises:
        TypeError: for transforms that are no functions.
        ValueError: for none, one that changes the shape of x, or another count.

    >>> from dlmath.bnn import likelihoods, posterior, priors
    >>> data = jnp.array([[1.0]]), jnp.array([[1.0]])
    >>> p = posterior(lambda w, x: x @ w, priors.normal(1.0), likelihoods.gaussian(1.0), data)
    >>> both = augment(p, [lambda x: x, lambda x: -x])
    >>> w = jnp.ones((1, 1))                                               # errors 0 and 2: ½ (0 + 4/2)
    >>> print(round(float(p.log_joint(w) - both.log_joint(w)), 4))
    1.0

    Cost: K times the data.

    References: Wenzel et al. (2020), How good is the Bayes posterior in deep neural networks really? (augmentation and cold
        posteriors); Nabarro et al. (2022), Data augmentation in Bayesian neural networks and the cold posterior effect.
    """
    if not isinstance(posterior, Posterior):
        raise TypeError(f"posterior must be made by bnn.posterior, got {type(posterior).__name__}")
    check.one_of("count", count, ("once", "independent"))
    (x, y), number = posterior.data, len(_checked(transforms))
    copies = [transform(x) for transform in transforms]
    shapes = lambda tree: [jnp.shape(leaf) for leaf in jax.tree.leaves(tree)]
    for copy in copies:
        if shapes(copy) != shapes(x):
            raise ValueError(f"transforms must keep the shape of x, {shapes(x)}, got {shapes(copy)}")
    x = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *copies)
    y = jnp.concatenate([y] * number)
    factor = number if count == "once" else 1
    return replace(posterior, data=(x, y), likelihood_temperature=factor * posterior.likelihood_temperature)


def invariant(apply: ApplyFn | Any, transforms: Any, *, average: str = "outputs") -> Any:
    """The network averaged over transformed inputs, for data and predictions alike.

    With a likelihood on its outputs this is augmentation by a density: exp of the log likelihood sums to 1 over the classes.

    Args:
        apply: (params, x) -> outputs.
        transforms: as in `augment`; if they are a group, the result does not change under it.
        average: "outputs", (1/K) Σ f(t_k x); or, of logits [n, c], "probabilities": log (1/K) Σ softmax(f(t_k x)).

    Returns:
        (params, x) -> outputs like those of `apply`.

    Raises:
        TypeError: for transforms that are no functions.
        ValueError: for none, or another average.

    >>> even = invariant(lambda w, x: jnp.maximum(w * x, 0), [lambda x: x, lambda x: -x])
    >>> print(even(2.0, jnp.array([-1.0, 1.0])))
    [1. 1.]

    Cost: K forward passes.

    References: Nabarro et al. (2022), Data augmentation in Bayesian neural networks and the cold posterior effect.
    """
    check.one_of("average", average, ("outputs", "probabilities"))
    # Equal for equal arguments, so that one network compiles once; arrays bound to `apply` stay leaves.
    averaged = static("transforms", functools.partial(_averaged, _checked(transforms), average))
    return Partial(averaged.func, static("apply", apply))


def _averaged(transforms: tuple[Any, ...], average: str, apply: Any, params: Any, x: Any) -> Any:
    outputs = jnp.stack([apply(params, transform(x)) for transform in transforms])
    if average == "outputs":
        return outputs.mean(0)
    return jax.nn.logsumexp(jax.nn.log_softmax(outputs), axis=0) - math.log(len(transforms))


def _checked(transforms: Any) -> Any:
    transforms = tuple(transforms)
    if not transforms:
        raise ValueError("transforms must hold at least one function, got none")
    for transform in transforms:
        check.callable_("transforms", transform)
    return transforms
