"""`dlmath report`: every claim, the paper's value beside ours, and the figures, as a static HTML site."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from dlmath import workspace


@dataclass(frozen=True)
class Options:
    """Writes a self-contained HTML site: a scoreboard of all papers and claims, and a page a paper."""

    keys: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="KEY ...")] = ()
    """Papers whose pages are written; all by default. The scoreboard always has them all."""
    scale: tuple[Literal["smoke", "laptop", "paper", "custom"], ...] = ()
    """Scales to show; all by default."""
    results: Path | None = None
    """Folder of stored results; by default `results` in the workspace."""
    out: Path | None = None
    """Folder to write to; by default `report` in the folder of results."""


def main(arguments: list[str]) -> int:
    """Writes the site, says where, and returns 1 if a run is damaged or a paper's file does not load."""
    options = tyro.cli(Options, prog="dlmath report", args=arguments, config=(tyro.conf.UseAppendAction,))
    root = workspace.root()
    folder = workspace.experiments_folder(root)
    for key in options.keys:  # before JAX is imported
        workspace.find(key, folder)
    results = options.results or root / "results"
    if options.results is not None and not results.is_dir():
        raise ValueError(f"--results must be a folder of stored results, got {results}, which is none")

    from dlmath import report

    written = report.site(
        root,
        options.out or results / "report",
        results=results,
        keys=options.keys or None,
        scales=options.scale or None,
    )
    print(written.index)
    print(written.summary)
    for problem in written.problems:
        print(f"! {problem}")
    return 1 if written.problems else 0
