"""Literal numbers where placeholders belong: in the section on the replication, and on slides that show results."""

import re
from collections.abc import Iterator
from typing import Any

from dlmath.review import _document, _pandoc
from dlmath.review._document import Document, Section
from dlmath.review._layout import REPLICATION
from dlmath.review._problem import Problem

_REFERENCES = (
    r"(?:Fig|Figs|Figure|Figures|Theorem|Theorems|Thm|Section|Sections|Sec|Secs|Eq|Eqs|Equation|Equations|Lemma|Lemmas"
    r"|Corollary|Proposition|Prop|Definition|Remark|Assumption|Assumptions|Table|Tables|Appendix|App|Chapter|Ch|Part"
    r"|Algorithm|Step|Problem|Exercise|Homework|Footnote|Page|Pages|p|pp|arXiv|§+)"
)
_LABEL = r"\(?[A-Z]?\.?\d+(?:\.\d+)*[a-z]?\)?(?:\s?\([a-z\d]\))?"
_REFERENCE = re.compile(
    rf"(?<![\w]){_REFERENCES}\.?:?[\s\u00a0]*{_LABEL}(?:[\s\u00a0]*(?:,|–|-|and|to|or)[\s\u00a0]*{_LABEL})*",
    re.IGNORECASE,
)
_EQUATION = re.compile(r"\(\d+[a-z]?\)")
_WORD = re.compile(r"\S*\d\S*")
_EDGES = "()[]{}.,;:!?\"'“”‘’…*"
# CIFAR-10, MNIST-1D, float64, ℓ2, W1: a letter first, then letters, digits and hyphens; 1D, 2D, 3D.
_NAME = re.compile(r"[^\W\d_][\w+]*(?:[-–/._][\w+]+)*(?:['’]s)?|[123][dD]")
_COMMAND = re.compile(r"\s*(?:\$\s*)?(?:dlmath|make|pip|python[\d.]*|uv)\b")
_SCRIPT = re.compile(r"[_^]\s*(?:\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\}|\\[A-Za-z]+|.)")
_SPACING = re.compile(
    r"\\\\\s*\[[^\]]*\]|\\tag\s*\{[^{}]*\}|\\(?:ref|eqref|label)\s*\{[^{}]*\}|\\[hv]space\*?\s*\{[^{}]*\}"
)


def literal_numbers(document: Document) -> list[Problem]:
    """A problem for each number typed where only measured ones may stand, and each image that no run has drawn.

    Allowed are references (Fig. 2, eq. (9)), digits inside a name (CIFAR-10, float64), sub- and superscripts of
    formulas, keys of citations, and commands in code.
    """
    problems = []
    for section in document.sections:
        if not _quotes_results(document, section):
            continue
        where = f"section {section.title!r}" if document.name == "review" else f"slide {section.title!r}"
        for number in dict.fromkeys(_typed_numbers(section.typed, document)):
            line = _document.line_of(document, number, section)
            remedy = 'quote the result: {{ claim("name").ours }}, {{ setting("name") }}'
            problems.append(
                Problem(document.path, line, "number", f"{number!r} is typed in {where}, not measured", remedy)
            )
        for image in _images(section.typed):
            if image not in document.images:
                line = _document.line_of(document, image, section)
                message = f"image {image} in {where} has no result behind it"
                problems.append(
                    Problem(document.path, line, "figure", message, 'show a stored one: {{ figure("title") }}')
                )
    return problems


def numbers_in_text(text: str) -> list[str]:
    """Words of a sentence that hold a literal number.

    >>> numbers_in_text("Fig. 2 and eq. (9) for CIFAR-10 in float64: 3.5 at n=20")
    ['3.5', 'n=20']
    """
    text = _REFERENCE.sub(" ", text)
    text = re.sub(r"\b(eqs?|equations?)\.?[\s\u00a0]*" + _EQUATION.pattern, " ", text, flags=re.IGNORECASE)
    words = [word.strip(_EDGES) for word in _WORD.findall(text)]
    return [word for word in words if re.search(r"\d", word) and not _is_name(word)]


def numbers_in_formula(formula: str) -> list[str]:
    r"""Literal numbers of a formula, sub- and superscripts left out.

    >>> numbers_in_formula(r"\|W_1\|^2 = 2.5\,\sigma^{2k}")
    ['2.5']
    """
    return re.findall(r"\d+(?:\.\d+)?", _SCRIPT.sub(" ", _SPACING.sub(" ", formula)))


def _is_name(word: str) -> bool:
    return all(not part or not re.search(r"\d", part) or _NAME.fullmatch(part) for part in re.split(r"[,;()]", word))


def _quotes_results(document: Document, section: Section) -> bool:
    if document.name == "review":
        return section.title == REPLICATION
    if document.name == "slides":
        drawn = [name for name in _images(section.typed) if name in document.images and not name.startswith("own-")]
        return section.title.casefold().startswith("replication") or bool(drawn)
    return False


def _images(blocks: list[Any]) -> list[str]:
    return [element["c"][2][0] for element in _pandoc.walk(blocks) if element["t"] == "Image"]


def _typed_numbers(blocks: list[Any], document: Document) -> Iterator[str]:
    for run in _runs(blocks, document):
        for element in run:
            kind = element["t"]
            if kind == "Math":
                yield from numbers_in_formula(_document.without_marks(element["c"][1]))
            elif kind in ("Code", "CodeBlock"):
                lines = _document.without_marks(element["c"][1]).splitlines()
                yield from (n for line in lines if not _COMMAND.match(line) for n in numbers_in_text(line))
        # Formulas become letters, so that "$k$-NN 2" is read as words; marks vanish.
        text = "".join(_letters(element) for element in run)
        yield from numbers_in_text(text)


def _letters(element: dict[str, Any]) -> str:
    kind = element["t"]
    if kind == "Str":
        return _document.without_marks(element["c"])
    if kind == "Math":
        return "x"
    return " "


def _runs(node: Any, document: Document) -> Iterator[list[dict[str, Any]]]:
    """Sequences of inlines that belong together, citations and stored figures left out."""
    if isinstance(node, dict):
        if node.get("t") == "Figure" and all(name in document.images for name in _images([node])):
            return
        if node.get("t") not in ("Cite", "Image", "Str", "Math", "Code", "RawBlock", "RawInline"):
            if node.get("t") == "CodeBlock":
                yield [node]
                return
            for child in node.values():
                yield from _runs(child, document)
    elif isinstance(node, list):
        if any(isinstance(child, dict) and child.get("t") in ("Str", "Math", "Code") for child in node):
            yield [element for element in _flat(node) if element["t"] != "Note"]
            for element in _pandoc.walk(node):
                if element["t"] == "Note":
                    yield from _runs(element["c"], document)
        else:
            for child in node:
                yield from _runs(child, document)


def _flat(node: list[Any]) -> Iterator[dict[str, Any]]:
    """Inlines with emphasis, quotes and links opened."""
    for element in node:
        kind = element["t"]
        if kind in ("Emph", "Strong", "Underline", "Strikeout", "SmallCaps", "Superscript", "Subscript"):
            yield from _flat(element["c"])
        elif kind in ("Quoted", "Span", "Link"):
            yield from _flat(element["c"][1])
        elif kind != "Cite":
            yield element
