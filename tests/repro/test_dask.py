"""The Dask engine gives the bits of the local one, whatever dies on the way."""

import functools
import operator
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

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


# The process that drives --------------------------------------------------------------------------------------------

DRIVER = """
import os, sys, time
from dlmath.repro._dask import dask_engine

def compute(unit):
    time.sleep(0.05)
    return os.getpid(), os.environ["CUDA_VISIBLE_DEVICES"], os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"]

if __name__ == "__main__":
    try:
        for unit, result in dask_engine()(range(1000), compute):
            print(*result, flush=True)
    except KeyboardInterrupt:
        sys.exit(130)
"""


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


class Interrupted(NamedTuple):
    status: int
    noise: str
    workers: set


def interrupted(folder, interrupt):
    """A driver on a machine that says it has two GPUs, interrupted after a while."""
    script = folder / "driver.py"
    script.write_text(DRIVER)
    environment = {**os.environ, "JAX_PLATFORMS": "cuda", "CUDA_VISIBLE_DEVICES": "3,5"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    driver = subprocess.Popen([sys.executable, str(script)], **pipes, env=environment, start_new_session=True)
    workers = {tuple(driver.stdout.readline().split()) for _ in range(20)}
    interrupt(driver.pid)
    _, noise = driver.communicate(timeout=60)
    return Interrupted(driver.returncode, noise, workers)


def some_alive(workers):
    """Whether workers are still there after a grace of ten seconds."""
    deadline = time.monotonic() + 10
    while any(alive(worker[0]) for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    return any(alive(worker[0]) for worker in workers)


@pytest.fixture(scope="module")
def after_ctrl_c(tmp_path_factory):
    # Ctrl-C reaches every process of the terminal.
    return interrupted(tmp_path_factory.mktemp("driver"), lambda pid: os.killpg(pid, signal.SIGINT))


def test_ctrl_c_leaves_no_worker_and_no_noise(after_ctrl_c):
    assert (after_ctrl_c.status, after_ctrl_c.noise) == (130, "")
    assert not some_alive(after_ctrl_c.workers)


def test_each_worker_has_a_gpu_of_its_own_without_preallocation(after_ctrl_c):
    assert {worker[1:] for worker in after_ctrl_c.workers} == {("3", "false"), ("5", "false")}


def test_a_killed_driver_leaves_no_worker(tmp_path):
    driver = interrupted(tmp_path, lambda pid: os.kill(pid, signal.SIGKILL))
    assert driver.status == -signal.SIGKILL
    assert not some_alive(driver.workers)


NO_DEVICE = """
import sys
from pathlib import Path
from dlmath import repro
from dlmath.repro._dask import dask_engine

def progress(done, total, text):
    if done == total:
        import jax
        # Refused once a device is open.
        jax.config.update("jax_num_cpu_devices", 3)

if __name__ == "__main__":
    found = repro.run(
        repro.load(Path(sys.argv[1])), results=Path(sys.argv[2]), engine=dask_engine(workers=1), progress=progress
    )
    import jax
    print(found.computed, jax.device_count())
"""


def test_the_driver_opens_no_device_before_the_units_end(toy, tmp_path):
    script = tmp_path / "driver.py"
    script.write_text(NO_DEVICE)
    command = [sys.executable, str(script), str(toy), str(tmp_path / "results")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("3 3\n", "")


@pytest.mark.parametrize(
    ("environment", "listed", "gpus"),
    [
        ({"CUDA_VISIBLE_DEVICES": "0,2"}, "", ["0", "2"]),
        ({"CUDA_VISIBLE_DEVICES": ""}, "", []),
        ({}, "GPU 0: H200 (UUID: a)\nGPU 1: H200 (UUID: b)\n", ["0", "1"]),
        ({"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": "0"}, "", []),
        ({"JAX_PLATFORMS": "cuda,cpu", "CUDA_VISIBLE_DEVICES": "GPU-a"}, "", ["GPU-a"]),
    ],
)
def test_gpus_are_counted_without_opening_one(monkeypatch, tmp_path, environment, listed, gpus):
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\nprintf '{listed}'\n")
    program.chmod(0o755)
    for name in ("JAX_PLATFORMS", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"PATH": f"{tmp_path}:{os.environ['PATH']}", **environment}.items():
        monkeypatch.setenv(name, value)
    assert _dask_cluster.visible_gpus() == gpus


def test_there_are_no_more_workers_than_gpus(monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert _dask_cluster.default_workers() == 2
    with pytest.raises(ValueError, match="workers must be at most 2, the number of GPUs, got 3"):
        dask_engine(workers=3).platform()


def cloudpickled(function):
    """The function by value: workers cannot import the tests."""
    import cloudpickle

    module = sys.modules[function.__module__]
    cloudpickle.register_pickle_by_value(module)
    return functools.partial(function)
