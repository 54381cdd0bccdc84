"""The results behind a review: stored runs, and for claims also runs recorded in the index of experiments."""

import dataclasses
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dlmath import check, files, workspace
from dlmath._wording import duration


class Source(NamedTuple):
    """One run that numbers can be quoted from.

    Attributes:
        scale: smoke, laptop or paper.
        claims: name -> judgement, as a mapping.
        figures: title -> SVG file; none for a run that is recorded but not stored here.
        config: the run's settings.
        command, finished, environment, seconds: how it was made, for a reader.
        stored: whether the run lies in the results folder.
        changes: what has changed in the experiment since: with any, the numbers are another experiment's.
        below: what has changed underneath, in dlmath and the packages below, which readers are told.
        old_figures: whether the code that draws the figures has changed since.
    """

    scale: str
    claims: dict[str, dict[str, Any]]
    figures: dict[str, Path]
    config: dict[str, Any]
    command: str
    finished: str
    environment: str
    seconds: str
    stored: bool
    changes: tuple[str, ...]
    below: tuple[str, ...]
    old_figures: bool


class Fault(NamedTuple):
    """Why there is no evidence: at a scale, or at all if `scale` is empty."""

    scale: str
    path: Path
    message: str
    remedy: str


class Evidence(NamedTuple):
    """Everything measured about a paper, the largest scale first, and what is wrong with it.

    Attributes:
        key: the paper.
        sources: at most one run a scale.
        claims: names of the claims that the experiment makes today.
        settings: names of its settings.
        faults: damaged runs, and an experiment that cannot be loaded.
    """

    key: str
    sources: tuple[Source, ...]
    claims: tuple[str, ...]
    settings: tuple[str, ...]
    faults: tuple[Fault, ...]


def gather(root: str | os.PathLike[str], key: str, results: str | os.PathLike[str] | None = None) -> Evidence:
    """Reads the latest stored run of each scale, else the run recorded in `experiments/index.json`."""
    from dlmath import repro

    root = Path(root)
    folder = workspace.experiments_folder(root)
    path = folder / f"{key}.py"
    try:
        paper = repro.load(workspace.find(key, folder))
    except Exception as error:
        known = check.did_you_mean(key, workspace.keys(folder))
        what = f"there is no experiment {key!r}{known}" if not path.is_file() else f"cannot be loaded: {error}"
        return Evidence(key, (), (), (), (Fault("", path, what, f"dlmath run {key} must work"),))
    recorded = workspace.read_index(folder).get(key, {}).get("scales", {})
    sources, faults = [], []
    for scale in reversed(repro.SCALE_NAMES):
        try:
            run = repro.latest_run(Path(results or root / "results"), key, scale)
        except files.DamagedFileError as error:
            message = f"the stored {scale} run is damaged: {error}"
            faults.append(Fault(scale, path, message, f"dlmath run {key} --scale {scale}"))
            run = None
        if run is not None:
            sources.append(_stored(run, paper))
        elif scale in recorded:
            sources.append(_recorded(recorded[scale], key, scale, paper))
    claims = tuple(claim.name for claim in paper.experiment.claims)
    return Evidence(key, tuple(sources), claims, _settings(paper), tuple(faults))


def relevant_faults(evidence: Evidence, scales: Collection[str]) -> list[Fault]:
    """Faults that change what is quoted: those at a quoted scale or a larger one; all if nothing is quoted."""
    from dlmath.repro import SCALE_NAMES

    least = min((SCALE_NAMES.index(scale) for scale in scales), default=0)
    return [fault for fault in evidence.faults if not fault.scale or SCALE_NAMES.index(fault.scale) >= least]


def outdated(key: str, source: Source) -> tuple[str, str]:
    """What is stale about a run, and the command that refreshes it."""
    refresh = f"dlmath run {key} --scale {source.scale} --refresh-stale" + ("" if source.stored else " && dlmath index")
    where = "stored" if source.stored else "recorded"
    return f"the {where} {source.scale} run is stale: {', '.join(source.changes)}", refresh


def _stored(run: Any, paper: Any) -> Source:
    record = run.record
    return Source(
        run.scale,
        {row.name: row._asdict() for row in run.claims},
        run.figures,
        dict(record["config"]),
        command=record["command"] or f"dlmath run {run.key} --scale {run.scale}",
        finished=record["finished"][:10],
        environment=_machine(record["environment"]),
        seconds=duration(record["cost_seconds"]),
        stored=True,
        changes=tuple(run.changes_since(paper, provenance=False)),
        below=tuple(run.changes_below(paper)),
        old_figures=run.figures_changed_since(paper),
    )


def _recorded(record: Mapping[str, Any], key: str, scale: str, paper: Any) -> Source:
    from dlmath import repro

    try:
        changes = repro.changes_since(record, paper, provenance=False)
    except (KeyError, TypeError):
        changes = ["the index does not say which code it was made with"]
    config = paper.experiment.scales.get(scale)
    return Source(
        scale,
        {row["name"]: row for row in record["claims"]},
        {},
        {} if config is None else dataclasses.asdict(config),
        command=f"dlmath run {key} --scale {scale}",
        finished=record["finished"][:10],
        environment=_machine(record["environment"]),
        seconds=duration(record["seconds"]),
        stored=False,
        changes=tuple(changes),
        below=(),
        old_figures=False,
    )


def _settings(paper: Any) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(paper.experiment.config))


def _machine(environment: Mapping[str, Any]) -> str:
    """One line about where a run took place."""
    cores, commit = environment["num_cores"], environment["commit"]
    parts = [
        f"{cores} core{'s' * (cores != 1)} ({environment['device']})",
        f"Python {environment['python']}",
        f"jax {environment['packages']['jax']}",
        *([f"commit {commit}"] if commit else []),
    ]
    return ", ".join(parts)
