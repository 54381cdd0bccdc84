"""The form of a document: header, sections, length, notation, notes of slides, citations."""

import re
from collections.abc import Mapping
from typing import Any

from dlmath import check
from dlmath.review import _document, _pandoc
from dlmath.review._bibliography import Entry
from dlmath.review._document import Document, Section
from dlmath.review._layout import DOCUMENTS, NOTATION, NUM_SLIDES, UNFINISHED
from dlmath.review._problem import Problem

_NOT_PROSE = ("Header", "Table", "Figure", "CodeBlock", "RawBlock", "RawInline", "Note", "Image")


def header(document: Document) -> list[Problem]:
    """The header names a title, authors and a date."""
    problems = []
    for name, example in (("title", "title: …"), ("authors", "authors: [Ada Lovelace]"), ("date", "date: 2026-11-20")):
        text = _document.meta_text(document.tree, name)
        if not text.strip():
            problems.append(Problem(document.path, 1, "header", f"the header has no {name}", f"add {example}"))
        elif name == "date" and UNFINISHED not in text and not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
            message = f"date must be YEAR-MONTH-DAY, got {text!r}"
            problems.append(Problem(document.path, _document.line_of(document, "date:"), "header", message, example))
    return problems


def sections(document: Document) -> list[Problem]:
    """Every section of the layout is there, in order, and says something."""
    expected, path = DOCUMENTS[document.name].sections, document.path
    found = [(section.line, section.title) for section in document.sections]
    problems = [
        Problem(
            path,
            line,
            "section",
            f"heading {title!r} is of level 1",
            "headings begin with ##; the title stands in the header",
        )
        for line, level, title in _pandoc.headings(document.text)
        if level == 1
    ]
    if expected:
        problems += _order(document, expected, found)
    for section in document.sections:
        if not _says_something(section) and not _unfinished_in(document, section):
            kind = "slide" if document.name == "slides" else "section"
            message = f"{kind} {section.title!r} is empty"
            problems.append(Problem(path, section.line, "section", message, "write it, or remove the heading"))
    return problems


def length(document: Document) -> list[Problem]:
    """The words of the sections are as many as the layout allows; notes of slides by themselves."""
    low, high = DOCUMENTS[document.name].words
    if document.name == "slides":
        return _talk(document, low, high)
    counts = [(section.title, num_words(section.blocks)) for section in document.sections]
    total = sum(count for _, count in counts)
    if low <= total <= high:
        return []
    listed = ", ".join(f"{title.split('.')[0] if low else title}: {count}" for title, count in counts)
    wanted = f"{low} to {high}" if low else f"at most {high}"
    change = f"write {low - total} more" if total < low else f"cut {total - high}"
    message = f"{total} words of prose, expected {wanted}; by section {listed}"
    return [
        Problem(
            document.path,
            1,
            "length",
            message,
            f"{change}; tables, display formulas, code and captions are not counted",
        )
    ]


def notation(document: Document) -> list[Problem]:
    """The setting of a review has a table of its notation."""
    for section in document.sections:
        if document.name == "review" and section.title == NOTATION:
            tables = [element for element in _pandoc.walk(section.blocks) if element["t"] == "Table"]
            if not any(len(table["c"][2]) >= 2 and table["c"][4] and table["c"][4][0][3] for table in tables):
                message = f"section {NOTATION!r} has no notation table"
                remedy = "add one: | on paper | in code | meaning |"
                return [Problem(document.path, section.line, "notation", message, remedy)]
    return []


def raw(document: Document) -> list[Problem]:
    """No HTML or TeX that a PDF would silently lack."""
    problems = []
    for element in _pandoc.walk(document.tree["blocks"]):
        if element["t"] in ("RawBlock", "RawInline") and not element["c"][1].strip().startswith("<!--"):
            text = element["c"][1].strip().splitlines()[0][:40]
            line = _document.line_of(document, text)
            message = f"raw {element['c'][0]} {text!r} is not shown in every format"
            problems.append(
                Problem(document.path, line, "conversion", message, "write it in Markdown, formulas in $…$")
            )
    return problems


def citations(document: Document, key: str, entries: Mapping[str, Entry]) -> list[Problem]:
    """Every citation has an entry in the bibliography, and the paper itself is cited."""
    problems = []
    for name in cited(document):
        if name not in entries:
            line = _document.line_of(document, f"@{name}")
            meant = check.did_you_mean(name, list(entries))
            message = f"unknown citation key {name!r}{meant}"
            problems.append(Problem(document.path, line, "citation", message, "add it to paper_reviews/refs.bib"))
    if key not in cited(document):
        problems.append(Problem(document.path, 1, "citation", "the paper itself is not cited", f"cite it: [@{key}]"))
    return problems


def cited(document: Document) -> list[str]:
    """Keys of the citations of a document."""
    found = (c["citationId"] for e in _pandoc.walk(document.tree["blocks"]) if e["t"] == "Cite" for c in e["c"][0])
    return list(dict.fromkeys(found))


def num_words(blocks: Any) -> int:
    """Words of prose: an inline formula, a piece of code or a citation is one word each.

    Headings, tables, figures and their captions, display formulas, code blocks, notes and comments are not counted.
    """
    if isinstance(blocks, list):
        return sum(num_words(block) for block in blocks)
    if not isinstance(blocks, dict):
        return 0
    kind = blocks.get("t")
    if kind in _NOT_PROSE or (kind == "Div" and {"notes", "refs"} & {*blocks["c"][0][1], blocks["c"][0][0]}):
        return 0
    if kind == "Str":
        return int(any(letter.isalnum() for letter in blocks["c"]))
    if kind == "Math":
        return int(blocks["c"][0]["t"] == "InlineMath")
    if kind in ("Cite", "Code"):
        return 1
    return sum(num_words(child) for child in blocks.values())


def spoken(section: Section) -> int:
    """Words of the speaker notes on a slide."""
    return sum(num_words(notes["c"][1]) for notes in _notes(section))


def _order(document: Document, expected: tuple[str, ...], found: list[tuple[int, str]]) -> list[Problem]:
    problems, path = [], document.path
    known = [(line, title) for line, title in found if title in expected]
    missing = [title for title in expected if title not in {title for _, title in known}]
    for line, title in found:
        if title not in expected:
            meant = check.did_you_mean(title, missing)
            if meant:  # one fault, told once
                missing = [name for name in missing if repr(name) not in meant]
            remedy = "rename it" if meant else "use ### inside a section, or remove it"
            problems.append(Problem(path, line, "section", f"unknown section {title!r}{meant}", remedy))
    for title in missing:
        before = expected[: expected.index(title)]
        after = next((name for name in reversed(before) if name in {t for _, t in known}), None)
        line = next((at for at, name in known if name == after), 1)
        place = f"after '## {after}'" if after else "at the beginning"
        problems.append(Problem(path, line, "section", f"section '## {title}' is missing", f"add it {place}"))
    seen: dict[str, int] = {}
    last = -1
    for line, title in known:
        if title in seen:
            message = f"section {title!r} stands on line {seen[title]} already"
            problems.append(Problem(path, line, "section", message, "join the two"))
            continue
        seen[title] = line
        if expected.index(title) < last:
            message = f"section {title!r} stands after {expected[last]!r}"
            problems.append(Problem(path, line, "section", message, "put sections in order"))
        last = max(last, expected.index(title))
    return problems


def _talk(document: Document, low: int, high: int) -> list[Problem]:
    problems, slides = [], document.sections
    fewest, most = NUM_SLIDES
    if not fewest <= len(slides) <= most:
        message = f"{len(slides)} slides, expected {fewest} to {most} for 20 minutes"
        problems.append(Problem(document.path, 1, "length", message, "each ## begins a slide"))
    for section in slides:
        if not spoken(section) and not _unfinished_in(document, section):
            message = f"slide {section.title!r} has no speaker notes"
            problems.append(Problem(document.path, section.line, "length", message, "add ::: notes … :::"))
    if any(element["t"] == "HorizontalRule" for element in document.tree["blocks"]):
        line = next(
            (
                n
                for n, row in enumerate(document.text.splitlines(), 1)
                if n > 1 and re.fullmatch(r"\s*([-*_]\s*){3,}", row) and not _in_header(document.text, n)
            ),
            1,
        )
        problems.append(Problem(document.path, line, "section", "a rule begins a slide without a title", "use ## …"))
    total = sum(spoken(section) for section in slides)
    if not low <= total <= high:
        pace = "20 minutes at 80 to 150 words a minute"
        change = f"write {low - total} more" if total < low else f"cut {total - high}"
        message = f"{total} spoken words in the notes, expected {low} to {high} ({pace})"
        problems.append(Problem(document.path, 1, "length", message, change))
    return problems


def _notes(section: Section) -> list[dict[str, Any]]:
    return [e for e in _pandoc.walk(section.blocks) if e["t"] == "Div" and "notes" in e["c"][0][1]]


def _says_something(section: Section) -> bool:
    kinds = ("Str", "Math", "Code", "CodeBlock", "Image", "Table")
    spoken_aside = sum(e["t"] in kinds for notes in _notes(section) for e in _pandoc.walk(notes))
    return sum(e["t"] in kinds for e in _pandoc.walk(section.blocks)) > spoken_aside


def _unfinished_in(document: Document, section: Section) -> list[Problem]:
    stop = min((other.line for other in document.sections if other.line > section.line), default=10**9)
    return [p for p in _document.unfinished(document.path, document.text) if section.line <= p.line < stop]


def _in_header(text: str, line: int) -> bool:
    rows = text.splitlines()
    end = next((n for n, row in enumerate(rows[1:], start=2) if row.rstrip() in ("---", "...")), 1)
    return rows[0].rstrip() == "---" and line <= end
