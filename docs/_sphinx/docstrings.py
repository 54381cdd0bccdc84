"""Docstrings as MyST: sections become field lists, doctests and formulas code blocks, arXiv numbers links."""

import re
import textwrap
from collections.abc import Callable, Iterator

_SECTION = re.compile(r"^(Args|Returns|Yields|Raises|Attributes|References):$")
_ENTRY = re.compile(r"^([\w*][\w*, .]*?):\s+(.*)$", re.DOTALL)
_LIST = re.compile(r"^(-|\d+\.) ")
_EMPHASIS = re.compile(r"(?<![\w*])\*(\w[\w ]*)\*(?![\w*])")
_ARXIV = re.compile(r"(?<![\w.])(arXiv:)?(\d{4}\.\d{4,5})(?![\w.]*\d)")


def markdown(docstring: str) -> str:
    """A docstring in the house's form, as MyST."""
    blocks = []
    for block in _blocks(docstring):
        head, _, rest = block.partition("\n")
        if _SECTION.match(head):
            blocks.append(_section(head[:-1], textwrap.dedent(rest)))
        elif head.startswith(">>>"):
            blocks.append(f"```pycon\n{block}\n```")
        elif head.startswith("    "):
            blocks.append(f"```text\n{textwrap.dedent(block)}\n```")
        elif head.startswith("|"):
            blocks.append(_linked(block))
        elif head.startswith("=="):
            blocks.append(_table(block))
        else:
            blocks.append(escaped(block))
    return "\n\n".join(blocks)


def first_line(docstring: str) -> str:
    """The first paragraph of a docstring on one line, without its full stop."""
    return escaped(" ".join(docstring.split("\n\n")[0].split())).rstrip(".")


def escaped(text: str) -> str:
    """Text whose punctuation Markdown leaves alone, but for code in backticks."""
    parts = re.split(r"(`+[^`]+`+)", text)
    return "".join(part if part.startswith("`") else _linked(_plain(part)) for part in parts)


def _plain(text: str) -> str:
    lines = []
    for line in text.split("\n"):
        item = re.match(r"\s*(-|\d+\.) ", line)
        start = item.end() if item else 0
        parts = _EMPHASIS.split(line[start:])  # every other part is emphasised
        escapes = [re.sub(r"([\\*_<>$\[\]{}~^|#])", r"\\\1", part) for part in parts]
        lines.append(line[:start] + "".join(f"*{part}*" if i % 2 else part for i, part in enumerate(escapes)))
    return "\n".join(lines)


def _linked(text: str) -> str:
    return _ARXIV.sub(lambda m: f"[{m[0]}](https://arxiv.org/abs/{m[2]})", text)


def _blocks(docstring: str) -> Iterator[str]:
    """Paragraphs; a section with its indented text is one block, and so is a doctest."""
    lines = docstring.strip("\n").split("\n")
    i = 0
    while i < len(lines):
        if not lines[i].strip():
            i += 1
            continue
        start, inside = i, _kind(lines[i])
        i += 1
        while i < len(lines) and inside(lines, i):
            i += 1
        yield "\n".join(lines[start:i]).rstrip()


def _kind(head: str) -> Callable[[list[str], int], bool]:
    """Whether line i still belongs to the block that `head` opens."""
    if _SECTION.match(head):
        return lambda lines, i: not lines[i].strip() or lines[i].startswith("    ")
    if head.startswith(">>>"):
        return lambda lines, i: bool(lines[i].strip())
    if head.startswith("    "):  # a formula: up to the next line that is not indented
        return lambda lines, i: not lines[i].strip() or lines[i].startswith("    ")
    if _LIST.match(head):
        return lambda lines, i: bool(lines[i].strip())
    return lambda lines, i: (
        bool(lines[i].strip())
        and not (_SECTION.match(lines[i]) or lines[i].startswith((">>>", "    ")) or _LIST.match(lines[i]))
    )


def _table(block: str) -> str:
    """A table whose columns are ruled with `====`, as a table of Markdown without headings."""
    ruler, *lines = block.splitlines()
    starts = [match.start() for match in re.finditer("=+", ruler)]
    rows: list[list[str]] = []
    for line in lines:
        if line.startswith("=="):
            continue
        cells = [line[a:b].strip() for a, b in zip(starts, [*starts[1:], None], strict=True)]
        if cells[0]:
            rows.append(cells)
        else:  # the row above goes on
            rows[-1] = [f"{above} {cell}".strip() for above, cell in zip(rows[-1], cells, strict=True)]
    empty = "| " * (len(starts) + 1)
    ruled = "|---" * len(starts) + "|"
    return "\n".join([empty.strip(), ruled, *("| " + " | ".join(map(escaped, row)) + " |" for row in rows)])


def _section(name: str, body: str) -> str:
    entries = _entries(body)
    if name == "Args":
        return "\n".join(f":param {key.strip('*')}: {_indented(text)}" for key, text in entries)
    if name in ("Returns", "Yields", "References"):
        field = {"Returns": "returns", "Yields": "yields", "References": "References"}[name]
        paragraphs = "\n\n".join(" ".join(paragraph.split()) for paragraph in body.split("\n\n"))
        if name == "References":
            items = re.split(r"\n(?=\S)", "\n".join(body.splitlines()))
            if len(items) > 1:
                return ":References:\n" + "\n".join(f"  - {escaped(' '.join(item.split()))}" for item in items)
        return f":{field}: {_indented(escaped(paragraphs), raw=True)}"
    label = {"Attributes": "Fields", "Raises": "Raises"}[name]
    items = []
    for key, text in entries:
        bold = ", ".join(f"**{part.strip()}**" for part in key.split(","))
        items.append(f"  - {bold}: {_indented(text, '    ')}")
    return "\n".join([f":{label}:", *items])


def _entries(body: str) -> list[tuple[str, str]]:
    """`name: text` entries, of which later lines are indented further."""
    found: list[tuple[str, str]] = []
    for item in re.split(r"\n(?=\S)", body.strip("\n")):
        match = _ENTRY.match(item)
        key, text = (match[1], match[2]) if match else ("", item)
        if not key and found:
            found[-1] = found[-1][0], f"{found[-1][1]} {text}"
        else:
            found.append((key, text))
    return [(key, text) for key, text in found]


def _indented(text: str, indent: str = "  ", *, raw: bool = False) -> str:
    text = text if raw else escaped("\n\n".join(" ".join(p.split()) for p in text.split("\n\n")))
    return text.replace("\n", "\n" + indent)
