"""What a compiled run is made of: functions and options are static, every array is an argument.

The functions given to `fit` may hold arrays (a probe holds its test set, a linearised network its
parameters). Taking those arrays apart makes them arguments of one compiled program: nothing is folded
into it as a constant, and new values compile nothing.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np


class Functions(NamedTuple):
    """The functions of a run, each a callable or a pytree of callables and arrays."""

    apply: Any
    loss: Any
    optimizer: Any
    probes: Any
    augment: Any
    stop: Any


@dataclass(frozen=True)
class Options:
    """Choices that change the compiled program."""

    batch_size: int | None
    replacement: bool
    stateful: bool
    full_loss: bool
    step_losses: bool
    tuned: bool
    """`optimizer` is a factory that the hyper-parameters are given to."""
    axes: Any
    """None for one run; for an ensemble the axes of (hyper-parameters, x, y), hashable."""


@dataclass(frozen=True)
class Program:
    """Hashable: equal programs share one compilation."""

    treedef: Any
    static: tuple[Any, ...]
    options: Options
    stops: bool
    """Whether there is a stopping rule."""

    def functions(self, arrays: Any) -> Functions:
        """The functions of the run, with `arrays` back in their places."""
        filled = iter(arrays)
        leaves = [next(filled) if leaf is _ARRAY else _unwrapped(leaf) for leaf in self.static]
        return jax.tree.unflatten(self.treedef, leaves)


def program_of(functions: Functions, options: Options) -> tuple[Program, list[Any]]:
    """Takes functions apart into the static program and the arrays they hold."""
    leaves, treedef = jax.tree.flatten(functions)
    arrays = [leaf for leaf in leaves if _is_array(leaf)]
    static = tuple(_ARRAY if _is_array(leaf) else _hashable(leaf) for leaf in leaves)
    return Program(treedef, static, options, functions.stop is not None), arrays


_ARRAY = object()


@dataclass(frozen=True, eq=False)
class _ByIdentity:
    """Wraps a callable that cannot be hashed; the same object is the same program."""

    value: Any

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByIdentity) and other.value is self.value

    def __hash__(self) -> int:
        return id(self.value)


def _is_array(leaf: Any) -> bool:
    # Python's bool and int stay static: they choose branches and shapes.
    return isinstance(leaf, jax.Array | np.ndarray | np.generic | float | complex)


def _hashable(leaf: Any) -> Any:
    try:
        hash(leaf)
    except TypeError:
        return _ByIdentity(leaf)
    return leaf


def _unwrapped(leaf: Any) -> Any:
    return leaf.value if isinstance(leaf, _ByIdentity) else leaf
