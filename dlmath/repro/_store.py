"""The unit store: one checksummed file a unit, shared by all scales of an experiment and by any number of processes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dlmath import files
from dlmath.repro._compute import Outcome
from dlmath.repro._units import Unit


class Stored(NamedTuple):
    """A unit read back, and when it was written, in nanoseconds of the store's own clock."""

    outcome: Outcome
    written: int


class UnitStore:
    """`results/<key>/units/<id>.npz`, with a lock beside each unit that is being computed.

    A damaged file counts as absent, and whoever holds the unit's lock moves it aside. Failures are kept in
    `results/<key>/failures/<id>.json` until the unit is computed; they are no results.
    """

    def __init__(self, results: Path, key: str) -> None:
        self.folder = results / key / "units"
        self.failures = results / key / "failures"
        self.damaged: list[Path] = []

    def path(self, unit: Unit) -> Path:
        """Where the unit is kept."""
        return self.folder / f"{unit.id}.npz"

    def now(self) -> int:
        """The store's clock, in nanoseconds."""
        return files.clock(self.folder)

    def try_lock(self, unit: Unit) -> Callable[[], None] | None:
        """Claims a unit for this process: the function that gives it back, or None if another has it."""
        return files.try_lock(self.folder / f"{unit.id}.lock")

    def read(self, unit: Unit, *, locked: bool = False) -> Stored | None:
        """The stored unit, or None. With `locked`, the caller holds the lock, and a damaged file is moved aside."""
        path = self.path(unit)
        try:
            written = path.stat().st_mtime_ns
            arrays, meta = files.read_arrays(path)
        except FileNotFoundError:
            return None
        except files.DamagedFileError:
            if locked:
                self._set_aside(path)
            return None
        variables = {name: (tuple(dims), arrays[f"variable/{name}"]) for name, dims in meta["dims"].items()}
        return Stored(Outcome(variables, arrays["status"], meta["seconds"], "", meta["provenance"]), written)

    def write(self, unit: Unit, outcome: Outcome) -> None:
        """Stores what a unit gave: its variables, or the traceback of its failure."""
        failure = self.failures / f"{unit.id}.json"
        if outcome.error:
            record = {"unit": unit.label, "seconds": outcome.seconds, "error": outcome.error}
            files.write_text(failure, json.dumps(record, indent=2))
            return
        arrays: dict[str, np.ndarray] = {f"variable/{name}": array for name, (_, array) in outcome.variables.items()}
        meta: dict[str, Any] = {
            "study": unit.study,
            "point": unit.point,
            "seeds": None if unit.seeds is None else [unit.seeds.start, unit.seeds.stop],
            "dims": {name: list(dims) for name, (dims, _) in outcome.variables.items()},
            "seconds": outcome.seconds,
            "provenance": outcome.provenance,
        }
        files.write_arrays(self.path(unit), {**arrays, "status": outcome.status}, meta, sync_folder=False)
        failure.unlink(missing_ok=True)

    def failure_since(self, unit: Unit, since: int) -> Outcome | None:
        """The failure of a unit, if it happened after the time `since`: another process need not fail again."""
        path = self.failures / f"{unit.id}.json"
        try:
            if path.stat().st_mtime_ns <= since:
                return None
            record = json.loads(path.read_text(encoding="utf-8"))
            return Outcome.failure(unit, record["error"], record["seconds"])
        except (FileNotFoundError, ValueError, KeyError):
            return None

    def sweep(self) -> None:
        """Removes what processes that died have left behind: lock files without a lock, and half-written files."""
        for path in self.folder.glob("*.lock"):
            release = files.try_lock(path)
            if release is not None:
                release()
        for path in self.folder.glob(".*.part"):
            release = files.try_lock(self.folder / f"{path.name.split('.')[1]}.lock")
            if release is not None:  # nobody is writing this unit
                path.unlink(missing_ok=True)
                release()

    def _set_aside(self, path: Path) -> None:
        aside, count = path.with_suffix(".damaged"), 1
        while aside.exists():
            aside, count = path.with_suffix(f".damaged{count}"), count + 1
        path.replace(aside)
        self.damaged.append(aside)
