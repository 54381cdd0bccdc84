"""Formulas as MathML, made at build time: they need neither JavaScript nor a network to be read."""

import re
from typing import Any

from docutils import nodes
from docutils.utils.math import MathError, latex2mathml
from sphinx.errors import ExtensionError

_SYNONYMS = {"texttt": "mathtt", "dots": "ldots", "dotsc": "ldots", "dotsb": "cdots"}


def convert(formula: str, *, block: bool) -> str:
    r"""LaTeX as MathML.

    >>> "<mi>x</mi>" in convert("x^2", block=False)
    True
    """
    source = formula.strip()
    for command, known in _SYNONYMS.items():
        source = re.sub(rf"\\{command}(?![a-zA-Z])", rf"\\{known}", source)
    try:
        return latex2mathml.tex2mathml(source, as_block=block)
    except (MathError, SyntaxError) as error:
        raise ExtensionError(f"this formula has no MathML: {formula!r}: {error}") from error


def _inline(translator: Any, node: nodes.math) -> None:
    translator.body.append(convert(node.astext(), block=False))
    raise nodes.SkipNode


def _block(translator: Any, node: nodes.math_block) -> None:
    label = f' id="{node["ids"][0]}"' if node["ids"] else ""
    translator.body.append(f'<div class="mathml"{label}>{convert(node.astext(), block=True)}</div>\n')
    raise nodes.SkipNode


def setup(app: Any) -> None:
    """Registers the renderer `mathml`."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
