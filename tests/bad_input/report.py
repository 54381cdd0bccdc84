"""Malformed requests for reports and comparisons."""

import tempfile
from pathlib import Path

from dlmath import report, repro

ROOT = Path(__file__).parents[2]


def site(**options):
    return report.site(ROOT, Path(tempfile.gettempdir()) / "never-written", **options)


def stored(key):
    return repro.StoredRun(Path("nowhere"), {"key": key, "config": {}, "environment": {}}, [], {}, "")


def results(*folders):
    root = Path(tempfile.mkdtemp())
    for folder in folders:
        (root / folder).mkdir(parents=True)
    return root


def damaged():
    root = results("toy/smoke/run")
    (root / "toy/smoke/run/run.json").write_text("{}")
    return root / "toy/smoke/run"


CASES = [
    ("unknown paper", lambda: site(keys=["saxe2014exat"]), ValueError, "no experiment 'saxe2014exat'; did you mean 'saxe2014exact'"),
    ("one key as a string", lambda: site(keys="saxe2014exact"), TypeError, r"keys must be a sequence .* write \['saxe2014exact'\]"),
    ("unknown scale of a report", lambda: site(scales=["labtop"]), ValueError, "scales must be one of .* did you mean 'laptop'"),
    ("one scale as a string", lambda: site(scales="smoke"), TypeError, "scales must be a sequence of strings, got the string 'smoke'"),
    (
        "a workspace without experiments",
        lambda: report.site(_empty(), "out"),
        ValueError,
        "root must be a workspace with experiments",
    ),
    ("runs of two papers", lambda: report.compare(stored("a"), stored("b")), ValueError, "first and second must be runs of one paper, got 'a' and 'b'"),
    ("a path for a run", lambda: report.compare("toy/smoke", stored("b")), TypeError, "first must be a StoredRun, got 'toy/smoke'; read one with dm.report.find_run"),
    ("a record for a run", lambda: report.compare(stored("b"), {}), TypeError, "second must be a StoredRun"),
    ("a paper that was never run", lambda: report.find_run("toy", results()), ValueError, "no paper 'toy'; dlmath run toy makes one"),
    ("a misspelt paper of a run", lambda: report.find_run("toi", results("toy")), ValueError, "no paper 'toi'; did you mean 'toy'"),
    ("a misspelt scale of a run", lambda: report.find_run("toy/smoek", results("toy/smoke")), ValueError, "no scale 'smoek'; did you mean 'smoke'"),
    ("a run that is not stored", lambda: report.find_run("toy/smoke/2026", results("toy/smoke")), ValueError, "no run '2026'; there are none"),
    ("a paper whose folder is empty", lambda: report.find_run("toy", results("toy")), ValueError, "name 'toy' matches no stored run"),
    ("a path that is no run", lambda: report.find_run("/nowhere/at/all", results()), ValueError, "name must be a run's folder, KEY"),
    ("an empty name of a run", lambda: report.find_run("", results()), ValueError, "name must be a run's folder, KEY"),
    ("a number for a run", lambda: report.find_run(3, results()), TypeError, "name must be a string such as 'KEY/smoke', got 3"),
    ("a run without its manifest", lambda: report.find_run(str(damaged()), results()), ValueError, "manifest.json is missing"),
]  # fmt: skip


def _empty():
    root = Path(tempfile.mkdtemp())
    (root / "experiments").mkdir()
    return root
