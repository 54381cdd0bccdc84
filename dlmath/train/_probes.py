"""Probes: what to measure along a run.

Every probe is a pair `Probe(init, update)` with `update(state, params, opt_state, step) -> (state, value)`.
Those here hold their data as arguments of the compiled program: the same probe on other data, or made
again, compiles nothing.
"""

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from dlmath import check
from dlmath.typing import ApplyFn, LossFn, Params, Probe


def snapshot() -> Probe:
    """The parameters θ themselves, for an analysis after the run.

    Returns:
        A probe without memory, whose record has the structure of the parameters. Cost: a copy of them a record.

    >>> snapshot().update((), {"w": jnp.array([3.0])}, None, 0)[1]["w"].tolist()
    [3.0]
    """
    return Probe(_no_memory, _snapshot)


def weight_norm(*, by_layer: bool = False) -> Probe:
    """The Euclidean norm ‖θ‖ of the parameters.

    Args:
        by_layer: one norm per leaf of the parameters, in their structure, instead of one number.

    Returns:
        A probe without memory. Cost: one pass over the parameters.

    >>> probe = weight_norm()
    >>> float(probe.update((), {"w": jnp.array([3.0]), "b": jnp.array([4.0])}, None, 0)[1])
    5.0
    """
    return Probe(_no_memory, _WeightNorm(_flag("by_layer", by_layer)))


def distance_from_init(*, relative: bool = False, by_layer: bool = False) -> Probe:
    """The distance ‖θ_t − θ_0‖ travelled from the parameters at the first record.

    Args:
        relative: divide by ‖θ_0‖.
        by_layer: one distance per leaf of the parameters.

    Returns:
        A probe that remembers θ_0. Cost: one pass over the parameters; memory: a copy of them.

    >>> probe = distance_from_init(relative=True)
    >>> float(probe.update(probe.init(jnp.array([2.0])), jnp.array([3.0]), None, 0)[1])
    0.5
    """
    return Probe(_remember, _DistanceFromInit(_flag("relative", relative), _flag("by_layer", by_layer)))


def gradient_norm(apply: ApplyFn | Any, loss: LossFn | Any, x: Any, y: Any, *, by_layer: bool = False) -> Probe:
    """The norm ‖∇_θ L(θ; x, y)‖ of the gradient of the loss on given data.

    Args:
        apply: (params, x) -> outputs.
        loss: (outputs, targets) -> scalar.
        x: inputs [n, ...].
        y: targets [n, ...].
        by_layer: one norm per leaf of the parameters.

    Returns:
        A probe without memory. Cost: one gradient on the data.

    >>> probe = gradient_norm(lambda w, x: w * x, lambda f, y: jnp.sum((f - y) ** 2), jnp.ones(1), jnp.zeros(1))
    >>> float(probe.update((), jnp.array(3.0), None, 0)[1])
    6.0
    """
    x, y = _data(x, y)
    check.callable_("loss", loss)
    return Probe(_no_memory, _GradientNorm(x, y, check.callable_("apply", apply), loss, _flag("by_layer", by_layer)))


def held_out_loss(
    apply: ApplyFn | Any, loss: LossFn | Any, x: Any, y: Any, *, block_size: int | None = None, stateful: bool = False
) -> Probe:
    """The loss L(f_θ(x), y) on data that the run does not train on.

    Args:
        apply: (params, x) -> outputs; if `stateful`, (params, state, x) -> outputs.
        loss: (outputs, targets) -> scalar.
        x: inputs [n, ...].
        y: targets [n, ...].
        block_size: rows that `apply` sees at a time, to save memory; None for all.
        stateful: whether `apply` takes the state of the network too, such as `models.frozen_apply(model)` for one with
            batch norm, trained by its `apply_train`.

    Returns:
        A probe without memory. Cost: one forward pass on the data.
    """
    check.callable_("loss", loss)
    return _held_out(apply, loss, x, y, block_size, stateful)


def accuracy(apply: ApplyFn | Any, x: Any, y: Any, *, block_size: int | None = None, stateful: bool = False) -> Probe:
    """The fraction of examples that are classified correctly.

    The class is the largest output, or the sign if there is one output (0 counts as wrong).

    Args:
        apply: (params, x) -> outputs [n, classes], or [n, 1] or [n] for labels ±1; if `stateful`, (params, state, x) ->
            outputs.
        x: inputs [n, ...].
        y: class indices [n], one-hot or probabilities [n, classes], or labels ±1.
        block_size: rows that `apply` sees at a time, to save memory; None for all.
        stateful: as for `held_out_loss`.

    Returns:
        A probe without memory. Cost: one forward pass on the data.

    >>> probe = accuracy(lambda w, x: w * x, jnp.array([[1.0], [-2.0]]), jnp.array([1, 1]))
    >>> float(probe.update((), jnp.array(3.0), None, 0)[1])
    0.5
    """
    return _held_out(apply, _accuracy, x, y, block_size, stateful)


def error(apply: ApplyFn | Any, x: Any, y: Any, *, block_size: int | None = None, stateful: bool = False) -> Probe:
    """The fraction of examples that are misclassified, 1 − `accuracy`; arguments as there."""
    return _held_out(apply, _error, x, y, block_size, stateful)


def margin(
    apply: ApplyFn | Any, x: Any, y: Any, *, degree: float | None = None, block_size: int | None = None
) -> Probe:
    """The smallest and the mean margin {"min", "mean"} over examples, normalised by ‖θ‖^degree.

    The margin of an example is f_y − max_{c≠y} f_c, or y f for labels ±1. An L-homogeneous network
    (f_{aθ} = a^L f_θ) has the scale-free margin of `degree` L (Lyu & Li 2020, section 2).

    Args:
        apply: (params, x) -> outputs [n, classes], or [n, 1] or [n] for labels ±1.
        x: inputs [n, ...].
        y: class indices [n], one-hot [n, classes], or labels ±1.
        degree: order of homogeneity; None for margins that are not normalised.
        block_size: rows that `apply` sees at a time, to save memory; None for all.

    Returns:
        A probe without memory. Cost: one forward pass on the data.

    >>> probe = margin(lambda w, x: w[0] * x, jnp.array([1.0, -2.0]), jnp.array([1, -1]), degree=1)
    >>> {name: float(value) for name, value in probe.update((), jnp.array([5.0]), None, 0)[1].items()}
    {'mean': 1.5, 'min': 1.0}
    """
    x, y = _data(x, y)
    degree = None if degree is None else check.real("degree", degree, above=0.0)
    return Probe(_no_memory, _Margin(x, y, check.callable_("apply", apply), degree, _block(block_size)))


def _held_out(apply: Any, score: Any, x: Any, y: Any, block_size: Any, stateful: Any) -> Probe:
    x, y = _data(x, y)
    stateful = _flag("stateful", stateful)
    return Probe(_no_memory, _HeldOut(x, y, check.callable_("apply", apply), score, _block(block_size)), stateful)


def _snapshot(memory: Any, params: Params, opt_state: Any, step: Any) -> tuple[Any, Params]:
    return memory, params


def global_norm(tree: Any) -> Any:
    """‖θ‖ over all leaves; scaled by the largest entry, so that squares neither overflow nor vanish."""
    scale = jnp.max(jnp.stack([jnp.max(jnp.abs(leaf), initial=0) for leaf in jax.tree.leaves(tree)]))
    safe = jnp.where((scale > 0) & jnp.isfinite(scale), scale, 1)
    squares = jnp.stack([jnp.sum(jnp.square(leaf / safe)) for leaf in jax.tree.leaves(tree)])
    return safe * jnp.sqrt(jnp.sum(squares))


def _norm(tree: Any, by_layer: bool) -> Any:
    return jax.tree.map(global_norm, tree) if by_layer else global_norm(tree)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _WeightNorm:
    by_layer: bool = field(metadata={"static": True})

    def __call__(self, state: Any, params: Params, opt_state: Any, step: Any) -> tuple[Any, Any]:
        return state, _norm(params, self.by_layer)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _DistanceFromInit:
    relative: bool = field(metadata={"static": True})
    by_layer: bool = field(metadata={"static": True})

    def __call__(self, state: Any, params: Params, opt_state: Any, step: Any) -> tuple[Any, Any]:
        distance = _norm(jax.tree.map(jnp.subtract, params, state), self.by_layer)
        if self.relative:
            distance = jax.tree.map(jnp.divide, distance, _norm(state, self.by_layer))
        return state, distance


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _GradientNorm:
    x: Any
    y: Any
    apply: Any = field(metadata={"static": True})
    loss: Any = field(metadata={"static": True})
    by_layer: bool = field(metadata={"static": True})

    def __call__(self, state: Any, params: Params, opt_state: Any, step: Any) -> tuple[Any, Any]:
        gradient = jax.grad(lambda params: self.loss(self.apply(params, self.x), self.y))(params)
        return state, _norm(gradient, self.by_layer)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _HeldOut:
    x: Any
    y: Any
    apply: Any = field(metadata={"static": True})
    score: Any = field(metadata={"static": True})
    block_size: int | None = field(metadata={"static": True})

    def __call__(self, state: Any, params: Params, opt_state: Any, step: Any, *network: Any) -> tuple[Any, Any]:
        # With the state of the network, `apply` takes (params, state, x).
        apply = (lambda params, x: self.apply(params, *network, x)) if network else self.apply
        return state, self.score(_outputs(apply, params, self.x, self.block_size), self.y)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _Margin:
    x: Any
    y: Any
    apply: Any = field(metadata={"static": True})
    degree: float | None = field(metadata={"static": True})
    block_size: int | None = field(metadata={"static": True})

    def __call__(self, state: Any, params: Params, opt_state: Any, step: Any) -> tuple[Any, Any]:
        margins = _margins(_outputs(self.apply, params, self.x, self.block_size), self.y)
        if self.degree is not None:
            margins = margins / global_norm(params) ** self.degree
        return state, {"mean": jnp.mean(margins), "min": jnp.min(margins)}


def _outputs(apply: Any, params: Params, x: Any, block_size: int | None) -> Any:
    """apply(params, x), in blocks of rows if asked."""
    num_rows = x.shape[0]
    if block_size is None or block_size >= num_rows:
        return apply(params, x)
    num_blocks = num_rows // block_size
    whole = num_blocks * block_size
    blocks = x[:whole].reshape(num_blocks, block_size, *x.shape[1:])
    outputs = jax.lax.map(lambda block: apply(params, block), blocks)
    outputs = outputs.reshape(whole, *outputs.shape[2:])
    return outputs if whole == num_rows else jnp.concatenate([outputs, apply(params, x[whole:])])


def _margins(outputs: Any, y: Any) -> Any:
    if outputs.ndim == 1 or outputs.shape[-1] == 1:
        return outputs.reshape(-1) * y.reshape(-1)
    labels = y if y.ndim < outputs.ndim else jnp.argmax(y, axis=-1)
    correct = jax.nn.one_hot(labels, outputs.shape[-1], dtype=bool)
    of_class = jnp.sum(jnp.where(correct, outputs, 0), axis=-1)
    return of_class - jnp.max(jnp.where(correct, -jnp.inf, outputs), axis=-1)


def _accuracy(outputs: Any, y: Any) -> Any:
    # argmax, not the sign of the margin: of tied classes the first counts, as everywhere else.
    if outputs.ndim == 1 or outputs.shape[-1] == 1:
        right = _margins(outputs, y) > 0
    else:
        labels = y if y.ndim < outputs.ndim else jnp.argmax(y, axis=-1)
        right = jnp.argmax(outputs, axis=-1) == labels
    return jnp.mean(right.astype(outputs.dtype))


def _error(outputs: Any, y: Any) -> Any:
    return 1 - _accuracy(outputs, y)


def _no_memory(params: Params) -> tuple[()]:
    return ()


def _remember(params: Params) -> Params:
    return params


def _data(x: Any, y: Any) -> tuple[Any, Any]:
    x, y = check.array("x", x), check.array("y", y)
    check.same_length("x", x, "y", y)
    # NumPy arrays stay what they are until the run: its precision may be another than that of here.
    return x, y


def _block(block_size: Any) -> int | None:
    return None if block_size is None else check.positive_int("block_size", block_size)


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {value!r} of type {type(value).__name__}")
    return value
