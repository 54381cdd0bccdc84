"""The command line, as a user meets it."""

import json
import subprocess
import sys

import pytest

from dlmath import workspace
from dlmath.cli import main


@pytest.fixture(autouse=True)
def _inside(toy, monkeypatch):
    monkeypatch.chdir(toy.parent)


def test_run_prints_the_claims_and_ends_with_0(capsys):
    assert main(["run", "toy"]) == 0
    out = capsys.readouterr().out
    assert "centred" in out
    assert "reproduced" in out
    assert "3 units computed, 0 reused" in out


def test_settings_are_options(capsys):
    assert main(["run", "toy", "--widths", "16", "64", "--spread", "0.5"]) == 0
    assert "3 units computed" in capsys.readouterr().out


def test_a_broken_claim_ends_with_1(edit):
    edit("Equal(0.0, atol=0.5)", "Equal(9.0, atol=0.5)")
    assert main(["run", "toy"]) == 1


def test_run_all_runs_every_paper(toy, capsys):
    (toy.parent / "second.py").write_text(toy.read_text())
    assert main(["run", "--all"]) == 0
    assert "2 of 2 papers" in capsys.readouterr().out


def test_options_of_the_runner(capsys):
    assert main(["run", "toy", "--seeds", "20:40", "--point", "width=16", "--results", "elsewhere"]) == 0
    assert "2 units computed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["rn"], "did you mean 'run'"),
        (["run", "toi"], "no experiment 'toi'; did you mean 'toy'"),
        (["run"], "run needs a paper's key or --all"),
        (["run", "toy", "--scale", "smoek"], "--scale must be one of 'smoke', 'laptop', got 'smoek'; did you mean"),
        (["run", "toy", "--seeds", "5"], "--seeds must be START:STOP"),
        (["run", "toy", "--seeds", "5:5"], "--seeds must be START:STOP"),
        (["run", "toy", "--point", "widht=4"], "did you mean 'width'"),
        (["run", "toy", "--point", "width=5"], "--point width must be one of 4, 16, got 5"),
        (["run", "toy", "--num-seeds", "0"], "num_seeds must be positive, got 0"),
        (["run", "toy", "--widths"], "widths must not be empty"),
        (["run", "toy", "--widths", "4", "4"], "widths must not repeat a point, got 4 twice"),
        (["show", "tooy"], "did you mean 'toy'"),
    ],
)
def test_bad_input_ends_with_2_and_says_what_to_do(arguments, text, capsys):
    assert main(arguments) == 2
    assert text in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["run", "toy", "--num-seeds", "many"], "--num-seeds"),
        (["run", "toy", "--spread", "wide"], "--spread"),
        (["run", "toy", "--widhts", "4"], "--widths"),
    ],
)
def test_an_option_of_the_wrong_type_or_name_is_explained(arguments, text, capsys):
    with pytest.raises(SystemExit) as status:
        main(arguments)
    assert status.value.code == 2
    captured = capsys.readouterr()
    assert text in captured.err + captured.out


def test_index_records_runs_and_list_and_show_print_them(toy, capsys):
    (toy.parent.parent / "README.md").write_text("# x\n<!-- claims:begin -->\n<!-- claims:end -->\nend\n")
    main(["run", "toy"])
    assert main(["index"]) == 0
    index = workspace.read_index(toy.parent)
    assert index["toy"]["scales"]["smoke"]["claims"][0]["verdict"] == "reproduced"
    readme = (toy.parent.parent / "README.md").read_text()
    assert "(experiments/toy.py) | 1 of 1, " in readme
    assert "| the mean is 0 | 0 ± 0.5 | Thm 1 | ✓ " in (toy.parent / "README.md").read_text()
    assert readme.endswith("<!-- claims:end -->\nend\n")
    capsys.readouterr()
    assert main(["list"]) == 0
    assert "1 of 1 (smoke)" in capsys.readouterr().out
    assert main(["show", "toy"]) == 0
    assert "The mean of n samples has mean zero" in capsys.readouterr().out


def test_index_keeps_what_was_recorded_elsewhere(toy):
    main(["run", "toy"])
    main(["index"])
    first = workspace.read_index(toy.parent)
    main(["index", "--results", "nowhere"])
    assert workspace.read_index(toy.parent) == first


def test_listing_imports_neither_jax_nor_xarray():
    code = (
        "import sys, json; from dlmath.cli import main; main(['list']);"
        "print(json.dumps([m for m in ('jax', 'xarray', 'numpyro', 'sklearn', 'matplotlib') if m in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == []
