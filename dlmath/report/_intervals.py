"""Small drawings of an interval against the region that is accepted, as inline SVG in the colours of the page."""

import math
from collections.abc import Callable, Sequence
from html import escape

import numpy as np

WIDTH, MARGIN = 240, 8


def interval_plot(value: float, low: float, high: float, region: tuple[float, float]) -> str:
    """Ours as a dot with its interval, over the accepted region; empty where there is nothing finite to draw.

    Args:
        value: the statistic.
        low: lower end of its interval, infinite where there is none.
        high: upper end.
        region: ends of the accepted region, infinite where it has none.
    """
    ends = sorted({x for x in region if math.isfinite(x)})
    shown = [value, *ends, *(x for x in (low, high) if math.isfinite(x))]
    if not math.isfinite(value) or not ends:
        return ""
    width = max(shown) - min(shown) or max(abs(value), 1.0)
    start, stop = min(shown) - 0.15 * width, max(shown) + 0.15 * width

    def x(at: float) -> float:
        return round(MARGIN + (WIDTH - 2 * MARGIN) * (min(max(at, start), stop) - start) / (stop - start), 1)

    left, right = x(region[0]), x(region[1])
    parts = [f'<rect class="region" x="{left}" y="4" width="{max(right - left, 2):.1f}" height="22"/>']
    parts += [f'<line class="edge" x1="{x(e)}" x2="{x(e)}" y1="4" y2="26"/>' for e in ends]
    bounded = math.isfinite(low) and math.isfinite(high)
    style = "whisker" if bounded else "whisker unknown"
    parts.append(f'<line class="{style}" x1="{x(low)}" x2="{x(high)}" y1="15" y2="15"/>')
    if bounded and low != high:
        parts += [f'<line class="whisker" x1="{x(e)}" x2="{x(e)}" y1="10" y2="20"/>' for e in (low, high)]
    parts.append(f'<circle class="dot" cx="{x(value)}" cy="15" r="3.5"/>')
    parts += _labels(ends, x)
    accepted = _region_words(region)
    error = f", interval {low:.4g} to {high:.4g}" if bounded and low != high else "" if bounded else ", no interval"
    return _svg(40, f"ours {value:.4g}{error}; accepted {accepted}", parts)


def curve_plot(
    value: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    accepted_low: np.ndarray,
    accepted_high: np.ndarray,
    *,
    num_columns: int = 60,
) -> str:
    """A curve's distance from the theory in units of the tolerance, point after point; the band is what is accepted.

    More points than `num_columns` are drawn as the smallest and largest of their neighbours.
    """
    middle, tolerance = (accepted_low + accepted_high) / 2, (accepted_high - accepted_low) / 2
    if len(value) == 0 or not (np.isfinite(value).all() and (tolerance > 0).all()):
        return ""
    centre, bottom, top = ((a - middle) / tolerance for a in (value, low, high))
    inside = int(((bottom >= -1 - 1e-9) & (top <= 1 + 1e-9)).sum())
    limit = 1.6

    def y(at: float) -> float:
        return round(32 - 28 * min(max(at, -limit), limit) / limit, 1)

    parts = [f'<rect class="region" x="0" y="{y(1)}" width="{WIDTH}" height="{y(-1) - y(1):.1f}"/>']
    parts += [f'<line class="edge" x1="0" x2="{WIDTH}" y1="{y(e)}" y2="{y(e)}"/>' for e in (-1, 1)]
    parts.append(f'<line class="theory" x1="0" x2="{WIDTH}" y1="{y(0)}" y2="{y(0)}"/>')
    columns = np.array_split(np.arange(len(value)), min(len(value), num_columns))
    for i, column in enumerate(columns):
        x = round(MARGIN + (WIDTH - 2 * MARGIN) * (i + 0.5) / len(columns), 1)
        ends = y(float(bottom[column].min())), y(float(top[column].max()))
        parts.append(f'<line class="whisker" x1="{x}" x2="{x}" y1="{ends[0]}" y2="{ends[1]}"/>')
        if len(column) == 1:
            parts.append(f'<circle class="dot" cx="{x}" cy="{y(float(centre[column[0]]))}" r="2.5"/>')
        elif ends[0] - ends[1] < 2:
            parts.append(f'<circle class="dot" cx="{x}" cy="{sum(ends) / 2:.1f}" r="1.5"/>')
    words = f"distance from the theory in units of the tolerance: {inside} of {len(value)} points inside"
    return _svg(64, words, parts)


def _labels(ends: Sequence[float], x: Callable[[float], float]) -> list[str]:
    texts = []
    for i, end in enumerate(ends):
        at = x(end)
        # Two labels that would touch are pushed to the outsides of their edges.
        anchor = "middle" if len(ends) == 1 or x(ends[1]) - x(ends[0]) > 60 else ("end", "start")[i]
        anchor = "start" if at < 30 and anchor != "start" else "end" if at > WIDTH - 30 and anchor != "end" else anchor
        texts.append(f'<text x="{at}" y="38" text-anchor="{anchor}">{end:.4g}</text>')
    return texts


def _region_words(region: tuple[float, float]) -> str:
    low, high = region
    if math.isfinite(low) and math.isfinite(high):
        return f"{low:.4g} to {high:.4g}" if low != high else f"{low:.4g}"
    return f"at least {low:.4g}" if math.isfinite(low) else f"at most {high:.4g}"


def _svg(height: int, label: str, parts: Sequence[str]) -> str:
    drawing = "".join(parts)
    return (
        f'<svg class="interval" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" '
        f'aria-label="{escape(label)}"><title>{escape(label)}</title>{drawing}</svg>'
    )
