"""Every malformed call of `tests/bad_input/` raises the error its table promises, as a user would see it."""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "bad_input"
PARTS = sorted(path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("_"))


@functools.cache
def _outcomes():
    # Another process, without the import hook that checks types in the rest of the tests.
    run = subprocess.run(
        [sys.executable, str(FOLDER)], capture_output=True, text=True, timeout=300, env=os.environ, check=False
    )
    assert run.returncode == 0, run.stderr[-4000:]
    return json.loads(run.stdout.splitlines()[-1])


def _fault(case):
    if not case["error"]:
        return "was accepted"
    if case["expected"] not in case["error"]:
        return f"raised {case['error'][0]} instead of {case['expected']}: {case['text'][:500]}"
    if not case["matches"]:
        return f"says {case['text'][:500]!r}, which does not match {case['pattern']!r}"
    if not case["named"]:
        return f"names no argument: {case['text'][:500]!r}"
    return None


@pytest.mark.parametrize("part", PARTS)
def test_malformed_calls_raise_errors_that_name_the_argument(part):
    faults = {case["name"]: _fault(case) for case in _outcomes() if case["part"] == part}
    assert faults, f"tests/bad_input/{part}.py has no cases"
    failed = "\n".join(f"{name}: {fault}" for name, fault in faults.items() if fault)
    assert not failed, f"\n{failed}"


def test_the_table_holds_at_least_forty_malformed_calls_with_distinct_names():
    cases = [(case["part"], case["name"]) for case in _outcomes()]
    assert len(cases) >= 40
    assert len(set(cases)) == len(cases)


def test_unknown_names_get_a_suggestion():
    assert sum("did you mean" in case["text"] for case in _outcomes()) >= 3
