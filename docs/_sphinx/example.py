"""The experiment of the page "How to add a paper": what `dlmath new` writes, and what a run of it finds."""

import shutil
from pathlib import Path
from typing import Any

from _sphinx import docstrings
from dlmath import repro, review

DOCS = Path(__file__).parents[1]
KEY = "my2026paper"
FOLDER = DOCS / "_build" / "example"


def run(workspace: Path) -> Any:
    """Writes the skeleton into an empty workspace and measures its claims there."""
    review.scaffold(workspace, KEY, title="A small true thing", authors=["Ada Lovelace"])
    return repro.run(repro.load(workspace / "experiments" / f"{KEY}.py"), results=workspace / "results")


def page() -> str:
    """MyST text: the claims of the skeleton as found now, and its figures."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    found = run(FOLDER)
    if found.broken or found.folder is None:
        raise RuntimeError(f"the skeleton's claims do not hold: {found.errors or found.claims}")
    lines = ["| claim | expected | ours | verdict |", "|---|---|---|---|"]
    for row in found.claims:
        cells = (row.statement, f"{row.expected} ({row.basis})", row.ours, row.verdict)
        lines.append("| " + " | ".join(docstrings.escaped(cell) for cell in cells) + " |")
    for title, path in repro.read_run(found.folder).figures.items():
        source = "/" + path.relative_to(DOCS).as_posix()
        lines += ["", f"```{{figure}} {source}", f":alt: {title} of the example", "```"]
    return "\n".join(lines)
