"""`dlmath review check` and `dlmath review build`: keep reviews true to stored results; make HTML, PDF and slides."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from dlmath import check, workspace

_USAGE = """usage: dlmath review check KEY... [options]   print every problem as file:line: message (what to do)
       dlmath review build KEY... [options]   write HTML, PDF and slides

KEY is a folder of paper_reviews/, --all means every one; dlmath review check --help lists the options."""


@dataclass(frozen=True)
class _Common:
    keys: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="KEY...")] = ()
    """Papers, by key."""
    all: bool = False
    """Every paper of paper_reviews/."""
    only: tuple[Literal["proposal", "review", "slides"], ...] = ("proposal", "review", "slides")
    """Documents to look at."""
    scale: Literal["smoke", "laptop", "paper"] | None = None
    """Scale to quote; by default the document's own, else the largest at which each number was measured."""
    results: Path | None = None
    """Folder of stored results; by default `results` in the workspace."""


@dataclass(frozen=True)
class Check(_Common):
    """Prints what is wrong with reviews, as file:line: message (what to do), and ends with 1 if there is anything.

    Checked: sections, length, notation table, speaker notes, citations and refs.bib, that every number and figure
    has a result behind it that is not stale, that no number is typed where a measured one belongs, that nothing is
    left of the scaffold, and that HTML, PDF and slides can be made.
    """


@dataclass(frozen=True)
class Build(_Common):
    """Writes review.html, review.pdf, proposal.html, proposal.pdf and slides.html, with numbers from stored results.

    Slides are one file that works offline: arrows move, S opens the speaker's notes, ?print-pdf prints.
    """

    out: Path | None = None
    """Folder to write to (one paper only); by default paper_reviews/KEY/build, which git ignores."""


def main(arguments: list[str]) -> int:
    """Runs `check` or `build` and returns 1 if a document is not in order."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_USAGE)
        return 0
    action = check.one_of("review command", arguments[0], ("check", "build"))
    markers = (tyro.conf.FlagCreatePairsOff,)
    options = tyro.cli(
        {"check": Check, "build": Build}[action], prog=f"dlmath review {action}", args=arguments[1:], config=markers
    )
    from dlmath import review

    root = workspace.root()
    keys = review.reviewed(root) if options.all else options.keys
    if not keys:
        known = ", ".join(review.reviewed(root)) or f"none in {root / 'paper_reviews'}; dlmath new KEY writes one"
        raise ValueError(f"review {action} needs a paper's key or --all; there are {known}")
    common = {"documents": options.only, "scale": options.scale, "results": options.results}
    return _check(root, keys, common) if action == "check" else _build(root, keys, common, options.out)


def _check(root: Path, keys: Sequence[str], common: dict[str, Any]) -> int:
    from dlmath import review

    found = list(dict.fromkeys(problem for key in keys for problem in review.check(root, key, **common)))
    _print(found)
    names = ", ".join(keys)
    print(f"{names}: {len(found)} problem{'s' * (len(found) != 1)}" if found else f"{names}: in order")
    return 1 if found else 0


def _build(root: Path, keys: Sequence[str], common: dict[str, Any], out: Path | None) -> int:
    from dlmath import review

    if out is not None and len(keys) > 1:
        raise ValueError(f"--out takes the documents of one paper, got {', '.join(keys)}; build them one by one")
    broken = False
    for key in keys:
        try:
            written = review.build(root, key, **common, out=out)
        except review.ReviewError as error:
            _print(error.problems)
            print(f"{key}: not built", file=sys.stderr)
            broken = True
            continue
        for path in written:
            print(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
        left = review.check(root, key, **common, convert=False)
        if left:
            print(
                f"{key}: built, with {len(left)} problem{'s' * (len(left) > 1)}; dlmath review check {key} lists them"
            )
    return 1 if broken else 0


def _print(problems: Sequence[Any]) -> None:
    from dlmath import review

    for problem in problems:
        print(review.describe(problem, Path.cwd()))
