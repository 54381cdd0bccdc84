"""How claims and costs are printed."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

STYLES = {
    "reproduced": "green",
    "not reproduced": "bold red",
    "error": "bold red",
    "inconclusive": "yellow",
    "incomplete": "yellow",
    "not testable at this scale": "dim",
}
BASES = {"paper": "", "formula": " (formula)", "independent": " (computed independently)"}


def console() -> Console:
    """Standard output; where it is no terminal, wide enough not to cut numbers."""
    out = Console(highlight=False)
    return out if out.is_terminal else Console(highlight=False, width=140)


def claims_table(title: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    """Claim by claim: the paper's value beside ours, with its interval and the verdict."""
    table = Table(title=title, title_justify="left", title_style="bold", show_lines=False, pad_edge=False)
    table.add_column("claim", no_wrap=True)
    table.add_column("what is claimed", ratio=3)
    table.add_column("source", ratio=1)
    table.add_column("expected", ratio=1)
    table.add_column("ours [95 %]", ratio=2)
    table.add_column("verdict", no_wrap=True)
    for row in rows:
        verdict = row["verdict"]
        style = STYLES[verdict]
        if row["fails"]:
            verdict += (
                " (as known)" if verdict == "not reproduced" else " (unexpectedly)" if verdict == "reproduced" else ""
            )
            style = "yellow" if row["verdict"] == "not reproduced" else "bold red"
        table.add_row(
            row["name"],
            row["statement"],
            row["source"],
            row["expected"] + BASES[row["basis"]],
            row["ours"] or "–",
            f"[{style}]{verdict}[/]",
        )
    return table


def notes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What a reader of the table needs to know beside it: errors, incompleteness, known failures."""
    lines = []
    for row in rows:
        if row["verdict"] in ("error", "incomplete", "not reproduced", "inconclusive") and row["note"]:
            lines.append(f"{row['name']}: {row['note']}")
        if row["fails"]:
            lines.append(f"{row['name']} is known not to hold here: {row['fails']}")
    return lines
