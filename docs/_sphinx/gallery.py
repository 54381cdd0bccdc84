"""The gallery: every figure of every experiment, from smoke runs kept in docs/_build/results."""

import ast
from pathlib import Path
from typing import Any

from _sphinx import docstrings
from dlmath import repro, workspace

DOCS = Path(__file__).parents[1]
RESULTS = DOCS / "_build" / "results"
EXPERIMENTS = DOCS.parent / "experiments"


def runs() -> dict[str, Any]:
    """The latest smoke run of each experiment by key, measured now where there is none or the code has changed."""
    found = {}
    for key in workspace.keys(EXPERIMENTS):
        paper = repro.load(workspace.find(key, EXPERIMENTS))
        stored = _stored(key)
        if stored is None or stored.record["errors"] or stored.changes_since(paper):
            repro.run(paper, results=RESULTS, refresh_stale=True)
            stored = _stored(key)
        if stored is None or stored.record["errors"]:
            raise RuntimeError(f"the smoke run of {key} failed: {stored and stored.record['errors']}")
        found[key] = stored
    return found


def page(found: dict[str, Any], anchors: dict[str, str]) -> str:
    """MyST text: a section a paper with what its figures show, the figures, a link to its claims, and the command."""
    parts = []
    for key, run in found.items():
        shown = docstrings.escaped(_description(run.text))
        parts += [f"## {run.record['title'].rstrip('.')}", f"{shown} {{cite}}`{key}`"]
        parts.append(f"`dlmath run {key}` · [what is claimed and what was found](papers.md#{anchors[key]})")
        for title, path in run.figures.items():
            source = "/" + path.relative_to(DOCS).as_posix()
            name = title.replace("_", " ")
            parts.append(f"```{{figure}} {source}\n:alt: {name} ({key})\n\n`{key}`, {name}, {run.scale} scale.\n```")
    return "\n\n".join(parts)


def _stored(key: str) -> Any:
    try:
        return repro.latest_run(RESULTS, key, "smoke")
    except ValueError:  # a damaged run is measured again
        return None


def _description(text: str) -> str:
    """What the experiment's function `figures` says that it draws."""
    for statement in ast.parse(text).body:
        if isinstance(statement, ast.FunctionDef) and statement.name == "figures":
            return ast.get_docstring(statement) or ""
    return ""
