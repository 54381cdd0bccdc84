"""Computing one unit: keys, precision, and results as NumPy arrays."""

import contextlib
import dataclasses
import functools
import pickle
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from dlmath import sharding
from dlmath.repro import _identity
from dlmath.repro._paper import Paper, load_text
from dlmath.repro._results import FAILED, NON_FINITE, OK, normalise
from dlmath.repro._units import Unit, masked, root_seed, unit_id


class Outcome(NamedTuple):
    """What a unit gave.

    Attributes:
        variables: name -> (dims, array).
        status: `OK`, `NON_FINITE` or `FAILED`, one a seed.
        seconds: wall time.
        error: traceback of a failure, else "".
        provenance: versions underneath, where it was computed.
    """

    variables: dict[str, tuple[tuple[str, ...], np.ndarray]]
    status: np.ndarray
    seconds: float
    error: str
    provenance: dict[str, Any]

    @classmethod
    def failure(cls, unit: Unit, error: str, seconds: float) -> "Outcome":
        """The outcome of a unit that raised."""
        return cls({}, np.full(_shape(unit), FAILED, np.int8), seconds, error, {})

    @property
    def non_finite(self) -> str:
        """Which variables are not finite, for how many seeds; "" if all are."""
        if not (self.status == NON_FINITE).any():
            return ""
        names = [n for n, (_, a) in self.variables.items() if a.dtype.kind in "fc" and not np.isfinite(a).all()]
        seeds = f" for {int((self.status == NON_FINITE).sum())} of {self.status.size} seeds" if self.status.ndim else ""
        return f"{', '.join(names)} not finite{seeds}"


@contextlib.contextmanager
def precision(name: str) -> Iterator[None]:
    """Enters float32 or float64, products at the highest precision the device has, one BLAS thread."""
    import jax

    with (
        jax.enable_x64(name == "float64"),
        jax.default_matmul_precision("highest"),
        _thread_pools(len(sys.modules)).limit(limits=1),
    ):
        yield


@functools.lru_cache(maxsize=1)
def _thread_pools(num_modules: int) -> Any:
    """The BLAS libraries loaded so far. Finding them takes 4 ms, so only after new imports."""
    import threadpoolctl

    return threadpoolctl.ThreadpoolController()


@dataclass(frozen=True)
class Computation:
    """The function unit -> outcome of a paper under a config. An exception is an outcome with its traceback.

    It can be pickled: what travels is the text of the file and the config, and where it arrives the text is
    executed and every unit's hash is checked against the one made there.
    """

    paper: Paper
    config: Any
    arrived: bool = False

    def __call__(self, unit: Unit) -> Outcome:
        start = time.perf_counter()
        experiment = self.paper.experiment
        try:
            study = experiment.studies[unit.study]
            if self.arrived:
                _check_hash(self.paper, self.config, unit)
            with precision(experiment.precision):
                keys = sharding.shard(_keys(root_seed(self.paper.key, unit.study), unit.seeds))
                view = masked(self.config, frozenset(experiment.hidden_fields(unit.study)))
                numbers = {"seeds": list(unit.seeds or ())} if study.numbered else {}
                output = sharding.gather(study.measure(view, keys, **unit.point, **numbers))
                variables = normalise(output, None if unit.seeds is None else len(unit.seeds))
            provenance = _identity.provenance(_identity.study_code(self.paper, study))
        except Exception:
            return Outcome.failure(unit, traceback.format_exc(), time.perf_counter() - start)
        status = _status(variables, _shape(unit))
        return Outcome(variables, status, time.perf_counter() - start, "", provenance)

    def __reduce__(self) -> tuple[Any, ...]:
        settings = {f.name: getattr(self.config, f.name) for f in dataclasses.fields(self.config) if f.init}
        return _arrive, (str(self.paper.path), self.paper.text, pickle.dumps(settings))


@functools.lru_cache(maxsize=8)
def _arrive(path: str, text: str, settings: bytes) -> Computation:
    paper = load_text(path, text)
    return Computation(paper, paper.experiment.config(**pickle.loads(settings)), arrived=True)


def _check_hash(paper: Paper, config: Any, unit: Unit) -> None:
    import jax

    found = unit_id(paper, config, unit.study, jax.default_backend(), unit.point, unit.seeds)
    if found != unit.id:
        raise RuntimeError(
            f"unit {unit.label} is {found} on this worker and {unit.id} where it was sent from: the worker has another"
            f" version of dlmath, or another platform than {jax.default_backend()!r} was planned for"
        )


def _keys(seed: int, seeds: range | None) -> Any:
    """fold_in(key(seed), s) for each s of the block, in one program."""
    return _folded()(np.int32(seed), np.arange(1) if seeds is None else np.array(seeds))


@functools.cache
def _folded() -> Any:
    import jax

    return jax.jit(lambda seed, seeds: jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(seed), seeds))


def _shape(unit: Unit) -> tuple[int, ...]:
    return () if unit.seeds is None else (len(unit.seeds),)


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
