"""`dlmath compare`: two runs side by side, and which claims moved beyond their intervals."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.markup import escape
from rich.table import Table

from dlmath import files, workspace
from dlmath.cli._tables import STYLES, console


@dataclass(frozen=True)
class Options:
    """Compares two runs of a paper: scales, versions or machines.

    A run is KEY/SCALE (the latest at that scale), KEY/SCALE/RUN, KEY (the latest at its smallest scale), or a run's folder.
    """

    first: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """A run."""
    second: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Another run of the same paper."""
    results: Path | None = None
    """Folder of stored results; by default `results` in the workspace."""
    html: Path | None = None
    """Also write the comparison to this HTML file."""


def main(arguments: list[str]) -> int:
    """Prints the comparison and returns 1 if a claim moved beyond its intervals or no longer holds."""
    options = tyro.cli(Options, prog="dlmath compare", args=arguments)

    from dlmath import report

    results = options.results or workspace.root() / "results"
    first, second = (report.find_run(name, results) for name in (options.first, options.second))
    found = report.compare(first, second)
    out = console()
    out.print(f"[bold]{escape(found.sentence)}[/]\n")
    out.print(_claims(found))
    for label, names in zip(found.labels, (found.only_first, found.only_second), strict=True):
        if names:
            out.print(f"  only in {escape(label)}: {escape(', '.join(names))}", style="yellow")
    for title, rows in (("settings that differ", found.settings), ("what else differs", found.environment)):
        if rows:
            table = Table("", *map(escape, found.labels), title=title, title_justify="left", pad_edge=False)
            for row in rows:
                table.add_row(*(escape(text) or "–" for text in row))
            out.print(table)
    if options.html is not None:
        files.write_text(options.html, report.comparison_page(found))
        out.print(f"  {escape(str(options.html))}")
    return 1 if found.different else 0


def _claims(found: Any) -> Table:
    from dlmath.report import spread

    table = Table(pad_edge=False)
    for column in ("claim", *found.labels, "difference", "moved"):
        table.add_column(escape(column))
    for shift in found.shifts:
        cells = [
            f"{escape(row.ours) or '–'}\n[{STYLES[row.verdict]}]{row.verdict}[/]" for row in (shift.first, shift.second)
        ]
        style = {"moved": "bold red", "within": "green", "cannot tell": "yellow"}[shift.moved]
        changed = "; the verdict changed" if shift.changed else ""
        moved = f"[{style}]{shift.moved}[/]\n[dim]{escape(shift.detail)}{changed}[/]"
        table.add_row(escape(shift.name), *cells, spread(shift.difference), moved)
    return table
