"""BibTeX as far as a check needs it: entries with their lines, and what is wrong with them."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from dlmath.review._layout import UNFINISHED
from dlmath.review._problem import Problem

_REQUIRED = {"title": ("title",), "author": ("author", "editor"), "year": ("year", "date")}
_IGNORED = ("comment", "preamble", "string")
_KEY = re.compile(r"[^\s,{}\"'#%~\\()]+")


class Entry(NamedTuple):
    """One entry: its kind (article, book, …), key, line and fields, whose names are in lower case."""

    kind: str
    key: str
    line: int
    fields: dict[str, str]


class _BibTeXError(Exception):
    """A malformed entry: what was expected, and where in the text."""


def read(path: Path) -> tuple[dict[str, Entry], list[Problem]]:
    """Entries of a BibTeX file by key, and what is wrong with it; a file that is absent has no entries."""
    if not path.is_file():
        return {}, []
    text = path.read_text(encoding="utf-8")
    entries: dict[str, Entry] = {}
    problems: list[Problem] = []

    def report(line: int, message: str, remedy: str) -> None:
        problems.append(Problem(path, line, "bibliography", message, remedy))

    for start in re.finditer(r"^[ \t]*@[ \t]*(\w+)[ \t\r\n]*", text, re.MULTILINE):
        kind, line = start[1].lower(), _line(text, start.start() + start[0].index("@"))
        if kind in _IGNORED:
            continue
        try:
            entry = _entry(text, kind, line, start.end())
        except _BibTeXError as fault:
            expected, where = fault.args
            report(line, f"@{kind} is malformed: line {_line(text, where)} lacks {expected}", "mend the entry")
            continue
        if entry.key in entries:
            report(line, f"{entry.key!r} is already on line {entries[entry.key].line}", "remove one of the two")
            continue
        entries[entry.key] = entry
        for name, alternatives in _REQUIRED.items():
            if not any(entry.fields.get(option, "").strip() for option in alternatives):
                report(line, f"entry {entry.key!r} has no {name}", f"add {name} = {{…}}")
        report_year = entry.fields.get("year", "")
        if report_year and UNFINISHED not in report_year and not re.fullmatch(r"\d{4}\w?", report_year):
            report(line, f"year of {entry.key!r} must be four digits, got {report_year!r}", "mend the year")
    return entries, problems


def unfinished(path: Path, entries: Iterable[Entry]) -> list[Problem]:
    """Fields of entries that a scaffold left to be written."""
    return [
        Problem(path, entry.line, "unfinished", f"{name} of {entry.key!r} is still to be filled in", "write it")
        for entry in entries
        for name, value in entry.fields.items()
        if UNFINISHED in value
    ]


def _entry(text: str, kind: str, line: int, at: int) -> Entry:
    at = _expect(text, at, "{", f"{{ after @{kind}")
    found = _KEY.match(text, _blank(text, at))
    if not found:
        raise _BibTeXError("a key", at)
    key, at = found[0], _blank(text, found.end())
    fields: dict[str, str] = {}
    while True:
        if text[at : at + 1] == "}":
            return Entry(kind, key, line, fields)
        at = _blank(text, _expect(text, at, ",", "a comma or the closing brace"))
        if text[at : at + 1] == "}":
            return Entry(kind, key, line, fields)
        name = re.compile(r"[A-Za-z][\w-]*").match(text, at)
        if not name:
            raise _BibTeXError("a field such as title = {…}", at)
        at = _expect(text, name.end(), "=", f"= after {name[0]}")
        value, at = _value(text, _blank(text, at))
        fields[name[0].lower()] = " ".join(value.split())
        at = _blank(text, at)


def _value(text: str, at: int) -> tuple[str, int]:
    opening = text[at : at + 1]
    if opening not in ("{", '"'):
        bare = re.compile(r"\w+").match(text, at)
        if not bare:
            raise _BibTeXError("a value in braces", at)
        return bare[0], bare.end()
    depth, end = int(opening == "{"), at + 1
    while end < len(text):
        letter = text[end]
        if letter == "\\":
            end += 1
        elif letter == '"' and opening == '"' and depth == 0:
            return text[at + 1 : end], end + 1
        elif letter == "{":
            depth += 1
        elif letter == "}":
            depth -= 1
            if depth == 0 and opening == "{":
                return text[at + 1 : end], end + 1
        elif letter == "@" and text[text.rfind("\n", 0, end) + 1 : end].strip() == "":
            break  # a new entry begins: a brace is missing before it
        end += 1
    raise _BibTeXError("the end of a value: braces do not match", at)


def _expect(text: str, at: int, letter: str, expected: str) -> int:
    at = _blank(text, at)
    if text[at : at + 1] != letter:
        raise _BibTeXError(expected, min(at, len(text)))
    return at + 1


def _blank(text: str, at: int) -> int:
    found = re.compile(r"\s*").match(text, at)
    return found.end() if found else at


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1
