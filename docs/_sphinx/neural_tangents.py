"""neural-tangents' own test-suite on today's JAX, as `benchmarks.neural_tangents_suite` recorded it."""

import json
import re
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "neural_tangents_suite.json"

EXPLANATIONS = {
    r"batching_test\.py::BatchTest::testAnalyticKernelCompose(Serial|Automatic)\d": (
        "The test draws eight and two images from one key. Since JAX 0.5 a shorter draw is the beginning of a longer one, so"
        " the two are among the eight; a batch of those two is a set of inputs with itself, which the flag `x1_is_x2` of the"
        " composed kernel keeps, and that of the kernel in one piece does not. All entries agree."
    ),
    r"monte_carlo_test\.py::MonteCarloTest::test_monte_carlo_vs_analytic_ntk\d": (
        "An average over random networks is a little further from the limit than the test allows, on other random numbers."
    ),
    r"rules_test\.py::JacobianRulesTest::test_unary(27|45)": (
        "Two derivatives of `reduce_window_sum` that JAX makes, forward and backward, are compared with each other. The"
        " forward one is wrong: under `vmap` the primitive misplaces entries for the base dilation and padding of these cases"
        " (without `vmap` it is right). neural-tangents has no rule for it that takes part."
    ),
}
"""Why a test fails: a pattern of its full name, and the words."""


def read() -> dict[str, Any]:
    """The recorded run."""
    return json.loads(RESULTS.read_text(encoding="utf-8"))


def failures(record: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """(file::class::test, its record) of what failed."""
    return [
        (f"{file.partition('::')[0]}::{test['name']}", test)
        for file, found in record["files"].items()
        for test in found["tests"]
        if test["outcome"] == "failed"
    ]


def explanation(name: str) -> str:
    """Why a test fails; KeyError for one that nobody has explained."""
    for pattern, words in EXPLANATIONS.items():
        if re.fullmatch(pattern, name):
            return words
    raise KeyError(f"{name} fails: explain it in docs/_sphinx/neural_tangents.py")


def table(record: dict[str, Any]) -> str:
    """MyST text: a row a file of tests."""
    rows = ["| file | cases | passed | failed | skipped by itself |", "|---|--:|--:|--:|--:|"]
    total = dict.fromkeys(("passed", "failed", "skipped"), 0)
    for file, found in record["files"].items():
        counts = {outcome: found["counts"].get(outcome, 0) for outcome in total}
        rows.append(f"| `{file}` | {found['cases']} | " + " | ".join(map(str, counts.values())) + " |")
        total = {outcome: total[outcome] + counts[outcome] for outcome in total}
    rows.append("| together | | " + " | ".join(map(str, total.values())) + " |")
    versions = record["environment"]["versions"]
    made = f"Python {record['environment']['python']}, " + ", ".join(f"{k} {v}" for k, v in versions.items())
    left_out = ", ".join(f"`{name}` ({package})" for name, package in record["left_out"].items())
    source = f"Tests of commit `{record['source'][:10]}`; {made}. Left out, with what they need: {left_out}."
    return "\n".join(rows) + "\n\n" + source


def explained(record: dict[str, Any]) -> str:
    """MyST text: tests that fail, by name, each group with its explanation and what it does elsewhere."""
    groups: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for name, test in failures(record):
        groups.setdefault(explanation(name), []).append((name, test))
    parts = []
    for words, tests in groups.items():
        names = ", ".join(f"`{name.partition('::')[2]}`" for name, _ in tests)
        again = {
            place: sorted({test[key] for _, test in tests if key in test})
            for key, place in (
                ("with_former_random_numbers", "JAX 0.4's random numbers"),
                ("on_jax_0.4.23", "JAX 0.4.23"),
            )
        }
        elsewhere = "; ".join(f"with {place}: {' and '.join(found)}" for place, found in again.items() if found)
        parts.append(
            f"**`{tests[0][0].partition('::')[0]}`**: {names}\n: {words}" + (f" ({elsewhere}.)" if elsewhere else "")
        )
    return "\n\n".join(parts) or "None fails."
