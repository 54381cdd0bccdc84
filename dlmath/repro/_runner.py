"""Runs an experiment: units from the store or computed, results assembled, claims judged, a record written."""

import hashlib
import json
import os
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dlmath import check, files, workspace
from dlmath.repro import _identity
from dlmath.repro._compute import compute, precision
from dlmath.repro._engine import Engine, local
from dlmath.repro._environment import environment, peak_memory
from dlmath.repro._judge import INCOMPLETE, Judgement, judge
from dlmath.repro._paper import Paper
from dlmath.repro._results import Assembler, Results
from dlmath.repro._store import UnitStore
from dlmath.repro._units import Plan, Unit, plan, validate


class Run(NamedTuple):
    """What a run found and what it cost.

    Attributes:
        key, scale, config: what was run; scale is "custom" where the config is none of the scales.
        results: a Dataset a study.
        claims: a judgement a claim, in the file's order.
        computed, reused, stale, failed: numbers of units; stale ones are among the reused.
        errors: tracebacks of failed units by unit, and of figures that could not be drawn.
        seconds: wall time.
        folder: where the record was written.
    """

    key: str
    scale: str
    config: Any
    results: Results
    claims: list[Judgement]
    computed: int
    reused: int
    stale: int
    failed: int
    errors: dict[str, str]
    seconds: float
    folder: Path

    @property
    def broken(self) -> bool:
        """Whether a claim without `fails` is not reproduced, one with it is, or something failed."""
        return bool(self.errors) or any(row.broken for row in self.claims)


def run(
    paper: Paper,
    *,
    scale: str = "smoke",
    config: Any = None,
    seeds: range | None = None,
    point: Mapping[str, Any] | None = None,
    results: str | os.PathLike[str] = "results",
    fresh: bool = False,
    refresh_stale: bool = False,
    engine: Engine = local,
    progress: Callable[[int, int, str], None] | None = None,
) -> Run:
    """Measures an experiment and judges its claims; units already in the store are not computed again.

    Args:
        paper: an experiment, from `load`.
        scale: one of the experiment's scales.
        config: settings that replace the scale's.
        seeds: the seeds to use, instead of the config's number of them.
        point: axis -> value, to compute a part of the grid only; claims that need the rest are incomplete.
        results: folder of the store.
        fresh: compute every unit, also those in the store.
        refresh_stale: compute units again whose versions of dlmath or of the packages underneath differ.
        engine: how units are executed.
        progress: called with (units done, units in all, description of the current study).

    Raises:
        ValueError, TypeError: for a scale that the experiment lacks or a config that is not its own.
    """
    experiment = paper.experiment
    if config is None:
        config = experiment.scales[check.one_of("scale", scale, tuple(experiment.scales))]
    validate(experiment, config)
    scale = next((name for name, known in experiment.scales.items() if known == config), "custom")
    start = time.perf_counter()
    with precision(experiment.precision):
        layout = plan(paper, config, platform=_platform(), seeds=seeds, point=point)
        store = UnitStore(Path(results), paper.key)
        provenance = {name: _identity.provenance(code) for name, code in layout.code.items()}
        assemblers = {name: Assembler(layout.axes[name], layout.seeds[name]) for name in experiment.studies}
        counts: dict[str, int] = {"computed": 0, "reused": 0, "stale": 0, "failed": 0}
        errors: dict[str, str] = {}
        todo: list[Unit] = []
        reused_seconds = 0.0
        for unit in layout.units:
            stored = None if fresh else store.read(unit)
            stale = stored is not None and stored.provenance != provenance[unit.study]
            if stored is None or (stale and refresh_stale):
                todo.append(unit)
            else:
                counts["reused"] += 1
                counts["stale"] += stale
                reused_seconds += stored.outcome.seconds
                _place(assemblers[unit.study], unit, stored.outcome, errors)
        report = progress or (lambda done, total, text: None)
        if todo:
            report(0, len(todo), todo[0].study)
        for done, (unit, outcome) in enumerate(
            engine(todo, lambda u: compute(paper.key, experiment, config, u)), start=1
        ):
            if outcome.error:
                counts["failed"] += 1
                errors[f"{unit.study} {unit.point} {_seeds_text(unit)}"] = outcome.error
            else:
                counts["computed"] += 1
                store.write(unit, outcome, provenance[unit.study])
                _place(assemblers[unit.study], unit, outcome, errors)
            report(done, len(todo), unit.study)
        datasets = Results({name: assembler.dataset() for name, assembler in assemblers.items()})
        claims = [judge(claim, config, datasets) for claim in experiment.claims]
        figures = _draw(paper, config, datasets, claims, errors)
    seconds = time.perf_counter() - start
    folder = _record(
        paper,
        scale,
        config,
        layout,
        datasets,
        claims,
        figures,
        counts,
        errors,
        (seconds, seconds + reused_seconds),
        Path(results),
    )
    return Run(paper.key, scale, config, datasets, claims, **counts, errors=errors, seconds=seconds, folder=folder)


def _place(assembler: Assembler, unit: Unit, outcome: Any, errors: dict[str, str]) -> None:
    try:
        assembler.add(unit.point, unit.seeds if unit.seeds is not None else range(0), outcome.variables, outcome.status)
    except ValueError:
        errors[f"{unit.study} {unit.point} {_seeds_text(unit)}"] = traceback.format_exc()


def _platform() -> str:
    import jax

    return jax.default_backend()


def _seeds_text(unit: Unit) -> str:
    return "" if unit.seeds is None else f"seeds {unit.seeds.start}:{unit.seeds.stop}"


def _draw(
    paper: Paper, config: Any, results: Results, claims: list[Judgement], errors: dict[str, str]
) -> dict[str, Any]:
    incomplete = [row for row in claims if row.verdict == INCOMPLETE]
    if paper.experiment.figures is None or (claims and len(incomplete) == len(claims)):
        return {}
    try:
        return dict(paper.experiment.figures(config, results))
    except Exception:
        if not incomplete:
            errors["figures"] = traceback.format_exc()
        return {}


def _record(
    paper: Paper,
    scale: str,
    config: Any,
    layout: Plan,
    results: Results,
    claims: list[Judgement],
    figures: Mapping[str, Any],
    counts: Mapping[str, int],
    errors: Mapping[str, str],
    seconds: tuple[float, float],
    root: Path,
) -> Path:
    """Writes the run's folder under another name, then renames it, then points `latest` at it."""
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    name = f"{stamp}-{_identity.digest([unit.id for unit in layout.units] + [time.time_ns()])[:8]}"
    final = root / paper.key / scale / name
    folder = final.with_name(f".{name}.part")
    folder.mkdir(parents=True)
    record = {
        "key": paper.key,
        "title": paper.title,
        "scale": scale,
        "config": _identity.canonical(config),
        "code": _identity.digest(layout.code),
        "units": {**counts, "total": len(layout.units)},
        "seconds": seconds[0],
        "cost_seconds": seconds[1],  # with the time that reused units took when they were computed
        "peak_memory": peak_memory(),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "environment": environment(workspace.root(paper.path.parent)),
        "errors": errors,
    }
    files.write_text(folder / "run.json", json.dumps(record, indent=2, ensure_ascii=False))
    rows = [row._asdict() for row in claims]
    files.write_text(folder / "claims.json", json.dumps(rows, indent=2, ensure_ascii=False))
    files.write_text(folder / "experiment.py", paper.text)
    results.datatree().to_zarr(folder / "results.zarr", consolidated=False, zarr_format=3)
    for title, figure in figures.items():
        (folder / "figures").mkdir(exist_ok=True)
        figure.savefig(folder / "figures" / f"{title}.svg", metadata={"Date": None})
    contents = {
        str(path.relative_to(folder)): files.sha256(path) for path in sorted(folder.rglob("*")) if path.is_file()
    }
    files.write_text(folder / "manifest.json", json.dumps(contents, indent=2))
    folder.rename(final)
    files.write_text(final.parent / "latest", name + "\n")
    return final


def read_latest(results: str | os.PathLike[str], key: str, scale: str) -> tuple[dict[str, Any], list[Judgement]] | None:
    """The record and the judgements of the latest run of an experiment at a scale, or None.

    Raises:
        files.DamagedFileError: if they do not match the run's manifest.
    """
    folder = Path(results) / key / scale
    pointer = folder / "latest"
    if not pointer.is_file():
        return None
    folder = folder / pointer.read_text(encoding="utf-8").strip()
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    texts = []
    for name in ("run.json", "claims.json"):
        text = (folder / name).read_bytes()
        if hashlib.sha256(text).hexdigest() != manifest.get(name):
            raise files.DamagedFileError(f"{folder / name} does not match its manifest; run {key} again")
        texts.append(json.loads(text))
    record, rows = texts
    return record, [Judgement(**row) for row in rows]
