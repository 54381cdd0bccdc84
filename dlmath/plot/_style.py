"""The style of every figure: sizes of a two-column page, a colour-blind cycle, vector output."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import matplotlib
from cycler import cycler
from matplotlib.figure import Figure

from dlmath import check, files

# Okabe & Ito (2008), without black, which is kept for theory; yellow last, it is faint on white.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")
"""The colours of the cycle, distinct under the common colour-vision deficiencies."""

WIDTHS = {"column": 3.4, "page": 6.75}
"""Widths in inches of one column and of a two-column page."""

THEORY: dict[str, Any] = {"color": "black", "linestyle": (0, (4, 2)), "linewidth": 1.0, "zorder": 3}
"""How a theoretical curve is drawn: dashed, black, above the data."""

_FORMATS = ("pdf", "png", "svg")

_RC: dict[str, Any] = {
    "axes.prop_cycle": cycler(color=COLORS),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.linewidth": 0.6,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "axes.formatter.limits": (-3, 4),
    "axes.formatter.use_mathtext": True,
    "axes.formatter.min_exponent": 4,  # logarithmic axes say 0.02 and 300, not 2 × 10⁻² and 3 × 10²
    "errorbar.capsize": 1.5,
    "font.size": 8,
    "image.cmap": "viridis",
    "image.interpolation": "nearest",
    "legend.fontsize": 7,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "lines.linewidth": 1.1,
    "lines.markersize": 3,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "savefig.dpi": 300,
    # Text as outlines: a page looks the same on machines without the font. PDF embeds TrueType.
    "svg.fonttype": "path",
    "pdf.fonttype": 42,
    # Names inside an SVG are salted hashes; a fixed salt makes equal figures equal files.
    "svg.hashsalt": "dlmath",
}


@contextlib.contextmanager
def style(overrides: Mapping[str, Any] | None = None) -> Iterator[None]:
    """The figure style, as a context manager or a decorator; Matplotlib's settings are restored on leaving.

    Fonts of 7 and 8 points, the Okabe-Ito colour cycle, thin axes, capped error bars, outlines for
    text in SVG. Axes read these settings when they are made, so make them inside.

    Args:
        overrides: further Matplotlib `rcParams` by name, taking precedence.

    Raises:
        ValueError: for a name that Matplotlib does not know.

    >>> with style():
    ...     width, _ = figure("page").get_size_inches()
    >>> float(width)
    6.75

    Matplotlib's settings are one per process: do not draw from several threads at once.

    Source: M. Okabe and K. Ito, Color Universal Design (2008).
    """
    for name in overrides or {}:
        check.one_of("overrides' names", name, matplotlib.rcParams)
    settings: dict[Any, Any] = {**_RC, **(overrides or {})}
    with matplotlib.rc_context(settings):
        yield


def figure(width: str | float = "column", *, height: float | None = None) -> Figure:
    """An empty figure as wide as one column (3.4 in) or as a page (6.75 in), outside pyplot's registry.

    Fill it with `figure.subplots(...)`; it is freed like any object, nothing needs closing. It is drawn and saved
    in the style in which it was made, wherever that happens.

    Args:
        width: "column", "page", or a width in inches.
        height: in inches; by default the width / 1.45 for a column and / 2.7 for a page.

    >>> figure("column", height=2.0).get_size_inches().tolist()
    [3.4, 2.0]
    """
    if isinstance(width, str):
        inches = WIDTHS[check.one_of("width", width, WIDTHS)]
    else:
        inches = check.real("width", width, above=0.0)
    if height is None:
        height = inches / (1.45 if inches < 5 else 2.7)
    return _StyledFigure(figsize=(inches, check.real("height", height, above=0.0)), layout="constrained")


def save(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Writes a figure to `path` (.svg, .pdf or .png), atomically; equal figures give equal bytes.

    Args:
        figure: a Matplotlib figure.
        path: where to; the suffix chooses the format, the folder is created.

    Returns:
        The path.

    Raises:
        ValueError: for another suffix.
    """
    if not isinstance(figure, Figure):
        raise TypeError(f"figure must be a matplotlib Figure, got {figure!r} of type {type(figure).__name__}")
    path = Path(path)
    suffix = check.one_of("path's suffix", path.suffix.removeprefix("."), _FORMATS)
    # No dates inside the file.
    metadata: dict[str, Any] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(suffix, {})
    with style(), files.replacing(path) as file:
        figure.savefig(file, format=suffix, metadata=metadata)
    return path


class _StyledFigure(Figure):
    """A figure that carries its style: Matplotlib formats ticks and writes files by the settings of that moment."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        now: Any = matplotlib.rcParams
        inside = now["svg.hashsalt"] == _RC["svg.hashsalt"]
        self._style = {name: now[name] for name in _RC} if inside else _RC
        super().__init__(*args, **kwargs)

    def draw(self, renderer: Any) -> None:
        with style(self._style):
            super().draw(renderer)

    def savefig(self, fname: Any, **kwargs: Any) -> None:
        with style(self._style):
            super().savefig(fname, **kwargs)
