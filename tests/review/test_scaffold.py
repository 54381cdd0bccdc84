"""What `dlmath new` writes."""

import ast
import dataclasses
import inspect
import itertools
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from dlmath import repro, review
from dlmath.review import _bibliography

REPOSITORY = Path(__file__).parent.parent.parent
HARD = r'On "quotes", \(back)slashes, {braces, 50% & more_of_it: a """story"""'


def test_what_is_left_to_do_is_what_the_scaffold_left_open(tmp_path, finished):
    made = review.scaffold(tmp_path, "gauss1809theoria", title="Theoria motus", authors=["Carl Friedrich Gauss"])
    repro.run(repro.load(made.written[0]), results=tmp_path / "results")
    found = review.check(tmp_path, "gauss1809theoria")
    assert Counter((problem.path.name, problem.rule) for problem in found) == {
        ("proposal.md", "unfinished"): 7,  # the author, the hint on length, five sections
        ("review.md", "unfinished"): 13,  # the author, twelve sections
        ("slides.md", "unfinished"): 17,  # the author, the hint on length, fifteen slides
        ("review.md", "length"): 1,
        ("slides.md", "length"): 1,
        ("gauss1809theoria.py", "unfinished"): 3,  # the abstract, two sources
    }


def test_filled_in_it_is_in_order(paper):
    assert paper.check() == []


@pytest.mark.parametrize("title", ["", HARD, "Ünïcödé ≥ ASCII"])
def test_any_title_gives_an_experiment_that_loads_and_an_entry_that_parses(tmp_path, title):
    made = review.scaffold(tmp_path, "noether1918invariante", title=title, authors=["Noether, Emmy", "Ada Lovelace"])
    paper = repro.load(made.written[0])
    assert paper.title.endswith("(Noether & Lovelace 1918).")
    entries, problems = _bibliography.read(made.written[-1])
    assert problems == []
    assert len(_bibliography.unfinished(made.written[-1], entries.values())) == int(not title)
    assert entries["noether1918invariante"].fields["author"] == "Noether, Emmy and Ada Lovelace"
    rules = {problem.rule for problem in review.check(tmp_path, "noether1918invariante", documents=["proposal"])}
    assert rules == {"unfinished"}


def test_the_experiment_has_the_form_of_those_of_the_repository(paper):
    experiment = repro.load(paper.path("experiment")).experiment
    body = ast.parse(inspect.getsource(experiment.config)).body[0].body
    documented = {
        field.target.id
        for field, text in itertools.pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr)
    }
    assert {field.name for field in dataclasses.fields(experiment.config)} <= documented
    order = []
    for statement in ast.parse(paper.path("experiment").read_text(encoding="utf-8")).body:
        order += [statement.name] if isinstance(statement, ast.FunctionDef | ast.ClassDef) else []
        order += [target.id for target in statement.targets] if isinstance(statement, ast.Assign) else []
    assert order == ["Config", "SCALES", "theory", "measure", "CLAIMS", "figures", "EXPERIMENT"]


@pytest.mark.parametrize("arguments", [["check", "--extend-ignore=I001"], ["format", "--check"]])
def test_ruff_has_nothing_to_say_about_the_experiment(paper, arguments):
    # Where dlmath is a dependency its import is sorted among the others; in its own repository it is not.
    command = [sys.executable, "-m", "ruff", *arguments, "--config", str(REPOSITORY / "pyproject.toml")]
    done = subprocess.run([*command, str(paper.path("experiment"))], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_is_overwritten(paper):
    before = {path: path.read_bytes() for path in paper.root.rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match=r"exists already: experiments/gauss1809theoria\.py, .*review\.md"):
        review.scaffold(paper.root, paper.key)
    paper.path("slides").unlink()
    made = review.scaffold(paper.root, paper.key)
    assert [path.name for path in made.written] == ["slides.md"]
    assert len(made.kept) == 4
    del before[paper.path("slides")]
    assert all(path.read_bytes() == content for path, content in before.items())


def test_the_bibliography_keeps_its_entries_and_gets_none_twice(paper):
    paper.edit(
        "refs.bib", "@article", "% a comment\n@book{euler1748introductio, title={I}, author={E}, year=1748}\n@article"
    )
    before = paper.path("refs.bib").read_text()
    review.scaffold(paper.root, "abel1826zero", title="T", authors=["Abel"], arxiv="arXiv:1903.08560v2")
    after = paper.path("refs.bib").read_text()
    assert after.startswith(before.rstrip())
    assert list(_bibliography.read(paper.path("refs.bib"))[0]) == ["euler1748introductio", paper.key, "abel1826zero"]
    made = review.scaffold(paper.root, "euler1748introductio")
    assert made.kept
    assert paper.path("refs.bib").read_text() == after


@pytest.mark.parametrize(
    ("key", "options", "year"),
    [
        ("hastie2022surprises", {"arxiv": "1903.08560"}, "2022"),
        ("surprises", {"arxiv": "1903.08560"}, "2019"),
        ("surprises", {"arxiv": "hep-th/9901001"}, "1999"),
        ("hastie2022surprises", {"year": 2019}, "2019"),
    ],
)
def test_the_year_is_that_given_else_that_in_the_key_else_that_of_the_preprint(tmp_path, key, options, year):
    review.scaffold(tmp_path, key, **options)
    entries, _ = _bibliography.read(tmp_path / "paper_reviews" / "refs.bib")
    assert entries[key].fields["year"] == year
