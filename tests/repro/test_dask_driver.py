"""The process that drives a Dask cluster: it opens no device, and leaves nothing behind."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Future
from pathlib import Path
from typing import NamedTuple

import pytest

from dlmath.repro import _dask_cluster
from dlmath.repro._dask import _Flight, dask_engine

DRIVER = """
import os, signal, sys, time
from dlmath.repro._dask import dask_engine

def compute(unit):
    time.sleep(0.05)
    return os.getpid(), os.environ["CUDA_VISIBLE_DEVICES"], os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"]

if __name__ == "__main__":
    # A shell's background job ignores Ctrl-C, and so would this process.
    signal.signal(signal.SIGINT, signal.default_int_handler)
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


class InterruptedConnection(_dask_cluster.Connection):
    """Stands for a connection and its client; Ctrl-C comes while a unit is submitted."""

    def __init__(self):
        self.client, self.submitted = self, 0

    def num_threads(self):
        return 1

    def submit(self, function, *_, pure):
        if function is not bytes:
            signal.raise_signal(signal.SIGINT)
        self.submitted += 1
        return Future()


def test_ctrl_c_waits_for_the_end_of_a_submission():
    connection = InterruptedConnection()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            next(_Flight(connection, abs, None).results(iter([1])))
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert connection.submitted == 2, "what every unit needs, and the unit"


def test_each_worker_has_a_gpu_of_its_own_without_preallocation(after_ctrl_c):
    assert {worker[1:] for worker in after_ctrl_c.workers} == {("3", "false"), ("5", "false")}


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
