"""Rules that end a run early, evaluated at every record inside the compiled loop.

A rule is a pair like a probe: `update(state, loss, values) -> (state, stop)` sees the recorded loss and
the values of the probes. Under `vmap` every member stops on its own.
"""

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from dlmath import check


class StoppingRule(NamedTuple):
    """When to stop: `init() -> state`, `update(state, loss, values) -> (state, stop)`."""

    init: Any
    update: Any


def loss_below(threshold: Any) -> StoppingRule:
    """Stops at the first record whose loss is at most `threshold`.

    Args:
        threshold: loss, in the units of the recorded training loss; may be traced.

    Raises:
        ValueError: for a threshold that is not finite.

    >>> rule = loss_below(0.1)
    >>> rule.update(rule.init(), jnp.float32(0.05), {})[1].item()
    True
    """
    return StoppingRule(_no_state, _LossBelow(check.real("threshold", threshold)))


def patience(
    probe: str, num_records: int, *, mode: Literal["min", "max"] = "min", min_improvement: Any = 0.0
) -> StoppingRule:
    """Stops once a probe has not improved on its best value for `num_records` records in a row.

    The parameters returned are those at the stop, not those of the best record. A value that is not
    finite is no improvement.

    Args:
        probe: name of a probe with a scalar value, or "loss" for the recorded training loss.
        num_records: records without improvement that are waited for, >= 1.
        mode: whether smaller ("min") or larger ("max") is better.
        min_improvement: an improvement must exceed this, >= 0.

    Raises:
        ValueError: for an unknown mode, fewer than one record or a negative improvement.

    >>> rule = patience("loss", 1)
    >>> state, stop = rule.update(rule.init(), jnp.float32(1.0), {})
    >>> rule.update(state, jnp.float32(1.0), {})[1].item()
    True
    """
    if not isinstance(probe, str):
        raise TypeError(f"probe must be the name of a probe, got {probe!r} of type {type(probe).__name__}")
    update = _Patience(
        check.real("min_improvement", min_improvement, at_least=0.0),
        probe=probe,
        num_records=check.positive_int("num_records", num_records),
        sign=1.0 if check.one_of("mode", mode, ("min", "max")) == "min" else -1.0,
    )
    return StoppingRule(_start_waiting, update)


class Waiting(NamedTuple):
    """What `patience` remembers."""

    best: Float[Array, ""]
    num_worse: Any


def _no_state() -> tuple[()]:
    return ()


def _start_waiting() -> Waiting:
    return Waiting(jnp.full((), jnp.inf), jnp.zeros((), jnp.int32))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _LossBelow:
    threshold: Any

    def __call__(self, state: Any, loss: Any, values: Any) -> tuple[Any, Bool[Array, ""]]:
        return state, loss <= self.threshold


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _Patience:
    min_improvement: Any
    probe: str = field(metadata={"static": True})
    num_records: int = field(metadata={"static": True})
    sign: float = field(metadata={"static": True})

    def __call__(self, state: Any, loss: Any, values: Any) -> tuple[Any, Bool[Array, ""]]:
        value = self.sign * jnp.asarray(loss if self.probe == "loss" else values[self.probe], state.best.dtype)
        better = value < state.best - self.min_improvement
        better &= jnp.isfinite(value)
        num_worse = jnp.where(better, 0, state.num_worse + 1)
        return Waiting(jnp.where(better, value, state.best), num_worse), num_worse >= self.num_records
