"""Engines: functions of (units, compute) that yield each unit with its outcome, in any order."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar, runtime_checkable

T = TypeVar("T")
R = TypeVar("R")


@runtime_checkable
class Engine(Protocol):
    """(units, compute) -> iterator of (unit, outcome)."""

    def __call__(self, units: Sequence[T], compute: Callable[[T], R]) -> Iterator[tuple[T, R]]: ...


def local(units: Sequence[T], compute: Callable[[T], R]) -> Iterator[tuple[T, R]]:
    """One unit after the other, in this process."""
    for unit in units:
        yield unit, compute(unit)
