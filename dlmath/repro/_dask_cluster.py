"""A connection to a Dask cluster: one of worker processes on this machine, or one that is running elsewhere."""

import contextlib
import importlib.metadata
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from dlmath.sharding import num_cores

log = logging.getLogger("dlmath.repro")

ALLOWED_FAILURES = 3
"""Workers of a cluster of our own that may die with a unit in hand before Dask gives the unit up."""


FIRST_PATIENCE = 10.0
"""Seconds to wait for the first answer of a scheduler."""

_ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""One BLAS thread: another number sums in another order."""


def import_distributed() -> Any:
    """The package `distributed`, or an error that says how to install it."""
    try:
        import distributed
    except ImportError as error:
        raise ImportError(
            "the Dask engine needs dask.distributed, which is not installed; run pip install 'dlmath[cluster]'"
        ) from error
    return distributed


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps Dask's own reports of deaths and departures off the terminal: the engine says what matters."""
    from dlmath.repro._dask_worker import silence

    levels = silence()
    try:
        yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)


class Connection:
    """A client of a scheduler, and the cluster behind it if it is our own."""

    def __init__(self, scheduler: str | None, workers: int | None, patience: float) -> None:
        import_distributed()
        self._stack = contextlib.ExitStack()
        self._stack.enter_context(quiet())
        self._patience = patience
        self.own = scheduler is None
        try:
            if scheduler is None:
                self._stack.enter_context(_one_thread())
                cluster = _local_cluster(workers or default_workers())
                self._stack.callback(_closed_quietly, cluster)
                scheduler = str(cluster.scheduler_address)
            self.address = scheduler
            self.client = self._first_client()
        except BaseException:
            self._stack.close()
            raise

    def reconnect(self, num_units: int) -> None:
        """Waits for a scheduler that went away. Its tasks and results are lost: units in flight are to be sent again.

        Raises:
            ConnectionError: if it is not back within the patience.
        """
        distributed = import_distributed()
        _closed_quietly(self.client)
        start, said = time.monotonic(), False
        while time.monotonic() - start < self._patience:
            with contextlib.suppress(OSError):
                self.client = _client(distributed, self.address, timeout=3)
                log.warning("the Dask scheduler at %s is back; %d units are sent again", self.address, num_units)
                return
            if not said:
                log.warning(
                    "lost the Dask scheduler at %s; waiting up to %g s for it to come back",
                    self.address,
                    self._patience,
                )
                said = True
            time.sleep(0.2)
        raise ConnectionError(
            f"the Dask scheduler at {self.address} went away and did not come back within {self._patience:g} s;"
            " finished units are kept: start it and give the same command again"
        )

    def num_threads(self) -> int:
        """Worker threads that there are now; raises ValueError for workers with more than one."""
        workers = self.client.nthreads()
        check_single_threads(workers)
        return len(workers)

    def close(self) -> None:
        """Closes the client and, if it is our own, the cluster with its workers."""
        with self._stack:
            _closed_quietly(self.client)

    def _first_client(self) -> Any:
        try:
            return _client(import_distributed(), self.address, timeout=FIRST_PATIENCE)
        except (OSError, ValueError) as error:
            raise ConnectionError(
                f"no Dask scheduler answers at {self.address}; start one with `dask scheduler` or correct the address"
            ) from error


def check_single_threads(workers: Mapping[str, int]) -> None:
    """Raises ValueError for workers with several threads."""
    several = [address for address, threads in workers.items() if threads != 1]
    if several:
        raise ValueError(
            f"workers must have one thread each, got {workers[several[0]]} at {several[0]};"
            " start them with `dask worker --nthreads 1` (and --nworkers for several on a machine)"
        )


def default_workers() -> int:
    """One a GPU, else one a core that this process may use."""
    return len(visible_gpus()) or num_cores()


def visible_gpus() -> list[str]:
    """Names of the NVIDIA GPUs that workers may use, for `CUDA_VISIBLE_DEVICES`, without opening one."""
    platforms = os.environ.get("JAX_PLATFORMS", "")
    if platforms and not {"cuda", "gpu"} & set(platforms.split(",")):
        return []
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is not None:
        return [name.strip() for name in listed.split(",") if name.strip() not in ("", "-1")]
    try:
        show = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [str(i) for i in range(sum(line.startswith("GPU ") for line in show.splitlines()))]


def describe() -> dict[str, str]:
    """What the results of this process depend on; opens its devices."""
    import jax

    return {**versions(), "platform": jax.default_backend()}


def versions() -> dict[str, str]:
    """Versions that workers and driver must share."""
    from dlmath import __version__

    packages = {name: importlib.metadata.version(name) for name in ("jax", "jaxlib")}
    return {"python": ".".join(map(str, sys.version_info[:2])), "dlmath": __version__, **packages}


def _client(distributed: Any, address: str, *, timeout: float) -> Any:
    return distributed.Client(address, timeout=timeout, set_as_default=False)


def _local_cluster(num_workers: int) -> Any:
    import dask

    from dlmath.repro._dask_worker import Worker

    distributed = import_distributed()
    gpus = visible_gpus()
    if gpus and num_workers > len(gpus):
        raise ValueError(f"workers must be at most {len(gpus)}, the number of GPUs, got {num_workers}")
    config = {
        "distributed.scheduler.allowed-failures": ALLOWED_FAILURES,
        # A unit that keeps its process too busy to answer is working, not dead.
        "distributed.scheduler.worker-ttl": None,
        "distributed.worker.multiprocessing-method": "spawn",
        "distributed.admin.large-graph-warning-threshold": "1 TB",
    }
    host = {"host": "127.0.0.1"}
    options = {**host, "nthreads": 1, "memory_limit": 0, "worker_class": Worker}
    scheduler = {**host, "port": 0, "dashboard": False, "dashboard_address": "127.0.0.1:0"}
    with dask.config.set(config):
        return distributed.SpecCluster(
            scheduler={"cls": distributed.Scheduler, "options": scheduler},
            workers={
                i: {"cls": distributed.Nanny, "options": {**options, "env": _worker_environment(gpus[i : i + 1])}}
                for i in range(num_workers)
            },
        )


def _worker_environment(gpu: list[str]) -> dict[str, str]:
    if not gpu:
        return {}
    return {"CUDA_VISIBLE_DEVICES": gpu[0], "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Sets what workers, also those that replace dead ones, inherit before they load a BLAS."""
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _closed_quietly(closeable: Any) -> None:
    with contextlib.suppress(Exception):
        closeable.close(timeout=10)
