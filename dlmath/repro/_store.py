"""The unit store: one checksummed file a unit, shared by all scales of an experiment."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dlmath import files
from dlmath.repro._compute import Outcome
from dlmath.repro._units import Unit


class Stored(NamedTuple):
    """A unit read back: its outcome and the provenance under which it was computed."""

    outcome: Outcome
    provenance: dict[str, Any]


class UnitStore:
    """`results/<key>/units/<id>.npz`. A damaged file is moved aside and counts as absent."""

    def __init__(self, results: Path, key: str) -> None:
        self.folder = results / key / "units"
        self.damaged: list[Path] = []

    def path(self, unit: Unit) -> Path:
        """Where the unit is kept."""
        return self.folder / f"{unit.id}.npz"

    def read(self, unit: Unit) -> Stored | None:
        """The stored unit, or None."""
        path = self.path(unit)
        try:
            arrays, meta = files.read_arrays(path)
        except FileNotFoundError:
            return None
        except files.DamagedFileError:
            aside = path.with_suffix(".damaged")
            path.replace(aside)
            self.damaged.append(aside)
            return None
        variables = {name: (tuple(dims), arrays[f"variable/{name}"]) for name, dims in meta["dims"].items()}
        return Stored(Outcome(variables, arrays["status"], meta["seconds"], ""), meta["provenance"])

    def write(self, unit: Unit, outcome: Outcome, provenance: dict[str, Any]) -> None:
        """Stores a unit that was computed; failures are not results and are refused."""
        if outcome.error:
            raise ValueError(f"outcome of unit {unit.id} is a failure; only results are stored")
        arrays: dict[str, np.ndarray] = {f"variable/{name}": array for name, (_, array) in outcome.variables.items()}
        meta = {
            "study": unit.study,
            "point": unit.point,
            "seeds": None if unit.seeds is None else [unit.seeds.start, unit.seeds.stop],
            "dims": {name: list(dims) for name, (dims, _) in outcome.variables.items()},
            "seconds": outcome.seconds,
            "provenance": provenance,
        }
        files.write_arrays(self.path(unit), {**arrays, "status": outcome.status}, meta)
