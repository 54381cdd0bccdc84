"""Chains advanced block by block, with a checkpoint after each block."""

import os
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dlmath import check
from dlmath.train import _checkpoint


class Saving(NamedTuple):
    """Where chains are written, and after how many draws."""

    path: Any
    every: int


def checked_saving(checkpoint: Any, checkpoint_every: Any, num_draws: int) -> Saving | None:
    """What the arguments of a sampler say; TypeError or ValueError for what is no path or no number."""
    if checkpoint is None:
        if checkpoint_every is not None:
            raise ValueError(f"checkpoint_every={checkpoint_every} needs a file to write: give checkpoint=path")
        return None
    if not isinstance(checkpoint, str | os.PathLike):
        raise TypeError(f"checkpoint must be a path, got {checkpoint!r} of type {type(checkpoint).__name__}")
    every = num_draws if checkpoint_every is None else check.positive_int("checkpoint_every", checkpoint_every)
    return Saving(checkpoint, every)


def transitions(num_draws: int, num_warmup: int, thinning: int) -> np.ndarray:
    """Transitions before each kept draw, [num_draws]: the first one runs through the warm-up."""
    counts = np.full(num_draws, thinning)
    counts[0] += num_warmup
    return counts


def in_blocks(
    begin: Callable[[], Any],
    advance: Callable[[Any, Any], tuple[Any, Any]],
    counts: np.ndarray,
    saving: Saving | None,
    inputs: dict[str, Any],
) -> Any:
    """The kept draws, [chain, draw, ...], of chains that begin, or go on where their checkpoint was written.

    Args:
        begin: () -> states.
        advance: (states, transitions before each draw) -> (states, kept draws).
        counts: transitions before each draw.
        saving: where to write, or None.
        inputs: name -> arrays, or text, that the draws depend on, by which a checkpoint is known.
    """
    states = begin()
    if saving is None:
        return advance(states, counts)[1]
    if any(map(check.is_traced, jax.tree.leaves(inputs))):
        raise ValueError("checkpoint must be None under a JAX transformation, got a path")
    identity = {name: value if isinstance(value, str) else _checkpoint.digest(value) for name, value in inputs.items()}
    shapes = jax.eval_shape(advance, states, counts)[1]
    kept = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    done = 0
    stored = _checkpoint.load(saving.path, {"states": states, "kept": kept}, identity)
    if stored is not None:
        done, states = stored.step, stored.running["states"]
        kept = jax.tree.map(np.array, stored.running["kept"])
    while done < len(counts):
        end = min(done + saving.every, len(counts))
        states, block = advance(states, counts[done:end])
        for whole, part in zip(jax.tree.leaves(kept), jax.tree.leaves(block), strict=True):
            whole[:, done:end] = part
        done = end
        _checkpoint.save(saving.path, done, {"states": states, "kept": kept}, identity)
    return jax.tree.map(jnp.asarray, kept)
