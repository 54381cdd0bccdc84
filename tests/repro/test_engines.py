"""The same command on Dask workers, and as one program on several hosts: the same numbers."""

import os
import socket
import subprocess
import sys

import pytest

from dlmath import repro


@pytest.fixture
def run(toy):
    """Starts `dlmath run toy` with options, in a process of its own."""

    def start(*options):
        environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONWARNINGS": ""}
        command = [sys.executable, "-m", "dlmath", "run", "toy", *options]
        where = toy.parent.parent
        return subprocess.Popen(
            command, cwd=where, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    return start


def means(toy, results):
    return repro.latest_run(toy.parent.parent / results, "toy", "smoke").results()["means/mean"]


def test_workers_of_a_cluster_on_this_machine_give_the_same_bits(toy, run):
    repro.run(repro.load(toy), results=toy.parent.parent / "here")
    process = run("--workers", "2", "--results", "there")
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert "3 units computed" in output
    assert means(toy, "here").identical(means(toy, "there"))
    assert repro.latest_run(toy.parent.parent / "there", "toy", "smoke").record["engine"] == "dask"


def test_two_hosts_compute_each_unit_together_and_one_of_them_writes(toy, run):
    repro.run(repro.load(toy), results=toy.parent.parent / "here")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    shared = ("--coordinator", address, "--num-processes", "2", "--results", "there")
    processes = [run(*shared, "--process-id", str(i)) for i in range(2)]
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert ["units computed" in output for output in outputs] == [True, False]
    assert abs(means(toy, "here") - means(toy, "there")).max() < 1e-12  # another number of devices: not the same bits
    record = repro.latest_run(toy.parent.parent / "there", "toy", "smoke").record
    assert record["environment"]["num_devices"] == 2
