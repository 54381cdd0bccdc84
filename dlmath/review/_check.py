"""Checks reviews: form, citations, numbers, staleness, and that every format can be made."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from dlmath import check as arguments
from dlmath import workspace
from dlmath.review import _bibliography, _build, _document, _evidence, _numbers, _rules
from dlmath.review._document import Document
from dlmath.review._layout import BIBLIOGRAPHY, DOCUMENTS, document_path, folder
from dlmath.review._pandoc import ConversionError
from dlmath.review._problem import Problem, ReviewError


def check(
    root: str | os.PathLike[str],
    key: str,
    *,
    documents: Sequence[str] = tuple(DOCUMENTS),
    scale: str | None = None,
    results: str | os.PathLike[str] | None = None,
    convert: bool = True,
) -> list[Problem]:
    """Everything that is wrong with the reviews of a paper, by document and line; empty if they are in order.

    Checked are the header, sections and their order, length, the notation table, speaker notes, citations and
    `refs.bib`, that every placeholder has a result behind it that is not stale, that no number is typed where a
    measured one belongs, that nothing is left of the scaffold, and that HTML, PDF and slides can be made.

    Args:
        root: the workspace.
        key: the paper.
        documents: which of proposal, review and slides.
        scale: the scale to quote; by default each document's own, else the largest at which a number was measured.
        results: folder of stored results; `results` in the workspace by default.
        convert: whether to try if every format can be made, which takes half the time.

    Raises:
        ValueError: for a paper without reviews, an unknown document or scale, or if pandoc is not installed.
    """
    from dlmath import repro

    documents = [arguments.one_of("documents", name, tuple(DOCUMENTS)) for name in documents]
    if scale is not None:
        arguments.one_of("scale", scale, repro.SCALE_NAMES)
    paths = [document_path(root, key, name) for name in documents]
    evidence = _evidence.gather(root, key, results)
    problems: list[Problem] = []
    scales: set[str] = set()
    cited: set[str] = set()
    for name, path in zip(documents, paths, strict=True):
        if not path.is_file():
            problems.append(Problem(path, 1, "file", f"there is no {path.name}", f"dlmath new {key} writes a scaffold"))
            continue
        try:
            document = _document.read(root, key, name, evidence, scale)
        except ConversionError as error:
            problems.append(Problem(path, _line_named(error), "conversion", error.args[0], "mend the Markdown"))
        except UnicodeDecodeError as error:
            problems.append(Problem(path, 1, "file", f"is not UTF-8: {error}", "save it as UTF-8"))
        else:
            problems += _of_document(root, key, document, convert)
            cited |= set(_rules.cited(document))
            scales |= {use.source.scale for use in document.uses}
    faults = _evidence.relevant_faults(evidence, scales)
    problems = [*(Problem(fault.path, 1, "result", fault.message, fault.remedy) for fault in faults), *problems]
    experiment = workspace.experiments_folder(Path(root)) / f"{key}.py"
    if experiment.is_file():
        problems += _document.unfinished(experiment, experiment.read_text(encoding="utf-8"))
    bibliography = folder(root) / BIBLIOGRAPHY
    entries, faults = _bibliography.read(bibliography)
    # Others may be at work on entries of their own.
    ours = [entry for entry in entries.values() if entry.key == key or entry.key in cited]
    return [*problems, *faults, *_bibliography.unfinished(bibliography, ours)]


def _of_document(root: str | os.PathLike[str], key: str, document: Document, convert: bool) -> list[Problem]:
    entries, _ = _bibliography.read(folder(root) / BIBLIOGRAPHY)
    problems = [
        *document.problems,
        *_rules.header(document),
        *_rules.sections(document),
        *_rules.length(document),
        *_rules.notation(document),
        *_rules.raw(document),
        *_rules.citations(document, key, entries),
        *stale(document, key),
        *_numbers.literal_numbers(document),
        *_document.unfinished(document.path, document.text),
    ]
    if convert and not any(problem.rule in ("citation", "conversion", "figure") for problem in problems):
        problems += _conversions(root, key, document)
    return sorted(problems, key=lambda problem: problem.line)


def stale(document: Document, key: str) -> list[Problem]:
    """A problem for each run that a document quotes and that is out of date."""
    problems, told = [], set()
    for use in document.uses:
        source = use.source
        if source.changes and source.scale not in told:
            told.add(source.scale)
            message, remedy = _evidence.outdated(key, source)
            problems.append(Problem(document.path, use.line, "stale", message, remedy))
        elif source.old_figures and use.what.startswith("figure") and not source.changes:
            message = f"{use.what} was drawn before figures() changed"
            problems.append(
                Problem(document.path, use.line, "stale", message, f"dlmath run {key} --scale {source.scale}")
            )
    return problems


def _conversions(root: str | os.PathLike[str], key: str, document: Document) -> list[Problem]:
    try:
        _build.contents(root, key, document)
    except ReviewError as error:
        return error.problems
    return []


def _line_named(error: ConversionError) -> int:
    found = re.search(r"line (\d+)", str(error.args[0]))
    return int(found[1]) if found else 1
