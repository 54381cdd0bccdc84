"""Losses: (outputs, targets) -> scalar, with the reduction and the ½ explicit.

Let f be the outputs and y the targets; ν is one row of logits. An *example* is everything but the last
axis (features last); the loss of one example sums over the last axis, `reduction="mean"` then averages
over the examples and `"sum"` adds them. Arrays of rank 1 hold one number per example.

| on paper                                        | in code                          |
|-------------------------------------------------|----------------------------------|
| (1/n) Σᵢ ‖fᵢ − yᵢ‖²                             | `mse(f, y)`                      |
| (1/2n) Σᵢ ‖fᵢ − yᵢ‖²                            | `half_mse(f, y)`                 |
| ½ Σᵢ ‖fᵢ − yᵢ‖²                                 | `half_mse(f, y, reduction="sum")`|
| −(1/n) Σᵢ Σ_c y_ic log softmax(νᵢ)_c            | `cross_entropy(ν, y)`            |
| (1/n) Σᵢ log(1 + exp(−yᵢ fᵢ)),  y = ±1          | `logistic(f, y)`                 |
| (1/n) Σᵢ max(0, 1 − yᵢ fᵢ),  y = ±1             | `hinge(f, y)`                    |
| (1/n) Σᵢ h_δ(fᵢ − yᵢ)                           | `huber(f, y, delta=δ)`           |

PyTorch's `MSELoss` also divides by the number of outputs; `mse` does not.
"""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dlmath import check

__all__ = ["cross_entropy", "half_mse", "hinge", "huber", "logistic", "mse"]

Reduction = Literal["mean", "sum"]


def mse(outputs: Any, targets: Any, *, reduction: Reduction = "mean", half: bool = False) -> Float[Array, ""]:
    """The squared error (1/n) Σᵢ ‖fᵢ − yᵢ‖²: mean over examples, sum over outputs, no ½ unless `half`.

    Args:
        outputs: f, [..., outputs], or [n] for one output.
        targets: y, of exactly the shape of `outputs`.
        reduction: "mean" over the examples or "sum".
        half: multiply by ½.

    Raises:
        ValueError: for shapes that differ (broadcasting [n, 1] against [n] would give an n×n loss).

    >>> float(mse(jnp.array([[1.0, 2.0], [0.0, 0.0]]), jnp.zeros((2, 2))))
    2.5
    """
    outputs, targets = _same_shape("mse", outputs, targets)
    scale = 0.5 if half else 1.0
    return scale * _reduce(_sum_last(jnp.square(outputs - targets)), reduction)


def half_mse(outputs: Any, targets: Any, *, reduction: Reduction = "mean") -> Float[Array, ""]:
    """Half the squared error, (1/2n) Σᵢ ‖fᵢ − yᵢ‖²; with `reduction="sum"`, ½ Σᵢ ‖fᵢ − yᵢ‖².

    Args and Raises as for `mse`.

    >>> float(half_mse(jnp.array([3.0, 1.0]), jnp.zeros(2), reduction="sum"))
    5.0
    """
    return mse(outputs, targets, reduction=reduction, half=True)


def cross_entropy(outputs: Any, targets: Any, *, reduction: Reduction = "mean") -> Float[Array, ""]:
    """The cross entropy −(1/n) Σᵢ Σ_c y_ic log softmax(νᵢ)_c of logits ν.

    Its gradient in one row of logits is (softmax(ν) − y) / n.

    Args:
        outputs: logits ν, [..., classes].
        targets: class indices [...] (integers in 0..classes−1) or probabilities [..., classes].
        reduction: "mean" over the examples or "sum".

    Returns:
        A scalar; NaN if an integer target is out of range (traced code cannot raise).

    Raises:
        ValueError: for targets of any other shape. TypeError: for class indices that are not integers.

    >>> float(cross_entropy(jnp.zeros((4, 8)), jnp.array([0, 1, 2, 7]))) == float(jnp.log(8.0))
    True
    """
    outputs, targets = _floating(outputs), jnp.asarray(targets)
    log_probabilities = jax.nn.log_softmax(outputs, axis=-1)
    if targets.shape == outputs.shape:
        return _reduce(-jnp.sum(targets * log_probabilities, axis=-1), reduction)
    if targets.shape != outputs.shape[:-1]:
        raise ValueError(
            f"targets of cross_entropy must be class indices of shape {outputs.shape[:-1]} or probabilities of "
            f"shape {outputs.shape}, got shape {targets.shape}"
        )
    if not jnp.issubdtype(targets.dtype, jnp.integer):
        raise TypeError(
            f"targets of cross_entropy of shape {targets.shape} must be integer class indices, got dtype "
            f"{targets.dtype}; cast them with .astype(int)"
        )
    # A mask instead of a gather: its transpose is no scatter, which CPUs and TPUs do slowly.
    one_hot = jax.nn.one_hot(targets, outputs.shape[-1], dtype=bool)
    chosen = jnp.sum(jnp.where(one_hot, log_probabilities, 0), axis=-1)
    known = (targets >= 0) & (targets < outputs.shape[-1])
    return _reduce(jnp.where(known, -chosen, jnp.nan), reduction)


def logistic(outputs: Any, targets: Any, *, reduction: Reduction = "mean") -> Float[Array, ""]:
    """The logistic loss (1/n) Σᵢ log(1 + exp(−yᵢ fᵢ)) for labels y = ±1.

    Args:
        outputs: f, any shape.
        targets: labels −1 or +1, of exactly the shape of `outputs`.
        reduction: "mean" over the examples or "sum".

    Raises:
        ValueError: for shapes that differ.

    >>> float(logistic(jnp.array([1e4, -1e4]), jnp.array([1.0, 1.0])))
    5000.0
    """
    return _of_margin("logistic", lambda margin: jax.nn.softplus(-margin), outputs, targets, reduction)


def hinge(outputs: Any, targets: Any, *, reduction: Reduction = "mean") -> Float[Array, ""]:
    """The hinge loss (1/n) Σᵢ max(0, 1 − yᵢ fᵢ) for labels y = ±1.

    Args and Raises as for `logistic`.

    >>> float(hinge(jnp.array([2.0, 0.5]), jnp.array([1.0, -1.0]), reduction="sum"))
    1.5
    """
    return _of_margin("hinge", lambda margin: jnp.maximum(0, 1 - margin), outputs, targets, reduction)


def huber(outputs: Any, targets: Any, *, delta: float = 1.0, reduction: Reduction = "mean") -> Float[Array, ""]:
    """Huber's loss (1/n) Σᵢ h_δ(fᵢ − yᵢ), with h_δ(r) = ½r² for |r| <= δ and δ(|r| − ½δ) beyond (summed over outputs).

    The ½ is part of the definition (Huber 1964, section 4).

    Args:
        outputs: f, [..., outputs], or [n] for one output.
        targets: y, of exactly the shape of `outputs`.
        delta: δ > 0, where the loss turns from quadratic to linear.
        reduction: "mean" over the examples or "sum".

    Raises:
        ValueError: for shapes that differ, or delta <= 0.

    >>> float(huber(jnp.array([3.0, 0.5]), jnp.zeros(2), reduction="sum"))
    2.625
    """
    delta = check.real("delta", delta, above=0.0)
    outputs, targets = _same_shape("huber", outputs, targets)
    # With q = min(|r|, δ) both branches are ½q² + δ(|r| − q), and no branch squares a large residual.
    residual = jnp.abs(outputs - targets)
    quadratic = jnp.minimum(residual, delta)
    return _reduce(_sum_last(0.5 * jnp.square(quadratic) + delta * (residual - quadratic)), reduction)


def _of_margin(
    name: str, of_margin: Callable[[Any], Any], outputs: Any, targets: Any, reduction: Reduction
) -> Float[Array, ""]:
    outputs, targets = _same_shape(name, outputs, targets)
    return _reduce(_sum_last(of_margin(targets * outputs)), reduction)


def _reduce(losses: Any, reduction: str) -> Any:
    check.one_of("reduction", reduction, ("mean", "sum"))
    return jnp.mean(losses) if reduction == "mean" else jnp.sum(losses)


def _sum_last(values: Any) -> Any:
    return jnp.sum(values, axis=-1) if values.ndim > 1 else values


def _same_shape(name: str, outputs: Any, targets: Any) -> tuple[Any, Any]:
    outputs = _floating(outputs)
    targets = jnp.asarray(targets)
    if outputs.shape != targets.shape:
        raise ValueError(
            f"outputs and targets of {name} must have the same shape, got {outputs.shape} and {targets.shape}"
            + ("; add an axis with targets[:, None]" if outputs.ndim == targets.ndim + 1 else "")
        )
    # Labels stored as integers take the precision of the outputs, not the other way round.
    return outputs, targets.astype(outputs.dtype) if jnp.issubdtype(targets.dtype, jnp.integer) else targets


def _floating(outputs: Any) -> Any:
    outputs = jnp.asarray(outputs)
    return outputs if jnp.issubdtype(outputs.dtype, jnp.floating) else outputs.astype(float)
