"""A claim moved if its intervals are disjoint."""

import math
from pathlib import Path

import pytest

from dlmath import report, repro
from dlmath.cli import main

from .conftest import Page


def judged(value, low=None, high=None, verdict="reproduced", name="c", note="", fails=""):
    value = value if isinstance(value, list) else [value]
    low, high = (value if a is None else a if isinstance(a, list) else [a] for a in (low, high))
    if verdict in ("incomplete", "error", "not testable at this scale"):
        value, low, high = [], [], []
    return repro.Judgement(
        name, "a <claim>", "Fig. 1", "paper", "1", str(value), verdict, value, low, high, note, fails
    )


def stored(*claims, key="toy", folder="a", scale="smoke", **record):
    record = {
        "key": key, "title": "A title", "scale": scale, "config": {"n": 1}, "environment": {"packages": {}}, "code": {},
        "claims_code": "x", "finished": "2026", "seconds": 1.0, **record,
    }  # fmt: skip
    return repro.StoredRun(Path(folder), record, list(claims), {}, "")


INF, NAN = math.inf, math.nan
CURVE = {"note": "t over 5 seeds; 2 of 2 points inside"}


@pytest.mark.parametrize(
    ("first", "second", "moved", "difference"),
    [
        (judged(1.0, 0.5, 1.5), judged(1.2, 0.7, 1.7), "within", 0.2),
        (judged(1.0, 0.5, 1.5), judged(3.0, 2.5, 3.5), "moved", 2.0),
        (judged(3.0, 2.5, 3.5), judged(1.0, 0.5, 1.5), "moved", -2.0),
        (judged(1.0, 0.5, 1.5), judged(2.0, 1.5, 2.5), "within", 1.0),  # they touch
        (judged(1.0), judged(1.0), "within", 0.0),
        (judged(1.0), judged(1.0 + 1e-13), "within", 1e-13),
        (judged(1.0), judged(1.0 + 1e-11), "moved", 1e-11),
        (judged(1e-20), judged(2e-20), "moved", 1e-20),
        (judged(0.0), judged(0.0), "within", 0.0),
        (judged(1.2), judged(1.0, 0.5, 1.5), "within", -0.2),
        (judged(1.6), judged(1.0, 0.5, 1.5), "moved", -0.6),
        (judged(1.0, -INF, INF), judged(9.0, 8.0, 10.0), "cannot tell", 8.0),
        (judged(NAN), judged(1.0), "cannot tell", None),
        (judged(1.0), judged(1.0, verdict="incomplete"), "cannot tell", None),
        (judged(1.0, verdict="not testable at this scale"), judged(1.0), "cannot tell", None),
        (judged([1.0, 2.0], [0.5, 1.5], [1.5, 2.5], **CURVE), judged([1.1, 2.1], [0.6, 1.6], [1.6, 2.6], **CURVE), "within", 0.1),
        (judged([1.0, 2.0], [0.5, 1.5], [1.5, 2.5], **CURVE), judged([1.1, 9.0], [0.6, 8.0], [1.6, 10.0], **CURVE), "moved", 7.0),
        (judged([1.0, 2.0], **CURVE), judged([1.0, 2.0, 3.0], **CURVE), "cannot tell", None),
        (judged([1.0, 2.0], [-INF, 1.5], [INF, 2.5], **CURVE), judged([1.0, 2.0], **CURVE), "cannot tell", 0.0),
    ],
)  # fmt: skip
def test_disjoint_intervals_have_moved(first, second, moved, difference):
    (shift,) = report.compare(stored(first), stored(second)).shifts
    assert shift.moved == moved
    assert shift.difference == (None if difference is None else pytest.approx(difference, rel=1e-3))


def test_of_a_curve_the_points_that_moved_are_counted():
    first = judged([1.0, 2.0, 3.0], note="exact; 3 of 3 points inside")
    second = judged([1.5, 2.0, 3.5], note="exact; 3 of 3 points inside")
    assert report.compare(stored(first), stored(second)).shifts[0].detail == "2 of 3 points moved"


@pytest.mark.parametrize(
    ("first", "second", "broke"),
    [
        (judged(1.0), judged(1.0, verdict="not reproduced"), True),
        (judged(1.0, verdict="not reproduced"), judged(1.0), False),
        (judged(1.0), judged(1.0, verdict="error"), True),
        (judged(1.0), judged(1.0, verdict="inconclusive"), False),
        (judged(1.0, verdict="not reproduced", fails="known"), judged(1.0, verdict="reproduced", fails="known"), True),
        (judged(1.0, verdict="not reproduced"), judged(1.0, verdict="not reproduced", fails="known"), False),
        (judged(1.0, verdict="not reproduced"), judged(1.0, verdict="error"), False),
    ],
)
def test_a_verdict_that_turns_bad_is_told(first, second, broke):
    found = report.compare(stored(first), stored(second))
    assert found.shifts[0].changed
    assert found.shifts[0].broke == broke
    assert found.different == (broke or found.shifts[0].moved == "moved")
    assert ("no longer holds: c" in found.sentence) == broke


def test_the_sentence_counts_and_names_what_moved():
    first = [judged(1.0, name="a"), judged(1.0, name="b"), judged(1.0, name="c")]
    second = [judged(2.0, name="a"), judged(1.0, name="b"), judged(3.0, name="c")]
    found = report.compare(stored(*first), stored(*second))
    assert found.sentence == "2 of 3 claims moved beyond their intervals: a, c; no verdict changed."
    assert report.compare(stored(*first), stored(*first)).sentence == (
        "None of 3 claims moved beyond their intervals; no verdict changed."
    )


def test_claims_of_one_run_only_are_listed_not_compared():
    found = report.compare(stored(judged(1.0, name="a")), stored(judged(2.0, name="b")))
    assert (found.shifts, found.only_first, found.only_second) == ([], ["a"], ["b"])
    assert not found.different


def test_settings_and_environment_that_differ_are_listed_and_no_others():
    machine = {"device": "cpu: cpu", "num_cores": 2, "packages": {"jax": "0.10.2", "numpy": "2.4"}}
    other = {"device": "gpu: H200", "num_cores": 2, "packages": {"jax": "0.12.0", "numpy": "2.4"}}
    first = stored(config={"widths": [4, 16], "n": 1}, environment=machine, code={"s": "1"})
    second = stored(config={"widths": [4], "n": 1, "m": 2}, environment=other, code={"s": "2"})
    found = report.compare(first, second)
    assert found.settings == [("widths", "4, 16", "4"), ("m", "", "2")]
    assert found.environment == [
        ("device", "cpu: cpu", "gpu: H200"),
        ("jax", "0.10.2", "0.12.0"),
        ("code of study s", "1", "2"),
    ]


def test_a_curve_taken_at_other_points_is_not_compared(workspace):
    run = repro.latest_run(workspace / "results", "toy", "smoke")
    path = workspace / "experiments" / "toy.py"
    paper = repro.load(path)
    moved = repro.run(
        paper, config=paper.experiment.config(widths=(4, 17), num_seeds=40), results=workspace / "results"
    )
    found = report.compare(run, repro.read_run(moved.folder))
    shifts = {shift.name: shift for shift in found.shifts}
    assert (shifts["variance"].moved, shifts["variance"].detail) == ("cannot tell", "the points differ along width")
    assert shifts["markup"].moved == "within"


def test_a_run_is_found_by_its_folder_key_scale_and_name(ran, monkeypatch):
    results = ran / "results"
    run = repro.latest_run(results, "toy", "laptop")
    for name in ("toy/laptop", f"toy/laptop/{run.folder.name}", str(run.folder)):
        assert report.find_run(name, results).folder == run.folder
    assert report.find_run("toy", results).scale == "smoke"


def test_the_command_says_first_what_moved(ran, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ran)
    page = tmp_path / "compared.html"
    assert main(["compare", "toy/smoke", "toy/laptop", "--html", str(page)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("None of 8 claims moved beyond their intervals; ")
    assert "cannot be told" in out
    assert "fail_at" in out
    shown = Page(page.read_text())
    assert "None of 8 claims moved" in shown.words()
    assert "<script>alert" not in shown.html
    assert "the verdict changed" in shown.words()
    assert all("scope" in a for tag, a in shown.elements if tag == "th")
    assert str(ran) not in shown.html


def test_the_command_ends_with_1_when_a_claim_moved(workspace, monkeypatch, capsys):
    monkeypatch.chdir(workspace)
    path = workspace / "experiments" / "toy.py"
    path.write_text(path.read_text().replace('"answer": 42.0', '"answer": 41.0'))
    before = repro.latest_run(workspace / "results", "toy", "smoke").folder
    repro.run(repro.load(path), results=workspace / "results")
    assert main(["compare", str(before), "toy"]) == 1
    assert "2 of 8 claims moved beyond their intervals: markup, wrong" in " ".join(capsys.readouterr().out.split())
    assert main(["compare", "toi", "toy"]) == 2
    assert "did you mean 'toy'" in capsys.readouterr().err
