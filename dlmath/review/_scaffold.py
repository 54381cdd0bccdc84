"""Scaffolds for a paper: an experiment that runs as it is, and a proposal, a review and slides to be filled in."""

import datetime
import keyword
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from dlmath import check, files, workspace
from dlmath.review import _bibliography
from dlmath.review._layout import BIBLIOGRAPHY, DOCUMENTS, UNFINISHED, folder

_TEMPLATES = Path(__file__).parent / "templates" / "scaffold"
_ARXIV = re.compile(
    r"(?:(\d{2})(?:0[1-9]|1[0-2])\.\d{4,5}|[a-z-]+(?:\.[A-Z]{2})?/(\d{2})(?:0[1-9]|1[0-2])\d{3})(?:v\d+)?"
)


class Scaffold(NamedTuple):
    """What was written.

    Attributes:
        root: the workspace.
        written: new files.
        kept: what was there and is as it was, a sentence each.
    """

    root: Path
    written: tuple[Path, ...]
    kept: tuple[str, ...]


def scaffold(
    root: str | os.PathLike[str],
    key: str,
    *,
    title: str = "",
    authors: Sequence[str] = (),
    year: int | None = None,
    arxiv: str = "",
) -> Scaffold:
    """Writes the experiment, proposal, review and slides of a paper, and its entry in `refs.bib`.

    The experiment runs as it is and measures a small true claim; in the documents a comment says what belongs in
    each section. A file that exists is left as it is. `experiments/` and `paper_reviews/` are created where absent.

    Args:
        root: the workspace, or the folder that becomes one.
        key: the paper's BibTeX key: first author, year and a word of the title, in lower case.
        title: the paper's title.
        authors: its authors, "Ada Lovelace" or "Lovelace, Ada".
        year: when it appeared; by default the year in the key, else that of the arXiv number.
        arxiv: its number on arXiv, such as 1903.08560.

    Raises:
        ValueError: for a malformed key, year or number, or if all files of the paper exist.
    """
    root = Path(root)
    key, arxiv, year = _checked_key(key), _checked_arxiv(arxiv), _checked_year(year, key, arxiv)
    authors = [_one_line("authors", author) for author in ([authors] if isinstance(authors, str) else authors)]
    title = _one_line("title", title) if title else ""
    paths = {
        root / "experiments" / f"{key}.py": "experiment.py.txt",
        **{folder(root) / key / f"{name}.md": f"{name}.md" for name in DOCUMENTS},
    }
    present = [path for path in paths if path.exists()]
    if len(present) == len(paths):
        listed = ", ".join(str(path.relative_to(root)) for path in present)
        raise ValueError(f"{key} exists already: {listed}; nothing is overwritten, choose another key")
    words = {
        "key": key,
        "title": title or f"{UNFINISHED} the title",
        "docstring": _docstring(title, authors, year),
        "quoted": _quoted(title or f"{UNFINISHED} the title"),
        "date": datetime.date.today().isoformat(),
    }
    kept = [f"{path.relative_to(root)} is there already" for path in present]
    written = [path for path in paths if path not in present]
    for path in written:
        name = paths[path]
        text = (_TEMPLATES / name).read_text(encoding="utf-8")
        files.write_text(path, re.sub(r"<<(\w+)>>", lambda match: words[match[1]], text))
    bibliography = folder(root) / BIBLIOGRAPHY
    entries, _ = _bibliography.read(bibliography)
    if key in entries:
        kept.append(f"{bibliography.relative_to(root)} has an entry {key} already")
        return Scaffold(root, tuple(written), tuple(kept))
    before = bibliography.read_text(encoding="utf-8").rstrip() + "\n\n" if bibliography.is_file() else ""
    files.write_text(bibliography, before.lstrip() + _entry(key, title, authors, year, arxiv))
    return Scaffold(root, (*written, bibliography), tuple(kept))


def _entry(key: str, title: str, authors: Sequence[str], year: int, arxiv: str) -> str:
    fields = {
        "title": title or UNFINISHED,
        "author": " and ".join(authors) or UNFINISHED,
        "year": str(year),
        **({"eprint": arxiv, "archiveprefix": "arXiv", "url": f"https://arxiv.org/abs/{arxiv}"} if arxiv else {}),
    }
    kind = "misc" if arxiv else "article"
    lines = [
        f"  {name} = {{{_escaped(value) if name in ('title', 'author') else value}}}," for name, value in fields.items()
    ]
    return "\n".join([f"@{kind}{{{key},", *lines, "}"]) + "\n"


def _escaped(value: str) -> str:
    """Braces that do not match would end the entry early."""
    value = re.sub(r"(?<!\\)([&%#_])", r"\\\1", value) if "$" not in value else value
    return value if value.count("{") == value.count("}") else value.replace("{", "").replace("}", "")


def _docstring(title: str, authors: Sequence[str], year: int) -> str:
    """The first line of the experiment, such as "Title (Hastie, Montanari & Tibshirani 2022)."."""
    names = [author.split(",")[0].strip() if "," in author else author.split()[-1] for author in authors]
    if len(names) > 4:
        names = [f"{names[0]} et al."]
    listed = " & ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names) or f"{UNFINISHED} authors"
    # Whatever the title holds, it must end neither the string nor the line.
    shown = (title or f"{UNFINISHED} the title").replace("\\", "").replace('"""', "''").rstrip(".")
    return f"{shown} ({listed} {year})."


def _quoted(text: str) -> str:
    """A string in double quotes for YAML."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _checked_key(key: str) -> str:
    if not isinstance(key, str):
        raise TypeError(f"key must be text such as hastie2022surprises, got {key!r}")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", key) or keyword.iskeyword(key):
        nearest = re.sub(r"[^a-z0-9]+", "", key.lower()).lstrip("0123456789")
        meant = f"; did you mean {nearest!r}?" if nearest and nearest != key and not keyword.iskeyword(nearest) else ""
        raise ValueError(
            f"key must be first author, year and a word of the title in lower case, such as hastie2022surprises,"
            f" got {key!r}{meant}"
        )
    return key


def _checked_arxiv(arxiv: str) -> str:
    number = re.sub(r"^(https?://)?(www\.)?(arxiv\.org/(abs|pdf)/|arxiv:)", "", arxiv.strip(), flags=re.IGNORECASE)
    number = number.removesuffix(".pdf")
    if number and not _ARXIV.fullmatch(number):
        raise ValueError(f"arxiv must be a number such as 1903.08560 or hep-th/9901001, got {arxiv!r}")
    return number


def _checked_year(year: int | None, key: str, arxiv: str) -> int:
    if year is not None:
        return check.integer("year", year, at_least=1600, at_most=2100)
    in_key, number = re.search(r"(?<!\d)(1[6-9]|20)\d\d(?!\d)", key), _ARXIV.fullmatch(arxiv)
    if in_key:
        return int(in_key[0])
    if number:
        two = int(number[1] or number[2])
        return two + (1900 if two > 90 else 2000)
    return datetime.date.today().year


def _one_line(argument: str, text: str) -> str:
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"{argument} must be text, got {text!r}")
    return " ".join(text.split())


def follows_convention(key: str) -> bool:
    """Whether a key is author, year, word: hastie2022surprises.

    >>> follows_convention("hastie2022surprises"), follows_convention("course_seoul")
    (True, False)
    """
    return re.fullmatch(r"[a-z_]+\d{4}[a-z]\w*", key) is not None


def root_for(start: str | os.PathLike[str] | None = None) -> tuple[Path, bool]:
    """The workspace to scaffold in, and whether it is a new one."""
    root = workspace.root(start)
    return root, not (root / "experiments").is_dir()
