"""What a stored number depends on: the hash of a unit, and the provenance that makes it stale.

Editing a comment, a docstring, a claim, a figure, a scale or another study changes no hash; editing
`measure`, or anything in the file that it reaches, changes the hashes of its study.
"""

import ast
import dataclasses
import functools
import hashlib
import importlib.metadata
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

_PACKAGES = (
    "jax",
    "jaxlib",
    "numpy",
    "scipy",
    "flax",
    "optax",
    "diffrax",
    "numpyro",
    "neural-tangents",
    "scikit-learn",
)
_ROOT = Path(__file__).parent.parent


def digest(record: Any) -> str:
    """24 hexadecimal digits of the SHA-256 of a record in canonical JSON."""
    text = json.dumps(canonical(record), sort_keys=True, ensure_ascii=False, allow_nan=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def canonical(value: Any) -> Any:
    """`value` as JSON types, with 2.0 written like 2, tuples like lists, dataclasses like mappings."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: canonical(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): canonical(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [canonical(v) for v in value]
    if isinstance(value, set | frozenset):
        return sorted(canonical(v) for v in value)
    if isinstance(value, bool) or value is None or isinstance(value, str | int):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, np.generic):
        return canonical(value.item())
    if isinstance(value, Path):
        return str(value)
    raise TypeError(
        f"config values must be numbers, strings, None, or tuples, mappings and dataclasses of them,"
        f" got {value!r} of type {type(value).__name__}"
    )


def study_code(paper: Any, study: Any) -> str:
    """The code that the results of a study depend on."""
    function = getattr(study.measure, "__name__", repr(study.measure))
    return code_slice(paper.text, function, paper.experiment.config.__name__)


def claims_digest(paper: Any) -> str:
    """A digest of the claims and of all that they reach, the figures left out."""
    try:
        return digest(code_slice(paper.text, "CLAIMS", paper.experiment.config.__name__))
    except ValueError:
        return digest(paper.text)


def figures_code(text: str, paper: Any) -> str:
    """The code that draws the figures in a version of the paper's file, all of it if there is no such function."""
    try:
        return code_slice(text, "figures", paper.experiment.config.__name__)
    except (ValueError, SyntaxError):
        return text


@functools.lru_cache(maxsize=64)
def code_slice(text: str, function: str, config: str) -> str:
    """The part of a file's code that the top-level `function` can reach, as normalised source.

    Comments, docstrings and annotations are left out; so are fields and defaults of the class named
    `config`, whose values are hashed on their own.

    Raises:
        ValueError: if the file defines no such function.
    """
    statements = [s for s in ast.parse(text).body if not _is_string(s)]
    bound = [(_Stripped(config).visit(s), _bound_names(s)) for s in statements]
    everywhere = {name for _, names in bound for name in names}
    if function not in everywhere:
        raise ValueError(
            f"measure must be a function defined at the top level of the experiment's file, got {function!r}: what"
            " its text says is what its results depend on"
        )
    reached: set[str] = set()
    frontier = [function, config]
    for statement, names in bound:
        if not names:  # statements that bind nothing may do anything
            frontier += _used_names(statement)
    while frontier:
        name = frontier.pop()
        if name not in reached:
            reached.add(name)
            for statement, names in bound:
                if name in names:
                    frontier += _used_names(statement) & everywhere
    kept = [s for s, names in bound if not names or names & reached]
    return "\n".join(ast.unparse(ast.fix_missing_locations(s)) for s in kept)


@functools.lru_cache(maxsize=64)
def subpackages_used(code: str) -> frozenset[str]:
    """Names of the dlmath subpackages that a piece of code mentions."""
    names = set(re.findall(r"\b(?:dm|dlmath)\.(\w+)", code))
    for listed in re.findall(r"from dlmath import (.+)", code):
        names |= {part.split(" as ")[0].strip() for part in listed.split(",")}
    return frozenset(name for name in names if _source_files(name))


@functools.lru_cache(maxsize=64)
def results_versions(names: frozenset[str]) -> dict[str, int]:
    """`RESULTS_VERSION` of each subpackage, read without importing it (1 where it says nothing)."""
    versions = {}
    for name in sorted(names):
        head = _source_files(name)[0].read_text(encoding="utf-8")
        found = re.search(r"^RESULTS_VERSION(?:: int)? = (\d+)", head, re.MULTILINE)
        versions[name] = int(found.group(1)) if found else 1
    return versions


def provenance(code: str) -> dict[str, Any]:
    """Versions of the packages underneath, and a digest of each dlmath subpackage that the code rests on."""
    return {
        "packages": _package_versions(),
        "dlmath": {name: _source_digest(name) for name in sorted(_closure(subpackages_used(code)))},
    }


@functools.cache
def _package_versions() -> dict[str, str]:
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


@functools.cache
def _closure(names: frozenset[str]) -> frozenset[str]:
    reached, frontier = set(), list(names)
    while frontier:
        name = frontier.pop()
        if name not in reached:
            reached.add(name)
            text = "\n".join(path.read_text(encoding="utf-8") for path in _source_files(name))
            frontier += subpackages_used(text) - reached
    return frozenset(reached - {"check", "typing"})


@functools.cache
def _source_digest(name: str) -> str:
    hashed = hashlib.sha256()
    for path in _source_files(name):
        hashed.update(path.name.encode() + path.read_bytes())
    return hashed.hexdigest()[:16]


def _source_files(name: str) -> list[Path]:
    single, package = _ROOT / f"{name}.py", _ROOT / name / "__init__.py"
    if single.is_file():
        return [single]
    return [package, *sorted(p for p in package.parent.rglob("*.py") if p != package)] if package.is_file() else []


def _is_string(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _bound_names(statement: ast.stmt) -> set[str]:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}
    if isinstance(statement, ast.Import):
        return {(alias.asname or alias.name).split(".")[0] for alias in statement.names}
    if isinstance(statement, ast.ImportFrom):
        return {alias.asname or alias.name for alias in statement.names}
    if isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        return {n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)}
    return set()


def _used_names(statement: ast.stmt) -> set[str]:
    return {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}


class _Stripped(ast.NodeTransformer):
    """Removes docstrings and annotations; keeps only the methods of the config class."""

    def __init__(self, config: str) -> None:
        self.config = config

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self.generic_visit(node)
        node.body = [s for s in node.body if not _is_string(s)] or [ast.Pass()]
        node.returns = None
        for argument in ast.walk(node.args):
            if isinstance(argument, ast.arg):
                argument.annotation = None
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        self.generic_visit(node)
        body: list[ast.stmt] = [s for s in node.body if not _is_string(s)]
        if node.name == self.config:
            body = [*(s for s in body if isinstance(s, ast.FunctionDef))]
        node.body = body or [ast.Pass()]
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        self.generic_visit(node)
        node.annotation = ast.Name("_", ast.Load())
        return node
