"""Malformed engines and placements of arrays."""

import jax

from dlmath import sharding
from dlmath.repro._dask import dask_engine
from dlmath.repro._dask_cluster import check_single_threads

CASES = [
    (
        "scheduler that is no text",
        lambda: dask_engine(8786),
        TypeError,
        r"scheduler must be an address such as 'tcp://host:8786', got 8786",
    ),
    ("scheduler without a protocol", lambda: dask_engine("host:8786"), ValueError, "scheduler must be an address"),
    ("scheduler of the web", lambda: dask_engine("http://host:8787"), ValueError, "scheduler .* got 'http://host"),
    ("scheduler without a host", lambda: dask_engine("tcp://"), ValueError, "scheduler .* got 'tcp://'"),
    (
        "workers beside a scheduler",
        lambda: dask_engine("tcp://host:8786", workers=2),
        ValueError,
        "workers=2 starts workers on this machine.*give scheduler or workers, not both",
    ),
    ("no workers", lambda: dask_engine(workers=0), ValueError, "workers must be positive, got 0"),
    ("half a worker", lambda: dask_engine(workers=0.5), TypeError, "workers must be an integer, got 0.5"),
    ("no patience", lambda: dask_engine(patience=0), ValueError, "patience must be positive, got 0"),
    ("patience as text", lambda: dask_engine(patience="long"), TypeError, "patience must be a real number, got 'long'"),
    (
        "workers with threads",
        lambda: check_single_threads({"tcp://a:1": 1, "tcp://b:2": 4}),
        ValueError,
        "one thread each, got 4 at tcp://b:2; start them with `dask worker --nthreads 1`",
    ),
    (
        "coordinator alone",
        lambda: sharding.initialize("host:1"),
        ValueError,
        "must be given together, got no num_processes",
    ),
    (
        "coordinator without a port",
        lambda: sharding.initialize("host", num_processes=2, process_id=0),
        ValueError,
        "coordinator must be an address such as 'host:8476', got 'host'",
    ),
    (
        "process beyond the last",
        lambda: sharding.initialize("host:1", num_processes=2, process_id=2),
        ValueError,
        "process_id must be at most 1, got 2",
    ),
    (
        "no processes",
        lambda: sharding.initialize("host:1", num_processes=0, process_id=0),
        ValueError,
        "num_processes must be positive, got 0",
    ),
    (
        "gathered keys",
        lambda: sharding.gather(jax.random.key(0)),
        TypeError,
        "got typed keys; give jax.random.key_data",
    ),
]
