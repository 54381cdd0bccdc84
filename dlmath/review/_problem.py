"""What is wrong with a review, and where."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


class Problem(NamedTuple):
    """One fault of a document: where it is, what it is, and what to do about it.

    Attributes:
        path, line: the file and the line, counted from 1.
        rule: which rule is broken: file, header, section, length, notation, citation, bibliography, result, stale,
            number, unfinished, figure or conversion.
        message: what is wrong.
        remedy: what to do.
    """

    path: Path
    line: int
    rule: str
    message: str
    remedy: str


class ReviewError(ValueError):
    """A document that cannot be built; `problems` says why."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(describe(problem) for problem in problems))


def describe(problem: Problem, start: str | os.PathLike[str] | None = None) -> str:
    """The problem as `file:line: message (what to do)`, the path relative to the folder `start` if it lies inside.

    >>> describe(Problem(Path("review.md"), 3, "section", "section '4. Main theorem' is empty", "state the theorem"))
    "review.md:3: section '4. Main theorem' is empty (state the theorem)"
    """
    path = problem.path
    if start is not None and path.is_relative_to(start):
        path = path.relative_to(start)
    return f"{path}:{problem.line}: {problem.message} ({problem.remedy})"
