"""A pytest plugin that runs the tests of neural-tangents on the installed package, through dlmath.compat.

The tests themselves use what JAX has removed or changed since. They are given it here, in this process alone, and only
as far as public names go: aliases of functions that have moved, and parameters that primitives want today, at their
defaults. Nothing of neural-tangents is changed. Any JAX that neural-tangents imports on by itself is left as it is.
"""

import functools
import json
import os

import jax
import jax.numpy as jnp
from jax import lax

ALIASES = {
    "jax.tree_map": "jax.tree.map",
    "jax.core.Primitive": "jax.extend.core.Primitive",
    "reshape_p.bind, broadcast_in_dim_p.bind": "with sharding=None",
    "dot_general_p.bind, reduce_sum_p.bind": "with out_sharding=None",
}
"""What the tests use, and what it is now."""

RESULTS = "NEURAL_TANGENTS_RESULTS"
"""The environment variable with the file that gets a line of JSON for each test."""


def pytest_configure(config):
    """Before any test module is imported."""
    if jax.__version_info__ < (0, 5):
        from benchmarks import _former_neural_tangents

        _former_neural_tangents.load()
        return
    from jax.extend.core import Primitive

    from dlmath import compat

    jax.tree_map = jax.tree.map
    jax.core.Primitive = Primitive
    compat.neural_tangents()
    x = jnp.ones((2, 2))
    for primitive, today in (
        (lax.reshape_p, lambda x: lax.reshape(x, (4,))),
        (lax.broadcast_in_dim_p, lambda x: lax.broadcast_in_dim(x, (3, 2, 2), (1, 2))),
        (lax.dot_general_p, lambda x: lax.dot(x, x)),
        (lax.reduce_sum_p, jnp.sum),
    ):
        (equation,) = (found for found in jax.make_jaxpr(today)(x).eqns if found.primitive is primitive)
        missing = {key: None for key in ("sharding", "out_sharding") if key in equation.params}
        primitive.bind = functools.partial(_bind, primitive.bind, missing)


def _bind(bind, missing, *inputs, **parameters):
    return bind(*inputs, **{**missing, **parameters})


def pytest_runtest_logreport(report):
    """A test is its call and its subtests, or the phase in which it ended before that."""
    if report.when == "call" or report.outcome != "passed":
        _record(report.nodeid, report.outcome, report.duration, report)


def pytest_collectreport(report):
    """A file that cannot be imported."""
    if report.outcome == "failed":
        _record(report.nodeid, "failed", 0.0, report)


def _record(name, outcome, seconds, report):
    record = {"name": name, "outcome": outcome, "seconds": round(seconds, 2)}
    if outcome == "skipped":
        record["reason"] = report.longrepr[2].removeprefix("Skipped: ")
    elif outcome == "failed":
        record["error"] = _error(report.longrepr)
    with open(os.environ[RESULTS], "a") as file:
        file.write(json.dumps(record) + "\n")


def _error(report):
    # The last error of a chain; of a file that is not imported, the lines that pytest marks.
    crash = getattr(report, "reprcrash", None)
    text = crash.message if crash is not None else str(report)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if crash is None:
        lines = [line.removeprefix("E ") for line in lines if line.startswith("E ")] or lines
    return " ".join(" ".join(lines[:6]).split())[:300]
