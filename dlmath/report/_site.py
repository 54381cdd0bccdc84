"""The site: a scoreboard of all papers and claims, and a page a paper."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from dlmath import check, files, workspace
from dlmath.report import _words
from dlmath.report._gather import SCALES, Page, gather
from dlmath.report._pages import render, tally


class Site(NamedTuple):
    """What was written.

    Attributes:
        index: the scoreboard, `index.html`.
        pages: a file a paper, by key.
        summary: how many claims hold at each scale, in a sentence.
        problems: damaged runs and files that do not load, a sentence each; they are rows of the pages too.
    """

    index: Path
    pages: dict[str, Path]
    summary: str
    problems: list[str]


def site(
    root: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    results: str | os.PathLike[str] | None = None,
    keys: Sequence[str] | None = None,
    scales: Sequence[str] | None = None,
) -> Site:
    """Static HTML pages of the papers of a workspace: each claim, the paper's value beside ours, the verdict, figures.

    `out/index.html` is the scoreboard of all papers; `out/papers/KEY.html` shows one paper at every scale that was
    run. Pages load nothing: styles and figures are in them. A run that was made elsewhere and recorded by
    `dlmath index` is shown as such. Files are replaced one by one, each atomically; no other file is touched.

    Args:
        root: the workspace, a folder with `experiments/`.
        out: folder to write to; created.
        results: folder of stored results; by default `results` in the workspace.
        keys: papers whose pages are written; all by default. The scoreboard always has them all.
        scales: scales to show, among "smoke", "laptop", "paper" and "custom"; all by default.

    Returns:
        The files written, a summary, and what could not be shown.

    Raises:
        ValueError: for a key or a scale that is unknown.

    Cost: reads every byte of the latest run at each scale, and loads the experiments' files.
    """
    root, out = Path(root), Path(out)
    results = root / "results" if results is None else Path(results)
    for argument, value in (("keys", keys), ("scales", scales)):
        if isinstance(value, str):
            raise TypeError(f"{argument} must be a sequence of strings, got the string {value!r}; write [{value!r}]")
    folder = workspace.experiments_folder(root)
    everything = workspace.keys(folder)
    if not everything:
        raise ValueError(f"root must be a workspace with experiments, got {root}; dlmath new KEY makes one")
    wanted = list(everything if keys is None else dict.fromkeys(keys))
    for key in wanted:
        workspace.find(key, folder)
    shown = [s for s in SCALES if s in {check.one_of("scales", scale, SCALES) for scale in scales or SCALES}]
    try:
        index = workspace.read_index(folder)
    except ValueError as error:
        raise ValueError(
            f"{folder / workspace.INDEX} cannot be read: {error}; delete it and run dlmath index"
        ) from error
    pages = [gather(root, results, key, shown, index) for key in everything]
    columns = [s for s in shown if s != "custom" or any(page.section(s) or s in page.problems for page in pages)]
    written = {}
    for page in pages:
        if page.key in wanted:
            written[page.key] = out / "papers" / f"{page.key}.html"
            files.write_text(
                written[page.key], render("paper.html", page=page, review=_link(page, root, written[page.key]))
            )
    linked = {page.key for page in pages if (out / "papers" / f"{page.key}.html").is_file()}
    summary = tally(pages, columns)
    files.write_text(
        out / "index.html", render("index.html", pages=pages, scales=columns, linked=linked, summary=summary)
    )
    problems = [
        f"{page.key}{'' if where == 'file' else f', {_words.SCALES[where]}'}: {text}"
        for page in pages
        if page.key in wanted
        for where, text in page.problems.items()
    ]
    return Site(out / "index.html", written, summary, problems)


def _link(page: Page, root: Path, written: Path) -> str:
    """The address of the paper's review from its page, where both lie in the workspace; else nothing."""
    inside = written.absolute().is_relative_to(root.absolute())
    if page.review_path is None or not inside or not page.review_path.absolute().is_relative_to(root.absolute()):
        return ""
    return Path(os.path.relpath(page.review_path.absolute(), written.absolute().parent)).as_posix()
