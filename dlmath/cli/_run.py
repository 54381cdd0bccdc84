"""`dlmath run`: measure the claims of one paper, or of all."""

import contextlib
import dataclasses
import os
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from dlmath import check, workspace
from dlmath._wording import duration
from dlmath.cli._tables import claims_table, console, notes

INTERRUPTED = 130
"""Exit status after Ctrl-C or SIGTERM."""


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
    engine: Literal["local", "dask"] = "local"
    """Where units are computed: in this process, or by Dask workers."""
    scheduler: str | None = None
    """Address of a running Dask scheduler, such as tcp://host:8786; implies --engine dask."""
    workers: int | None = None
    """Number of Dask workers to start on this machine, if there is no scheduler; implies --engine dask."""
    coordinator: str | None = None
    """One program on several hosts: address host:port of process 0, or "auto" where SLURM or MPI says it."""
    num_processes: int | None = None
    """One program on several hosts: how many processes there are."""
    process_id: int | None = None
    """One program on several hosts: which one this is, from 0."""


@dataclass(frozen=True)
class _All(Runner):
    """Measures the claims of every paper."""

    all: bool = True
    """Every paper of the workspace."""


def main(arguments: list[str]) -> int:
    """Runs papers: 1 if a claim that should hold does not, or a unit or figure failed; 130 if interrupted."""
    # Before JAX is imported: compiled programs are kept, which makes the next run several times faster.
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(cache) / "dlmath" / "jax"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
    root = workspace.root()
    runner, jobs = _jobs(arguments, workspace.experiments_folder(root))
    command = shlex.join(["dlmath", "run", *arguments])
    broken = []
    with _stop_on_signal() as stop, _engines(runner) as new_engine:
        if new_engine is None:
            return _follow(jobs)
        for paper, config in jobs:
            with new_engine() as engine:
                run = _run_one(paper, config, runner, engine, stop, command, root)
            if run.broken:
                broken.append(paper.key)
            if run.interrupted or (stop() and len(jobs) > 1):
                return INTERRUPTED
            _forget_programs()
    if len(jobs) > 1:
        found = f"{len(jobs) - len(broken)} of {len(jobs)} papers hold as recorded"
        console().print(found + (f"; look at {', '.join(broken)}" if broken else ""))
    return 1 if broken else 0


def _forget_programs() -> None:
    """Lets go of a paper's compiled programs: kept, those of all papers take gigabytes and more memory maps than there are."""
    import jax

    jax.clear_caches()


def _jobs(arguments: list[str], folder: Path) -> tuple[Runner, list[tuple[Any, Any]]]:
    """How to run, and the papers to run with their settings."""
    available = workspace.keys(folder)
    if "--all" in arguments:
        from dlmath import repro

        runner = _parse(_All, "dlmath run --all", arguments)
        papers = [repro.load(workspace.find(key, folder)) for key in available]
        for paper in papers:
            if runner.scale not in paper.experiment.scales:
                console().print(f"{paper.key} has no scale {runner.scale}; left out")
        having = [paper for paper in papers if runner.scale in paper.experiment.scales]
        return runner, [(paper, paper.experiment.scales[runner.scale]) for paper in having]
    positional = [a for a in arguments[:1] if not a.startswith("-")]
    if not positional:
        if set(arguments) & {"-h", "--help"}:
            print("usage: dlmath run KEY [options]; dlmath run KEY --help lists the paper's settings\n")
            _parse(_All, "dlmath run --all", arguments)
        raise ValueError(f"run needs a paper's key or --all; there are {', '.join(available) or 'none'}")
    path = workspace.find(positional[0], folder)
    from dlmath import repro

    paper = repro.load(path)
    runner, config = parse(paper, arguments[1:])
    return runner, [(paper, config)]


def _run_one(
    paper: Any, config: Any, runner: Runner, engine: Any, stop: Callable[[], bool], command: str, root: Path
) -> Any:
    from dlmath import repro

    out, bar = console(), _bar()
    with bar:
        task = bar.add_task(paper.key, total=None)
        run = repro.run(
            paper,
            config=config,
            seeds=_seeds(runner.seeds),
            point=_point(paper, config, runner.point),
            results=runner.results or root / "results",
            fresh=runner.fresh,
            refresh_stale=runner.refresh_stale,
            engine=engine,
            stop=stop,
            command=command,
            progress=lambda done, total, study: bar.update(
                task, completed=done, total=total, description=f"{paper.key} {study}"
            ),
        )
    _print_run(out, paper, run)
    return run


def _follow(jobs: list[tuple[Any, Any]]) -> int:
    """One of several hosts that is not the first: computes with it, writes and prints nothing."""
    from dlmath import repro

    for paper, config in jobs:
        repro.follow_hosts(paper, config)
    return 0


def _print_run(out: Console, paper: Any, run: Any) -> None:
    for where, trace in run.errors.items():
        out.print(f"  {escape(where)} failed:\n{escape(trace)}", style="red")
    for where, what in run.non_finite.items():
        out.print(f"  {escape(where)}: {escape(what)}", style="yellow")
    for path in run.damaged:
        out.print(f"  damaged, set aside: {escape(_relative(path))}", style="yellow")
    stale = f", of them {run.stale} stale (--refresh-stale computes them again)" if run.stale else ""
    failed = f", {run.failed} failed" if run.failed else ""
    counts = f"{run.computed} units computed, {run.reused} reused{stale}{failed}; {duration(run.seconds)}"
    if run.interrupted:
        done = run.computed + run.reused + run.failed
        out.print(f"  interrupted: {done} of {run.total} units are done ({counts}); the same command goes on\n")
        return
    rows = [row._asdict() for row in run.claims]
    out.print(claims_table(f"{paper.title} ({run.scale})", rows))
    for note in notes(rows):
        out.print(f"  {escape(note)}", style="yellow")
    out.print(f"  {counts}; {escape(_relative(run.folder))}\n", soft_wrap=True)


@contextlib.contextmanager
def _stop_on_signal() -> Iterator[Callable[[], bool]]:
    """A function that says whether Ctrl-C or SIGTERM came; a second Ctrl-C ends at once."""
    received: list[int] = []

    def note(number: int, frame: Any) -> None:
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(number)
        os.write(2, b"\ndlmath: stopping after the unit in hand; Ctrl-C again stops at once\n")

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False  # only the main thread receives signals
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _engines(runner: Runner) -> Iterator[Callable[[], Any] | None]:
    """A function that gives the engine for a paper, as a context manager; None where another host leads."""
    from dlmath import repro, sharding

    hosts = (runner.coordinator, runner.num_processes, runner.process_id)
    if hosts != (None, None, None):
        import jax

        address = None if runner.coordinator == "auto" else runner.coordinator
        sharding.initialize(address, num_processes=runner.num_processes, process_id=runner.process_id)
        yield repro.leading_hosts if jax.process_index() == 0 else None
    elif runner.engine == "dask" or runner.scheduler is not None or runner.workers is not None:
        with repro.dask_engine(runner.scheduler, workers=runner.workers) as engine:
            yield lambda: contextlib.nullcontext(engine)
    else:
        yield lambda: contextlib.nullcontext(repro.local)


def _relative(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


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
