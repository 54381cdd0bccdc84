"""neural-tangents' own test-suite on this JAX, through dlmath.compat: the outcome of every test by name.

Takes a checkout of github.com/google/neural-tangents for its tests; what they test is the installed package. Each file
runs in a process of its own, as in the continuous integration of neural-tangents (four cases of each parameterized
test, a fixed hash seed). Of two that draw four of thousands of cases, more are drawn. Files that need TensorFlow or
tensorflow_datasets are left out and listed. Tests that fail are run again on the random numbers of JAX 0.4 and, given
its interpreter, on JAX 0.4.23.
"""

import argparse
import collections
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import _harness, _neural_tangents_plugin

ROOT = Path(__file__).parents[1]
NAME = "neural_tangents_suite"
MORE = {"rules_test.py": 60, "empirical_test.py::StructuredDerivativesTest": 60}
"""Cases of each parameterized test; of all other files, 4."""
WORST_FIRST = ("failed", "skipped", "passed")


def main(arguments):
    parser = argparse.ArgumentParser(prog=f"benchmarks {NAME}", description=__doc__)
    parser.add_argument("--source", type=Path, required=True, help="a checkout of neural-tangents")
    parser.add_argument("--files", nargs="+", help="of its folder tests, all by default; others keep their results")
    parser.add_argument("--former-python", help="an interpreter with jax 0.4.23 and neural-tangents, for what fails")
    parser.add_argument("--output", default=NAME, help="name of the file of results")
    options = parser.parse_args(arguments)
    files, left_out = _files(options.source)
    if unknown := set(options.files or ()) - set(files):
        parser.error(f"--files must be of {', '.join(files)}; got {', '.join(sorted(unknown))}")
    stored = _harness.RESULTS / f"{options.output}.json"
    found = json.loads(stored.read_text())["files"] if options.files and stored.exists() else {}
    for name in options.files or files:
        found[name] = _run(options.source, name, options.former_python)
        record = {
            "environment": _harness.environment(("jax", "jaxlib", "neural-tangents", "flax", "numpy", "scipy")),
            "source": _commit(options.source),
            "aliases": _neural_tangents_plugin.ALIASES,
            "left_out": left_out,
            "files": {key: found[key] for key in files if key in found},
        }
        path = _harness.write(options.output, record)  # after each file: the whole takes an hour
    print(f"written to {path}")
    return 0


def _files(source):
    # (those that run, {those that do not: the package they need}).
    needs = re.compile(r"^\s*(?:import|from) (tensorflow_datasets|tensorflow|tf2jax|examples import datasets)", re.M)
    imported = re.compile(r"^from examples import (\w+)", re.M)
    run, left_out = [], {}
    for path in sorted((source / "tests").rglob("*_test.py")):
        name = path.relative_to(source / "tests").as_posix()
        text = path.read_text()
        text += "".join((source / "examples" / f"{module}.py").read_text() for module in imported.findall(text))
        wanted = needs.search(text)
        if wanted is None and "experimental" not in path.parts:
            run.append(name)
        else:
            package = wanted[1] if wanted else "tensorflow"
            left_out[name] = "tensorflow_datasets" if package == "examples import datasets" else package
    extra = [name for name in MORE if "::" in name]
    return sorted([*run, *extra]), left_out


def _run(source, name, former_python):
    print(f"{name:28s}", end="", flush=True)
    cases = {"NT_NUM_GENERATED_CASES": str(MORE.get(name, 4))}
    start = time.perf_counter()
    tests = _tests(sys.executable, source, [f"tests/{name}"], cases)
    seconds = time.perf_counter() - start
    failed = [test["name"] for test in tests if test["outcome"] == "failed" and "::" in test["name"]]
    again, former = {}, {}
    if failed:
        # JAX draws other numbers from a key since 0.5.
        again = _outcomes(_tests(sys.executable, source, failed, {**cases, "JAX_THREEFRY_PARTITIONABLE": "0"}))
    if failed and former_python is not None:
        former = _outcomes(_tests(former_python, source, failed, cases))
    for test in tests:
        if test["name"] in again:
            test["with_former_random_numbers"] = again[test["name"]]
        if test["name"] in former:
            test["on_jax_0.4.23"] = former[test["name"]]
        test["name"] = test["name"].partition("::")[2]
    counts = collections.Counter(test["outcome"] for test in tests)
    print(
        "  ".join(f"{counts[outcome]:3d} {outcome}" for outcome in ("passed", "failed", "skipped")), f"{seconds:7.0f} s"
    )
    for test in tests:
        if test["outcome"] == "failed":
            known = {key: test[key] for key in ("with_former_random_numbers", "on_jax_0.4.23") if key in test}
            print(f"    {test['name']}  {known}\n        {test['error']}")
    return {
        "seconds": round(seconds),
        "cases": int(cases["NT_NUM_GENERATED_CASES"]),
        "counts": dict(counts),
        "tests": tests,
    }


def _tests(python, source, selected, environment):
    # What the plugin recorded, a test once: by its worst subtest.
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.jsonl"
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        former = {"JAX_COMPILATION_CACHE_DIR": ""} if python != sys.executable else {}
        subprocess.run(
            [
                python, "-m", "pytest", "-q", "-p", "benchmarks._neural_tangents_plugin", "-p", "no:cacheprovider",
                "-c", os.devnull, "--rootdir", str(source), "-W", "ignore", *selected,
            ],
            cwd=source,
            env={
                **os.environ, **environment, **former, _neural_tangents_plugin.RESULTS: str(results),
                "PYTHONHASHSEED": "0", "PYTHONPATH": path, "PYTHONSAFEPATH": "1",
            },
            stdout=subprocess.DEVNULL,
            check=False,
        )  # fmt: skip
        lines = results.read_text().splitlines() if results.exists() else []
    worst = {}
    for record in map(json.loads, lines):
        before = worst.get(record["name"])
        if before is None or WORST_FIRST.index(record["outcome"]) < WORST_FIRST.index(before["outcome"]):
            worst[record["name"]] = record
    return list(worst.values())


def _outcomes(tests):
    return {test["name"]: test["outcome"] for test in tests}


def _commit(source):
    run = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=source, check=False)
    return run.stdout.strip() if run.returncode == 0 else None
