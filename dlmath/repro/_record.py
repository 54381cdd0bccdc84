"""The record of a run: one folder, written once, whose manifest makes every altered byte show."""

import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dlmath import files
from dlmath.repro import _identity
from dlmath.repro._judge import Judgement
from dlmath.repro._paper import Paper
from dlmath.repro._results import Results

MANIFEST = "manifest.json"


class StoredRun(NamedTuple):
    """A run read back from its folder, every byte checked against the manifest.

    Attributes:
        folder: `results/<key>/<scale>/<run>`.
        record: what was run, where and at what cost: key, title, abstract, deviations, scale, config, precision,
            command, units (numbers), seconds, cost_seconds (with the time of reused units), peak_memory (bytes),
            finished (UTC), environment, code and provenance (a study), errors, non_finite, damaged.
        claims: a judgement a claim, in the file's order.
        figures: SVG files by title.
        text: the experiment's file as it was executed.
    """

    folder: Path
    record: dict[str, Any]
    claims: list[Judgement]
    figures: dict[str, Path]
    text: str

    @property
    def key(self) -> str:
        """Key of the paper."""
        return self.record["key"]

    @property
    def scale(self) -> str:
        """Scale of the run, "custom" where its settings are none of the scales or only a part was run."""
        return self.record["scale"]

    def claim(self, name: str) -> Judgement | None:
        """The judgement of the claim `name`, or None."""
        return next((row for row in self.claims if row.name == name), None)

    def results(self) -> Results:
        """The stored arrays, a Dataset a study, read into memory."""
        import xarray as xr

        with xr.open_datatree(self.folder / "results.zarr", engine="zarr", consolidated=False) as stored:
            return Results({name: node.to_dataset().load() for name, node in stored.children.items()})

    def changes_since(self, paper: Paper, *, provenance: bool = True) -> list[str]:
        """What has changed since the run, such as "jax 0.10.1, now 0.10.2": empty if the run is up to date."""
        return changes_since(self.record, paper, provenance=provenance)

    def changes_below(self, paper: Paper) -> list[str]:
        """The part of `changes_since` that is not the experiment's own: dlmath and the packages underneath."""
        own = self.changes_since(paper, provenance=False)
        return [text for text in self.changes_since(paper) if text not in own]

    def figures_changed_since(self, paper: Paper) -> bool:
        """Whether the code that draws the figures is another now. It changes no number."""
        return _identity.figures_code(self.text, paper) != _identity.figures_code(paper.text, paper)


def changes_since(record: Mapping[str, Any], paper: Paper, *, provenance: bool = True) -> list[str]:
    """What has changed since a run was recorded; empty if it is up to date.

    Args:
        record: of a stored run, or of one recorded in an index.
        paper: the experiment as it is now.
        provenance: also say what has changed underneath: dlmath's subpackages and the packages below. Such results
            are stale; without it, only what makes them results of another experiment.
    """
    found: list[str] = []
    below: list[str] = []
    for name, study in paper.experiment.studies.items():
        code = _identity.study_code(paper, study)
        if name not in record["code"]:
            found.append(f"study {name!r} is new")
        elif record["code"][name] != _identity.digest(code):
            found.append(f"the code of study {name!r} has changed")
        else:
            below += _differences(record["provenance"][name], _identity.provenance(code))
    if record["claims_code"] != _identity.claims_digest(paper):
        found.append("the claims have changed")
    units = record["units"]  # an index keeps two of the numbers
    if (stale := units["stale"] if isinstance(units, Mapping) else record["stale"]) and not below:
        below.append(f"{stale} units were reused from other versions")
    return list(dict.fromkeys([*found, *(below if provenance else ())]))


def write_record(
    scale_folder: Path,
    record: Mapping[str, Any],
    claims: list[Judgement],
    results: Results,
    figures: Mapping[str, Any],
    text: str,
) -> Path:
    """Writes the run's folder under another name, then renames it, then points `latest` at it."""
    _sweep(scale_folder)
    name = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{secrets.token_hex(4)}"
    folder = scale_folder / f".{name}.part"
    release = files.try_lock(scale_folder / f".{name}.lock")
    try:
        folder.mkdir()
        files.write_text(folder / "run.json", json.dumps(record, indent=2, ensure_ascii=False))
        rows = [row._asdict() for row in claims]
        files.write_text(folder / "claims.json", json.dumps(rows, indent=2, ensure_ascii=False))
        files.write_text(folder / "experiment.py", text)
        results.datatree().to_zarr(folder / "results.zarr", consolidated=False, zarr_format=3)
        for title, figure in figures.items():
            (folder / "figures").mkdir(exist_ok=True)
            figure.savefig(folder / "figures" / f"{title}.svg", metadata={"Date": None})
        hashes = {name: files.sha256(folder / name) for name in _contents(folder)}
        files.write_text(folder / MANIFEST, _manifest(hashes))
        folder.rename(scale_folder / name)
        files.write_text(scale_folder / "latest", name + "\n")
    finally:
        if release is not None:
            release()
    return scale_folder / name


def read_run(folder: str | os.PathLike[str]) -> StoredRun:
    """The run stored in a folder.

    Raises:
        FileNotFoundError: if there is no such folder.
        files.DamagedFileError: naming the file that is missing, unknown or does not match the manifest.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"no run is stored in {folder}")
    listed = _read_manifest(folder / MANIFEST)
    present = _contents(folder)
    for name in sorted({*listed, *present}):
        if name not in listed:
            raise files.DamagedFileError(f"{folder / name} is not in the run's manifest; run the experiment again")
        if name not in present:
            raise files.DamagedFileError(f"{folder / name} is missing; run the experiment again")
        if files.sha256(folder / name) != listed[name]:
            raise files.DamagedFileError(f"{folder / name} does not match its manifest; run the experiment again")
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    claims = [Judgement(**row) for row in json.loads((folder / "claims.json").read_text(encoding="utf-8"))]
    figures = {path.stem: path for path in sorted((folder / "figures").glob("*.svg"))}
    return StoredRun(folder, record, claims, figures, (folder / "experiment.py").read_text(encoding="utf-8"))


def latest_run(results: str | os.PathLike[str], key: str, scale: str) -> StoredRun | None:
    """The latest run of an experiment at a scale, or None if there is none.

    Raises:
        files.DamagedFileError: if the run, or the file that points at it, is damaged.
    """
    pointer = Path(results) / key / scale / "latest"
    if not pointer.is_file():
        if runs(results, key, scale):
            raise files.DamagedFileError(f"{pointer} is missing; run {key} again")
        return None
    try:
        return read_run(pointer.parent / pointer.read_text(encoding="utf-8").removesuffix("\n"))
    except (FileNotFoundError, UnicodeDecodeError, ValueError) as error:
        if isinstance(error, files.DamagedFileError):
            raise
        raise files.DamagedFileError(f"{pointer} points at no run; run {key} again") from error


def set_aside_damaged(scale_folder: Path) -> list[Path]:
    """Moves the latest run aside if it is damaged: what was moved, or the pointer to it that is damaged."""
    results, key, scale = scale_folder.parents[1], scale_folder.parent.name, scale_folder.name
    try:
        latest_run(results, key, scale)
    except files.DamagedFileError:
        pointer = scale_folder / "latest"
        try:
            folder = scale_folder / pointer.read_text(encoding="utf-8").removesuffix("\n")
            aside = folder.with_name(f"{folder.name}.damaged")
            folder.rename(aside)
        except (OSError, ValueError):
            return [pointer]
        return [aside]
    return []


def runs(results: str | os.PathLike[str], key: str, scale: str) -> list[Path]:
    """Folders of all stored runs of an experiment at a scale, oldest first."""
    folder = Path(results) / key / scale
    found = (path.parent for path in folder.glob(f"*/{MANIFEST}"))
    return sorted(path for path in found if not path.name.startswith(".") and path.suffix != ".damaged")


def _sweep(scale_folder: Path) -> None:
    """Removes the half-written records of processes that died."""
    for folder in scale_folder.glob(".*.part"):
        release = files.try_lock(folder.with_suffix(".lock"))
        if release is not None:
            shutil.rmtree(folder, ignore_errors=True)
            release()


def _contents(folder: Path) -> list[str]:
    """Every file of a run but its manifest, by its path inside the folder."""
    paths = (path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file())
    return [name for name in paths if name != MANIFEST]


def _manifest(listed: Mapping[str, str]) -> str:
    """The manifest's text: hashes of the files, and a hash of those, so that it vouches for itself."""
    listing = json.dumps(dict(listed), sort_keys=True).encode()
    return json.dumps({"files": dict(listed), "sha256": hashlib.sha256(listing).hexdigest()}, indent=2, sort_keys=True)


def _read_manifest(path: Path) -> dict[str, str]:
    try:
        content = path.read_bytes()
        listed = json.loads(content)["files"]
        if _manifest(listed).encode() == content:
            return listed
    except FileNotFoundError as error:
        raise files.DamagedFileError(f"{path} is missing; run the experiment again") from error
    except (ValueError, KeyError, TypeError):
        pass
    raise files.DamagedFileError(f"{path} was altered; run the experiment again")


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    found = []
    for name, version in now["packages"].items():
        if before["packages"].get(name) != version:
            found.append(f"{name} {before['packages'].get(name, 'was absent')}, now {version}")
    for name in sorted({*before["dlmath"], *now["dlmath"]}):
        if before["dlmath"].get(name) != now["dlmath"].get(name):
            found.append(f"dlmath.{name} has changed")
    return found
