"""The Dask engine: units computed by the workers of a cluster, on this machine or on many.

What a worker needs travels once a worker (`compute`), what differs once a unit; only the units in flight are
known to the scheduler, and results leave it as they come. A scheduler holds nothing that could not be sent again.
"""

import collections
import contextlib
import functools
import itertools
import pickle
import queue
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError
from types import TracebackType
from typing import Any, Generic, NamedTuple, TypeVar

from dlmath import check
from dlmath.repro._dask_cluster import Connection, check_single_threads, describe, import_distributed, log, versions

T = TypeVar("T")
R = TypeVar("R")

_ATTEMPTS = 2
"""Times that a unit is sent to the cluster before it counts as one that kills its workers."""

_LOOK = 2.0
"""Seconds without a result after which the cluster is looked at."""

_SPARE = 2
"""Units in flight beyond two a worker: one being computed, one waiting beside it, and some on their way."""


def dask_engine(scheduler: str | None = None, *, workers: int | None = None, patience: float = 300.0) -> "DaskEngine":
    """The engine (units, compute) -> {(u, compute(u))} whose units are computed by the workers of a Dask cluster.

    Each worker is a process with one thread; on a machine with GPUs it has one of them, without preallocation.
    Workers receive `compute` pickled; about two units a worker are in flight, so that units are taken from the
    iterable only as there is room. A unit whose worker dies is computed again by another one. When the scheduler
    dies, units in flight are sent again once it is back at its address. This process opens no JAX device.

    Args:
        scheduler: address of a running scheduler, `"tcp://host:8786"`. None for a cluster on this machine, which
            is started on first use and closed after each call; inside `with dask_engine(...) as engine:` at its end.
        workers: processes of the cluster on this machine. None for one a GPU, else one a core.
        patience: seconds to wait for a scheduler that went away, positive.

    Returns:
        An Engine with `platform()`, which asks the workers.

    Raises:
        TypeError, ValueError: for a malformed address, or `workers` together with `scheduler`.
        ImportError: without the extra `cluster`.
        ConnectionError: from the engine, if no scheduler answers or one went away for longer than `patience`.
        ValueError: from the engine, if workers have several threads, or versions or platforms that differ.
        RuntimeError: from the engine, naming a unit whose workers died again and again.

    Whatever `compute` raises, the engine raises.

    >>> from operator import neg
    >>> with dask_engine(workers=1) as engine:
    ...     sorted(engine(range(4), neg))
    [(0, 0), (1, -1), (2, -2), (3, -3)]

    Cost: a few milliseconds a unit, and seconds to start a cluster on this machine.
    In a script, call it under `if __name__ == "__main__":`, since workers import the script anew.
    """
    if scheduler is not None:
        if not isinstance(scheduler, str):
            raise TypeError(f"scheduler must be an address such as 'tcp://host:8786', got {scheduler!r}")
        protocol, separator, rest = scheduler.partition("://")
        if not separator or not rest or protocol not in ("tcp", "tls", "ucx", "ws", "wss"):
            raise ValueError(f"scheduler must be an address such as 'tcp://host:8786', got {scheduler!r}")
        if workers is not None:
            raise ValueError(
                f"workers={workers} starts workers on this machine, and those of {scheduler} run already:"
                " give scheduler or workers, not both"
            )
    if workers is not None:
        workers = check.positive_int("workers", workers)
    patience = check.real("patience", patience, above=0)
    import_distributed()
    return DaskEngine(scheduler, workers, patience)


class DaskEngine:
    """See `dask_engine`."""

    name = "dask"

    def __init__(self, scheduler: str | None, workers: int | None, patience: float) -> None:
        self._options = (scheduler, workers, patience)
        self._connection: Connection | None = None
        self._environment: dict[str, str] | None = None
        self._users = 0

    def platform(self) -> str:
        """The platform of the workers: "cpu", "gpu" or "tpu".

        Raises ValueError if workers, or this process, differ in it or in versions of Python, dlmath or JAX.
        """
        if self._environment is None:
            client = self._connected().client
            # A task as well as a broadcast: a cluster that grows on demand may have no worker yet.
            client.submit(describe, pure=False).result()
            check_single_threads(client.nthreads())
            self._environment = _common(client.run(describe))
        return self._environment["platform"]

    def __call__(self, units: Iterable[T], compute: Callable[[T], R]) -> Iterator[tuple[T, R]]:
        self._users += 1
        try:
            yield from _Flight(self._connected(), compute, self._environment).results(iter(units))
        finally:
            self._users -= 1
            self._close_unused()

    def __enter__(self) -> "DaskEngine":
        self._users += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._users -= 1
        self._close_unused()

    def _connected(self) -> Connection:
        if self._connection is None:
            self._connection = Connection(*self._options)
        return self._connection

    def _close_unused(self) -> None:
        if self._users == 0 and self._connection is not None:
            connection, self._connection, self._environment = self._connection, None, None
            connection.close()


class _Sent(NamedTuple):
    unit: Any
    future: Any
    attempt: int


class _Flight(Generic[T, R]):
    """Units on their way."""

    def __init__(self, connection: Connection, compute: Callable[[T], R], environment: dict[str, str] | None) -> None:
        import cloudpickle

        self._connection = connection
        # As bytes: the scheduler passes on what it need not be able to read.
        self._parcel = cloudpickle.dumps((compute, environment))
        self._numbers = itertools.count()
        self._sent: dict[int, _Sent] = {}
        self._board()

    def results(self, units: Iterator[T]) -> Iterator[tuple[T, R]]:
        """Every unit with its result, as they come."""
        arrived: collections.deque[tuple[T, bytes]] = collections.deque()
        more = True
        while True:
            while more and len(self._sent) + len(arrived) < self._room:
                try:
                    unit = next(units)
                except StopIteration:
                    more = False
                    break
                self._send(unit)
            if not arrived and not self._sent:
                return
            if not arrived:
                arrived.extend(self._arrivals())
            if arrived:
                unit, payload = arrived.popleft()
                yield unit, pickle.loads(payload)

    def _board(self) -> None:
        """Starts anew on the present client, with nothing in flight."""
        self._done: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._room = _room(self._connection.num_threads())
        # A task, not scattered data: the scheduler makes it again when the worker that holds it dies.
        self._compute = self._submit(bytes, self._parcel)

    def _send(self, unit: T, attempt: int = 1) -> None:
        import cloudpickle

        number, done = next(self._numbers), self._done
        payload = cloudpickle.dumps(unit)
        future = self._submit(_run, self._compute, payload)
        self._sent[number] = _Sent(unit, future, attempt)
        future.add_done_callback(lambda _: done.put(number))

    def _submit(self, function: Callable[..., Any], *arguments: Any) -> Any:
        with _interrupt_held():
            return self._connection.client.submit(function, *arguments, pure=False)

    def _arrivals(self) -> list[tuple[T, bytes]]:
        """Waits for results; none if there was something else to do."""
        try:
            numbers = [self._done.get(timeout=_LOOK)]
        except queue.Empty:
            self._look()
            return []
        while not self._done.empty():
            numbers.append(self._done.get())
        finished = []
        for number in numbers:
            status = self._sent[number].future.status
            if status == "finished":
                finished.append(number)
            elif status == "error":
                self._failed(number)
            else:
                self._send_again()
                return []
        try:
            payloads = self._connection.client.gather([self._sent[number].future for number in finished])
        except (OSError, CancelledError):
            self._send_again()
            return []
        return [(self._sent.pop(number).unit, payload) for number, payload in zip(finished, payloads, strict=True)]

    def _look(self) -> None:
        """Follows workers that come and go, and notices a scheduler that says nothing any more."""
        try:
            self._room = _room(self._connection.num_threads())
        except (OSError, CancelledError):
            self._send_again()

    def _failed(self, number: int) -> None:
        distributed = import_distributed()
        unit, future, attempt = self._sent.pop(number)
        error = future.exception()
        if not isinstance(error, distributed.KilledWorker):
            future.result()
        name = getattr(unit, "label", None) or repr(unit)
        if attempt >= _ATTEMPTS:
            raise RuntimeError(
                f"workers died again and again with unit {name} in hand, {attempt} times beyond Dask's own patience"
                " (distributed.scheduler.allowed-failures); is their memory enough for it?"
            ) from error
        log.warning("workers died with unit %s in hand; sending it again (%d of %d)", name, attempt + 1, _ATTEMPTS)
        self._send(unit, attempt + 1)

    def _send_again(self) -> None:
        lost, self._sent = list(self._sent.values()), {}
        self._connection.reconnect(len(lost))
        self._board()
        for unit, _, attempt in lost:
            self._send(unit, attempt)


@contextlib.contextmanager
def _interrupt_held() -> Iterator[None]:
    """Puts off a Ctrl-C to the end: inside of Dask's constructors it leaves half-made futures, which complain."""
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield  # only the main thread receives signals
        return
    held: list[tuple[int, Any]] = []
    signal.signal(signal.SIGINT, lambda number, frame: held.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
    if held:
        handler(*held[-1])


def _room(num_workers: int) -> int:
    return 2 * num_workers + _SPARE


def _run(parcel: bytes, unit: bytes) -> bytes:
    """What a worker executes."""
    import cloudpickle

    compute, environment = _opened(parcel)
    if environment is not None and environment != _described():
        raise ValueError(f"a worker that joined has {_described()}, and the others have {environment}")
    return cloudpickle.dumps(compute(pickle.loads(unit)))


@functools.lru_cache(maxsize=4)
def _opened(parcel: bytes) -> Any:
    return pickle.loads(parcel)


@functools.cache
def _described() -> dict[str, str]:
    return describe()


def _common(environments: Mapping[str, dict[str, str]]) -> dict[str, str]:
    """What all workers have in common; raises ValueError if they differ."""
    here = versions()
    first_address, first = next(iter(environments.items()))
    for address, environment in environments.items():
        for name, value in environment.items():
            if value != first[name]:
                raise ValueError(
                    f"workers must be alike, since other versions and platforms give other bits: {name} is"
                    f" {first[name]} at {first_address} and {value} at {address}"
                )
    for name, value in here.items():
        if value != first[name]:
            raise ValueError(
                f"workers must have this process's versions: {name} is {value} here and {first[name]} at"
                f" {first_address}; install the same environment on both"
            )
    return first
