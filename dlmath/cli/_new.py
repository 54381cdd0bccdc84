"""`dlmath new KEY`: scaffold an experiment with its proposal, review and slides."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from dlmath.cli._tables import console


@dataclass(frozen=True)
class Options:
    """Writes experiments/KEY.py, which runs as it is, and paper_reviews/KEY/ with a proposal, a review and slides.

    In a folder without a workspace (a parent with experiments/) a new one is made. Nothing is overwritten.
    """

    key: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="KEY")]
    """First author, year and a word of the title, in lower case, such as hastie2022surprises."""
    arxiv: str = ""
    """Number of the paper on arXiv, such as 1903.08560."""
    title: str = ""
    """Title of the paper, in quotes."""
    authors: tuple[str, ...] = ()
    """Authors of the paper, each in quotes."""
    year: int | None = None
    """When the paper appeared; by default the year in KEY."""


def main(arguments: list[str]) -> int:
    """Writes the files and says what to do next."""
    options = tyro.cli(Options, prog="dlmath new", args=arguments)
    from dlmath import review
    from dlmath.review._scaffold import follows_convention, root_for

    root, fresh = root_for()
    made = review.scaffold(
        root, options.key, title=options.title, authors=options.authors, year=options.year, arxiv=options.arxiv
    )
    out, key = console(), options.key
    if fresh:
        out.print(f"a new workspace: {root}", markup=False)
    for path in made.written:
        out.print(f"  wrote {_shown(path, root)}", markup=False, soft_wrap=True)
    for note in made.kept:
        out.print(f"  {note}; left as it is", markup=False)
    if not follows_convention(key):
        out.print(f"  keys are usually author, year and a word of the title (hastie2022surprises), this one is {key}")
    steps = {
        f"dlmath run {key}": f"works at once; then fill in experiments/{key}.py and run it again",
        f"dlmath review check {key}": "what is still to be written, and every number without a result",
        f"dlmath review build {key}": f"HTML, PDF and slides in paper_reviews/{key}/build/",
        "dlmath index": "records the latest runs for dlmath list, and for reviews where results are absent",
    }
    width = max(map(len, steps))
    lines = ["", "Next:", *(f"  {command:{width}}  {what}" for command, what in steps.items())]
    lines += ["Under git, ignore results/: they can be measured again."] if fresh else []
    out.print("\n".join(lines), markup=False, soft_wrap=True)
    return 0


def _shown(path: Path, root: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
