"""A document read: its placeholders filled, its sections found, and what is wrong so far."""

import os
import re
from pathlib import Path
from typing import Any, NamedTuple

from dlmath import check
from dlmath.review import _pandoc, _placeholders
from dlmath.review._evidence import Evidence, Source
from dlmath.review._layout import UNFINISHED, document_path
from dlmath.review._placeholders import Figure, PlaceholderError, Table, Use
from dlmath.review._problem import Problem

_TOKEN = re.compile(r"DLMATH([a-z]+)DLMATH")
_COLUMNS = (("claim", 34), ("source", 20), ("expected", 16), ("ours", 20), ("verdict", 14), ("scale", 8))


class Section(NamedTuple):
    """What stands under one `##` heading.

    Attributes:
        line, title: of the heading.
        blocks: its contents with placeholders filled.
        typed: its contents with a mark in place of each placeholder, which `is_mark` recognises.
    """

    line: int
    title: str
    blocks: list[Any]
    typed: list[Any]


class Document(NamedTuple):
    """A proposal, a review or slides.

    Attributes:
        path, name, text: the file, which document it is, and the text as it stands.
        tree: pandoc's syntax tree with placeholders filled.
        sections: what stands under each heading.
        images: name of an image in the tree -> file.
        uses: runs that are quoted.
        problems: what is wrong with placeholders.
    """

    path: Path
    name: str
    text: str
    tree: dict[str, Any]
    sections: tuple[Section, ...]
    images: dict[str, Path]
    uses: tuple[Use, ...]
    problems: tuple[Problem, ...]


def read(root: str | os.PathLike[str], key: str, name: str, evidence: Evidence, scale: str | None = None) -> Document:
    """Reads `paper_reviews/<key>/<name>.md` and fills its placeholders from the evidence.

    Args:
        root: the workspace.
        key: the paper.
        name: the document.
        evidence: what has been measured.
        scale: the scale to quote, instead of the document's own (its header's `scale`).

    Raises:
        FileNotFoundError: if there is no such document.
        ConversionError: if pandoc cannot read it.
    """
    from dlmath import repro

    path = document_path(root, key, name)
    text = path.read_text(encoding="utf-8")
    problems: list[Problem] = []
    uses: list[Use] = []
    scale_line, own_scale = _header_scale(text)
    if own_scale and own_scale not in repro.SCALE_NAMES:
        meant = check.did_you_mean(own_scale, repro.SCALE_NAMES)
        known = ", ".join(repro.SCALE_NAMES)
        problems.append(Problem(path, scale_line, "header", f"unknown scale {own_scale!r}{meant}", f"one of {known}"))
        own_scale = None
    line = 0

    def used(source: Source, what: str) -> None:
        uses.append(Use(source, what, line))

    names = _placeholders.namespace(evidence, scale or own_scale, used)
    values: dict[str, str] = {}
    images: dict[str, Path] = {}
    masked = ""
    try:
        parts = list(_placeholders.pieces(text))
    except PlaceholderError as error:
        at = error.args[1] or 1
        problems.append(Problem(path, at, "result", error.args[0], error.remedy))
        parts = []
    for i, piece in enumerate(parts):
        if not piece.is_placeholder:
            masked += piece.text
            continue
        line = piece.line
        try:
            value = _placeholders.evaluate(piece.text, names)
            whole = _placeholders.largest(evidence, scale or own_scale)
            if whole is not None and _placeholders.quotes_run(piece.text):
                used(whole, "run")
            following = parts[i + 1].text if i + 1 < len(parts) else "\n"
            alone = not masked.rpartition("\n")[2].strip() and not following.partition("\n")[0].strip()
            if isinstance(value, Figure | Table) and not alone:
                what = "figure" if isinstance(value, Figure) else "table"
                raise PlaceholderError(f"a {what} must stand on a line of its own", "put blank lines around it")
        except PlaceholderError as error:
            problems.append(Problem(path, piece.line, error.rule, error.args[0], error.remedy))
            value = "?"
        if isinstance(value, Figure):
            image = f"{value.source.scale}-{re.sub(r'[^A-Za-z0-9._-]', '-', value.title)}.svg"
            images[image] = value.source.figures[value.title]
            scale_name = _mark(f"({value.source.scale} scale)", values)
            masked += f"![{value.caption.rstrip('. ')} {scale_name}]({image}){{width={value.width}}}"
        elif isinstance(value, Table):
            indent = masked.rpartition("\n")[2]
            masked += f"\n{indent}".join(_table(value, values))
        else:
            masked += _mark(_placeholders.as_text(value), values)
    typed = _pandoc.parse(masked or text)
    tree = _filled(typed, values)
    tree, missing = _with_images(tree, images, path, text)
    sections = _sections(text, typed["blocks"], tree["blocks"])
    return Document(path, name, text, tree, sections, images, tuple(uses), (*problems, *missing))


def is_mark(text: str) -> bool:
    """Whether a piece of typed text contains the mark of a placeholder."""
    return _TOKEN.search(text) is not None


def without_marks(text: str) -> str:
    """Typed text without the marks of placeholders."""
    return _TOKEN.sub("", text)


def line_of(document: Document, text: str, section: Section | None = None) -> int:
    """First line, in a section or in all, where a piece of text stands; the section's line if it stands nowhere."""
    lines = document.text.splitlines()
    start, stop = 0, len(lines)
    if section is not None:
        later = [other.line for other in document.sections if other.line > section.line]
        start, stop = section.line, min(later, default=stop + 1) - 1
    for number in range(start, stop):
        if text in lines[number]:
            return number + 1
    return section.line if section is not None else 1


def meta_text(tree: dict[str, Any], name: str) -> str:
    """A field of the header as text; the items of a list joined by commas; empty if absent."""
    value = tree["meta"].get(name)
    if value is None:
        return ""
    items = value["c"] if value["t"] == "MetaList" else [value]
    return ", ".join(_pandoc.plain_text(item) if isinstance(item["c"], list) else str(item["c"]) for item in items)


def unfinished(path: Path, text: str) -> list[Problem]:
    """What a scaffold, or an author in a hurry, left to be written."""
    found = []
    pattern = rf"<!--\s*{UNFINISHED}:?\s*(.*?)\s*-->|{UNFINISHED}|\bTODO\b|\bFIXME\b"
    for match in re.finditer(pattern, text, re.DOTALL):
        line = text.count("\n", 0, match.start()) + 1
        asked = " ".join((match[1] or text.splitlines()[line - 1]).split())
        asked = asked if len(asked) <= 100 else asked[:99].rsplit(" ", 1)[0] + " …"
        remedy = "write it and remove the comment" if match[1] else "write it"
        found.append(Problem(path, line, "unfinished", f"still to be written: {asked}", remedy))
    return found


def _mark(value: str, values: dict[str, str]) -> str:
    """A word without digits that stands for a value until pandoc has read the document."""
    number, letters = len(values), ""
    while number or not letters:
        number, rest = divmod(number, 26)
        letters += chr(ord("a") + rest)
    values[letters] = value
    return f"DLMATH{letters}DLMATH"


def _table(table: Table, values: dict[str, str]) -> list[str]:
    # Rows longer than pandoc's line: the table takes the full width, columns in the ratio of their dashes.
    lines = [" | ".join(("", *(name for name, _ in _COLUMNS), "")).strip()]
    lines.append("|" + "|".join("-" * width for _, width in _COLUMNS) + "|")
    for row in table.rows:
        cells = (row.statement, row.source, row.expected, row.ours or "–", row.verdict, row.scale)
        lines.append("| " + " | ".join(_mark(_placeholders.as_text(cell), values) for cell in cells) + " |")
    return ["", *lines, ""]


def _filled(tree: Any, values: dict[str, str]) -> Any:
    def plain(text: str) -> str:
        return _TOKEN.sub(lambda match: values[match[1]], text)

    def formula(text: str) -> str:
        return _TOKEN.sub(lambda match: _tex(values[match[1]]), text)

    def change(element: dict[str, Any]) -> Any:
        kind, content = element["t"], element.get("c", "")
        if kind == "Str" and is_mark(content):
            return _pandoc.inlines(_unbroken(plain(content)))
        if kind == "Math" and is_mark(content[1]):
            return {"t": "Math", "c": [content[0], formula(content[1])]}
        if kind in ("Code", "CodeBlock", "RawInline", "RawBlock") and is_mark(content[1]):
            return {"t": kind, "c": [content[0], plain(content[1])]}
        if kind == "Header":
            identifier = _TOKEN.sub("", content[1][0])
            return {"t": kind, "c": [content[0], [identifier, *content[1][1:]], _pandoc.rewritten(content[2], change)]}
        return element

    return _pandoc.rewritten(tree, change)


def _unbroken(text: str) -> str:
    """No line break inside an interval such as [1.9, 2.1]."""
    return re.sub(r"\[[^\[\]]{1,40}\]", lambda match: match[0].replace(" ", "\u00a0"), text)


def _tex(text: str) -> str:
    if re.fullmatch(r"[−\d.,\[\] e-]+", text):
        return text.replace("−", "-")
    return r"\text{" + re.sub(r"([#$%&_{}])", r"\\\1", text) + "}"


def _with_images(
    tree: dict[str, Any], images: dict[str, Path], path: Path, text: str
) -> tuple[dict[str, Any], list[Problem]]:
    """The tree with every image under a name of its own in `images`."""
    problems: list[Problem] = []

    def change(element: dict[str, Any]) -> Any:
        if element["t"] != "Image":
            return element
        attributes, alternative, (url, title) = element["c"]
        if url in images:
            return element
        line = next((n for n, row in enumerate(text.splitlines(), 1) if url in row), 1)
        if re.match(r"[a-z]+:", url):
            problems.append(Problem(path, line, "figure", f"image {url} lies elsewhere", "keep it beside the document"))
            return []
        file = path.parent / url
        if not file.is_file():
            problems.append(Problem(path, line, "figure", f"there is no image {url}", "mend the name"))
            return []
        name = f"own-{len(images)}{file.suffix}"
        images[name] = file
        return {"t": "Image", "c": [attributes, alternative, [name, title]]}

    own = any(e["t"] == "Image" and e["c"][2][0] not in images for e in _pandoc.walk(tree))
    return (_pandoc.rewritten(tree, change) if own else tree), problems


def _sections(text: str, typed: list[Any], filled: list[Any]) -> tuple[Section, ...]:
    lines = [line for line, level, _ in _pandoc.headings(text) if level == 2]
    starts = [i for i, block in enumerate(typed) if block["t"] == "Header" and block["c"][0] == 2]
    found = []
    for number, start in enumerate(starts):
        # A heading of level 1 ends a section, too.
        end = next((i for i in range(start + 1, len(typed)) if _is_heading(typed[i])), len(typed))
        title = " ".join(_pandoc.plain_text(filled[start]["c"][2]).split())
        line = lines[number] if len(lines) == len(starts) else 1
        found.append(Section(line, title, filled[start + 1 : end], typed[start + 1 : end]))
    return tuple(found)


def _is_heading(block: dict[str, Any]) -> bool:
    return block["t"] == "Header" and block["c"][0] <= 2


def _header_scale(text: str) -> tuple[int, str | None]:
    if text.startswith("---"):
        for number, line in enumerate(text.splitlines()[1:], start=2):
            if line.rstrip() in ("---", "..."):
                break
            found = re.match(r"scale:\s*[\"']?([^\"'#]*)", line)
            if found and found[1].strip():
                return number, found[1].strip()
    return 1, None
