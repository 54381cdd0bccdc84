"""Pandoc and Typst, with every warning an error, and walks over pandoc's syntax tree."""

import functools
import json
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

MARKDOWN = "markdown"


class ConversionError(ValueError):
    """What pandoc or Typst said instead of converting; `args[1]` is the piece of text it was about, if it named one."""


def pandoc(text: str, source: str, target: str, *options: str, folder: Path | None = None) -> str:
    """Converts text from one of pandoc's formats to another; a warning is a ConversionError.

    Args:
        text: the document.
        source: pandoc's name of the text's format.
        target: pandoc's name of the wanted format.
        options: further options.
        folder: where pandoc looks for files; the current directory by default.
    """
    command = [_executable(), f"--from={source}", f"--to={target}", "--fail-if-warnings", *options]
    # Nothing is to be fetched: an address that no proxy serves makes an overlooked URL fail at once.
    environment = {**os.environ, "http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    done = subprocess.run(command, input=text.encode(), capture_output=True, cwd=folder, env=environment, check=False)
    said = done.stderr.decode(errors="replace").strip()
    if done.returncode or said:
        raise _complaint(said or f"pandoc ended with status {done.returncode}")
    return done.stdout.decode()


def parse(text: str) -> dict[str, Any]:
    """Pandoc's syntax tree of a Markdown document."""
    return json.loads(_parsed(text))


@functools.lru_cache(maxsize=16)
def _parsed(text: str) -> str:
    # A document is read to be built and again to be checked.
    return pandoc(text, MARKDOWN, "json")


def typst_pdf(folder: Path, name: str, timestamp: int) -> bytes:
    """A PDF of the Typst file `name` in `folder`, from embedded fonts only: the same bytes on every machine."""
    typst = _typst()
    try:
        pdf, warnings = typst.compile_with_warnings(
            str(folder / name), root=str(folder), ignore_system_fonts=True, format="pdf", timestamp=timestamp
        )
    except typst.TypstError as error:
        raise ConversionError(f"Typst: {error.message}", "") from error
    if warnings:
        raise ConversionError(f"Typst: {'; '.join(warning.message for warning in warnings)}", "")
    return pdf


def walk(node: Any) -> Iterator[dict[str, Any]]:
    """Every element below a node of the syntax tree, in order."""
    waiting = [node]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting += reversed(node)
        elif isinstance(node, dict):
            if "t" in node:
                yield node
            waiting += reversed(node.values())


def rewritten(node: Any, change: Callable[[dict[str, Any]], Any]) -> Any:
    """The tree with each element replaced by `change(element)`: an element, or a list of them in its place.

    `change` sees an element before what is below it, and returns the element itself to have it walked.
    """
    if isinstance(node, list):
        made = []
        for child in node:
            new = change(child) if isinstance(child, dict) and "t" in child else child
            if new is not child:
                made += new if isinstance(new, list) else [new]
            else:
                made.append(rewritten(child, change) if isinstance(child, list | dict) else child)
        return made
    if isinstance(node, dict):
        return {n: rewritten(c, change) if isinstance(c, list | dict) else c for n, c in node.items()}
    return node


def plain_text(node: Any) -> str:
    """Text of inlines or blocks, formulas as their TeX."""
    text = []
    for element in walk(node):
        if element["t"] in ("Str", "Code", "Math"):
            text.append(element["c"] if element["t"] == "Str" else element["c"][1])
        elif element["t"] in ("Space", "SoftBreak", "LineBreak"):
            text.append(" ")
    return "".join(text)


def inlines(text: str) -> list[dict[str, Any]]:
    """Text as pandoc's inlines, word by word."""
    made: list[dict[str, Any]] = []
    for i, word in enumerate(text.split(" ")):
        made += [{"t": "Space"}] if i else []
        made += [{"t": "Str", "c": word}] if word else []
    return made


def _complaint(said: str) -> ConversionError:
    lines = [line for line in said.splitlines() if not line.startswith("Failing because")]
    message = " ".join(line.strip() for line in lines).removeprefix("[WARNING] ")
    formula = ""
    if message.startswith("Could not convert TeX math "):
        first = lines[0].split("Could not convert TeX math ", 1)[1]
        formula = first.removesuffix(", rendering as TeX:")
        reason = next((line.strip() for line in lines[2:] if line.strip() not in ("", "^")), "")
        message = f"formula {formula} cannot be converted: {reason}"
    return ConversionError(message, formula)


def _executable() -> str:
    try:
        import pypandoc

        return pypandoc.get_pandoc_path()
    except (ImportError, OSError) as error:
        raise ValueError("reviews need pandoc: pip install 'dlmath[review]'") from error


def _typst() -> Any:
    try:
        import typst
    except ImportError as error:
        raise ValueError("PDFs need Typst: pip install 'dlmath[review]'") from error
    return typst


def headings(text: str) -> Sequence[tuple[int, int, str]]:
    """(line, level, title) of the `#` headings of a Markdown text, those in code blocks and comments left out."""
    found, fence, comment = [], "", False
    header = text.startswith("---")
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if header:
            header = number == 1 or stripped not in ("---", "...")
            continue
        if fence:
            fence = "" if stripped.startswith(fence) and not stripped.strip(fence[0]) else fence
            continue
        if stripped.startswith(("```", "~~~")):
            fence = stripped[: len(stripped) - len(stripped.lstrip(stripped[0]))]
            continue
        if comment or stripped.startswith("<!--"):
            comment = "-->" not in stripped
            continue
        if line.startswith("#"):
            level = len(line) - len(line.lstrip("#"))
            title = line[level:].strip().rstrip("#").strip()
            title = title[: title.index("{#")].strip() if "{#" in title else title
            if line[level : level + 1] in (" ", "\t", ""):
                found.append((number, level, " ".join(title.split())))
    return found
