"""A network is three pure functions: init, apply, kernel."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, ParamSpec

import jax

from dlmath import check
from dlmath.typing import ApplyFn, InitFn


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Layer:
    """What one layer with parameters did to a batch.

    Attributes:
        name: the layer's name, unique in its model.
        params: the layer's parameters, `{"weight", "bias"}` or `{"scale", "shift"}`.
        output: what the layer returned [batch, ...], before any activation.
    """

    name: str = field(metadata={"static": True})
    params: Any
    output: Any


class Model(NamedTuple):
    """A network as pure functions; parameters are any pytree, the batch axis comes first.

    Attributes:
        init: (key, x) -> params, for inputs shaped like `x` (arrays or `jax.ShapeDtypeStruct`; values are not used).
        apply: (params, x[batch, ...]) -> outputs[batch, ...].
        kernel: (x1, x2=None, *, get="ntk" or "nngp") -> kernel matrix [n1, n2] of the infinitely wide network,
            or None. A model that has no limit raises ValueError with the reason when it is asked.
        layers: (params, x) -> tuple of `Layer`, in the order of the forward pass, or None.
        init_state: (x) -> state of the running statistics, for models trained in the stateful form; else None.
        apply_train: (key, params, state, x) -> (outputs, state), the form to train with; else None.
        freeze: (state) -> Model whose `apply` is pure, the statistics held fixed; else None. See `models.freeze`.
    """

    init: InitFn
    apply: ApplyFn
    kernel: Any = None  # callable or None; so typed that those who know it is there may call it
    layers: Callable[..., tuple[Layer, ...]] | None = None
    init_state: Callable[[Any], Any] | None = None
    apply_train: Callable[..., tuple[Any, Any]] | None = None
    freeze: Callable[[Any], "Model"] | None = None


def freeze(model: Model, state: Any) -> Model:
    """The model with its running statistics fixed at `state`, so that `apply(params, x)` is a pure function.

    Analysis (kernels, Hessians, posteriors) takes frozen models. The returned `apply` is a
    `jax.tree_util.Partial` over the state, hence itself a pytree.

    Args:
        model: a model with the stateful form (`init_state`, `apply_train`).
        state: the statistics, as `model.init_state` or `model.apply_train` returned them.

    Returns:
        A Model with the same parameters, without the stateful form.

    Raises:
        ValueError: the model has no state to freeze.

    >>> import jax, jax.numpy as jnp, dlmath as dm
    >>> model = dm.models.resnet(10, 4, 3)
    >>> x = jnp.ones((2, 8, 8, 3))
    >>> frozen = dm.models.freeze(model, model.init_state(x))
    >>> frozen.apply(frozen.init(jax.random.key(0), x), x).shape
    (2, 3)
    """
    if model.freeze is None:
        raise ValueError("model must have a state to freeze, got a model whose apply is pure already; use it as it is")
    return model.freeze(state)


def frozen_apply(model: Model) -> Callable[..., Any]:
    """(params, state, x) -> outputs of the model frozen at `state`: what probes of a stateful training run take.

    Args:
        model: a model with the stateful form.

    Raises:
        ValueError: the model has no state.

    >>> import jax, jax.numpy as jnp, dlmath as dm
    >>> model, x = dm.models.resnet(10, 4, 3), jnp.ones((2, 8, 8, 3))
    >>> dm.models.frozen_apply(model)(model.init(jax.random.key(0), x), model.init_state(x), x).shape
    (2, 3)
    """
    if model.freeze is None:
        raise ValueError("model must have a state to freeze, got a model whose apply is pure already; use model.apply")
    frozen = model.freeze

    def apply(params: Any, state: Any, x: Any) -> Any:
        return frozen(state).apply(params, x)

    return apply


def preactivations(model: Model, params: Any, x: Any) -> tuple[Any, ...]:
    """The output of every layer with weights, before its activation, in the order of the forward pass.

    h_1, ..., h_L, y of the network h_l = W_l φ(h_{l-1}) + b_l; the last is `model.apply(params, x)` itself.
    Normalisation layers are left out.

    Args:
        model: a model that exposes its layers (`mlp`, `cnn`, `resnet`, `lenet5`, `random_features`).
        params: its parameters.
        x: inputs [batch, ...].

    Returns:
        A tuple of arrays [batch, ...], one per layer.

    Raises:
        ValueError: the model does not expose its layers.

    >>> import jax, jax.numpy as jnp, dlmath as dm
    >>> model = dm.models.mlp([5, 4], 1)
    >>> params = model.init(jax.random.key(0), jnp.ones((2, 3)))
    >>> [h.shape for h in dm.models.preactivations(model, params, jnp.ones((2, 3)))]
    [(2, 5), (2, 4), (2, 1)]
    """
    return tuple(layer.output for layer in layers_of(model)(params, x) if "weight" in layer.params)


def layers_of(model: Model) -> Callable[..., tuple[Layer, ...]]:
    """`model.layers`, or a ValueError that says which models have it."""
    if model.layers is None:
        raise ValueError(
            "model must expose its layers, got one with layers=None (an adapted network);"
            " build it with dlmath.models.mlp, cnn or resnet, or give Model(layers=...)"
        )
    return check.callable_("model.layers", model.layers)


_Arguments = ParamSpec("_Arguments")
_MOST_SHARED = 256


def shared(factory: Callable[_Arguments, Model]) -> Callable[_Arguments, Model]:
    """A factory of models whose equal arguments give the same model, so that a program compiled for one serves all.

    Compiled programs know functions by identity: a model built anew for each seed, test or notebook cell would compile
    everything anew. Arguments that cannot be compared (arrays, tracers) give a model of their own.
    """
    build: Any = factory  # of arguments that a cache has kept, whose types it has not
    models = functools.lru_cache(_MOST_SHARED)(lambda call: build(*call.args, **call.kwargs))

    @functools.wraps(factory)
    def shared_factory(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> Model:
        call = _Call(args, kwargs)
        try:
            hash(call)
        except TypeError:
            return factory(*args, **kwargs)
        return models(call)

    return shared_factory


class _Call:
    """Arguments, equal to others of the same types and values."""

    def __init__(self, args: Any, kwargs: Any):
        self.args, self.kwargs = args, kwargs
        # Types belong to it: True may be refused where 1 is not.
        self.frozen = _frozen((args, kwargs))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Call) and self.frozen == other.frozen

    def __hash__(self) -> int:
        return hash(self.frozen)


def _frozen(value: Any) -> Any:
    if isinstance(value, Mapping):
        return type(value), tuple((key, _frozen(value[key])) for key in sorted(value))
    if isinstance(value, list | tuple):
        return type(value), tuple(map(_frozen, value))
    return type(value), value
