"""Counting: parameters, shapes and multiply-adds."""

import math
from typing import Any, NamedTuple

import jax
import numpy as np

from dlmath.models._model import Model


class LayerSummary(NamedTuple):
    """One row of a description.

    Attributes:
        layer: name of the layer.
        shape: shape of its output for one example.
        parameters: number of its parameters.
        multiply_adds: multiplications by weights for one example; None if not known.
    """

    layer: str
    shape: tuple[int, ...]
    parameters: int
    multiply_adds: int | None


class Description(NamedTuple):
    """The layers of a model; `str` of it is a table with totals.

    Attributes:
        rows: one `LayerSummary` per layer with parameters, in the order of the forward pass.
        parameters: number of parameters in all.
        multiply_adds: multiplications by weights for one example in all; None if not known.
    """

    rows: tuple[LayerSummary, ...]
    parameters: int
    multiply_adds: int | None

    def __str__(self) -> str:
        def cells(row: LayerSummary) -> tuple[str, ...]:
            shape = " × ".join(map(str, row.shape)) or "scalar"
            return (
                row.layer,
                shape,
                f"{row.parameters:,}",
                "?" if row.multiply_adds is None else f"{row.multiply_adds:,}",
            )

        total = cells(LayerSummary("total", (), self.parameters, self.multiply_adds))
        table = [
            ("layer", "output", "parameters", "multiply-adds"),
            *map(cells, self.rows),
            (total[0], "", *total[2:]),
        ]
        sizes = [max(len(row[column]) for row in table) for column in range(4)]
        lines = [
            f"{row[0]:<{sizes[0]}}  {row[1]:<{sizes[1]}}  {row[2]:>{sizes[2]}}  {row[3]:>{sizes[3]}}".rstrip()
            for row in table
        ]
        rule = "─" * (sum(sizes) + 6)
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])


def count_parameters(params: Any) -> int:
    """Number P of parameters: the entries of all arrays in a pytree.

    Args:
        params: any pytree of arrays or `jax.ShapeDtypeStruct`.

    >>> import jax.numpy as jnp
    >>> count_parameters({"weight": jnp.ones((3, 2)), "bias": jnp.ones(2)})
    8
    """
    return sum(math.prod(np.shape(leaf)) for leaf in jax.tree.leaves(params))


def describe(model: Model, x: Any) -> Description:
    """The table of a model's layers: output shape, parameters and multiply-adds for one example.

    A layer with a weight of size s applied at q positions (pixels, time steps) costs q·s multiply-adds; biases, norms,
    activations, pooling and weights that are not parameters are not counted. A network adapted from another library, whose layers are not known, has one row.

    Args:
        model: any Model; one with batch norm need not be frozen.
        x: inputs [batch, ...], an array or a `jax.ShapeDtypeStruct`; only their shape is used.

    Returns:
        A `Description`; print it.

    Cost: none to speak of, nothing is computed.

    >>> import jax.numpy as jnp, dlmath as dm
    >>> table = dm.models.describe(dm.models.mlp([64, 64], 1), jnp.ones((1, 1)))
    >>> table.parameters, table.multiply_adds
    (4353, 4224)
    """
    if model.freeze is not None and model.init_state is not None:
        model = model.freeze(model.init_state(x))
    params = jax.eval_shape(model.init, jax.random.key(0), x)
    total = count_parameters(params)
    if model.layers is None:
        output = jax.eval_shape(model.apply, params, x)
        return Description((LayerSummary("network", tuple(output.shape[1:]), total, None),), total, None)
    rows = tuple(
        LayerSummary(
            layer.name,
            tuple(layer.output.shape[1:]),
            count_parameters(layer.params),
            math.prod(np.shape(layer.params.get("weight", np.zeros(0)))) * math.prod(layer.output.shape[1:-1]),
        )
        for layer in jax.eval_shape(model.layers, params, x)
    )
    return Description(rows, total, sum(row.multiply_adds or 0 for row in rows))
