"""The pages as text: templates, their styles, and figures written into them."""

import base64
import functools
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from dlmath import _wording
from dlmath.report import _words
from dlmath.report._compare import Comparison, spread

if TYPE_CHECKING:
    import jinja2
    import markupsafe


def comparison_page(comparison: Comparison) -> str:
    """The HTML page of two runs side by side, self-contained."""
    return render("compare.html", comparison=comparison)


def render(template: str, **values: Any) -> str:
    """A template filled in; every value is escaped."""
    return _templates().get_template(template).render(**values)


def data_uri(path: Path) -> str:
    """An SVG file as an address that holds its content; as an image its ids are its own and its scripts dead."""
    return "data:image/svg+xml;base64," + base64.b64encode(path.read_bytes()).decode()


def natural_width(path: Path) -> int:
    """Width in pixels at which the letters of an SVG file, made for print, are as large as those of the page."""
    head = path.read_bytes()[:4000].decode(errors="replace")
    found = re.search(r'<svg[^>]* width="([\d.]+)pt"', head, re.DOTALL)
    return round(float(found.group(1)) * 1.75) if found else 560


def unbroken(ours: str) -> "markupsafe.Markup":
    """A number whose interval stays on one line, or a dash."""
    import markupsafe

    value, bracket, interval = ours.partition(" [")
    span = markupsafe.Markup(' <span class="unbroken">[{}</span>').format(interval) if bracket else ""
    return markupsafe.escape(value or "–") + span


def anchor(scale: str, name: str) -> str:
    """The id of a claim on its paper's page.

    >>> anchor("smoke", "second descent")
    'smoke-second-descent'
    """
    return "-".join([scale, *name.split()])


def tally(pages: Sequence[Any], scales: Sequence[str]) -> str:
    """How many claims hold at each scale, in one sentence."""
    parts = []
    for scale in scales:
        sections = [s for page in pages if (s := page.section(scale)) is not None]
        if sections:
            held, testable = sum(s.held for s in sections), sum(s.testable for s in sections)
            parts.append(f"{held} of {testable} testable claims reproduced at {_words.SCALES.get(scale, scale)}")
    found = "; ".join(parts) or "nothing has been run yet"
    return f"{_wording.count(len(pages), 'paper')}: {found}."


@functools.cache
def _templates() -> "jinja2.Environment":
    import jinja2
    import markupsafe

    from dlmath import __version__

    folder = Path(__file__).parent / "templates"
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        data_uri=data_uri,
        drawing=markupsafe.Markup,  # our own SVG, made of numbers
        duration=_wording.duration,
        fragment=lambda text: quote(text, safe=""),
        natural_width=natural_width,
        unbroken=unbroken,
        mark=lambda row: _words.mark(row.verdict, row.fails),
        spread=spread,
    )
    constants: Mapping[str, Any] = {
        "version": __version__,
        "marks": _words.MARKS,
        "anchor": anchor,
        "scale_words": _words.SCALES,
    }
    made.globals.update(constants, count=_wording.count, today=lambda: time.strftime("%Y-%m-%d", time.gmtime()))
    return made
