"""What a compiled run is made of: functions and options are static, every array is an argument.

The functions given to `fit` may hold arrays (a probe holds its test set, a linearised network its
parameters). Taking those arrays apart makes them arguments of one compiled program: nothing is folded
into it as a constant, and new values compile nothing.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
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
    stops: bool
    """Whether there is a stopping rule."""
    axes: Any
    """None for one run; for an ensemble the axes of (hyper-parameters, x, y), hashable."""


@dataclass(frozen=True)
class Skeleton:
    """A pytree without its arrays; hashable."""

    treedef: Any
    static: tuple[Any, ...]

    def filled(self, arrays: Any) -> Any:
        """The pytree, with `arrays` back in their places."""
        filling = iter(arrays)
        return jax.tree.unflatten(
            self.treedef, [next(filling) if leaf is _ARRAY else unwrapped(leaf) for leaf in self.static]
        )


@dataclass(frozen=True)
class Program:
    """Hashable: equal programs share one compilation."""

    skeleton: Skeleton
    options: Options

    def functions(self, arrays: Any) -> Functions:
        """The functions of the run, with the arrays they hold."""
        return self.skeleton.filled(arrays)


def skeleton_of(tree: Any) -> tuple[Skeleton, list[Any]]:
    """Takes a pytree apart into what is static and its arrays."""
    leaves, treedef = jax.tree.flatten(tree)
    arrays = [jnp.asarray(leaf) for leaf in leaves if _is_array(leaf)]
    return Skeleton(treedef, tuple(_ARRAY if _is_array(leaf) else hashable(leaf) for leaf in leaves)), arrays


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


def hashable(leaf: Any) -> Any:
    """`leaf`, wrapped if it cannot be hashed."""
    try:
        hash(leaf)
    except TypeError:
        return _ByIdentity(leaf)
    return leaf


def unwrapped(leaf: Any) -> Any:
    """The inverse of `hashable`."""
    return leaf.value if isinstance(leaf, _ByIdentity) else leaf
