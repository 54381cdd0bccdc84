"""Runs an experiment: units from the store or computed, results assembled, claims judged, a record written."""

import contextlib
import os
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dlmath import check, workspace
from dlmath.repro import _identity
from dlmath.repro._compute import Computation, Outcome, precision
from dlmath.repro._engine import Engine, local
from dlmath.repro._environment import environment, peak_memory
from dlmath.repro._judge import INCOMPLETE, Judgement, judge
from dlmath.repro._paper import Paper
from dlmath.repro._record import set_aside_damaged, write_record
from dlmath.repro._results import Assembler, Results
from dlmath.repro._sharing import compute_shared
from dlmath.repro._store import UnitStore
from dlmath.repro._units import Unit, plan, validate


class Run(NamedTuple):
    """What a run found and what it cost.

    Attributes:
        key, scale, config: what was run; scale is "custom" where the config is none of the scales or only a part
            of the grid or of the seeds was asked for.
        results: a Dataset a study.
        claims: a judgement a claim, in the file's order.
        total, computed, reused, stale, failed: numbers of units; stale ones are among the reused, and so are those
            that another process computed meanwhile.
        errors: tracebacks of failed units by unit, and of figures that could not be drawn.
        non_finite: which variables of which units are not finite, by unit.
        damaged: files of the store that did not match their checksums, where they were moved to.
        interrupted: whether it was stopped before all units were done.
        seconds: wall time.
        folder: where the record was written; None for an interrupted run, which leaves only its units.
    """

    key: str
    scale: str
    config: Any
    results: Results
    claims: list[Judgement]
    total: int
    computed: int
    reused: int
    stale: int
    failed: int
    errors: dict[str, str]
    non_finite: dict[str, str]
    damaged: list[Path]
    interrupted: bool
    seconds: float
    folder: Path | None

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
    stop: Callable[[], bool] = lambda: False,
    command: str = "",
) -> Run:
    """Measures an experiment and judges its claims; units already in the store are not computed again.

    Any number of processes, on any machines that share the folder `results`, may run the same experiment at once:
    each unit is computed by one of them.

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
        stop: asked before each unit; once true, units in hand are finished and the run ends as interrupted.
        command: what the user typed, for the record.

    Raises:
        ValueError, TypeError: for a scale that the experiment lacks or a config that is not its own.
    """
    experiment = paper.experiment
    if config is None:
        config = experiment.scales[check.one_of("scale", scale, tuple(experiment.scales))]
    validate(experiment, config)
    start = time.perf_counter()
    store = UnitStore(Path(results), paper.key)
    accept = _acceptance(paper, store, fresh=fresh, refresh_stale=refresh_stale)
    with contextlib.ExitStack() as stack:
        if isinstance(engine, contextlib.AbstractContextManager):
            stack.enter_context(engine)  # one cluster for all that follows
        platform = getattr(engine, "platform", _local_platform)()
        layout = plan(paper, config, platform=platform, seeds=seeds, point=point)
        found = _Found({name: Assembler(layout.axes[name], layout.seeds[name]) for name in experiment.studies})
        todo = [unit for unit in layout.units if not found.stored(paper, unit, accept(unit))]
        report = progress or (lambda done, total, text: None)
        if todo:
            report(0, len(todo), todo[0].study)
        compute = Computation(paper, config)
        shared = compute_shared(todo, compute, engine=engine, store=store, accept=accept, stop=stop)
        for done, (unit, outcome, here) in enumerate(shared, start=1):
            (found.compute if here else found.reuse)(unit, outcome)
            report(done, len(todo), unit.study)
    store.sweep()
    whole = layout == plan(paper, config, platform=platform)
    scale = next((name for name, known in experiment.scales.items() if whole and known == config), "custom")
    interrupted = found.units < len(layout.units)
    with precision(experiment.precision):
        datasets = Results({name: assembler.dataset() for name, assembler in found.assemblers.items()})
        claims = [judge(claim, config, datasets) for claim in experiment.claims]
        figures = {} if interrupted else _draw(paper, config, datasets, claims, found.errors)
    seconds = time.perf_counter() - start
    damaged, folder = store.damaged, None
    if not interrupted:
        scale_folder = Path(results) / paper.key / scale
        damaged = [*damaged, *set_aside_damaged(scale_folder)]
        record = {
            "key": paper.key,
            "title": paper.title,
            "abstract": workspace.title_and_abstract(paper.text)[1],
            "deviations": list(experiment.deviations),
            "scale": scale,
            "config": _identity.canonical(config),
            "precision": experiment.precision,
            "platform": platform,
            "engine": getattr(engine, "name", getattr(engine, "__name__", type(engine).__name__)),
            "command": command,
            "units": {**found.counts, "total": len(layout.units)},
            "seconds": seconds,
            "cost_seconds": seconds + found.reused_seconds,
            "peak_memory": peak_memory(),
            "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "environment": environment(workspace.root(paper.path.parent)),
            "code": {name: _identity.digest(code) for name, code in layout.code.items()},
            "provenance": {name: _identity.provenance(code) for name, code in layout.code.items()},
            "claims_code": _identity.claims_digest(paper),
            "errors": found.errors,
            "non_finite": found.non_finite,
            "damaged": [path.name for path in damaged],
        }
        folder = write_record(scale_folder, record, claims, datasets, figures, paper.text)
    return Run(
        paper.key,
        scale,
        config,
        datasets,
        claims,
        total=len(layout.units),
        **found.counts,
        errors=found.errors,
        non_finite=found.non_finite,
        damaged=damaged,
        interrupted=interrupted,
        seconds=seconds,
        folder=folder,
    )


class _Found:
    """Outcomes as they come: placed into arrays, counted, failures kept."""

    def __init__(self, assemblers: dict[str, Assembler]) -> None:
        self.assemblers = assemblers
        self.counts = {"computed": 0, "reused": 0, "stale": 0, "failed": 0}
        self.errors: dict[str, str] = {}
        self.non_finite: dict[str, str] = {}
        self.reused_seconds = 0.0

    @property
    def units(self) -> int:
        """Number of units that were placed or failed."""
        return self.counts["computed"] + self.counts["reused"] + self.counts["failed"]

    def stored(self, paper: Paper, unit: Unit, outcome: Outcome | None) -> bool:
        """Reuses what the store had for a unit; False if it had nothing."""
        if outcome is not None:
            self.reuse(unit, outcome)
            self.counts["stale"] += not outcome.error and outcome.provenance != _provenance(paper, unit)
        return outcome is not None

    def compute(self, unit: Unit, outcome: Outcome) -> None:
        self.counts["failed" if outcome.error else "computed"] += 1
        self._place(unit, outcome)

    def reuse(self, unit: Unit, outcome: Outcome) -> None:
        self.counts["failed" if outcome.error else "reused"] += 1
        self.reused_seconds += outcome.seconds
        self._place(unit, outcome)

    def _place(self, unit: Unit, outcome: Outcome) -> None:
        if outcome.error:
            self.errors[unit.label] = outcome.error
            return
        if outcome.non_finite:
            self.non_finite[unit.label] = outcome.non_finite
        try:
            self.assemblers[unit.study].add(unit.point, unit.seeds or range(0), outcome.variables, outcome.status)
        except ValueError:
            self.errors[unit.label] = traceback.format_exc()


def _acceptance(paper: Paper, store: UnitStore, *, fresh: bool, refresh_stale: bool) -> Callable[..., Outcome | None]:
    """The function that says what the store already has for a unit, if it serves this run."""
    since = store.now()

    def accept(unit: Unit, *, locked: bool = False) -> Outcome | None:
        stored = store.read(unit, locked=locked)
        if stored is None:
            return store.failure_since(unit, since)
        # Written after this run began: by another process, for the same purpose.
        recent = stored.written > since
        if fresh and not recent:
            return None
        if refresh_stale and not recent and stored.outcome.provenance != _provenance(paper, unit):
            return None
        return stored.outcome

    return accept


def _provenance(paper: Paper, unit: Unit) -> dict[str, Any]:
    return _identity.provenance(_identity.study_code(paper, paper.experiment.studies[unit.study]))


def _local_platform() -> str:
    import jax

    return jax.default_backend()


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
