"""The documentation says what is true of the code, and its pages hold together; Sphinx itself is not run here."""

import ast
import dataclasses
import doctest
import importlib
import re
import sys
from pathlib import Path

import pytest

import dlmath as dm
from dlmath import repro, workspace

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
sys.path.append(str(DOCS))

from _sphinx import api, docstrings, example, neural_tangents  # noqa: E402

PAGES = sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)
BIBLIOGRAPHY = ROOT / "paper_reviews" / "refs.bib"
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())


def _text(page):
    return page.read_text(encoding="utf-8")


def _prose(page):
    """The text of a page without its blocks of code, which are no Markdown."""
    return re.sub(r"^(`{3,})(?!\{).*?^\1$", "", _text(page), flags=re.DOTALL | re.MULTILINE)


def _slug(heading):
    """The anchor of a heading, as GitHub and MyST make it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _anchors(page):
    text = _text(page)
    if page.name == "papers.md":
        text = _text(ROOT / "experiments" / "README.md")
    headings = re.findall(r"^#{1,3} (.+)$", text, re.MULTILINE)
    return {*map(_slug, headings), *re.findall(r"^\((\S+)\)=$", text, re.MULTILINE)}


# The API --------------------------------------------------------------------------------------------------------------


def test_every_public_symbol_has_a_docstring_and_every_subpackage_a_page():
    assert api.undocumented() == []


def test_a_symbol_without_docstring_is_named(monkeypatch):
    monkeypatch.setattr(dm.linalg.ridge, "__doc__", None)
    assert api.undocumented() == ["dlmath.linalg.ridge has no docstring"]


@pytest.mark.parametrize("package", api.packages())
def test_the_page_of_a_subpackage_has_every_public_symbol(package):
    page = api.page(package)
    described = set(re.findall(r"^`{6,}\{py:(?:class|exception|function|data)\} ([\w.]+)", page, re.MULTILINE))
    public = set(getattr(importlib.import_module(f"dlmath.{package}"), "__all__", ()))
    modules = {name for name in public if isinstance(getattr(getattr(dm, package), name), type(dm))}
    assert public - modules <= described
    assert {f"dlmath.{package}.{name}" for name in described} == {
        name for name in api.names() if name.startswith(f"dlmath.{package}.")
    }


def test_signatures_are_written_as_in_the_source():
    page = api.page("linalg")
    assert "{py:function} ridge(x: Any, y: Any, penalty: Any) -> Float[Array, '...']" in page
    assert "jaxtyping" not in page


def test_sections_of_a_docstring_become_field_lists():
    text = (
        "A *sum* of |x| and x_i.\n\nArgs:\n    x: terms,\n        [n].\n\nRaises:\n    ValueError: bad.\n\n>>> 1\n1\n"
    )
    assert docstrings.markdown(text) == (
        "A *sum* of \\|x\\| and x\\_i.\n\n:param x: terms, \\[n\\].\n\n:Raises:\n  - **ValueError**: bad.\n\n"
        "```pycon\n>>> 1\n1\n```"
    )


def test_numbers_of_arxiv_become_links_and_decimals_do_not():
    assert docstrings.escaped("see arXiv:1806.07572, and 1234.5") == (
        "see [arXiv:1806.07572](https://arxiv.org/abs/1806.07572), and 1234.5"
    )


# The pages ------------------------------------------------------------------------------------------------------------


@each_page
def test_links_lead_to_pages_and_headings_that_exist(page):
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)", _prose(page)):
        if "://" in target:
            continue
        found = (page.parent / target) if target else page
        assert found.is_file(), target
        assert not anchor or anchor in _anchors(found), f"{target}#{anchor}"
    for target in re.findall(r"\{doc\}`[^<`]*<([^>]+)>`", _text(page)):
        assert any((page.parent / f"{target}{suffix}").is_file() for suffix in (".md", ".ipynb")), target
    for target in re.findall(r"^```\{(?:literal)?include\} (\S+)", _text(page), re.MULTILINE):
        # What the build writes from the skeleton is checked below.
        assert (page.parent / target).is_file() or target == f"_build/example/experiments/{example.KEY}.py", target


def test_every_page_is_in_a_table_of_contents():
    listed = set()
    for page in PAGES:
        for tree in re.findall(r"^```\{toctree\}\n(.*?)^```", _text(page), re.DOTALL | re.MULTILINE):
            listed |= {(page.parent / line).resolve() for line in tree.splitlines() if re.match(r"\w", line)}
    assert {page.with_suffix("").resolve() for page in PAGES} <= listed | {DOCS / "index"}
    assert all(any(path.with_suffix(suffix).is_file() for suffix in (".md", ".ipynb")) for path in listed)


@each_page
def test_examples_on_a_page_print_what_it_says(page):
    blocks = re.findall(r"^```pycon\n(.*?)^```", _text(page), re.DOTALL | re.MULTILINE)
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    parsed = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, page.stem, str(page), 0)
    assert doctest.DocTestRunner(optionflags=flags).run(parsed).failed == 0


@each_page
def test_commands_on_a_page_exist(page):
    from dlmath import cli

    blocks = re.findall(r"^```\n(.*?)^```", _text(page), re.DOTALL | re.MULTILINE)
    commands = [line for block in blocks for line in block.splitlines()] + re.findall(r"`([^`\n]+)`", _prose(page))
    makefile = _text(ROOT / "Makefile")
    for command in commands:
        if named := re.match(r"dlmath ([a-z]+)(?: ([a-z]+\d{4}[a-z]+))?", command):
            assert named[1] in cli._COMMANDS
            assert named[2] in (None, example.KEY, *workspace.keys(ROOT / "experiments"))
        if named := re.match(r"make (?:[A-Z]+=\S+ )?([a-z]+)", command):
            assert re.search(rf"^{named[1]}:", makefile, re.MULTILINE), command


@each_page
def test_names_of_dlmath_on_a_page_exist(page):
    for name in re.findall(r"`dm\.([a-z_]+(?:\.\w+)*)", _text(page)):
        package, *parts = name.split(".")
        value = importlib.import_module(f"dlmath.{package}")
        for part in parts:
            value = getattr(value, part)


@each_page
def test_formulas_of_a_page_have_mathml(page):
    mathml = pytest.importorskip("_sphinx.mathml")
    text = re.sub(r"`[^`\n]+`", "", _prose(page))
    for block, inline in re.findall(r"\$\$(.+?)\$\$|\$([^$\n]+)\$", text, re.DOTALL):
        assert "<math" in mathml.convert(block or inline, block=bool(block))


def test_the_skeleton_of_how_to_add_a_paper_holds_its_claims(tmp_path):
    found = example.run(tmp_path)
    assert not found.errors
    assert {row.verdict for row in found.claims} == {repro.REPRODUCED}
    config = repro.load(tmp_path / "experiments" / f"{example.KEY}.py").experiment.config
    options = re.findall(rf"dlmath run {example.KEY} --([a-z-]+)", _text(DOCS / "adding_a_paper.md"))
    known = {field.name for field in dataclasses.fields(config)} | set(repro.RESERVED)
    assert {option.replace("-", "_") for option in options} <= known


def test_how_to_add_a_paper_quotes_the_whole_skeleton():
    skeleton = ROOT / "dlmath" / "review" / "templates" / "scaffold" / "experiment.py.txt"
    page = _text(DOCS / "adding_a_paper.md")
    quoted = set(re.findall(r":pyobject: (\w+)", page)) | {"Config", "SCALES", "CLAIMS", "EXPERIMENT"}
    defined = set()
    for statement in ast.parse(_text(skeleton)).body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            defined.add(statement.name)
        elif isinstance(statement, ast.Assign):
            defined.add(statement.targets[0].id)
    assert defined == quoted
    for marker in re.findall(r':(?:start-at|end-before): "(.+)"', page):
        assert marker in _text(skeleton), marker


def test_the_rules_of_verdicts_are_those_of_the_judge():
    page = _text(DOCS / "adding_a_paper.md")
    judge = importlib.import_module("dlmath.repro._judge")
    assert f"on {judge.NUM_RESAMPLES} resamples" in page
    assert f"a {100 * judge.CONFIDENCE:g} % interval" in page
    verdicts = [
        getattr(judge, name) for name in ("REPRODUCED", "NOT_REPRODUCED", "INCONCLUSIVE", "INCOMPLETE", "ERROR")
    ]
    assert all(f"| {verdict} |" in page for verdict in [*verdicts, judge.NOT_TESTABLE])


# The bibliography -----------------------------------------------------------------------------------------------------


def _entries():
    text = _text(BIBLIOGRAPHY)
    return re.findall(r"^@(\w+)\{([^,\s]+),\n(.*?)^\}", text, re.DOTALL | re.MULTILINE)


def test_entries_of_the_bibliography_are_whole_and_have_different_keys():
    keys = [key for _, key, _ in _entries()]
    assert len(keys) == len(set(keys)) == _text(BIBLIOGRAPHY).count("\n@") + _text(BIBLIOGRAPHY).startswith("@")
    for _, key, fields in _entries():
        names = re.findall(r"^\s*(\w+)\s*=", fields, re.MULTILINE)
        assert {"title", "author", "year"} <= {name.lower() for name in names}, key
        assert len(names) == len(set(names)), key
        year = re.search(r"^\s*year\s*=\s*\{?(\d{4})", fields, re.MULTILINE)
        assert year is not None
        assert year[1] in key, key


def test_every_experiment_and_every_citation_is_in_the_bibliography():
    keys = {key for _, key, _ in _entries()}
    cited = {
        key for page in PAGES for listed in re.findall(r"\{cite\}`([^`]+)`", _text(page)) for key in listed.split(",")
    }
    papers = {key for key in workspace.keys(ROOT / "experiments") if not key.startswith("course_")}
    assert cited | papers <= keys


# neural-tangents ------------------------------------------------------------------------------------------------------


def test_every_failure_of_the_suite_of_neural_tangents_is_explained_by_name():
    record = neural_tangents.read()
    text = neural_tangents.explained(record)
    for name, test in neural_tangents.failures(record):
        assert name.partition("::")[2] in text
        assert test["error"]


def test_a_failure_that_nobody_explained_is_named():
    record = {"files": {"a_test.py": {"tests": [{"name": "ATest::test_b0", "outcome": "failed"}]}}}
    with pytest.raises(KeyError, match=r"a_test\.py::ATest::test_b0 fails: explain it"):
        neural_tangents.explained(record)


def test_the_table_of_the_suite_adds_up():
    record = neural_tangents.read()
    outcomes = [test["outcome"] for found in record["files"].values() for test in found["tests"]]
    numbers = " | ".join(str(outcomes.count(outcome)) for outcome in ("passed", "failed", "skipped"))
    assert f"| together | | {numbers} |" in neural_tangents.table(record)
