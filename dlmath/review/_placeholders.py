"""Placeholders: `{{ claim("peak").ours }}` in a document becomes what a stored run found."""

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jinja2
import jinja2.sandbox

from dlmath import check
from dlmath.review._evidence import Evidence, Source

# Markdown and LaTeX are full of braces: only {{ … }} has a meaning here, blocks and comments have none.
_ENVIRONMENT = jinja2.sandbox.ImmutableSandboxedEnvironment(
    block_start_string="\x00<",
    block_end_string=">\x00",
    comment_start_string="\x00#",
    comment_end_string="#\x00",
    undefined=jinja2.StrictUndefined,
    keep_trailing_newline=True,
)
_WIDTH = re.compile(r"\d+(\.\d+)?(%|cm|mm|in|px|em)")
_FIELDS = ("ours", "expected", "verdict", "statement", "source", "basis", "note", "value", "low", "high", "scale")


class QuotedClaim(NamedTuple):
    """What a document may say of a claim; value, low and high are numbers, or tuples of them for a curve."""

    ours: str
    expected: str
    verdict: str
    statement: str
    source: str
    basis: str
    note: str
    value: Any
    low: Any
    high: Any
    scale: str


class QuotedRun(NamedTuple):
    """What a document may say of a run."""

    scale: str
    command: str
    finished: str
    environment: str
    seconds: str


class Figure(NamedTuple):
    """A stored figure to be shown with a caption that names the scale."""

    source: Source
    title: str
    caption: str
    width: str


class Table(NamedTuple):
    """A table of claims: statement, source, expected, ours, verdict, scale."""

    rows: tuple[QuotedClaim, ...]


class Use(NamedTuple):
    """A run that a document quotes: what from it, and on which line."""

    source: Source
    what: str
    line: int


class Piece(NamedTuple):
    """A part of a document: text as it stands, or the expression inside a placeholder."""

    line: int
    text: str
    is_placeholder: bool


class PlaceholderError(ValueError):
    """A placeholder with nothing behind it: message, what to do, and the rule that is broken."""

    def __init__(self, message: str, remedy: str, rule: str = "result") -> None:
        super().__init__(message)
        self.remedy, self.rule = remedy, rule


def pieces(text: str) -> Iterator[Piece]:
    r"""Splits a document at its placeholders.

    >>> [(piece.line, piece.text) for piece in pieces('a\n{{ claim("peak").ours }}.') if piece.is_placeholder]
    [(2, 'claim("peak").ours')]

    Raises:
        PlaceholderError: for a placeholder without an end; its last argument is the line.
    """
    for opening in re.finditer(r"\{\{", text):
        # An end must come before the next placeholder and in the same paragraph.
        rest = re.split(r"\n\s*\n|\{\{", text[opening.end() :], maxsplit=1)[0]
        if "}}" not in rest:
            raise _malformed("{{ has no end }}", text.count("\n", 0, opening.start()) + 1)
    try:
        tokens = list(_ENVIRONMENT.lex(text))
    except jinja2.TemplateSyntaxError as error:
        raise _malformed(error.message or "is malformed", error.lineno) from error
    inside, start, expression = False, 1, ""
    for line, kind, value in tokens:
        if kind == "variable_begin":
            inside, start, expression = True, line, ""
        elif kind == "variable_end":
            inside = False
            yield Piece(start, expression.strip(), True)
        elif inside:
            expression += value
        else:
            yield Piece(line, value, False)


def evaluate(expression: str, names: dict[str, Any]) -> Any:
    """The value of a placeholder: text, a number, `Figure` or `Table`; PlaceholderError if it has none."""
    try:
        compiled = _ENVIRONMENT.compile_expression(expression, undefined_to_none=False)
    except jinja2.TemplateSyntaxError as error:
        raise _malformed(f"{expression!r}: {error.message}") from error
    try:
        value = compiled(**names)
    except PlaceholderError:
        raise
    except (jinja2.UndefinedError, jinja2.sandbox.SecurityError) as error:
        raise _unknown(str(error), names) from error
    except Exception as error:
        raise _malformed(f"{expression!r} fails: {error}") from error
    if isinstance(value, jinja2.Undefined):
        try:
            str(value)
        except (jinja2.UndefinedError, jinja2.sandbox.SecurityError) as error:
            raise _unknown(str(error), names) from error
    if callable(value):
        raise _malformed(f"{expression!r} is a function", remedy=f"write {expression}(…)")
    if value == "" and expression.endswith((".ours", ".value", ".low", ".high")):
        raise PlaceholderError(f"{expression} has no number", "quote .verdict instead")
    return value


def quotes_run(expression: str) -> bool:
    """Whether a placeholder names the run as a whole, as in `run.command`."""
    return re.search(r"(?<![\w.\"'])run\s*\.", expression) is not None


def as_text(value: Any) -> str:
    """A value as a reader sees it: numbers to six digits, intervals with a true minus sign."""
    if isinstance(value, list | tuple):
        return ", ".join(as_text(item) for item in value)
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return re.sub(r"(?<![\w.)-])-(?=\d)", "−", text)


def namespace(evidence: Evidence, scale: str | None, used: Callable[[Source, str], None]) -> dict[str, Any]:
    """The names that placeholders may use; `used` is told which run each number and figure comes from.

    Args:
        evidence: what has been measured.
        scale: the scale to quote; None for the largest at which each number was measured.
        used: receives the run, and what was taken from it.
    """

    def claim(name: str, scale: str | None = scale) -> QuotedClaim:
        source, row = _find_claim(evidence, name, _checked(scale))
        used(source, f"claim {name}")
        return _quoted(source, row)

    def claims_table(*names: str, scale: str | None = scale) -> Table:
        scale = _checked(scale)
        wanted = names or tuple(name for name in evidence.claims if _has_claim(evidence, name, scale))
        if not wanted:
            raise _no_result(evidence, "the table of claims", scale)
        rows = []
        for name in wanted:
            source, row = _find_claim(evidence, name, scale)
            used(source, f"claim {name}")
            rows.append(_quoted(source, row))
        return Table(tuple(rows))

    def figure(title: str, caption: str = "", width: str = "80%", scale: str | None = scale) -> Figure:
        source = _find_figure(evidence, title, _checked(scale))
        if not _WIDTH.fullmatch(str(width)):
            raise PlaceholderError(f"width must be a length such as 70% or 8cm, got {width!r}", "mend the width")
        used(source, f"figure {title}")
        return Figure(source, title, caption or title[:1].upper() + title[1:], width)

    def setting(name: str, scale: str | None = scale) -> Any:
        if name not in evidence.settings:
            known = ", ".join(evidence.settings)
            meant = check.did_you_mean(name, evidence.settings) or f"; there are {known}"
            raise PlaceholderError(f"no setting {name!r}{meant}", "mend the name")
        found = largest(evidence, _checked(scale))
        if found is None or name not in found.config:
            raise _no_result(evidence, f"setting {name!r}", scale)
        used(found, f"setting {name}")
        return found.config[name]

    names: dict[str, Any] = {"claim": claim, "claims_table": claims_table, "figure": figure, "setting": setting}
    latest = largest(evidence, scale)
    if latest is not None:
        names["run"] = QuotedRun(latest.scale, latest.command, latest.finished, latest.environment, latest.seconds)
    return {**names, "key": evidence.key}


def _find_claim(evidence: Evidence, name: str, scale: str | None) -> tuple[Source, dict[str, Any]]:
    known = dict.fromkeys([*evidence.claims, *(name for source in evidence.sources for name in source.claims)])
    if name not in known:
        meant = check.did_you_mean(name, list(known)) or (f"; there are {', '.join(known)}" if known else "")
        raise PlaceholderError(f"no claim {name!r}{meant}", "mend the name")
    found = [(s, s.claims[name]) for s in evidence.sources if name in s.claims and scale in (None, s.scale)]
    if not found:
        raise _no_result(evidence, f"claim {name!r}", scale)
    return next(((s, row) for s, row in found if row["ours"]), found[0])


def _has_claim(evidence: Evidence, name: str, scale: str | None) -> bool:
    return any(name in s.claims for s in evidence.sources if scale in (None, s.scale))


def _find_figure(evidence: Evidence, title: str, scale: str | None) -> Source:
    known = dict.fromkeys(name for source in evidence.sources for name in source.figures)
    found = [s for s in evidence.sources if title in s.figures and scale in (None, s.scale)]
    if found:
        return found[0]
    if title not in known and known:
        meant = check.did_you_mean(title, list(known)) or f"; there are {', '.join(known)}"
        raise PlaceholderError(f"no figure {title!r}{meant}", "mend the name")
    raise _no_result(evidence, f"figure {title!r}", scale, stored=True)


def _quoted(source: Source, row: dict[str, Any]) -> QuotedClaim:
    def numbers(name: str) -> Any:
        values = row.get(name) or []
        return values[0] if len(values) == 1 else tuple(values) or ""

    quoted = {name: row[name] for name in _FIELDS[:7]}
    values = {name: numbers(name) for name in ("value", "low", "high")}
    return QuotedClaim(**quoted, **values, scale=source.scale)


def largest(evidence: Evidence, scale: str | None) -> Source | None:
    """The run at a scale, or the one at the largest; None if there is none."""
    return next((s for s in evidence.sources if scale in (None, s.scale)), None)


def _checked(scale: str | None) -> str | None:
    from dlmath import repro

    try:
        return scale if scale is None else check.one_of("scale", scale, repro.SCALE_NAMES)
    except ValueError as error:
        raise PlaceholderError(str(error), "mend the scale") from error


def _no_result(evidence: Evidence, what: str, scale: str | None, *, stored: bool = False) -> PlaceholderError:
    kind = "stored result" if stored else "result"
    at = f" at {scale} scale" if scale else ""
    option = f" --scale {scale or 'laptop'}" if scale != "smoke" else ""
    return PlaceholderError(f"{what} has no {kind} behind it{at}", f"dlmath run {evidence.key}{option}")


def _unknown(message: str, names: dict[str, Any]) -> PlaceholderError:
    attribute = re.search(r"has no attribute '?(\w+)'?", message)
    undefined = re.search(r"'(\w+)' is undefined", message)
    if attribute:
        fields = QuotedRun._fields if "QuotedRun" in message else QuotedClaim._fields
        meant = check.did_you_mean(attribute[1], fields)
        return PlaceholderError(
            f"no attribute .{attribute[1]}{meant}; there are .{', .'.join(fields)}", "mend the name"
        )
    if undefined and undefined[1] == "run":
        return PlaceholderError("'run' has no result behind it", f"dlmath run {names['key']}")
    if undefined:
        meant = check.did_you_mean(undefined[1], list(names))
        remedy = "use claim, claims_table, figure, setting or run; in a formula write { { with a space"
        return PlaceholderError(f"no placeholder {undefined[1]!r}{meant}", remedy)
    return PlaceholderError(message, "mend the placeholder")


def _malformed(message: str, line: int | None = None, remedy: str = "") -> PlaceholderError:
    remedy = remedy or 'write {{ claim("name").ours }}; in a formula write { { with a space'
    error = PlaceholderError(f"placeholder {message}", remedy)
    error.args = (*error.args, line)
    return error
