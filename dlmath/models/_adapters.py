"""Models out of networks written with flax linen, flax nnx, equinox or stax."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from dlmath import check
from dlmath.models._model import Model


def from_linen(module: Any, *, variables: Mapping[str, Any] | None = None, **options: Any) -> Model:
    """The Model of a flax linen module: apply(params, x) = module.apply({"params": params, **frozen}, x).

    All collections but "params", batch statistics above all, are held fixed and none is updated, so `apply` is pure.
    flax draws parameters in float32, also while JAX is in 64-bit mode, unless the module says otherwise.

    Args:
        module: a `flax.linen.Module`.
        variables: its variables, from `module.init` or from training; their collections other than "params" are
            frozen. None for a module without others: for one with them, freeze the model first, see Returns.
        **options: passed to the module's call, such as `train=False`.

    Returns:
        A Model whose parameters are the nested dict of the "params" collection. Where `variables` is None,
        `models.freeze(model, model.init_state(x))` holds the other collections at their initial values.

    Raises:
        TypeError: not a linen module, or its class.
        ValueError: on `apply`, if the module has further collections and none were given.

    >>> import flax.linen as nn
    >>> model = from_linen(nn.Dense(3))
    >>> params = model.init(jax.random.key(0), jnp.ones((1, 2)))
    >>> {name: leaf.shape for name, leaf in params.items()}
    {'bias': (3,), 'kernel': (2, 3)}
    """
    import flax.core
    import flax.errors
    import flax.linen as nn

    _instance("module", module, nn.Module, "a flax.linen.Module")
    if variables is not None and not isinstance(variables, Mapping):
        raise TypeError(f"variables must be a dict of collections such as {{'batch_stats': ...}}, got {variables!r}")

    def fresh(key: Any, x: Any) -> Any:
        return flax.core.meta.unbox(flax.core.unfreeze(module.init(key, _zeros_like("x", x), **options)))

    def init(key: Any, x: Any) -> Any:
        return fresh(check.key("key", key), x).get("params", {})

    def init_state(x: Any) -> Any:
        return _without_params(fresh(jax.random.key(0), x))

    def apply_at(state: Any, params: Any, x: Any) -> Any:
        try:
            return module.apply({"params": params, **state}, x, **options)
        except (flax.errors.ScopeCollectionNotFound, flax.errors.ScopeVariableNotFoundError) as error:
            if state:
                raise
            raise ValueError(
                "variables must hold the module's other collections, such as batch_stats, to be frozen; use "
                f"from_linen(module, variables=...) or models.freeze(model, model.init_state(x)) ({error})"
            ) from error

    def freeze(state: Any) -> Model:
        return Model(init, jax.tree_util.Partial(apply_at, state))

    if variables is not None:
        return freeze(_without_params(flax.core.meta.unbox(flax.core.unfreeze(dict(variables)))))
    return Model(init, jax.tree_util.Partial(apply_at, {}), init_state=init_state, freeze=freeze)


def from_nnx(module: Any) -> Model:
    """The Model of a flax nnx module, in evaluation mode: batch statistics frozen, no dropout, nothing updated.

    Args:
        module: a `flax.nnx.Module`, or a factory of one: a function of `nnx.Rngs`, such as
            `lambda rngs: nnx.Linear(2, 3, rngs=rngs)`. A module is copied, not changed.

    Returns:
        A Model whose parameters are a nested dict of arrays, the module's `nnx.Param` variables (float32, unless the
        module says otherwise). `init(key, x)` calls the factory with `nnx.Rngs(key)`; of a module given as an
        instance it returns the weights it has, whatever the key.

    Raises:
        TypeError: neither a module nor a function that returns one.

    >>> from flax import nnx
    >>> model = from_nnx(lambda rngs: nnx.Linear(2, 3, rngs=rngs))
    >>> params = model.init(jax.random.key(0), jnp.ones((1, 2)))
    >>> {name: leaf.shape for name, leaf in params.items()}
    {'bias': (3,), 'kernel': (2, 3)}
    """
    from flax import nnx

    def split(made: Any) -> Any:
        _instance("module", made, nnx.Module, "a flax.nnx.Module, or a function of nnx.Rngs that returns one")
        copy = nnx.merge(*nnx.split(made), copy=True)
        copy.eval()
        graph, params, rest = nnx.split(copy, nnx.Param, ...)
        return graph, nnx.to_pure_dict(params), nnx.to_pure_dict(rest)

    if isinstance(module, nnx.Module):
        graph, given, rest = split(module)
        init = lambda key, x: given
    else:
        factory = check.callable_("module", module)
        graph, _, rest = split(factory(nnx.Rngs(0)))
        init = lambda key, x: split(factory(nnx.Rngs(check.key("key", key))))[1]

    def apply(rest: Any, params: Any, x: Any) -> Any:
        return nnx.merge(graph, params, rest, copy=True)(jnp.asarray(x))

    return Model(init, jax.tree_util.Partial(apply, rest))


def from_equinox(module: Any, *, state: Any = None, batched: bool = False) -> Model:
    """The Model of an equinox module, in inference mode: statistics frozen, no dropout.

    Equinox modules act on one example; `apply` maps them over the batch.

    Args:
        module: an `equinox.Module` that is called with an array, or a factory of one: a function of a key,
            such as `lambda key: eqx.nn.Linear(2, 3, key=key)`.
        state: the `equinox.nn.State` of a module with batch norm, as training left it. A factory made by
            `eqx.nn.make_with_state` brings its own.
        batched: whether the module takes a whole batch already.

    Returns:
        A Model whose parameters are a dict of the module's floating-point arrays by their path, such as
        ".layers[0].weight". `init(key, x)` calls the factory; of a module given as an instance it returns
        the weights it has, whatever the key.

    Raises:
        ImportError: equinox is not installed.
        TypeError: neither a module nor a function that returns one.

    >>> import equinox as eqx
    >>> model = from_equinox(lambda key: eqx.nn.Linear(2, 3, key=key))
    >>> params = model.init(jax.random.key(0), jnp.ones((1, 2)))
    >>> {name: leaf.shape for name, leaf in params.items()}
    {'.weight': (3, 2), '.bias': (3,)}
    """
    try:
        import equinox as eqx
    except ImportError as error:
        raise ImportError("from_equinox needs equinox; install it with `pip install equinox`") from error

    def split(made: Any) -> Any:
        # The parameters, the function they are put back into, and the state of its statistics.
        made, made_state = made if isinstance(made, tuple) and len(made) == 2 else (made, state)
        _instance("module", made, eqx.Module, "an equinox.Module, or a function of a key that returns one")
        trainable, static = eqx.partition(eqx.nn.inference_mode(made), eqx.is_inexact_array)
        leaves, structure = jax.tree_util.tree_flatten_with_path(trainable)
        paths = [jax.tree_util.keystr(path) for path, _ in leaves]

        def call(params: Any, x: Any) -> Any:
            whole = eqx.combine(jax.tree.unflatten(structure, [params[path] for path in paths]), static)
            return whole(x) if made_state is None else whole(x, made_state)[0]

        return dict(zip(paths, (leaf for _, leaf in leaves), strict=True)), call

    if isinstance(module, eqx.Module):
        given, call = split(module)
        init = lambda key, x: dict(given)
    else:
        factory = check.callable_("module", module)
        _, call = split(factory(jax.random.key(0)))
        init = lambda key, x: split(factory(check.key("key", key)))[0]

    def apply(params: Any, x: Any) -> Any:
        x = jnp.asarray(x)
        one = lambda example: call(params, example)
        return one(x) if batched else jax.vmap(one, axis_name="batch")(x)

    return Model(init, apply)


def from_stax(layer: Any) -> Model:
    """The Model of a stax layer (init, apply) or (init, apply, kernel), of JAX's or neural-tangents' stax.

    Args:
        layer: the pair or triple: init(key, input_shape) -> (output_shape, params), apply(params, x), and
            kernel(x1, x2, get), which is kept.

    Returns:
        A Model with the layer's own parameters, nested tuples of arrays.

    Raises:
        TypeError: not two or three functions.

    >>> from jax.example_libraries import stax
    >>> model = from_stax(stax.serial(stax.Dense(5), stax.Relu, stax.Dense(1)))
    >>> [leaf.shape for leaf in jax.tree.leaves(model.init(jax.random.key(0), jnp.ones((1, 2))))]
    [(2, 5), (5,), (5, 1), (1,)]
    """
    if not isinstance(layer, tuple | list) or len(layer) not in (2, 3) or not all(map(callable, layer)):
        raise TypeError(f"layer must be a stax pair (init, apply) or triple (init, apply, kernel), got {layer!r}")
    stax_init, stax_apply, *stax_kernel = layer

    def init(key: Any, x: Any) -> Any:
        return stax_init(check.key("key", key), (-1, *jnp.shape(_zeros_like("x", x))[1:]))[1]

    def apply(params: Any, x: Any) -> Any:
        return stax_apply(params, jnp.asarray(x))

    return Model(init, apply, _stax_kernel(stax_kernel[0]) if stax_kernel else None)


def _stax_kernel(kernel_fn: Callable[..., Any]) -> Callable[..., Any]:
    def kernel(x1: Any, x2: Any = None, *, get: str = "ntk") -> Any:
        check.one_of("get", get, ("ntk", "nngp"))
        x1, x2 = (None if x is None else jnp.asarray(x) for x in (x1, x2))
        return kernel_fn(x1, x2, get)

    return kernel


def _zeros_like(argument: str, x: Any) -> Any:
    # Parameters depend on the shape of the inputs only; `x` may be a structure without values.
    if not hasattr(x, "shape") or not hasattr(x, "dtype"):
        x = check.array(argument, x)
    return jnp.zeros(x.shape, jax.dtypes.canonicalize_dtype(x.dtype))


def _without_params(variables: Mapping[str, Any]) -> dict[str, Any]:
    return {name: collection for name, collection in variables.items() if name != "params"}


def _instance(argument: str, value: Any, kind: type, expected: str) -> None:
    if isinstance(value, type):
        raise TypeError(f"{argument} must be {expected}, got the class {value.__name__}; call it first")
    if not isinstance(value, kind):
        raise TypeError(f"{argument} must be {expected}, got {value!r} of type {type(value).__name__}")
