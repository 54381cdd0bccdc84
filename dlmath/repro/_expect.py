"""What a paper says a statistic should be: a region of the real line, or a curve with a tolerance."""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Any, TypeAlias

import numpy as np

from dlmath import check

Number: TypeAlias = float | Callable[[Any], float]
"""A number, or a function of the config that gives it."""


@dataclass(frozen=True)
class Equal:
    """The statistic is `value`, give or take `atol + rtol * |value|`.

    >>> Equal(2.0, rtol=0.05).region(None)
    (1.9, 2.1)
    """

    value: Number
    _: KW_ONLY
    rtol: float = 0.0
    atol: float = 0.0

    def __post_init__(self) -> None:
        check_number("value", self.value)
        check.real("rtol", self.rtol, at_least=0.0)
        check.real("atol", self.atol, at_least=0.0)

    def region(self, config: Any) -> tuple[float, float]:
        """The accepted interval."""
        value = resolve(self.value, config)
        tolerance = self.atol + self.rtol * abs(value)
        return value - tolerance, value + tolerance

    def describe(self, config: Any) -> str:
        """The expectation in a few characters."""
        tolerances = [f"{100 * self.rtol:g} %"] if self.rtol else []
        tolerances += [f"{self.atol:g}"] if self.atol else []
        return " ± ".join([f"{resolve(self.value, config):.4g}", *tolerances])


@dataclass(frozen=True)
class AtLeast:
    """The statistic is `value` or more."""

    value: Number

    def __post_init__(self) -> None:
        check_number("value", self.value)

    def region(self, config: Any) -> tuple[float, float]:
        """The accepted interval."""
        return resolve(self.value, config), np.inf

    def describe(self, config: Any) -> str:
        """The expectation in a few characters."""
        return f"≥ {resolve(self.value, config):.4g}"


@dataclass(frozen=True)
class AtMost:
    """The statistic is `value` or less."""

    value: Number

    def __post_init__(self) -> None:
        check_number("value", self.value)

    def region(self, config: Any) -> tuple[float, float]:
        """The accepted interval."""
        return -np.inf, resolve(self.value, config)

    def describe(self, config: Any) -> str:
        """The expectation in a few characters."""
        return f"≤ {resolve(self.value, config):.4g}"


@dataclass(frozen=True)
class Slope:
    """The least-squares slope of log(statistic) against log(`along`) is `value ± atol`.

    `along` names the dimension of the statistic whose coordinate is the abscissa; both must be positive.
    """

    value: Number
    _: KW_ONLY
    along: str
    atol: float

    def __post_init__(self) -> None:
        check_number("value", self.value)
        check.real("atol", self.atol, above=0.0)

    def region(self, config: Any) -> tuple[float, float]:
        """The accepted interval."""
        value = resolve(self.value, config)
        return value - self.atol, value + self.atol

    def describe(self, config: Any) -> str:
        """The expectation in a few characters."""
        return f"slope {resolve(self.value, config):.4g} ± {self.atol:g} in log {self.along}"


@dataclass(frozen=True)
class Curve:
    """At every point the statistic is `theory(config, **coordinates)`, give or take `atol + rtol * |theory|`.

    `theory` receives one array a dimension of the statistic (seeds left out), broadcast to its shape.
    The intervals are simultaneous over the points (Bonferroni); χ² against the theory is reported beside.
    """

    theory: Callable[..., Any]
    _: KW_ONLY
    rtol: float = 0.0
    atol: float = 0.0

    def __post_init__(self) -> None:
        check.callable_("theory", self.theory)
        check.real("rtol", self.rtol, at_least=0.0)
        check.real("atol", self.atol, at_least=0.0)

    def describe(self, config: Any) -> str:
        """The expectation in a few characters."""
        tolerances = [f"{100 * self.rtol:g} %"] if self.rtol else []
        tolerances += [f"{self.atol:g}"] if self.atol else []
        return " ± ".join(["the theory's curve", *tolerances])


Expectation: TypeAlias = Equal | AtLeast | AtMost | Slope | Curve


def resolve(value: Number, config: Any) -> float:
    """The number itself, or the function of the config evaluated."""
    return float(value(config)) if callable(value) else float(value)


def check_number(argument: str, value: Any) -> None:
    """Raises unless `value` is a finite number or a function."""
    if not callable(value):
        check.real(argument, value)
