"""Checks of what `fit` is given, before anything is compiled."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from dlmath import check
from dlmath.train._loop import Inputs
from dlmath.train._program import Functions, Options
from dlmath.typing import Probe


def functions_of(
    apply: Any, loss: Any, optimizer: Any, probes: Any, augment: Any, stop: Any, *, tuned: bool
) -> Functions:
    """The functions of a run; raises TypeError or ValueError that names the one at fault."""
    check.callable_("apply", apply)
    check.callable_("loss", loss)
    if augment is not None:
        check.callable_("augment", augment)
    is_transformation = hasattr(optimizer, "init") and hasattr(optimizer, "update")
    if tuned and (is_transformation or not callable(optimizer)):
        raise TypeError(
            f"optimizer must be a function of the hyperparameters, such as optax.sgd, got {_named(optimizer)}; "
            "give optax.sgd rather than optax.sgd(0.1), or leave out hyperparameters"
        )
    if not tuned and not is_transformation:
        raise TypeError(
            f"optimizer must be an optax transformation with init and update, got {_named(optimizer)}; "
            "give optax.sgd(0.1) rather than optax.sgd, or give hyperparameters too"
        )
    return Functions(apply, loss, optimizer, _checked_probes(probes), augment, _checked_stop(stop, probes or {}))


def checked_inputs(key: Any, data: Any, hyperparameters: Any, params: Any, member_data: Any) -> Inputs:
    """Key, hyper-parameters and data on the device; `member_data` is None for a single run."""
    if member_data is None:
        check.key("key", key)
    else:
        _check_keys(key)
    x, y = _checked_data(data, *(member_data or (False, False)))
    if hyperparameters is not None and not isinstance(hyperparameters, Mapping):
        raise TypeError(f"hyperparameters must be a mapping name -> number, got {_named(hyperparameters)}")
    dtype = jnp.result_type(float, *jax.tree.leaves(params)) if not jax.tree.leaves(params) else _dtype_of(params)
    tuned = {name: _hyperparameter(name, value, dtype) for name, value in (hyperparameters or {}).items()}
    for name, value in tuned.items():
        if member_data is None and value.ndim:
            raise ValueError(
                f"hyperparameters[{name!r}] must be a scalar, got shape {value.shape}; use fit_ensemble or vmap"
            )
        if member_data is not None and value.shape not in ((), key.shape):
            raise ValueError(
                f"hyperparameters[{name!r}] must be a scalar or one number for each of {key.shape[0]} keys, "
                f"got shape {value.shape}"
            )
    for name, value, own in zip("xy", (x, y), member_data or (False, False), strict=True):
        if own and value.shape[0] != key.shape[0]:
            raise ValueError(
                f"{name} must have a leading axis of {key.shape[0]} members, one for each key, got shape {value.shape}"
            )
    return Inputs(key, tuned, x, y)


def checked_params(params: Any, num_members: int | None) -> Any:
    """Parameters as arrays on the device; every leaf floating, with the axis of members if there is one."""
    leaves = jax.tree.leaves(params)
    if not leaves:
        raise ValueError(f"params must hold at least one array, got {params!r}")
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        name = f"params{jax.tree_util.keystr(path)}"
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            raise TypeError(f"{name} must be a floating array, got {_named(leaf)}; cast it or keep it out of params")
        if num_members is not None and jnp.shape(leaf)[:1] != (num_members,):
            raise ValueError(
                f"{name} must have a leading axis of {num_members} members, one for each key, got shape "
                f"{jnp.shape(leaf)}; make them with jax.vmap(model.init, (0, None))(keys, x)"
            )
    return jax.tree.map(jnp.asarray, params)


def checked_options(
    inputs: Inputs,
    member_data: Any,
    *,
    stateful: bool,
    tuned: bool,
    stops: bool,
    batch_size: Any,
    replacement: bool,
    full_loss: bool,
    step_losses: bool,
) -> Options:
    """The static choices of a run."""
    own_x, own_y = member_data or (False, False)
    num_examples = inputs.x.shape[1 if own_x else 0]
    if batch_size is not None:
        batch_size = check.positive_int("batch_size", batch_size)
        if batch_size > num_examples:
            raise ValueError(
                f"batch_size must be at most the number of examples {num_examples}, got {batch_size}; "
                "use None for the full batch"
            )
    for name, value in (("replacement", replacement), ("full_loss", full_loss), ("step_losses", step_losses)):
        if not isinstance(value, bool):
            raise TypeError(f"{name} must be True or False, got {_named(value)}")
    axes = None
    if member_data is not None:
        tuned_axes = tuple((name, 0 if value.ndim else None) for name, value in inputs.hyperparameters.items())
        axes = (tuned_axes, 0 if own_x else None, 0 if own_y else None)
    return Options(batch_size, replacement, stateful, full_loss, step_losses, tuned, stops, axes)


def checked_group_size(group_size: Any, num_members: int | None) -> int | None:
    """How many members run side by side, or None to choose."""
    if group_size is None or num_members is None:
        return None
    group_size = check.integer("group_size", group_size, at_least=1, at_most=num_members)
    if num_members % group_size:
        raise ValueError(f"group_size must divide the number of members {num_members}, got {group_size}")
    return group_size


def _checked_data(data: Any, own_x: bool, own_y: bool) -> tuple[Any, Any]:
    if hasattr(data, "x") and hasattr(data, "y"):
        x, y = data.x, data.y
    elif isinstance(data, tuple | list) and len(data) == 2:
        x, y = data
    else:
        raise TypeError(f"data must be a pair (x, y) or have attributes x and y, got {_named(data)}")
    x, y = check.array("x", x), check.array("y", y)
    for name, value, own in (("x", x, own_x), ("y", y, own_y)):
        if value.ndim < 1 + own:
            raise ValueError(f"{name} must have an axis of examples, got shape {value.shape}")
    if x.shape[int(own_x)] != y.shape[int(own_y)]:
        raise ValueError(f"x and y must have the same number of rows, got shapes {tuple(x.shape)} and {tuple(y.shape)}")
    return jnp.asarray(x), jnp.asarray(y)


def _checked_probes(probes: Any) -> dict[str, Any]:
    if probes is None:
        return {}
    if not isinstance(probes, Mapping):
        raise TypeError(f"probes must be a mapping name -> Probe, got {_named(probes)}")
    for name, probe in probes.items():
        if not isinstance(name, str):
            raise TypeError(f"names of probes must be strings, got {name!r}")
        if not isinstance(probe, Probe):
            raise TypeError(f"probes[{name!r}] must be a Probe(init, update), got {_named(probe)}")
    return dict(probes)


def _checked_stop(stop: Any, probes: Any) -> Any:
    if stop is None:
        return None
    if not (hasattr(stop, "init") and hasattr(stop, "update")):
        raise TypeError(f"stop must be a rule such as loss_below(0.01) or patience('loss', 5), got {_named(stop)}")
    watched = getattr(stop.update, "probe", "loss")
    if watched != "loss" and watched not in probes:
        raise ValueError(
            f"stop watches the probe {watched!r}, which is not among the probes "
            f"{sorted(probes)}{check.did_you_mean(watched, [*probes, 'loss'])}"
        )
    return stop


def _check_keys(keys: Any) -> None:
    if not hasattr(keys, "dtype") or not jnp.issubdtype(keys.dtype, jax.dtypes.prng_key):
        raise TypeError(f"keys must be typed keys such as jax.random.split(jax.random.key(0), 10), got {_named(keys)}")
    if keys.ndim != 1 or keys.shape[0] == 0:
        raise ValueError(f"keys must have one axis of at least one member, got shape {keys.shape}")


def _hyperparameter(name: str, value: Any, dtype: Any) -> Any:
    value = jnp.asarray(check.array(f"hyperparameters[{name!r}]", value))
    # Strong float64 numbers would promote float32 optimizer states, and the loop's types with them.
    return value.astype(dtype) if jnp.issubdtype(value.dtype, jnp.floating) else value


def _dtype_of(params: Any) -> Any:
    return jnp.result_type(*(jnp.result_type(leaf) for leaf in jax.tree.leaves(params)))


def _named(value: Any) -> str:
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"an array of shape {tuple(value.shape)} and dtype {value.dtype}"
    return f"{getattr(value, '__name__', None) or repr(value)[:60]} of type {type(value).__name__}"
