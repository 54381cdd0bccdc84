"""How verdicts, costs and places are put into words."""

import re
from pathlib import Path
from typing import Any, NamedTuple

BASES = {
    "paper": "printed in the paper",
    "formula": "from the paper's formula",
    "independent": "computed independently",
}
SCALES = {"smoke": "smoke scale", "laptop": "laptop scale", "paper": "paper scale", "custom": "other settings"}


class Mark(NamedTuple):
    """A verdict as a reader meets it: `kind` chooses the colour, `glyph` the shape, `words` say it."""

    kind: str
    glyph: str
    words: str


HELD = Mark("held", "✓", "reproduced")
BROKEN = Mark("broken", "✗", "not reproduced")
KNOWN = Mark("known", "(✗)", "not reproduced, as known")
SURPRISE = Mark("broken", "✓!", "reproduced, though known not to hold")
INCONCLUSIVE = Mark("open", "~", "inconclusive")
INCOMPLETE = Mark("open", "…", "incomplete")
UNTESTABLE = Mark("none", "–", "not testable at this scale")
ERROR = Mark("broken", "!", "error in the claim")
MARKS = (HELD, BROKEN, KNOWN, INCONCLUSIVE, INCOMPLETE, UNTESTABLE, ERROR, SURPRISE)


def mark(verdict: str, fails: str) -> Mark:
    """The mark of a verdict; `fails` is why the claim is known not to hold, or empty.

    >>> mark("not reproduced", "").words, mark("not reproduced", "the data differ").glyph
    ('not reproduced', '(✗)')
    """
    if fails and verdict in ("reproduced", "not reproduced"):
        return SURPRISE if verdict == "reproduced" else KNOWN
    known = {m.words: m for m in (HELD, BROKEN, INCONCLUSIVE, INCOMPLETE, UNTESTABLE)}
    return known.get(verdict, ERROR)


def setting(value: Any) -> str:
    """A value of the settings, as a reader would write it.

    >>> setting([4, 16]), setting(None), setting({"rate": 0.5})
    ('4, 16', 'none', 'rate = 0.5')
    """
    if value is None:
        return "none"
    if isinstance(value, list | tuple):
        return ", ".join(f"({setting(v)})" if isinstance(v, list | tuple) else setting(v) for v in value) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{name} = {setting(v)}" for name, v in value.items())
    return str(value)


def portable(text: str, *folders: Path) -> str:
    """A text without the folders of this machine: what lies in `folders` is named from there, the rest by its end.

    >>> portable("/home/a/w/results/toy/run.json is damaged", Path("/home/a/w"))
    'results/toy/run.json is damaged'
    >>> portable('File "/opt/py/site-packages/jax/core.py", see https://jax.dev/a/b', Path("/w"))
    'File "…/jax/core.py", see https://jax.dev/a/b'
    """
    known = {p for f in folders for p in (f.absolute(), f.resolve()) if len(p.parts) > 1}
    for folder in sorted(known, key=lambda f: -len(str(f))):
        text = re.sub(rf"{re.escape(str(folder))}(?![\w.-])/?", "", text)
    return _ABSOLUTE.sub(_end, text)


# Two parts or more, not inside an address ("https://…"), a fraction ("a/b/c") or a relative path.
_ABSOLUTE = re.compile(r"(?<![\w:/.~)\]])(?:[A-Za-z]:[\\/]|~?/)(?:[\w.@+-]+[\\/])+[\w.@+-]*")
_MARKERS = ("site-packages", "dist-packages", "experiments")


def _end(found: re.Match[str]) -> str:
    parts = [part for part in re.split(r"[\\/]", found.group()) if part]
    for marker in _MARKERS:
        if marker in parts:
            at = parts.index(marker)
            return "…/" + "/".join(parts[at if marker == "experiments" else at + 1 :])
    return "…/" + parts[-1]
