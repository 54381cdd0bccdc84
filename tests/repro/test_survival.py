"""A run survives kill -9, Ctrl-C and company; every unit is computed once, and the numbers are the same bits."""

import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import xarray as xr

from dlmath import repro

NUM_UNITS = 44

SLOW = '''"""Slow means (Gauss 1809).

Forty-four units, each of which says when it begins.
"""

import os
import time
from dataclasses import dataclass

import jax

from dlmath.repro import AtMost, Claim, Experiment, Study


@dataclass(frozen=True)
class Config:
    """Settings."""

    widths: tuple[int, ...] = tuple(range(1, 12))
    """Numbers of samples."""
    num_seeds: int = 8
    """Number of seeds."""
    pause: float = 0.02
    """Seconds a unit."""


SCALES = {"smoke": Config()}


def measure(config, keys, *, width):
    with open(os.environ["BEGUN"], "a") as log:
        log.write(f"{os.getpid()} {width} {jax.random.key_data(keys)[0].tolist()}\\n")
    time.sleep(config.pause)
    return {"mean": jax.vmap(lambda key: jax.random.normal(key, (width,)).mean())(keys)}


CLAIMS = (
    Claim(
        "small",
        "means are small",
        source="Thm 1",
        expect=AtMost(9.0),
        statistic=lambda config, r: r["means/mean"].max("width"),
    ),
)

EXPERIMENT = Experiment(
    Config,
    SCALES,
    studies={"means": Study(measure, over={"width": "widths"}, seeds_per_unit=2)},
    claims=CLAIMS,
    precision="float64",
)
'''


class Workspace:
    """A folder with the slow experiment, and the processes that run it."""

    def __init__(self, folder):
        self.folder = folder
        self.units = folder / "results" / "slow" / "units"
        (folder / "experiments").mkdir(parents=True)
        (folder / "experiments" / "slow.py").write_text(SLOW)

    def start(self, *options):
        environment = {**os.environ, "BEGUN": str(self.folder / "begun"), "PYTHONWARNINGS": ""}
        command = [sys.executable, "-m", "dlmath", "run", "slow", *options]
        return subprocess.Popen(
            command, cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def stored(self):
        return {path.stem for path in self.units.glob("*.npz")} if self.units.is_dir() else set()

    def begun(self):
        path = self.folder / "begun"
        return path.read_text().splitlines() if path.is_file() else []

    def units_begun(self):
        return [line.partition(" ")[2] for line in self.begun()]

    def wait_for(self, num_stored, process):
        while len(self.stored()) < num_stored and process.poll() is None:
            time.sleep(0.002)

    def results(self):
        folder = repro.latest_run(self.folder / "results", "slow", "smoke").folder
        with xr.open_datatree(folder / "results.zarr", engine="zarr", consolidated=False) as stored:
            return stored["means/mean"].to_numpy()


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    workspace = Workspace(tmp_path_factory.mktemp("uninterrupted"))
    output, _ = workspace.start().communicate(timeout=120)
    assert f"{NUM_UNITS} units computed" in output
    assert sorted(set(workspace.units_begun())) == sorted(workspace.units_begun())
    return workspace.results()


def test_ten_kills_change_no_bit_and_cost_only_the_units_in_flight(tmp_path, uninterrupted):
    workspace, rng, in_flight = Workspace(tmp_path / "w"), random.Random(0), 0
    for kill in range(10):
        process = workspace.start()
        workspace.wait_for(3 * kill + rng.randint(1, 3), process)
        time.sleep(rng.uniform(0.0, 0.04))
        process.kill()
        process.communicate()
        lost = len(workspace.begun()) - in_flight - len(workspace.stored())
        assert lost in (0, 1)
        in_flight += lost
    output, _ = workspace.start().communicate(timeout=120)
    assert "reused" in output
    assert len(workspace.begun()) == NUM_UNITS + in_flight
    assert in_flight > 0
    np.testing.assert_array_equal(workspace.results(), uninterrupted)
    assert {path.suffix for path in workspace.units.iterdir()} == {".npz"}


@pytest.mark.parametrize("num_processes", [2, 4])
def test_processes_that_run_the_same_command_share_the_units(tmp_path, uninterrupted, num_processes):
    workspace = Workspace(tmp_path / "w")
    processes = [workspace.start() for _ in range(num_processes)]
    outputs = [process.communicate(timeout=180)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * num_processes, outputs
    begun = workspace.units_begun()
    assert len(begun) == len(set(begun)) == NUM_UNITS
    np.testing.assert_array_equal(workspace.results(), uninterrupted)
    assert not list(workspace.units.glob("*.lock"))


def test_a_killed_process_leaves_no_lock(tmp_path, uninterrupted):
    workspace = Workspace(tmp_path / "w")
    first, second = workspace.start(), workspace.start()
    workspace.wait_for(4, first)
    first.kill()
    first.communicate()
    output, _ = second.communicate(timeout=120)
    assert second.returncode == 0, output
    assert len(workspace.begun()) <= NUM_UNITS + 1
    assert len(set(workspace.units_begun())) == NUM_UNITS
    np.testing.assert_array_equal(workspace.results(), uninterrupted)
    assert {path.suffix for path in workspace.units.iterdir()} == {".npz"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_finishes_the_unit_in_hand_and_reports(tmp_path, number):
    workspace = Workspace(tmp_path / "w")
    process = workspace.start("--pause", "0.2")
    workspace.wait_for(1, process)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopping after the unit in hand" in output
    assert f"interrupted: {len(workspace.stored())} of {NUM_UNITS} units are done" in output
    assert len(workspace.begun()) == len(workspace.stored()) < NUM_UNITS
    assert not (workspace.folder / "results" / "slow" / "smoke").exists()


def test_fresh_processes_share_the_units_too(tmp_path, uninterrupted):
    workspace = Workspace(tmp_path / "w")
    workspace.start().communicate(timeout=120)
    (workspace.folder / "begun").unlink()
    processes = [workspace.start("--fresh") for _ in range(2)]
    for process in processes:
        process.communicate(timeout=120)
    # A unit that one process computed before the other had started is computed again by the latter.
    assert NUM_UNITS <= len(workspace.begun()) < 2 * NUM_UNITS
    np.testing.assert_array_equal(workspace.results(), uninterrupted)
