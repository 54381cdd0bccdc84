"""Computing one unit: keys, precision, and results as NumPy arrays."""

import contextlib
import time
import traceback
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from dlmath.repro._experiment import Experiment
from dlmath.repro._results import FAILED, NON_FINITE, OK, normalise
from dlmath.repro._units import Unit, masked, root_seed


class Outcome(NamedTuple):
    """Variables as name -> (dims, array), a status a seed, seconds taken, and the traceback of a failure."""

    variables: dict[str, tuple[tuple[str, ...], np.ndarray]]
    status: np.ndarray
    seconds: float
    error: str


@contextlib.contextmanager
def precision(name: str) -> Iterator[None]:
    """Enters float32 or float64, products at the highest precision the device has, one BLAS thread."""
    import jax
    import threadpoolctl

    with (
        jax.enable_x64(name == "float64"),
        jax.default_matmul_precision("highest"),
        threadpoolctl.threadpool_limits(1),
    ):
        yield


def compute(key: str, experiment: Experiment, config: Any, unit: Unit) -> Outcome:
    """Calls `measure` on one unit. An exception is an outcome with its traceback."""
    import jax

    study = experiment.studies[unit.study]
    shape = () if unit.seeds is None else (len(unit.seeds),)
    start = time.perf_counter()
    try:
        root = jax.random.key(root_seed(key, unit.study))
        seeds = np.arange(1) if unit.seeds is None else np.array(unit.seeds)
        keys = jax.vmap(jax.random.fold_in, (None, 0))(root, seeds)
        view = masked(config, experiment.hidden_fields(unit.study))
        output = study.measure(view, keys, **unit.point)
        variables = normalise(output, None if unit.seeds is None else len(unit.seeds))
    except Exception:
        return Outcome({}, np.full(shape, FAILED, np.int8), time.perf_counter() - start, traceback.format_exc())
    return Outcome(variables, _status(variables, shape), time.perf_counter() - start, "")


def _status(variables: dict[str, tuple[tuple[str, ...], np.ndarray]], shape: tuple[int, ...]) -> np.ndarray:
    finite = np.ones(shape, bool)
    for dims, array in variables.values():
        if array.dtype.kind not in "fc":
            continue
        if "seed" in dims and shape:
            others = tuple(i for i, dim in enumerate(dims) if dim != "seed")
            finite &= np.isfinite(array).all(axis=others)
        else:
            finite &= bool(np.isfinite(array).all())
    return np.where(finite, OK, NON_FINITE).astype(np.int8)
