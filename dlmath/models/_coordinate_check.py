"""The coordinate check: how far each layer moves when a network is trained, width by width."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from dlmath import check
from dlmath.models._model import Model, layers_of, preactivations
from dlmath.typing import Key, LossFn


def coordinate_check(
    key: Key,
    model: Model,
    loss: LossFn,
    x: Any,
    y: Any,
    optimizer: optax.GradientTransformation,
    *,
    num_steps: int = 1,
    num_seeds: int = 10,
) -> Float[Array, "seed layer"]:
    """Root-mean-square change of each layer's outputs (before φ) after a few full-batch steps.

    Δ_l = (mean over inputs and coordinates of (h_l(θ_t) − h_l(θ_0))²)^{1/2}. As the width n grows, a network in the
    maximal update parameterization has Δ_l = Θ(1) for every layer; in the NTK parameterization the last hidden layer moves
    by n^{−1/2}; under the standard one, at a rate that does not depend on width, by n^{1/2}.

    Args:
        key: draws the initial parameters of the seeds.
        model: a model that exposes its layers.
        loss: (outputs, targets) -> scalar.
        x: inputs [n, ...].
        y: targets [n, ...].
        optimizer: an optax transformation, `scale_by_learning_rates` chained to it.
        num_steps: number of full-batch steps.
        num_seeds: number of initialisations.

    Returns:
        Δ[seed, layer], layers in the order of the forward pass, the network's output last.

    Raises:
        ValueError: the model does not expose its layers.

    Cost: num_seeds · (num_steps gradients + 2 forward passes), one seed at a time, so memory is that of one.
    Yang & Hu 2021 (2011.14522), table 1; Yang et al. 2022 (2203.03466), app. D.1.

    >>> import jax, jax.numpy as jnp, optax, dlmath as dm
    >>> model = dm.models.mlp([32, 32], 1)
    >>> x, y, loss = jnp.ones((4, 3)), jnp.ones((4, 1)), lambda a, b: jnp.mean((a - b) ** 2)
    >>> dm.models.coordinate_check(jax.random.key(0), model, loss, x, y, optax.sgd(0.0), num_seeds=2).tolist()
    [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """
    check.key("key", key)
    layers_of(model)
    num_steps = check.positive_int("num_steps", num_steps)
    num_seeds = check.positive_int("num_seeds", num_seeds)
    x, y = jnp.asarray(check.array("x", x)), jnp.asarray(check.array("y", y))
    check.same_length("x", x, "y", y)

    @jax.jit
    def run(keys: Any, x: Any, y: Any) -> Any:
        def objective(params: Any) -> Any:
            return loss(model.apply(params, x), y)

        def step(_: Any, carry: Any) -> Any:
            params, opt_state = carry
            updates, opt_state = optimizer.update(jax.grad(objective)(params), opt_state, params)
            return optax.apply_updates(params, updates), opt_state

        def one(key: Any) -> Any:
            params = model.init(key, x)
            trained, _ = jax.lax.fori_loop(0, num_steps, step, (params, optimizer.init(params)))
            before, after = preactivations(model, params, x), preactivations(model, trained, x)
            return jnp.stack([jnp.sqrt(jnp.mean((b - a) ** 2)) for a, b in zip(before, after, strict=True)])

        return jax.lax.map(one, keys)

    return run(jax.random.split(key, num_seeds), x, y)
