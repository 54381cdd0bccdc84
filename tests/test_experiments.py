"""Every experiment of the repository: its form, its smoke run, and the records made from it."""

import ast
import dataclasses
import inspect
import itertools
import multiprocessing
import os
import runpy
import warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from unittest import mock

import pytest

from dlmath import cli, repro, workspace
from dlmath.cli import _index

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "experiments"
KEYS = workspace.keys(FOLDER)


@pytest.fixture(scope="module")
def papers():
    return {key: repro.load(workspace.find(key, FOLDER)) for key in KEYS}


@pytest.fixture(scope="module")
def command(optimized_environment):
    """The function arguments -> exit status of `dlmath`, in a process whose programs are optimised.

    Types and warnings are checked there as they are here.
    """
    check = (str(Path(__file__).with_name("conftest.py")),)
    with (
        mock.patch.dict(os.environ, optimized_environment),
        ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), runpy.run_path, check) as process,
    ):
        process.submit(warnings.simplefilter, "error").result()
        process.submit(warnings.filterwarnings, "ignore", "Error reading persistent compilation cache").result()
        yield lambda *arguments: process.submit(cli.main, [*map(str, arguments)]).result()


@pytest.mark.parametrize("key", KEYS)
def test_every_setting_is_documented(key, papers):
    config = papers[key].experiment.config
    body = ast.parse(inspect.getsource(config)).body[0].body
    documented = {
        statement.target.id
        for statement, following in itertools.pairwise(body)
        if isinstance(statement, ast.AnnAssign)
        and isinstance(following, ast.Expr)
        and isinstance(following.value, ast.Constant)
    }
    assert {field.name for field in dataclasses.fields(config)} <= documented


@pytest.mark.parametrize("key", KEYS)
def test_its_parts_stand_in_the_agreed_order(key, papers):
    parts = ["Config", "SCALES", "theory", "measure", "CLAIMS", "figures", "EXPERIMENT"]
    order = []
    for statement in ast.parse(papers[key].text).body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            order.append(statement.name)
        elif isinstance(statement, ast.Assign):
            order += [target.id for target in statement.targets if isinstance(target, ast.Name)]
    assert {"Config", "SCALES", "CLAIMS", "EXPERIMENT"} <= set(order)
    places = [order.index(part) for part in parts if part in order]
    assert places == sorted(places)


@pytest.mark.parametrize("key", KEYS)
def test_its_claims_hold_at_smoke_scale(key, command, tmp_path):
    status = command("run", key, "--results", tmp_path)
    found = repro.latest_run(tmp_path, key, "smoke")
    assert not found.record["errors"]
    assert [(row.name, row.verdict, row.ours, row.note) for row in found.claims if row.broken] == []
    assert any(row.verdict == repro.REPRODUCED for row in found.claims)
    assert found.figures
    assert status == 0


@pytest.mark.parametrize("key", KEYS)
def test_the_index_says_what_the_file_says(key, papers):
    entry = workspace.read_index(FOLDER).get(key)
    assert entry is not None, "make index"
    assert {name: entry[name] for name in ("title", "claims", "deviations")} == _index.described(papers[key])
    assert "smoke" in entry["scales"], f"dlmath run {key} && dlmath index"


def test_the_index_has_no_other_papers():
    assert list(workspace.read_index(FOLDER)) == KEYS


def test_the_tables_of_claims_are_made_from_the_index():
    index = workspace.read_index(FOLDER)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert _index.with_table(readme, index) == readme, "make index"
    assert _index.details(index) == (FOLDER / "README.md").read_text(encoding="utf-8"), "make index"
