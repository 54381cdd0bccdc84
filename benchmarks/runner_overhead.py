"""What the runner adds to a unit: 1,000 units that compute nothing, in this process and on two Dask workers.

Aims: under 5 ms a unit locally, under 15 ms on Dask. Beside them, on the same workers in the same run, Dask's
floor (a plain map of a trivial function) and the engine without the runner.
"""

import operator
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import _harness

EXPERIMENT = '''"""Nothing (Nobody 2000). It costs nothing."""

from dataclasses import dataclass

import numpy as np

from dlmath.repro import Experiment, Study


@dataclass(frozen=True)
class Config:
    """Settings."""

    points: tuple[int, ...] = tuple(range(50))
    """Points."""
    num_seeds: int = 20
    """Number of seeds."""


SCALES = {"smoke": Config()}


def measure(config, keys, *, point):
    """One unit."""
    return {"value": np.full(len(keys), float(point))}


EXPERIMENT = Experiment(
    Config, SCALES, studies={"nothing": Study(measure, over={"point": "points"}, seeds_per_unit=1)}, claims=()
)
'''
NUM_UNITS = 1000
ROUNDS = 3
AIMS = {"local": 5.0, "dask": 15.0}


def run(paper, engine):
    """Milliseconds a unit of a run into an empty store: in all, before the first unit, for units, after the last,
    and of processor time."""
    from dlmath import repro

    marks = []
    start, start_cpu = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as results:
        found = repro.run(
            paper, results=results, engine=engine, progress=lambda done, total, text: marks.append(time.perf_counter())
        )
        end, end_cpu = time.perf_counter(), time.process_time()
    if found.computed != NUM_UNITS or found.errors:
        raise RuntimeError(f"{found.computed} units of {NUM_UNITS}; {next(iter(found.errors.values()), '')}")
    spans = {"total": end - start, "plan": marks[0] - start, "units": marks[-1] - marks[0], "record": end - marks[-1]}
    # Of this process: on a busy machine the wall clock says more about its neighbours.
    spans["cpu"] = end_cpu - start_cpu
    return {name: 1e3 * seconds / NUM_UNITS for name, seconds in spans.items()}


def plain_map(client):
    """Milliseconds a task of Dask alone."""
    import distributed

    start = time.perf_counter()
    futures = client.map(operator.neg, range(NUM_UNITS), pure=False)
    results = [result for _, result in distributed.as_completed(futures, with_results=True)]
    seconds = time.perf_counter() - start
    assert sorted(results) == list(range(1 - NUM_UNITS, 1))
    return {"total": 1e3 * seconds / NUM_UNITS}


def bare_engine(engine):
    """Milliseconds a unit of the engine without the runner."""
    start = time.perf_counter()
    assert sum(1 for _ in engine(range(NUM_UNITS), operator.neg)) == NUM_UNITS
    return {"total": 1e3 * (time.perf_counter() - start) / NUM_UNITS}


def main(arguments):
    if arguments:
        print(f"runner_overhead takes no options, got {' '.join(arguments)}", file=sys.stderr)
        return 2
    import distributed

    from dlmath import repro
    from dlmath.repro._dask import dask_engine

    with tempfile.TemporaryDirectory() as workspace:
        path = Path(workspace) / "experiments" / "nothing.py"
        path.parent.mkdir()
        path.write_text(EXPERIMENT)
        paper = repro.load(path)
        cluster_options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
        with (
            distributed.LocalCluster(**cluster_options, silence_logs=50) as cluster,
            distributed.Client(cluster) as client,
            dask_engine(cluster.scheduler_address) as engine,
        ):
            contenders = {
                "local": lambda: run(paper, repro.local),
                "dask": lambda: run(paper, engine),
                "dask engine alone": lambda: bare_engine(engine),
                "dask floor": lambda: plain_map(client),
            }
            for contender in contenders.values():
                contender()
            rounds = [{name: contender() for name, contender in contenders.items()} for _ in range(ROUNDS)]
    record = {
        "environment": _harness.environment(["dlmath", "jax", "distributed"]),
        "num_units": NUM_UNITS,
        "milliseconds_a_unit": {},
        "aims": AIMS,
    }
    for name in contenders:
        parts = {part: _harness.summary([r[name][part] for r in rounds]) for part in rounds[0][name]}
        record["milliseconds_a_unit"][name] = parts
        shares = ", ".join(f"{part} {values['median']:.2f}" for part, values in parts.items() if part != "total")
        print(f"{name:20s} {parts['total']['median']:6.2f} ms a unit   {shares}")
    print(_harness.write("runner_overhead", record))
    return 0
