"""API pages from the code: one a subpackage, every public symbol with its signature and its docstring.

Public is what a package's `__all__` lists, or, in a single module without one, what it defines without an underscore.
Signatures are those of the source, so that an annotation reads as it was written.
"""

import ast
import dataclasses
import functools
import importlib
import inspect
import re
import textwrap
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import dlmath
from _sphinx import docstrings

PAGES = Path(__file__).parents[1] / "api"


class Symbol(NamedTuple):
    """A public name: where it is found, what it is called on the page, the object, and its docstring."""

    package: str
    name: str
    value: Any
    docstring: str


def packages() -> list[str]:
    """Subpackages with a page, in the order of the table of contents."""
    return [name for name in (PAGES / "index.md").read_text(encoding="utf-8").split("\n") if name.isidentifier()]


def symbols(package: str) -> Iterator[Symbol | str]:
    """Public symbols of `dlmath.<package>` in order; a string is the heading of a group of them."""
    module = importlib.import_module(f"dlmath.{package}")
    modules = []
    for entry in _listing(module):
        if entry.startswith("#"):
            yield entry.lstrip("# ")
            continue
        value = getattr(module, entry)
        if isinstance(value, types.ModuleType):
            modules.append((entry, value))
        else:
            yield Symbol(package, entry, value, docstring(module, entry))
    for name, inner in modules:
        yield Symbol(package, name, inner, inspect.getdoc(inner) or "")
        for entry in _listing(inner):
            if not entry.startswith("#"):
                yield Symbol(package, f"{name}.{entry}", getattr(inner, entry), docstring(inner, entry))


def undocumented() -> list[str]:
    """Public symbols without a docstring, and subpackages without a page."""
    missing = [f"dlmath.{name} has no page: add it to docs/api" for name in dlmath.__all__ if name not in packages()]
    missing += [
        f"{path.name} is not in docs/api/index.md"
        for path in sorted(PAGES.glob("*.md"))
        if path.stem not in {*packages(), "index"}
    ]
    for package in packages():
        if not inspect.getdoc(importlib.import_module(f"dlmath.{package}")):
            missing.append(f"dlmath.{package} has no docstring")
        for symbol in symbols(package):
            if isinstance(symbol, Symbol) and not symbol.docstring:
                missing.append(f"dlmath.{package}.{symbol.name} has no docstring")
    return missing


def names() -> set[str]:
    """Full names of everything that must be on the pages."""
    found = [symbol for package in packages() for symbol in symbols(package) if isinstance(symbol, Symbol)]
    return {f"dlmath.{s.package}.{s.name}" for s in found if not isinstance(s.value, types.ModuleType)}


def page(package: str) -> str:
    """The MyST text that stands below the title of the page of `dlmath.<package>`."""
    module = importlib.import_module(f"dlmath.{package}")
    parts = [f"```{{py:module}} dlmath.{package}\n```", docstrings.markdown(inspect.getdoc(module) or "")]
    for symbol in symbols(package):
        if isinstance(symbol, str):
            parts.append(f"## {symbol}")
        elif isinstance(symbol.value, types.ModuleType):
            parts.append(f"## {symbol.name}\n\n{docstrings.markdown(symbol.docstring)}")
        else:
            parts.append(_entry(symbol))
    return "\n\n".join(parts)


def summary() -> str:
    """A MyST table: each subpackage and the first line of its docstring."""
    rows = []
    for package in packages():
        first = docstrings.first_line(inspect.getdoc(importlib.import_module(f"dlmath.{package}")) or "")
        rows.append(f"| [`dm.{package}`]({package}.md) | {first} |")
    return "\n".join(["| package | for |", "|---|---|", *rows])


def docstring(module: types.ModuleType, name: str) -> str:
    """The docstring of a name in a module: an object's own, or the string that follows a constant's assignment."""
    value = getattr(module, name)
    if inspect.isclass(value) or callable(value):
        text = (inspect.getdoc(value) or "") if not _is_alias(module, name) else ""
        generated = inspect.isclass(value) and text.startswith(f"{value.__name__}(")
        if text and not generated:
            return text
    return _constants(module.__name__).get(name, "")


def _is_alias(module: types.ModuleType, name: str) -> bool:
    """Whether a name is bound to a type by assignment, as aliases of types are."""
    return name in _constants(module.__name__)


def _listing(module: types.ModuleType) -> list[str]:
    """Public names in order, with the comments in `__all__` that group them."""
    source = inspect.getsource(module)
    if hasattr(module, "__all__"):
        listed = source.split("__all__ = [", 1)[1].split("]", 1)[0]
        entries = (line.strip() for line in listed.replace(",", ",\n").splitlines())
        entries = [entry if entry.startswith("#") else entry.strip("\"',") for entry in entries if entry]
        assert sorted(e for e in entries if not e.startswith("#")) == sorted(module.__all__), module.__name__
        return entries
    found = []
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            found.append(statement.name)
        elif isinstance(statement, ast.Assign | ast.AnnAssign):
            target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
            found += [target.id] if isinstance(target, ast.Name) else []
    return [name for name in found if not name.startswith("_")]


@functools.cache
def _constants(module: str) -> dict[str, str]:
    """Docstrings of the constants of a module and, for a package, of its private modules."""
    path = Path(inspect.getfile(importlib.import_module(module)))
    sources = [path, *sorted(path.parent.glob("_*.py"))] if path.name == "__init__.py" else [path]
    found: dict[str, str] = {}
    for source in sources:
        body = ast.parse(source.read_text(encoding="utf-8")).body
        for statement, following in zip(body, [*body[1:], None], strict=True):
            if not isinstance(statement, ast.Assign | ast.AnnAssign):
                continue
            target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
            if isinstance(target, ast.Name) and target.id != "__all__":
                found.setdefault(target.id, inspect.cleandoc(_string(following)))
    return found


def _entry(symbol: Symbol) -> str:
    value, module = symbol.value, importlib.import_module(f"dlmath.{symbol.package}")
    body = docstrings.markdown(symbol.docstring)
    if inspect.isclass(value):
        kind = "exception" if issubclass(value, BaseException) else "class"
        fields, signature = _fields(value)
        body = "\n\n".join([body, *([fields] if fields else []), *_members(value)])
        return _directive(kind, symbol.name + signature, body)
    if callable(value) and not _is_alias(module, symbol.name.split(".")[0]):
        return _directive("function", symbol.name + _signature(value), body)
    shown = repr(value)
    option = f":value: {shown}" if len(shown) <= 100 and "<" not in shown and "\n" not in shown else ""
    return _directive("data", symbol.name, f"{option}\n\n{body}" if option else body)


def _directive(kind: str, signature: str, body: str) -> str:
    ticks = "`" * (8 if kind in ("class", "exception") else 6)
    return f"{ticks}{{py:{kind}}} {signature}\n{body}\n{ticks}"


def _members(cls: type) -> Iterator[str]:
    """Documented methods and properties that a class defines itself."""
    for name, member in vars(cls).items():
        if name.startswith("_"):
            continue
        if isinstance(member, property) and member.fget and member.fget.__doc__:
            yield _directive("property", name, docstrings.markdown(inspect.getdoc(member.fget) or ""))
        elif inspect.isfunction(member) and member.__doc__:
            yield _directive(
                "method", name + _signature(member, method=True), docstrings.markdown(inspect.getdoc(member) or "")
            )


def _fields(cls: type) -> tuple[str, str]:
    """The documented fields of a record as a field list, and its signature."""
    if not (dataclasses.is_dataclass(cls) or hasattr(cls, "_fields")):
        return "", ""
    definition = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(definition, ast.ClassDef)
    arguments, described = [], []
    for statement, following in zip(definition.body, [*definition.body[1:], None], strict=True):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        name, annotation = statement.target.id, _annotation(statement.annotation)
        if annotation.endswith("KW_ONLY"):
            arguments.append("*")
            continue
        default = None if statement.value is None else _default(statement.value)
        arguments.append(f"{name}: {annotation}" if default is None else f"{name}: {annotation} = {default}")
        if text := " ".join(_string(following).split()):
            described.append(f"  - **{name}**: {docstrings.escaped(text)}")
    fields = "\n".join([":Fields:", "", *described]) if described else ""
    return fields, f"({', '.join(arguments)})"


def _default(value: ast.expr) -> str | None:
    """A field's default, with what a factory makes instead of the factory; None if `field(...)` gives none."""
    if isinstance(value, ast.Call) and ast.unparse(value.func).endswith("field"):
        for keyword in value.keywords:
            if keyword.arg == "default_factory":
                return {"dict": "{}", "list": "[]", "tuple": "()"}.get(ast.unparse(keyword.value), "...")
            if keyword.arg == "default":
                return ast.unparse(keyword.value)
        return None
    return ast.unparse(value)


def _signature(function: Any, *, method: bool = False) -> str:
    """A function's arguments and result as its source writes them."""
    function = inspect.unwrap(function)
    definition = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    if not isinstance(definition, ast.FunctionDef):
        return "(...)"
    arguments = definition.args
    if method:
        positional = arguments.posonlyargs or arguments.args
        del positional[:1]
    result = f" -> {_annotation(definition.returns)}" if definition.returns else ""
    return f"({_annotation(arguments)}){result}"


def _annotation(node: ast.AST) -> str:
    """Source of annotations; the blank that linters want before the one name of a shape is left out."""
    return re.sub(r"\[(\w+), ' (\w+)'\]", r"[\1, '\2']", ast.unparse(node))


def _string(node: ast.stmt | None) -> str:
    """The text of a statement that is only a string, else an empty one."""
    value = node.value if isinstance(node, ast.Expr) else None
    return value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else ""
