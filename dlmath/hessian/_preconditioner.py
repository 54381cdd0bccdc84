"""The diagonal preconditioners of adaptive optimizers, read from optax's states."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from dlmath import check

ADAPTIVE = ("adam", "rmsprop")


class Preconditioner(NamedTuple):
    """Which optimizer, and the constants its state does not hold; hashable."""

    name: str | None
    b1: float
    b2: float
    eps: float
    eps_in_sqrt: bool

    @classmethod
    def checked(cls, name: Any, b1: Any, b2: Any, eps: Any, eps_in_sqrt: Any) -> "Preconditioner":
        """Of checked arguments."""
        if name is not None:
            name = check.one_of("preconditioner", name, ["momentum", *ADAPTIVE])
        b1 = check.real("b1", b1, at_least=0.0, below=1.0)
        default = 0.9 if name == "rmsprop" else 0.999
        b2 = default if b2 is None else check.real("b2", b2, at_least=0.0, below=1.0)
        eps = check.real("eps", eps, at_least=0.0)
        if not isinstance(eps_in_sqrt, bool):
            raise TypeError(f"eps_in_sqrt must be True or False, got {eps_in_sqrt!r} of {type(eps_in_sqrt).__name__}")
        return cls(name, b1, b2, eps, eps_in_sqrt)


def inverse_root(how: Preconditioner, params: Any, opt_state: Any, gradient: Callable[[], Any]) -> Any:
    """P^{-½}, like the parameters; None for P = 1.

    Before the first update the state holds no squares: P is then that of the first update, along `gradient()`.
    """
    if how.name not in ADAPTIVE:
        return None
    held = _second_moments(how.name, params, opt_state)
    untouched = jnp.stack([jnp.all(leaf == 0) for leaf in jax.tree.leaves(held.nu)]).all()
    first = lambda: jax.tree.map(lambda g, nu: ((1 - how.b2) * jnp.square(g)).astype(nu.dtype), gradient(), held.nu)
    nu = jax.lax.cond(untouched, first, lambda: held.nu)
    count = jnp.maximum(held.count, 1) if "count" in held._fields else None

    def root(leaf: Any, squares: Any) -> Any:
        # RMSProp's state has a count only where it corrects the bias.
        correction = lambda b: 1 if count is None else 1 - jnp.asarray(b, leaf.dtype) ** count.astype(leaf.dtype)
        squares = squares.astype(leaf.dtype) / correction(how.b2)
        if how.name == "adam":
            diagonal = correction(how.b1) * (jnp.sqrt(squares) + how.eps)
        else:
            diagonal = jnp.sqrt(squares + how.eps) if how.eps_in_sqrt else jnp.sqrt(squares) + how.eps
        # A parameter that has never had a gradient has no curvature either: 1 keeps 0/0 out.
        return jax.lax.rsqrt(jnp.where(diagonal > 0, diagonal, 1))

    return jax.tree.map(root, params, nu)


def _second_moments(name: str, params: Any, opt_state: Any) -> Any:
    kinds = _states(name)
    nodes = jax.tree.leaves(opt_state, is_leaf=lambda node: isinstance(node, kinds))
    found = [node for node in nodes if isinstance(node, kinds)]
    if len(found) != 1:
        names = " or ".join(kind.__name__ for kind in kinds)
        raise ValueError(
            f"opt_state must hold one {names} for preconditioner={name!r}, got {len(found)} in a state of type "
            f"{type(opt_state).__name__}; train with optax.{name}, or choose the preconditioner of the optimizer"
        )
    if jax.tree.structure(found[0].nu) != jax.tree.structure(params):
        raise ValueError(
            f"opt_state must hold second moments of all parameters for preconditioner={name!r}, "
            f"got those of {jax.tree.structure(found[0].nu)} for {jax.tree.structure(params)}"
        )
    return found[0]


def _states(name: str) -> tuple[type, ...]:
    if name == "adam":
        return (optax.ScaleByAdamState,)
    # The state with a count has no public name.
    return optax.ScaleByRmsState, type(optax.scale_by_rms(bias_correction=True).init(jnp.zeros(())))
