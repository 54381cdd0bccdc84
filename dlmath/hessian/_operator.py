"""The Hessian as an operator, and operators linearised once for many products."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from dlmath import linalg
from dlmath.hessian._residuals import repeats
from dlmath.linalg import Operator
from dlmath.linalg._arguments import checked_params, checked_rows, on_device, static
from dlmath.typing import ObjectiveFn, Params


def operator(objective: ObjectiveFn | Any, params: Params, *data: Any) -> Operator:
    """The Hessian H = ∇²_θ L(θ, data) of an objective, as the operator v ↦ Hv.

    Products are forward over reverse, Hv = d/dt ∇L(θ + tv) at t = 0. Parameters and data are arguments of the
    program, and the objective is part of it: one that is the same object for every checkpoint (a module-level
    function, or a closure made once) compiles once. Sharded data stay sharded.

    Args:
        objective: (params, *data) -> scalar, twice differentiable. `functools.partial` of hashable values is taken
            by value, so that it may be made anew at every call.
        params: θ, any pytree of floating arrays.
        data: what else the objective takes, any pytrees; not differentiated.

    Returns:
        An `Operator` on vectors like `params`, of size P. Where the objective has kinks (ReLU), the Hessian of the
        smooth piece that θ lies in. `linearized` makes further products at the same θ cheaper.

    Raises:
        TypeError: for parameters that are not floating, or an objective that cannot be called.
        ValueError: for an objective that is not scalar, or data without rows.

    f = (abx − y)²/2 at a = 1, b = 2, x = 1, y = 0 has H = [[b², 2ab], [2ab, a²]]:

    >>> h = operator(lambda p, x, y: 0.5 * (p[0] * p[1] * x - y) ** 2, jnp.array([1.0, 2.0]), 1.0, 0.0)
    >>> h(jnp.array([1.0, 0.0])).tolist()
    [4.0, 4.0]

    Cost of a product: about 1.8 gradients and their memory.

    References:
        Pearlmutter (1994), Fast exact multiplication by the Hessian, sec. 2.
    """
    objective, params = static("objective", objective), checked_params(params)
    checked_rows(data)
    data = on_device(data)
    value = jax.eval_shape(_value, objective, params, data)
    expect_scalar("objective", value)
    return linalg.operator(_hessian_product, params, objective, params, data)


def linearized(op: Operator) -> Operator:
    """The same operator, with all that does not depend on the vector computed once and kept.

    A product of the Hessian at a new θ runs the network forwards and backwards before it can push a vector through;
    at the same θ only the vector is new. `jax.linearize` at v = 0 keeps what the rest needs. Works on every operator
    (Hessian, GGN, Fisher, sums over batches) inside and outside of `jit`, and gives the same program for every θ.
    For products called one by one, and sums over batches in a compiled loop: `linalg.lanczos`, `eigenpairs` and
    `spectral_density` on the plain operator gain nothing by it on CPUs, where XLA itself moves what does not depend on
    the vector out of their loops.

    Args:
        op: an operator, its product traceable (no host loop).

    Returns:
        An `Operator` with the same products to rounding. Its arrays are the activations of the forward and backward
        pass on all data: memory grows with n, and under `over_batches` with the whole data set.

    Raises:
        TypeError: for an `op` that is no Operator.

    >>> h = linearized(operator(lambda p: jnp.sum(p**3), jnp.array([1.0, 2.0])))
    >>> h(jnp.ones(2)).tolist()
    [6.0, 12.0]

    Cost: one product now; then about 1.4 gradients a product for a Hessian instead of 1.8.
    """
    expect_operator("op", op)
    # An output of jit, so that its static part (the traced program) is one object for all operators of a kind.
    residuals, structure = jax.tree.flatten(_linearize(op))
    first = repeats(_linearize.trace(op).jaxpr)
    distinct = [residual for index, residual in enumerate(residuals) if first[index] == index]
    return replace(op, matvec=Partial(_Linear(structure, first), distinct))


@dataclass(frozen=True)
class _Linear:
    """A linearised function of its distinct residuals and a vector; equal residuals are passed once."""

    structure: Any
    first: tuple[int, ...]

    def __call__(self, distinct: Any, vector: Any) -> Any:
        given = iter(distinct)
        residuals: list[Any] = []
        for index, first in enumerate(self.first):
            residuals.append(next(given) if first == index else residuals[first])
        return _apply_linear(self.structure.unflatten(residuals), vector)


def expect_scalar(name: str, value: Any) -> None:
    """ValueError unless an abstract value is one floating scalar."""
    if getattr(value, "shape", None) == () and jnp.issubdtype(value.dtype, jnp.floating):
        return
    got = jax.tree.map(lambda leaf: f"{leaf.dtype}{list(leaf.shape)}", value)
    raise ValueError(f"{name} must return a floating scalar, got {got}; reduce it with jnp.mean or jnp.sum")


def expect_operator(name: str, op: Any) -> None:
    """TypeError unless `op` is an Operator."""
    if not isinstance(op, Operator):
        raise TypeError(f"{name} must be an Operator, such as hessian.operator(...), got {type(op).__name__}")


@jax.jit
def _value(objective: Callable[..., Any], params: Any, data: Any) -> Any:
    return objective(params, *data)


@jax.jit
def _hessian_product(objective: Callable[..., Any], params: Any, data: Any, vector: Any) -> Any:
    gradient = jax.grad(lambda p: objective(p, *data))
    return jax.jvp(gradient, (params,), (vector,))[1]


@jax.jit
def _linearize(op: Operator) -> Partial:
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), op.like)
    return jax.linearize(op.matvec, zeros)[1]  # pyright: ignore[reportReturnType]  # a Partial over its residuals


@jax.jit
def _apply_linear(linear: Partial, vector: Any) -> Any:
    return linear(vector)
