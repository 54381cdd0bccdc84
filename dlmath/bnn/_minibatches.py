"""Potentials on minibatches, and loops over them, for the inferences that train."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from dlmath import check
from dlmath.bnn._posterior import Posterior
from dlmath.train import batch_indices


def checked_batch_size(posterior: Posterior, batch_size: int | None) -> int | None:
    """None for the full batch, or the size of a minibatch."""
    n = posterior.data[1].shape[0]
    return None if batch_size is None else check.integer("batch_size", batch_size, at_least=1, at_most=n)


def potential_at(posterior: Posterior, key: Any, step: Any, batch_size: int | None) -> Callable[[Any], Any]:
    """θ -> the potential on the minibatch of a step (`train.batch_indices`), or on all data."""
    if batch_size is None:
        return posterior.potential
    n = posterior.data[1].shape[0]
    rows = batch_indices(key, step, num_examples=n, batch_size=batch_size)
    batch = jax.tree.map(lambda leaf: leaf[rows], posterior.data)
    return lambda params: posterior.minibatch_potential(params, batch, n)


def raveled(params: Any) -> tuple[Any, Any]:
    """(θ as one array [d], its inverse), inside a program."""
    from jax.flatten_util import ravel_pytree

    return ravel_pytree(params)


def stop_if_not_finite(argument: str, value: Any, what: str) -> None:
    """ValueError where training has diverged (outside jit)."""
    if not check.is_traced(value) and not bool(jnp.isfinite(value).all()):
        raise ValueError(
            f"{argument} must be small enough for {what} to stay finite, got a run that diverged; lower it"
        )
