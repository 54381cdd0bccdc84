"""What a page shows of a paper: stored runs scale by scale, the file they came from, and what is wrong with them."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dlmath import _wording, files, repro, workspace
from dlmath.report import _words
from dlmath.report._intervals import curve_plot, interval_plot
from dlmath.report._regions import Region, is_curve, regions
from dlmath.report._source import field_docstrings, paragraphs

SCALES = (*repro.SCALE_NAMES, "custom")


class Row(NamedTuple):
    """A claim at a scale; `plot` is an inline SVG or empty."""

    name: str
    statement: str
    source: str
    basis: str
    expected: str
    ours: str
    verdict: str
    mark: _words.Mark
    note: str
    fails: str
    plot: str


class Section(NamedTuple):
    """A paper at a scale. `stored` is false for a run that was made elsewhere and is only recorded in the index."""

    scale: str
    stored: bool
    rows: list[Row]
    seconds: float
    facts: list[str]
    command: str
    freshness: str
    changes: list[str]
    settings: list[tuple[str, str, str]]
    environment: list[tuple[str, str]]
    figures: dict[str, Path]
    errors: dict[str, str]
    non_finite: dict[str, str]
    damaged: list[str]
    deviations: list[str]

    @property
    def testable(self) -> int:
        """Number of claims that can be tested at this scale."""
        return sum(row.mark != _words.UNTESTABLE for row in self.rows)

    @property
    def held(self) -> int:
        """Number of claims that were reproduced."""
        return sum(row.verdict == repro.REPRODUCED for row in self.rows)

    @property
    def label(self) -> str:
        """The scale in words."""
        return _words.SCALES.get(self.scale, self.scale)


class Page(NamedTuple):
    """Everything shown of a paper. `problems` maps a scale, or "file", to what is wrong, in words."""

    key: str
    title: str
    abstract: list[tuple[str, str]]
    deviations: list[str]
    claims: int
    sections: list[Section]
    problems: dict[str, str]
    review: str
    review_path: Path | None

    def section(self, scale: str) -> Section | None:
        """The section of a scale, or None."""
        return next((section for section in self.sections if section.scale == scale), None)


def gather(root: Path, results: Path, key: str, scales: Sequence[str], index: Mapping[str, Any]) -> Page:
    """Reads everything that is known of a paper; what cannot be read is a problem, not an exception."""
    folder = workspace.experiments_folder(root)
    path, problems, sections = workspace.find(key, folder), {}, []
    recorded = index.get(key, {})
    try:
        paper = repro.load(path)
    except (Exception, SystemExit) as error:
        paper = None
        what = _words.portable(str(error), root)
        problems["file"] = f"experiments/{key}.py does not load: {type(error).__name__}: {what}"
    for scale in scales:
        try:
            run = repro.latest_run(results, key, scale)
            if run is not None:
                sections.append(_stored(run, paper, results, root))
            elif scale in recorded.get("scales", {}):
                sections.append(_recorded(key, scale, recorded["scales"][scale], paper, root))
        except (ValueError, KeyError, TypeError, OSError) as error:
            damaged = isinstance(error, files.DamagedFileError)
            what = "is damaged: " if damaged else f"cannot be read: {type(error).__name__}: "
            problems[scale] = f"the latest run {what}{_words.portable(str(error), results.parent, root)}"
    title, abstract, deviations = _described(path, paper, recorded, sections)
    num_claims = len(paper.experiment.claims) if paper else max((len(s.rows) for s in sections), default=0)
    words, review = _review(key, root)
    return Page(key, title, abstract, deviations, num_claims, sections, problems, words, review)


def _stored(run: repro.StoredRun, paper: repro.Paper | None, results: Path, root: Path) -> Section:
    record = run.record

    def local(text: str) -> str:
        return _words.portable(text, results.parent, root)

    accepted = regions(run, paper)
    rows = [_row(claim._asdict(), local, _plot(claim, accepted.get(claim.name))) for claim in run.claims]
    units = record["units"]
    parts = [f"{units[name]} {name}" for name in ("computed", "reused", "failed") if units.get(name)]
    facts = [
        _time(record),
        f"{_wording.count(units['total'], 'unit')} ({', '.join(parts)})",
        f"{_wording.memory(record['peak_memory'])} of memory",
        f"finished {_date(record['finished'])}",
        f"run {run.folder.name}",
    ]
    if paper is None:
        freshness, changes = "Whether it is up to date cannot be told: the experiment's file does not load.", []
    else:
        changes = [local(text) for text in run.changes_since(paper)]
        freshness = (
            "Out of date: something that these numbers rest on has changed since."
            if changes
            else "Up to date with the experiment's file, dlmath and the packages installed here."
        )
    if units.get("stale"):
        freshness += f" {_wording.count(units['stale'], 'reused unit')} had been computed with other versions."
    details = {"Platform": record.get("platform"), "Engine": record.get("engine"), "Precision": record.get("precision")}
    return Section(
        scale=run.scale,
        stored=True,
        rows=rows,
        seconds=record.get("cost_seconds", record["seconds"]),
        facts=facts,
        command=_command(record, local),
        freshness=freshness,
        changes=changes,
        settings=_settings(record["config"], run.text, paper, local),
        environment=_environment(record["environment"], details, local),
        figures=run.figures,
        errors={local(unit): local(trace) for unit, trace in record["errors"].items()},
        non_finite={local(unit): local(text) for unit, text in record.get("non_finite", {}).items()},
        damaged=[local(name) for name in record.get("damaged", [])],
        deviations=list(record.get("deviations", [])),
    )


def _recorded(key: str, scale: str, run: Mapping[str, Any], paper: repro.Paper | None, root: Path) -> Section:
    """A section from the index: the claims and what they cost, without intervals, settings and figures."""
    rows = [_row(claim, str, "") for claim in run["claims"]]
    freshness, changes = "Recorded, not stored here: figures and settings are with the machine that ran it.", []
    if paper is not None and "claims_code" in run:
        changes = repro.changes_since(run, paper)
        freshness += (
            " Out of date: something that these numbers rest on has changed since."
            if changes
            else " Up to date with the experiment's file, dlmath and the packages installed here."
        )
    facts = [
        _wording.duration(run["seconds"]),
        _wording.count(run["units"], "unit"),
        f"{_wording.memory(run['peak_memory'])} of memory",
        f"finished {_date(run['finished'])}",
    ]
    return Section(
        scale=scale,
        stored=False,
        rows=rows,
        seconds=run["seconds"],
        facts=facts,
        command=f"dlmath run {key} --scale {scale}",
        freshness=freshness,
        changes=changes,
        settings=[],
        environment=_environment(run["environment"], {}, lambda text: _words.portable(text, root)),
        figures={},
        errors={},
        non_finite={},
        damaged=[],
        deviations=[],
    )


def _row(claim: Mapping[str, Any], local: Any, plot: str) -> Row:
    return Row(
        name=claim["name"],
        statement=claim["statement"],
        source=claim["source"],
        basis=_words.BASES[claim["basis"]],
        expected=claim["expected"],
        ours=claim["ours"],
        verdict=claim["verdict"],
        mark=_words.mark(claim["verdict"], claim["fails"]),
        note=local(claim["note"]),
        fails=claim["fails"],
        plot=plot,
    )


def _plot(claim: repro.Judgement, region: Region | None) -> str:
    if region is None:
        return ""
    low, high = region
    if not is_curve(claim):
        return interval_plot(claim.value[0], claim.low[0], claim.high[0], (float(low[0]), float(high[0])))
    value, bottom, top = (np.asarray(a, float) for a in (claim.value, claim.low, claim.high))
    return curve_plot(value, bottom, top, low, high)


def _time(record: Mapping[str, Any]) -> str:
    seconds, cost = record["seconds"], record.get("cost_seconds", record["seconds"])
    whole = _wording.duration(cost)
    return whole if cost - seconds < 0.1 else f"{whole}, of them {_wording.duration(seconds)} in this run"


def _date(finished: str) -> str:
    return finished.replace("T", " ").replace("Z", " UTC")


def _command(record: Mapping[str, Any], local: Any) -> str:
    """The command as it can be typed elsewhere: without the place on this machine where results were put."""
    if not record.get("command"):
        known = record["scale"] in repro.SCALE_NAMES
        return f"dlmath run {record['key']} --scale {record['scale']}" if known else ""
    words = shlex.split(record["command"])
    for i, word in enumerate(words):
        if word == "--results" and i + 1 < len(words) and Path(words[i + 1]).is_absolute():
            words[i : i + 2] = ["", ""]
        elif word.startswith("--results=") and Path(word.partition("=")[2]).is_absolute():
            words[i] = ""
    return local(shlex.join(word for word in words if word))


def _settings(
    config: Mapping[str, Any], text: str, paper: repro.Paper | None, local: Any
) -> list[tuple[str, str, str]]:
    docs = field_docstrings(text, paper.experiment.config.__name__ if paper else "Config")
    return [(name, local(_words.setting(value)), docs.get(name, "")) for name, value in config.items()]


def _environment(machine: Mapping[str, Any], details: Mapping[str, Any], local: Any) -> list[tuple[str, str]]:
    packages = ", ".join(f"{name} {version}" for name, version in machine.get("packages", {}).items())
    rows = {
        "Device": f"{machine.get('device', 'unknown')} × {machine.get('num_devices', 1)}",
        "Cores": machine.get("num_cores"),
        "System": machine.get("system"),
        **details,
        "dlmath": f"{machine.get('dlmath', 'unknown')}, commit {machine.get('commit') or 'unknown'}",
        "Python": machine.get("python"),
        "Packages": packages,
        "XLA flags": machine.get("xla_flags"),
    }
    return [(name, local(str(value))) for name, value in rows.items() if value not in (None, "")]


def _described(
    path: Path, paper: repro.Paper | None, recorded: Mapping[str, Any], sections: Iterable[Section]
) -> tuple[str, list[tuple[str, str]], list[str]]:
    """Title, abstract as paragraphs and formulas, and deviations: from the file, else from what was recorded."""
    try:
        title, abstract = workspace.title_and_abstract(path.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError):
        title, abstract = recorded.get("title", ""), ""
    if paper is not None:
        deviations = list(paper.experiment.deviations)
    else:
        deviations = next((s.deviations for s in sections if s.deviations), list(recorded.get("deviations", [])))
    return title or path.stem, paragraphs(abstract), deviations


def _review(key: str, root: Path) -> tuple[str, Path | None]:
    """What there is to say of a paper's review, and its page if it was built."""
    folder = root / "paper_reviews" / key
    if not folder.is_dir():
        return "", None
    built = folder / "build" / "review.html"
    page = built if built.is_file() else None
    words = "" if page else f"paper_reviews/{key} has a review; dlmath review build {key} makes its page."
    return words, page
