"""Sharing units between processes: each is computed by whoever claims it first, and read by the others."""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import NamedTuple

from dlmath.repro._compute import Outcome
from dlmath.repro._engine import Engine
from dlmath.repro._store import UnitStore
from dlmath.repro._units import Unit

_SHORTEST, _LONGEST = 0.02, 1.0
"""Seconds between two looks at units that others are computing: doubled at each look."""


class Finished(NamedTuple):
    """A unit, its outcome, and whether it was computed by this run (else by another process meanwhile)."""

    unit: Unit
    outcome: Outcome
    here: bool


def compute_shared(
    units: Sequence[Unit],
    compute: Callable[[Unit], Outcome],
    *,
    engine: Engine,
    store: UnitStore,
    accept: Callable[..., Outcome | None],
    stop: Callable[[], bool],
) -> Iterator[Finished]:
    """Every unit with its outcome, as they come: stored before it is yielded.

    A unit is claimed by its lock when the engine takes it; one that another process holds is put off until that
    process has stored it or died. Nothing waits while units of its own are in flight, so processes that wait for
    each other cannot block.

    Args:
        units: what is needed.
        compute: unit -> outcome, executed by the engine.
        engine: how units are executed.
        store: where outcomes go.
        accept: the outcome that the store already has for a unit, if it serves; called with `locked=True`, under the
            unit's lock.
        stop: once true, no more units are begun; those in flight are finished.
    """
    waiting = list(units)
    while waiting and not stop():
        held: dict[str, Callable[[], None]] = {}
        elsewhere: list[Finished] = []
        busy: list[Unit] = []

        def claimed(waiting=waiting, held=held, elsewhere=elsewhere, busy=busy) -> Iterator[Unit]:
            for unit in waiting:
                if stop():
                    return
                release = store.try_lock(unit)
                if release is None:
                    busy.append(unit)
                    continue
                held[unit.id] = release
                outcome = accept(unit, locked=True)
                if outcome is None:
                    yield unit
                else:
                    held.pop(unit.id)()
                    elsewhere.append(Finished(unit, outcome, here=False))

        outcomes = engine(claimed(), compute)
        try:
            for unit, outcome in outcomes:
                store.write(unit, outcome)
                held.pop(unit.id)()
                yield Finished(unit, outcome, here=True)
                yield from _drained(elsewhere)
        finally:
            if isinstance(outcomes, Generator):
                outcomes.close()
            for release in held.values():
                release()
        yield from _drained(elsewhere)
        waiting = busy
        _wait(waiting, store, stop)


def _drained(finished: list[Finished]) -> Iterator[Finished]:
    while finished:
        yield finished.pop()


def _wait(units: Sequence[Unit], store: UnitStore, stop: Callable[[], bool]) -> None:
    """Returns when another process has given one of the units back."""
    pause = _SHORTEST
    while units and not stop():
        for unit in units:
            release = store.try_lock(unit)
            if release is not None:
                release()
                return
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST)
