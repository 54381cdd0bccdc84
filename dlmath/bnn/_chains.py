"""Chains advanced block by block, with a checkpoint after each block, and one by one on the cores of a CPU."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dlmath import check, sharding
from dlmath.train import _checkpoint


class Saving(NamedTuple):
    """Where chains are written, and after how many draws."""

    path: Any
    every: int


def checked_saving(checkpoint: Any, checkpoint_every: Any, num_draws: int) -> Saving | None:
    """What the arguments of a sampler say; TypeError or ValueError for what is no path or no number."""
    every = _checkpoint.checked_interval(checkpoint, checkpoint_every)
    if checkpoint is None:
        return None
    return Saving(checkpoint, num_draws if every is None else every)


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


def on_cores(advance: Callable[..., Any], chains: tuple[Any, ...], counts: Any, *, traced: bool) -> Any:
    """advance(*chains, counts), of one chain at a time on each core of a CPU; of all at once elsewhere.

    In a `vmap` the chain with the longest trajectory keeps all others waiting, and XLA runs a loop of small products on one
    core. What a chain draws does not depend on the number of cores.

    Args:
        advance: a compiled function of pytrees with a leading axis of chains, and of what all chains share.
        chains: these pytrees.
        counts: transitions before each draw; a call with none of them compiles the program.
        traced: whether something that `advance` holds is an argument of a JAX transformation.
    """
    leaves = jax.tree.leaves(chains)
    num_chains = leaves[0].shape[0]
    together = jax.default_backend() != "cpu" or sharding.is_sharded(chains)
    if num_chains == 1 or traced or together or any(map(check.is_traced, leaves)):
        return advance(*chains, counts)
    parts = [jax.tree.map(lambda leaf, i=i: leaf[i : i + 1], chains) for i in range(num_chains)]
    # Threads that met a new program would all compile it.
    advance(*parts[0], np.zeros_like(counts))
    with sharding.workers(num_chains) as each:
        found = each(lambda part: advance(*part, counts), parts)
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *found)
