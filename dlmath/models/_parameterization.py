"""Parameterizations: how initial variances, multipliers and learning rates scale with width."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from dlmath import check
from dlmath.models import initializers

# In the abc form of Yang & Hu (2011.14522, sec. 3.1) a layer acts with the weight fan_in^-a · w, where
# w ~ N(0, fan_in^-2b). The table holds (a, b) for the first, the middle and the last layer. muP is written as in
# Table 8 of Yang et al. (2203.03466); its (a, b) differ from Table 1 of Yang & Hu by the symmetry of their eq. (5),
# which moves powers of the width between a, b and the learning rate without changing the function learned.
ABC = {
    "standard": {"input": (0.0, 0.5), "hidden": (0.0, 0.5), "output": (0.0, 0.5)},
    "ntk": {"input": (0.5, 0.0), "hidden": (0.5, 0.0), "output": (0.5, 0.0)},
    "mup": {"input": (0.0, 0.5), "hidden": (0.0, 0.5), "output": (1.0, 0.0)},
}

# Powers (of fan_in, of fan_out) by which a width-independent learning rate is multiplied. Under muP (2203.03466,
# Table 8), with δ the gradient of the loss in a layer's output, of size 1/width per hidden coordinate:
#   sgd    input, vector  Δh = -η m δ x         = Θ(1)  needs m = fan_out
#          hidden         Δh = -η m δ (h·h)     = Θ(1)  needs m = 1, as h·h = Θ(width)
#          output         Δy = -η m (h·h)/n²    = Θ(1)  needs m = fan_in, as y = w h / n and ∂y/∂w = h/n
#   adam   steps of size η m in every entry: Θ(1) for input and vector and for w of the output, 1/fan_in for hidden,
#          where fan_in of them add up with one sign.
ONE = {"input": (0, 0), "hidden": (0, 0), "output": (0, 0), "vector": (0, 0)}
LEARNING_RATE = {
    ("standard", "sgd"): ONE,
    ("standard", "adam"): ONE,
    ("ntk", "sgd"): ONE,
    ("ntk", "adam"): ONE,
    ("mup", "sgd"): {"input": (0, 1), "hidden": (0, 0), "output": (1, 0), "vector": (0, 1)},
    ("mup", "adam"): {"input": (0, 0), "hidden": (-1, 0), "output": (0, 0), "vector": (0, 0)},
}


def learning_rates(parameterization: str, params: Any, optimizer: str = "sgd", *, base_width: int = 1) -> Any:
    """Multipliers of the learning rate, one per leaf of the parameters, relative to a width-independent rate.

    Without them muP is undefined. For a weight with n_in inputs and n_out outputs per unit (Table 8 of Yang et al.):

    | muP | first layer | middle layers | read-out | biases, scales |
    |---|---|---|---|---|
    | sgd | n_out | 1 | n_in | n_out |
    | adam | 1 | 1/n_in | 1 | 1 |

    and 1 everywhere under the standard and NTK parameterizations. The bias of the read-out, whose size does not grow,
    has multiplier 1, and so has every leaf of a network with a single layer. With `base_width` all widths are
    measured in units of that width, so that a rate tuned at `base_width` keeps its meaning there.

    Which leaf belongs to which layer is read off the pytree: leaves of two or more axes [..., in, out] are weights,
    the first in flattening order is the first layer and the last the read-out; other leaves are biases or scales.

    Args:
        parameterization: "standard", "ntk" or "mup".
        params: parameters of one network (arrays or `jax.ShapeDtypeStruct`), not of a vmapped ensemble.
        optimizer: "sgd" (momentum included) or "adam" (any optimizer whose steps do not depend on gradient scale).
        base_width: positive; the width at which every multiplier that grows or shrinks equals that of width 1.

    Returns:
        A pytree like `params` whose leaves are floats.

    Raises:
        ValueError: unknown parameterization or optimizer.

    Yang & Hu 2021 (2011.14522), Yang et al. 2022 (2203.03466), Table 8.

    >>> import jax, jax.numpy as jnp, dlmath as dm
    >>> model = dm.models.mlp([8, 8], 1, parameterization="mup", bias_std=None)
    >>> params = model.init(jax.random.key(0), jnp.ones((1, 3)))
    >>> dm.models.learning_rates("mup", params, "sgd")
    ({'weight': 8.0}, {'weight': 1.0}, {'weight': 8.0})
    """
    check.one_of("parameterization", parameterization, tuple(ABC))
    check.one_of("optimizer", optimizer, ("sgd", "adam"))
    base_width = check.positive_int("base_width", base_width)
    exponents = LEARNING_RATE[parameterization, optimizer]

    leaves, structure = jax.tree_util.tree_flatten_with_path(params)
    weights = [index for index, (_, leaf) in enumerate(leaves) if np.ndim(leaf) >= 2]
    read_out = leaves[weights[-1]][0][:-1] if weights else ()

    def multiplier(index: int, path: Any, shape: tuple[int, ...]) -> float:
        if len(weights) < 2 or math.prod(shape) == 0:
            return 1.0
        if index not in weights:
            power = 0 if path[:-1] == read_out else exponents["vector"][1]
            return (math.prod(shape) / base_width) ** power
        role = {weights[0]: "input", weights[-1]: "output"}.get(index, "hidden")
        fan_in, fan_out = math.prod(shape[:-1]) / base_width, shape[-1] / base_width
        power_in, power_out = exponents[role]
        return float(fan_in**power_in * fan_out**power_out)

    values = [multiplier(index, path, tuple(leaf.shape)) for index, (path, leaf) in enumerate(leaves)]
    return jax.tree_util.tree_unflatten(structure, values)


def scale_by_learning_rates(multipliers: Any) -> optax.GradientTransformation:
    """The optax transformation u ↦ m ∘ u that multiplies the update of every leaf by its multiplier.

    Chain it after the optimizer: `optax.chain(optax.adam(rate), scale_by_learning_rates(multipliers))`.

    Args:
        multipliers: a pytree of numbers like the parameters, as `learning_rates` returns it.

    >>> step = scale_by_learning_rates({"w": 2.0})
    >>> step.update({"w": jax.numpy.ones(2)}, step.init(None))[0]["w"].tolist()
    [2.0, 2.0]
    """

    def update(updates: Any, params: Any = None) -> Any:
        del params
        return jax.tree.map(lambda u, m: u * m, updates, multipliers)

    return optax.stateless(update)


class Scaling(NamedTuple):
    """How one layer is drawn and multiplied; None for a bias that is not there."""

    role: str
    parameterization: str
    weight_std: Any
    bias_std: Any
    weight: Callable[..., Any] | None = None
    bias: Callable[..., Any] | None = None


def scalings(
    num_layers: int, parameterization: str, weight_std: Any, bias_std: Any, initializer: Any
) -> tuple[Scaling, ...]:
    """The checked scaling of each of `num_layers` layers with weights, read-out included."""
    check.one_of("parameterization", parameterization, tuple(ABC))
    weight_function, bias_function = None, None
    if initializer is not None:
        weight_function, bias_function = initializers.get(initializer)
        if parameterization != "standard":
            raise ValueError(
                f"initializer must be None under the {parameterization} parameterization, which fixes the variances, "
                f"got {initializer!r}; use parameterization='standard'"
            )
        if weight_std is not None:
            raise ValueError(
                f"weight_std must be None when an initializer sets the weights, got {weight_std!r} with "
                f"initializer {initializer!r}; give one of the two"
            )
        stds = bias_std if isinstance(bias_std, list | tuple) else (bias_std,)
        if bias_function is not None and any(std is not None and np.any(np.not_equal(std, 0)) for std in stds):
            raise ValueError(
                f"bias_std must be 0 or None when the initializer sets the biases, got {bias_std!r} with "
                f"initializer {initializer!r}; give one of the two"
            )
    weight_stds = per_layer("weight_std", math.sqrt(2) if weight_std is None else weight_std, num_layers)
    bias_stds = per_layer("bias_std", bias_std, num_layers, optional=True)
    if parameterization == "ntk":
        # σ_b = 0 multiplies a bias that could never act: such a layer has none.
        bias_stds = tuple(None if not check.is_traced(b) and b == 0 else b for b in bias_stds)
    return tuple(
        Scaling(role, parameterization, weight, bias, weight_function, bias_function)
        for role, weight, bias in zip(_roles(num_layers), weight_stds, bias_stds, strict=True)
    )


def per_layer(argument: str, value: Any, num_layers: int, *, optional: bool = False) -> tuple[Any, ...]:
    """One non-negative number (or, if optional, None) for each layer, from one for all or a sequence of them."""

    def one(name: str, entry: Any) -> Any:
        if entry is None and optional:
            return None
        return check.real(name, entry, at_least=0)

    if isinstance(value, list | tuple) or getattr(value, "ndim", 0) == 1:
        if len(value) != num_layers:
            raise ValueError(
                f"{argument} must be one number or one per layer, read-out included ({num_layers}), got {len(value)}"
            )
        return tuple(one(f"{argument}[{index}]", entry) for index, entry in enumerate(value))
    return (one(argument, value),) * num_layers


def limit(build: Callable[[], Callable[..., Any]], scaling: Scaling) -> Callable[..., Any]:
    """The `kernel` of a model: made when first asked for, refused where the network has no kernel limit."""

    def kernel(x1: Any, x2: Any = None, *, get: str = "ntk") -> Any:
        check.one_of("get", get, ("ntk", "nngp"))
        _check_limit(scaling.parameterization, scaling.weight)
        return build()(x1, x2, get=get)

    return kernel


def _check_limit(parameterization: str, initializer: Any) -> None:
    if parameterization == "mup":
        raise ValueError(
            "parameterization must be 'ntk' or 'standard' for a kernel, got 'mup': its infinite-width limit learns "
            "features, so no fixed kernel describes it (Yang & Hu 2021)"
        )
    if initializer is not None:
        raise ValueError(
            "initializer must be None for a kernel, whose variances come from weight_std and bias_std; "
            "for example, 'he' is weight_std=2**0.5 and 'lecun' is weight_std=1"
        )


def _roles(num_layers: int) -> tuple[str, ...]:
    # A network with one layer has no width: its weights are drawn as those of a first layer.
    if num_layers == 1:
        return ("input",)
    return ("input", *("hidden",) * (num_layers - 2), "output")
