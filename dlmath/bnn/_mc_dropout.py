"""Dropout as a distribution of parameters."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from dlmath import check
from dlmath.bnn._minibatches import Minibatches, checked_batch_size, stop_if_not_finite
from dlmath.bnn._posterior import Posterior, checked_start
from dlmath.bnn._samples import Samples, keys_for, samples_of
from dlmath.bnn.priors import leaf_paths
from dlmath.typing import Key, Params


def mc_dropout(
    key: Key,
    posterior: Posterior,
    params: Params,
    *,
    num_draws: int,
    num_steps: int,
    rate: Any,
    skip: tuple[str, ...] = (),
    learning_rate: Any = 1e-2,
    optimizer: Any = None,
    batch_size: int | None = None,
    num_masks: int = 1,
) -> Samples:
    """Draws of networks whose units are dropped at random, after training under dropout; one chain for each start.

    A weight W [..., in, out] becomes diag(b) W/(1 − r), b_i ~ Bernoulli(1 − r) for each input unit (for each channel of a
    convolution): dropping inputs of a layer is dropping rows of its weight, so that dropout is a law q of the parameters
    and its networks are Samples as any. Training minimises E_q U/n.

    This differs from Gal and Ghahramani (2016) in 1. one mask serves a minibatch instead of one an example (the same
    expectation, noisier gradients; raise `num_masks`), 2. the prior is that of the posterior, in the place of weight decay
    derived from r and a length scale, 3. the masked parameters meet the prior, so that weights are not penalised when dropped
    (in expectation a factor 1/(1 − r) on their squares).

    Args:
        key: typed key; start i uses fold_in(key, i).
        posterior: from `posterior`.
        params: starts θ with a leading axis.
        num_draws: networks of each chain.
        num_steps: updates.
        rate: r in [0, 1), probability that a unit is dropped.
        skip: paths of leaves or branches that keep their units, such as ("0",) for the inputs of the network.
        learning_rate: of Adam, where no optimizer is given.
        optimizer: an optax transformation.
        batch_size: rows of a minibatch, or None for all.
        num_masks: masks a step.

    Returns:
        Samples [chain, draw] with stats "loss" [chain, step], the noisy E_q U/n, and "trained": parameters before dropping,
        a tree with a leading axis [chain].

    Raises:
        ValueError: for a rate out of range, a `skip` that names nothing, a network without weights of two axes, a run that
            diverged, and as `mode` says.

    Cost: num_steps · num_masks gradients a start.

    References: Gal & Ghahramani (2016), Dropout as a Bayesian approximation.
    """
    check.key("key", key)
    params = checked_start(posterior, params, axis="starts")
    one = jax.tree.map(lambda leaf: leaf[0], params)
    names = leaf_paths(one)
    branches = {"/".join(name.split("/")[: i + 1]) for name in names for i in range(len(name.split("/")))}
    for path in skip:
        check.one_of("skip", path, sorted(branches))
    kept = lambda name: any(name == path or name.startswith(path + "/") for path in skip)
    dropped = tuple(leaf.ndim > 1 and not kept(name) for name, leaf in zip(names, jax.tree.leaves(one), strict=True))
    if not any(dropped):
        raise ValueError(
            f"params must have weights of at least two axes to drop, got none but {names} with skip={skip}"
        )
    rate = check.real("rate", rate, at_least=0.0, below=1.0)
    learning_rate = check.real("learning_rate", learning_rate, above=0.0)
    sizes = (
        check.positive_int("num_steps", num_steps),
        check.positive_int("num_masks", num_masks),
        check.positive_int("num_draws", num_draws),
        checked_batch_size(posterior, batch_size),
    )
    keys = keys_for(key, jax.tree.leaves(params)[0].shape[0])
    draws, trained, losses = _train(
        keys, posterior, params, rate, learning_rate, optimizer=optimizer, dropped=dropped, sizes=sizes
    )
    stop_if_not_finite("learning_rate", losses[:, -1], "training")
    return samples_of(posterior, draws, {"loss": losses, "trained": trained})


@partial(jax.jit, static_argnames=("optimizer", "dropped", "sizes"))
def _train(
    keys: Any,
    posterior: Posterior,
    params: Any,
    rate: Any,
    learning_rate: Any,
    *,
    optimizer: Any,
    dropped: tuple[bool, ...],
    sizes: Any,
) -> Any:
    num_steps, num_masks, num_draws, batch_size = sizes
    optimizer = optax.adam(learning_rate) if optimizer is None else optimizer
    n = posterior.data[1].shape[0]

    def masked(key: Any, params: Any) -> Any:
        leaves, treedef = jax.tree.flatten(params)
        drawn = jax.random.split(key, len(leaves))
        return jax.tree.unflatten(
            treedef,
            [_rows(k, w, rate) if drop else w for k, w, drop in zip(drawn, leaves, dropped, strict=True)],
        )

    def one(key: Any, start: Any) -> Any:
        of_batches, of_masks, of_draws = jax.random.split(key, 3)
        batches = Minibatches(posterior, of_batches, batch_size)

        def step(carry: Any, i: Any) -> Any:
            params, state, table = carry
            potential, table = batches.potential_at(table, i)
            masks = jax.random.split(jax.random.fold_in(of_masks, i), num_masks)
            average = lambda params: jax.vmap(lambda k: potential(masked(k, params)))(masks).mean() / n
            loss, slope = jax.value_and_grad(average)(params)
            moves, state = optimizer.update(slope, state, params)
            return (optax.apply_updates(params, moves), state, table), loss

        begin = (start, optimizer.init(start), batches.start)
        (trained, _, _), losses = jax.lax.scan(step, begin, jnp.arange(num_steps))
        draws = jax.vmap(masked, (0, None))(jax.random.split(of_draws, num_draws), trained)
        return draws, trained, losses

    return jax.vmap(one)(keys, params)


def _rows(key: Any, weight: Any, rate: Any) -> Any:
    keep = jax.random.bernoulli(key, 1 - rate, (weight.shape[-2], 1))
    return jnp.where(keep, weight / (1 - jnp.asarray(rate, weight.dtype)), 0)
