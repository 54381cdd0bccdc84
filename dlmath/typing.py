"""The vocabulary shared by every subpackage: functions go in, functions come out.

A *loss* is (outputs, targets) -> scalar; an *objective* is (params, *data) -> scalar. Batch axis first,
features last; an ensemble is a leading axis added by `vmap`.
"""

from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from dlmath import _threads  # noqa: F401 (sets, before the first computation, what XLA reads then)

Params: TypeAlias = Any
"""Any pytree of arrays."""

Key: TypeAlias = PRNGKeyArray
"""A typed key, as made by `jax.random.key`."""


@runtime_checkable
class InitFn(Protocol):
    """(key, x) -> params, for inputs shaped like the batch `x` (its values are not used)."""

    def __call__(self, key: Key, x: Any, /) -> Params: ...


@runtime_checkable
class ApplyFn(Protocol):
    """(params, x[batch, ...]) -> outputs[batch, out]."""

    def __call__(self, params: Params, x: Any, /) -> Shaped[Array, "batch ..."]: ...


@runtime_checkable
class LossFn(Protocol):
    """(outputs[batch, ...], targets[batch, ...]) -> scalar."""

    def __call__(self, outputs: Any, targets: Any, /) -> Float[Array, ""]: ...


@runtime_checkable
class ObjectiveFn(Protocol):
    """(params, *data) -> scalar."""

    def __call__(self, params: Params, /, *data: Any) -> Float[Array, ""]: ...


@runtime_checkable
class KernelFn(Protocol):
    """(x1[n1, ...], x2[n2, ...] or None) -> kernel matrix[n1, n2]; None means x1 against itself."""

    def __call__(self, x1: Any, x2: Any = None, /) -> Float[Array, "n1 n2"]: ...


@runtime_checkable
class ProbeInitFn(Protocol):
    """(params) -> state of the probe, any pytree (`()` for a probe without memory)."""

    def __call__(self, params: Params, /) -> Any: ...


@runtime_checkable
class ProbeUpdateFn(Protocol):
    """(state, params, opt_state, step) -> (state, value): one measurement, a pytree of fixed shapes."""

    def __call__(self, state: Any, params: Params, opt_state: Any, step: Any, /) -> tuple[Any, Any]: ...


class Probe(NamedTuple):
    """What to measure along a training run; `update` is traced into the compiled loop.

    Attributes:
        init: (params) -> state of the probe.
        update: (state, params, opt_state, step) -> (state, value).
        stateful: whether `update` also takes the state of the network (batch statistics), as its fifth argument.
    """

    init: ProbeInitFn
    update: Any  # a ProbeUpdateFn, or one of five arguments
    stateful: bool = False


class Estimate(NamedTuple):
    """A stochastic estimate and its standard error, arrays of equal shape."""

    value: Any
    standard_error: Any
