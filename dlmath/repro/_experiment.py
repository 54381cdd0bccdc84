"""A paper as data: what is measured, over which points and seeds, and what is claimed about it."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from dlmath import check
from dlmath.repro._expect import AtLeast, AtMost, Curve, Equal, Expectation, Slope

SCALE_NAMES = ("smoke", "laptop", "paper")
"""Seconds on two cores; at most ten minutes on two cores; one accelerator."""

RESERVED = (
    *("scale", "seeds", "point", "results", "fresh", "refresh_stale"),
    *("engine", "workers", "scheduler", "coordinator", "num_processes", "process_id"),
)
"""Options of the runner, which a config field may not be called."""

BASES = ("paper", "formula", "independent")
"""Where an expected value comes from: printed in the paper, evaluated from its formula, computed independently."""


@dataclass(frozen=True)
class Claim:
    """One checkable statement of a paper.

    Args:
        name: a short identifier, unique in the experiment.
        statement: the claim in one sentence.
        source: where the paper makes it ("Fig. 2", "Theorem 1, eq. (9)").
        expect: the expected value with its tolerance.
        statistic: `(config, results) -> number or DataArray`. A result that keeps the dimension `seed` gets a
            Student t interval over seeds; otherwise the judge bootstraps over seeds.
        needs: `config -> bool`, false where the claim cannot be tested ("not testable at this scale").
        basis: where the expected value comes from, one of `"paper"`, `"formula"`, `"independent"`.
        fails: the reason why the claim is known not to hold here. Strict: holding is then a failure.
    """

    name: str
    statement: str
    _: KW_ONLY
    source: str
    expect: Expectation
    statistic: Callable[[Any, Any], Any]
    needs: Callable[[Any], bool] | None = None
    basis: str = "paper"
    fails: str = ""

    def __post_init__(self) -> None:
        for name in ("name", "statement", "source"):
            if not isinstance(getattr(self, name), str) or not getattr(self, name):
                raise ValueError(f"{name} of a claim must be a non-empty string, got {getattr(self, name)!r}")
        if not isinstance(self.expect, Equal | AtLeast | AtMost | Slope | Curve):
            raise TypeError(
                f"expect of claim {self.name!r} must be Equal, AtLeast, AtMost, Slope or Curve, got {self.expect!r}"
            )
        check.callable_(f"statistic of claim {self.name!r}", self.statistic)
        check.one_of(f"basis of claim {self.name!r}", self.basis, BASES)


@dataclass(frozen=True)
class Study:
    """A measurement repeated over a grid of points and over seeds.

    Args:
        measure: `(config, keys, *, <axis>, ...) -> {name: array[seed] or (dims, array)}`, one unit of work. A
            one-dimensional result whose name is its only dimension is a coordinate, and equal in every unit.
        over: axis name -> name of the config field that lists its points. An axis costs one unit a point;
            what is not listed here is up to `measure`, inside one compiled program.
        seeds_per_unit: size of the fixed, aligned blocks of seeds that one call of `measure` receives. Blocks are
            computed whole. Their numbers go to an argument `seeds` of `measure`, if it has one: data whose standard splits
            are numbered need them.
        num_seeds: name of the config field with the number of seeds; None for a deterministic study, whose
            `measure` receives one key, returns scalars or (dims, array), and whose results have no `seed`.
        inside: config fields that are axes of another study and that this one reads whole.
    """

    measure: Callable[..., Mapping[str, Any]]
    _: KW_ONLY
    over: Mapping[str, str] = field(default_factory=dict)
    seeds_per_unit: int = 1
    num_seeds: str | None = "num_seeds"
    inside: Sequence[str] = ()

    def __post_init__(self) -> None:
        check.callable_("measure", self.measure)
        check.positive_int("seeds_per_unit", self.seeds_per_unit)
        if not isinstance(self.over, Mapping):
            raise TypeError(f"over must map axis names to config fields, got {self.over!r}")
        if "seed" in self.over:
            raise ValueError("over must not contain 'seed': seeds are an axis of every study that is not deterministic")
        parameters = inspect.signature(self.measure).parameters
        if not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
            for axis in self.over:
                if axis not in parameters:
                    raise ValueError(
                        f"over names the axis {axis!r}, which is no argument of measure{inspect.signature(self.measure)}"
                        f"{check.did_you_mean(axis, list(parameters))}"
                    )

    @property
    def numbered(self) -> bool:
        """Whether `measure` receives the numbers of its seeds."""
        return "seeds" not in self.over and "seeds" in inspect.signature(self.measure).parameters

    def axis_fields(self) -> set[str]:
        """Config fields that are laid out as points or seeds."""
        return {*self.over.values(), *([self.num_seeds] if self.num_seeds else [])}


@dataclass(frozen=True)
class Experiment:
    """Everything one file of `experiments/` says about its paper.

    Args:
        config: the dataclass of settings; every field documented, none named like an option of the runner.
        scales: scale name -> config, among `"smoke"`, `"laptop"`, `"paper"`; smoke is required.
        studies: name -> study.
        claims: the paper's claims.
        figures: `(config, results) -> {name: matplotlib Figure}`.
        precision: `"float32"` or `"float64"`; the runner enters it around everything.
        deviations: what differs from the paper, a sentence each.
    """

    config: type
    scales: Mapping[str, Any]
    _: KW_ONLY
    studies: Mapping[str, Study]
    claims: Sequence[Claim]
    figures: Callable[[Any, Any], Mapping[str, Any]] | None = None
    precision: str = "float32"
    deviations: Sequence[str] = ()

    def __post_init__(self) -> None:
        check.one_of("precision", self.precision, ("float32", "float64"))
        if not (isinstance(self.config, type) and dataclasses.is_dataclass(self.config)):
            raise TypeError(f"config must be a dataclass type, got {self.config!r}")
        names = {f.name for f in dataclasses.fields(self.config)}
        for name in RESERVED:
            if name in names:
                raise ValueError(f"config field {name!r} is an option of the runner; rename the field")
        if "smoke" not in self.scales:
            raise ValueError(f"scales must contain 'smoke', got {sorted(self.scales)}")
        for name, config in self.scales.items():
            check.one_of("scale", name, SCALE_NAMES)
            if type(config) is not self.config:
                raise TypeError(f"scales[{name!r}] must be a {self.config.__name__}, got {type(config).__name__}")
        if not self.studies:
            raise ValueError("studies must not be empty")
        for key, study in self.studies.items():
            if not key.isidentifier():
                raise ValueError(f"study name must be an identifier, got {key!r}")
            for name in (*study.axis_fields(), *study.inside):
                if name not in names:
                    raise ValueError(
                        f"study {key!r} refers to the config field {name!r}, which {self.config.__name__} lacks"
                        f"{check.did_you_mean(name, names)}"
                    )
        seen: set[str] = set()
        for claim in self.claims:
            if claim.name in seen:
                raise ValueError(f"claim name {claim.name!r} is used twice; names must be unique")
            seen.add(claim.name)

    def axis_fields(self) -> set[str]:
        """Config fields that are axes of any study."""
        return set().union(*(study.axis_fields() for study in self.studies.values()))

    def hidden_fields(self, study: str) -> set[str]:
        """Config fields that the measurement of `study` may not read, because its identity leaves them out."""
        return self.axis_fields() - set(self.studies[study].inside)
