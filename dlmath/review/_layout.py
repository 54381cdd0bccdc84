"""Which documents a review has, where they lie, which sections they have and how long they may be."""

import os
from pathlib import Path
from typing import NamedTuple

from dlmath import check


class Layout(NamedTuple):
    """The form of a document: the sections it must have (none prescribed if empty), and its length in words."""

    sections: tuple[str, ...]
    words: tuple[int, int]


SECTIONS = (
    "1. Citation and claim",
    "2. Motivation",
    "3. Setting and assumptions",
    "4. Main theorem",
    "5. Proof idea",
    "6. Relation to earlier work",
    "7. Strengths",
    "8. Weaknesses",
    "9. Replication",
    "10. New experiment or open question",
    "11. Points of confusion",
    "12. Who did what",
)
"""Headings of a review, in order."""

NOTATION, REPLICATION = SECTIONS[2], SECTIONS[8]

DOCUMENTS = {
    "proposal": Layout(("Abstract", "Data", "Model", "Evaluation", "Problems and plan B"), (0, 450)),
    "review": Layout(SECTIONS, (900, 1200)),
    "slides": Layout((), (1600, 3000)),
}
"""The documents of a paper, in the order in which they are written. The words of slides are those of their notes."""

NUM_SLIDES = (12, 20)
"""Fewest and most slides of a talk of 20 minutes."""

BIBLIOGRAPHY = "refs.bib"
UNFINISHED = "FILL IN"
"""What a scaffold writes where its author has something to say."""


def folder(root: str | os.PathLike[str]) -> Path:
    """`paper_reviews/` of a workspace."""
    return Path(root) / "paper_reviews"


def reviewed(root: str | os.PathLike[str]) -> list[str]:
    """Keys of the papers that have a folder of reviews."""
    return sorted(path.name for path in folder(root).glob("*") if path.is_dir() and not path.name.startswith("."))


def document_path(root: str | os.PathLike[str], key: str, name: str) -> Path:
    """Path of a document; ValueError for a paper without reviews or an unknown document."""
    check.one_of("document", name, tuple(DOCUMENTS))
    known = reviewed(root)
    if key not in known:
        there = f"; there are {', '.join(known)}" if known else ""
        meant = check.did_you_mean(key, known) or there
        raise ValueError(f"no review {key!r} in {folder(root)}{meant}; dlmath new {key} writes a scaffold")
    return folder(root) / key / f"{name}.md"
