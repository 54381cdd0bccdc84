"""The Dask engine gives the bits of the local one, whatever dies on the way."""

import functools
import operator
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import closing

import numpy as np
import pytest

from dlmath import repro
from dlmath.repro import _dask, _dask_cluster
from dlmath.repro._dask import dask_engine


@pytest.fixture(scope="module")
def cluster():
    """An engine of two worker processes, kept for the module."""
    with dask_engine(workers=2) as engine:
        yield engine


def matrix(unit):
    return {"unit": unit, "values": np.random.default_rng(unit).normal(size=(3, 2))}


def run(toy, engine, name):
    return repro.run(repro.load(toy), results=toy.parent.parent / name, engine=engine)


def arrays(found):
    return {
        f"{study}/{name}": variable.values.tobytes()
        for study, dataset in found.results.items()
        for name, variable in dataset.variables.items()
    }


# What it computes ---------------------------------------------------------------------------------------------------


def test_an_experiment_gives_the_same_bits_as_the_local_engine(cluster, toy, edit):
    edit("seeds_per_unit=20", "seeds_per_unit=2")
    ours, theirs = run(toy, cluster, "dask"), run(toy, repro.local, "local")
    assert ours.computed == theirs.computed == 21
    assert arrays(ours) == arrays(theirs)
    assert not ours.errors


def test_any_picklable_units_and_function_will_do(cluster):
    scale = 3.0
    units = [("row", 2), frozenset({4}), {"point": 1.5}]
    found = list(cluster(units, lambda unit: (scale, type(unit).__name__)))
    assert len(found) == 3
    assert all((unit, (scale, type(unit).__name__)) in found for unit in units)


def test_no_units_give_no_results(cluster):
    assert list(cluster([], operator.neg)) == []


def test_results_are_arrays_that_may_be_written_to(cluster):
    for unit, result in cluster(range(2), cloudpickled(matrix)):
        np.testing.assert_array_equal(result["values"], matrix(unit)["values"])
        result["values"][:] = 0


def test_an_exception_in_the_function_is_raised_here(cluster):
    with pytest.raises(ZeroDivisionError):
        list(cluster([1, 0], lambda x: 1 / x))


def test_units_are_taken_only_as_there_is_room(cluster):
    taken = done = most = 0

    def units():
        nonlocal taken
        for unit in range(60):
            taken += 1
            yield unit

    for _ in cluster(units(), operator.neg):
        most = max(most, taken - done)
        done += 1
    assert done == 60
    # Two workers: two units each, and two on their way.
    assert most <= 6


def test_units_taken_are_finished_when_there_are_no_more(cluster):
    stop = threading.Event()

    def units():
        for unit in range(1000):
            if stop.is_set():
                return
            yield unit

    results = []
    for unit, _ in cluster(units(), operator.neg):
        results.append(unit)
        if len(results) == 10:
            stop.set()
    assert sorted(results) == list(range(len(results)))
    assert 10 <= len(results) <= 16


def test_workers_have_one_thread_and_one_blas_thread(cluster):
    def limits(_):
        import numpy as np
        import threadpoolctl

        np.ones((2, 2)) @ np.ones((2, 2))
        return [pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]

    for _, found in cluster(range(2), limits):
        assert found
        assert set(found) == {1}
    assert set(cluster._connected().client.nthreads().values()) == {1}
    assert "OMP_NUM_THREADS" not in os.environ or os.environ["OMP_NUM_THREADS"] == "1"


def test_the_platform_is_that_of_the_workers(cluster):
    assert cluster.platform() == "cpu"


def test_a_worker_with_other_versions_is_refused():
    here = {**_dask_cluster.versions(), "platform": "cpu"}
    assert _dask._common({"tcp://a": here, "tcp://b": dict(here)}) == here
    with pytest.raises(ValueError, match=r"jax is .* at tcp://a and 0.1 at tcp://b"):
        _dask._common({"tcp://a": here, "tcp://b": {**here, "jax": "0.1"}})
    with pytest.raises(ValueError, match="platform is cpu at tcp://a and gpu at tcp://b"):
        _dask._common({"tcp://a": here, "tcp://b": {**here, "platform": "gpu"}})
    with pytest.raises(ValueError, match=r"dlmath is .* here and 9 at tcp://a"):
        _dask._common({"tcp://a": {**here, "dlmath": "9"}})


def test_two_drivers_share_one_cluster_and_one_store(cluster, toy, edit, tmp_path):
    edit("seeds_per_unit=20", "seeds_per_unit=2")
    edit("num_seeds: int = 20", "num_seeds: int = 40")
    paper, found = repro.load(toy), {}

    def drive(name, engine):
        found[name] = repro.run(paper, results=tmp_path / "results", engine=engine)

    second = threading.Thread(target=drive, args=("b", dask_engine(cluster._connected().address)), daemon=True)
    second.start()
    drive("a", cluster)
    second.join(timeout=60)
    assert arrays(found["a"]) == arrays(found["b"])
    assert found["a"].computed + found["b"].computed == 41
    assert min(found["a"].computed, found["b"].computed) > 0


# What dies ----------------------------------------------------------------------------------------------------------

DIE_ONCE = """
    import os, pathlib, signal
    marker = pathlib.Path(config.marker)
    if width == 16 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    x = config.spread"""


def test_a_worker_killed_in_the_middle_of_a_unit_changes_no_bit(cluster, toy, edit, tmp_path):
    marker = tmp_path / "marker"
    edit("    x = config.spread", DIE_ONCE)
    edit("    num_seeds: int = 20", f"    marker: str = {str(marker)!r}\n    num_seeds: int = 20")
    edit("seeds_per_unit=20", "seeds_per_unit=2")
    ours = run(toy, cluster, "dask")
    assert marker.exists()
    theirs = run(toy, repro.local, "local")
    assert ours.computed == 21
    assert arrays(ours) == arrays(theirs)


def test_a_unit_that_always_kills_its_worker_is_named(monkeypatch):
    monkeypatch.setattr(_dask_cluster, "ALLOWED_FAILURES", 0)
    with pytest.raises(RuntimeError, match="workers died again and again with unit 'heavy' in hand"):
        list(dask_engine(workers=1)(["heavy"], lambda unit: os.kill(os.getpid(), signal.SIGKILL)))


def free_port():
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Cluster:
    """A scheduler and a worker in processes of their own."""

    def __init__(self, port, folder):
        self.address = f"tcp://127.0.0.1:{port}"
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}
        command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1"]
        worker = [sys.executable, "-m", "distributed.cli.dask_worker", self.address, "--nthreads", "1", "--no-nanny"]
        self.processes = [
            subprocess.Popen([*command, "--port", str(port), "--no-dashboard"], **quiet),
            subprocess.Popen([*worker, "--no-dashboard", "--local-directory", str(folder)], **quiet),
        ]

    def kill(self):
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()


def test_a_scheduler_killed_and_restarted_changes_no_bit(tmp_path, caplog):
    port = free_port()
    running = [Cluster(port, tmp_path)]
    try:
        engine = dask_engine(running[0].address, patience=60)
        results = {}
        for unit, result in engine(range(30), cloudpickled(matrix)):
            results[unit] = result["values"].tobytes()
            if len(results) == 5:
                running[0].kill()
                running.append(Cluster(port, tmp_path))
    finally:
        for each in running:
            each.kill()
    assert results == {unit: matrix(unit)["values"].tobytes() for unit in range(30)}
    assert "is back" in caplog.text


def test_a_scheduler_that_stays_away_is_an_error_that_names_it(caplog):
    scheduler = Local(workers=1)
    results = dask_engine(scheduler.address, patience=1)(range(100), operator.neg)
    next(results)
    scheduler.close()
    with pytest.raises(ConnectionError, match=f"{scheduler.address} went away and did not come back within 1 s"):
        list(results)
    assert "waiting up to 1 s" in caplog.text


class Local:
    """A cluster of another owner in this process."""

    def __init__(self, **options):
        self.connection = _dask_cluster.Connection(None, options["workers"], 1.0)
        self.address = self.connection.address

    def close(self):
        self.connection.close()


def test_no_scheduler_at_the_address_is_an_error_that_names_it(monkeypatch):
    monkeypatch.setattr(_dask_cluster, "FIRST_PATIENCE", 0.5)
    address = f"tcp://127.0.0.1:{free_port()}"
    with pytest.raises(ConnectionError, match=f"no Dask scheduler answers at {address}"):
        dask_engine(address).platform()


def cloudpickled(function):
    """The function by value: workers cannot import the tests."""
    import cloudpickle

    module = sys.modules[function.__module__]
    cloudpickle.register_pickle_by_value(module)
    return functools.partial(function)
