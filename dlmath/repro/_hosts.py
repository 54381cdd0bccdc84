"""One program on several hosts (`sharding.initialize`): process 0 leads, the others compute what it computes.

Each unit is computed by all processes together, its seeds and data spread over the devices of all of them.
Process 0 alone plans, holds locks and writes the store; the others need nothing but the paper and the config.
"""

import contextlib
import pickle
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import numpy as np

from dlmath.repro._compute import Computation
from dlmath.repro._engine import Engine
from dlmath.repro._paper import Paper

T = TypeVar("T")
R = TypeVar("R")


@contextlib.contextmanager
def leading_hosts() -> Iterator[Engine]:
    """The engine of process 0 of several: each unit is computed by all of them together, until the block ends."""
    try:
        yield lead
    finally:
        dismiss()


def follow_hosts(paper: Paper, config: Any) -> int:
    """What the other processes do: computes with process 0 until its block ends; returns the number of units.

    Args:
        paper: the same experiment as in process 0.
        config: the same settings.
    """
    return follow(Computation(paper, config))


def lead(units: Iterable[T], compute: Callable[[T], R]) -> Iterator[tuple[T, R]]:
    """The engine of process 0: one unit after the other, each announced to the processes that follow.

    They follow until `dismiss`.
    """
    for unit in units:
        _broadcast(pickle.dumps(unit))
        yield unit, compute(unit)


def follow(compute: Callable[[Any], Any]) -> int:
    """Computes the units that process 0 announces until it dismisses; returns their number. Results are dropped."""
    count = 0
    while message := _broadcast(b""):
        compute(pickle.loads(message))
        count += 1
    return count


def dismiss() -> None:
    """Ends `follow` in the other processes; called by process 0 when no more units will come."""
    _broadcast(b"")


def _broadcast(message: bytes) -> bytes:
    """Process 0's message, in every process."""
    import jax
    from jax.experimental import multihost_utils

    leads = jax.process_index() == 0
    length = int(multihost_utils.broadcast_one_to_all(np.int32(len(message)), is_source=leads))
    if not length:
        return b""
    # Powers of two: few lengths, hence few compilations.
    buffer = np.zeros(max(256, 1 << (length - 1).bit_length()), np.uint8)
    if leads:
        buffer[:length] = np.frombuffer(message, np.uint8)
    return np.asarray(multihost_utils.broadcast_one_to_all(buffer, is_source=leads))[:length].tobytes()
