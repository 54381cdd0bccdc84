"""Makes HTML, PDF and slides of the documents of a paper."""

import calendar
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dlmath import check, files
from dlmath.review import _document, _evidence, _pandoc
from dlmath.review._document import Document
from dlmath.review._layout import BIBLIOGRAPHY, DOCUMENTS, document_path, folder
from dlmath.review._pandoc import ConversionError
from dlmath.review._problem import Problem, ReviewError

_HERE = Path(__file__).parent
_TEMPLATES, _REVEAL = _HERE / "templates", _HERE / "reveal"
# An address in a tag that loads what it names; addresses of links that a reader may follow are no matter.
_LOADS = re.compile(
    r"""<(?:script|img|iframe|link|source|video|audio|object|embed)\b[^>]*?\s(?:data-)?(?:src|href|data)="""
    r"""(?:"(?!data:)|'(?!data:)|(?!["']|data:))"""
)


def build(
    root: str | os.PathLike[str],
    key: str,
    *,
    documents: Sequence[str] = tuple(DOCUMENTS),
    scale: str | None = None,
    results: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
) -> list[Path]:
    """Writes `review.html`, `review.pdf`, `proposal.html`, `proposal.pdf` and `slides.html`, each a file of its own.

    HTML has formulas as MathML and everything it shows inside it; slides are a reveal.js presentation that needs no
    network (S opens the speaker's view, `?print-pdf` prints them). PDFs are set by Typst, the same bytes for the
    same document on every machine. Each ends in a list of the runs it quotes, which says so if one is stale.

    Args:
        root: the workspace.
        key: the paper.
        documents: which of proposal, review and slides.
        scale: the scale to quote; by default each document's own, else the largest at which a number was measured.
        results: folder of stored results; `results` in the workspace by default.
        out: where to write; `paper_reviews/<key>/build` by default, which git ignores.

    Returns:
        The files written.

    Raises:
        ReviewError: for a placeholder with no result behind it, an unknown citation, a formula that cannot be
            converted: everything that a file could not be made for, by document and line.
        ValueError: for a paper without reviews, an unknown document or scale, or if pandoc or Typst is not installed.
    """
    from dlmath import repro

    documents = [check.one_of("documents", name, tuple(DOCUMENTS)) for name in documents]
    if scale is not None:
        check.one_of("scale", scale, repro.SCALE_NAMES)
    paths = {name: document_path(root, key, name) for name in documents}
    evidence = _evidence.gather(root, key, results)
    target = Path(out) if out is not None else folder(root) / key / "build"
    made: dict[str, bytes] = {}
    problems: list[Problem] = []
    scales: set[str] = set()
    for name, path in paths.items():
        if not path.is_file():
            problems.append(Problem(path, 1, "file", f"there is no {path.name}", f"dlmath new {key} writes a scaffold"))
            continue
        try:
            document = _document.read(root, key, name, evidence, scale)
            problems += document.problems
            scales |= {use.source.scale for use in document.uses}
            made |= contents(root, key, document)
        except ConversionError as error:
            problems.append(Problem(path, 1, "conversion", error.args[0], "mend the Markdown"))
        except ReviewError as error:
            problems += error.problems
    faults = _evidence.relevant_faults(evidence, scales)
    problems += [Problem(fault.path, 1, "result", fault.message, fault.remedy) for fault in faults]
    if problems:
        raise ReviewError(problems)
    if out is None:
        files.write_text(target / ".gitignore", "*\n")
    for name, content in made.items():
        with files.replacing(target / name) as file:
            file.write(content)
    return [target / name for name in made]


def render(
    root: str | os.PathLike[str],
    key: str,
    document: str,
    *,
    scale: str | None = None,
    results: str | os.PathLike[str] | None = None,
) -> str:
    """A document as Pandoc Markdown with its placeholders filled; ReviewError if one has nothing behind it.

    Args:
        root: the workspace.
        key: the paper.
        document: proposal, review or slides.
        scale: the scale to quote; by default the document's own, else the largest at which a number was measured.
        results: folder of stored results; `results` in the workspace by default.
    """
    read = _document.read(root, key, document, _evidence.gather(root, key, results), scale)
    if read.problems:
        raise ReviewError(read.problems)
    return _pandoc.pandoc(json.dumps(read.tree), "json", "markdown", "--standalone", "--wrap=preserve")


def contents(root: str | os.PathLike[str], key: str, document: Document) -> dict[str, bytes]:
    """The files made of a document, by name; ReviewError for what pandoc or Typst cannot make."""
    bibliography = folder(root).resolve() / BIBLIOGRAPHY
    citing = ["--citeproc", "--metadata=link-citations:true"]
    citing += [f"--bibliography={bibliography}"] if bibliography.is_file() else []
    tree = json.dumps(_finished(document, key))
    with tempfile.TemporaryDirectory(prefix="dlmath-review-") as temporary:
        work = Path(temporary)
        for name, path in document.images.items():
            shutil.copyfile(path, work / name)
        try:
            if document.name == "slides":
                return {"slides.html": _slides(tree, citing, work)}
            return {
                f"{document.name}.html": _html(tree, citing, work),
                f"{document.name}.pdf": _pdf(tree, citing, work, _date(document)),
            }
        except ConversionError as error:
            line = _document.line_of(document, error.args[1].split("\n")[0]) if error.args[1] else 1
            problem = Problem(document.path, line, "conversion", error.args[0], "write it otherwise")
            raise ReviewError([problem]) from error


def _html(tree: str, citing: list[str], work: Path) -> bytes:
    options = (
        "--standalone",
        "--embed-resources",
        "--wrap=none",
        "--mathml",
        f"--template={_TEMPLATES / 'document.html'}",
        f"--css={_TEMPLATES / 'document.css'}",
    )
    return _self_contained(_pandoc.pandoc(tree, "json", "html5", *options, *citing, folder=work))


def _slides(tree: str, citing: list[str], work: Path) -> bytes:
    options = (
        "--standalone",
        "--embed-resources",
        "--wrap=none",
        "--mathml",
        "--slide-level=2",
        f"--template={_TEMPLATES / 'slides.html'}",
        f"--variable=reveal:{_REVEAL}",
        f"--css={_TEMPLATES / 'slides.css'}",
    )
    return _self_contained(_pandoc.pandoc(tree, "json", "revealjs", *options, *citing, folder=work))


def _pdf(tree: str, citing: list[str], work: Path, timestamp: int) -> bytes:
    options = ("--standalone", "--shift-heading-level-by=-1", f"--template={_TEMPLATES / 'document.typ'}")
    text = _pandoc.pandoc(tree, "json", "typst", *options, *citing, folder=work)
    (work / "document.typ").write_text(text, encoding="utf-8")
    return _pandoc.typst_pdf(work, "document.typ", timestamp)


def _self_contained(html: str) -> bytes:
    page = re.sub(r"(<script\b[^>]*>).*?</script>", r"\1</script>", html, flags=re.DOTALL)
    found = _LOADS.search(page)
    if found:
        what = page[found.start() : found.end() + 60].split(">")[0]
        raise ConversionError(f"the page would load something from outside: {what}", "")
    return html.encode()


def _date(document: Document) -> int:
    """The document's own date as the PDF's: the same document gives the same bytes."""
    try:
        return calendar.timegm(time.strptime(_document.meta_text(document.tree, "date"), "%Y-%m-%d"))
    except ValueError:
        return 0


def _finished(document: Document, key: str) -> dict[str, Any]:
    """The tree with labelled cells, without comments, with the runs it quotes and a place for references."""
    slides = document.name == "slides"
    blocks = _pandoc.rewritten(document.tree["blocks"], _tidied)
    if slides:
        blocks = _with_scales(blocks, document)
        if document.uses:
            blocks += [_heading("Runs", "runs"), *_colophon(document, key)]
    cites = any(element["t"] == "Cite" for element in _pandoc.walk(blocks))
    if cites and not any(e["t"] == "Div" and e["c"][0][0] == "refs" for e in _pandoc.walk(blocks)):
        blocks += [_heading("References", "references"), {"t": "Div", "c": [["refs", [], []], []]}]
    if document.uses and not slides:
        blocks.append({"t": "Div", "c": [["runs", ["runs"], []], _colophon(document, key)]})
    return {**document.tree, "blocks": blocks}


def _tidied(element: dict[str, Any]) -> Any:
    kind = element["t"]
    if kind in ("RawBlock", "RawInline") and element["c"][1].strip().startswith("<!--"):
        return []
    if kind == "CodeBlock":
        return {"t": kind, "c": [["", [], []], element["c"][1]]}
    if kind == "Table":
        return _labelled(element)
    return element


def _labelled(table: dict[str, Any]) -> dict[str, Any]:
    """Cells that say which column they belong to, for screens too narrow for the table."""
    attributes, caption, columns, head, bodies, foot = _pandoc.rewritten(table["c"], _tidied)
    labels = [_pandoc.plain_text(cell[4]).strip() for cell in head[1][0][1]] if head[1] else []
    for body in bodies:
        for row in body[3]:
            for label, cell in zip(labels, row[1], strict=False):
                cell[0] = [cell[0][0], cell[0][1], [*cell[0][2], ["label", label]]]
    return {"t": "Table", "c": [attributes, caption, columns, head, bodies, foot]}


def _colophon(document: Document, key: str) -> list[Any]:
    """Which runs the numbers come from: a paragraph a run."""
    sources: dict[str, Any] = {use.source.scale: use.source for use in document.uses}
    blocks = []
    for scale, source in sources.items():
        what = dict.fromkeys(use.what for use in document.uses if use.source.scale == scale)
        quoted = "Every number and figure" if len(sources) == 1 else _listed(list(what))
        text = (
            f"{quoted}: measured at {scale} scale on {source.environment}, {source.finished}, in {source.seconds}, by"
        )
        line = [
            *_pandoc.inlines(text),
            {"t": "Space"},
            {"t": "Code", "c": [["", [], []], source.command]},
            *_pandoc.inlines("."),
        ]
        if stale := (*source.changes, *source.below):
            line += [{"t": "Space"}, {"t": "Strong", "c": _pandoc.inlines(f"Stale: {', '.join(stale)}.")}]
        blocks.append({"t": "Para", "c": line})
    return blocks


def _listed(what: list[str]) -> str:
    """`claim a, claim b, figure c` as "Claims a, b; figure c"."""
    groups: dict[str, list[str]] = {}
    for item in what:
        kind, _, name = item.partition(" ")
        groups.setdefault(kind, []).append(name)
    text = "; ".join(f"{kind}{'s' * (len(names) > 1)} {', '.join(names)}" for kind, names in groups.items())
    return text[:1].upper() + text[1:]


def _with_scales(blocks: list[Any], document: Document) -> list[Any]:
    """Slides, each with a line that names the scales of the numbers on it."""
    made: list[Any] = []
    for i, block in enumerate(blocks):
        made.append(block)
        following = blocks[i + 1] if i + 1 < len(blocks) else None
        if following is not None and not (following["t"] == "Header" and following["c"][0] == 2):
            continue
        number = sum(b["t"] == "Header" and b["c"][0] == 2 for b in blocks[: i + 1])
        if number:
            start = document.sections[number - 1].line
            stop = document.sections[number].line if number < len(document.sections) else 10**9
            scales = dict.fromkeys(use.source.scale for use in document.uses if start <= use.line < stop)
            if scales:
                text = f"measured at {' and '.join(scales)} scale"
                made.append({"t": "Div", "c": [["", ["scale"], []], [{"t": "Para", "c": _pandoc.inlines(text)}]]})
    return made


def _heading(title: str, identifier: str) -> dict[str, Any]:
    return {"t": "Header", "c": [2, [identifier, ["unnumbered"], []], _pandoc.inlines(title)]}
