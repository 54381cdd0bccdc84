"""Engines: functions of (units, compute) that yield each unit with its outcome, in any order."""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar, runtime_checkable

T = TypeVar("T")
R = TypeVar("R")


@runtime_checkable
class Engine(Protocol):
    """(units, compute) -> iterator of (unit, outcome).

    An engine takes units as it has room for them, since taking one claims it for this process, and finishes
    what is in flight when there are no more. `compute` can be pickled. An engine whose units run elsewhere has an
    attribute `platform`, a function that returns "cpu", "gpu" or "tpu"; else it is that of this process.
    """

    def __call__(self, units: Iterable[T], compute: Callable[[T], R]) -> Iterator[tuple[T, R]]: ...


def local(units: Iterable[T], compute: Callable[[T], R]) -> Iterator[tuple[T, R]]:
    """One unit after the other, in this process."""
    for unit in units:
        yield unit, compute(unit)
