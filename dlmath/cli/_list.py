"""`dlmath list`: papers, claims and measured costs, from the recorded index."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import tyro
from rich.table import Table

from dlmath import workspace
from dlmath._wording import duration
from dlmath.cli._tables import console


@dataclass(frozen=True)
class Options:
    """Lists the papers of the workspace, with their claims and measured costs."""


def main(arguments: list[str]) -> int:
    """Prints one row a paper."""
    tyro.cli(Options, prog="dlmath list", args=arguments)
    folder = workspace.experiments_folder(workspace.root())
    index, keys = workspace.read_index(folder), workspace.keys(folder)
    out = console()
    if not keys:
        out.print(f"{folder} has no experiments")
        return 0
    table = Table(pad_edge=False)
    table.add_column("key", no_wrap=True)
    table.add_column("paper", ratio=1)
    table.add_column("claims", no_wrap=True)
    for scale in ("smoke", "laptop", "paper"):
        table.add_column(scale, justify="right", no_wrap=True)
    for key in keys:
        entry = index.get(key) or {"title": _title(folder, key), "claims": [], "scales": {}}
        costs = [duration(entry["scales"].get(scale, {}).get("seconds")) for scale in ("smoke", "laptop", "paper")]
        table.add_row(key, entry["title"], _claims(entry), *costs)
    out.print(table)
    out.print("Times are those of the recorded runs; dlmath show KEY names their machines.", style="dim")
    unrecorded = [key for key in keys if not index.get(key, {}).get("scales")]
    if unrecorded:
        out.print(f"Not recorded: {', '.join(unrecorded)}; dlmath run KEY and dlmath index record them.", style="dim")
    return 0


def _title(folder: Any, key: str) -> str:
    return workspace.title_and_abstract((folder / f"{key}.py").read_text(encoding="utf-8"))[0]


def _claims(entry: dict[str, Any]) -> str:
    """How many claims hold, at the largest scale that was recorded."""
    total = len(entry["claims"])
    for scale in ("paper", "laptop", "smoke"):
        if scale in entry["scales"]:
            found = Counter(row["verdict"] for row in entry["scales"][scale]["claims"])
            return f"{found['reproduced']} of {total} ({scale})"
    return "–"
