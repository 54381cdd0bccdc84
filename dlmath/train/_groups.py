"""An ensemble in groups: members of a group side by side in one program, groups on the cores of a CPU.

XLA runs a loop of small products on one core. Groups are equal programs on data of their own, so that the
host can start one on every core; each is small enough for its parameters to stay in the cache from step
to step. What a group computes does not depend on the number of threads.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dlmath import sharding
from dlmath.train._loop import Inputs, Running

_CACHE_BYTES = 8 * 2**20
"""A share of the last-level cache that today's CPUs have."""


_DEVICE_BYTES = 16 * 2**20
"""Parameters of a network that keeps an accelerator busy alone: side by side, its convolutions become grouped, which take
twice as long (`benchmarks/double_descent_deep.py`)."""

_MANY_ROWS = 128
"""Of so many rows an operation takes longer than it takes to begin, and products are faster without a batch axis."""


def default_size(params: Any, num_members: int, num_rows: int | None) -> int:
    """Members side by side: on a CPU a divisor of their number that occupies cores and cache; elsewhere all, or one.

    `num_rows` is that of the data where a step sees them all, and None where it draws a minibatch.
    """
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(params)) // num_members
    if jax.default_backend() != "cpu":
        return num_members if size < _DEVICE_BYTES else 1
    if num_rows is not None and num_rows >= _MANY_ROWS and num_members > 1:
        return 1
    # Parameters, their gradient and about as much optimizer state are read and written at every step.
    fitting = _CACHE_BYTES // (3 * max(1, size))
    most = max(1, min(fitting, num_members // sharding.num_cores()))
    return max(divisor for divisor in range(1, most + 1) if num_members % divisor == 0)


def split(axes: Any, inputs: Inputs, running: Running, size: int) -> list[tuple[Inputs, Running]]:
    """Groups of `size` members; `axes` tells which inputs members have of their own."""
    num_groups = inputs.key.shape[0] // size
    if num_groups == 1:
        return [(inputs, running)]
    hyperparameters, x, y = axes
    own = Inputs(0, dict(hyperparameters), x, y)
    choose = partial(jax.tree.map, is_leaf=lambda axis: axis is None)
    members = choose(lambda axis, leaf: None if axis is None else leaf, own, inputs)
    groups = []
    for first in range(0, num_groups * size, size):
        share, part = _part((members, running), np.int32(first), size)
        groups.append((choose(lambda axis, whole, leaf: whole if axis is None else leaf, own, inputs, share), part))
    return groups


def join(groups: Sequence[Running]) -> Running:
    """The whole ensemble again."""
    return groups[0] if len(groups) == 1 else _join(list(groups))


@partial(jax.jit, static_argnums=2)
def _part(tree: Any, first: Any, size: int) -> Any:
    """Members first, ..., first + size − 1: one small program for all groups."""
    return jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, first, size), tree)


@jax.jit
def _join(groups: list[Any]) -> Any:
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *groups)
