"""`dlmath run`: measure the claims of one paper, or of all."""

import dataclasses
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from dlmath import check, workspace
from dlmath.cli._tables import claims_table, console, duration, notes


@dataclass(frozen=True)
class Runner:
    """How to run."""

    scale: Literal["smoke", "laptop", "paper"] = "smoke"
    """Settings to start from: seconds on a laptop, at most ten minutes on two cores, one accelerator."""
    seeds: str | None = None
    """Seeds to use, as START:STOP, instead of the settings' number of them."""
    point: tuple[str, ...] = ()
    """Part of the grid to compute, as AXIS=VALUE."""
    results: Path | None = None
    """Folder of stored results; by default `results` in the workspace."""
    fresh: bool = False
    """Compute every unit, also those already stored."""
    refresh_stale: bool = False
    """Compute stored units again where dlmath or a package underneath has changed since."""


@dataclass(frozen=True)
class _All(Runner):
    """Measures the claims of every paper."""

    all: bool = True
    """Every paper of the workspace."""


def main(arguments: list[str]) -> int:
    """Runs papers and returns 1 if a claim that should hold does not, or a unit or figure failed."""
    # Before JAX is imported: compiled programs are kept, which makes the next run several times faster.
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(cache) / "dlmath" / "jax"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
    root = workspace.root()
    folder = workspace.experiments_folder(root)
    available = workspace.keys(folder)
    if "--all" in arguments:
        runner: Runner = _parse(_All, "dlmath run --all", arguments)
        keys: Sequence[str] = available
    else:
        positional = [a for a in arguments[:1] if not a.startswith("-")]
        if not positional:
            if set(arguments) & {"-h", "--help"}:
                print("usage: dlmath run KEY [options]; dlmath run KEY --help lists the paper's settings\n")
                _parse(_All, "dlmath run --all", arguments)
            raise ValueError(f"run needs a paper's key or --all; there are {', '.join(available) or 'none'}")
        workspace.find(positional[0], folder)
        runner, keys = Runner(), positional
    broken = [key for key in keys if _run_one(key, folder, root, arguments, runner)]
    if len(keys) > 1:
        found = f"{len(keys) - len(broken)} of {len(keys)} papers hold as recorded"
        console().print(found + (f"; look at {', '.join(broken)}" if broken else ""))
    return 1 if broken else 0


def _run_one(key: str, folder: Path, root: Path, arguments: list[str], runner: Runner) -> bool:
    from dlmath import repro

    paper = repro.load(workspace.find(key, folder))
    if isinstance(runner, _All):
        if runner.scale not in paper.experiment.scales:
            console().print(f"{key} has no scale {runner.scale}; left out")
            return False
        config = paper.experiment.scales[runner.scale]
    else:
        runner, config = parse(paper, arguments[1:])
    out, bar = console(), _bar()
    with bar:
        task = bar.add_task(key, total=None)
        run = repro.run(
            paper,
            scale=runner.scale,
            config=config,
            seeds=_seeds(runner.seeds),
            point=_point(paper, config, runner.point),
            results=runner.results or root / "results",
            fresh=runner.fresh,
            refresh_stale=runner.refresh_stale,
            progress=lambda done, total, study: bar.update(
                task, completed=done, total=total, description=f"{key} {study}"
            ),
        )
    rows = [row._asdict() for row in run.claims]
    out.print(claims_table(f"{paper.title} ({run.scale})", rows))
    for note in notes(rows):
        out.print(f"  {escape(note)}", style="yellow")
    for where, trace in run.errors.items():
        out.print(f"  {escape(where)} failed:\n{escape(trace)}", style="red")
    stale = f", of them {run.stale} stale (--refresh-stale computes them again)" if run.stale else ""
    failed = f", {run.failed} failed" if run.failed else ""
    out.print(
        f"  {run.computed} units computed, {run.reused} reused{stale}{failed}; {duration(run.seconds)}; {run.folder}\n"
    )
    return run.broken


def parse(paper: Any, arguments: Sequence[str]) -> tuple[Runner, Any]:
    """The runner's options and the paper's settings from one command line; a wrong one exits with status 2."""
    scales = paper.experiment.scales
    scale = "smoke"
    for i, argument in enumerate(arguments):
        name, _, value = argument.partition("=")
        if name == "--scale":
            scale = value or (arguments[i + 1] if i + 1 < len(arguments) else "")
    scale = check.one_of("--scale", scale, tuple(scales))
    both = dataclasses.make_dataclass(
        "Arguments",
        [
            ("runner", Runner, dataclasses.field(default_factory=Runner)),
            ("settings", paper.experiment.config, dataclasses.field(default_factory=lambda: scales[scale])),
        ],
    )
    both.__doc__ = paper.title
    parsed: Any = _parse(both, f"dlmath run {paper.key}", list(arguments))
    return parsed.runner, parsed.settings


def _parse(cls: type, program: str, arguments: list[str]) -> Any:
    markers = (tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes, tyro.conf.FlagCreatePairsOff)
    if cls is _All:
        arguments = [a for a in arguments if a != "--all"]
        return _All(**dataclasses.asdict(tyro.cli(Runner, prog=program, args=arguments, config=markers)))
    return tyro.cli(cls, prog=program, args=arguments, config=markers)


def _bar() -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=Console(file=sys.stderr), transient=True)


def _seeds(text: str | None) -> range | None:
    if text is None:
        return None
    start, colon, stop = text.partition(":")
    if not (start.isdigit() and colon and stop.isdigit() and int(start) < int(stop)):
        raise ValueError(f"--seeds must be START:STOP with START < STOP, such as 0:20, got {text!r}")
    return range(int(start), int(stop))


def _point(paper: Any, config: Any, texts: Sequence[str]) -> dict[str, Any]:
    point = {}
    axes = {axis: field for study in paper.experiment.studies.values() for axis, field in study.over.items()}
    for text in texts:
        axis, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"--point must be AXIS=VALUE, got {text!r}")
        values = getattr(config, axes[check.one_of("--point", axis, tuple(axes))])
        matching = [v for v in values if str(v) == value or (isinstance(v, float | int) and _number(value) == v)]
        if not matching:
            raise ValueError(f"--point {axis} must be one of {', '.join(map(str, values))}, got {value}")
        point[axis] = matching[0]
    return point


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
