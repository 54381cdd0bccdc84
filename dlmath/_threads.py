"""Threads to spare for the linear algebra of jaxlib 0.10, which else may stand still for ever."""

import os

import jaxlib

_SPARE = 4

if jaxlib.__version__.startswith("0.10.") and (os.cpu_count() or 1) < _SPARE:
    # Batched LAPACK calls of jaxlib 0.10 (cholesky, eigh, qr, solve, …) wait inside XLA's thread pool for tasks that only
    # this pool can run: as many calls at once as it has threads, two on two cores, stand still for ever. XLA reads the
    # size of its pool from NPROC when the first computation starts. jaxlib 0.11 does without the pool.
    os.environ.setdefault("NPROC", str(_SPARE))
