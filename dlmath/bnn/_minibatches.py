"""Potentials on minibatches, and loops over them, for the inferences that train."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dlmath import check
from dlmath.bnn._posterior import Posterior
from dlmath.train._batches import draw_block, stream_keys


def checked_batch_size(posterior: Posterior, batch_size: int | None) -> int | None:
    """None for the full batch, or the size of a minibatch."""
    n = posterior.data[1].shape[0]
    return None if batch_size is None else check.integer("batch_size", batch_size, at_least=1, at_most=n)


class Minibatches(NamedTuple):
    """The minibatches of a training loop, those of `train.batch_indices`, or all data at every step.

    An epoch's are drawn at its first step and carried through the loop: a permutation at every step would cost more than
    the gradient of a small network.
    """

    posterior: Posterior
    key: Any
    batch_size: int | None

    @property
    def start(self) -> Any:
        """What the loop carries, to be given to `potential_at` at step 0."""
        if self.batch_size is None:
            return None
        return jnp.zeros((self._num_examples // self.batch_size, self.batch_size), jnp.int32)

    def potential_at(self, table: Any, step: Any) -> tuple[Callable[[Any], Any], Any]:
        """(θ -> the potential on the minibatch of a step, what the loop carries on), steps being taken in order."""
        if self.batch_size is None:
            return self.posterior.potential, None
        batch, table = self.batch_at(table, step)
        return lambda params: self.posterior.minibatch_potential(params, batch), table

    def batch_at(self, table: Any, step: Any) -> tuple[Any, Any]:
        """((x, y) of a step, what the loop carries on), steps being taken in order."""
        n, size = self._num_examples, self.batch_size
        if size is None:
            return self.posterior.data, None
        epoch, position = jnp.divmod(step, n // size)
        key = stream_keys(self.key)[0]
        draw = lambda: draw_block(key, epoch, num_examples=n, batch_size=size, replacement=False)
        table = jax.lax.cond(position == 0, draw, lambda: table)
        return jax.tree.map(lambda leaf: leaf[table[position]], self.posterior.data), table

    @property
    def _num_examples(self) -> int:
        return self.posterior.data[1].shape[0]


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
