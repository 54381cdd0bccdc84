"""Which examples each minibatch holds, as a function of (key, step) alone.

Indices are drawn a block at a time (hashing a key costs more than a small network's forward pass) and a
block's number follows from the step, so that a run that resumes anywhere draws the same batches.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from dlmath.typing import Key


def draw_block(
    key: Key, block: Any, *, num_examples: int, batch_size: int, replacement: bool
) -> Int[Array, "step batch"]:
    """The batches of one block of n // batch_size steps.

    Without replacement a block is an epoch: a permutation of the examples, cut into batches; the last
    n mod batch_size of the permutation are left out (other ones in every epoch). With replacement every
    index is uniform and independent.
    """
    num_batches = num_examples // batch_size
    key = jax.random.fold_in(key, block)
    if replacement:
        return jax.random.randint(key, (num_batches, batch_size), 0, num_examples, dtype=jnp.int32)
    order = jax.random.permutation(key, num_examples).astype(jnp.int32)
    return order[: num_batches * batch_size].reshape(num_batches, batch_size)


def batch_indices(
    key: Key, step: Any, *, num_examples: int, batch_size: int, replacement: bool = False
) -> Int[Array, " batch"]:
    """The examples of the minibatch that `fit` uses at `step` when it is given `key`.

    Args:
        key: the key given to `fit`.
        step: number of the update, from 0; may be traced.
        num_examples: n, rows of the data.
        batch_size: rows of a minibatch, at most n.
        replacement: False for shuffled epochs, True for independent draws.

    Returns:
        Row numbers into the data.

    Example: one epoch visits every example once.

    >>> batches = [batch_indices(jax.random.key(0), t, num_examples=6, batch_size=2) for t in range(3)]
    >>> sorted(int(i) for batch in batches for i in batch)
    [0, 1, 2, 3, 4, 5]
    """
    block, position = jnp.divmod(step, num_examples // batch_size)
    table = draw_block(
        stream_keys(key)[0], block, num_examples=num_examples, batch_size=batch_size, replacement=replacement
    )
    return table[position]


def stream_keys(key: Key) -> tuple[Key, Key, Key]:
    """The keys of minibatches, of augmentation and of the network's own noise."""
    batches, augmentation, network = jax.random.split(key, 3)
    return batches, augmentation, network
