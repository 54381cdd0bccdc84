"""Rescalings that leave a ReLU network the same function."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from dlmath import check
from dlmath.typing import Params


def dinh_rescaling(params: Params, alpha: ArrayLike, *, layers: tuple[Any, Any] = (0, 1)) -> Params:
    """The parameters (αW₁, αb₁, W₂/α), which a ReLU network computes the same function with.

    As relu(αh) = α·relu(h) for α > 0, nothing but the parameters changes. Curvature does: the block of the
    Hessian in W₂ is multiplied by α², the one in (W₁, b₁) by α⁻², so λmax(H) ≥ α²·λmax(H₂₂) has no upper bound.

    Args:
        params: layers by index or by name: a sequence or a dict whose entries are the pytrees of a layer, such as
            {"weight", "bias"}.
        alpha: α > 0; powers of two are exact in floating point.
        layers: the two layers (1, 2), indices or names, with nothing but a positively homogeneous activation
            (relu, leaky relu), pooling or flattening between them.

    Returns:
        Parameters like `params`. In layer 2 leaves with at least two axes are divided, its biases stay.

    Raises:
        ValueError, TypeError: for a layer that is not there, or α that is not positive.

    Source: Dinh et al. 2017 (1703.04933), section 3 and theorem 4.

    >>> W1, W2 = dinh_rescaling((jnp.ones((1, 2)), jnp.ones((2, 1))), 4.0)
    >>> W1[0, 0].item(), W2[0, 0].item()
    (4.0, 0.25)
    """
    alpha = check.real("alpha", alpha, above=0.0)
    if not isinstance(layers, tuple | list) or len(layers) != 2 or layers[0] == layers[1]:
        raise ValueError(f"layers must be two different layers (first, second), got {layers!r}")
    if not isinstance(params, dict | list | tuple):
        raise TypeError(f"params must be a sequence or dict of layers, got {type(params).__name__}")
    names = list(params) if isinstance(params, dict) else list(range(len(params)))
    for layer in layers:
        if layer not in names:
            raise ValueError(f"layers must be among {names}, got {layer!r}{check.did_you_mean(layer, _texts(names))}")
    first, second = layers
    scaled = {
        first: jax.tree.map(lambda leaf: _times(leaf, alpha), params[first]),
        second: jax.tree.map(lambda leaf: _times(leaf, 1 / alpha) if jnp.ndim(leaf) > 1 else leaf, params[second]),
    }
    if isinstance(params, dict):
        return {**params, **scaled}
    entries = [scaled.get(index, entry) for index, entry in enumerate(params)]
    # A named tuple takes its fields one by one.
    return type(params)(*entries) if hasattr(params, "_fields") else type(params)(entries)


def _times(leaf: Any, factor: Any) -> Any:
    leaf = jnp.asarray(leaf)
    return leaf * jnp.asarray(factor, leaf.dtype)


def _texts(names: Sequence[Any]) -> list[str]:
    return [name for name in names if isinstance(name, str)]
