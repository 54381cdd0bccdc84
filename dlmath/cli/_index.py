"""`dlmath index`: record titles, claims and the latest runs, for `dlmath list` and the README's table."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from dlmath import files, workspace
from dlmath._wording import count, duration, memory
from dlmath.cli._tables import BASES

BEGIN, END = "<!-- claims:begin -->", "<!-- claims:end -->"
SCALES = ("smoke", "laptop", "paper")
_MARKS = {"reproduced": "✓", "not reproduced": "✗", "error": "✗", "inconclusive": "~", "incomplete": "…"}


@dataclass(frozen=True)
class Options:
    """Records the latest runs in experiments/index.json and in the README's table of claims."""

    results: Path | None = None
    """Folder of stored results; by default `results` in the workspace."""


def main(arguments: list[str]) -> int:
    """Writes `index.json` and `README.md` in `experiments/`, and the table in the workspace's README if it has markers."""
    options = tyro.cli(Options, prog="dlmath index", args=arguments)
    root = workspace.root()
    folder = workspace.experiments_folder(root)
    index = build(folder, options.results or root / "results")
    files.write_text(folder / workspace.INDEX, json.dumps(index, indent=1, ensure_ascii=False) + "\n")
    files.write_text(folder / "README.md", details(index))
    readme = root / "README.md"
    if readme.is_file():
        text = readme.read_text(encoding="utf-8")
        if BEGIN in text and END in text:
            files.write_text(readme, with_table(text, index))
    recorded = sum(len(entry["scales"]) for entry in index.values())
    print(f"{count(len(index), 'paper')}, {count(recorded, 'run')} recorded in {folder / workspace.INDEX}")
    return 0


def build(folder: Path, results: Path) -> dict[str, Any]:
    """The index: what the files say, and the latest stored run of each scale (else the one recorded before)."""
    from dlmath import repro

    before = workspace.read_index(folder)
    index = {}
    for key in workspace.keys(folder):
        paper = repro.load(workspace.find(key, folder))
        scales = {}
        for scale in repro.SCALE_NAMES:
            found = repro.latest_run(results, key, scale)
            if found is not None and not found.record["errors"]:
                scales[scale] = _recorded(found.record, found.claims)
            elif scale in before.get(key, {}).get("scales", {}):
                scales[scale] = before[key]["scales"][scale]
        index[key] = {**described(paper), "scales": scales}
    return index


def described(paper: Any) -> dict[str, Any]:
    """What an index says of a paper apart from its runs."""
    smoke = paper.experiment.scales["smoke"]
    claims = [
        {
            "name": c.name,
            "statement": c.statement,
            "source": c.source,
            "basis": c.basis,
            "expected": c.expect.describe(smoke),
            "fails": c.fails,
        }
        for c in paper.experiment.claims
    ]
    return {"title": paper.title, "claims": claims, "deviations": list(paper.experiment.deviations)}


def with_table(readme: str, index: dict[str, Any]) -> str:
    """The README with its table of claims made anew from an index."""
    head, rest = readme.split(BEGIN, 1)
    _, tail = rest.split(END, 1)
    return f"{head}{BEGIN}\n{table(index)}\n{END}{tail}"


def table(index: dict[str, Any]) -> str:
    """A Markdown table with one row a paper: how many of the claims testable at a scale hold, and what that cost."""
    lines = ["| paper | smoke | laptop | paper scale |", "|---|---|---|---|"]
    for key, entry in index.items():
        cells = [_summary(entry["scales"].get(scale)) for scale in SCALES]
        lines.append(f"| {entry['title']} [`{key}`](experiments/{key}.py) | {' | '.join(cells)} |")
    lines += [
        "",
        "Claims reproduced, of those that can be tested at the scale, and the time of the run; claim by claim:",
    ]
    return "\n".join([*lines, "[`experiments/README.md`](experiments/README.md)."])


def details(index: dict[str, Any]) -> str:
    """A Markdown page: each claim of each paper, the expected value, and what the recorded runs found."""
    lines = [
        "# Claims",
        "",
        "Written by `dlmath index` from stored runs. ✓ reproduced, ✗ not reproduced, ~ inconclusive, – not testable at",
        "that scale or not run; in brackets the 95 % interval. An expected value is the paper's unless its basis is named.",
    ]
    for key, entry in index.items():
        lines += ["", f"## {entry['title']}", "", f"`dlmath run {key}`", ""]
        lines += ["| claim | expected | source | smoke | laptop | paper scale |", "|---|---|---|---|---|---|"]
        for claim in entry["claims"]:
            cells = [_cell(entry["scales"].get(scale), claim["name"]) for scale in SCALES]
            expected = f"{claim['expected']}{BASES[claim['basis']]}"
            lines.append(f"| {claim['statement']} | {expected} | {claim['source']} | {' | '.join(cells)} |")
        if entry["deviations"]:
            lines += ["", "Deviations from the paper:", "", *(f"- {text}" for text in entry["deviations"])]
        for scale, run in entry["scales"].items():
            machine = run["environment"]
            where = f"{machine['num_cores']} cores ({machine['device']}), {memory(run['peak_memory'])}"
            versions = f"Python {machine['python']}, jax {machine['packages']['jax']}"
            when = f"{run['finished'][:10]}, commit {machine['commit'] or 'unknown'}"
            lines += ["", f"{scale}: {duration(run['seconds'])} on {where}, {versions}, {when}."]
    return "\n".join(lines) + "\n"


def _recorded(record: dict[str, Any], rows: list[Any]) -> dict[str, Any]:
    kept = ("name", "statement", "source", "basis", "expected", "ours", "verdict", "note", "fails")
    claims = [{name: getattr(row, name) for name in kept} for row in rows]
    return {
        "seconds": round(record["cost_seconds"], 2),
        "peak_memory": record["peak_memory"],
        "finished": record["finished"],
        **{name: record[name] for name in ("code", "claims_code", "provenance")},
        "units": record["units"]["total"],
        "stale": record["units"]["stale"],
        "environment": record["environment"],
        "claims": claims,
    }


def _summary(run: dict[str, Any] | None) -> str:
    if run is None:
        return "–"
    verdicts = [row["verdict"] for row in run["claims"]]
    testable = sum(verdict != "not testable at this scale" for verdict in verdicts)
    return f"{verdicts.count('reproduced')} of {testable}, {duration(run['seconds'])}"


def _cell(run: dict[str, Any] | None, name: str) -> str:
    row = next((row for row in (run or {}).get("claims", ()) if row["name"] == name), None)
    if row is None or row["verdict"] not in _MARKS:
        return "–"
    known = " (known)" if row["fails"] and row["verdict"] == "not reproduced" else ""
    return f"{_MARKS[row['verdict']]}{known} {row['ours']}".strip()
