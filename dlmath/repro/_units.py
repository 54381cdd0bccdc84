"""Units of work: one point of a study's grid and one block of seeds, with a name that says what it depends on."""

import dataclasses
import functools
import hashlib
import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from dlmath import check
from dlmath.repro import _identity
from dlmath.repro._experiment import Experiment, Study
from dlmath.repro._paper import Paper


class Unit(NamedTuple):
    """One call of `measure`: a point, the seeds of its block (None: deterministic), and the hash that names it."""

    study: str
    point: dict[str, Any]
    seeds: range | None
    id: str

    @property
    def label(self) -> str:
        """Study, point and seeds, for a human."""
        seeds = () if self.seeds is None else (f"seeds {self.seeds.start}:{self.seeds.stop}",)
        return " ".join([self.study, *(f"{axis}={value}" for axis, value in self.point.items()), *seeds])


class Plan(NamedTuple):
    """The units of a run, with the axes and seeds (None: deterministic) of each study."""

    units: list[Unit]
    axes: dict[str, dict[str, list[Any]]]
    seeds: dict[str, list[int] | None]
    code: dict[str, str]


def plan(
    paper: Paper, config: Any, *, platform: str, seeds: range | None = None, point: Mapping[str, Any] | None = None
) -> Plan:
    """Lays out every unit of an experiment under `config`.

    Args:
        paper: the loaded experiment.
        config: an instance of its config class.
        platform: `"cpu"`, `"gpu"` or `"tpu"`: other platforms give other last bits, hence other units.
        seeds: the seeds wanted, instead of `range(config.<num_seeds>)`. Units hold whole aligned blocks.
        point: axis -> value; only units on it are kept.
    """
    units, all_axes, all_seeds, codes = [], {}, {}, {}
    for name, study in paper.experiment.studies.items():
        axes = {axis: _points(field, getattr(config, field)) for axis, field in study.over.items()}
        wanted = _wanted_seeds(study, config, seeds)
        shared = _shared(paper, config, name, platform)
        for values in itertools.product(*axes.values()):
            here = dict(zip(axes, values, strict=True))
            if point and any(k in here and here[k] != v for k, v in point.items()):
                continue
            for block in _blocks(wanted, study.seeds_per_unit):
                units.append(Unit(name, here, block, _hash(shared, here, block)))
        all_axes[name], all_seeds[name], codes[name] = axes, wanted, _identity.study_code(paper, study)
    unknown = set(point or {}) - {axis for axes in all_axes.values() for axis in axes}
    if unknown:
        known = sorted({axis for axes in all_axes.values() for axis in axes})
        raise ValueError(f"point names {sorted(unknown)}, which is no axis; axes are {', '.join(known) or 'none'}")
    return Plan(units, all_axes, all_seeds, codes)


def unit_id(paper: Paper, config: Any, study: str, platform: str, point: Mapping[str, Any], seeds: range | None) -> str:
    """The hash that names one unit, computed from what it depends on."""
    return _hash(_shared(paper, config, study, platform), point, seeds)


def _shared(paper: Paper, config: Any, study: str, platform: str) -> dict[str, Any]:
    """What all units of a study have in common."""
    code = _identity.study_code(paper, paper.experiment.studies[study])
    hidden = paper.experiment.hidden_fields(study)
    return {
        "experiment": paper.key,
        "study": study,
        "config": {k: v for k, v in _identity.canonical(config).items() if k not in hidden},
        "precision": paper.experiment.precision,
        "platform": platform,
        "code": hashlib.sha256(code.encode()).hexdigest(),
        "results_versions": _identity.results_versions(_identity.subpackages_used(code)),
    }


def _hash(shared: Mapping[str, Any], point: Mapping[str, Any], seeds: range | None) -> str:
    bounds = None if seeds is None else [seeds.start, seeds.stop]
    return _identity.digest({**shared, "point": point, "seeds": bounds})


def root_seed(key: str, study: str) -> int:
    """31 bits from the names alone: adding points, seeds or code changes nobody's random numbers."""
    return int.from_bytes(hashlib.sha256(f"{key}/{study}".encode()).digest()[:4], "big") >> 1


def masked(config: Any, hidden: frozenset[str]) -> Any:
    """`config` without the fields that a unit's identity leaves out: reading one is an error."""
    view = object.__new__(_without(type(config), hidden))
    for field in dataclasses.fields(config):
        if field.name not in hidden:
            object.__setattr__(view, field.name, getattr(config, field.name))
    return view


@functools.lru_cache(maxsize=64)
def _without(cls: type, hidden: frozenset[str]) -> type:
    def refuse(name: str) -> property:
        def read(_: Any) -> Any:
            raise AttributeError(
                f"measure must not read config.{name}: it is an axis, and units do not depend on it."
                f" Take the point as an argument, or list {name!r} in Study(inside=...)"
            )

        return property(read)

    return type(cls.__name__, (cls,), {name: refuse(name) for name in hidden})


def validate(experiment: Experiment, config: Any) -> None:
    """Raises TypeError unless `config` is an instance of the experiment's config class."""
    if not isinstance(config, experiment.config):
        raise TypeError(f"config must be a {experiment.config.__name__}, got {type(config).__name__}")


def _points(field: str, values: Any) -> list[Any]:
    if isinstance(values, str) or not hasattr(values, "__iter__"):
        raise TypeError(f"{field} must be a sequence of points, since it is an axis; got {values!r}")
    points = list(values)
    if not points:
        raise ValueError(f"{field} must not be empty: it is an axis, and every point costs a unit")
    for value in points:
        if not isinstance(value, bool | int | float | str):
            raise TypeError(f"{field} must hold numbers or strings, since it is an axis; got {value!r}")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{field} must hold finite points, got {value}")
    if len(set(points)) < len(points):
        twice = next(v for v in points if points.count(v) > 1)
        raise ValueError(f"{field} must not repeat a point, got {twice!r} twice")
    return points


def _wanted_seeds(study: Study, config: Any, seeds: range | None) -> list[int] | None:
    if study.num_seeds is None:
        return None
    if seeds is not None:
        if not len(seeds):
            raise ValueError(f"seeds must not be empty, got {seeds.start}:{seeds.stop}")
        return list(seeds)
    return list(range(check.positive_int(study.num_seeds, getattr(config, study.num_seeds))))


def _blocks(seeds: list[int] | None, size: int) -> Iterator[range | None]:
    if seeds is None:
        yield None
    else:
        for block in sorted({seed // size for seed in seeds}):
            yield range(block * size, (block + 1) * size)
